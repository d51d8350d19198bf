//! The memory of a connection is limited, whatever makes it grow.
#![cfg(feature = "testing")]

use protocol::testing::Harness;
use protocol::{Cx, Input, Limits, Protocol, Reason};

/// Sends a kilobyte for each message.
struct Feed;

impl Protocol for Feed {
    type Message = ();
    type Error = std::convert::Infallible;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        input.take_all();
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, (): ()) -> Result<(), Self::Error> {
        cx.send(&[b'x'; 1024]);
        Ok(())
    }
}

#[test]
fn output_for_a_peer_that_takes_nothing_ends_at_the_limit() {
    let limits = Limits::default().high_water(1000).max_output(10_000);
    let mut harness = Harness::with_limits(Feed, limits);
    harness.set_window(Some(0));
    for sent in 1..100 {
        harness.post(());
        if harness.ended().is_some() {
            assert_eq!((harness.ended(), sent), (Some(Reason::OutputLimit), 10));
            return;
        }
        assert!(harness.held() <= 10_000);
    }
    panic!("{} bytes are held", harness.held());
}

/// Closes at the first byte.
struct Closer;

impl Protocol for Closer {
    type Message = ();
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        input.take_all();
        cx.send(b"bye");
        cx.close();
        Ok(())
    }
}

#[test]
fn a_peer_that_floods_a_closing_connection_is_reset() {
    let mut harness = Harness::with_limits(Closer, Limits::default().max_discard(1_000_000));
    harness.receive(b"x");
    assert_eq!(harness.take_sent(), b"bye");
    for _ in 0..10 {
        harness.receive(&[0; 100_000]);
        assert_eq!(harness.ended(), None);
    }
    harness.receive(b"x");
    assert_eq!(harness.ended(), Some(Reason::Closed));
    assert!(harness.was_reset());
}
