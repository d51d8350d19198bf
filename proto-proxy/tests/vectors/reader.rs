//! Reads the vectors of `proxy.tsv`, and writes outcomes as they do.

use std::fmt::Write;

use proto_proxy::{
    Addresses, Command, Header, Rules, SslTlv, Tlv, Transport, UnixAddress, Version, Versions, Violation,
};

const VECTORS: &str = include_str!("proxy.tsv");

/// One line of the file, which is described at its head.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) rules: Rules,
    pub(crate) bytes: Vec<u8>,
    pub(crate) outcome: &'static str,
}

/// All of them.
pub(crate) fn vectors() -> Vec<Vector> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let [name, rules, _section, bytes, outcome] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("not five columns: {line}")
            };
            let mut read_by = Rules::DEFAULT;
            read_by.versions = match rules {
                "any" => Versions::Both,
                "v1" => Versions::V1,
                "v2" => Versions::V2,
                other => panic!("{name}: rules {other}"),
            };
            Vector {
                name,
                rules: read_by,
                bytes: unescape(bytes),
                outcome,
            }
        })
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().expect("a character behind the backslash") {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'\\' => b'\\',
                b'x' => {
                    let digits: String = rest.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16).expect("two digits")
                }
                other => panic!("\\{}", char::from(other)),
            },
            byte => byte,
        });
    }
    bytes
}

/// What came of reading, as the vectors write it.
pub(crate) fn show(outcome: Result<Option<Header<'_>>, Violation>) -> String {
    match outcome {
        Ok(None) => "more".to_owned(),
        Err(violation) => format!("error {} {}", violation.kind().name(), violation.offset()),
        Ok(Some(header)) => show_header(&header),
    }
}

fn show_header(header: &Header<'_>) -> String {
    let version = match header.version() {
        Version::V1 => "v1",
        Version::V2 => "v2",
    };
    let command = match header.command() {
        Command::Local => "local",
        Command::Proxy => "proxy",
    };
    let addresses = match header.addresses() {
        Addresses::Unspecified => "unspecified".to_owned(),
        Addresses::Ip {
            transport,
            source,
            destination,
        } => {
            let name = if *transport == Transport::Stream { "tcp" } else { "udp" };
            format!("{name} {source} {destination}")
        }
        Addresses::Unix {
            transport,
            source,
            destination,
        } => {
            let name = if *transport == Transport::Stream {
                "stream"
            } else {
                "datagram"
            };
            format!("unix-{name} {} {}", unix(source), unix(destination))
        }
    };
    let mut shown = format!("{} {version} {command} {addresses}", header.as_bytes().len());
    for tlv in header.tlvs() {
        shown.push(' ');
        match tlv {
            Tlv::Alpn(value) => write!(shown, "alpn=\"{}\"", value.escape_ascii()),
            Tlv::Authority(value) => write!(shown, "authority=\"{}\"", value.as_bytes().escape_ascii()),
            Tlv::Checksum(sum) => write!(shown, "crc32c={sum:08x}"),
            Tlv::Noop(value) if value.len() > 1000 => write!(shown, "noop={} bytes", value.len()),
            Tlv::Noop(value) => write!(shown, "noop=\"{}\"", value.escape_ascii()),
            Tlv::UniqueId(value) => write!(shown, "unique-id=\"{}\"", value.escape_ascii()),
            Tlv::Ssl(ssl) => {
                write!(shown, "ssl({:02x},{}", ssl.client(), ssl.verify()).unwrap();
                for tlv in ssl.tlvs() {
                    match tlv {
                        SslTlv::Version(text) => write!(shown, " version=\"{text}\""),
                        SslTlv::CommonName(text) => write!(shown, " cn=\"{text}\""),
                        SslTlv::Cipher(text) => write!(shown, " cipher=\"{text}\""),
                        SslTlv::SignatureAlgorithm(text) => write!(shown, " sig=\"{text}\""),
                        SslTlv::KeyAlgorithm(text) => write!(shown, " key=\"{text}\""),
                        SslTlv::Other { kind, value } => {
                            write!(shown, " other({kind:02x})=\"{}\"", value.escape_ascii())
                        }
                        other => panic!("{other:?}"),
                    }
                    .unwrap();
                }
                write!(shown, ")")
            }
            Tlv::Netns(value) => write!(shown, "netns=\"{value}\""),
            Tlv::Other { kind, value } => write!(shown, "other({kind:02x})=\"{}\"", value.escape_ascii()),
            other => panic!("{other:?}"),
        }
        .unwrap();
    }
    shown
}

fn unix(address: &UnixAddress) -> String {
    match (address.path(), address.abstract_name()) {
        (Some(path), _) => path.escape_ascii().to_string(),
        (_, Some(name)) => format!("@{}", name.escape_ascii()),
        _ => "-".to_owned(),
    }
}
