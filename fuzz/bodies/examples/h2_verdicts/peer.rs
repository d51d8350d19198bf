//! The verdicts of the crate h2, polled by hand over bytes in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Taken, escaped, fields};

/// Bytes that have arrived and were not read yet, and bytes that were written.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<(Vec<u8>, Vec<u8>)>>);

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let input = &mut self.0.borrow_mut().0;
        if input.is_empty() {
            return Poll::Pending;
        }
        let length = input.len().min(buffer.remaining());
        buffer.put_slice(&input[..length]);
        input.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().1.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn all(map: &HeaderMap, left_out: &[&str]) -> String {
    let cookies: Vec<_> = map.get_all("cookie").iter().map(|value| value.as_bytes()).collect();
    let cookie = cookies.join(&b"; "[..]);
    let others = map
        .iter()
        .filter(|(name, _)| *name != "cookie" && !left_out.contains(&name.as_str()));
    let others = others.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let joined = (!cookies.is_empty()).then_some((&b"cookie"[..], &cookie[..]));
    fields(others.chain(joined))
}

/// The content of a message, as far as it has arrived.
struct Content {
    stream: u32,
    body: Option<RecvStream>,
    no_more_data: bool,
}

impl Content {
    /// Takes the content that has arrived. Returns whether the message has ended with it.
    fn take(&mut self, taken: &mut Taken, cx: &mut Context<'_>) -> bool {
        let Some(body) = &mut self.body else { return false };
        while !self.no_more_data {
            match body.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    let _ = body.flow_control().release_capacity(data.len());
                    if !data.is_empty() {
                        taken.data(self.stream, &data);
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    self.body = None;
                    return false;
                }
                Poll::Ready(None) => self.no_more_data = true,
                Poll::Pending => return false,
            }
        }
        match body.poll_trailers(cx) {
            Poll::Ready(Ok(trailers)) => {
                if let Some(trailers) = trailers.filter(|trailers| !trailers.is_empty()) {
                    taken.push(format!("T {} {}", self.stream, all(&trailers, &[])));
                }
                taken.push(format!("E {}", self.stream));
                self.body = None;
                true
            }
            Poll::Ready(Err(_)) => {
                self.body = None;
                false
            }
            Poll::Pending => false,
        }
    }
}

fn request(request: &Request<RecvStream>) -> String {
    let host = request.headers().get("host").map(|host| host.as_bytes());
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let path = request.uri().path_and_query().map(|path| path.as_str().as_bytes());
    format!(
        "{} {} {} {}",
        request.method(),
        escaped(path.unwrap_or_default()),
        escaped(authority.or(host).unwrap_or_default()),
        all(request.headers(), &["host"])
    )
}

pub(crate) fn server(pieces: &[Vec<u8>], answering: bool) -> Vec<String> {
    let (wire, mut cx) = (Wire::default(), Context::from_waker(Waker::noop()));
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(100).enable_connect_protocol();
    let mut handshake = pin!(builder.handshake::<_, Bytes>(wire.clone()));
    let mut connection = None;
    let mut streams: BTreeMap<u32, (Content, Option<SendResponse<Bytes>>)> = BTreeMap::new();
    let mut said = Vec::new();
    let mut started = false;
    for piece in pieces {
        let mut taken = Taken::default();
        wire.0.borrow_mut().0.extend_from_slice(piece);
        if connection.is_none()
            && !started
            && let Poll::Ready(done) = handshake.as_mut().poll(&mut cx)
        {
            started = true;
            connection = done.ok();
        }
        // Reading or answering an item may let the connection go on.
        for _ in 0..3 {
            let Some(connection) = &mut connection else { break };
            while let Poll::Ready(Some(Ok((head, respond)))) = connection.poll_accept(&mut cx) {
                let stream = respond.stream_id().as_u32();
                taken.push(format!("Q {stream} {}", request(&head)));
                let body = Some(head.into_body());
                let content = Content {
                    stream,
                    body,
                    no_more_data: false,
                };
                streams.insert(stream, (content, Some(respond)));
            }
            for (stream, (content, respond)) in &mut streams {
                if content.take(&mut taken, &mut cx)
                    && answering
                    && let Some(mut respond) = respond.take()
                {
                    let _ = respond.send_response(Response::new(()), true);
                }
                if let Some(waiting) = respond
                    && let Poll::Ready(reset) = waiting.poll_reset(&mut cx)
                {
                    if let Ok(reason) = reset {
                        taken.push(format!("X {stream} {}", u32::from(reason)));
                    }
                    *respond = None;
                }
            }
        }
        let out = std::mem::take(&mut wire.0.borrow_mut().1);
        let over = taken.replied(&out) || started && connection.is_none();
        taken.drop_own_resets(over);
        said.push(taken.line());
        if over {
            break;
        }
    }
    said
}

