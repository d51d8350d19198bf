//! Pieces of files in the output.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::FilePiece;

/// More than a transport holds. A quarter of the length in memory is more than what TLS and a stream of HTTP/2 read of a file in
/// advance: up to two windows of 64 KiB.
fn length_of<D: Driver>() -> usize {
    if D::IN_MEMORY { 1 << 20 } else { 12 << 20 }
}

/// What a file holds at each place: no two pages are alike.
fn content(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut word = 0u64;
    while bytes.len() < length {
        bytes.extend_from_slice(&word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        word += 1;
    }
    bytes.truncate(length);
    bytes
}

/// An open file of these bytes that has no name any more, and a handle that changes it.
fn file(bytes: &[u8]) -> (Arc<File>, File) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("conformance-{}-{number}", std::process::id()));
    let made = File::create(&path).and_then(|mut file| {
        file.write_all(bytes)?;
        Ok((Arc::new(File::open(&path)?), file))
    });
    let _ = std::fs::remove_file(&path);
    match made {
        Ok(made) => made,
        Err(error) => fail!("expected a file in the directory for temporary files, saw {error}"),
    }
}

/// Answers each byte with what `answer` makes of it, and closes at the end of the stream.
fn answers(answer: impl Fn(&mut Cx<'_>, u8) + Send + Sync + 'static) -> impl Into<Script> {
    script(move |cx, _, told| {
        match told {
            Told::Received(input) => {
                for byte in input.take_all() {
                    answer(cx, *byte);
                }
            }
            Told::Eof => cx.close(),
            _ => {}
        }
        Ok(())
    })
}

/// Bytes, shared bytes, and short and long pieces of two files, in the order in which they were put.
pub(super) fn order<D: Driver>(driver: &D) {
    let whole = if D::IN_MEMORY { 100_000 } else { 3 << 20 };
    let pieces = [(0, whole), (1, 1), (4097, 70_001), (5, 0), (100, whole / 3)];
    let bytes = content(whole);
    let (one, _keep) = file(&bytes);
    let mut expected = Vec::new();
    for (offset, length) in pieces {
        expected.extend_from_slice(b"head ");
        expected.extend_from_slice(&bytes[offset..offset + length]);
        expected.extend_from_slice(&[b'-'; 3000]);
        // Two pieces with nothing in between.
        expected.extend_from_slice(&bytes[7..17]);
        expected.extend_from_slice(&bytes[..5]);
    }
    expected.extend_from_slice(b"tail");
    let mut session = session(
        driver,
        limits(),
        answers(move |cx, _| {
            let piece = |cx: &mut Cx<'_>, offset, length| {
                cx.output().push_file(FilePiece::new(Arc::clone(&one), offset, length));
            };
            for (offset, length) in pieces {
                cx.send(b"head ");
                piece(cx, offset as u64, length as u64);
                cx.output().push(bytes::Bytes::from(vec![b'-'; 3000]));
                piece(cx, 7, 10);
                piece(cx, 0, 5);
            }
            cx.send(b"tail");
        }),
    );
    session.wire.send(b"?");
    let seen = read(&mut *session.wire, expected.len());
    expect_bytes("what was put into the output", &seen, &expected);
    let (_, reason) = finish(session);
    expect("the end", reason, Reason::Closed);
}

/// A peer that does not read holds a file up: the connection is congested, keeps little in memory, reads nothing, and goes on with
/// the right byte.
pub(super) fn back_pressure<D: Driver>(driver: &D) {
    let length = length_of::<D>();
    let bytes = content(length);
    let (long, _keep) = file(&bytes);
    let mut session = session(
        driver,
        // A file is not held in memory, so it may be longer than this.
        limits().max_output(length / 4),
        answers(move |cx, byte| {
            cx.output()
                .push_file(FilePiece::new(Arc::clone(&long), 0, length as u64));
            cx.send(&[byte]);
            if !cx.is_congested() {
                cx.abort();
            }
        }),
    );
    session.wire.send(b"1");
    session
        .trace
        .wait("the first byte", |call| matches!(call, Call::Received(_)));
    session.wire.send(b"2");
    session.wire.pass(Duration::from_millis(100));
    if !D::IN_MEMORY {
        let second = |call: &Call| *call == Call::Received(b"2".to_vec());
        expect("calls while the peer takes nothing", session.trace.count(second), 0);
    }
    let seen = read(&mut *session.wire, 2 * (length + 1));
    let expected = [&bytes[..], b"1", &bytes[..], b"2"].concat();
    expect_bytes("both files", &seen, &expected);
    let (trace, reason) = finish(session);
    expect("the end", reason, Reason::Closed);
    expect("calls of drained", trace.count(|call| *call == Call::Drained), 2);
}

