//! Reads the vectors of `h2.tsv`, for the tests of more than one crate.

const VECTORS: &str = include_str!("h2.tsv");

/// One line of the file, which is described at its head.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) section: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) outcome: &'static str,
}

/// All of them.
pub(crate) fn vectors() -> Vec<Vector> {
    let lines = VECTORS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let [name, kind, section, script, outcome] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("not five columns: {line}")
            };
            let mut bytes = Vec::new();
            if kind == "server" && !script.starts_with("bare") {
                bytes.extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            }
            if !script.starts_with("bare") {
                frame(&mut bytes, 4, 0, 0, &[]);
                frame(&mut bytes, 4, 1, 0, &[]);
            }
            for step in script.split("; ").filter(|step| !step.is_empty() && *step != "bare") {
                self::step(&mut bytes, step);
            }
            Vector {
                name,
                kind,
                section,
                bytes,
                outcome,
            }
        })
        .collect()
}

pub(crate) fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

/// A field, never indexed, not Huffman coded.
pub(crate) fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0);
    for text in [name, value] {
        assert!(text.len() < 127 + 128, "the tests have no longer texts");
        match text.len() {
            length @ 0..127 => block.push(length as u8),
            length => block.extend([127, (length - 127) as u8]),
        }
        block.extend(text);
    }
}

const NAMES: [&str; 17] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST",
    "SETTINGS",
    "PUSH",
    "PING",
    "GOAWAY",
    "WINDOW",
    "CONTINUATION",
    "10",
    "11",
    "12",
    "13",
    "14",
    "15",
    "UPDATE",
];

/// `TYPE [STREAM] [+FLAG..] [PAYLOAD..]`
fn step(bytes: &mut Vec<u8>, step: &str) {
    let mut words = step.split(' ');
    let name = words.next().unwrap();
    if name == "raw" {
        return bytes.extend(unescape(step.strip_prefix("raw ").unwrap()));
    }
    let (mut stream, mut flags, mut payload) = (0, 0, Vec::new());
    let (kind, mut flag_end) = match name {
        "GET" | "HEAD" | "POST" | "CONNECT" | "OPTIONS" => (1, 4),
        other => (
            NAMES
                .iter()
                .position(|name| *name == other)
                .unwrap_or_else(|| other.parse().unwrap()) as u8,
            0,
        ),
    };
    if kind == 1 && name != "HEADERS" {
        let scheme = name != "CONNECT";
        literal(&mut payload, b":method", name.as_bytes());
        if scheme {
            literal(&mut payload, b":scheme", b"http");
            literal(&mut payload, b":path", b"/");
        }
        literal(&mut payload, b":authority", if scheme { b"a" } else { b"a:1" });
        if name == "GET" || name == "HEAD" {
            flag_end |= 1;
        }
    } else if kind == 1 {
        flag_end = 4;
    }
    flags |= flag_end;
    for word in words {
        if let Some(id) = word.strip_prefix('@') {
            stream = id.parse().unwrap();
        } else if let Some(flag) = word.strip_prefix('+') {
            flags |= match flag {
                "end" | "ack" => 1,
                "headers" => 4,
                "padded" => 8,
                "priority" => 32,
                other => other.parse().unwrap(),
            };
        } else if let Some(flag) = word.strip_prefix('-') {
            flags &= !match flag {
                "end" => 1,
                "headers" => 4,
                other => other.parse().unwrap(),
            };
        } else if let Some(number) = word.strip_prefix("u32=") {
            payload.extend(number.parse::<u32>().unwrap().to_be_bytes());
        } else if let Some(setting) = word.strip_prefix("set=") {
            let (id, value) = setting.split_once(':').unwrap();
            payload.extend(id.parse::<u16>().unwrap().to_be_bytes());
            payload.extend(value.parse::<u32>().unwrap().to_be_bytes());
        } else if let Some(count) = word.strip_prefix("x*") {
            payload.extend(vec![b'x'; count.parse().unwrap()]);
        } else if let Some(count) = word.strip_prefix("0*") {
            payload.extend(vec![0; count.parse().unwrap()]);
        } else if let Some(hex) = word.strip_prefix("0x") {
            payload.extend(
                (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()),
            );
        } else if let Some((name, value)) = word.split_once('=') {
            literal(&mut payload, &unescape(name), &unescape(value));
        } else {
            panic!("{word} in {step}");
        }
    }
    frame(bytes, kind, flags, stream, &payload);
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b's' => b' ',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
            other => other,
        });
    }
    bytes
}
