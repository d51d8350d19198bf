//! The bytes that attackers send, for the tests of the codec and those over sockets. Each attack is named by its id in docs/security.md.

/// One attack on a server with the default limits, from the preface on.
pub(crate) struct Attack {
    /// Its id and a description.
    pub(crate) name: &'static str,
    /// All bytes that are sent.
    pub(crate) bytes: Vec<u8>,
    /// The code of the GOAWAY that ends the connection; `None` where it goes on.
    pub(crate) ends: Option<u32>,
}

pub(crate) const CALM: Option<u32> = Some(0xb);
pub(crate) const COMPRESSION: Option<u32> = Some(0x9);

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The preface, empty SETTINGS and an acknowledgement of the server's.
pub(crate) fn hello() -> Vec<u8> {
    [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(4, 0, 0, &[]),
        &frame(4, 1, 0, &[]),
    ]
    .concat()
}

/// `:method`, `:scheme http`, `:path /`, `:authority a`, all literal or static.
pub(crate) const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];
pub(crate) const POST: &[u8] = &[0x83, 0x86, 0x84, 0x01, 0x01, b'a'];

pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, GET)
}

/// A request whose content does not come.
pub(crate) fn post(stream: u32) -> Vec<u8> {
    frame(1, 4, stream, POST)
}

fn rst(stream: u32) -> Vec<u8> {
    frame(3, 0, stream, &8_u32.to_be_bytes())
}

fn window(stream: u32, increment: u32) -> Vec<u8> {
    frame(8, 0, stream, &increment.to_be_bytes())
}

/// The frames that `make` returns for each of `count` streams.
fn streams(count: u32, make: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|n| make(2 * n + 1)).collect()
}

fn attack(name: &'static str, ends: Option<u32>, script: &[Vec<u8>]) -> Attack {
    let bytes = [hello(), script.concat()].concat();
    Attack { name, bytes, ends }
}

