//! The client, and how a request is made.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use driver_common::{Backend, Handle, Server};
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use protocol::Either;
use url::Url;

use crate::agent::Agent;
use crate::body::Body;
use crate::dialer::{Clock, ClockSender, Node, OnDriver};
use crate::exchange::Exchange;
use crate::redirect::{Hop, Redirects};
use crate::response::{Response, Ticket};
use crate::{Error, Settings};

/// An HTTP client. Clones share their connections; dropping the last one, and the last of its responses, closes them.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// Ends the agent with the last user.
pub(crate) struct Shared {
    agent: OnceLock<Arc<Agent>>,
    settings: Settings,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.get() {
            agent.stop();
        }
    }
}

impl Shared {
    /// The agent; a client without a driver starts it in the runtime of the caller.
    pub(crate) fn agent(&self) -> Result<&Arc<Agent>, Error> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        self.start()
    }

    #[cfg(feature = "tokio")]
    fn start(&self) -> Result<&Arc<Agent>, Error> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::Settings("a client without a driver must be used in a tokio runtime".into()))?;
        Ok(self
            .agent
            .get_or_init(|| crate::in_runtime::start(self.settings.clone(), &runtime)))
    }

    #[cfg(not(feature = "tokio"))]
    fn start(&self) -> Result<&Arc<Agent>, Error> {
        Err(Error::Settings("the client has no driver".into()))
    }
}

