//! Sends WebSocket messages back, compressed where the client offers it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Parser;
use drivers::Server;
use examples::Options;
use proto_http::{Misuse, Request, Responder, ServerConfig};
use proto_ws::handshake::server::{OriginPolicy, Request as Handshake};
use proto_ws::{Config, Connection, Handler, Message, Socket};
use protocol::{Limits, Switch};

struct Echo;

impl Handler for Echo {
    type Message = Infallible;

    fn message(&mut self, socket: &mut Socket<'_, '_>, message: Message<'_>) {
        // Fails only while the connection closes; then nobody waits for the echo.
        let _ = socket.message(message);
    }
}

/// One who asks for the upgrade.
struct Visitor(Arc<Config>);

impl proto_http::Handler for Visitor {
    type Message = Infallible;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_, Self::Next>) -> Result<(), Misuse> {
        let fields = request.fields();
        let handshake = Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value)))
            .and_then(|handshake| handshake.check_origin(&OriginPolicy::SameHost).map(|()| handshake));
        match handshake {
            Ok(handshake) => {
                let response = handshake.accept().deflate(&self.0.deflate);
                let connection = Connection::server(Arc::clone(&self.0)).accepted(&response);
                let fields: Vec<_> = response.fields().collect();
                responder.upgrade(&fields.as_slice(), proto_ws::Server::with(Echo, connection))
            }
            Err(rejection) => responder.send(rejection.status(), &rejection.fields(), b""),
        }
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    // The Autobahn TestSuite sends messages of 16 MiB, and some in 65,537 frames.
    let mut config = Config::default();
    config.limits.frame = 16 << 20;
    config.limits.message = 16 << 20;
    config.limits.fragments = 1 << 17;
    let config = Arc::new(config);
    let mut limits = Limits::default();
    limits.max_output = 64 << 20;
    let http = Arc::new(ServerConfig::new(SystemTime::now));
    let connection = move || Switch::new(proto_http::Server::new(Arc::clone(&http), Visitor(Arc::clone(&config))));
    let server = Server::new(options.driver)
        .threads(options.threads)
        .limits(limits)
        .serve(options.listen, move |_| Some(connection()))?;
    if let Some(address) = server.local_addr() {
        println!("listening on {address}");
    }
    examples::until_signal(server)
}
