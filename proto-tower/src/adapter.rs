//! A tower service as the handler of a connection or of a stream.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Frame;
use proto_http::{BodyLength, Fields, Handler, Misuse, Request, Responder, Unframed};
use protocol::{Sender, Waking, Woken};
use tower_service::Service;

use crate::body::{Body, BodyError, Feed};
use crate::head;
#[cfg(feature = "hyper")]
use crate::rehearsal::Rehearsal;
use crate::tunnel::Tunnel;
use crate::upgrade::Pipe;

/// The most bytes of a response passed to the connection in one call, after which congestion is checked.
const PIECE: usize = 64 * 1024;
/// A whole response of at most this many bytes is copied behind its head.
const SMALL: usize = 16 * 1024;

/// Answers requests with a [`tower::Service`](Service): the [`Handler`] of an HTTP/1.1 connection or of an HTTP/2 stream.
///
/// The connection polls the service's future in its own turns, without a task; a wake-up is a message to the connection. The future is
/// dropped, and thereby cancelled, when the client has disconnected, the connection has failed, or a deadline has passed.
///
/// The response is sent as the service produces it, and no faster than the client reads. A `Content-Length` of the service is checked
/// against the content. `Transfer-Encoding` is dropped, because the connection chooses the framing. An error of the service is answered
/// with 500; an error of the response's body aborts the response, so that the client cannot take it for complete.
pub struct Adapter<S, B>
where
    S: Service<http::Request<Body>, Response = Response<B>>,
{
    service: S,
    waking: Waking<Woken>,
    waker: Waker,
    exchange: Exchange,
    /// The service's future. Its memory is reused for the next request.
    future: Slot<S::Future>,
    /// The body of the response. Its memory is reused as well.
    body: Slot<B>,
    /// Content that the connection has not accepted yet.
    rest: Bytes,
    /// The request's content, if it has any.
    feed: Option<Feed>,
    upgrade: Option<Box<Asked>>,
}

/// A pinned place, allocated at first use.
type Slot<T> = Option<Pin<Box<Option<T>>>>;

/// Puts `value` into a slot.
fn put<T>(slot: &mut Slot<T>, value: T) {
    match slot {
        Some(place) => place.set(Some(value)),
        None => *slot = Some(Box::pin(Some(value))),
    }
}

/// The value in a slot.
fn get<T>(slot: &mut Slot<T>) -> Option<Pin<&mut T>> {
    slot.as_mut().and_then(|place| place.as_mut().as_pin_mut())
}

/// Drops the value in a slot.
fn clear<T>(slot: &mut Slot<T>) {
    if let Some(place) = slot {
        place.set(None);
    }
}

/// The state of an exchange.
#[derive(Default)]
enum Exchange {
    /// No request is under way, or the response is complete.
    #[default]
    Idle,
    /// The request waits until the service is ready.
    Held(Box<http::Request<Body>>),
    /// The service computes the response.
    Working,
    /// The response is being sent.
    Sending,
    /// The connection becomes a tunnel.
    Switching(Arc<Pipe>),
}

/// The client has asked for an upgrade or a tunnel.
struct Asked {
    pipe: Arc<Pipe>,
    tunnel: bool,
    #[cfg(feature = "hyper")]
    rehearsal: Option<Rehearsal>,
}

impl<S, B> fmt::Debug for Adapter<S, B>
where
    S: Service<http::Request<Body>, Response = Response<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").finish_non_exhaustive()
    }
}

