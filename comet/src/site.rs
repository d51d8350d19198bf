//! The page, and the way from HTTP into the room.

use std::fmt::Write;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use drivers::Handle;
use proto_http::{FieldBlock, Handler, Misuse, Request, Responder, Server, ServerConfig};
use proto_ws::SlowConsumer;
use proto_ws::handshake::server::{OriginPolicy, Request as Handshake};
use protocol::{Sender, Switch};

use crate::chat::{Member, Post};
use crate::hub::Hub;

/// What every answer says to a browser: nothing from elsewhere, and no guessing of types.
const POLICY: &str = "Content-Security-Policy: default-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n\
                      Referrer-Policy: no-referrer\r\nCache-Control: no-cache\r\n";

/// What metrics say of themselves.
const METRICS: &[(&str, &str)] = &[
    ("Content-Type", "text/plain; version=0.0.4"),
    ("Cache-Control", "no-store"),
];

/// The resources that never change, and what is needed to make connections.
pub(crate) struct Site {
    hub: Arc<Hub>,
    http: Arc<ServerConfig>,
    ws: Arc<proto_ws::Config>,
    pages: [Page; 3],
    /// Set once the server runs.
    server: OnceLock<Handle<Connection>>,
}

struct Page {
    path: &'static str,
    fields: &'static str,
    body: &'static str,
}

/// One connection.
pub(crate) type Connection = Switch<Server<Visitor>>;

impl Site {
    pub(crate) fn new(hub: Arc<Hub>) -> io::Result<Self> {
        let mut ws = proto_ws::Config::default();
        // A message of the chat is small, and one who does not read must not hold memory.
        ws.limits.message = 16 * 1024;
        ws.slow_consumer = SlowConsumer::Close;
        let page = |path, kind: &str, body| {
            let fields = format!("Content-Type: {kind}; charset=utf-8\r\n{POLICY}");
            FieldBlock::new(&fields).map_err(io::Error::other)?;
            Ok::<_, io::Error>(Page {
                path,
                fields: fields.leak(),
                body,
            })
        };
        Ok(Site {
            hub,
            http: Arc::new(ServerConfig::new(SystemTime::now)),
            ws: Arc::new(ws),
            pages: [
                page("/", "text/html", include_str!("../page/index.html"))?,
                page("/style.css", "text/css", include_str!("../page/style.css"))?,
                page("/app.js", "text/javascript", include_str!("../page/app.js"))?,
            ],
            server: OnceLock::new(),
        })
    }

    /// The server runs: from now on the site is ready, and tells what it counts.
    pub(crate) fn started(&self, server: Handle<Connection>) {
        // Set once, by `main`.
        let _ = self.server.set(server);
    }

    /// What is counted, in the text format of Prometheus.
    fn metrics(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, kind: &str, value: u64| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# TYPE comet_{name} {kind}\ncomet_{name} {value}");
        };
        let (members, missed) = self.hub.counts();
        add("members", "gauge", members as u64);
        add("posts_missed_total", "counter", missed);
        for (name, value) in self.server.get().map(Handle::stats).unwrap_or_default().iter() {
            match name {
                "active" => add("connections", "gauge", value),
                _ => add(&format!("{name}_total"), "counter", value),
            }
        }
        text
    }

    /// The protocol of a new connection, which `sender` reaches.
    pub(crate) fn connection(self: &Arc<Self>, sender: Sender<Post>) -> Connection {
        let visitor = Visitor {
            site: Arc::clone(self),
            sender,
        };
        Switch::new(Server::new(Arc::clone(&self.http), visitor))
    }
}

/// One who asks over HTTP.
pub(crate) struct Visitor {
    site: Arc<Site>,
    sender: Sender<Post>,
}

type Answer<'a, 'c> = Responder<'a, 'c, proto_ws::Server<Member>>;

impl Visitor {
    fn enter(&self, request: &Request<'_>, responder: &mut Answer<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        let handshake = Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value)));
        let checked = handshake.and_then(|handshake| {
            handshake.check_origin(&OriginPolicy::SameHost)?;
            Ok(handshake)
        });
        match checked {
            Ok(handshake) => {
                let accepted = handshake.accept();
                let fields: Vec<_> = accepted.fields().collect();
                let member = Member::new(Arc::clone(&self.site.hub), self.sender.clone());
                responder.upgrade(
                    &fields.as_slice(),
                    proto_ws::Server::new(member, Arc::clone(&self.site.ws)),
                )
            }
            Err(rejection) => responder.send(rejection.status(), &rejection.fields(), b""),
        }
    }
}

impl Handler for Visitor {
    type Message = Post;
    type Next = proto_ws::Server<Member>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Answer<'_, '_>) -> Result<(), Misuse> {
        if request.path() == "/ws" {
            return self.enter(request, responder);
        }
        match (request.path(), request.method()) {
            ("/healthz", "GET" | "HEAD") => return responder.send(200, &[("Cache-Control", "no-store")], b"ok\n"),
            ("/readyz", "GET" | "HEAD") => {
                let status = if self.site.server.get().is_some() { 200 } else { 503 };
                return responder.send(status, &[("Cache-Control", "no-store")], b"");
            }
            ("/metrics", "GET" | "HEAD") => return responder.send(200, METRICS, self.site.metrics().as_bytes()),
            _ => {}
        }
        let Some(page) = self.site.pages.iter().find(|page| page.path == request.path()) else {
            return responder.send(404, &[("Content-Type", "text/plain")], b"not found\n");
        };
        match request.method() {
            "GET" | "HEAD" => responder.send(200, &FieldBlock::new(page.fields)?, page.body.as_bytes()),
            _ => responder.send(405, &[("Allow", "GET, HEAD")], b""),
        }
    }
}
