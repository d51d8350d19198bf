//! Heavy work outside the event loop: each line goes through a chain of processors on a pool of threads, and returns as a message, in
//! order. The queues are bounded; lines that find a full queue are dropped, counted, and reported.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use protocol::{Cx, Input, Protocol, SendError, Sender};

/// Packets that wait for one thread of the pool.
const QUEUE: usize = 64;
const THREADS: usize = 2;
/// The longest line, in bytes.
const LONGEST: usize = 1000;

/// A line in the pool, with the sender for its result.
struct Packet {
    line: Vec<u8>,
    back: Sender<Vec<u8>>,
}

/// The processing steps of each packet, in order.
const PROCESSORS: [fn(&mut Vec<u8>); 2] = [|line| line.make_ascii_uppercase(), |line| line.reverse()];

/// Threads that process packets. All packets of a connection go to the same thread, so they stay in order.
struct Pool {
    queues: Vec<SyncSender<Packet>>,
    connections: AtomicU64,
    dropped: AtomicU64,
}

impl Pool {
    fn start() -> std::io::Result<Pool> {
        let mut queues = Vec::new();
        for _ in 0..THREADS {
            let (queue, packets) = sync_channel(QUEUE);
            thread::Builder::new()
                .name("processors".into())
                .spawn(move || process(&packets))?;
            queues.push(queue);
        }
        Ok(Pool {
            queues,
            connections: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// The queue of a new connection.
    fn join(&self) -> SyncSender<Packet> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) as usize;
        self.queues[number % self.queues.len()].clone()
    }
}

fn process(packets: &Receiver<Packet>) {
    for mut packet in packets {
        for processor in PROCESSORS {
            processor(&mut packet.line);
        }
        give_back(&packet.back, packet.line);
    }
}

/// Waits while the connection's mailbox is full: the pool's queues then fill up too, and new lines are refused.
fn give_back(back: &Sender<Vec<u8>>, mut line: Vec<u8>) {
    // `Closed` means that the client has disconnected.
    while let Err(SendError::Full(returned)) = back.send(line) {
        line = returned;
        thread::sleep(Duration::from_millis(1));
    }
}

struct Connection {
    pool: Arc<Pool>,
    queue: SyncSender<Packet>,
    back: Sender<Vec<u8>>,
    /// Packets in the pool.
    under_way: usize,
    /// The peer has ended its stream.
    eof: bool,
}

#[derive(Debug)]
struct LineTooLong;

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line is longer than {LONGEST} bytes")
    }
}

impl std::error::Error for LineTooLong {}

impl Protocol for Connection {
    type Message = Vec<u8>;
    type Error = LineTooLong;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), LineTooLong> {
        while let Some(end) = input.as_slice().iter().position(|byte| *byte == b'\n') {
            let line = input.take(end).to_vec();
            input.consume(1);
            match self.queue.try_send(Packet {
                line,
                back: self.back.clone(),
            }) {
                Ok(()) => self.under_way += 1,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    let dropped = self.pool.dropped.fetch_add(1, Ordering::Relaxed) + 1;
                    cx.send(format!("busy: {dropped} dropped so far\n").as_bytes());
                }
            }
        }
        if input.len() > LONGEST {
            cx.send(b"that line is too long\n");
            return Err(LineTooLong);
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, line: Vec<u8>) -> Result<(), LineTooLong> {
        self.under_way -= 1;
        cx.send(&line);
        cx.send(b"\n");
        if self.eof && self.under_way == 0 {
            cx.close();
        }
        Ok(())
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), LineTooLong> {
        self.eof = true;
        if self.under_way == 0 {
            cx.close();
        }
        Ok(())
    }
}

fn main() -> std::io::Result<()> {
    let pool = Arc::new(Pool::start()?);
    examples::serve(move |peer| {
        let (queue, back) = (pool.join(), peer.sender());
        Some(Connection {
            pool: Arc::clone(&pool),
            queue,
            back,
            under_way: 0,
            eof: false,
        })
    })
}
