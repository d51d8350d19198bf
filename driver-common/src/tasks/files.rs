//! Reads of files that do not wait for a disk.

use protocol::{FilePiece, Load};

/// Reads from the start of `piece` into `buffer` what the page cache holds. `None` if the read would wait for the disk, if it fails,
/// or where the system cannot tell: [`Load::run`] on a thread that may block then says more. 0 is the end of the file.
#[must_use]
pub fn read_cached(piece: &FilePiece, buffer: &mut [u8]) -> Option<usize> {
    let n = usize::try_from(piece.len()).map_or(buffer.len(), |length| length.min(buffer.len()));
    cached(piece, buffer.get_mut(..n)?)
}

#[cfg(target_os = "linux")]
fn cached(piece: &FilePiece, buffer: &mut [u8]) -> Option<usize> {
    use rustix::io::{IoSliceMut, ReadWriteFlags, preadv2};
    let buffers = &mut [IoSliceMut::new(buffer)];
    preadv2(piece.file(), buffers, piece.offset(), ReadWriteFlags::NOWAIT).ok()
}

#[cfg(not(target_os = "linux"))]
fn cached(_: &FilePiece, _: &mut [u8]) -> Option<usize> {
    None
}

/// Carries out `load` if the page cache holds all of it; false if it has to be [`run`](Load::run) where threads may block.
#[must_use]
pub fn load_cached(load: &Load) -> bool {
    let Ok(length) = usize::try_from(load.piece().len()) else {
        return false;
    };
    let mut bytes = vec![0; length];
    let mut piece = load.piece().clone();
    let mut filled = 0;
    while filled < length {
        match read_cached(&piece, &mut bytes[filled..]) {
            None => return false,
            Some(0) => break,
            Some(n) => {
                piece.advance(n as u64);
                filled += n;
            }
        }
    }
    bytes.truncate(filled);
    load.complete(Ok(bytes.into()));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    #[test]
    fn what_is_cached_is_read_at_once() {
        let path = std::env::temp_dir().join(format!("cached-{}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(b"0123456789").unwrap();
        let file = Arc::new(std::fs::File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let mut buffer = [0; 20];
        let read = read_cached(&FilePiece::new(Arc::clone(&file), 2, 5), &mut buffer);
        // Where the file system cannot tell, the answer is None.
        assert!(
            read.is_none() || (read == Some(5) && buffer.starts_with(b"23456\0")),
            "{read:?}"
        );
        let behind = read_cached(&FilePiece::new(file, 10, 5), &mut buffer);
        assert!(behind.is_none_or(|n| n == 0));
    }
}
