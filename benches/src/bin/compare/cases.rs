//! The measured cases and their bars.

use benches::load::Mode;

use crate::contestants::Driver;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The name of its chart's file.
    pub(crate) file: &'static str,
    pub(crate) mode: Mode,
    /// Whether it goes over TLS.
    pub(crate) tls: bool,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// This many connections, with this many requests or messages in flight on each.
    Load { connections: usize, in_flight: usize },
    /// Connections that had one exchange each.
    Idle,
}

/// Bytes of each WebSocket message.
pub(crate) const PAYLOAD: usize = 20;

const ONE: Kind = Kind::Load {
    connections: 64,
    in_flight: 1,
};
const SIXTEEN: Kind = Kind::Load {
    connections: 64,
    in_flight: 16,
};

pub(crate) const CASES: [Case; 10] = [
    Case {
        name: "HTTP: GET, 64 connections",
        file: "http",
        mode: Mode::Http,
        tls: false,
        kind: ONE,
    },
    Case {
        name: "HTTP: GET, 64 connections, 16 pipelined",
        file: "http-pipelined",
        mode: Mode::Http,
        tls: false,
        kind: SIXTEEN,
    },
    Case {
        name: "WebSocket: echo of 20 bytes, 64 connections, 16 in flight",
        file: "websocket-16",
        mode: Mode::WebSocket,
        tls: false,
        kind: SIXTEEN,
    },
    Case {
        name: "WebSocket: echo of 20 bytes, 64 connections",
        file: "websocket",
        mode: Mode::WebSocket,
        tls: false,
        kind: ONE,
    },
    Case {
        name: "HTTP: idle connections",
        file: "http-idle",
        mode: Mode::Http,
        tls: false,
        kind: Kind::Idle,
    },
    Case {
        name: "WebSocket: idle connections",
        file: "websocket-idle",
        mode: Mode::WebSocket,
        tls: false,
        kind: Kind::Idle,
    },
    Case {
        name: "HTTPS: GET, 64 connections",
        file: "https",
        mode: Mode::Http,
        tls: true,
        kind: ONE,
    },
    Case {
        name: "HTTPS: GET, 64 connections, 16 pipelined",
        file: "https-pipelined",
        mode: Mode::Http,
        tls: true,
        kind: SIXTEEN,
    },
    Case {
        name: "WSS: echo of 20 bytes, 64 connections",
        file: "wss",
        mode: Mode::WebSocket,
        tls: true,
        kind: ONE,
    },
    Case {
        name: "WSS: idle connections",
        file: "wss-idle",
        mode: Mode::WebSocket,
        tls: true,
        kind: Kind::Idle,
    },
];

/// The largest permitted figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bar {
    /// An absolute figure in microseconds or bytes.
    Most(f64),
    /// A multiple of the floor of the same driver in the same run.
    OfFloor(f64),
}

impl Case {
    pub(crate) fn bar(&self, driver: Driver) -> Option<Bar> {
        Some(match (self.file, driver) {
            ("http", Driver::Epoll) => Bar::OfFloor(1.05),
            ("websocket-16", Driver::Epoll) => Bar::Most(0.36),
            ("websocket-16", Driver::Tokio) => Bar::Most(0.6),
            ("websocket", Driver::Epoll) => Bar::Most(4.7),
            ("websocket", Driver::Tokio) => Bar::Most(5.1),
            ("http-idle" | "websocket-idle", Driver::Epoll) => Bar::Most(300.0),
            ("http-idle" | "websocket-idle", Driver::Tokio) => Bar::Most(1200.0),
            _ => return None,
        })
    }

    /// The compared quantity and its unit.
    pub(crate) fn measure(&self) -> &'static str {
        match (self.kind, self.mode) {
            (Kind::Idle, _) => "bytes per connection",
            (_, Mode::Http) => "us of CPU per request",
            (_, Mode::WebSocket) => "us of CPU per message",
        }
    }
}