/// What must come is cut off, and nothing else comes in its place.
fn cut_off(session: &mut Session, expected: &[u8]) {
    let mut seen = Vec::new();
    let end = Instant::now() + PATIENCE;
    loop {
        match session.wire.receive(Duration::from_millis(100)) {
            Received::Bytes(more) => seen.extend(more),
            Received::Reset => break,
            Received::Eof => fail!("expected a reset, saw an orderly end after {} bytes", seen.len()),
            Received::Nothing => ensure!(Instant::now() < end, "expected a reset, saw none"),
        }
    }
    // A reset may overtake what was sent before.
    ensure!(
        expected.starts_with(&seen),
        "expected the start of the file and nothing else, saw {} bytes that are not",
        seen.len()
    );
    // Where a layer has sent it on, the layer's connection has failed with the same reason.
    let reason = session.trace.end();
    expect("the end", reason, Reason::File(io::ErrorKind::UnexpectedEof));
}

/// A file that is shorter than its piece ends the connection: what stands behind it is not sent in its place.
pub(super) fn a_short_file<D: Driver>(driver: &D) {
    for length in [0, 10, 100_000] {
        let bytes = content(length);
        let (short, _keep) = file(&bytes);
        let mut session = session(
            driver,
            limits(),
            answers(move |cx, _| {
                cx.output().push_file(FilePiece::new(Arc::clone(&short), 0, 200_000));
                cx.output().push(bytes::Bytes::from(vec![b'!'; 200_000]));
                cx.close();
            }),
        );
        session.wire.send(b"?");
        cut_off(&mut session, &bytes);
    }
}

/// As before, where the file shrinks while it is sent.
pub(super) fn a_file_that_shrinks<D: Driver>(driver: &D) {
    let length = length_of::<D>();
    let bytes = content(length);
    let (long, handle) = file(&bytes);
    let mut session = session(
        driver,
        limits().max_output(usize::MAX),
        answers(move |cx, _| {
            cx.output()
                .push_file(FilePiece::new(Arc::clone(&long), 0, length as u64));
            cx.output().push(bytes::Bytes::from(vec![b'!'; length]));
        }),
    );
    session.wire.send(b"?");
    session.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
    session.wire.pass(QUIET);
    if let Err(error) = handle.set_len(length as u64 - 1) {
        fail!("expected a file that can be shortened, saw {error}");
    }
    cut_off(&mut session, &bytes);
}

/// A connection that is closed, or stopped, sends its file to the end first.
pub(super) fn closing_and_stopping<D: Driver>(driver: &D) {
    let length = length_of::<D>();
    let bytes = content(length);
    let (long, _keep) = file(&bytes);
    let mut session = session(
        driver,
        limits(),
        script(move |cx, _, told| {
            match told {
                Told::Received(input) => {
                    let closes = input.take_all() == b"c";
                    cx.output()
                        .push_file(FilePiece::new(Arc::clone(&long), 0, length as u64));
                    if closes {
                        cx.close();
                    }
                }
                Told::Stop | Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    let mut other = another(&session.server);
    session.wire.send(b"c");
    session.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
    expect_bytes("the file", &read_to_eof(&mut *session.wire), &bytes);
    let server = Rc::clone(&session.server);
    expect("the end", finish(session).1, Reason::Closed);
    other.wire.send(b"s");
    other.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
    server.served.stop(LONG);
    expect_bytes("the file", &read_to_eof(&mut *other.wire), &bytes);
    expect("the end", finish(other).1, Reason::Closed);
}

/// A peer that goes in the middle of a file is noticed, and its connection ends.
pub(super) fn a_peer_that_goes<D: Driver>(driver: &D) {
    let length = length_of::<D>();
    let bytes = content(length);
    let (long, _keep) = file(&bytes);
    let watch = Arc::downgrade(&long);
    let mut session = session(
        driver,
        limits(),
        answers(move |cx, _| {
            cx.output()
                .push_file(FilePiece::new(Arc::clone(&long), 0, length as u64))
        }),
    );
    session.wire.send(b"?");
    session.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
    session.wire.pass(QUIET);
    session.wire.reset();
    let reason = session.trace.end();
    ensure!(
        matches!(reason, Reason::Io(_)),
        "expected an error of the system, saw {reason:?}"
    );
    // The server's own handle is left; those of the pieces are gone.
    let end = Instant::now() + PATIENCE;
    while watch.strong_count() > 1 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    expect("handles of the file", watch.strong_count(), 1);
}
