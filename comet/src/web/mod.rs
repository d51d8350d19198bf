//! Requests over HTTP, and the upgrade to WebSocket.

mod api;
mod cors;
mod credentials;
mod demo;
mod events;
mod metrics;
mod one_way;
mod origin;
mod pages;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use proto_h2::{Auto, StreamMessage};
use proto_http::{Fields, Handler, Misuse, Request, Responder, ServerConfig};
use proto_ws::handshake::server::{Rejection, Request as Handshake};
use protocol::{Peer, Sender};

use self::api::Call;
#[cfg(test)]
pub(crate) use self::api::PATHS as API_PATHS;
use self::cors::Readers;
use self::demo::Demo;
use self::events::Events;
use self::one_way::{OneWay, VisitorParts};
use self::pages::Pages;
use crate::app::App;
use crate::backend::{Event, Head};
use crate::edge::{Forwarded, Ticket, TooMany};
use crate::messages::{Code, Failure};
use crate::node::Post;
use crate::session::{Dialect, Session};
use crate::settings::Settings;

/// The state that all connections share.
#[derive(Clone)]
pub(crate) struct Site {
    app: Arc<App>,
    pages: Arc<Pages>,
    http: Arc<ServerConfig>,
    http2: Arc<proto_h2::ServerConfig>,
    ws: Arc<proto_ws::Config>,
    /// The trusted proxy whose connection this is. Such a connection has a site of its own, so that others need no memory for it.
    proxy: Option<Proxy>,
    face: Face,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    /// Everything.
    All,
    /// What is for clients.
    Clients,
    /// Metrics, health, the API and its page.
    Administration,
}

impl Face {
    fn serves(self, path: &str) -> bool {
        let is_administration = path.starts_with("/api/")
            || matches!(
                path,
                "/healthz" | "/readyz" | "/metrics" | "/admin" | "/admin.css" | "/admin.js"
            );
        match self {
            _ if path == "/icon.svg" => true,
            Face::All => true,
            Face::Clients => !is_administration,
            Face::Administration => is_administration,
        }
    }
}

/// A trusted proxy, and its address unless it is a peer over a Unix socket.
#[derive(Clone, Copy)]
struct Proxy(Option<IpAddr>);

/// One connection, over HTTP/1.1 or HTTP/2.
pub(crate) type Connection = Auto<Visitor, MakeVisitor>;

/// A message to a connection.
pub(crate) type ToConnection = StreamMessage<Post>;

