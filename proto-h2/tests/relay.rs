//! A handler that passes on the response of another source, as a proxy does: it decides about 100 (Continue), and reports that the source
//! has failed.

use std::sync::Arc;

use proto_h2::{ClientConnection, ClientEvent, Head, Limits, Scratch, Server, ServerConfig};
use proto_http::{Handler, Misuse, NoUpgrade, Request, Responder};
use protocol::testing::Harness;
use protocol::{Peer, Protocol, Sender};

/// Does what the path says, and later what messages say.
struct Relay(Sender<&'static str>);

impl Handler for Relay {
    type Message = &'static str;
    type Next = NoUpgrade<&'static str>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.withhold_continue();
        for step in request.path().split('/').filter(|step| !step.is_empty()) {
            match step {
                "start" => responder.start(200, &(), None)?,
                "some" => responder.write(b"some")?,
                "finish" => responder.finish()?,
                "abort" => responder.abort(),
                _ => drop(self.0.send("continue")),
            }
        }
        Ok(())
    }

    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.send(200, &(), data)
    }

    fn posted(&mut self, _: &'static str, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.inform(100, &())
    }
}

struct Scene<P: Protocol> {
    server: Harness<P>,
    client: ClientConnection,
    scratch: Scratch,
    out: Vec<u8>,
}

fn scene() -> Scene<impl Protocol> {
    let make = |peer: &Peer<'_, _>| {
        let relay = |peer: &Peer<'_, &'static str>| Some(Relay(peer.sender()));
        Some(Server::new(Arc::new(ServerConfig::default()), relay, peer))
    };
    let server = Harness::accept(protocol::Limits::default(), make).unwrap();
    let (mut client, mut out) = (ClientConnection::new(), Vec::new());
    client.start(&Limits::DEFAULT, &mut out).unwrap();
    let mut scene = Scene {
        server,
        client,
        scratch: Scratch::new(),
        out,
    };
    scene.exchange();
    scene
}

impl<P: Protocol> Scene<P> {
    fn ask(&mut self, path: &str) -> u32 {
        let (head, expects) = (Head::new("POST", "http", "a", path), [("expect", "100-continue")]);
        self.client
            .start_request(head, &expects, Some(3), &Limits::DEFAULT, &mut self.out)
            .unwrap()
    }

    fn exchange(&mut self) -> String {
        let mut log = String::new();
        loop {
            let bytes = std::mem::take(&mut self.out);
            self.server.receive(&bytes);
            self.server.pump();
            let sent = self.server.take_sent();
            if sent.is_empty() && bytes.is_empty() {
                return log;
            }
            let mut rest = &sent[..];
            let (limits, scratch) = (&Limits::DEFAULT, &mut self.scratch);
            while let Some(event) = self.client.next(limits, &mut rest, scratch, &mut self.out).unwrap() {
                log += &match event {
                    ClientEvent::Response { stream, response, .. } => format!("[{stream}:{}]", response.status()),
                    ClientEvent::Informational { stream, response } => format!("[{stream}:({})]", response.status()),
                    ClientEvent::Data { stream, data } => format!("[{stream}={}]", data.escape_ascii()),
                    ClientEvent::End { stream, .. } => format!("[{stream}.]"),
                    ClientEvent::Reset { stream, code } => format!("[{stream}!{code}]"),
                    _ => continue,
                };
            }
        }
    }
}

/// RFC 9110 section 10.1.1: only the other source sends 100 (Continue); content that comes without it is read.
#[test]
fn a_client_is_told_to_continue_by_the_handler_alone() {
    let mut scene = scene();
    let silent = scene.ask("/");
    let told = scene.ask("/continue");
    assert_eq!(scene.exchange(), format!("[{told}:(100)]"));
    for stream in [told, silent] {
        let sent = scene
            .client
            .send_data(stream, b"abc", true, &Limits::DEFAULT, &mut scene.out);
        assert_eq!(sent, Ok(3));
        assert_eq!(scene.exchange(), format!("[{stream}:200][{stream}=abc][{stream}.]"));
    }
    // A final response without a 100.
    let refused = scene.ask("/start/finish");
    assert!(scene.exchange().starts_with(&format!("[{refused}:200][{refused}.]")));
}

/// RFC 9113 section 8.1: a response that is broken off ends its stream, and no other.
#[test]
fn an_answer_that_is_broken_off() {
    let mut scene = scene();
    for (path, came) in [
        ("/start/some/abort", "[ID:200][ID=some][ID!INTERNAL_ERROR]"),
        ("/abort", "[ID!INTERNAL_ERROR]"),
    ] {
        let stream = scene.ask(path);
        assert_eq!(scene.exchange(), came.replace("ID", &stream.to_string()));
    }
    let next = scene.ask("/start/some/finish");
    let came = scene.exchange();
    assert!(
        came.starts_with(&format!("[{next}:200][{next}=some][{next}.]")),
        "{came}"
    );
}
