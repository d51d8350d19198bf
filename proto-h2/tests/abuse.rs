//! Known attacks on HTTP/2, on the codec. Each test is named by its id in docs/security.md.

mod attacks;

use attacks::{Attack, attacks, frame, get, hello, post};
use proto_h2::{ErrorCode, Limits, Scratch, ServerConnection, ServerEvent, Violation, ViolationKind};

/// A server that answers each complete request at once.
struct Scene {
    connection: ServerConnection,
    limits: Limits,
    scratch: Scratch,
    out: Vec<u8>,
    answered: u32,
    most: usize,
}

impl Scene {
    fn new() -> Self {
        Self::with(Limits::DEFAULT)
    }

    fn with(limits: Limits) -> Self {
        let (mut connection, mut out) = (ServerConnection::new(), Vec::new());
        connection.start(&limits, &mut out).unwrap();
        Self {
            connection,
            limits,
            scratch: Scratch::new(),
            out: Vec::new(),
            answered: 0,
            most: 0,
        }
    }

    /// Reads all of `input`, or up to the end of the connection.
    fn read(&mut self, mut input: &[u8]) -> Result<(), Violation> {
        loop {
            let event = self
                .connection
                .next(&self.limits, &mut input, &mut self.scratch, &mut self.out)?;
            self.most = self.most.max(self.connection.streams());
            match event {
                None => {
                    assert!(input.is_empty(), "all was read");
                    return Ok(());
                }
                Some(ServerEvent::Request { stream, end: true, .. } | ServerEvent::End { stream, .. }) => {
                    self.answered += 1;
                    self.connection
                        .respond(stream, 204, &(), b"", None, &self.limits, &mut self.out)
                        .unwrap();
                }
                Some(ServerEvent::Data { stream, data }) => {
                    let length = data.len();
                    self.connection
                        .consume(stream, length, &self.limits, &mut self.out)
                        .unwrap();
                }
                Some(_) => {}
            }
        }
    }

    fn suffers(&mut self, attack: &Attack) {
        let result = self.read(&attack.bytes);
        let code = result.err().map(|violation| violation.code().0);
        assert_eq!(code, attack.ends, "{}: {result:?}", attack.name);
        assert!(self.most <= 100, "{}: {} streams at once", attack.name, self.most);
        assert!(
            self.out.len() < 64 * 1024,
            "{}: {} bytes in answer",
            attack.name,
            self.out.len()
        );
        if attack.ends.is_none() {
            let before = self.answered;
            self.read(&get(1001)).unwrap();
            assert_eq!(self.answered, before + 1, "{}: the connection goes on", attack.name);
        }
    }
}

/// Runs all attacks with this id, whole and in pieces of a few octets.
fn all(id: &str) {
    let mut count = 0;
    for attack in attacks().iter().filter(|attack| attack.name.starts_with(id)) {
        Scene::new().suffers(attack);
        count += 1;
    }
    assert!(count > 0, "no attack {id}");
}

#[test]
fn f01_rapid_reset() {
    all("f01");
}

#[test]
fn f02_resets_that_the_server_is_made_to_send() {
    all("f02");
}

#[test]
fn f03_errors_without_end() {
    all("f03");
}

#[test]
fn f04_settings_flood() {
    all("f04");
}

#[test]
fn f05_windows_moved_up_and_down() {
    all("f05");
}

#[test]
fn f06_ping_flood() {
    all("f06");
}

#[test]
fn f07_resets_of_closed_streams() {
    all("f07");
}

#[test]
fn f08_data_without_content() {
    all("f08");
}

#[test]
fn f09_empty_continuations() {
    all("f09");
}

#[test]
fn f10_continuation_flood() {
    all("f10");
    // An honest block that arrives octet by octet, in one CONTINUATION frame, is no flood.
    let mut scene = Scene::new();
    scene.read(&hello()).unwrap();
    let bytes = [frame(1, 1, 1, &attacks::GET[..3]), frame(9, 4, 1, &attacks::GET[3..])].concat();
    let mut buffer = Vec::new();
    for byte in bytes {
        buffer.push(byte);
        let mut rest = &buffer[..];
        let event = scene
            .connection
            .next(&scene.limits, &mut rest, &mut scene.scratch, &mut scene.out)
            .unwrap();
        let done = event.is_some();
        let used = buffer.len() - rest.len();
        buffer.drain(..used);
        assert_eq!(done, buffer.is_empty() && scene.connection.streams() == 1);
    }
    assert_eq!(scene.connection.streams(), 1);
}

