//! Pieces of files on a transport that sends them, on one that has them read elsewhere, and through a layer.
#![allow(clippy::disallowed_methods, reason = "the clock's start; no protocol code")]

use std::convert::Infallible;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use protocol::driver::{Connection, FileTransfer, Scratch, Settled, Todo, Transfer, Transport};
use protocol::{Cx, FilePiece, Input, Limits, Load, Protocol, Reason};

fn file(name: &str, length: usize) -> (Arc<File>, Vec<u8>) {
    let path = std::env::temp_dir().join(format!("protocol-{}-{name}", std::process::id()));
    let bytes: Vec<u8> = (0..length).map(|at| (at % 241) as u8).collect();
    File::create(&path).unwrap().write_all(&bytes).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    (Arc::new(file), bytes)
}

/// Sends a head, a file and a tail when connected.
struct Sends(FilePiece);

impl Protocol for Sends {
    type Message = Infallible;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(b"head");
        cx.output().push_file(self.0.clone());
        cx.send(b"tail");
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        Ok(())
    }
}

/// Takes everything. Reads files on another thread, in a sense: when the test says so.
#[derive(Default)]
struct Wire {
    taken: Vec<u8>,
    sends_files: bool,
    /// Calls that sent from files.
    sends: usize,
    /// Loads that have begun.
    loads: Vec<Arc<Load>>,
}

impl Transport for Wire {
    const SHORT_SEND_BLOCKS: bool = false;

    fn receive(&mut self, _: &mut [u8]) -> Transfer {
        Transfer::Blocked
    }

    fn send(&mut self, bytes: &[u8]) -> Transfer {
        self.taken.extend_from_slice(bytes);
        Transfer::Bytes(bytes.len())
    }

    fn send_file(&mut self, file: &FilePiece, max: u64) -> FileTransfer {
        if !self.sends_files {
            return FileTransfer::Unsupported;
        }
        self.sends += 1;
        let mut buffer = vec![0; max.min(file.len()) as usize];
        let n = file.read(&mut buffer).unwrap();
        self.taken.extend_from_slice(&buffer[..n]);
        FileTransfer::Done(Transfer::Bytes(n))
    }

    fn load(&mut self, load: &Arc<Load>) -> bool {
        if load.begin(Waker::noop()) {
            self.loads.push(Arc::clone(load));
        }
        true
    }

    fn shutdown(&mut self) {}
}

/// One connection and its driver's memory.
struct Driver<P: Protocol> {
    connection: Connection<P>,
    scratch: Scratch,
    wire: Wire,
}

impl<P: Protocol> Driver<P> {
    fn new(protocol: P, sends_files: bool) -> Self {
        let wire = Wire {
            sends_files,
            ..Wire::default()
        };
        Self {
            connection: Connection::new(protocol),
            scratch: Scratch::new(Limits::default(), Instant::now()),
            wire,
        }
    }

    fn connect(&mut self) -> Settled {
        let mut turn = self.connection.turn(&mut self.scratch);
        turn.connected();
        turn.settle(&mut self.wire)
    }

    /// As after a wake-up.
    fn wake(&mut self) -> Settled {
        let mut turn = self.connection.turn(&mut self.scratch);
        turn.writable();
        turn.again();
        turn.settle(&mut self.wire)
    }
}

#[test]
fn a_transport_that_sends_files_lets_others_in_between() {
    let (file, bytes) = file("sends", 30 << 20);
    let mut driver = Driver::new(Sends(FilePiece::new(file, 0, 30 << 20)), true);
    let mut turns = 1;
    let mut settled = driver.connect();
    while settled == Settled::Again {
        let before = driver.wire.sends;
        settled = driver.wake();
        assert!(driver.wire.sends - before <= 4);
        turns += 1;
    }
    assert!(matches!(settled, Settled::Waits(interest) if interest.read && !interest.write));
    assert!((3..10).contains(&turns), "{turns}");
    assert!(driver.wire.taken == [b"head", &bytes[..], b"tail"].concat());
}