#[cfg(feature = "tokio")]
impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client with the default settings. It works in the tokio runtime in which it is first used, on any of its threads.
    #[cfg(feature = "tokio")]
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    /// The same with `settings`.
    #[cfg(feature = "tokio")]
    pub fn with(settings: Settings) -> Self {
        Client {
            shared: Arc::new(Shared {
                agent: OnceLock::new(),
                settings,
            }),
        }
    }

    /// A client on a thread of the driver of `server`, whose settings apply to the sockets. Requests may be made on any thread, in any
    /// runtime or in none ([`wait`](crate::wait)).
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    #[cfg(unix)]
    pub fn on<B>(server: &Server<B>, settings: Settings) -> io::Result<Self>
    where
        B: Backend + 'static,
        Handle<Node, B>: Send + Sync,
    {
        let clock = ClockSender::default();
        let handle = Arc::new(OnceLock::new());
        let dialer = OnDriver {
            handle: Arc::clone(&handle),
            clock: Arc::clone(&clock),
        };
        let agent = Agent::new(settings.clone(), Box::new(dialer));
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let for_clock = Arc::clone(&agent);
        let running = server.adopt(theirs, move |peer| {
            *clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(peer.sender());
            Either::Left(Clock {
                agent: for_clock,
                other_end: ours,
            })
        })?;
        // Set once.
        let _ = handle.set(running.handle());
        let shared = Shared {
            agent: OnceLock::from(agent),
            settings,
        };
        Ok(Client {
            shared: Arc::new(shared),
        })
    }

    /// A GET of `url`.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD of `url`.
    pub fn head(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST to `url`.
    pub fn post(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT to `url`.
    pub fn put(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A DELETE of `url`.
    pub fn delete(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// A request of another method. User and password in the URL are sent as Basic authentication (RFC 7617). Mistakes, such as an
    /// invalid URL, are returned by [`send`](RequestBuilder::send).
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> RequestBuilder {
        let text = url.as_ref();
        let parsed = Url::parse(text).map_err(|_| Error::Url(text.to_owned()));
        let hop = parsed.map(|url| Hop {
            method,
            url,
            headers: HeaderMap::new(),
            body: false,
        });
        RequestBuilder {
            shared: Arc::clone(&self.shared),
            hop,
            body: Body::default(),
            redirects: self.shared.settings.redirects,
            total: self.shared.settings.timeouts.total,
        }
    }

    /// The connections, the idle connections among them, and the requests that wait for one.
    pub fn counts(&self) -> (usize, usize, usize) {
        self.shared.agent.get().map_or((0, 0, 0), |agent| agent.counts())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// A request in the making.
#[must_use = "a request does nothing unless it is sent"]
pub struct RequestBuilder {
    shared: Arc<Shared>,
    hop: Result<Hop, Error>,
    body: Body,
    redirects: Redirects,
    total: Option<Duration>,
}

impl RequestBuilder {
    fn change(mut self, change: impl FnOnce(&mut Hop) -> Result<(), Error>) -> Self {
        if let Ok(hop) = &mut self.hop
            && let Err(error) = change(hop)
        {
            self.hop = Err(error);
        }
        self
    }

    /// Adds a field. Fields of the framing (Content-Length, Transfer-Encoding) are ignored: the body decides.
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.change(|hop| {
            let name: HeaderName = name.as_ref().parse().map_err(|_| Error::Invalid("field name"))?;
            let value = HeaderValue::from_bytes(value.as_ref()).map_err(|_| Error::Invalid("field value"))?;
            hop.headers.append(name, value);
            Ok(())
        })
    }

    /// Adds fields.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.change(|hop| {
            hop.headers.extend(headers);
            Ok(())
        })
    }

    /// Adds user and password (Basic authentication, RFC 7617).
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        self.header("authorization", crate::proxy::basic(user, password))
    }

    /// Adds a token (RFC 6750).
    pub fn bearer_auth(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Adds pairs to the query of the URL, encoded as a form.
    pub fn query<K: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        self.change(|hop| {
            hop.url.query_pairs_mut().extend_pairs(pairs);
            Ok(())
        })
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        let has_body = !self.body.is_empty();
        self.change(|hop| {
            hop.body = has_body;
            Ok(())
        })
    }

    /// Sets the body to a form, and its Content-Type.
    pub fn form<K: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        self.content_type("application/x-www-form-urlencoded").body(form)
    }

    /// Sets the body to JSON, and its Content-Type.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => self.content_type("application/json").body(json),
            Err(error) => self.change(|_| Err(Error::Content(error.to_string()))),
        }
    }

    fn content_type(self, kind: &'static str) -> Self {
        self.change(|hop| {
            hop.headers
                .entry(CONTENT_TYPE)
                .or_insert(HeaderValue::from_static(kind));
            Ok(())
        })
    }

    /// Which redirects to follow. Default: [`Settings::redirects`].
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// The time for the whole request, to the last byte of the content. Default: [`Timeouts::total`](crate::Timeouts::total).
    pub fn timeout(mut self, total: Duration) -> Self {
        self.total = Some(total);
        self
    }

    /// Sends the request, and waits for the head of its final answer. Dropping the future cancels the request.
    ///
    /// # Errors
    ///
    /// [`Error`]; a status such as 404 is none.
    pub async fn send(self) -> Result<Response, Error> {
        let hop = self.hop?;
        let agent = self.shared.agent()?;
        let exchange = Arc::new(Exchange::new(self.shared.settings.buffer));
        let job = agent.submit(hop, self.body, self.redirects, self.total, &exchange)?;
        let ticket = Ticket {
            shared: Arc::clone(&self.shared),
            agent: Arc::clone(agent),
            job,
            exchange,
        };
        let (parts, url) = poll_fn(|cx| ticket.exchange.poll_head(cx.waker())).await?;
        let settings = &self.shared.settings;
        Ok(Response::new(
            parts,
            url,
            ticket,
            settings.decompress,
            settings.max_content,
        ))
    }

    /// Sends the request and collects its answer, up to [`Settings::max_content`] bytes, without waiting: `then` gets the result, on the
    /// thread of the client's driver. So a protocol on a driver gets an answer as a message: `then` posts it.
    ///
    /// `then` must not block.
    pub fn fetch(self, then: impl FnOnce(Result<http::Response<bytes::Bytes>, Error>) + Send + 'static) {
        crate::wait::spawn(async move {
            let outcome = async {
                let mut response = self.send().await?;
                let content = response.bytes().await?;
                Ok(response.into_http(content))
            };
            then(outcome.await);
        });
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("request", &self.hop)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
