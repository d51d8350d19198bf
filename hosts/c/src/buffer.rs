//! Bytes that cross the border: views, output of fixed size, and the memory of opaque states.

use core::mem::{align_of, offset_of, size_of};
use core::{ptr, slice};

use proto_http::{Buffer, NoSpace};

use crate::error::{self, PROTO_OK};

/// Bytes that belong to somebody else. `data` may be NULL if `length` is 0. Not ended by a zero byte.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_bytes {
    /// The first byte.
    pub data: *const u8,
    /// Their number.
    pub length: usize,
}

impl proto_bytes {
    pub(crate) const EMPTY: Self = proto_bytes {
        data: ptr::null(),
        length: 0,
    };

    /// The bytes; `None` if NULL has a length or the length is impossible.
    ///
    /// # Safety
    ///
    /// `data` points to `length` bytes that live for `'a`, unless one of these is refused.
    pub(crate) unsafe fn get<'a>(self) -> Option<&'a [u8]> {
        // SAFETY: as promised.
        unsafe { bytes(self.data, self.length) }
    }
}

impl From<&[u8]> for proto_bytes {
    fn from(bytes: &[u8]) -> Self {
        proto_bytes {
            data: bytes.as_ptr(),
            length: bytes.len(),
        }
    }
}

/// # Safety
///
/// `data` points to `length` bytes that live for `'a`, unless it is NULL or the length is impossible.
pub(crate) unsafe fn bytes<'a>(data: *const u8, length: usize) -> Option<&'a [u8]> {
    if length == 0 {
        return Some(&[]);
    }
    if data.is_null() || length > isize::MAX as usize {
        return None;
    }
    // SAFETY: checked above, else as promised.
    Some(unsafe { slice::from_raw_parts(data, length) })
}

/// # Safety
///
/// As [`bytes`], and nobody else uses the bytes.
pub(crate) unsafe fn bytes_mut<'a>(data: *mut u8, length: usize) -> Option<&'a mut [u8]> {
    if length == 0 {
        return Some(&mut []);
    }
    if data.is_null() || length > isize::MAX as usize {
        return None;
    }
    // SAFETY: checked above, else as promised.
    Some(unsafe { slice::from_raw_parts_mut(data, length) })
}

/// # Safety
///
/// As [`bytes`].
pub(crate) unsafe fn text<'a>(data: *const u8, length: usize) -> Result<&'a str, i32> {
    // SAFETY: as promised.
    let bytes = unsafe { bytes(data, length) }.ok_or(error::PROTO_NULL)?;
    core::str::from_utf8(bytes).map_err(|_| error::PROTO_NOT_UTF8)
}

/// Memory that the encoders append to, and that the program has provided: `capacity` bytes at `data`, of which the first
/// `length` are used. An encoder that needs more room returns `PROTO_NO_SPACE` and has written nothing; sending and shifting
/// what is there, then calling again, is right.
#[repr(C)]
#[derive(Debug)]
pub struct proto_buffer {
    /// The memory.
    pub data: *mut u8,
    /// Its size.
    pub capacity: usize,
    /// The bytes in use. Set it to 0 before the first use.
    pub length: usize,
}

/// A [`proto_buffer`] while a function writes to it.
pub(crate) struct Out<'a> {
    memory: &'a mut [u8],
    length: &'a mut usize,
}

impl<'a> Out<'a> {
    /// # Safety
    ///
    /// `buffer` is NULL, or points to a buffer that owns its memory.
    pub(crate) unsafe fn new(buffer: *mut proto_buffer) -> Option<Self> {
        // SAFETY: as promised.
        let buffer = unsafe { buffer.as_mut() }?;
        // SAFETY: as promised.
        let memory = unsafe { bytes_mut(buffer.data, buffer.capacity) }?;
        (buffer.length <= memory.len()).then_some(Out {
            memory,
            length: &mut buffer.length,
        })
    }
}

