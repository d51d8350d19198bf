//! The other crates, each used as its documentation recommends, with limits that no case reaches.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};

use benches::turns::Job;

use super::cases::{Case, Content, Task};
use crate::feed::run;
use benches::random::Xorshift;

const LIMIT: usize = 64 << 20;

pub(crate) fn tungstenite(case: &Case) -> Option<Job> {
    if case.task == Task::Share {
        return None;
    }
    use tungstenite::Message;
    use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
    let config = WebSocketConfig::default()
        .max_frame_size(Some(LIMIT))
        .max_message_size(Some(LIMIT));
    let role = if case.task == Task::SendMasked {
        Role::Client
    } else {
        Role::Server
    };
    let mut socket = WebSocket::from_raw_socket(case.feed(), role, Some(config));
    Some(match case.task {
        // Its messages are always owned.
        Task::Receive | Task::Own => Box::new(move |count| {
            for _ in 0..count {
                black_box(socket.read().unwrap());
            }
            count
        }),
        Task::Send | Task::Share | Task::SendMasked => {
            let payload = Bytes::from(case.payload());
            Box::new(move |count| {
                for _ in 0..count {
                    socket.write(Message::Binary(payload.clone())).unwrap();
                }
                socket.flush().unwrap();
                count
            })
        }
    })
}

pub(crate) fn fastwebsockets(case: &Case) -> Option<Job> {
    if case.task == Task::Send && case.len >= 65536 {
        return None;
    }
    use fastwebsockets::{FragmentCollector, Frame, Payload, Role, WebSocket};
    let role = if case.task == Task::SendMasked {
        Role::Client
    } else {
        Role::Server
    };
    let mut socket = WebSocket::after_handshake(case.feed(), role);
    socket.set_max_message_size(LIMIT);
    Some(match case.task {
        Task::Receive | Task::Own => {
            let own = case.task == Task::Own;
            let mut socket = FragmentCollector::new(socket);
            Box::new(move |count| {
                run(async {
                    for _ in 0..count {
                        let frame = socket.read_frame().await.unwrap();
                        if own {
                            black_box(Bytes::copy_from_slice(&frame.payload));
                        } else {
                            black_box(&frame.payload[..]);
                        }
                    }
                });
                count
            })
        }
        Task::Send | Task::Share | Task::SendMasked => {
            let payload = case.payload();
            Box::new(move |count| {
                run(async {
                    for _ in 0..count {
                        socket
                            .write_frame(Frame::binary(Payload::Borrowed(&payload)))
                            .await
                            .unwrap();
                    }
                });
                count
            })
        }
    })
}

pub(crate) fn tokio_websockets(case: &Case) -> Option<Job> {
    if case.task == Task::Send && case.len >= 65536 {
        return None;
    }
    use tokio_websockets::{ClientBuilder, Config, Limits, Message, ServerBuilder};
    let limits = Limits::default().max_payload_len(Some(LIMIT));
    let config = Config::default().frame_size(usize::MAX);
    let mut socket = if case.task == Task::SendMasked {
        ClientBuilder::new()
            .limits(limits)
            .config(config)
            .take_over(case.feed())
    } else {
        ServerBuilder::new().limits(limits).config(config).serve(case.feed())
    };
    Some(match case.task {
        // Its messages are always owned.
        Task::Receive | Task::Own => Box::new(move |count| {
            run(async {
                for _ in 0..count {
                    black_box(socket.next().await.unwrap().unwrap());
                }
            });
            count
        }),
        Task::Send | Task::Share | Task::SendMasked => {
            let payload = Bytes::from(case.payload());
            Box::new(move |count| {
                run(async {
                    for _ in 0..count {
                        socket.feed(Message::binary(payload.clone())).await.unwrap();
                    }
                    socket.flush().await.unwrap();
                });
                count
            })
        }
    })
}

