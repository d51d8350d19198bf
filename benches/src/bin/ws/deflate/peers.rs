//! yawc with permessage-deflate. soketto has permessage-deflate too, but makes flate2 use zlib in C, also for yawc, and cannot read
//! these messages with the current flate2.

use std::hint::black_box;

use benches::turns::Job;
use bytes::Bytes;
use futures_util::SinkExt;

use super::ours::feed;
use super::{Case, Cycle, Task};
use crate::feed::run;

/// yawc, which uses zlib-rs too, through flate2.
pub(crate) fn yawc(case: &Case) -> Option<Job> {
    use yawc::frame::Frame;
    use yawc::{CompressionLevel, Options, Role, WebSocket};
    let extensions = if case.takeover {
        "permessage-deflate"
    } else {
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    };
    let options = Options::default()
        .with_compression_level(CompressionLevel::new(case.level as u32))
        .with_utf8();
    let mut socket =
        WebSocket::from_stream_with_extensions(feed(case), Role::Server, Some(extensions), options).unwrap();
    let task = case.task;
    let messages = case.messages.iter().map(|message| Bytes::from(message.clone()));
    let mut messages = Cycle::new(messages.collect());
    Some(Box::new(move |count| {
        run(async {
            for _ in 0..count {
                match task {
                    Task::Send => socket.feed(Frame::text(messages.next().clone())).await.unwrap(),
                    Task::Receive => {
                        black_box(socket.next_frame().await.unwrap());
                    }
                    Task::Echo => {
                        let (_, _, payload) = socket.next_frame().await.unwrap().into_parts();
                        socket.feed(Frame::text(payload)).await.unwrap();
                    }
                }
            }
            socket.flush().await.unwrap();
        });
        count
    }))
}