impl Buffer for Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        let end = self.length.saturating_add(bytes.len());
        let place = self.memory.get_mut(*self.length..end).ok_or(NoSpace)?;
        place.copy_from_slice(bytes);
        *self.length = end;
        Ok(())
    }

    fn position(&self) -> usize {
        *self.length
    }

    fn rewind(&mut self, position: usize) {
        *self.length = position.min(*self.length);
    }

    fn appended(&mut self, position: usize) -> &mut [u8] {
        self.memory.get_mut(position..*self.length).unwrap_or_default()
    }
}

/// A field to send, or one that was received: a name and a value, neither ended by a zero byte.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct proto_field {
    /// The name.
    pub name: proto_bytes,
    /// The value.
    pub value: proto_bytes,
}

/// Bytes that were checked to be readable.
#[repr(transparent)]
pub(crate) struct Checked(proto_bytes);

impl AsRef<[u8]> for Checked {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `fields` checked them, and its caller promised the rest.
        unsafe { self.0.get() }.unwrap_or_default()
    }
}

// The codec takes pairs; a field of C is laid out as a pair.
const _: () = {
    assert!(size_of::<(Checked, Checked)>() == size_of::<proto_field>());
    assert!(align_of::<(Checked, Checked)>() == align_of::<proto_field>());
    assert!(offset_of!((Checked, Checked), 0) == offset_of!(proto_field, name));
    assert!(offset_of!((Checked, Checked), 1) == offset_of!(proto_field, value));
};

/// # Safety
///
/// `fields` points to `count` fields, whose bytes live for `'a`.
pub(crate) unsafe fn fields<'a>(fields: *const proto_field, count: usize) -> Option<&'a [(Checked, Checked)]> {
    if count == 0 {
        return Some(&[]);
    }
    if fields.is_null() || count > isize::MAX as usize / size_of::<proto_field>() {
        return None;
    }
    // SAFETY: checked above, else as promised.
    let all = unsafe { slice::from_raw_parts(fields, count) };
    let readable = |part: proto_bytes| part.length == 0 || !part.data.is_null() && part.length <= isize::MAX as usize;
    if !all.iter().all(|field| readable(field.name) && readable(field.value)) {
        return None;
    }
    // SAFETY: the layouts are equal, as asserted above.
    Some(unsafe { slice::from_raw_parts(fields.cast(), count) })
}

/// Writes through a pointer of C that may be NULL.
///
/// # Safety
///
/// `place` is NULL or may be written.
pub(crate) unsafe fn set<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: as promised.
        unsafe { place.write(value) };
    }
}

/// The status of a call that writes nothing but its effect.
pub(crate) fn status<E>(result: Result<(), E>, code: impl FnOnce(E) -> i32) -> i32 {
    result.map_or_else(code, |()| PROTO_OK)
}

/// Declares that a C struct holds a value of a Rust type: casts between pointers to both.
macro_rules! holds {
    ($c:ident, $inner:ty) => {
        const _: () = {
            assert!(size_of::<$inner>() <= size_of::<$c>());
            // On 64-bit machines no byte is wasted.
            assert!(cfg!(not(target_pointer_width = "64")) || size_of::<$inner>() + 8 > size_of::<$c>());
            assert!(align_of::<$inner>() <= align_of::<$c>());
        };

        impl $c {
            /// # Safety
            ///
            /// `this` is NULL or holds a value that `put` has written.
            pub(crate) unsafe fn state<'a>(this: *mut $c) -> Option<&'a mut $inner> {
                // SAFETY: as promised; size and alignment fit, as asserted above.
                unsafe { this.cast::<$inner>().as_mut() }
            }

            /// # Safety
            ///
            /// `this` is NULL or may be written.
            unsafe fn put(this: *mut $c, value: $inner) -> i32 {
                if this.is_null() {
                    return crate::error::PROTO_NULL;
                }
                // SAFETY: as promised; size and alignment fit, as asserted above.
                unsafe { this.cast::<$inner>().write(value) };
                crate::error::PROTO_OK
            }
        }
    };
}
pub(crate) use holds;