pub(crate) fn client(pieces: &[Vec<u8>]) -> Vec<String> {
    let (wire, mut cx) = (Wire::default(), Context::from_waker(Waker::noop()));
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false);
    let mut handshake = pin!(builder.handshake::<_, Bytes>(wire.clone()));
    let Poll::Ready(Ok((mut send, mut connection))) = handshake.as_mut().poll(&mut cx) else {
        return Vec::new();
    };
    let mut waiting: BTreeMap<u32, ResponseFuture> = BTreeMap::new();
    let mut open = Vec::new();
    for (method, end) in [("GET", true), ("HEAD", true), ("POST", false)] {
        let request = Request::builder().method(method).uri("http://a/").body(());
        let (Ok(request), Poll::Ready(Ok(()))) = (request, send.poll_ready(&mut cx)) else {
            return Vec::new();
        };
        let Ok((response, body)) = send.send_request(request, end) else {
            return Vec::new();
        };
        waiting.insert(response.stream_id().as_u32(), response);
        open.push(body);
        let _ = Pin::new(&mut connection).poll(&mut cx);
    }
    wire.0.borrow_mut().1.clear();
    let (mut streams, mut said) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut taken = Taken::default();
        wire.0.borrow_mut().0.extend_from_slice(piece);
        let mut over = false;
        for _ in 0..3 {
            over |= Pin::new(&mut connection).poll(&mut cx).is_ready();
            let mut gone = Vec::new();
            for (&stream, response) in &mut waiting {
                while let Poll::Ready(Some(Ok(head))) = response.poll_informational(&mut cx) {
                    taken.push(format!(
                        "I {stream} {} {}",
                        head.status().as_u16(),
                        all(head.headers(), &[])
                    ));
                }
                match Pin::new(response).poll(&mut cx) {
                    Poll::Ready(Ok(head)) => {
                        taken.push(format!(
                            "S {stream} {} {}",
                            head.status().as_u16(),
                            all(head.headers(), &[])
                        ));
                        let body = Some(head.into_body());
                        streams.push(Content {
                            stream,
                            body,
                            no_more_data: false,
                        });
                        gone.push(stream);
                    }
                    Poll::Ready(Err(_)) => gone.push(stream),
                    Poll::Pending => {}
                }
            }
            gone.iter().for_each(|stream| drop(waiting.remove(stream)));
            for content in &mut streams {
                content.take(&mut taken, &mut cx);
            }
            open.retain_mut(|body: &mut SendStream<Bytes>| match body.poll_reset(&mut cx) {
                Poll::Ready(Ok(reason)) => {
                    taken.push(format!("X {} {}", body.stream_id().as_u32(), u32::from(reason)));
                    false
                }
                Poll::Ready(Err(_)) => false,
                Poll::Pending => true,
            });
        }
        let out = std::mem::take(&mut wire.0.borrow_mut().1);
        over |= taken.replied(&out);
        taken.drop_own_resets(over);
        said.push(taken.line());
        if over {
            break;
        }
    }
    said
}
