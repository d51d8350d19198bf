//! The other crates, each used as its documentation recommends. For crates that do not report where a reply ends, replies are cut out of
//! the read.

use std::hint::black_box;

use bytes::BytesMut;
use redis_protocol::resp3::types::BorrowedFrame;
use redis_protocol::resp3::{decode, encode};

use crate::cases::{Case, PIPELINE, SET, Task};
use benches::turns::Job;

/// Runs `take` over each item of the feed.
fn items(case: &Case, mut take: impl FnMut(&[u8]) + 'static) -> Job {
    let (feed, len) = (case.feed(), case.wire.len());
    let mut buffer = vec![0; feed.len()];
    Box::new(move |count| {
        let mut seen = 0;
        while seen < count {
            buffer.copy_from_slice(black_box(&feed));
            for item in buffer.chunks_exact(len) {
                take(item);
                seen += 1;
            }
        }
        seen
    })
}

/// Runs `take` over reads of the feed; `take` returns how many bytes it used.
fn reads(case: &Case, mut take: impl FnMut(&[u8]) -> usize + 'static) -> Job {
    let feed = case.feed();
    let mut buffer = vec![0; feed.len()];
    Box::new(move |count| {
        let mut seen = 0;
        while seen < count {
            buffer.copy_from_slice(black_box(&feed));
            let mut rest = &buffer[..];
            while !rest.is_empty() {
                rest = &rest[take(rest)..];
                seen += 1;
            }
        }
        seen
    })
}

pub(crate) fn redis(case: &Case) -> Option<Job> {
    Some(match case.task {
        Task::Replies | Task::Commands => items(case, |item| {
            black_box(redis::parse_redis_value(item).unwrap());
        }),
        Task::Write => {
            let mut out = Vec::with_capacity(65536);
            Box::new(move |count| {
                for _ in 0..count {
                    if out.len() > 65000 {
                        black_box(&out);
                        out.clear();
                    }
                    let [name, arguments @ ..] = black_box(SET);
                    let mut command = redis::cmd(name);
                    for argument in arguments {
                        command.arg(argument);
                    }
                    command.write_packed_command(&mut out);
                }
                count
            })
        }
        Task::Pipeline => {
            let (replies, len) = (case.wire.repeat(PIPELINE), case.wire.len());
            let mut buffer = vec![0; replies.len()];
            Box::new(move |count| {
                let mut seen = 0;
                while seen < count {
                    let mut pipeline = redis::pipe();
                    for _ in 0..PIPELINE {
                        pipeline.cmd("GET").arg("session:4711");
                    }
                    black_box(pipeline.get_packed_pipeline());
                    buffer.copy_from_slice(black_box(&replies));
                    for reply in buffer.chunks_exact(len) {
                        black_box(redis::parse_redis_value(reply).unwrap());
                        seen += 1;
                    }
                }
                seen
            })
        }
    })
}

/// redis-protocol's ranges into the buffer.
pub(crate) fn range(case: &Case) -> Option<Job> {
    match case.task {
        Task::Replies | Task::Commands => Some(reads(case, |rest| {
            let (frame, used) = decode::complete::decode_range(rest).unwrap().unwrap();
            black_box(frame);
            used
        })),
        Task::Write => {
            let mut out = vec![0; 65536];
            Some(Box::new(move |count| {
                let mut at = 0;
                for _ in 0..count {
                    if at > 65000 {
                        black_box(&out);
                        at = 0;
                    }
                    let strings = black_box(SET).map(|argument| BorrowedFrame::BlobString {
                        data: argument.as_bytes(),
                        attributes: None,
                    });
                    let frame = BorrowedFrame::Array {
                        data: &strings,
                        attributes: None,
                    };
                    at += encode::complete::encode_borrowed(&mut out[at..], &frame, false).unwrap();
                }
                count
            }))
        }
        Task::Pipeline => None,
    }
}

/// redis-protocol's frames that share one buffer.
pub(crate) fn bytes(case: &Case) -> Option<Job> {
    match case.task {
        Task::Replies | Task::Commands => {
            let feed = case.feed();
            Some(Box::new(move |count| {
                let mut seen = 0;
                let mut buffer = BytesMut::with_capacity(feed.len());
                while seen < count {
                    buffer.reserve(feed.len());
                    buffer.extend_from_slice(black_box(&feed));
                    while let Some((frame, ..)) = decode::complete::decode_bytes_mut(&mut buffer).unwrap() {
                        black_box(frame);
                        seen += 1;
                        if buffer.is_empty() {
                            break;
                        }
                    }
                }
                seen
            }))
        }
        Task::Pipeline => {
            let replies = case.wire.repeat(PIPELINE);
            Some(Box::new(move |count| {
                let mut seen = 0;
                let mut out = BytesMut::with_capacity(1 << 20);
                let mut buffer = BytesMut::with_capacity(replies.len());
                while seen < count {
                    out.clear();
                    for _ in 0..PIPELINE {
                        let strings = ["GET", "session:4711"].map(|argument| BorrowedFrame::BlobString {
                            data: argument.as_bytes(),
                            attributes: None,
                        });
                        let frame = BorrowedFrame::Array {
                            data: &strings,
                            attributes: None,
                        };
                        encode::complete::extend_encode_borrowed(&mut out, &frame, false).unwrap();
                    }
                    black_box(&out);
                    buffer.reserve(replies.len());
                    buffer.extend_from_slice(black_box(&replies));
                    while !buffer.is_empty() {
                        let (frame, ..) = decode::complete::decode_bytes_mut(&mut buffer).unwrap().unwrap();
                        black_box(frame);
                        seen += 1;
                    }
                }
                seen
            }))
        }
        Task::Write => None,
    }
}

/// redis-protocol's frames that own their strings.
pub(crate) fn owned(case: &Case) -> Option<Job> {
    match case.task {
        Task::Replies | Task::Commands => Some(reads(case, |rest| {
            let (frame, used) = decode::complete::decode(rest).unwrap().unwrap();
            black_box(frame);
            used
        })),
        Task::Write | Task::Pipeline => None,
    }
}
