//! Pieces of files in the output, and reads of them.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;

use bytes::Bytes;

/// A piece of an open file, to be sent as it is: for [`Output::push_file`](crate::Output::push_file).
///
/// The file is shared, so many connections can send the same open file at the same time: a piece has an offset of its own and does
/// not use the file's position. The file is closed with its last piece.
///
/// The file must be a regular file or a block device that holds `length` bytes from `offset`. If the file turns out to be shorter
/// when the piece is sent, the connection ends with a reset ([`Reason::File`](crate::Reason::File)): the peer was promised the bytes.
///
/// ```
/// use std::sync::Arc;
/// use protocol::{FilePiece, Output};
///
/// let file = Arc::new(std::fs::File::open("Cargo.toml")?);
/// let mut output = Output::new();
/// output.extend_from_slice(b"before ");
/// output.push_file(FilePiece::new(file, 1, 7));
/// assert_eq!(output.len(), 14);
/// output.load(14)?;
/// assert_eq!(output.chunks().collect::<Vec<_>>().concat(), b"before package");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct FilePiece {
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl FilePiece {
    /// `length` bytes of `file`, from `offset`.
    #[must_use]
    pub fn new(file: Arc<File>, offset: u64, length: u64) -> Self {
        Self { file, offset, length }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where in the file the piece begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the piece.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing is left of the piece.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Splits off the first `n` bytes, or all if the piece is shorter.
    #[must_use]
    pub fn split_to(&mut self, n: u64) -> FilePiece {
        let first = FilePiece {
            length: n.min(self.length),
            ..self.clone()
        };
        self.advance(n);
        first
    }

    /// Drops the first `n` bytes, or all if the piece is shorter.
    pub fn advance(&mut self, n: u64) {
        let n = n.min(self.length);
        self.offset = self.offset.saturating_add(n);
        self.length -= n;
    }

    /// Reads the first bytes of the piece into `buffer`, in one system call. Returns how many; 0 if the file has ended before the
    /// piece. May block while the disk is read.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = usize::try_from(self.length).map_or(buffer.len(), |length| length.min(buffer.len()));
        loop {
            match read_at(&self.file, &mut buffer[..n], self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// Reads the whole piece. May block while the disk is read.
    ///
    /// # Errors
    ///
    /// Those of the system; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the file has ended before the piece, and
    /// [`OutOfMemory`](io::ErrorKind::OutOfMemory) if there is no memory for it.
    pub fn read_all(&self) -> io::Result<Bytes> {
        let length = usize::try_from(self.length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length)?;
        bytes.resize(length, 0);
        let (mut left, mut filled) = (self.clone(), 0);
        while !left.is_empty() {
            match left.read(&mut bytes[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    left.advance(n as u64);
                    filled += n;
                }
            }
        }
        Ok(bytes.into())
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(not(any(unix, windows)))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

impl fmt::Debug for FilePiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilePiece")
            .field("offset", &self.offset)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// A read of a piece of a file into memory, which may happen on another thread: for drivers whose threads must not block.
///
/// The turn of a connection makes a `Load` when the output comes to a piece of a file that the transport cannot send as it is. The
/// driver gets the load by [`Transport::load`](crate::driver::Transport::load).
pub struct Load {
    piece: FilePiece,
    /// Whether [`begin`](Load::begin) was called.
    begun: AtomicBool,
    waker: Mutex<Option<Waker>>,
    outcome: OnceLock<Result<Bytes, io::ErrorKind>>,
}

impl Load {
    pub(crate) fn new(piece: FilePiece) -> Arc<Self> {
        Arc::new(Self {
            piece,
            begun: AtomicBool::new(false),
            waker: Mutex::new(None),
            outcome: OnceLock::new(),
        })
    }

    /// What is read.
    #[must_use]
    pub fn piece(&self) -> &FilePiece {
        &self.piece
    }

    /// Registers who is woken at the end of the read. True on the first call: the caller then has [`run`](Load::run) called on a
    /// thread that may block.
    pub fn begin(&self, waker: &Waker) -> bool {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        drop(known);
        if self.is_done() {
            // The read has ended before it knew this waker.
            waker.wake_by_ref();
        }
        !self.begun.swap(true, Ordering::Relaxed)
    }

    /// Reads, and wakes the waker of [`begin`](Load::begin). Blocks while the disk is read. Does nothing if the read has ended.
    pub fn run(&self) {
        if !self.is_done() {
            self.complete(self.piece.read_all().map_err(|error| error.kind()));
        }
    }

    /// Ends the read with bytes that were read elsewhere, or with an error. Bytes that are not exactly as many as the piece has are
    /// an [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    pub fn complete(&self, outcome: Result<Bytes, io::ErrorKind>) {
        let outcome = outcome.and_then(|bytes| {
            let whole = bytes.len() as u64 == self.piece.len();
            if whole {
                Ok(bytes)
            } else {
                Err(io::ErrorKind::UnexpectedEof)
            }
        });
        let _ = self.outcome.set(outcome);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the read has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// What was read, once the read has ended.
    pub(crate) fn outcome(&self) -> Option<Result<Bytes, io::ErrorKind>> {
        self.outcome.get().cloned()
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load")
            .field("piece", &self.piece)
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}
