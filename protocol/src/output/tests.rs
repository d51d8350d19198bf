//! What goes in comes out, in order.

use super::*;

fn drain(output: &mut Output, step: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while output.has_remaining() {
        let mut slices = [IoSlice::new(&[]); 3];
        let n = output.chunks_vectored(&mut slices);
        assert!(n > 0);
        let joined: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
        assert_eq!(&slices[0][..], output.chunk());
        let n = joined.len().min(step);
        all.extend_from_slice(&joined[..n]);
        output.advance(n);
    }
    assert!(output.is_empty());
    assert_eq!(output.len(), 0);
    all
}

#[test]
fn what_is_written_in_place_is_output() {
    let mut output = Output::new();
    output.extend_from_slice(b"in ");
    output.tail().extend_from_slice(b"place");
    assert_eq!(drain(&mut output, 100), b"in place");
}

/// Memory is kept up to a bound, and freed beyond it.
#[test]
fn clearing_keeps_little_memory() {
    for (size, kept) in [(KEEP_MAX / 2, true), (KEEP_MAX * 2, false)] {
        let mut output = Output::new();
        output.tail().reserve(size);
        output.tail().extend_from_slice(b"x");
        output.clear();
        assert!(output.is_empty());
        assert_eq!(output.tail().capacity() > 0, kept, "{size}");
    }
}

#[test]
fn order_is_kept_for_every_step() {
    for step in [1, 2, 3, 1023, 1024, 1025, 5000, 100_000] {
        let mut output = Output::new();
        let mut expected = Vec::new();
        for (i, size) in [10, 2000, 0, 1, 1500, 3000, 7].into_iter().enumerate() {
            let piece = vec![b'a' + i as u8; size];
            expected.extend_from_slice(&piece);
            if size > 5 {
                output.push(Bytes::from(piece))
            } else {
                output.extend_from_slice(&piece)
            }
        }
        assert_eq!(output.len(), expected.len());
        assert_eq!(drain(&mut output, step), expected, "step {step}");
        output.extend_from_slice(b"again");
        assert_eq!(drain(&mut output, step), b"again");
    }
}

#[test]
fn splitting_moves_the_content_and_keeps_the_memory() {
    let mut output = Output::new();
    output.extend_from_slice(b"copied");
    output.push(Bytes::from(vec![1; 2000]));
    let capacity = output.tail.capacity();
    let mut parked = output.split();
    assert!(output.is_empty());
    assert_eq!(output.tail.capacity(), capacity);
    assert_eq!(drain(&mut parked, 100).len(), 2006);
}

#[test]
fn appending_keeps_the_order() {
    let mut all = Output::new();
    let mut expected = Vec::new();
    for round in 0..3u8 {
        let mut output = Output::new();
        for (i, size) in [10, 2000, 7].into_iter().enumerate() {
            let piece = vec![b'a' + round * 3 + i as u8; size];
            expected.extend_from_slice(&piece);
            output.push(Bytes::from(piece));
        }
        all.append(&mut output);
        assert!(output.is_empty());
    }
    assert_eq!(all.chunks().collect::<Vec<_>>().concat(), expected);
    assert_eq!(drain(&mut all, 100), expected);
}

#[test]
fn splitting_copies_little() {
    let mut output = Output::new();
    output.extend_from_slice(&[b'x'; 10 * KEEP_MAX]);
    let start = output.chunk().as_ptr();
    for _ in 0..8 {
        output.advance(KEEP_MAX);
        output = output.split();
    }
    assert_eq!(output.chunk().as_ptr(), start.wrapping_add(8 * KEEP_MAX));
    assert_eq!(output.len(), 2 * KEEP_MAX);
}

#[test]
fn sharing_copies_nothing() {
    let bytes = Bytes::from(vec![7; 10_000]);
    let mut output = Output::new();
    output.push(bytes.clone());
    assert_eq!(output.chunk().as_ptr(), bytes.as_ptr());
}

/// A file of `length` bytes, each of which tells where it is.
fn file(length: usize) -> (Arc<std::fs::File>, Vec<u8>) {
    use std::io::Write;
    static NAMES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NAMES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("output-{}-{number}", std::process::id()));
    let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
    std::fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    (Arc::new(file), bytes)
}