/// All attacks that can be sent without waiting for an answer.
pub(crate) fn attacks() -> Vec<Attack> {
    let many = |count: usize, bytes: Vec<u8>| bytes.repeat(count);
    let mut bomb = vec![0x82, 0x86, 0x84, 0x01, 0x01, b'a', 0x40, 0x01, b'x', 0x7f, 0xf0, 0x1d];
    bomb.extend(vec![b'y'; 127 + 0x70 + 0x1d * 128]);
    let big = bomb.len();
    bomb.extend(vec![0xbe; 16_000 - big]);
    let crumbs = [
        GET,
        &[0x00, 0x06, b'c', b'o', b'o', b'k', b'i', b'e', 0x01, b'a'].repeat(1000),
    ]
    .concat();
    let setting = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    vec![
        attack(
            "f01 rapid reset",
            CALM,
            &[streams(300, |id| [post(id), rst(id)].concat())],
        ),
        attack(
            "f01 rapid reset behind PINGs",
            CALM,
            &[streams(300, |id| {
                [
                    post(id),
                    rst(id),
                    if id % 20 == 1 {
                        frame(6, 0, 0, &[0; 8])
                    } else {
                        Vec::new()
                    },
                ]
                .concat()
            })],
        ),
        attack(
            "f02 credit of 0",
            CALM,
            &[streams(300, |id| [post(id), window(id, 0)].concat())],
        ),
        attack(
            "f02 credit that overflows",
            CALM,
            &[streams(300, |id| [post(id), window(id, 0x7fff_ffff)].concat())],
        ),
        attack(
            "f02 content behind the end",
            CALM,
            &[streams(1100, |id| [get(id), frame(0, 0, id, b"x")].concat())],
        ),
        attack(
            "f02 PRIORITY of 4 octets",
            CALM,
            &[streams(300, |id| [post(id), frame(2, 0, id, &[0; 4])].concat())],
        ),
        attack(
            "f02 content of another length",
            CALM,
            &[streams(300, |id| {
                [
                    frame(1, 4, id, &[POST, &[0x0f, 0x0d, 0x01, b'5']].concat()),
                    frame(0, 1, id, b"x"),
                ]
                .concat()
            })],
        ),
        attack(
            "f02 malformed heads",
            CALM,
            &[streams(300, |id| frame(1, 5, id, &[0x82]))],
        ),
        attack(
            "f02 own resets behind a GOAWAY of the peer's",
            CALM,
            &[
                frame(7, 0, 0, &[0; 8]),
                streams(300, |id| [post(id), window(id, 0)].concat()),
            ],
        ),
        attack(
            "f03 errors without end",
            CALM,
            &[streams(300, |id| {
                frame(1, 5, id, &[GET, &[0x00, 0x01, b'X', 0x00]].concat())
            })],
        ),
        attack("f04 SETTINGS flood", CALM, &[many(600, frame(4, 0, 0, &[]))]),
        attack(
            "f04 SETTINGS with many entries",
            CALM,
            &[many(60, frame(4, 0, 0, &setting(3, 1).repeat(1000)))],
        ),
        attack(
            "f05 windows moved up and down",
            CALM,
            &[
                streams(100, post),
                many(
                    200,
                    [frame(4, 0, 0, &setting(4, 1)), frame(4, 0, 0, &setting(4, 65_535))].concat(),
                ),
            ],
        ),
        attack("f06 PING flood", CALM, &[many(600, frame(6, 0, 0, &[0; 8]))]),
        attack("f06 PING ACK flood", CALM, &[many(600, frame(6, 1, 0, &[0; 8]))]),
        attack("f07 resets of closed streams", CALM, &[get(1), many(300, rst(1))]),
        attack("f08 empty DATA", CALM, &[post(1), many(1100, frame(0, 0, 1, &[]))]),
        attack(
            "f08 DATA of padding",
            CALM,
            &[post(1), many(1100, frame(0, 8, 1, &[1, 0]))],
        ),
        attack(
            "f08 DATA of one octet",
            CALM,
            &[post(1), many(1100, frame(0, 0, 1, b"x"))],
        ),
        attack(
            "f09 empty CONTINUATIONs",
            CALM,
            &[frame(1, 1, 1, &[]), many(20, frame(9, 0, 1, &[]))],
        ),
        attack(
            "f10 CONTINUATION flood",
            CALM,
            &[frame(1, 1, 1, GET), many(10, frame(9, 0, 1, &[0x82; 16_384]))],
        ),
        attack("f11 HPACK bomb", None, &[frame(1, 5, 1, &bomb)]),
        attack(
            "f12 names of no length",
            CALM,
            &[streams(300, |id| frame(1, 5, id, &[GET, &[0x00, 0x00, 0x00]].concat()))],
        ),
        attack("f13 cookie crumbs", None, &[frame(1, 5, 1, &crumbs)]),
        attack(
            "f14 an integer without end",
            COMPRESSION,
            &[frame(1, 5, 1, &[0xff; 100])],
        ),
        attack(
            "f14 an integer that wraps at 2^32",
            COMPRESSION,
            &[frame(1, 5, 1, &[0xff, 0x83, 0xff, 0xff, 0xff, 0xff, 0x0f])],
        ),
        attack(
            "f14 a length without end",
            COMPRESSION,
            &[frame(1, 5, 1, &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])],
        ),
        attack(
            "f15 a huge table offered",
            None,
            &[frame(4, 0, 0, &setting(1, u32::MAX)), streams(10, get)],
        ),
        attack(
            "f18 PRIORITY churn",
            CALM,
            &[(0..1100)
                .flat_map(|n| frame(2, 0, 2 * n + 1, &[0, 0, 0, 3, 9]))
                .collect()],
        ),
        attack(
            "f19 PRIORITY_UPDATE for idle streams",
            CALM,
            &[(1..1100_u32)
                .flat_map(|n| frame(16, 0, 0, &[&(2 * n + 1).to_be_bytes()[..], b"u=0"].concat()))
                .collect()],
        ),
        attack("f20 credit of 1", CALM, &[many(1100, window(0, 1))]),
        attack("f20 unknown frames", CALM, &[many(1100, frame(99, 0, 0, b"x"))]),
        attack("f21 streams beyond the limit", CALM, &[streams(400, post)]),
        attack(
            "f25 content-length and DATA differ",
            None,
            &[
                frame(1, 4, 1, &[POST, &[0x0f, 0x0d, 0x01, b'1']].concat()),
                frame(0, 1, 1, b"GET /smuggled HTTP/1.1\r\n\r\n"),
            ],
        ),
        attack(
            "f26 transfer-encoding",
            None,
            &[frame(1, 4, 1, &[POST, &[0x0f, 42, 7], b"chunked"].concat())],
        ),
        attack(
            "f27 CR and LF in a value",
            None,
            &[frame(1, 5, 1, &[GET, &[0x00, 0x01, b'x', 0x04], b"a\r\nb"].concat())],
        ),
        attack(
            "f28 a Host beside another authority",
            None,
            &[frame(1, 5, 1, &[GET, &[0x0f, 23, 0x01, b'b']].concat())],
        ),
        attack(
            "f29 trailers that smuggle",
            None,
            &[post(1), frame(1, 5, 1, &[0x0f, 0x0d, 0x01, b'9', 0x0f, 23, 0x01, b'b'])],
        ),
        attack(
            "f30 :protocol with GET",
            None,
            &[frame(
                1,
                4,
                1,
                &[GET, &[0x00, 0x09], b":protocol", &[0x09], b"websocket"].concat(),
            )],
        ),
    ]
}
