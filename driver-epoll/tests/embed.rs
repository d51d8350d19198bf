//! The driver inside somebody else's loop.
#![cfg(target_os = "linux")]

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use driver_epoll::{Config, Loop};
use protocol::{Cx, Input, Protocol};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Echoes, and says so when nothing came for 50 ms.
#[derive(Default)]
struct Echo {
    deadline: Option<Instant>,
}

impl Protocol for Echo {
    type Message = Infallible;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.deadline = Some(cx.now() + Duration::from_millis(50));
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        self.deadline = Some(cx.now() + Duration::from_millis(50));
        cx.send(input.take_all());
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.deadline = None;
        cx.send(b"quiet");
        Ok(())
    }
}

#[test]
fn a_foreign_loop_turns_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let mut looped = Loop::new(Config::default()).unwrap();
    looped.listen(listener, |_| Some(Echo::default())).unwrap();
    let handle = looped.handle();
    let client = thread::spawn(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut back = [0; 10];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"helloquiet");
        drop(stream);
        handle.stop(Duration::from_secs(5));
    });
    let mut turns = 0;
    let mut sleep = Some(Duration::ZERO);
    while !looped.is_idle() {
        // The foreign loop waits by means of its own: for the descriptor, or the time it was told.
        let timeout = sleep.map(|sleep| Timespec::try_from(sleep + Duration::from_micros(999)).unwrap());
        poll(&mut [PollFd::new(&looped.as_fd(), PollFlags::IN)], timeout.as_ref()).unwrap();
        sleep = looped.turn(Some(Duration::ZERO)).unwrap();
        turns += 1;
    }
    client.join().unwrap();
    let stats = looped.stats();
    assert_eq!((stats.accepted, stats.closed, stats.timeouts), (1, 1, 1));
    assert!(turns < 50, "{turns} turns for a handful of events");
}

/// Takes all and says nothing.
struct Sink;

impl Protocol for Sink {
    type Message = Infallible;
    type Error = Infallible;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        Ok(())
    }
}

#[test]
fn a_turn_takes_a_bounded_part_of_what_one_peer_sends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut config = Config::default();
    config.socket.receive_buffer = Some(1 << 20);
    let mut looped = Loop::new(config).unwrap();
    looped.listen(listener, |_| Some(Sink)).unwrap();
    while looped.stats().accepted == 0 {
        looped.turn(Some(Duration::from_secs(1))).unwrap();
    }
    // As much as the kernel takes.
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    for _ in 0..20 {
        while let Ok(n) = stream.write(&[b'x'; 1 << 16]) {
            sent += n as u64;
        }
        thread::sleep(Duration::from_millis(10));
    }
    looped.turn(Some(Duration::from_secs(1))).unwrap();
    let stats = looped.stats();
    assert!(sent > stats.bytes_in);
    assert_eq!((stats.reads, stats.bytes_in), (4, 4 << 16));
}

#[test]
fn a_storm_in_one_place_leaves_the_others_their_turn() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [storm, calm] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let mut config = Config::default();
    config.accept_budget = 4;
    let mut looped = Loop::new(config).unwrap();
    let (tell, told) = channel();
    for listener in listeners {
        let tell = tell.clone();
        let factory = move |peer: &protocol::Peer<'_, Infallible>| {
            tell.send(peer.local().unwrap()).unwrap();
            Some(Sink)
        };
        looped.listen(listener, factory).unwrap();
    }
    let _open: Vec<TcpStream> = [storm; 20]
        .iter()
        .chain(&[calm; 1])
        .map(|to| TcpStream::connect(to).unwrap())
        .collect();
    looped.turn(Some(Duration::from_secs(1))).unwrap();
    let accepted: Vec<_> = told.try_iter().collect();
    assert!(accepted.len() <= 4 && accepted.contains(&calm), "{accepted:?}");
    while looped.stats().accepted < 21 {
        looped.turn(Some(Duration::from_secs(1))).unwrap();
    }
}
