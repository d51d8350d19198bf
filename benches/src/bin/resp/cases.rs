//! The measured cases.

/// The task of a contestant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Task {
    /// A client decodes replies.
    Replies,
    /// A server decodes commands.
    Commands,
    /// A client encodes commands.
    Write,
    /// A client encodes a thousand commands, then decodes their replies.
    Pipeline,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) task: Task,
    /// One reply, or one command.
    pub(crate) wire: Vec<u8>,
    /// The number handled in a round.
    pub(crate) batch: usize,
}

/// Commands of [`Task::Pipeline`].
pub(crate) const PIPELINE: usize = 1000;

impl Case {
    /// As many of them as fit in one read.
    pub(crate) fn feed(&self) -> Vec<u8> {
        self.wire.repeat((65536 / self.wire.len()).max(1))
    }
}

fn bulk(len: usize) -> Vec<u8> {
    let mut wire = format!("${len}\r\n").into_bytes();
    wire.extend((0..len).map(|at| b'a' + (at % 26) as u8));
    wire.extend_from_slice(b"\r\n");
    wire
}

fn array(kind: char, len: usize, element: &[u8]) -> Vec<u8> {
    let mut wire = format!("{kind}{len}\r\n").into_bytes();
    wire.extend(element.repeat(len));
    wire
}

/// The arguments of the command that is encoded and decoded.
pub(crate) const SET: [&str; 5] = ["SET", "session:4711", "0123456789abcdef0123456789abcdef", "EX", "3600"];

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, task, wire, batch| Case {
        name,
        task,
        wire,
        batch,
    };
    let mut set = Vec::new();
    proto_resp::write_command(&mut set, &SET).expect("a vector takes all");
    vec![
        case("reply: OK", Task::Replies, b"+OK\r\n".to_vec(), 100_000),
        case("reply: an integer", Task::Replies, b":1234567\r\n".to_vec(), 100_000),
        case("reply: 16 bytes", Task::Replies, bulk(16), 100_000),
        case("reply: 1 KiB", Task::Replies, bulk(1024), 30_000),
        case("reply: 48 KiB", Task::Replies, bulk(48 << 10), 2_000),
        case(
            "reply: 100 strings of 16 bytes",
            Task::Replies,
            array('*', 100, &bulk(16)),
            2_000,
        ),
        case("reply: 100 integers", Task::Replies, array('*', 100, b":42\r\n"), 2_000),
        case(
            "reply: map of 20 pairs",
            Task::Replies,
            array('%', 20, &[bulk(8), bulk(24)].concat()),
            4_000,
        ),
        case("command: SET with EX", Task::Commands, set.clone(), 50_000),
        case("write: SET with EX", Task::Write, set, 50_000),
        case("pipeline of 1,000: GET of 16 bytes", Task::Pipeline, bulk(16), 50_000),
    ]
}