/// Bytes, shared bytes and pieces of a file in turn, and what they are together.
fn mixed(file: &Arc<std::fs::File>, content: &[u8]) -> (Output, Vec<u8>) {
    let (mut output, mut expected) = (Output::new(), Vec::new());
    for (round, (offset, length)) in [(0, 5000), (100, 1), (7, 0), (2000, 3000)].into_iter().enumerate() {
        output.extend_from_slice(b"head");
        expected.extend_from_slice(b"head");
        if round != 1 {
            output.push_file(FilePiece::new(Arc::clone(file), offset as u64, length as u64));
            expected.extend_from_slice(&content[offset..offset + length]);
        }
        if round % 2 == 0 {
            output.push(Bytes::from(vec![b's'; 2000]));
            expected.extend_from_slice(&[b's'; 2000]);
        }
    }
    output.extend_from_slice(b"tail");
    expected.extend_from_slice(b"tail");
    (output, expected)
}

#[test]
fn pieces_of_files_keep_their_place() {
    let (file, content) = file(6000);
    for step in [61, 1000, 4096, 70_000] {
        for load in [0, 1, 4, 5, 4000, 100_000] {
            let (mut output, expected) = mixed(&file, &content);
            assert_eq!((output.len(), output.is_empty()), (expected.len(), false));
            assert_eq!(output.held(), expected.len() - 8000);
            let mut all = Vec::new();
            while !output.is_empty() {
                output.load(load).unwrap();
                let left = output.len();
                if let Some(piece) = output.file() {
                    // As `sendfile` does.
                    let mut buffer = vec![0; step];
                    let n = piece.read(&mut buffer).unwrap();
                    all.extend_from_slice(&buffer[..n]);
                    output.advance(n);
                } else {
                    assert!(output.remaining() >= load.min(left));
                    let chunks = output.chunks().collect::<Vec<_>>().concat();
                    assert_eq!(chunks.len(), output.remaining());
                    assert!(chunks.starts_with(output.chunk()));
                    let n = step.min(output.chunk().len());
                    all.extend_from_slice(&output.chunk()[..n]);
                    output.advance(n);
                }
                assert!(output.len() < left);
            }
            assert!(all == expected, "step {step}, load {load}");
            assert_eq!((output.len(), output.held()), (0, 0));
        }
    }
}

#[test]
fn appending_and_splitting_move_pieces_of_files() {
    let (file, content) = file(6000);
    let (mut all, expected) = mixed(&file, &content);
    all.advance(3);
    let mut other = mixed(&file, &content).0;
    all.append(&mut other);
    assert!(other.is_empty() && other.held() == 0);
    let mut parked = all.split();
    assert!(all.is_empty() && all.held() == 0);
    let mut ready = Vec::new();
    while !parked.is_empty() {
        // Nothing that is not in memory is split off.
        let front = parked.split_ready();
        assert_eq!(front.len(), front.remaining());
        ready.extend(front.chunks().collect::<Vec<_>>().concat());
        parked.load(500).unwrap();
    }
    assert!(ready == [&expected[3..], &expected[..]].concat());
}

/// A file that is shorter than its piece is an error, and never other bytes.
#[test]
fn a_short_file_is_an_error() {
    let (file, content) = file(100);
    let mut output = Output::new();
    output.push_file(FilePiece::new(file, 90, 20));
    output.extend_from_slice(b"behind");
    output.load(10).unwrap();
    assert_eq!(output.chunk(), &content[90..]);
    output.advance(10);
    assert_eq!(output.load(1).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(output.chunk().is_empty());
}

/// A read that a layer has asked for has its place among the bytes, and no length.
#[test]
fn asked_loads_keep_their_place() {
    let (file, _) = file(100);
    let mut output = Output::new();
    output.extend_from_slice(b"before");
    let load = Load::new(FilePiece::new(file, 0, 100));
    output.ask(Arc::clone(&load));
    output.extend_from_slice(b"behind");
    assert_eq!((output.len(), output.remaining()), (12, 6));
    output.advance(6);
    assert_eq!((output.chunk(), output.is_empty()), (&b""[..], false));
    let mut seen = 0;
    let loaded = output.loads(0, |_, _| seen += 1).unwrap();
    assert_eq!((seen, loaded.waits, loaded.asked), (1, true, false));
    load.run();
    let loaded = output.loads(0, |_, _| seen += 1).unwrap();
    assert_eq!((seen, loaded.waits, loaded.asked), (1, false, true));
    assert_eq!(output.chunk(), b"behind");
    output.advance(6);
    assert!(output.is_empty());
}
