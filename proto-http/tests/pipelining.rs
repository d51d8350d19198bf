//! Requests sent before the responses to those ahead of them (RFC 9112 section 9.3.2).

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto_http::{
    BodyLength, Caller, Client, ClientConfig, ClientConnection, ClientError, ClientEvent, Fields, Misuse, NoUpgrade,
    PIPELINE, Request, Requester, Responder, Response, Rules, Server, ServerConfig, ServerConnection, ServerEvent,
    Unanswered, ViolationKind,
};
use protocol::Reason;
use protocol::testing::{Harness, Link, LinkConfig, splits};

const HOST: [(&str, &str); 1] = [("Host", "a")];

/// The status and content of each response in `answers`, however they are cut.
fn read(connection: &ClientConnection, answers: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut first = None;
    for pieces in splits(answers) {
        let mut connection = *connection;
        let (mut seen, mut held) = (Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            let mut input = &held[..];
            loop {
                match connection.next(&Rules::DEFAULT, &mut input).unwrap() {
                    Some(ClientEvent::Response(response)) => seen.push((response.status(), Vec::new())),
                    Some(ClientEvent::Data(data)) => seen.last_mut().unwrap().1.extend_from_slice(data),
                    Some(ClientEvent::End(_)) => {}
                    None | Some(ClientEvent::Closed) => break,
                    other => panic!("{other:?}"),
                }
            }
            held = input.to_vec();
        }
        assert_eq!(first.get_or_insert_with(|| seen.clone()), &seen);
    }
    first.unwrap_or_default()
}

/// The requests of a client that has half-closed are answered (RFC 9112 section 9.6), also those that the server has not read yet.
#[test]
fn the_end_of_input_leaves_the_requests_before_it() {
    let two = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    for whole in [true, false] {
        let mut input = &two[..if whole { two.len() } else { two.len() - 2 }];
        let mut connection = ServerConnection::new();
        let mut seen = Vec::new();
        connection.eof();
        let end = loop {
            match connection.next(&Rules::DEFAULT, &mut input) {
                Ok(Some(ServerEvent::Request(request))) => seen.push(request.path().to_owned()),
                end => break end.map_err(|violation| violation.kind()),
            }
            connection.respond(204, &(), b"", None, &mut Vec::new()).unwrap();
        };
        if whole {
            assert_eq!(
                (&seen[..], end),
                (&["/a".to_owned(), "/b".to_owned()][..], Ok(Some(ServerEvent::Closed)))
            );
        } else {
            assert_eq!(
                (&seen[..], end),
                (&["/a".to_owned()][..], Err(ViolationKind::Truncated))
            );
        }
    }
}

#[test]
fn each_response_is_framed_by_its_own_request() {
    let mut connection = ClientConnection::new();
    let mut out = Vec::new();
    for method in ["GET", "HEAD", "OPTIONS", "HEAD", "GET"] {
        connection.pipeline(method, "/", &HOST, &mut out).unwrap();
    }
    assert_eq!(connection.pipelined(), 4);
    assert_eq!(out.windows(8).filter(|window| window == b"HTTP/1.1").count(), 5);
    let answers = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
        HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\n\
        HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let seen = read(&connection, answers);
    let expected: [(u16, &[u8]); 5] = [(200, b"hi"), (200, b""), (204, b""), (304, b""), (200, b"abc")];
    assert_eq!(seen, expected.map(|(status, body)| (status, body.to_vec())));
}

