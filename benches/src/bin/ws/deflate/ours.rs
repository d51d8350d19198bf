//! proto-ws with permessage-deflate, through the connection.

use std::hint::black_box;
use std::sync::Arc;

use benches::turns::Job;
use bytes::BytesMut;
use proto_ws::deflate::Parameters;
use proto_ws::{Config, Connection, Event, Message};

use super::{Case, Cycle, Task};
use crate::feed::Feed;
use crate::frames::Buffer;
use benches::random::Xorshift;

fn config(level: i32) -> Arc<Config> {
    let mut config = Config::default();
    config.deflate.level = level;
    config.deflate.threshold = 0;
    // The peers keep their buffers too.
    config.limits.keep = 64 * 1024;
    Arc::new(config)
}

fn parameters(case: &Case) -> Parameters {
    Parameters {
        server_no_context_takeover: !case.takeover,
        client_no_context_takeover: !case.takeover,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    }
}

/// The messages as a client sends them, compressed, and repeated for ever. Each repetition inflates, because no message refers to bytes
/// before the first one.
pub(crate) fn feed(case: &Case) -> Feed {
    let client = Connection::client(config(case.level), Xorshift::default());
    let mut writer = client.deflate(parameters(case)).writer;
    let mut frames = BytesMut::new();
    for message in &case.messages {
        writer.text(&mut frames, message).unwrap();
    }
    Feed::new(frames[..].into(), 65536)
}

pub(crate) fn connection(case: &Case) -> Option<Job> {
    let Connection { mut reader, mut writer } = Connection::server(config(case.level)).deflate(parameters(case));
    let mut out = BytesMut::with_capacity(256 * 1024);
    Some(match case.task {
        Task::Send => {
            let mut messages = Cycle::new(case.messages.clone());
            Box::new(move |count| {
                for _ in 0..count {
                    if out.len() >= 65536 {
                        black_box(&out);
                        out.clear();
                    }
                    writer.text(&mut out, black_box(messages.next())).unwrap();
                }
                count
            })
        }
        Task::Receive | Task::Echo => {
            let echo = case.task == Task::Echo;
            let mut buffer = Buffer::new(feed(case));
            Box::new(move |count| {
                let mut seen = 0;
                while seen < count {
                    let mut input = buffer.read();
                    // Exactly `count` messages, so that instruction counts are comparable too.
                    while seen < count
                        && let Some(event) = reader.next(&mut writer, &mut input, &mut out).unwrap()
                    {
                        let Event::Message(message) = event else { continue };
                        seen += 1;
                        if echo {
                            writer.message(&mut out, message).unwrap();
                        } else {
                            black_box(message);
                        }
                    }
                    let left = input.len();
                    buffer.keep(left);
                    // One write for each read.
                    black_box(&out);
                    out.clear();
                }
                seen
            })
        }
    })
}

/// Checks that the messages arrive, in two repetitions of the feed.
pub(crate) fn check(case: &Case) {
    let Connection { mut reader, mut writer } = Connection::server(config(case.level)).deflate(parameters(case));
    let (mut buffer, mut seen) = (Buffer::new(feed(case)), 0);
    while seen < 2 * case.messages.len() {
        let mut input = buffer.read();
        while let Some(event) = reader.next(&mut writer, &mut input, &mut BytesMut::new()).unwrap() {
            let Event::Message(Message::Text(text)) = event else {
                panic!("not a text message")
            };
            assert_eq!(text, case.messages[seen % case.messages.len()]);
            seen += 1;
        }
        let left = input.len();
        buffer.keep(left);
    }
}
