//! The other crates that have permessage-deflate.

use std::hint::black_box;

use benches::turns::Job;
use bytes::Bytes;
use futures_util::SinkExt;

use super::ours::feed;
use super::{Case, Cycle, Task};
use crate::feed::run;

/// On zlib-rs, too, through flate2.
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

/// It compresses at level 1 only and never keeps its context. It takes each message for a whole stream, which flate2 no
/// longer lets pass without a last block: it only sends.
pub(crate) fn soketto(case: &Case) -> Option<Job> {
    use soketto::connection::{Builder, Mode};
    use soketto::extension::{Extension, Param, deflate::Deflate};
    if case.takeover || case.level != 1 || case.task != Task::Send {
        return None;
    }
    let mut deflate = Deflate::new(Mode::Server);
    let parameters = ["server_no_context_takeover", "client_no_context_takeover"].map(Param::new);
    deflate.configure(&parameters).unwrap();
    let mut builder = Builder::new(feed(case), Mode::Server);
    builder.add_extensions([Box::new(deflate) as Box<dyn Extension + Send>]);
    let (mut sender, receiver) = builder.finish();
    let mut messages = Cycle::new(case.messages.clone());
    Some(Box::new(move |count| {
        // Keeps the other half alive.
        let _ = &receiver;
        run(async {
            for _ in 0..count {
                sender.send_text(messages.next()).await.unwrap();
            }
            sender.flush().await.unwrap();
        });
        count
    }))
}