#[test]
fn only_what_may_be_sent_again_is_pipelined() {
    let out = &mut Vec::new();
    let mut connection = ClientConnection::new();
    for method in ["POST", "PUT", "CONNECT", "DELETE"] {
        assert_eq!(connection.pipeline(method, "/", &HOST, out), Err(Misuse::NotAllowed));
    }
    for field in [("Connection", "close"), ("Expect", "100-continue"), ("Upgrade", "x")] {
        assert_eq!(
            connection.pipeline("GET", "/", &[HOST[0], field], out),
            Err(Misuse::NotAllowed)
        );
    }
    assert!(out.is_empty());

    // Nothing is pipelined behind a request that is incomplete, may switch protocols, or is the last.
    connection
        .send_request("POST", "/", &HOST, BodyLength::Length(1), out)
        .unwrap();
    assert_eq!(connection.pipeline("GET", "/", &HOST, out), Err(Misuse::OutOfTurn));
    connection.send_data(b"x", out).unwrap();
    connection.finish(&(), out).unwrap();
    connection.pipeline("GET", "/", &HOST, out).unwrap();
    for field in [("Upgrade", "x"), ("Connection", "close")] {
        let mut connection = ClientConnection::new();
        connection
            .send_request("GET", "/", &[HOST[0], field], BodyLength::Empty, out)
            .unwrap();
        assert_eq!(connection.pipeline("GET", "/", &HOST, out), Err(Misuse::OutOfTurn));
    }

    // Up to a number of requests, and again when there is room.
    let mut connection = ClientConnection::new();
    for _ in 0..=PIPELINE {
        connection.pipeline("GET", "/", &HOST, out).unwrap();
    }
    let length = out.len();
    assert_eq!(connection.pipeline("GET", "/", &HOST, out), Err(Misuse::OutOfTurn));
    assert_eq!(out.len(), length);
    let mut answer: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    while !matches!(
        connection.next(&Rules::DEFAULT, &mut answer),
        Ok(Some(ClientEvent::End(_)))
    ) {}
    connection.pipeline("HEAD", "/", &HOST, out).unwrap();
    assert_eq!(connection.pipelined(), PIPELINE);
}

#[test]
fn a_server_that_closes_leaves_the_rest_unanswered() {
    let mut connection = ClientConnection::new();
    for _ in 0..3 {
        connection.pipeline("GET", "/", &HOST, &mut Vec::new()).unwrap();
    }
    let mut answer: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    while !matches!(
        connection.next(&Rules::DEFAULT, &mut answer),
        Ok(Some(ClientEvent::End(_)))
    ) {}
    assert!(connection.must_close());
    assert_eq!(connection.pipelined(), 2);
}

/// Pipelines a list of targets as far as allowed, and notes the bodies received.
struct List {
    targets: Vec<String>,
    seen: Arc<Mutex<Vec<String>>>,
    most: usize,
}

impl List {
    fn ask(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        while let Some(target) = self.targets.first() {
            match requester.pipeline("GET", target, &HOST) {
                Ok(()) => drop(self.targets.remove(0)),
                Err(Misuse::OutOfTurn) => break,
                Err(misuse) => return Err(misuse),
            }
            self.most += 1;
        }
        Ok(())
    }
}

impl Caller for List {
    type Message = Infallible;
    type Next = NoUpgrade<Infallible>;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        if self.targets.is_empty() {
            requester.close();
        }
        self.ask(requester)
    }

    fn response(&mut self, _: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.seen.lock().unwrap().push(String::new());
        Ok(())
    }

    fn data(&mut self, data: &[u8], _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        let mut seen = self.seen.lock().unwrap();
        seen.last_mut().unwrap().push_str(std::str::from_utf8(data).unwrap());
        Ok(())
    }

    fn end(&mut self, _: Fields<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.ask(requester)
    }

    fn closed(&mut self, error: Option<ClientError>, _: Reason, unanswered: Unanswered) {
        assert_eq!((error, unanswered), (None, Unanswered::Nothing));
    }
}

#[test]
fn the_adapter_pipelines_as_far_as_configured() {
    for pipeline in [1, 2, 8, 33, 1000] {
        let mut config = ClientConfig::default();
        assert_eq!(config.pipeline, 1, "pipelining is off by default");
        config.pipeline = pipeline;
        let targets: Vec<String> = (0..100).map(|n| format!("/{n}")).collect();
        let seen = Arc::default();
        let list = List {
            targets: targets.clone(),
            seen: Arc::clone(&seen),
            most: 0,
        };
        let client = Harness::new(Client::new(Arc::new(config), list));
        assert_eq!(client.protocol().caller().most, pipeline.min(PIPELINE + 1));
        let echo = |request: &Request<'_>, responder: &mut Responder<'_, '_>| {
            responder.send(200, &(), request.path().as_bytes())
        };
        let server = Harness::new(Server::new(Arc::new(ServerConfig::default()), echo));
        let mut link = Link::new(
            client,
            server,
            LinkConfig {
                segment: 7,
                ..LinkConfig::default()
            },
        );
        link.run(Duration::from_secs(60));
        assert_eq!(*seen.lock().unwrap(), targets);
        assert_eq!(link.a.ended(), Some(Reason::Closed));
    }
}
