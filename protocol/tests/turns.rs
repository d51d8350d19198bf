//! What connections that share a turn leave alone of each other's.
#![expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]

use std::convert::Infallible;
use std::time::Instant;

use protocol::driver::{Connection, Scratch, Todo};
use protocol::{Cx, Input, Limits, Protocol};

/// Sends each message.
struct Feed;

impl Protocol for Feed {
    type Message = &'static [u8];
    type Error = Infallible;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        Ok(())
    }

    fn message(&mut self, cx: &mut Cx<'_>, message: &'static [u8]) -> Result<(), Infallible> {
        cx.send(message);
        Ok(())
    }
}

#[test]
fn a_connection_told_nothing_leaves_the_turn_to_others() {
    let mut scratch = Scratch::new(Limits::default(), Instant::now());
    let mut connection = Connection::new(Feed);
    connection.turn(&mut scratch).connected();
    assert!(matches!(connection.turn(&mut scratch).todo(), Todo::Wait(_)));

    assert_eq!(connection.turn(&mut scratch).messages([&b"for one"[..]]), 1);
    assert_eq!(connection.turn(&mut scratch).todo(), Todo::Send);
    connection.turn(&mut scratch).blocked();
    assert!(matches!(connection.turn(&mut scratch).todo(), Todo::Wait(interest) if interest.write));
    assert!(connection.turn(&mut scratch).output().is_empty());

    assert_eq!(connection.turn(&mut scratch).messages([]), 0);
    assert!(
        connection.turn(&mut scratch).output().is_empty(),
        "what waits belongs to its connection"
    );
    assert_eq!(connection.held(), 7);
}
