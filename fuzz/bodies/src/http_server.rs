//! A server's connection: the responses are the same however the requests are cut; every byte sent is part of a valid response to its
//! request; memory stays within the limits.

use std::sync::Arc;

use proto_http::{
    BodyDecoder, Fields, Handler, Misuse, NoUpgrade, Parsed, Piece, Request, Responder, Response, Rules, Server,
    ServerConfig,
};
use protocol::testing::Harness;

use crate::cuts::{cuts, whole};
use crate::memory;

/// Runs the target.
pub fn run(data: &[u8]) {
    // Ends the last line: the server reports every fault at the end of a line at the latest.
    let data = [data, b"\r\n\r\n\r\n\r\n\r\n"].concat();
    // The buffers of the rig, what the limits allow one connection to hold, and the bytes and responses kept here.
    let limit = (1 << 20) + 256 * data.len();
    memory::within(limit, || {
        for rules in crate::request_head::rules() {
            let mut config = ServerConfig::default();
            config.rules = rules;
            let config = Arc::new(config);
            let expected = serve(&config, &data, &whole(&data));
            for ends in cuts(&data) {
                assert_eq!(serve(&config, &data, &ends), expected);
            }
        }
    });
}

/// The statuses and contents of the responses, and whether the connection has closed.
fn serve(config: &Arc<ServerConfig>, data: &[u8], ends: &[usize]) -> (Vec<(u16, Vec<u8>)>, bool) {
    let mut harness = Harness::new(Server::new(Arc::clone(config), Varied::default()));
    let limits = &config.rules.limits;
    let most = limits.request_line + limits.fields_bytes + limits.chunk_line + limits.trailers_bytes;
    let mut start = 0;
    for &end in ends {
        harness.receive(&data[start..end]);
        start = end;
        assert!(harness.held() <= most, "the connection holds {} bytes", harness.held());
    }
    let sent = harness.take_sent();
    let mut answers = answers(&sent, &harness.protocol().handler().methods);
    if let Some((status @ (413 | 414 | 417 | 431 | 501 | 505), _)) = answers.last_mut()
        && config.rules != Rules::DEFAULT
    {
        // Where a narrow limit is exceeded and there is another fault, the cuts decide which of the two is named.
        *status = 400;
    }
    (answers, harness.is_half_closed())
}

/// Reads the sent bytes as the responses to requests with these methods.
fn answers(mut sent: &[u8], methods: &[String]) -> Vec<(u16, Vec<u8>)> {
    let mut methods = methods.iter().map(String::as_str);
    let mut answers = Vec::new();
    while !sent.is_empty() {
        let parsed = Response::parse(sent, &Rules::DEFAULT);
        let Ok(Parsed::Complete { head, length }) = parsed else {
            panic!("{parsed:?}")
        };
        sent = &sent[length..];
        if matches!(head.status(), 100..200) {
            answers.push((head.status(), Vec::new()));
            continue;
        }
        // A request that was refused at once has no method here.
        let method = methods.next().unwrap_or("GET");
        let mut content = Vec::new();
        let mut body = BodyDecoder::new(head.body(method));
        loop {
            match body.next(&mut sent, &Rules::DEFAULT).unwrap() {
                Some(Piece::Data(data)) => content.extend_from_slice(data),
                Some(Piece::End(_)) => break,
                // The response is cut short: the connection closes, and no further bytes were sent.
                None => {
                    assert_eq!(sent, b"");
                    break;
                }
            }
        }
        answers.push((head.status(), content));
    }
    answers
}

/// Answers in the way that the first letter of the path chooses.
#[derive(Debug, Default)]
pub(crate) struct Varied {
    pub(crate) methods: Vec<String>,
    collected: usize,
    way: u8,
}

impl Handler for Varied {
    type Message = std::convert::Infallible;
    type Next = NoUpgrade<Self::Message>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.methods.push(request.method().to_owned());
        self.collected = 0;
        self.way = request.path().as_bytes().get(1).copied().unwrap_or(0);
        match self.way {
            // In pieces, once the request is complete; with a trailer where trailers are allowed.
            b'c' | b't' => responder.start(200, &[("Content-Type", "text/plain")], None),
            b'l' => responder.start(206, &(), Some(3)),
            // Once the request is complete.
            b'w' => Ok(()),
            b'e' => responder.send(404, &(), b"no"),
            // A handler that fails.
            b'f' => Err(Misuse::NotAllowed),
            _ => responder.send(200, &[("X", "y")], request.target().as_bytes()),
        }
    }

    fn data(&mut self, data: &[u8], responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.collected += data.len();
        if self.way == b'c' {
            responder.write(data)
        } else {
            Ok(())
        }
    }

    fn end(&mut self, _: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match self.way {
            b'c' => responder.finish(),
            b't' => {
                responder.write(self.collected.to_string().as_bytes())?;
                responder.finish()
            }
            b'l' => {
                responder.write(b"abc")?;
                responder.finish()
            }
            _ => responder.send(200, &(), self.collected.to_string().as_bytes()),
        }
    }
}
