//! Requests over HTTP, and the upgrade to WebSocket.

mod api;
mod cors;
mod demo;
mod events;
mod metrics;
mod pages;

use std::sync::Arc;
use std::time::SystemTime;

use proto_h2::{Auto, StreamMessage};
use proto_http::{Fields, Handler, Misuse, Request, Responder, ServerConfig};
use proto_ws::handshake::server::Request as Handshake;
use protocol::{Peer, Sender};

use self::api::Call;
use self::demo::Demo;
use self::events::Events;
use self::pages::Pages;
use crate::app::App;
use crate::node::Post;
use crate::session::Session;
use crate::token::{BadToken, Claims};

/// The state that all connections share.
pub(crate) struct Site {
    app: Arc<App>,
    pages: Pages,
    http: Arc<ServerConfig>,
    http2: Arc<proto_h2::ServerConfig>,
    ws: Arc<proto_ws::Config>,
}

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
        let message = app.settings.limits.message;
        let mut http = ServerConfig::new(SystemTime::now);
        http.rules.limits.body = Some(message as u64);
        let mut http2 = proto_h2::ServerConfig::new(SystemTime::now);
        http2.limits.body = http.rules.limits.body;
        let mut ws = proto_ws::Config::default();
        ws.limits.message = message as u64;
        ws.limits.frame = message as u64;
        if let Some(settings) = &app.settings.encoding.compression {
            ws.deflate = settings.clone();
        }
        Ok(Site {
            pages: Pages::new()?,
            http: Arc::new(http),
            http2: Arc::new(http2),
            ws: Arc::new(ws),
            app,
        })
    }

    /// The protocol of a new connection: HTTP/2 if it begins with the preface, else HTTP/1.1.
    pub(crate) fn connection(self: &Arc<Self>, peer: &Peer<'_, ToConnection>) -> Connection {
        Auto::new(Arc::clone(&self.http), Arc::clone(&self.http2), self.visitors(), peer)
    }

    /// The protocol of a new connection, as negotiated in TLS.
    pub(crate) fn negotiated(self: &Arc<Self>, agreed: &[u8], peer: &Peer<'_, ToConnection>) -> Option<Connection> {
        let (http, http2) = (Arc::clone(&self.http), Arc::clone(&self.http2));
        Auto::negotiated(Some(agreed), http, http2, self.visitors(), peer)
    }

    fn visitors(self: &Arc<Self>) -> MakeVisitor {
        let site = Arc::clone(self);
        Box::new(move |peer| {
            Some(Visitor {
                site: Arc::clone(&site),
                sender: peer.sender(),
                doing: Doing::Nothing,
            })
        })
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
    /// The connection is upgrading to WebSocket.
    Entering(Box<proto_ws::Server<Session>>),
}

impl Visitor {
    fn app(&self) -> &Arc<App> {
        &self.site.app
    }

    /// Upgrades to WebSocket.
    fn enter(&mut self, request: &Request<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        let handshake = Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value)));
        let checked = handshake.and_then(|handshake| {
            handshake.check_origin(&self.app().settings.origins)?;
            Ok(handshake)
        });
        let handshake = match checked {
            Ok(handshake) => handshake,
            Err(rejection) => return answer.send(rejection.status(), &rejection.fields(), b""),
        };
        let claims = match self.claims(request) {
            Ok(claims) => claims,
            Err(bad) => return api::unauthorized(answer, bad.reason()),
        };
        let mut accepted = handshake.accept();
        if self.app().settings.encoding.compression.is_some() {
            accepted = accepted.deflate(&self.site.ws.deflate);
        }
        let connection = proto_ws::Connection::server(Arc::clone(&self.site.ws)).accepted(&accepted);
        let session = Session::new(Arc::clone(self.app()), self.sender.clone(), claims);
        let fields: Vec<_> = accepted.fields().collect();
        answer.upgrade(&fields.as_slice())?;
        self.doing = Doing::Entering(Box::new(proto_ws::Server::with(connection, session)));
        Ok(())
    }

    /// The claims of a request's `token`; an error if the token is invalid.
    fn claims(&self, request: &Request<'_>) -> Result<Option<Claims>, BadToken> {
        match parameter(request, "token") {
            None => Ok(None),
            Some(token) => self.app().claims(&token).map(Some),
        }
    }
}

impl Handler for Visitor {
    type Message = Post;
    type Next = proto_ws::Server<Session>;

    fn request(&mut self, request: &Request<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.doing = Doing::Nothing;
        if request.method() == "OPTIONS" {
            return cors::options(request, &self.app().settings.origins, answer);
        }
        match request.path() {
            "/ws" => self.enter(request, answer),
            "/events" => {
                if let Some(events) = Events::open(self, request, answer)? {
                    self.doing = Doing::Events(Box::new(events));
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
        if let Doing::Call(call) = &mut self.doing {
            call.data(data);
        }
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let Visitor { site, sender, doing } = self;
        match doing {
            Doing::Call(call) => call.end(&site.app, sender, answer),
            _ => Ok(()),
        }
    }

    fn posted(&mut self, post: Post, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match (&mut self.doing, post) {
            (Doing::Call(call), Post::Answer(outcome)) => call.answered(*outcome, answer),
            (Doing::Demo(demo), Post::Answer(outcome)) => demo.answered(outcome.outcome, answer),
            (Doing::Events(events), post) => events.posted(&self.site.app, post, answer),
            _ => Ok(()),
        }
    }

    fn drained(&mut self, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match &mut self.doing {
            Doing::Events(events) => events.drained(&self.site.app, answer),
            _ => Ok(()),
        }
    }

    fn stop(&mut self, answer: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match self.doing {
            // The stream is endless; its reader reconnects elsewhere.
            Doing::Events(_) if answer.is_open() => answer.finish(),
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
        self.doing = Doing::Nothing;
    }
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
        _ => answer.send(405, &[("Allow", "GET, HEAD, OPTIONS")], b""),
    }
}

/// A parameter of the query.
fn parameter(request: &Request<'_>, name: &str) -> Option<String> {
    let query = request.target_form().query()?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}