/// Makes the handler of a connection or a stream.
pub(crate) type MakeVisitor = Box<dyn Fn(&Peer<'_, Post>) -> Option<Visitor> + Send>;

impl Site {
    /// # Errors
    ///
    /// If the pages cannot be served.
    pub(crate) fn new(app: Arc<App>) -> Result<Self, Misuse> {
        let settings = app.settings();
        let message = settings.limits.message;
        let mut http = ServerConfig::new(SystemTime::now);
        http.rules.limits.body = Some(message as u64);
        let mut http2 = proto_h2::ServerConfig::new(SystemTime::now);
        http2.limits.body = http.rules.limits.body;
        let mut ws = proto_ws::Config::default();
        ws.limits.message = message as u64;
        ws.limits.frame = message as u64;
        if let Some(settings) = &settings.encoding.compression {
            ws.deflate = settings.clone();
        }
        Ok(Site {
            pages: Arc::new(Pages::new(settings.demo)?),
            http: Arc::new(http),
            http2: Arc::new(http2),
            ws: Arc::new(ws),
            proxy: None,
            face: match settings.admin_listen {
                Some(_) => Face::Clients,
                None => Face::All,
            },
            app,
        })
    }

    /// The protocol of a new connection: HTTP/2 if it begins with the preface, else HTTP/1.1.
    pub(crate) fn connection(self: &Arc<Self>, peer: &Peer<'_, ToConnection>) -> Connection {
        Auto::new(
            Arc::clone(&self.http),
            Arc::clone(&self.http2),
            self.visitors(peer),
            peer,
        )
    }

    /// The protocol of a new connection, as negotiated in TLS.
    pub(crate) fn negotiated(self: &Arc<Self>, agreed: &[u8], peer: &Peer<'_, ToConnection>) -> Option<Connection> {
        let (http, http2) = (Arc::clone(&self.http), Arc::clone(&self.http2));
        Auto::negotiated(Some(agreed), http, http2, self.visitors(peer), peer)
    }

    /// The same site for the listener of administration.
    pub(crate) fn administration(&self) -> Arc<Self> {
        let mut site = self.clone();
        site.face = Face::Administration;
        Arc::new(site)
    }

    fn visitors(self: &Arc<Self>, peer: &Peer<'_, ToConnection>) -> MakeVisitor {
        let site = self.seen_by(peer.remote().map(|remote| remote.ip()));
        Box::new(move |peer| {
            Some(Visitor {
                site: Arc::clone(&site),
                sender: peer.sender(),
                doing: Doing::Nothing,
            })
        })
    }
}

impl Site {
    /// This site for the connection of a peer, which may be a trusted proxy.
    fn seen_by(self: &Arc<Self>, peer: Option<IpAddr>) -> Arc<Self> {
        if !self.app.edge.proxies.trusted.contains(peer) {
            return Arc::clone(self);
        }
        let mut site = Site::clone(self);
        site.proxy = Some(Proxy(peer));
        Arc::new(site)
    }

    #[cfg(test)]
    pub(crate) fn edge(&self) -> Arc<crate::edge::Edge> {
        Arc::clone(&self.app.edge)
    }

    /// What the trusted proxy says about a request; `None` if the request came from elsewhere.
    fn forwarded<'r>(&self, request: &Request<'r>) -> Option<Forwarded<'r>> {
        let Proxy(proxy) = self.proxy?;
        Some(self.app.edge.forwarded(&request.fields(), proxy))
    }

    /// Counts a client that stays, if it came through a trusted proxy. Other clients are counted by their connections.
    fn enter(&self, forwarded: Option<&Forwarded<'_>>) -> Result<Option<Ticket>, TooMany> {
        match forwarded {
            Some(forwarded) => self.app.edge.enter(forwarded.client),
            None => Ok(None),
        }
    }
}

/// The handler of HTTP requests.
pub(crate) struct Visitor {
    site: Arc<Site>,
    sender: Sender<Post>,
    doing: Doing,
}

/// The current activity.
enum Doing {
    Nothing,
    /// An API call: waits for its body, or for the broker's answer.
    Call(Box<Call>),
    /// A demonstration.
    Demo(Demo),
    /// A stream of events.
    Events(Box<Events>),
    /// A stream of events in Centrifugo's protocol.
    OneWay(Box<OneWay>),
    /// The connection is upgrading to WebSocket.
    Entering(Box<proto_ws::Server<Session>>),
}

impl Visitor {
    fn app(&self) -> &Arc<App> {
        &self.site.app
    }

