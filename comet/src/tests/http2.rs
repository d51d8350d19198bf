//! Many readers on one HTTP/2 connection.

use proto_h2::{ClientConnection, ClientEvent, Head, Limits, Scratch};

use super::Rig;

/// A client of one connection, and the data received on its streams.
struct Reader {
    harness: protocol::testing::Harness<crate::web::Connection>,
    connection: ClientConnection,
    scratch: Scratch,
    out: Vec<u8>,
    got: std::collections::BTreeMap<u32, Vec<u8>>,
}

impl Reader {
    fn new(rig: &Rig) -> Self {
        let (mut connection, mut out) = (ClientConnection::new(), Vec::new());
        connection.start(&Limits::DEFAULT, &mut out).unwrap();
        Reader {
            harness: rig.connect(),
            connection,
            scratch: Scratch::new(),
            out,
            got: Default::default(),
        }
    }

    fn events(&mut self, channel: &str) -> u32 {
        let head = Head::new("GET", "http", "a", channel);
        self.connection
            .request(head, &(), &Limits::DEFAULT, &mut self.out)
            .unwrap()
    }

    fn exchange(&mut self) {
        loop {
            let bytes = std::mem::take(&mut self.out);
            self.harness.receive(&bytes);
            self.harness.pump();
            let sent = self.harness.take_sent();
            if sent.is_empty() && bytes.is_empty() {
                return;
            }
            let mut input = &sent[..];
            let limits = Limits::DEFAULT;
            while let Some(event) = self
                .connection
                .next(&limits, &mut input, &mut self.scratch, &mut self.out)
                .unwrap()
            {
                match event {
                    ClientEvent::Response { response, .. } => assert_eq!(response.status(), 200),
                    ClientEvent::Data { stream, data } => {
                        let length = data.len();
                        self.got.entry(stream).or_default().extend_from_slice(data);
                        self.connection.consume(stream, length, &limits, &mut self.out).unwrap();
                    }
                    _ => {}
                }
            }
        }
    }

    fn take(&mut self, stream: u32) -> String {
        String::from_utf8_lossy(&self.got.remove(&stream).unwrap_or_default()).into_owned()
    }
}

#[test]
fn many_streams_of_events_share_a_connection() {
    let rig = Rig::new(super::http::SITE);
    let mut reader = Reader::new(&rig);
    let streams: Vec<u32> = (0..20).map(|_| reader.events("/events?channel=news")).collect();
    reader.exchange();
    for &stream in &streams {
        assert_eq!(reader.take(stream), ": comet\n\nid: 100:0\n\n");
    }
    rig.publish("news", "{\"a\":1}");
    reader.exchange();
    for &stream in &streams {
        assert_eq!(
            reader.take(stream),
            "id: 100:1\ndata: {\"offset\":1,\"data\":{\"a\":1}}\n\n"
        );
    }
    // A reader that leaves does not affect the others.
    reader
        .connection
        .reset(
            streams[0],
            proto_h2::ErrorCode::CANCEL,
            &Limits::DEFAULT,
            &mut reader.out,
        )
        .unwrap();
    rig.publish("news", "2");
    reader.exchange();
    assert_eq!(reader.take(streams[0]), "");
    assert!(reader.take(streams[1]).contains("id: 100:2\n"));
}

#[test]
fn websocket_clients_share_a_connection() {
    let rig = Rig::new(super::http::SITE);
    let mut reader = Reader::new(&rig);
    let limits = Limits::DEFAULT;
    let fields = [("sec-websocket-version", "13")];
    let open = Head::extended("websocket", "http", "a", "/ws");
    reader.exchange();
    let streams: Vec<u32> = (0..3)
        .map(|_| {
            reader
                .connection
                .start_request(open, &fields, None, &limits, &mut reader.out)
                .unwrap()
        })
        .collect();
    reader.exchange();
    for &stream in &streams {
        assert!(reader.take(stream).contains("\"welcome\""));
        let subscribe = super::frame(r#"{"type":"subscribe","id":1,"channel":"news"}"#);
        reader
            .connection
            .send_data(stream, &subscribe, false, &limits, &mut reader.out)
            .unwrap();
    }
    reader.exchange();
    for &stream in &streams {
        assert!(reader.take(stream).contains("\"subscribed\""));
    }
    rig.publish("news", "7");
    reader.exchange();
    for &stream in &streams {
        let got = reader.take(stream);
        assert!(got.contains("\"data\":7"), "{got}");
    }
}
