//! proto-ws, through its connection: every check of RFC 6455, answers to Pings, and the closing handshake.

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proto_ws::{Config, Connection, Decoder, Event, Kind, Limits, Message, Role};

use benches::turns::Job;

use super::cases::{Case, Content, Task};
use crate::feed::Feed;
use benches::random::Xorshift;

fn config() -> Arc<Config> {
    let mut config = Config::default();
    config.limits.frame = 64 << 20;
    config.limits.message = 64 << 20;
    // The peers keep their buffers too.
    config.limits.keep = 2 << 20;
    Arc::new(config)
}

/// One read buffer, as a driver provides it.
pub(crate) struct Buffer {
    feed: Feed,
    bytes: Vec<u8>,
    len: usize,
}

impl Buffer {
    pub(crate) fn new(feed: Feed) -> Self {
        let bytes = vec![0; feed.read_size() + 256];
        Buffer { feed, bytes, len: 0 }
    }

    /// Reads once, after the remaining bytes, and returns all bytes.
    pub(crate) fn read(&mut self) -> &mut [u8] {
        let Buffer { feed, bytes, len } = self;
        *len += feed.fill(&mut bytes[*len..]);
        &mut bytes[..*len]
    }

    /// The last `left` bytes remain for the next read.
    pub(crate) fn keep(&mut self, left: usize) {
        if left > 0 {
            self.bytes.copy_within(self.len - left..self.len, 0);
        }
        self.len = left;
    }
}

pub(crate) fn connection(case: &Case) -> Option<Job> {
    let mut out = BytesMut::with_capacity(256 * 1024);
    Some(match case.task {
        Task::Receive | Task::Own => {
            let own = case.task == Task::Own;
            let Connection { mut reader, mut writer } = Connection::server(config());
            let mut buffer = Buffer::new(case.feed());
            // Owned messages share one allocation as long as they fit.
            let mut arena = BytesMut::new();
            Box::new(move |count| {
                let mut seen = 0;
                while seen < count {
                    let mut input = buffer.read();
                    while let Some(event) = reader.next(&mut writer, &mut input, &mut out).unwrap() {
                        if let Event::Message(message) = event {
                            seen += 1;
                            if own {
                                if arena.capacity() < message.as_bytes().len() {
                                    arena.reserve(65536.max(message.as_bytes().len()));
                                }
                                arena.extend_from_slice(message.as_bytes());
                                black_box(arena.split().freeze());
                            } else {
                                black_box(message);
                            }
                        }
                    }
                    let left = input.len();
                    buffer.keep(left);
                }
                seen
            })
        }
        Task::Send => {
            let mut writer = Connection::server(config()).writer;
            let payload = case.payload();
            Box::new(move |count| {
                for _ in 0..count {
                    if out.len() >= 65536 {
                        black_box(&out);
                        out.clear();
                    }
                    writer.binary(&mut out, &payload).unwrap();
                }
                count
            })
        }
        Task::Share => {
            let mut writer = Connection::server(config()).writer;
            let payload = Bytes::from(case.payload());
            let mut output = protocol::Output::new();
            Box::new(move |count| {
                for i in 0..count {
                    if i % 16 == 0 {
                        black_box(&output);
                        output.clear();
                    }
                    let header = writer.header(Kind::Binary, payload.len()).unwrap().unwrap();
                    output.extend_from_slice(&header);
                    output.push(payload.clone());
                }
                count
            })
        }
        Task::SendMasked => {
            let mut writer = Connection::client(config(), Xorshift::default()).writer;
            let payload = case.payload();
            Box::new(move |count| {
                for _ in 0..count {
                    if out.len() >= 65536 {
                        black_box(&out);
                        out.clear();
                    }
                    writer.binary(&mut out, &payload).unwrap();
                }
                count
            })
        }
    })
}

/// The decoder alone, whose events are always borrowed.
pub(crate) fn decoder(case: &Case) -> Option<Job> {
    if case.task != Task::Receive {
        return None;
    }
    let mut limits = Limits::default();
    limits.frame = 64 << 20;
    limits.message = 64 << 20;
    let mut decoder = Decoder::new(Role::Server, limits);
    let mut buffer = Buffer::new(case.feed());
    Some(Box::new(move |count| {
        let mut seen = 0;
        while seen < count {
            let mut input = buffer.read();
            while let Some(event) = decoder.next(&mut input).unwrap() {
                match black_box(event) {
                    Event::Message(_) | Event::Part { last: true, .. } => seen += 1,
                    _ => {}
                }
            }
            let left = input.len();
            buffer.keep(left);
        }
        seen
    }))
}

/// The lower bound: copies the bytes once, as a read does, and examines nothing.
pub(crate) fn memcpy(case: &Case) -> Option<Job> {
    if case.task == Task::Share {
        return None;
    }
    let payload = case.payload();
    let mut to = vec![0; payload.len()];
    Some(Box::new(move |count| {
        for _ in 0..count {
            to.copy_from_slice(black_box(&payload));
            black_box(&to);
        }
        count
    }))
}

/// Checks that a case has the intended meaning.
pub(crate) fn check(case: &Case) {
    if case.task != Task::Receive {
        return;
    }
    let payload = case.payload();
    let Connection { mut reader, mut writer } = Connection::server(config());
    let mut buffer = Buffer::new(case.feed());
    let mut seen = 0;
    while seen < 3 {
        let mut input = buffer.read();
        while let Some(event) = reader.next(&mut writer, &mut input, &mut BytesMut::new()).unwrap() {
            let Event::Message(message) = event else {
                panic!("{}: not a message", case.name)
            };
            assert_eq!(matches!(message, Message::Binary(_)), case.content == Content::Binary);
            assert!(message.as_bytes() == payload, "{}", case.name);
            seen += 1;
        }
        let left = input.len();
        buffer.keep(left);
    }
}