impl<S, B> Adapter<S, B>
where
    S: Service<http::Request<Body>, Response = Response<B>>,
    B: http_body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A handler whose requests `service` answers one by one. `sender` must reach the handler's own connection or stream.
    pub fn new(service: S, sender: Sender<Woken>) -> Self {
        let waking = Waking::new(sender);
        let waker = waking.waker();
        Self {
            service,
            waking,
            waker,
            exchange: Exchange::Idle,
            future: None,
            body: None,
            rest: Bytes::new(),
            feed: None,
            upgrade: None,
        }
    }

    /// Converts the head of a request for the service.
    fn take(
        &mut self,
        request: &Request<'_>,
        responder: &mut Responder<'_, '_>,
    ) -> Result<http::Request<Body>, http::Error> {
        let (mut parts, ()) = head::request(request)?.into_parts();
        let body = if request.body().is_empty() {
            Body::default()
        } else {
            // The 100 (Continue) is sent when the service asks for content.
            responder.withhold_continue();
            let length = match request.body() {
                BodyLength::Length(length) => Some(length),
                _ => None,
            };
            let (feed, body) = Feed::new(length, self.waker.clone());
            self.feed = Some(feed);
            body
        };
        let tunnel = parts.method == Method::CONNECT;
        if tunnel || request.wants_upgrade() {
            let pipe = Pipe::new(self.waker.clone());
            parts.extensions.insert(pipe.offer());
            #[cfg(feature = "hyper")]
            let rehearsal = Rehearsal::new().map(|(rehearsal, made)| {
                parts.extensions.insert(made);
                rehearsal
            });
            self.upgrade = Some(Box::new(Asked {
                pipe,
                tunnel,
                #[cfg(feature = "hyper")]
                rehearsal,
            }));
        }
        Ok(http::Request::from_parts(parts, body))
    }

    /// Calls the service, which is ready.
    fn call(&mut self, request: http::Request<Body>) {
        put(&mut self.future, self.service.call(request));
        self.exchange = Exchange::Working;
    }

    /// Continues the exchange as far as possible.
    fn go_on(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        loop {
            match std::mem::take(&mut self.exchange) {
                Exchange::Held(request) => match self.service.poll_ready(cx) {
                    Poll::Pending => {
                        self.exchange = Exchange::Held(request);
                        break;
                    }
                    Poll::Ready(Ok(())) => self.call(*request),
                    Poll::Ready(Err(_)) => self.fail(responder)?,
                },
                Exchange::Working => match get(&mut self.future).map(|future| future.poll(cx)) {
                    None => {}
                    Some(Poll::Pending) => {
                        self.exchange = Exchange::Working;
                        break;
                    }
                    Some(Poll::Ready(outcome)) => {
                        clear(&mut self.future);
                        match outcome {
                            Ok(response) => self.respond(response, cx, responder)?,
                            Err(_) => self.fail(responder)?,
                        }
                    }
                },
                Exchange::Sending => {
                    if !self.send(cx, responder)? {
                        self.exchange = Exchange::Sending;
                        break;
                    }
                    clear(&mut self.body);
                    self.rest = Bytes::new();
                }
                other => {
                    self.exchange = other;
                    break;
                }
            }
        }
        self.settle(responder)
    }

    /// After a call of the service: applies what it wants of the request's content, or ends the exchange.
    fn settle(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if let Exchange::Idle = self.exchange {
            self.finish(BodyError::Answered);
            return Ok(());
        }
        if let Some(feed) = &self.feed {
            let wants = feed.wants();
            responder.pause(wants.pause);
            if wants.proceed && responder.is_due() {
                responder.proceed()?;
            }
        }
        Ok(())
    }

    /// Ends the request: no more is done for it.
    fn finish(&mut self, why: BodyError) {
        if let Some(feed) = self.feed.take() {
            feed.end(Err(why));
        }
        if let Some(asked) = self.upgrade.take() {
            asked.pipe.close();
        }
    }

    /// Answers an error of the service.
    fn fail(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.send(500, &(), b"")
    }

    fn respond(
        &mut self,
        response: Response<B>,
        cx: &mut Context<'_>,
        responder: &mut Responder<'_, '_>,
    ) -> Result<(), Misuse> {
        let (parts, body) = response.into_parts();
        let (status, headers) = (parts.status, &parts.headers);
        if let Some(asked) = self.upgrade.take() {
            if agrees(&asked, status) {
                return self.switch(*asked, headers, responder);
            }
            asked.pipe.close();
        }
        let (status, announced, hint) = (status.as_u16(), length(headers), body.size_hint().exact());
        let headers = &Unframed(headers);
        if hint == Some(0) || body.is_end_stream() {
            let Some(length) = announced.filter(|length| *length > 0) else {
                return responder.send(status, headers, b"");
            };
            // The response to a HEAD, or a 304: the length that the content would have.
            responder.start(status, headers, Some(length))?;
            return responder.finish();
        }
        put(&mut self.body, body);
        if let Some(whole) = hint
            && announced.is_none_or(|announced| announced == whole)
            && let Some(mut body) = get(&mut self.body)
        {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.rest = data(frame).unwrap_or_default();
                    // Otherwise trailers may follow.
                    let complete = self.rest.len() as u64 == whole && body.is_end_stream();
                    if complete && whole <= SMALL as u64 {
                        clear(&mut self.body);
                        return responder.send(status, headers, &std::mem::take(&mut self.rest));
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    clear(&mut self.body);
                    return self.fail(responder);
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
        }
        // The response may depend on the request's content, as in an echo: a 100 (Continue) must be sent before the head of the response.
        if self.feed.as_ref().is_some_and(Feed::is_kept) {
            responder.proceed()?;
        }
        responder.start(status, headers, announced.or(hint))?;
        self.exchange = Exchange::Sending;
        Ok(())
    }

    /// Sends available content until the connection is congested. Returns true when the response is complete or aborted.
    fn send(&mut self, cx: &mut Context<'_>, responder: &mut Responder<'_, '_>) -> Result<bool, Misuse> {
        loop {
            if responder.is_congested() {
                return Ok(false);
            }
            if !self.rest.is_empty() {
                let piece = self.rest.split_to(self.rest.len().min(PIECE));
                responder.write_shared(piece)?;
                continue;
            }
            match get(&mut self.body).map_or(Poll::Ready(None), |body| body.poll_frame(cx)) {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => {
                    responder.finish()?;
                    return Ok(true);
                }
                Poll::Ready(Some(Err(_))) => {
                    responder.abort();
                    return Ok(true);
                }
                Poll::Ready(Some(Ok(frame))) => match data(frame) {
                    Ok(data) => self.rest = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        match responder.finish_with(&trailers) {
                            // Over HTTP/1.1, a response with a Content-Length cannot have trailers (RFC 9112 section 6.5).
                            Err(Misuse::TrailersNeedChunks) => responder.finish()?,
                            result => result?,
                        }
                        return Ok(true);
                    }
                },
            }
        }
    }

    /// The service has agreed to the upgrade or tunnel.
    #[cold]
    fn switch(&mut self, asked: Asked, headers: &HeaderMap, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if asked.tunnel {
            responder.tunnel(&Unframed(headers))?;
        } else {
            responder.upgrade(&Unframed(headers))?;
        }
        if let Some(stream) = asked.pipe.claim() {
            #[cfg(feature = "hyper")]
            if let Some(rehearsal) = asked.rehearsal {
                rehearsal.open(stream);
            }
            // Nobody has claimed the stream: dropping it ends the connection.
            #[cfg(not(feature = "hyper"))]
            drop(stream);
        }
        self.exchange = Exchange::Switching(asked.pipe);
        Ok(())
    }
}

