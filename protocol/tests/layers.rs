//! The layers of this crate: the tracer and the fault injector.

use std::time::{Duration, Instant, SystemTime};

use protocol::testing::{Faults, Faulty, Harness, splits};
use protocol::{Capture, Cx, Input, Reason, Simple, SimpleProtocol, Tracer};

/// Echoes whole words of four bytes.
struct Words;

impl SimpleProtocol for Words {
    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) {
        while input.len() >= 4 {
            cx.send(input.take(4));
        }
    }
}

/// The bytes of both directions of a TCP connection over IPv4, read from a capture.
fn contents(capture: &[u8], local_port: u16) -> [Vec<u8>; 2] {
    let mut streams = [Vec::new(), Vec::new()];
    let mut rest = &capture[24..];
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let packet = &rest[16..16 + length];
        let outgoing = packet[20..22] == local_port.to_be_bytes();
        streams[usize::from(!outgoing)].extend_from_slice(&packet[40..]);
        rest = &rest[16 + length..];
    }
    streams
}

#[test]
fn a_capture_has_every_byte_once_however_it_was_cut() {
    let said = b"onetwothree!ab";
    for pieces in splits(said) {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
        let (wall, now) = (SystemTime::UNIX_EPOCH, Instant::now());
        let capture = Capture::new(Vec::new(), wall, now).unwrap();
        let ends = ("192.0.2.2:80".parse().unwrap(), "192.0.2.1:4242".parse().unwrap());
        let mut harness = Harness::new(Tracer::new(Simple(Words), &capture, ends.0, ends.1));
        for piece in pieces {
            harness.receive(piece);
        }
        harness.eof();
        assert_eq!((harness.ended(), harness.sent()), (Some(Reason::Closed), &said[..12]));
        drop(harness);
        assert_eq!(capture.error(), None);
        let [sent, received] = contents(&capture.into_inner().unwrap(), 80);
        assert_eq!((&sent[..], &received[..]), (&said[..12], &said[..]));
    }
}

#[test]
fn faults_chop_delay_and_cut() {
    let said = b"onetwothree!";
    for chop in 1..=said.len() {
        let mut harness = Harness::new(Faulty::new(Simple(Words), Faults::default().chop(chop)));
        harness.receive(said);
        assert_eq!(harness.sent(), said, "{chop}");
    }
    let mut harness = Harness::new(Faulty::new(
        Simple(Words),
        Faults::default().delay(Duration::from_secs(1)),
    ));
    harness.receive(&said[..4]);
    harness.advance(Duration::from_millis(999));
    assert_eq!(harness.sent(), b"");
    harness.advance(Duration::from_millis(1));
    assert_eq!(harness.sent(), &said[..4]);
    for faults in [Faults::default().cut_input(7), Faults::default().cut_output(7)] {
        let mut harness = Harness::new(Faulty::new(Simple(Words), faults));
        harness.receive(&said[..4]);
        assert_eq!(harness.ended(), None);
        harness.receive(&said[4..]);
        assert_eq!((harness.ended(), harness.was_reset()), (Some(Reason::Aborted), true));
    }
}
