//! Opening handshakes of both roles, over heads that the HTTP codec has read. What one role writes the other accepts, and both agree on
//! compression. A response with the wrong key is never accepted.

use arbitrary::{Arbitrary, Unstructured};
use bytes::BytesMut;
use proto_http::{Fields, Parsed, Response, Rules};
use proto_ws::deflate::Settings;
use proto_ws::handshake::client::{Refusal, Request as Asking};
use proto_ws::handshake::server::{OriginPolicy, Rejection, Request};
use proto_ws::handshake::{Accept, Key};

/// Runs the target: reads the input as either side's head, then as the parts of an exchange.
pub fn run(data: &[u8]) {
    if let Ok(Parsed::Complete { head, .. }) = proto_http::Request::parse(data, &Rules::DEFAULT) {
        asked(head);
    }
    if let Ok(Parsed::Complete { head, .. }) = Response::parse(data, &Rules::RESPONSES) {
        answered(head);
    }
    if let Ok(exchange) = Exchange::arbitrary(&mut Unstructured::new(data)) {
        exchange.run();
    }
}

/// The fields in the form that the handshake takes.
fn pairs(fields: Fields<'_>) -> impl Iterator<Item = (&str, &[u8])> {
    fields.iter().map(|field| (field.name, field.value))
}

/// Reads `bytes` as exactly one response.
fn response(bytes: &[u8]) -> Response<'_> {
    match Response::parse(bytes, &Rules::DEFAULT) {
        Ok(Parsed::Complete { head, length }) if length == bytes.len() => head,
        other => panic!("{other:?}"),
    }
}

/// Reads `head` as a client's request.
fn asked(head: proto_http::Request<'_>) {
    let request = Request::read(head.method(), pairs(head.fields()));
    match request {
        Ok(request) => {
            for settings in [settings(0, 7), settings(3, 1)] {
                let mut out = BytesMut::new();
                let accepted = request.accept().protocol(|_| true).deflate(&settings);
                accepted.write(&mut out);
                assert_eq!(response(&out).status(), 101);
                if let Some(chosen) = accepted.chosen_deflate() {
                    let (server, client) = (chosen.server_max_window_bits, chosen.client_max_window_bits);
                    assert!((8..=settings.server_max_window_bits).contains(&server) && (8..=15).contains(&client));
                }
            }
            for policy in [OriginPolicy::SameHost, OriginPolicy::Any] {
                assert!(matches!(request.check_origin(&policy), Ok(()) | Err(Rejection::Origin)));
            }
        }
        Err(rejection) => {
            let mut out = BytesMut::new();
            rejection.write(&mut out);
            assert_eq!(response(&out).status(), rejection.status());
        }
    }
}

/// Reads `head` as a server's response, to a key that the corpus knows and to one that it does not.
fn answered(head: Response<'_>) {
    for nonce in [b"the sample nonce", b"another nonce..."] {
        let key = Key::new(*nonce);
        let accept = Accept::new(key.as_str());
        let settings = settings(3, 4);
        match Asking::new("a", "/")
            .protocols(&["chat", "x"])
            .deflate(&settings)
            .verify(&key, head.status(), pairs(head.fields()))
        {
            Ok(granted) => {
                if let Some(deflate) = granted.deflate {
                    assert!(
                        (8..=12).contains(&deflate.server_max_window_bits),
                        "the client accepted a window that it did not offer"
                    );
                    assert!(deflate.server_no_context_takeover && deflate.client_no_context_takeover);
                }
                assert!(
                    pairs(head.fields()).any(|(_, value)| value == accept.as_str().as_bytes()),
                    "the client accepted a wrong Sec-WebSocket-Accept"
                );
                assert_eq!(head.status(), 101);
                assert!(matches!(granted.protocol, None | Some("chat" | "x")));
            }
            Err(Refusal::Status(status)) => assert_ne!(status, 101),
            Err(_) => {}
        }
    }
}

/// The parts of a request and its response.
#[derive(Debug, Arbitrary)]
struct Exchange {
    host: String,
    target: String,
    protocols: Vec<String>,
    fields: Vec<(String, String)>,
    nonce: [u8; 16],
    choice: u8,
    /// Whether permessage-deflate is offered and accepted, and with which settings.
    offered: Option<(u8, u8)>,
    accepted: Option<(u8, u8)>,
}

/// Settings with these flags and with these window sizes of both sides.
fn settings(flags: u8, bits: u8) -> Settings {
    let mut settings = Settings::default();
    settings.server_no_context_takeover = flags & 1 != 0;
    settings.client_no_context_takeover = flags & 2 != 0;
    settings.server_max_window_bits = 8 + bits % 8;
    settings.client_max_window_bits = if flags & 4 == 0 { 8 + bits % 8 } else { 15 - bits % 8 };
    settings
}

impl Exchange {
    fn run(&self) {
        let protocols: Vec<&str> = self.protocols.iter().map(String::as_str).collect();
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut asking = Asking::new(&self.host, &self.target)
            .protocols(&protocols)
            .fields(&fields);
        let compression = self.offered.map(|(flags, bits)| settings(flags, bits));
        if let Some(settings) = &compression {
            asking = asking.deflate(settings);
        }
        let key = Key::new(self.nonce);
        let mut out = BytesMut::new();
        if asking.write(&key, &mut out).is_err() {
            assert!(out.is_empty(), "a refused request was partly written");
            return;
        }
        let mut rules = Rules::DEFAULT;
        (rules.limits.fields, rules.limits.fields_bytes) = (usize::MAX, usize::MAX);
        rules.limits.request_line = usize::MAX;
        let head = match proto_http::Request::parse(&out, &rules) {
            Ok(Parsed::Complete { head, length }) => {
                assert_eq!(length, out.len(), "more than one head was written");
                head
            }
            // The HTTP server refuses some of the caller's fields, such as an unknown Expect.
            other => {
                assert!(other.is_err() && !fields.is_empty(), "{other:?}");
                return;
            }
        };
        assert_eq!((head.method(), head.target()), ("GET", &*self.target));
        let request = match Request::read("GET", pairs(head.fields())) {
            Ok(request) => request,
            Err(Rejection::TooManyOffers) => return,
            // The HTTP server does not refuse some of the caller's fields that the handshake refuses.
            Err(Rejection::Malformed | Rejection::Duplicate) => {
                assert!(fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("origin")));
                return;
            }
            Err(other) => panic!("{other}"),
        };
        assert_eq!(request.host(), self.host);
        let offered: Vec<_> = request.protocols().collect();
        assert_eq!(offered, protocols);
        let chosen = offered.get(usize::from(self.choice)).copied();
        let mut answer = BytesMut::new();
        let mut accepted = request.accept().protocol(|offered| Some(offered) == chosen);
        if let Some((flags, bits)) = self.accepted {
            accepted = accepted.deflate(&settings(flags, bits));
        }
        accepted.write(&mut answer);
        let head = response(&answer);
        let granted = asking
            .verify(&key, head.status(), pairs(head.fields()))
            .map(|granted| (granted.protocol, granted.deflate));
        assert_eq!(granted, Ok((chosen, accepted.chosen_deflate())));
        assert!(
            compression.is_some() || accepted.chosen_deflate().is_none(),
            "the server chose compression that was not offered"
        );
    }
}
