//! Random bytes for masking keys and nonces, always passed in by the caller (RFC 6455 section 10.3).

/// A source of bytes that a peer cannot predict.
pub trait Entropy {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, bytes: &mut [u8]) {
        (**self).fill(bytes);
    }
}

/// Bytes that a [`Buffered`] source holds.
const BUFFER: usize = 4096;

/// Reads 4 KiB at a time from an expensive source: one system call for about a thousand frames. Used bytes are erased.
pub struct Buffered<E> {
    source: E,
    buffer: [u8; BUFFER],
    used: usize,
}

impl<E: Entropy> Buffered<E> {
    /// Buffers `source`. Reads nothing before the first use.
    pub const fn new(source: E) -> Self {
        Buffered {
            source,
            buffer: [0; BUFFER],
            used: BUFFER,
        }
    }
}

impl<E: Entropy> Entropy for Buffered<E> {
    fn fill(&mut self, bytes: &mut [u8]) {
        if bytes.len() > BUFFER {
            return self.source.fill(bytes);
        }
        if self.buffer.len() - self.used < bytes.len() {
            self.source.fill(&mut self.buffer);
            self.used = 0;
        }
        if let Some(from) = self.buffer.get_mut(self.used..self.used + bytes.len()) {
            bytes.copy_from_slice(from);
            from.fill(0);
        }
        self.used += bytes.len();
    }
}

impl<E> core::fmt::Debug for Buffered<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Buffered").finish_non_exhaustive()
    }
}

/// The operating system's random bytes.
///
/// # Panics
///
/// If the operating system provides no random bytes in [`fill`](Entropy::fill). No system in use does so, and no connection
/// could go on with predictable keys.
#[cfg(feature = "getrandom")]
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

#[cfg(feature = "getrandom")]
impl Entropy for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            panic!("no random bytes from the operating system: {error}");
        }
    }
}

/// The operating system's random bytes, through one buffer per thread, which all connections of the thread share.
#[cfg(feature = "getrandom")]
#[derive(Debug, Clone, Copy, Default)]
pub struct PerThread;

#[cfg(feature = "getrandom")]
impl Entropy for PerThread {
    #[inline]
    fn fill(&mut self, bytes: &mut [u8]) {
        std::thread_local! {
            static BUFFER: core::cell::RefCell<Buffered<System>> = const { core::cell::RefCell::new(Buffered::new(System)) };
        }
        BUFFER.with_borrow_mut(|buffer| buffer.fill(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u8, usize);

    impl Entropy for Counter {
        fn fill(&mut self, bytes: &mut [u8]) {
            self.1 += 1;
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
        }
    }

    #[test]
    fn no_byte_is_given_twice() {
        let mut counter = Counter(0, 0);
        let mut buffered = Buffered::new(&mut counter);
        let mut key = [0; 4];
        for i in 0..4096u32 {
            buffered.fill(&mut key);
            let first = (4 * i) as u8;
            assert_eq!(key, [first, first + 1, first + 2, first + 3]);
        }
        assert_eq!(counter.1, 4);
    }
}