#[test]
fn f11_hpack_bomb() {
    all("f11");
}

#[test]
fn f12_names_of_no_length() {
    all("f12");
}

#[test]
fn f13_cookie_crumbs() {
    all("f13");
}

#[test]
fn f14_integers_without_end() {
    all("f14");
}

#[test]
fn f15_a_huge_table_offered() {
    all("f15");
}

#[test]
fn f18_priority_churn() {
    all("f18");
}

#[test]
fn f19_priority_updates_for_idle_streams() {
    all("f19");
    // Those that come before their stream count, the latest of each, and more than its field; but a hundred at most are kept.
    let update = |id: u32, urgency: u8| frame(16, 0, 0, &[&id.to_be_bytes()[..], b"u=", &[b'0' + urgency]].concat());
    let mut scene = Scene::new();
    scene.read(&hello()).unwrap();
    scene
        .read(&[update(1, 1), update(3, 7), update(3, 5), post(1), post(3), post(5)].concat())
        .unwrap();
    let urgency = |scene: &Scene, id| scene.connection.priority(id).urgency;
    assert_eq!([1, 3, 5].map(|id| urgency(&scene, id)), [1, 5, 3]);
    let updates: Vec<u8> = (0..150).flat_map(|n| update(7 + 2 * n, 6)).collect();
    scene.read(&[updates, post(7), post(107), post(305)].concat()).unwrap();
    assert_eq!(
        [7, 107, 305].map(|id| urgency(&scene, id)),
        [3, 6, 6],
        "the oldest were forgotten"
    );
}

#[test]
fn f20_frames_that_bring_nothing() {
    all("f20");
}

#[test]
fn f21_streams_beyond_the_limit() {
    all("f21");
    // A client that is refused a few times is still served.
    let mut scene = Scene::new();
    let opened: Vec<u8> = (0..110).flat_map(|n| post(2 * n + 1)).collect();
    scene.read(&[hello(), opened].concat()).unwrap();
    assert_eq!(scene.connection.streams(), 100);
    assert_eq!(
        scene
            .out
            .windows(4)
            .filter(|code| *code == ErrorCode::REFUSED_STREAM.0.to_be_bytes())
            .count(),
        10
    );
}

