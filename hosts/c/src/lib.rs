//! `libproto`: the codecs as a C library. README.md describes it for C programmers; `include/proto.h` is generated from the
//! comments here.
//!
//! Rules of every function, beside its own comment:
//!
//! * A pointer may be NULL only where its comment says so. NULL anywhere else is `PROTO_NULL`, or the function does nothing.
//! * A pointer that comes with a length may be NULL if the length is 0. A length above half the address space is
//!   `PROTO_NULL` too.
//! * After an error nothing was written and the state is unchanged, unless the comment says otherwise.
//! * A panic, which would be a fault of this library, never unwinds into C: it ends the process.

#![cfg_attr(not(any(feature = "std", test)), no_std)]
// C names, in the style of C.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod buffer;
pub mod error;
pub mod http_client;
pub mod http_head;
pub mod http_rules;
pub mod http_server;
#[cfg(feature = "resp")]
pub mod resp;
#[cfg(feature = "resp")]
pub mod resp_command;
#[cfg(feature = "server")]
pub mod server;
#[cfg(all(feature = "alloc", target_arch = "wasm32"))]
pub mod wasm;
#[cfg(feature = "alloc")]
pub mod wheel;
#[cfg(feature = "alloc")]
pub mod ws_connection;
pub mod ws_frame;
#[cfg(feature = "alloc")]
pub mod ws_handshake;

/// The major version of the library; it changes when a program must be changed.
pub const PROTO_VERSION_MAJOR: u32 = 0;
/// The minor version; before 1.0 it changes when a program must be compiled again.
pub const PROTO_VERSION_MINOR: u32 = 1;
/// The patch version.
pub const PROTO_VERSION_PATCH: u32 = 0;

/// The version of the library that is linked: major << 16 | minor << 8 | patch. Equal to `PROTO_VERSION` of the header that
/// belongs to this library.
#[unsafe(no_mangle)]
pub extern "C" fn proto_version() -> u32 {
    PROTO_VERSION_MAJOR << 16 | PROTO_VERSION_MINOR << 8 | PROTO_VERSION_PATCH
}

/// The version of the library that is linked, as text such as `0.1.0`.
#[unsafe(no_mangle)]
pub extern "C" fn proto_version_text() -> *const core::ffi::c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Ends the program: without std nobody else does. Only a fault of this library could lead here.
#[cfg(not(any(feature = "std", test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    {
        unsafe extern "C" {
            fn abort() -> !;
        }
        // SAFETY: `abort` of the C library takes nothing and does not return.
        unsafe { abort() }
    }
}

/// Named by the unwind tables of the precompiled `core`, never called: this build aborts. Without it, a program links only with
/// `--gc-sections`.
#[cfg(all(not(any(feature = "std", test)), panic = "abort", not(target_arch = "wasm32")))]
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_that_of_the_package() {
        let [major, minor, patch] = [
            super::PROTO_VERSION_MAJOR,
            super::PROTO_VERSION_MINOR,
            super::PROTO_VERSION_PATCH,
        ];
        assert_eq!(format!("{major}.{minor}.{patch}"), env!("CARGO_PKG_VERSION"));
    }
}
