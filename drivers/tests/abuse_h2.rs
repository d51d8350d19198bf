//! Known attacks on HTTP/2 servers, over sockets, on every driver. Each test is named by its id in docs/security.md. It checks how the
//! connection ends, and that an honest client of the same server is still served on its existing connection.

#[macro_use]
mod common;

#[path = "../../proto-h2/tests/attacks/mod.rs"]
mod attacks;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use attacks::{attacks, frame, get, hello, post};
use common::eventually;
use drivers::{Driver, Running, Server};
use proto_h2::ServerConfig;
use proto_http::{Fields, Handler, Misuse, NoUpgrade, Request, Responder};
use protocol::{Peer, Protocol};

/// Answers `GET` with the path; `GET /big` with 1 MiB; `POST` with 204 when it has ended.
#[derive(Default)]
struct Answers;

impl Handler for Answers {
    type Message = ();
    type Next = NoUpgrade<()>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        match (request.method(), request.path()) {
            ("GET", "/big") => responder.send(200, &(), &vec![b'x'; 1 << 20]),
            (_, "/pause") => {
                responder.pause(true);
                Ok(())
            }
            ("GET", path) => responder.send(200, &(), path.as_bytes()),
            _ => Ok(()),
        }
    }

    fn end(&mut self, _: Fields<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        responder.send(204, &(), b"")
    }
}

struct Scene<P: Protocol> {
    running: Running<P>,
    to: SocketAddr,
    honest: TcpStream,
    streams: u32,
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn scene(driver: Driver, change: impl FnOnce(&mut ServerConfig)) -> Scene<impl Protocol<Message: Send>> {
    let mut config = ServerConfig::default();
    change(&mut config);
    let config = Arc::new(config);
    let factory = move |peer: &Peer<'_, _>| {
        let answers = |_: &Peer<'_, ()>| Some(Answers);
        Some(proto_h2::Server::new(Arc::clone(&config), answers, peer))
    };
    let running = Server::on(driver).serve("127.0.0.1:0", factory).unwrap();
    let to = running.local_addr().unwrap();
    let mut honest = connect(to);
    honest.write_all(&hello()).unwrap();
    let mut scene = Scene {
        running,
        to,
        honest,
        streams: 0,
    };
    scene.still_serves();
    scene
}

/// One frame: type, flags, stream, payload. `None` at the end of the connection.
fn read_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    match stream.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
        Err(error) => panic!("{error}"),
    }
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((
        head[3],
        head[4],
        u32::from_be_bytes(head[5..9].try_into().unwrap()),
        payload,
    ))
}

/// The code of the GOAWAY that ends a connection which sends `bytes`; `None` where there is none.
fn goaway(to: SocketAddr, bytes: Vec<u8>) -> Option<u32> {
    let mut stream = connect(to);
    let mut writer = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        // The server may end the connection before it has received all bytes.
        let _ = writer.write_all(&bytes);
    });
    let mut code = None;
    while let Some((kind, _, _, payload)) = read_frame(&mut stream) {
        if kind == 7 {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    sending.join().unwrap();
    code
}

impl<P: Protocol<Message: Send> + 'static> Scene<P> {
    /// The honest client sends a request on its existing connection.
    fn still_serves(&mut self) {
        let id = 2 * self.streams + 1;
        self.streams += 1;
        self.honest.write_all(&get(id)).unwrap();
        loop {
            match read_frame(&mut self.honest).expect("the honest client is served") {
                (0, 1, stream, payload) if stream == id => return assert_eq!(payload, b"/"),
                (3 | 7, ..) => panic!("the honest client was reset"),
                _ => {}
            }
        }
    }

    /// Runs all attacks with this id: each connection ends with the expected code, or survives.
    fn suffers(&mut self, id: &str) {
        for attack in attacks().into_iter().filter(|attack| attack.name.starts_with(id)) {
            if attack.ends.is_some() {
                let code = goaway(self.to, attack.bytes);
                // A flood may meet the end of the connection before the GOAWAY has come through.
                assert!(code == attack.ends || code.is_none(), "{}: {code:?}", attack.name);
            } else {
                let mut stream = connect(self.to);
                stream.write_all(&[attack.bytes, get(1001)].concat()).unwrap();
                let served = std::iter::from_fn(|| read_frame(&mut stream))
                    .any(|(kind, flags, id, _)| (kind, flags, id) == (0, 1, 1001));
                assert!(served, "{}: the connection goes on", attack.name);
            }
            self.still_serves();
        }
    }

    fn end(self) {
        drop(self.honest);
        let stats = self.running.stop(Duration::from_secs(5)).unwrap();
        assert_eq!((stats.panics, stats.active), (0, 0), "{stats:?}");
    }
}

macro_rules! suffer {
    ($($name:ident)*) => {$(
        fn $name(driver: Driver) {
            let mut scene = scene(driver, |_| {});
            scene.suffers(&stringify!($name)[..3]);
            scene.end();
        }
    )*};
}

