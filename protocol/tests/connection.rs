//! What `Connection` reports to the author of a driver.
#![cfg(feature = "testing")]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use protocol::driver::{Connection, Interest, Scratch, Todo};
use protocol::testing::Harness;
use protocol::{Cx, Input, Limits, Protocol, Reason};

/// Leaves the last three bytes of the input, answers with ten bytes, and closes at the end of the stream.
struct Keeps;

impl Protocol for Keeps {
    type Message = ();
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take(input.len().saturating_sub(3));
        cx.send(b"0123456789");
        Ok(())
    }
}

#[test]
fn what_is_held_is_input_and_output() {
    let mut harness = Harness::new(Keeps);
    assert_eq!(harness.held(), 0);
    harness.set_window(Some(4));
    harness.receive(b"hello");
    assert_eq!((harness.sent(), harness.held()), (&b"0123"[..], 3 + 6));
    harness.set_window(Some(5));
    assert_eq!(harness.held(), 3 + 1);
    harness.set_window(None);
    assert_eq!(harness.held(), 3);
    harness.eof();
    assert_eq!((harness.held(), harness.ended()), (0, Some(Reason::Closed)));
}

#[test]
fn it_is_open_until_it_begins_to_close() {
    let mut scratch = Scratch::new(Limits::default(), Harness::new(Keeps).now());
    let mut connection = Connection::new(Keeps);
    assert!(connection.is_open());
    let nothing = Interest {
        read: false,
        write: false,
    };
    assert_eq!(connection.turn(&mut scratch).todo(), Todo::Wait(nothing));
    connection.turn(&mut scratch).connected();
    assert!(connection.is_open());
    let input = Interest { read: true, ..nothing };
    assert_eq!(connection.turn(&mut scratch).todo(), Todo::Wait(input));
    connection.turn(&mut scratch).eof();
    assert!(!connection.is_open());
    assert_eq!(connection.reason(), Reason::Closed);
    // The peer has closed, so the driver only has to drop the socket.
    assert_eq!(connection.turn(&mut scratch).todo(), Todo::Drop { reset: false });
    assert!(!connection.is_open());
}

#[test]
fn a_driver_may_kill_it() {
    let mut scratch = Scratch::new(Limits::default(), Harness::new(Keeps).now());
    let mut connection = Connection::new(Keeps);
    connection.turn(&mut scratch).connected();
    connection.turn(&mut scratch).kill(Reason::Stopped);
    assert_eq!((connection.is_open(), connection.reason()), (false, Reason::Stopped));
    assert_eq!(connection.turn(&mut scratch).todo(), Todo::Drop { reset: true });
}

/// Counts its timeouts.
struct Waits(usize, Option<Instant>);

impl Protocol for Waits {
    type Message = ();
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.1 = Some(cx.now() + Duration::from_secs(1));
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, _: &mut Input<'_>) -> Result<(), Infallible> {
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.1
    }

    fn timeout(&mut self, _: &mut Cx<'_>) -> Result<(), Infallible> {
        self.0 += 1;
        self.1 = None;
        Ok(())
    }
}

#[test]
fn a_timer_that_fires_early_does_nothing() {
    let mut scratch = Scratch::new(Limits::default(), Harness::new(Keeps).now());
    let mut connection = Connection::new(Waits(0, None));
    connection.turn(&mut scratch).connected();
    for (millis, timeouts) in [(999, 0), (1000, 1), (2000, 1)] {
        let mut scratch = Scratch::new(Limits::default(), scratch.now + Duration::from_millis(millis));
        connection.turn(&mut scratch).timeout();
        assert!(matches!(connection.turn(&mut scratch).todo(), Todo::Wait(_)));
        assert_eq!(connection.protocol().0, timeouts, "after {millis} ms");
    }
    assert_eq!(connection.deadline(), None);
}

#[test]
fn unsent_output_may_reach_its_limit() {
    for (limit, ended) in [(10, None), (9, Some(Reason::OutputLimit))] {
        let limits = Limits::default().high_water(1).max_output(limit);
        let mut harness = Harness::with_limits(Keeps, limits);
        harness.set_window(Some(0));
        harness.receive(b"hello");
        assert_eq!(harness.ended(), ended);
    }
}

/// Says goodbye and closes at the first byte.
struct Leaves;

impl Protocol for Leaves {
    type Message = ();
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        cx.send(b"bye");
        cx.close();
        Ok(())
    }
}

#[test]
fn it_lingers_for_a_peer_that_does_not_close() {
    let limits = Limits::default().linger(Duration::from_secs(2));
    let mut harness = Harness::with_limits(Leaves, limits);
    harness.receive(b"x");
    assert!(harness.is_half_closed());
    harness.advance(Duration::from_millis(1999));
    assert_eq!(harness.ended(), None);
    harness.advance(Duration::from_millis(1));
    assert_eq!((harness.ended(), harness.was_reset()), (Some(Reason::Closed), false));
}

/// Sends as many bytes as each message says, and counts the calls of `drained`.
#[derive(Default)]
struct Feeds {
    drained: usize,
    endless: bool,
}

impl Protocol for Feeds {
    type Message = usize;
    type Error = Infallible;

    fn received(&mut self, _: &mut Cx<'_>, _: &mut Input<'_>) -> Result<(), Infallible> {
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, len: usize) -> Result<(), Infallible> {
        cx.send(&vec![b'x'; len]);
        Ok(())
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.drained += 1;
        if self.endless {
            cx.send(&[b'x'; 20]);
        }
        Ok(())
    }
}

#[test]
fn marks_and_limits_are_met_exactly() {
    let limits = Limits::default().high_water(10).max_output(20).max_input(5000);
    let feeds = || Harness::with_limits(Feeds::default(), limits);
    // Congested above the high-water mark.
    for (len, drained) in [(10, 0), (11, 1)] {
        let mut harness = feeds();
        harness.post(len);
        assert_eq!(harness.protocol().drained, drained, "{len} bytes");
    }
    // A connection ends above its limits: of output while the peer reads nothing, and of unconsumed input.
    for (len, ended) in [(10, None), (11, Some(Reason::OutputLimit))] {
        let mut harness = feeds();
        harness.set_window(Some(0));
        harness.post(10);
        harness.post(len);
        assert_eq!(harness.ended(), ended, "{len} bytes more");
    }
    for (len, ended) in [(5000, None), (5001, Some(Reason::InputLimit))] {
        let mut harness = feeds();
        harness.receive(&vec![0; len]);
        assert_eq!(harness.ended(), ended, "{len} bytes");
    }
}

#[test]
fn output_without_end_lets_others_have_their_turn() {
    let mut scratch = Scratch::new(Limits::default().high_water(10), Harness::new(Keeps).now());
    let mut connection = Connection::new(Feeds {
        drained: 0,
        endless: true,
    });
    connection.turn(&mut scratch).connected();
    connection.turn(&mut scratch).posted(20);
    for turns in 1..4 {
        let mut turn = connection.turn(&mut scratch);
        turn.again();
        while turn.todo() == Todo::Send {
            turn.sent(20);
            assert!(turn.connection().protocol().drained < 100, "a turn must end");
        }
        assert_eq!(turn.todo(), Todo::Again);
        assert_eq!(turn.connection().protocol().drained, turns * 16);
    }
}