    /// Upgrades to WebSocket.
    fn enter(&mut self, dialect: Dialect, request: &Request<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        let handshake = Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value)));
        let forwarded = self.site.forwarded(request);
        let checked = handshake.and_then(|handshake| {
            origin::check(self.app(), &handshake, forwarded.as_ref())?;
            Ok(handshake)
        });
        let handshake = match checked {
            Ok(handshake) => handshake,
            Err(rejection) => return refuse(&rejection, answer),
        };
        let claims = match dialect {
            // These clients show their token later.
            Dialect::Centrifugo | Dialect::Events => None,
            Dialect::Comet => match self.claims(request, forwarded.as_ref()) {
                Ok(claims) => claims,
                Err(bad) => return api::unauthorized(answer, &Readers::NONE, bad.reason()),
            },
        };
        let Ok(ticket) = self.site.enter(forwarded.as_ref()) else {
            return too_many(answer, &Readers::NONE);
        };
        // Returns the ticket when it is dropped.
        let session = Session::new(Arc::clone(self.app()), self.sender.clone(), dialect, claims, ticket);
        session.came_with(self.app().proxy().map(|_| Head::of(request)));
        let mut accepted = handshake.accept();
        if self.app().node.config.encoding.compression.is_some() {
            accepted = accepted.deflate(&self.site.ws.deflate);
        }
        let connection = proto_ws::Connection::server(Arc::clone(&self.site.ws)).accepted(&accepted);
        let fields: Vec<_> = accepted.fields().collect();
        answer.upgrade(&fields.as_slice())?;
        self.doing = Doing::Entering(Box::new(proto_ws::Server::with(connection, session)));
        Ok(())
    }

    /// Begins a stream of events.
    fn read(&mut self, request: &Request<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let forwarded = self.site.forwarded(request);
        let Ok(ticket) = self.site.enter(forwarded.as_ref()) else {
            return too_many(answer, &Readers::of(request, &self.app().settings()));
        };
        match Events::open(self, request, forwarded.as_ref(), answer) {
            Ok(Some(mut events)) => {
                events.ticket = ticket;
                events.tell(self.app(), [Event::Connect, Event::Subscribe]);
                self.doing = Doing::Events(Box::new(events));
                Ok(())
            }
            answered => {
                self.app().edge.leave(ticket);
                answered.map(drop)
            }
        }
    }

    /// Ends the current activity.
    fn end_activity(&mut self) {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Events(mut events) => {
                events.tell(self.app(), [Event::Unsubscribe, Event::Disconnect]);
                self.app().edge.leave(events.ticket.take());
            }
            Doing::OneWay(mut stream) => self.app().edge.leave(stream.ticket()),
            _ => {}
        }
    }

    /// Ends a stream of events whose answer is complete: a proxy keeps its connection, but the client is gone.
    fn end_if_over(&mut self, answer: &Responder<'_, '_>) {
        if !answer.is_open() {
            self.end_activity();
        }
    }
}

impl Handler for Visitor {
    type Message = Post;
    type Next = proto_ws::Server<Session>;

    fn request(&mut self, request: &Request<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.end_activity();
        if request.method() == "OPTIONS" {
            return cors::options(request, &self.app().settings(), answer);
        }
        match request.path() {
            path if !self.site.face.serves(path) => not_here(request, &self.app().settings(), answer),
            "/ws" => self.enter(Dialect::Comet, request, answer),
            "/connection/websocket" => self.enter(Dialect::Centrifugo, request, answer),
            "/events" => self.read(request, answer),
            "/connection/uni_sse" => {
                if let Some(stream) = OneWay::new(self, request, answer)? {
                    self.doing = Doing::OneWay(Box::new(stream));
                }
                Ok(())
            }
            path if path.starts_with("/api/") => {
                if let Some(call) = Call::new(self, request, answer)? {
                    self.doing = Doing::Call(Box::new(call));
                }
                Ok(())
            }
            path if path.starts_with("/demo/") => {
                if let Some(demo) = Demo::new(self, request, answer)? {
                    self.doing = Doing::Demo(demo);
                }
                Ok(())
            }
            "/healthz" => get(request, answer, |answer| answer.send(200, PLAIN, b"ok\n")),
            "/readyz" => get(request, answer, |answer| {
                let ready = self.app().node.is_ready();
                answer.send(
                    if ready { 200 } else { 503 },
                    PLAIN,
                    if ready { b"ok\n" } else { b"not ready\n" },
                )
            }),
            "/metrics" => get(request, answer, |answer| {
                answer.send(200, metrics::FIELDS, metrics::text(&self.app().node).as_bytes())
            }),
            _ => self.site.pages.answer(request, answer),
        }
    }

