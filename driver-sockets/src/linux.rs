//! The options of Linux that neither socket2 nor rustix knows.
#![allow(unsafe_code, reason = "setsockopt takes a pointer")]

use std::io;
use std::os::fd::AsRawFd;

use libc::{c_int, socklen_t};
use socket2::SockRef;

/// Sets an option that is a number.
pub(crate) fn set(socket: &SockRef<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let size = size_of_val(&value) as socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel reads `size` bytes of `value`.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// An option that is a number.
#[cfg(test)]
pub(crate) fn get(socket: &SockRef<'_>, level: c_int, option: c_int) -> io::Result<c_int> {
    let mut value = 0;
    let mut size = size_of_val(&value) as socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel writes at most `size` bytes to `value`.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut value).cast(),
            &raw mut size,
        )
    };
    if outcome == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}
