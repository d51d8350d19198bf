//! The driver inside another event loop.
#![cfg(target_os = "linux")]

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use driver_epoll::{Config, Loop};
use protocol::{Cx, Input, Protocol, Sender};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Echoes, and sends `quiet` after 50 ms without input.
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
        // The other event loop waits with its own `poll`: for the descriptor, at most the time that the last turn returned.
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

/// A loop that is asked to stop while a copy of its listener is open, as in a successor process. One connection, which does not end, keeps
/// the loop draining. `before` is called after the loop is asked to stop and before its next turn.
fn draining<T>(before: impl FnOnce(SocketAddr) -> T) -> (Loop<Asked>, TcpListener, TcpStream, T) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (copy, to) = (listener.try_clone().unwrap(), listener.local_addr().unwrap());
    let mut looped = Loop::new(Config::default()).unwrap();
    looped.listen(listener, |_| Some(Asked::default())).unwrap();
    let mut inside = TcpStream::connect(to).unwrap();
    inside.write_all(b"stay").unwrap();
    while looped.stats().bytes_in == 0 {
        looped.turn(Some(Duration::from_secs(1))).unwrap();
    }
    looped.handle().stop(Duration::from_secs(600));
    let kept = before(to);
    for _ in 0..3 {
        looped.turn(Some(Duration::from_millis(10))).unwrap();
    }
    (looped, copy, inside, kept)
}

/// If the loop went on listening, the kernel would wake it instead of the process that has the copy.
#[test]
fn a_loop_that_stops_listens_no_longer_to_a_socket_that_others_have() {
    let (mut looped, copy, _inside, ()) = draining(|_| ());
    let _waiting = TcpStream::connect(copy.local_addr().unwrap()).unwrap();
    poll(&mut [PollFd::new(&copy, PollFlags::IN)], None).unwrap();
    let woken = poll(
        &mut [PollFd::new(&looped.as_fd(), PollFlags::IN)],
        Some(&Timespec::default()),
    );
    assert_eq!(woken.unwrap(), 0, "the loop was woken");
    looped.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(looped.stats().accepted, 1);
}

#[test]
fn an_adopted_socket_that_others_have_wakes_nobody_after_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let copy = socket.try_clone().unwrap();
    let mut looped = Loop::new(Config::default()).unwrap();
    assert!(looped.handle().adopt(socket, |_| Asked::default()));
    looped.handle().stop(Duration::ZERO);
    while looped.stats().stopped == 0 {
        looped.turn(Some(Duration::from_secs(1))).unwrap();
    }
    // The kernel may have reset the connection, which makes the socket readable too.
    let _ = peer.write_all(b"?");
    poll(&mut [PollFd::new(&copy, PollFlags::IN)], None).unwrap();
    let woken = poll(
        &mut [PollFd::new(&looped.as_fd(), PollFlags::IN)],
        Some(&Timespec::default()),
    );
    assert_eq!(woken.unwrap(), 0, "the loop was woken");
}

/// The kernel woke only this loop for a waiting connection; unless it is accepted here, it waits until a later connection wakes the other
/// process.
#[test]
fn what_waits_when_the_stop_comes_is_accepted_and_answered() {
    let (looped, copy, _inside, mut clients) = draining(|to| {
        [(); 100].map(|()| {
            let mut client = TcpStream::connect(to).unwrap();
            client.write_all(b"?").unwrap();
            client
        })
    });
    copy.set_nonblocking(true).unwrap();
    assert!(copy.accept().is_err(), "a connection was left in the accept queue");
    assert_eq!(looped.stats().accepted, 101);
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
}

/// Answers a question. Closes when the driver stops, unless the client asked it to stay.
#[derive(Default)]
struct Asked {
    stays: bool,
}

impl Protocol for Asked {
    type Message = Infallible;
    type Error = Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        match &*input.take_all() {
            b"stay" => self.stays = true,
            question => cx.send(question),
        }
        Ok(())
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        if !self.stays {
            cx.close();
        }
        Ok(())
    }
}

/// Discards all input and sends nothing.
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
    // Writes as much as the kernel accepts.
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

/// Sends more than a socket takes.
struct Talker;

impl Protocol for Talker {
    type Message = Infallible;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(&[b'x'; 8 << 20]);
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        Ok(())
    }
}

/// `sendfile` takes the error of a socket and does not report it, if it has sent something before: a reset then shows only as a
/// hang-up without an error.
#[test]
fn a_reset_whose_error_was_taken_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let copy = socket.try_clone().unwrap();
    let mut looped = Loop::new(Config::default()).unwrap();
    assert!(looped.handle().adopt(socket, |_| Talker));
    while looped.stats().bytes_out == 0 {
        looped.turn(Some(Duration::from_secs(1))).unwrap();
    }
    // Closing with unread input resets the connection.
    peer.read_exact(&mut [0]).unwrap();
    drop(peer);
    poll(&mut [PollFd::new(&copy, PollFlags::ERR)], None).unwrap();
    assert!(copy.take_error().unwrap().is_some());
    let begun = Instant::now();
    while looped.stats().io_errors == 0 {
        looped.turn(Some(Duration::from_millis(10))).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", looped.stats());
    }
}

/// Posts each received byte to all connections, and reads the next byte after its message to itself has arrived.
struct Publisher {
    own: Sender<Option<u8>>,
    all: Arc<Mutex<Vec<Sender<Option<u8>>>>>,
    waits: bool,
}

impl Protocol for Publisher {
    type Message = Option<u8>;
    type Error = Infallible;

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        if !self.waits && !input.is_empty() {
            let byte = input.take(1)[0];
            for one in &*self.all.lock().unwrap() {
                one.send(Some(byte)).unwrap();
            }
            self.own.send(None).unwrap();
            self.waits = true;
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, message: Option<u8>) -> Result<(), Infallible> {
        match message {
            Some(byte) => cx.send(&[byte]),
            None => self.waits = false,
        }
        Ok(())
    }
}

/// All messages that a connection posts because of one read reach each other connection in one write, even if the poster waits for a
/// message to itself between them.
#[test]
fn what_one_read_leads_to_is_told_together() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let all = Arc::new(Mutex::new(Vec::new()));
    let members = Arc::clone(&all);
    let mut looped = Loop::new(Config::default()).unwrap();
    looped
        .listen(listener, move |peer| {
            members.lock().unwrap().push(peer.sender());
            Some(Publisher {
                own: peer.sender(),
                all: Arc::clone(&members),
                waits: false,
            })
        })
        .unwrap();
    let mut clients = [(); 4].map(|()| TcpStream::connect(to).unwrap());
    while looped.stats().accepted < 4 {
        looped.turn(Some(Duration::from_secs(1))).unwrap();
    }
    for round in 1..=2 {
        clients[1].write_all(b"abcdefgh").unwrap();
        while looped.stats().bytes_out < round * 4 * 8 {
            looped.turn(Some(Duration::from_secs(1))).unwrap();
        }
        for client in &mut clients {
            let mut told = [0; 8];
            client.read_exact(&mut told).unwrap();
            assert_eq!(&told, b"abcdefgh");
        }
        // The publisher itself gets a write for each of its bytes.
        assert_eq!(looped.stats().writes, round * (3 + 8));
    }
}