fn agrees(asked: &Asked, status: StatusCode) -> bool {
    if asked.tunnel {
        status.is_success()
    } else {
        status == StatusCode::SWITCHING_PROTOCOLS
    }
}

/// The announced length of a response. With few fields, a linear search is faster than a lookup.
fn length(headers: &HeaderMap) -> Option<u64> {
    let (_, length) = headers.iter().find(|(name, _)| **name == CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn data<D: Buf>(frame: Frame<D>) -> Result<Bytes, Frame<D>> {
    frame.into_data().map(|mut data| data.copy_to_bytes(data.remaining()))
}

impl<S, B> Handler for Adapter<S, B>
where
    S: Service<http::Request<Body>, Response = Response<B>>,
    B: http_body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Message = Woken;
    type Next = Tunnel;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Ok(request) = self.take(request, responder) else {
            // The `http` crate's types cannot hold this target or this many fields.
            return responder.send(400, &(), b"");
        };
        match self.service.poll_ready(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => self.exchange = Exchange::Held(Box::new(request)),
            Poll::Ready(Ok(())) => self.call(request),
            Poll::Ready(Err(_)) => self.fail(responder)?,
        }
        self.go_on(responder)
    }

    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match &self.feed {
            Some(feed) if feed.data(data) => self.go_on(responder),
            Some(_) => self.settle(responder),
            None => Ok(()),
        }
    }

    fn end(&mut self, trailers: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Some(feed) = &self.feed else { return Ok(()) };
        // Trailers that do not fit the map are dropped: a recipient may ignore trailers.
        let trailers = head::fields(trailers).ok();
        if feed.end(Ok(trailers)) {
            return self.go_on(responder);
        }
        Ok(())
    }

    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.go_on(responder)
    }

    fn posted(&mut self, _: Woken, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.waking.heard();
        match self.exchange {
            Exchange::Idle => Ok(()),
            _ => self.go_on(responder),
        }
    }

    fn switched(&mut self) -> Option<Tunnel> {
        match std::mem::take(&mut self.exchange) {
            Exchange::Switching(pipe) => Some(Tunnel::new(pipe, self.waking.clone())),
            _ => None,
        }
    }

    fn closed(&mut self, _: bool) {
        self.exchange = Exchange::Idle;
        (self.future, self.body) = (None, None);
        self.finish(BodyError::Incomplete);
    }
}