    fn data(&mut self, data: &[u8], _: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match &mut self.doing {
            Doing::Call(call) => call.data(data),
            Doing::OneWay(stream) => stream.data(data),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Visitor { site, sender, doing } = self;
        match doing {
            Doing::Call(call) => call.end(&site.app, sender, answer),
            Doing::OneWay(stream) => {
                stream.begin(&VisitorParts(&site.app, sender), answer)?;
                self.end_if_over(answer);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn posted(&mut self, post: Post, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match (&mut self.doing, post) {
            (Doing::Call(call), Post::Answer(outcome)) => call.answered(&self.site.app, *outcome, answer),
            (Doing::Demo(demo), Post::Answer(outcome)) => demo.answered(outcome.outcome, answer),
            (Doing::OneWay(stream), post) => {
                stream.posted(post, answer);
                self.end_if_over(answer);
                Ok(())
            }
            (Doing::Events(events), post) => {
                events.posted(&self.site.app, post, answer)?;
                self.end_if_over(answer);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn drained(&mut self, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match &mut self.doing {
            Doing::OneWay(stream) => {
                stream.drained(answer);
                self.end_if_over(answer);
                Ok(())
            }
            Doing::Events(events) => {
                events.drained(&self.site.app, answer)?;
                self.end_if_over(answer);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn stop(&mut self, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match &mut self.doing {
            // The stream is endless; its reader reconnects elsewhere.
            Doing::Events(_) if answer.is_open() => answer.finish(),
            Doing::OneWay(stream) => {
                stream.stop(answer);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn switched(&mut self) -> Option<Self::Next> {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Entering(next) => Some(*next),
            _ => None,
        }
    }

    fn closed(&mut self, _: bool) {
        self.end_activity();
    }
}

impl Drop for Visitor {
    /// Also runs if `closed` was not called.
    fn drop(&mut self) {
        self.end_activity();
    }
}

/// Refuses an opening handshake, and says why.
fn refuse(rejection: &Rejection, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
    let code = match rejection {
        Rejection::Origin => Code::Forbidden,
        _ => Code::BadRequest,
    };
    let mut fields = rejection.fields().to_vec();
    fields.push(("Content-Type", "application/json"));
    let body = serde_json::json!({ "code": code, "reason": rejection.to_string() });
    answer.send(rejection.status(), &fields[..], body.to_string().as_bytes())
}

/// Refuses a client that has enough connections (429, RFC 6585 section 4).
fn too_many(answer: &mut Responder<'_, '_>, readers: &Readers) -> Result<(), Misuse> {
    let failure = Failure::new(Code::TooMany, "as many connections as one client may have");
    api::fail(answer, readers, 429, failure)
}

/// Answers a request for what another listener serves.
fn not_here(request: &Request<'_>, settings: &Settings, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
    let failure = Failure::new(Code::BadRequest, "this is not served at this address");
    api::fail(answer, &Readers::of(request, settings), 404, failure)
}

/// Fields of short answers.
const PLAIN: &[(&str, &str)] = &[
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Cache-Control", "no-store"),
];

/// Answers GET and HEAD.
fn get(
    request: &Request<'_>,
    answer: &mut Responder<'_, '_>,
    give: impl FnOnce(&mut Responder<'_, '_>) -> Result<(), Misuse>,
) -> Result<(), Misuse> {
    match request.method() {
        "GET" | "HEAD" => give(answer),
        _ => api::wrong_method(answer, &Readers::NONE, "GET, HEAD, OPTIONS"),
    }
}

/// A parameter of the query.
fn parameter(request: &Request<'_>, name: &str) -> Option<String> {
    parameters(request, name).next()
}

/// All values of a parameter of the query.
fn parameters<'r>(request: &Request<'r>, name: &'r str) -> impl Iterator<Item = String> + use<'r> {
    let query = request.target_form().query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .filter(move |(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}
