//! Echoes WebSocket messages, compressed if the client offers compression.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use proto_http::{Misuse, Request, Responder, ServerConfig};
use proto_ws::handshake::server::{OriginPolicy, Request as Handshake};
use proto_ws::{Config, Connection, Handler, Message, Socket};
use protocol::Limits;

struct Echo;

impl Handler for Echo {
    type Message = Infallible;

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_>) -> Result<(), proto_ws::Misuse> {
        socket.message(message)?;
        Ok(())
    }
}

/// The handler of an upgrade request.
struct Visitor {
    config: Arc<Config>,
    /// The protocol after the upgrade.
    next: Option<Box<proto_ws::Server<Echo>>>,
}

impl proto_http::Handler for Visitor {
    type Message = Infallible;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        let handshake = Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value)))
            .and_then(|handshake| handshake.check_origin(&OriginPolicy::SameHost).map(|()| handshake));
        match handshake {
            Ok(handshake) => {
                let response = handshake.accept().deflate(&self.config.deflate);
                let connection = Connection::server(Arc::clone(&self.config)).accepted(&response);
                let fields: Vec<_> = response.fields().collect();
                responder.upgrade(&fields.as_slice())?;
                self.next = Some(Box::new(proto_ws::Server::with(connection, Echo)));
                Ok(())
            }
            Err(rejection) => responder.send(rejection.status(), &rejection.fields(), b""),
        }
    }

    fn switched(&mut self) -> Option<Self::Next> {
        self.next.take().map(|next| *next)
    }
}

fn main() -> io::Result<()> {
    // The Autobahn TestSuite sends messages of 16 MiB, and some in 65,537 frames.
    let mut config = Config::default();
    config.limits.frame = 16 << 20;
    config.limits.message = 16 << 20;
    config.limits.fragments = 1 << 17;
    let config = Arc::new(config);
    let mut limits = Limits::default();
    limits.max_output = 64 << 20;
    let http = Arc::new(ServerConfig::new(SystemTime::now));
    examples::serve_with(limits, move |_| {
        let visitor = Visitor {
            config: Arc::clone(&config),
            next: None,
        };
        Some(proto_http::Server::switching(Arc::clone(&http), visitor))
    })
}
