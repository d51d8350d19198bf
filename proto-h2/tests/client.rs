//! The client adapter, in memory, against the server adapter and against servers that go away.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use proto_h2::{
    Caller, Client, ClientConfig, ClientError, Failure, Head, KeptRequest, Requester, Server, ServerConfig,
    StreamMessage,
};
use proto_http::{Collect, Fields, Misuse, Request, Responder, Response};
use protocol::testing::Harness;
use protocol::{Peer, Protocol, Reason};

#[derive(Default)]
struct Get {
    /// Requests still to be sent.
    paths: Vec<&'static str>,
    body: Vec<u8>,
    log: String,
    /// Whether requests that may be repeated are sent again.
    retries: bool,
    /// Has the client keep its requests.
    keeps: bool,
    /// Requests that were given back.
    back: Vec<KeptRequest>,
}

impl Get {
    fn more(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        while requester.can_request()
            && let Some(path) = self.paths.pop()
        {
            let method = if self.body.is_empty() { "GET" } else { "POST" };
            let head = Head::new(method, "http", "a", path);
            if self.keeps {
                requester.send_kept(KeptRequest::new(head, &[("x", "y")], self.body.clone())?)?;
            } else {
                requester.send(head, &[("x", "y")], &self.body)?;
            }
        }
        Ok(())
    }
}

impl Caller for Get {
    type Message = &'static str;

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.log += "ready ";
        self.more(requester)
    }

    fn response(&mut self, stream: u32, response: &Response<'_>, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.log += &format!("{stream}:{} ", response.status());
        Ok(())
    }

    fn data(&mut self, stream: u32, data: &[u8], _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.log += &format!("{stream}+{} ", data.len());
        Ok(())
    }

    fn end(&mut self, stream: u32, _: Fields<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.log += &format!("{stream}. ");
        self.more(requester)
    }

    fn failed(&mut self, stream: u32, failure: Failure, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.log += &format!("{stream}!{} ", failure.is_repeatable());
        self.back.extend(requester.take_kept());
        if self.retries && failure.is_repeatable() {
            self.paths.push("/again");
        }
        self.more(requester)
    }

    fn posted(&mut self, path: &'static str, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        self.paths.push(path);
        self.more(requester)
    }

    fn closed(&mut self, error: Option<ClientError>, _: Reason, unanswered: &[u32]) {
        self.log += &format!("closed {} {unanswered:?}", error.is_some());
    }
}

fn client(caller: Get) -> Harness<Client<Get>> {
    Harness::new(Client::new(Arc::new(ClientConfig::default()), caller))
}

fn server(streams: u32) -> Harness<impl Protocol> {
    let mut config = ServerConfig::default();
    config.limits.streams = streams;
    let factory = |_: &Peer<'_, Infallible>| {
        Some(Collect::new(
            1 << 20,
            |_: &Request<'_>, body: &[u8], responder: &mut Responder<'_, '_>| responder.send(200, &(), body),
        ))
    };
    let make = |peer: &Peer<'_, StreamMessage<Infallible>>| Some(Server::new(Arc::new(config), factory, peer));
    Harness::accept(protocol::Limits::default(), make).unwrap()
}

fn exchange<A: Protocol, B: Protocol>(a: &mut Harness<A>, b: &mut Harness<B>) {
    loop {
        let (from_a, from_b) = (a.take_sent(), b.take_sent());
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        b.receive(&from_a);
        a.receive(&from_b);
    }
}

fn log(client: &Harness<Client<Get>>) -> &str {
    &client.protocol().caller().log
}

#[test]
fn requests_share_a_connection() {
    let mut client = client(Get {
        paths: vec!["/a", "/b", "/c"],
        ..Get::default()
    });
    let mut server = server(100);
    exchange(&mut client, &mut server);
    assert_eq!(log(&client), "ready 1:200 1. 3:200 3. 5:200 5. ");
    client.post("/d");
    client.pump();
    exchange(&mut client, &mut server);
    assert!(log(&client).ends_with("7:200 7. "));
}

#[test]
fn the_servers_limit_is_kept() {
    let mut client = client(Get {
        paths: vec!["/a"; 20],
        ..Get::default()
    });
    let mut server = server(2);
    // The client knows the limit only from the server's settings. Requests sent before may be refused, and are sent again.
    client.receive(&server.take_sent());
    exchange(&mut client, &mut server);
    let log = log(&client);
    let (answered, refused) = (log.matches(":200").count(), log.matches("!true").count());
    assert_eq!(answered + refused, 20, "{log}");
}

