//! The whole server in memory: connections in harnesses, on one node.

mod api;
mod backend;
mod brokers;
mod browsers;
mod centrifugo;
mod feed;
mod http;
mod http2;
mod latest;
mod model;
mod openapi;
mod operators;
mod proxies;
mod reload;
mod rights;
mod websocket;

use std::sync::Arc;

use proto_ws::{Decoder, Event, Limits, Message, Role};
use protocol::testing::Harness;
use serde_json::Value;

use crate::app::App;
use crate::broker::{Broker, Memory};
use crate::node::{Node, NodeConfig};
use crate::settings::{Options, Settings};
use crate::web::{Connection, Site};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Settings from the text of a file.
pub(crate) fn settings(text: &str) -> Settings {
    let options: Options = toml::from_str(text).unwrap();
    Settings::new(options).unwrap()
}

/// A server with one node.
pub(crate) struct Rig {
    pub(crate) site: Arc<Site>,
    pub(crate) app: Arc<App>,
    pub(crate) node: Arc<Node>,
    /// The limits of its connections.
    pub(crate) limits: protocol::Limits,
}

impl Rig {
    pub(crate) fn new(text: &str) -> Self {
        Self::on(text, |inbox, settings| {
            Box::new(Memory::new(inbox, settings.limits.channels, 0x100))
        })
    }

    /// Like `new`, with the broker that `broker` makes.
    pub(crate) fn on(
        text: &str,
        broker: impl FnOnce(std::sync::Weak<dyn crate::broker::Inbox>, &Settings) -> Box<dyn Broker>,
    ) -> Self {
        Self::started(text, "0", broker)
    }

    /// One server of several: a different `start` makes the ids of their clients differ.
    pub(crate) fn started(
        text: &str,
        start: &str,
        broker: impl FnOnce(std::sync::Weak<dyn crate::broker::Inbox>, &Settings) -> Box<dyn Broker>,
    ) -> Self {
        let settings = settings(text);
        let config = NodeConfig {
            server: "test".into(),
            worker: 0,
            start: start.into(),
            rules: settings.rules.clone(),
            encoding: settings.encoding.clone(),
            max_channels: settings.limits.channels,
        };
        let node = Node::new(config, |inbox, _| broker(inbox, &settings));
        let app = Arc::new(App::new(Arc::clone(&node), settings).unwrap());
        Rig {
            site: Arc::new(Site::new(Arc::clone(&app)).unwrap()),
            app,
            node,
            limits: protocol::Limits::default().high_water(2000),
        }
    }

    /// Puts the settings of this text in force.
    pub(crate) fn reload(&self, text: &str) {
        self.app.change(settings(text));
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Harness<Connection> {
        Harness::accept(self.limits, |peer| Some(self.site.connection(peer))).unwrap()
    }

    /// A WebSocket client that has received its welcome.
    pub(crate) fn client(&self, query: &str) -> Client {
        let mut harness = self.connect();
        let request = format!(
            "GET /ws{query} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        harness.receive(request.as_bytes());
        let mut client = Client::of(harness);
        let welcome = client.hear();
        assert_eq!(welcome["type"], "welcome");
        client
    }

    /// Sends one request. Returns the status and body of the answer.
    pub(crate) fn ask(&self, request: &str) -> (u16, String) {
        let mut harness = self.connect();
        harness.receive(request.as_bytes());
        harness.pump();
        answer(&harness.take_sent())
    }

    /// Publishes through the API.
    pub(crate) fn publish(&self, channel: &str, data: &str) -> (u16, String) {
        let body = format!(r#"{{"channel":"{channel}","data":{data}}}"#);
        self.ask(&post(&body, "let-me-in"))
    }
}

pub(crate) fn post(body: &str, token: &str) -> String {
    format!(
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The status and the body of an answer.
pub(crate) fn answer(sent: &[u8]) -> (u16, String) {
    let text = String::from_utf8_lossy(sent);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// A WebSocket client.
pub(crate) struct Client {
    pub(crate) harness: Harness<Connection>,
    received: Vec<u8>,
    /// The number of `received` bytes that were decoded.
    read: usize,
}

impl Client {
    /// The client of a connection that has asked for WebSocket.
    pub(crate) fn of(mut harness: Harness<Connection>) -> Self {
        let sent = harness.take_sent();
        let end = sent.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        assert!(sent.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&sent));
        Client {
            harness,
            received: sent,
            read: end,
        }
    }

    /// Sends a text message.
    pub(crate) fn say(&mut self, text: &str) {
        self.harness.receive(&frame(text));
    }

    /// The next message; `None` if there is none.
    pub(crate) fn next(&mut self) -> Option<Value> {
        self.harness.pump();
        self.received.extend(self.harness.take_sent());
        let unread = &mut self.received[self.read..];
        let there = unread.len();
        let (mut input, mut decoder) = (unread, Decoder::new(Role::Client, Limits::default()));
        let heard = match decoder.next(&mut input) {
            Ok(Some(Event::Message(Message::Text(text)))) => serde_json::from_str(text).unwrap(),
            Ok(Some(Event::Close(close))) => serde_json::json!({ "close": close.code.get() }),
            // The rest may be half a message: it is decoded again later.
            Ok(_) => return None,
            Err(error) => panic!("{error}"),
        };
        self.read += there - input.len();
        Some(heard)
    }

    pub(crate) fn hear(&mut self) -> Value {
        self.next().expect("a message")
    }

    /// Sends a request and returns the answer.
    pub(crate) fn ask(&mut self, request: &str) -> Value {
        self.say(request);
        self.hear()
    }

    /// All waiting messages.
    pub(crate) fn all(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// A text message as a client sends it.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    match text.len() {
        len @ ..126 => frame.extend([0x81, 0x80 | len as u8]),
        len => {
            frame.extend([0x81, 0x80 | 126]);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// The offsets of `publications`.
pub(crate) fn offsets(publications: &[Value]) -> Vec<u64> {
    publications
        .iter()
        .filter_map(|publication| publication["offset"].as_u64())
        .collect()
}
