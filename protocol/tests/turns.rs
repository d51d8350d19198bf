//! Turns: connections that share a `Scratch` do not mix their bytes, and each turn does what its driver asks.
#![expect(clippy::disallowed_methods, reason = "tests need some instant to start from")]

use std::convert::Infallible;
use std::time::Instant;

use bytes::Buf;
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

    fn posted(&mut self, cx: &mut Cx<'_>, message: &'static [u8]) -> Result<(), Infallible> {
        cx.send(message);
        Ok(())
    }
}

/// A driver that ends a turn before its output is sent does not send these bytes to another connection.
#[test]
fn a_turn_left_undone_keeps_its_output_to_itself() {
    let mut scratch = Scratch::new(Limits::default(), Instant::now());
    let (mut alice, mut bob) = (Connection::new(Feed), Connection::new(Feed));
    for connection in [&mut alice, &mut bob] {
        connection.turn(&mut scratch).connected();
    }
    let mut turn = alice.turn(&mut scratch);
    turn.posted(b"alice's secret");
    turn.blocked();
    assert!(matches!(turn.todo(), Todo::Wait(_)));
    drop(turn);
    for _ in 0..3 {
        assert!(matches!(alice.turn(&mut scratch).todo(), Todo::Wait(_)));
    }
    let mut turn = bob.turn(&mut scratch);
    turn.posted(b"hi");
    assert_eq!(turn.todo(), Todo::Send);
    assert_eq!(turn.output().chunk(), b"hi");
    turn.sent(2);
    drop(turn);
    let mut turn = alice.turn(&mut scratch);
    turn.writable();
    assert_eq!(turn.todo(), Todo::Send);
    assert_eq!(turn.output().chunk(), b"alice's secret");
}

/// Keeps input and messages until `flush`, and then sends them.
#[derive(Default)]
struct Joins(Vec<u8>, usize);

impl Protocol for Joins {
    type Message = &'static [u8];
    type Error = Infallible;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        self.0.extend_from_slice(input.take_all());
        Ok(())
    }

    fn posted(&mut self, _: &mut Cx<'_>, message: &'static [u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(message);
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.1 += 1;
        cx.send(&std::mem::take(&mut self.0));
        Ok(())
    }
}

#[test]
fn a_hundred_messages_are_flushed_once() {
    let mut scratch = Scratch::new(Limits::default(), Instant::now());
    let mut connection = Connection::new(Joins::default());
    let mut turn = connection.turn(&mut scratch);
    turn.connected();
    assert_eq!(turn.messages([&b"x"[..]; 100]), 100);
    assert_eq!(turn.todo(), Todo::Send);
    assert_eq!((turn.output().len(), turn.connection().protocol().1), (100, 1));
    turn.sent(100);
    assert!(matches!(turn.todo(), Todo::Wait(_)));
    turn.receive(&mut b"shown where it lies".to_vec());
    assert_eq!(turn.todo(), Todo::Send);
    assert_eq!(turn.output().chunk(), b"shown where it lies");
}

#[test]
fn output_in_flight_counts_and_comes_back() {
    let limits = Limits::default().high_water(10).max_output(40);
    let mut scratch = Scratch::new(limits, Instant::now());
    let mut connection = Connection::new(Feed);
    let mut turn = connection.turn(&mut scratch);
    turn.connected();
    turn.posted(b"twelve bytes");
    assert_eq!(turn.todo(), Todo::Send);
    let flight = turn.take_output();
    assert_eq!(flight.len(), 12);
    // While output is in flight no more is sent, and above the high-water mark no input is wanted.
    turn.posted(b" and more");
    assert!(matches!(turn.todo(), Todo::Wait(interest) if !interest.read && !interest.write));
    drop(turn);
    assert_eq!(connection.held(), 12 + 9);
    assert!(connection.deadline().is_some(), "the write timeout runs");
    let mut turn = connection.turn(&mut scratch);
    turn.completed(flight, 7);
    assert_eq!(turn.todo(), Todo::Send);
    assert_eq!(turn.output().chunk(), b"bytes and more");
    let flight = turn.take_output();
    turn.completed(flight, 14);
    assert!(matches!(turn.todo(), Todo::Wait(interest) if interest.read));
    // `max_output` includes the bytes in flight.
    turn.posted(&[b'x'; 30]);
    let flight = turn.take_output();
    turn.posted(&[b'x'; 30]);
    assert!(matches!(turn.todo(), Todo::Drop { reset: true }));
    turn.completed(flight, 0);
    assert!(matches!(turn.todo(), Todo::Drop { reset: true }));
    drop(turn);
    // More than `max_output` may be taken along, but not be left over.
    for (sent, ended) in [(60, false), (59, true)] {
        let mut connection = Connection::new(Feed);
        let mut turn = connection.turn(&mut scratch);
        turn.connected();
        turn.posted(&[b'x'; 100]);
        let flight = turn.take_output();
        turn.completed(flight, sent);
        assert_eq!(matches!(turn.todo(), Todo::Drop { reset: true }), ended);
    }
}

/// Wants no input until it gets a message.
struct Pauses;

impl Protocol for Pauses {
    type Message = ();
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.pause(true);
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        assert!(!cx.paused());
        cx.send(input.take_all());
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(b".");
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, (): ()) -> Result<(), Infallible> {
        cx.pause(false);
        Ok(())
    }
}

/// A driver over completions may have a read in flight when the protocol pauses.
#[test]
fn input_that_is_not_wanted_yet_waits_and_the_end_behind_it() {
    let mut scratch = Scratch::new(Limits::default(), Instant::now());
    let mut connection = Connection::new(Pauses);
    let mut turn = connection.turn(&mut scratch);
    turn.connected();
    turn.recv_buffer()[..3].copy_from_slice(b"one");
    turn.received(3);
    turn.receive(&mut b"two".to_vec());
    turn.recv_buffer()[..5].copy_from_slice(b"three");
    turn.received(5);
    turn.eof();
    assert!(matches!(turn.todo(), Todo::Wait(interest) if !interest.read));
    turn.posted(());
    assert_eq!(turn.todo(), Todo::Send);
    assert_eq!(turn.output().chunk(), b"onetwothree.");
}

/// Fails with the message that it gets.
struct Fails;

#[derive(Debug, PartialEq, Eq)]
struct Broken(u8);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "broken by {}", self.0)
    }
}

impl std::error::Error for Broken {}

impl Protocol for Fails {
    type Message = Infallible;
    type Error = Broken;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Broken> {
        Err(Broken(input.as_slice()[0]))
    }
}

#[test]
fn an_error_is_kept_for_the_driver_to_log() {
    let mut scratch = Scratch::new(Limits::default(), Instant::now());
    let mut connection = Connection::new(Fails);
    let mut turn = connection.turn(&mut scratch);
    turn.connected();
    turn.receive(&mut [7]);
    turn.eof();
    while !matches!(turn.todo(), Todo::Drop { .. }) {}
    drop(turn);
    assert_eq!(connection.error(), Some(&Broken(7)));
    assert_eq!((connection.take_error(), connection.error()), (Some(Broken(7)), None));
}
