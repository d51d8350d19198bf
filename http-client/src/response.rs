//! An answer.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::response::Parts;
use http::{StatusCode, Version};
use url::Url;

use crate::Error;
use crate::agent::Agent;
use crate::client::Shared;
use crate::decode::Decoder;
use crate::exchange::Exchange;
use crate::pipe::Piece;
use crate::pool::JobId;

/// A request under way: dropping this cancels it.
pub(crate) struct Ticket {
    /// Keeps the client.
    #[expect(dead_code, reason = "the client lives as long as its requests")]
    pub(crate) shared: Arc<Shared>,
    pub(crate) agent: Arc<Agent>,
    pub(crate) job: JobId,
    pub(crate) exchange: Arc<Exchange>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.agent.cancel(self.job);
    }
}

/// The head of an answer, and its content, which is read from the connection as fast as it is taken from here. Dropping this before the
/// end of the content ends the exchange.
pub struct Response {
    parts: Parts,
    url: Url,
    ticket: Ticket,
    decoder: Option<Decoder>,
    trailers: Option<HeaderMap>,
    max_content: u64,
}

impl Response {
    pub(crate) fn new(parts: Parts, url: Url, ticket: Ticket, decompress: bool, max_content: u64) -> Self {
        let decoder = decompress.then(|| Decoder::of(&parts.headers)).flatten();
        Response {
            parts,
            url,
            ticket,
            decoder,
            trailers: None,
            max_content,
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.parts.status
    }

    /// The fields. Content-Encoding and Content-Length are those of the coded content, also if it is decompressed.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// The URL of the answer, after all redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The length of the content, if the server has announced it and the content is not decompressed.
    pub fn content_length(&self) -> Option<u64> {
        let announced = self.parts.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        announced.filter(|_| self.decoder.is_none())
    }

    /// The next piece of the content, decompressed; `None` at the end of complete content. Cancel-safe.
    ///
    /// # Errors
    ///
    /// If the content is not complete, or does not decompress.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// [`chunk`](Self::chunk), as a function to poll.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk).
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            if let Some(decoder) = &mut self.decoder
                && let Some(piece) = decoder.piece()?
            {
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.trailers.is_some() {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.ticket.exchange.content.read(cx.waker()))? {
                Piece::Content(content) => match &mut self.decoder {
                    Some(decoder) => decoder.push(&content),
                    None => return Poll::Ready(Ok(Some(content))),
                },
                Piece::End(trailers) => {
                    self.trailers = Some(trailers);
                    if let Some(decoder) = &mut self.decoder {
                        decoder.end();
                    }
                }
            }
        }
    }

    /// The trailers, after the end of the content.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The content that was not taken yet, up to [`Settings::max_content`](crate::Settings::max_content) bytes.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] for longer content; others as for [`chunk`](Self::chunk).
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        self.bytes_up_to(self.max_content).await
    }

    /// The content, up to `limit` bytes.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub async fn bytes_up_to(&mut self, limit: u64) -> Result<Bytes, Error> {
        if self
            .content_length()
            .is_some_and(|length| length > limit && self.parts.status != StatusCode::NOT_MODIFIED)
        {
            return Err(Error::TooLong(limit));
        }
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if (first.len() + all.len() + piece.len()) as u64 > limit {
                return Err(Error::TooLong(limit));
            }
            if first.is_empty() && all.is_empty() {
                first = piece;
                continue;
            }
            if !first.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&piece);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }

    /// The content as text: UTF-8; other bytes become U+FFFD.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub async fn text(&mut self) -> Result<String, Error> {
        let bytes = self.bytes().await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The content as a value in JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Content`] if it is not such a value; others as for [`bytes`](Self::bytes).
    #[cfg(feature = "json")]
    pub async fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Error> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Content(error.to_string()))
    }

    /// The head as a type of the crate `http`, with `content`.
    pub fn into_http<T>(self, content: T) -> http::Response<T> {
        http::Response::from_parts(self.parts, content)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("url", &self.url.as_str())
            .field("status", &self.parts.status)
            .field("headers", &self.parts.headers)
            .finish_non_exhaustive()
    }
}
