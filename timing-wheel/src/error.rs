//! The errors of this crate.

use core::fmt;

/// There was no memory for another timer; the error returns the value. Made by
/// [`Wheel::try_insert`](crate::Wheel::try_insert).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InsertError<T> {
    value: T,
}

impl<T> InsertError<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { value }
    }

    /// The value of the timer that was not set.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> fmt::Debug for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for InsertError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no memory for another timer")
    }
}

impl<T> core::error::Error for InsertError<T> {}