#[test]
fn large_bodies_wait_for_windows() {
    let mut client = client(Get {
        paths: vec!["/a", "/b"],
        body: vec![7; 300_000],
        ..Get::default()
    });
    let mut server = server(100);
    exchange(&mut client, &mut server);
    let sum = |stream: &str| -> usize {
        log(&client)
            .split(' ')
            .filter_map(|word| word.strip_prefix(stream)?.parse::<usize>().ok())
            .sum()
    };
    assert_eq!((sum("1+"), sum("3+")), (300_000, 300_000));
}

/// RFC 9113 sections 6.8 and 8.7.
#[test]
fn what_was_not_processed_is_known_to_be_repeatable() {
    let frame = |kind: u8, stream: u32, payload: &[u8]| {
        [
            &[0, 0, payload.len() as u8, kind, 0][..],
            &stream.to_be_bytes(),
            payload,
        ]
        .concat()
    };
    let mut client = client(Get {
        paths: vec!["/a", "/b", "/c"],
        retries: true,
        ..Get::default()
    });
    client.receive(&frame(4, 0, &[]));
    client.receive(&frame(3, 5, &[0, 0, 0, 7]));
    assert_eq!(log(&client), "ready 5!true ");
    // It was sent again, on stream 7. The server goes away behind stream 1.
    client.receive(&frame(7, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    assert_eq!(log(&client), "ready 5!true 3!true 7!true ");
    assert_eq!(client.ended(), None, "stream 1 goes on");
    client.receive(&[&[0, 0, 1, 1, 5][..], &1_u32.to_be_bytes(), &[0x89]].concat());
    assert!(log(&client).contains("1:204 1. "), "{}", log(&client));
    client.eof();
    client.advance(Duration::from_secs(3));
    assert!(client.ended().is_some());
    assert!(log(&client).ends_with("closed false []"), "{}", log(&client));
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let head = [0, (payload.len() >> 8) as u8, payload.len() as u8, kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// The streams on which HEADERS were sent, and the length of the content sent on each.
fn asked(sent: &[u8]) -> Vec<(u32, usize)> {
    let mut rest = sent.strip_prefix(proto_h2::PREFACE.as_slice()).unwrap_or(sent);
    let mut streams: Vec<(u32, usize)> = Vec::new();
    while let [_, a, b, kind, _, c, d, e, f, behind @ ..] = rest {
        let (length, stream) = (
            usize::from(*a) << 8 | usize::from(*b),
            u32::from_be_bytes([*c, *d, *e, *f]),
        );
        match kind {
            0 => streams.iter_mut().find(|(id, _)| *id == stream).unwrap().1 += length,
            1 => streams.push((stream, 0)),
            _ => {}
        }
        rest = &behind[length..];
    }
    streams
}

/// RFC 9113 section 8.7: a refused request that is kept is sent again, under the same name, as soon as a stream is free.
#[test]
fn a_refused_request_is_sent_again() {
    let mut client = client(Get {
        paths: vec!["/a", "/b"],
        body: vec![7; 70_000],
        keeps: true,
        ..Get::default()
    });
    // The server permits two streams.
    client.receive(&frame(4, 0, 0, &[0, 3, 0, 0, 0, 2]));
    assert_eq!(
        asked(&client.take_sent()),
        [(1, 65_535), (3, 0)],
        "the connection's window is used up"
    );
    client.receive(&frame(3, 0, 1, &[0, 0, 0, 7]));
    assert_eq!(asked(&client.take_sent()), [(5, 0)]);
    client.receive(&frame(8, 0, 0, &[0, 16, 0, 0]));
    client.receive(&frame(1, 5, 5, &[0x89]));
    client.receive(&frame(1, 5, 3, &[0x89]));
    assert_eq!(log(&client), "ready 1:204 1. 3:204 3. ", "its name is its first stream");
}

/// A request that the server has begun to answer is not sent again, and no request is sent again without limit.
#[test]
fn a_request_is_sent_again_a_few_times_at_most() {
    let mut client = client(Get {
        paths: vec!["/a", "/b"],
        keeps: true,
        ..Get::default()
    });
    client.receive(&frame(4, 0, 0, &[]));
    client.receive(&frame(1, 4, 3, &[0x88]));
    client.receive(&frame(3, 0, 3, &[0, 0, 0, 7]));
    assert_eq!(log(&client), "ready 3:200 3!true ");
    for stream in [1, 5, 7] {
        client.receive(&frame(3, 0, stream, &[0, 0, 0, 7]));
    }
    assert_eq!(log(&client), "ready 3:200 3!true ");
    client.receive(&frame(3, 0, 9, &[0, 0, 0, 7]));
    assert_eq!(log(&client), "ready 3:200 3!true 1!true ");
    let back = &client.protocol().caller().back;
    assert_eq!(back.len(), 1);
    assert_eq!(back[0].head(), Head::new("GET", "http", "a", "/b"));
    assert_eq!(back[0].fields().get("x"), Some(&b"y"[..]));
}

/// RFC 9113 section 6.8: requests that the server has not processed are given back, to be sent on another connection, and so are those not
/// sent yet.
#[test]
fn what_a_goaway_leaves_out_comes_back() {
    let mut client = client(Get {
        paths: vec!["/a", "/b", "/c"],
        keeps: true,
        ..Get::default()
    });
    // One stream at a time: stream 5 is refused, and waits.
    client.receive(&frame(4, 0, 0, &[0, 3, 0, 0, 0, 1]));
    client.receive(&frame(3, 0, 5, &[0, 0, 0, 7]));
    client.receive(&frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    assert_eq!(log(&client), "ready 3!true 5!true ");
    client.receive(&frame(1, 5, 1, &[0x89]));
    let back: Vec<_> = client.protocol().caller().back.iter().collect();
    assert_eq!(
        back.iter().map(|request| request.head().path).collect::<Vec<_>>(),
        ["/b", "/a"]
    );
    client.eof();
    client.advance(Duration::from_secs(3));
    assert!(log(&client).ends_with("1:204 1. closed false []"), "{}", log(&client));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let mut client = client(Get {
        paths: vec!["/a"],
        ..Get::default()
    });
    client.advance(Duration::from_secs(31));
    client.eof();
    client.advance(Duration::from_secs(3));
    assert!(log(&client).ends_with("closed true [1]"), "{}", log(&client));
    let mut config = ClientConfig::default();
    config.timeouts.answer = Some(Duration::from_secs(1));
    let caller = Get {
        paths: vec!["/a"],
        ..Get::default()
    };
    let mut client = Harness::new(Client::new(Arc::new(config), caller));
    client.receive(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]);
    client.advance(Duration::from_millis(1100));
    assert_eq!(log(&client), "ready 1!false ");
}

/// Pauses a response at its head, and resumes it when a message comes.
struct Pauses;

impl Caller for Pauses {
    type Message = ();

    fn ready(&mut self, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        requester.send(Head::new("GET", "http", "a", "/"), &(), b"").map(drop)
    }

    fn response(&mut self, stream: u32, _: &Response<'_>, requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        requester.pause(stream, true);
        Ok(())
    }

    fn data(&mut self, _: u32, _: &[u8], _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        Ok(())
    }

    fn failed(&mut self, _: u32, _: Failure, _: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        Ok(())
    }

    fn posted(&mut self, (): (), requester: &mut Requester<'_, '_>) -> Result<(), Misuse> {
        requester.pause(1, false);
        Ok(())
    }
}

/// RFC 9113 section 5.2: while a response is paused, its stream gets no credit, and no deadline passes; the resume gives back all of it.
#[test]
fn a_paused_response_gets_no_credit() {
    let mut harness = Harness::new(Client::new(Arc::default(), Pauses));
    harness.receive(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    harness.receive(&[0, 0, 0, 4, 1, 0, 0, 0, 0]);
    harness.receive(&[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88]);
    harness.take_sent();
    let credits = |sent: Vec<u8>| -> u32 {
        let (mut rest, mut credit) = (&sent[..], 0);
        while let [a, b, c, kind, _, _, _, _, stream, after @ ..] = rest {
            let (payload, next) = after.split_at(usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c));
            if (*kind, *stream) == (8, 1) {
                credit += u32::from_be_bytes(payload.try_into().unwrap());
            }
            rest = next;
        }
        credit
    };
    let data = [&[0, 0x40, 0, 0, 0, 0, 0, 0, 1][..], &[7; 0x4000]].concat();
    for _ in 0..3 {
        harness.receive(&data);
    }
    harness.advance(Duration::from_secs(300));
    assert_eq!(harness.ended(), None);
    assert_eq!(credits(harness.take_sent()), 0);
    harness.post(());
    assert_eq!(credits(harness.take_sent()), 3 * 0x4000);
}