pub(crate) fn soketto(case: &Case) -> Option<Job> {
    if case.task == Task::Send && case.len >= 65536 {
        return None;
    }
    use soketto::connection::{Builder, Mode};
    let mode = if case.task == Task::SendMasked {
        Mode::Client
    } else {
        Mode::Server
    };
    let mut builder = Builder::new(case.feed(), mode);
    builder.set_max_frame_size(LIMIT);
    builder.set_max_message_size(LIMIT);
    let (mut sender, mut receiver) = builder.finish();
    Some(match case.task {
        Task::Receive | Task::Own => {
            let own = case.task == Task::Own;
            let mut message = Vec::new();
            Box::new(move |count| {
                // Keeps the other half alive.
                let _ = &sender;
                run(async {
                    for _ in 0..count {
                        message.clear();
                        let data = receiver.receive_data(&mut message).await.unwrap();
                        // soketto leaves the UTF-8 check to its user.
                        if data.is_text() {
                            black_box(std::str::from_utf8(&message).unwrap());
                        } else if own {
                            black_box(Bytes::copy_from_slice(&message));
                        } else {
                            black_box(&message);
                        }
                    }
                });
                count
            })
        }
        Task::Send | Task::Share | Task::SendMasked => {
            let payload = case.payload();
            Box::new(move |count| {
                run(async {
                    for _ in 0..count {
                        sender.send_binary(&payload).await.unwrap();
                    }
                    sender.flush().await.unwrap();
                });
                count
            })
        }
    })
}

pub(crate) fn yawc(case: &Case) -> Option<Job> {
    if case.task == Task::Send && case.len >= 65536 {
        return None;
    }
    use yawc::{Frame, Options, Role, WebSocket};
    let role = if case.task == Task::SendMasked {
        Role::Client
    } else {
        Role::Server
    };
    let options = Options::default().with_limits(LIMIT, LIMIT).with_utf8();
    let mut socket = WebSocket::from_stream(case.feed(), role, options).unwrap();
    Some(match case.task {
        // Its messages are always owned.
        Task::Receive | Task::Own => Box::new(move |count| {
            run(async {
                for _ in 0..count {
                    black_box(socket.next_frame().await.unwrap());
                }
            });
            count
        }),
        Task::Send | Task::Share | Task::SendMasked => {
            let payload = Bytes::from(case.payload());
            Box::new(move |count| {
                run(async {
                    for _ in 0..count {
                        socket.feed(Frame::binary(payload.clone())).await.unwrap();
                    }
                    socket.flush().await.unwrap();
                });
                count
            })
        }
    })
}

/// The crate does not check UTF-8, which is left to its user, so text is checked here.
pub(crate) fn websocket_sans_io(case: &Case) -> Option<Job> {
    if case.task == Task::Share {
        return None;
    }
    use websocket_sans_io::{FrameInfo, Opcode, WebsocketFrameDecoder, WebsocketFrameEncoder, WebsocketFrameEvent};
    Some(match case.task {
        Task::Receive | Task::Own => {
            let own = case.task == Task::Own;
            let text = case.content != Content::Binary;
            let mut feed = case.feed();
            let mut buffer = vec![0; feed.read_size()];
            let mut decoder = WebsocketFrameDecoder::new();
            let mut message = Vec::new();
            Box::new(move |count| {
                let mut seen = 0;
                while seen < count {
                    let n = feed.fill(&mut buffer);
                    let mut rest = &mut buffer[..n];
                    loop {
                        let added = decoder.add_data(rest).unwrap();
                        if added.event.is_none() && added.consumed_bytes == 0 {
                            break;
                        }
                        let (taken, after) = rest.split_at_mut(added.consumed_bytes);
                        rest = after;
                        match added.event {
                            Some(WebsocketFrameEvent::PayloadChunk { .. }) => message.extend_from_slice(taken),
                            Some(WebsocketFrameEvent::End {
                                frame_info: FrameInfo { fin: true, .. },
                                ..
                            }) => {
                                if text {
                                    black_box(simdutf8::basic::from_utf8(&message).unwrap());
                                }
                                if own {
                                    black_box(Bytes::copy_from_slice(&message));
                                } else {
                                    black_box(&message);
                                }
                                message.clear();
                                seen += 1;
                            }
                            _ => {}
                        }
                    }
                }
                seen
            })
        }
        Task::Send | Task::Share | Task::SendMasked => {
            let payload = case.payload();
            let masked = case.task == Task::SendMasked;
            let mut entropy = Xorshift::default();
            let mut out = BytesMut::with_capacity(256 * 1024);
            let mut encoder = WebsocketFrameEncoder::new();
            Box::new(move |count| {
                for _ in 0..count {
                    if out.len() >= 65536 {
                        black_box(&out);
                        out.clear();
                    }
                    let header = encoder.start_frame(&FrameInfo {
                        opcode: Opcode::Binary,
                        payload_length: payload.len() as u64,
                        mask: masked.then(|| entropy.next_bytes()),
                        fin: true,
                        reserved: 0,
                    });
                    out.extend_from_slice(&header);
                    let from = out.len();
                    out.extend_from_slice(&payload);
                    if masked {
                        encoder.transform_frame_payload(&mut out[from..]);
                    }
                }
                count
            })
        }
    })
}
