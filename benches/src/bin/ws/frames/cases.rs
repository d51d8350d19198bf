//! The measured cases.

use crate::feed::Feed;

/// The content of the messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Content {
    Binary,
    Ascii,
    /// Three bytes per character.
    MultiByte,
}

impl Content {
    pub(crate) fn payload(self, len: usize) -> Vec<u8> {
        match self {
            Content::Binary => (0..len).map(|i| (i * 7) as u8).collect(),
            Content::Ascii => (0..len).map(|i| b'a' + (i % 26) as u8).collect(),
            Content::MultiByte => {
                let mut payload = "\u{6f22}\u{5b57}".repeat(len / 6).into_bytes();
                payload.resize(len, b'.');
                payload
            }
        }
    }

    fn opcode(self) -> u8 {
        if self == Content::Binary { 2 } else { 1 }
    }
}

/// The task of a contestant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Task {
    /// A server receives whole messages.
    Receive,
    /// A server receives whole messages as owned memory.
    Own,
    /// A server sends, copying the payload.
    Send,
    /// A server sends without copying, if possible.
    Share,
    /// A client sends, masked.
    SendMasked,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) task: Task,
    pub(crate) content: Content,
    pub(crate) len: usize,
    /// Bytes of payload in one frame.
    fragment: usize,
    reads: Reads,
    /// The bar in nanoseconds, on the machine on which it was set.
    pub(crate) bar: f64,
}

#[derive(Clone, Copy)]
enum Reads {
    /// 64 KiB at a time, at arbitrary boundaries.
    Full,
    /// This many whole messages at a time.
    Whole(usize),
}

pub(crate) fn cases() -> Vec<Case> {
    use Content::{Ascii, Binary, MultiByte};
    use Task::{Own, Receive, Send, SendMasked, Share};
    let case = |name, task, content, len, bar| Case {
        name,
        task,
        content,
        len,
        fragment: usize::MAX,
        reads: if len < 65536 {
            Reads::Full
        } else {
            Reads::Whole(if len > 65536 { 1 } else { 4 })
        },
        bar,
    };
    vec![
        case("receive 16 B binary", Receive, Binary, 16, 8.0),
        case("receive 125 B binary", Receive, Binary, 125, 12.0),
        case("receive 1 KiB binary", Receive, Binary, 1024, 28.0),
        case("receive 1 KiB ASCII", Receive, Ascii, 1024, 35.0),
        case("receive 1 KiB multi-byte", Receive, MultiByte, 1024, 75.0),
        case("receive 64 KiB binary", Receive, Binary, 65536, 1250.0),
        case("receive 64 KiB ASCII", Receive, Ascii, 65536, 2300.0),
        case("receive 64 KiB multi-byte", Receive, MultiByte, 65536, 4400.0),
        case("receive 1 MiB binary", Receive, Binary, 1 << 20, 25_000.0),
        Case {
            reads: Reads::Whole(1),
            ..case("receive 16 B, one a read", Receive, Binary, 16, 12.0)
        },
        Case {
            fragment: 4096,
            reads: Reads::Full,
            ..case(
                "receive 1 MiB binary in 4 KiB fragments",
                Receive,
                Binary,
                1 << 20,
                35_000.0,
            )
        },
        Case {
            fragment: 4096,
            reads: Reads::Full,
            ..case(
                "receive 1 MiB multi-byte in 4 KiB fragments",
                Receive,
                MultiByte,
                1 << 20,
                85_000.0,
            )
        },
        case("receive 16 B, owned", Own, Binary, 16, 18.0),
        case("receive 1 KiB, owned", Own, Binary, 1024, 40.0),
        case("server sends 16 B", Send, Binary, 16, 6.0),
        case("server sends 1 KiB", Send, Binary, 1024, 15.0),
        case("server sends 64 KiB, copied", Send, Binary, 65536, 520.0),
        case("server sends 64 KiB, shared", Share, Binary, 65536, 30.0),
        case("client sends 16 B", SendMasked, Binary, 16, 10.0),
        case("client sends 1 KiB", SendMasked, Binary, 1024, 34.0),
        case("client sends 64 KiB", SendMasked, Binary, 65536, 1360.0),
    ]
}

impl Case {
    pub(crate) fn payload(&self) -> Vec<u8> {
        self.content.payload(self.len)
    }

    /// The messages in a client's form: at least a megabyte of whole messages.
    pub(crate) fn feed(&self) -> Feed {
        let payload = self.payload();
        let mut message = Vec::new();
        let count = payload.len().div_ceil(self.fragment);
        for (i, piece) in payload.chunks(self.fragment.min(payload.len())).enumerate() {
            let fin = if i + 1 == count { 0x80 } else { 0 };
            let opcode = if i == 0 { self.content.opcode() } else { 0 };
            frame(&mut message, fin | opcode, piece);
        }
        let read = match self.reads {
            Reads::Full => 65536,
            Reads::Whole(count) => count * message.len(),
        };
        let whole = if matches!(self.reads, Reads::Whole(_)) {
            read
        } else {
            message.len()
        };
        let frames = message.repeat((1usize << 20).div_ceil(whole) * whole / message.len());
        Feed::new(frames.into(), read)
    }

    /// As many messages as take about a hundredth of a second.
    pub(crate) fn batch(&self) -> usize {
        (10_000_000.0 / (self.bar * 2.0)) as usize
    }
}

/// Appends a client's frame.
fn frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    out.push(first);
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}