#[test]
fn a_transport_may_have_files_read_elsewhere() {
    const LENGTH: usize = 200_000;
    let (file, bytes) = file("elsewhere", LENGTH);
    let mut driver = Driver::new(Sends(FilePiece::new(file, 0, LENGTH as u64)), false);
    let mut settled = driver.connect();
    assert_eq!(driver.wire.taken, b"head");
    let mut loads = 0;
    while let Some(load) = driver.wire.loads.pop() {
        // A wake-up for something else begins no other read.
        assert!(matches!(settled, Settled::Waits(interest) if interest.write));
        driver.wake();
        assert!(driver.wire.loads.is_empty() && driver.connection.held() >= LENGTH - loads * 65_536);
        load.run();
        settled = driver.wake();
        loads += 1;
        while settled == Settled::Again {
            settled = driver.wake();
        }
    }
    assert_eq!(loads, LENGTH.div_ceil(65_536));
    assert!(driver.wire.taken == [b"head", &bytes[..], b"tail"].concat());
}

#[test]
fn a_read_that_fails_elsewhere_ends_the_connection() {
    let (file, _) = file("fails", 100);
    let mut driver = Driver::new(Sends(FilePiece::new(file, 0, 100)), false);
    driver.connect();
    driver
        .wire
        .loads
        .pop()
        .unwrap()
        .complete(Err(ErrorKind::PermissionDenied));
    assert_eq!(driver.wake(), Settled::Ended { reset: true });
    assert_eq!(driver.connection.reason(), Reason::File(ErrorKind::PermissionDenied));
    assert_eq!(driver.wire.taken, b"head");
}

/// A layer that turns over every bit, as a stream cipher would.
struct Inverted<P: Protocol>(Connection<P>);

impl<P: Protocol> Inverted<P> {
    fn happen(&mut self, cx: &mut Cx<'_>, event: impl FnOnce(&mut protocol::driver::Turn<'_, P>)) {
        Scratch::lend(*cx.limits(), cx.now(), |scratch| {
            let mut turn = self.0.layered(scratch, cx);
            turn.writable();
            event(&mut turn);
            loop {
                turn.set_beneath(cx.waiting());
                match turn.todo_with_files() {
                    Todo::Send => {
                        let n = turn.output().len().min(50_000);
                        if !turn.load_through(n, cx) {
                            turn.blocked();
                            continue;
                        }
                        let chunk = turn.output().chunks().next().unwrap_or_default();
                        let chunk: Vec<u8> = chunk.iter().take(n).map(|byte| !byte).collect();
                        cx.send(&chunk);
                        turn.sent(chunk.len());
                    }
                    Todo::Again => return cx.again(),
                    Todo::Drop { .. } => return cx.abort(),
                    Todo::Shutdown | Todo::Wait(_) => return,
                }
            }
        });
    }
}

impl<P: Protocol> Protocol for Inverted<P> {
    type Message = Infallible;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.happen(cx, |turn| turn.connected());
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        Ok(())
    }

    fn again(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        self.happen(cx, |turn| turn.again());
        Ok(())
    }
}

/// The driver reads for layers, one inside of the other, and sees each read once.
#[test]
fn a_layer_has_its_driver_read() {
    const LENGTH: usize = 200_000;
    let (file, bytes) = file("layer", LENGTH);
    let inner = Inverted(Connection::new(Sends(FilePiece::new(file, 0, LENGTH as u64))));
    let mut driver = Driver::new(Inverted(Connection::new(inner)), true);
    let mut settled = driver.connect();
    let mut loads = 0;
    loop {
        while settled == Settled::Again {
            settled = driver.wake();
        }
        let Some(load) = driver.wire.loads.pop() else { break };
        assert!(driver.wire.loads.is_empty());
        driver.wake();
        assert!(driver.wire.loads.is_empty());
        load.run();
        settled = driver.wake();
        loads += 1;
    }
    assert!(
        driver.wire.taken == [b"head", &bytes[..], b"tail"].concat(),
        "{} bytes",
        driver.wire.taken.len()
    );
    assert!((4..=8).contains(&loads), "{loads}");
    assert_eq!(driver.wire.sends, 0);
}

/// A read that fails is an error, not a wait.
#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let folder = Arc::new(File::open(std::env::temp_dir()).unwrap());
    let error = FilePiece::new(folder, 0, 10).read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IsADirectory);
}