suffer! { f01 f02 f03 f04 f05 f06 f07 f08 f09 f10 f11 f12 f13 f14 f15 f18 f19 f20 f21 f25 f26 f27 f28 f29 f30 }

/// A response that waits for credit is given up, and the other streams are served.
fn f16(driver: Driver) {
    let mut scene = scene(driver, |config| {
        config.timeouts.window = Some(Duration::from_millis(300));
        config.timeouts.body_rate = 10_000;
    });
    let mut stream = connect(scene.to);
    let big = frame(
        1,
        5,
        1,
        &[0x82, 0x86, 0x04, 0x04, b'/', b'b', b'i', b'g', 0x01, 0x01, b'a'],
    );
    // An initial window of 1, and credit one octet at a time.
    stream
        .write_all(&[hello(), frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]), big].concat())
        .unwrap();
    let mut drip = stream.try_clone().unwrap();
    let dripping = thread::spawn(move || {
        for _ in 0..200 {
            if drip.write_all(&frame(8, 0, 1, &[0, 0, 0, 1])).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let start = Instant::now();
    let reset = std::iter::from_fn(|| read_frame(&mut stream)).find(|frame| frame.0 == 3);
    assert_eq!(
        reset.map(|frame| (frame.2, frame.3)),
        Some((1, vec![0, 0, 0, 8])),
        "CANCEL"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(stream);
    dripping.join().unwrap();
    scene.still_serves();
    scene.end();
}

/// The output for a client that sends requests and does not read is bounded.
fn f17(driver: Driver) {
    let mut scene = scene(driver, |_| {});
    let mut stream = connect(scene.to);
    stream
        .write_all(&[hello(), frame(8, 0, 0, &[0x40, 0, 0, 0])].concat())
        .unwrap();
    stream.write_all(&frame(4, 0, 0, &[0, 4, 0x40, 0, 0, 0])).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut asked = 0;
    for n in 0..2000 {
        let path = [&[0x82, 0x86, 0x04, 0x04][..], b"/big", &[0x01, 0x01, b'a']].concat();
        if stream.write_all(&frame(1, 5, 2 * n + 1, &path)).is_err() {
            break;
        }
        asked += 1;
        if n % 100 == 0 {
            scene.still_serves();
        }
    }
    assert!(asked > 0);
    drop(stream);
    scene.still_serves();
    scene.end();
}

/// Every phase has a deadline for silent clients, which PINGs do not extend.
fn f23(driver: Driver) {
    let mut scene = scene(driver, |config| {
        let short = Some(Duration::from_millis(300));
        (config.timeouts.preface, config.timeouts.frame) = (short, short);
        (config.timeouts.body, config.timeouts.body_rate) = (short, 0);
    });
    let phases: [(&str, Vec<u8>); 6] = [
        ("nothing", Vec::new()),
        ("half the preface", hello()[..10].to_vec()),
        ("no SETTINGS", hello()[..24].to_vec()),
        ("half a frame", [hello(), get(1)[..12].to_vec()].concat()),
        ("an open block", [hello(), frame(1, 1, 1, &[0x82])].concat()),
        (
            "half of DATA",
            [hello(), post(1), frame(0, 0, 1, &[0; 100])[..50].to_vec()].concat(),
        ),
    ];
    for (phase, bytes) in phases {
        let start = Instant::now();
        let mut stream = connect(scene.to);
        stream.write_all(&bytes).unwrap();
        while read_frame(&mut stream).is_some() {}
        assert!(
            start.elapsed() < Duration::from_secs(8),
            "{phase}: {:?}",
            start.elapsed()
        );
        scene.still_serves();
    }
    // A body that stalls ends only its stream, however many PINGs arrive.
    let mut stream = connect(scene.to);
    stream.write_all(&[hello(), post(1)].concat()).unwrap();
    let mut pings = stream.try_clone().unwrap();
    let pinging = thread::spawn(move || {
        for _ in 0..60 {
            if pings.write_all(&frame(6, 0, 0, &[0; 8])).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let reset = std::iter::from_fn(|| read_frame(&mut stream)).find(|frame| frame.0 == 3);
    assert_eq!(reset.map(|frame| frame.2), Some(1));
    pinging.join().unwrap();
    scene.still_serves();
    scene.end();
}

/// A handler that pauses holds no more than the window.
fn f22(driver: Driver) {
    let mut scene = scene(driver, |_| {});
    let mut stream = connect(scene.to);
    let head = [&[0x83, 0x86, 0x04, 0x06][..], b"/pause", &[0x01, 0x01, b'a']].concat();
    let content = frame(0, 0, 1, &[0; 16_384]).repeat(4);
    stream
        .write_all(&[hello(), frame(1, 4, 1, &head), content, get(3)].concat())
        .unwrap();
    let reset = std::iter::from_fn(|| read_frame(&mut stream)).find(|frame| frame.0 == 3);
    assert_eq!(
        reset.map(|frame| (frame.2, frame.3)),
        Some((1, vec![0, 0, 0, 3])),
        "FLOW_CONTROL_ERROR"
    );
    let served =
        std::iter::from_fn(|| read_frame(&mut stream)).any(|(kind, flags, id, _)| (kind, flags, id) == (0, 1, 3));
    assert!(served);
    scene.still_serves();
    scene.end();
}

/// Streams that are opened and cancelled leave nothing behind.
fn f31(driver: Driver) {
    let mut scene = scene(driver, |_| {});
    let mut stream = connect(scene.to);
    stream.write_all(&hello()).unwrap();
    for round in 0..200 {
        let first = round * 100;
        let requests: Vec<u8> = (first..first + 50)
            .flat_map(|n| match n % 10 {
                9 => [
                    post(2 * n + 1),
                    frame(0, 0, 2 * n + 1, &[0; 50]),
                    frame(3, 0, 2 * n + 1, &[0; 4]),
                ]
                .concat(),
                _ => get(2 * n + 1),
            })
            .collect();
        stream.write_all(&requests).unwrap();
        let mut answers = 0;
        while answers < 45 {
            let (kind, flags, ..) = read_frame(&mut stream).expect("the connection goes on");
            answers += i32::from((kind, flags) == (0, 1));
        }
    }
    scene.still_serves();
    scene.end();
}

/// What follows a GOAWAY of either side.
fn f32(driver: Driver) {
    let mut scene = scene(driver, |config| config.timeouts.idle = Some(Duration::from_millis(100)));
    let mut stream = connect(scene.to);
    stream
        .write_all(&[hello(), frame(7, 0, 0, &[0; 8]), get(1), frame(0, 0, 1, b"x"), get(3)].concat())
        .unwrap();
    let served = std::iter::from_fn(|| read_frame(&mut stream))
        .filter(|frame| (frame.0, frame.1) == (0, 1))
        .take(2)
        .count();
    assert_eq!(served, 2);
    // The server goes away as nothing comes, and closes.
    let mut stream = connect(scene.to);
    stream.write_all(&hello()).unwrap();
    let goaway = std::iter::from_fn(|| read_frame(&mut stream)).any(|frame| frame.0 == 7);
    assert!(goaway);
    let _ = stream.write_all(&[get(1), frame(3, 0, 1, &[0; 4])].concat());
    while read_frame(&mut stream).is_some() {}
    // The honest client's connection has ended in the same way.
    scene.honest = connect(scene.to);
    scene.honest.write_all(&hello()).unwrap();
    scene.streams = 0;
    scene.still_serves();
    scene.end();
}

fn f24(driver: Driver) {
    let mut scene = scene(driver, |config| {
        config.timeouts.settings = Some(Duration::from_millis(300))
    });
    // The honest client has acknowledged them.
    assert_eq!(
        goaway(scene.to, [hello()[..33].to_vec(), get(1)].concat()),
        Some(4),
        "SETTINGS_TIMEOUT"
    );
    scene.still_serves();
    scene.end();
}

fn f33(driver: Driver) {
    let mut scene = scene(driver, |_| {});
    for n in 0..300 {
        let mut stream = connect(scene.to);
        stream
            .write_all(&[hello(), if n % 2 == 0 { post(1) } else { get(1) }].concat())
            .unwrap();
    }
    scene.still_serves();
    eventually("only the honest one is left", || {
        scene.running.handle().stats().active == 1
    });
    scene.end();
}

on_every_driver! {
    f01_rapid_reset: f01;
    f02_resets_that_the_server_is_made_to_send: f02;
    f03_errors_without_end: f03;
    f04_settings_flood: f04;
    f05_windows_moved_up_and_down: f05;
    f06_ping_flood: f06;
    f07_resets_of_closed_streams: f07;
    f08_data_without_content: f08;
    f09_empty_continuations: f09;
    f10_continuation_flood: f10;
    f11_hpack_bomb: f11;
    f12_names_of_no_length: f12;
    f13_cookie_crumbs: f13;
    f14_integers_without_end: f14;
    f15_a_huge_table_offered: f15;
    f16_windows_of_1: f16;
    f17_a_client_that_does_not_read: f17;
    f18_priority_churn: f18;
    f19_priority_updates_for_idle_streams: f19;
    f20_frames_that_bring_nothing: f20;
    f21_streams_beyond_the_limit: f21;
    f22_content_beyond_the_window: f22;
    f23_silence: f23;
    f24_settings_never_acknowledged: f24;
    f25_content_length_differs: f25;
    f26_transfer_encoding: f26;
    f27_control_characters: f27;
    f28_pseudo_fields_out_of_place: f28;
    f29_trailers_that_smuggle: f29;
    f30_extended_connect_out_of_place: f30;
    f31_nothing_is_held_for_a_reset_stream: f31;
    f32_frames_behind_goaway: f32;
    f33_hello_and_goodbye: f33;
}