#[test]
fn f22_content_beyond_the_window() {
    let mut scene = Scene::new();
    scene.read(&[hello(), post(1)].concat()).unwrap();
    // The caller consumes nothing: four frames of 16,384 octets are one octet more than the window.
    let mut input = &frame(0, 0, 1, &[0; 16_384]).repeat(4)[..];
    let mut held = 0;
    loop {
        match scene
            .connection
            .next(&scene.limits, &mut input, &mut scene.scratch, &mut scene.out)
            .unwrap()
        {
            Some(ServerEvent::Data { data, .. }) => held += data.len(),
            Some(ServerEvent::Failed(violation)) => {
                assert_eq!(violation.kind(), ViolationKind::WindowExceeded);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(held, 3 * 16_384);
    // The connection's window is beyond doubt: an error of all.
    let mut limits = Limits::DEFAULT;
    limits.streams = 1000;
    let mut scene = Scene::with(limits);
    scene.read(&hello()).unwrap();
    let mut end = None;
    for n in 0..70 {
        let bytes = [post(2 * n + 1), frame(0, 0, 2 * n + 1, &[0; 16_000])].concat();
        let mut input = &bytes[..];
        end = loop {
            match scene
                .connection
                .next(&scene.limits, &mut input, &mut scene.scratch, &mut scene.out)
            {
                Ok(None) => break None,
                Ok(Some(_)) => {}
                Err(violation) => break Some(violation.kind()),
            }
        };
        if end.is_some() {
            break;
        }
    }
    assert_eq!(end, Some(ViolationKind::WindowExceeded));
}

#[test]
fn f24_settings_never_acknowledged() {
    let mut scene = Scene::new();
    scene.read(&hello()[..33]).unwrap();
    assert!(scene.connection.awaits_settings());
    let violation = scene.connection.fail_settings(&mut scene.out);
    assert_eq!(violation.code(), ErrorCode::SETTINGS_TIMEOUT);
    assert_eq!(
        scene
            .connection
            .next(&scene.limits, &mut &get(1)[..], &mut scene.scratch, &mut scene.out),
        Ok(None)
    );
}

#[test]
fn f25_content_length_differs() {
    all("f25");
}

#[test]
fn f26_transfer_encoding() {
    all("f26");
}

#[test]
fn f27_control_characters() {
    all("f27");
    // Nor does the server send them.
    let mut scene = Scene::new();
    scene.read(&[hello(), post(1)].concat()).unwrap();
    scene.out.clear();
    for (name, value) in [
        ("x", "a\r\nb"),
        ("x\r\n", "a"),
        ("x y", "a"),
        ("x", " a"),
        ("", "a"),
        ("x", "a\0"),
    ] {
        let sent = scene
            .connection
            .respond(1, 200, &[(name, value)], b"", None, &scene.limits, &mut scene.out);
        assert!(sent.is_err() && scene.out.is_empty(), "{name:?} {value:?}");
    }
}

#[test]
fn f28_pseudo_fields_out_of_place() {
    all("f28");
}

#[test]
fn f29_trailers_that_smuggle() {
    all("f29");
}

#[test]
fn f30_extended_connect_out_of_place() {
    all("f30");
}

#[test]
fn f31_nothing_is_held_for_a_reset_stream() {
    let mut scene = Scene::new();
    scene.read(&hello()).unwrap();
    for n in 0..100_000 {
        let id = 2 * n + 1;
        // One of ten streams is cancelled, with content under way.
        if n % 10 == 0 {
            scene
                .read(&[post(id), frame(0, 0, id, &[0; 100]), frame(3, 0, id, &[0; 4])].concat())
                .unwrap();
        } else {
            scene.read(&get(id)).unwrap();
        }
        scene.out.clear();
    }
    assert_eq!((scene.connection.streams(), scene.answered), (0, 90_000));
}

#[test]
fn f32_frames_behind_goaway() {
    let mut scene = Scene::new();
    scene.read(&[hello(), post(1)].concat()).unwrap();
    scene.connection.shutdown(&mut scene.out).unwrap();
    scene.read(&get(3)).unwrap();
    assert_eq!(
        scene.answered, 1,
        "a request sent before the client saw the GOAWAY must be served"
    );
    // The client has seen the GOAWAY.
    scene.read(&frame(6, 1, 0, b"shutdown")).unwrap();
    let late = [post(5), frame(0, 0, 5, b"x"), frame(8, 0, 5, &[0, 0, 0, 1])].concat();
    scene.read(&late).unwrap();
    assert_eq!(scene.answered, 1, "frames of streams behind the GOAWAY must be ignored");
    let mut scene = Scene::new();
    scene.read(&[hello(), post(1)].concat()).unwrap();
    scene.connection.goaway(ErrorCode::NO_ERROR, &mut scene.out).unwrap();
    // Such streams may be under way already, with content and trailers, and must not affect other streams (RFC 9113 section 6.8).
    let trailers = frame(1, 5, 5, &[0, 1, b'a', 1, b'b']);
    scene
        .read(&[post(5), frame(0, 0, 5, b"x"), trailers, get(7)].concat())
        .unwrap();
    assert_eq!(scene.answered, 0, "later streams are ignored");
    assert!(!scene.connection.is_over());
    scene.read(&frame(0, 1, 1, b"x")).unwrap();
    assert!(scene.connection.is_over() && scene.answered == 1);
}

/// The behaviour of honest clients must never be taken for a flood.
#[test]
fn honest_clients_are_not_ended() {
    let mut scene = Scene::new();
    scene.read(&hello()).unwrap();
    for n in 0..2000 {
        let id = 2 * n + 1;
        let mut bytes = if n % 10 == 9 {
            [post(id), frame(3, 0, id, &[0, 0, 0, 8])].concat()
        } else {
            get(id)
        };
        if n % 50 == 0 {
            bytes.extend(frame(6, 0, 0, &[0; 8]));
            bytes.extend(frame(8, 0, 0, &[0, 0, 0x7f, 0xff]));
        }
        scene.read(&bytes).unwrap();
    }
    assert_eq!(scene.answered, 1800);
}
