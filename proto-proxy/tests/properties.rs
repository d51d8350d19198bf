//! Properties of every header: it reads back as it was written, however it is cut, and only a header is accepted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use proto_proxy::{
    Addresses, Command, Decoder, Header, HeaderWriter, Misuse, Rules, Ssl, SslTlv, Tlv, Transport, UNIQUE_ID_MAX,
    UnixAddress, V1_MAX, V2_MAX, Version, kind, write_v1,
};

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Stream), Just(Transport::Datagram)]
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    let group = prop_oneof![Just(0_u16), Just(0xffff), any::<u16>()];
    prop_oneof![
        prop::array::uniform8(group).prop_map(Ipv6Addr::from),
        any::<Ipv4Addr>().prop_map(|address| address.to_ipv6_mapped()),
    ]
}

fn ips() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(a, b)| (a.into(), b.into())),
        (ipv6(), ipv6()).prop_map(|(a, b)| (a.into(), b.into())),
    ]
}

fn unix() -> impl Strategy<Value = UnixAddress> {
    prop::collection::vec(any::<u8>(), 0..=108).prop_map(|bytes| UnixAddress::new(&bytes).unwrap())
}

fn addresses() -> impl Strategy<Value = Addresses> {
    prop_oneof![
        Just(Addresses::Unspecified),
        (transport(), ips(), any::<(u16, u16)>()).prop_map(|(transport, (source, destination), ports)| Addresses::Ip {
            transport,
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
        }),
        (transport(), unix(), unix()).prop_map(|(transport, source, destination)| Addresses::Unix {
            transport,
            source,
            destination,
        }),
    ]
}

/// A TLV that owns its value: its type, the value, and what goes into one about TLS.
#[derive(Debug, Clone)]
enum Owned {
    Plain(u8, Vec<u8>),
    Text(u8, String),
    Ssl(u8, u32, Vec<(u8, String)>),
}

fn tlvs() -> impl Strategy<Value = Vec<Owned>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let tlv = prop_oneof![
        (
            prop::sample::select(&[kind::ALPN, kind::NOOP, kind::UNIQUE_ID, 0xe0, 0x77][..]),
            bytes
        )
            .prop_map(|(kind, value)| Owned::Plain(kind, value)),
        "\\PC{0,20}".prop_map(|name| Owned::Text(kind::AUTHORITY, name)),
        "[ -~]{0,20}".prop_map(|name| Owned::Text(kind::NETNS, name)),
        (
            any::<u8>(),
            any::<u32>(),
            prop::collection::vec((0x21..=0x26_u8, "[ -~]{0,20}"), 0..6)
        )
            .prop_map(|(client, verify, tlvs)| Owned::Ssl(client, verify, tlvs)),
    ];
    prop::collection::vec(tlv, 0..8)
}

fn write_tlv(writer: &mut HeaderWriter<'_>, tlv: &Owned) -> Result<(), Misuse> {
    match tlv {
        Owned::Plain(kind::ALPN, value) => writer.tlv(&Tlv::Alpn(value)),
        Owned::Plain(kind::NOOP, value) => writer.tlv(&Tlv::Noop(value)),
        Owned::Plain(kind::UNIQUE_ID, value) => writer.tlv(&Tlv::UniqueId(value)),
        Owned::Plain(kind, value) => writer.tlv(&Tlv::Other { kind: *kind, value }),
        Owned::Text(kind::AUTHORITY, text) => writer.tlv(&Tlv::Authority(text)),
        Owned::Text(_, text) => writer.tlv(&Tlv::Netns(text)),
        Owned::Ssl(client, verify, tlvs) => {
            let tlvs: Vec<_> = tlvs.iter().map(|(kind, text)| ssl_tlv(*kind, text)).collect();
            writer.ssl(*client, *verify, &tlvs)
        }
    }
}

fn ssl_tlv(kind: u8, text: &str) -> SslTlv<'_> {
    match kind {
        kind::SSL_VERSION => SslTlv::Version(text),
        kind::SSL_COMMON_NAME => SslTlv::CommonName(text),
        kind::SSL_CIPHER => SslTlv::Cipher(text),
        kind::SSL_SIGNATURE_ALGORITHM => SslTlv::SignatureAlgorithm(text),
        kind::SSL_KEY_ALGORITHM => SslTlv::KeyAlgorithm(text),
        kind => SslTlv::Other {
            kind,
            value: text.as_bytes(),
        },
    }
}

fn same(tlv: Tlv<'_>, owned: &Owned) -> bool {
    match (tlv, owned) {
        (Tlv::Ssl(ssl), Owned::Ssl(client, verify, tlvs)) => {
            ssl.client() == *client
                && ssl.verify() == *verify
                && ssl.tlvs().eq(tlvs.iter().map(|(kind, text)| ssl_tlv(*kind, text)))
        }
        (Tlv::Authority(text) | Tlv::Netns(text), Owned::Text(kind, wanted)) => tlv.kind() == *kind && text == wanted,
        (Tlv::Alpn(value) | Tlv::Noop(value) | Tlv::UniqueId(value), Owned::Plain(kind, wanted)) => {
            tlv.kind() == *kind && value == wanted
        }
        (Tlv::Other { kind: of, value }, Owned::Plain(kind, wanted)) => of == *kind && value == wanted,
        _ => false,
    }
}

proptest! {
    #[test]
    fn version_1_reads_back((source, destination) in ips(), ports: (u16, u16), behind in prop::collection::vec(any::<u8>(), 0..9)) {
        let addresses = Addresses::tcp(SocketAddr::new(source, ports.0), SocketAddr::new(destination, ports.1));
        let mut memory = [0; V1_MAX];
        let line = write_v1(&mut memory, &addresses).unwrap();
        let mut stream = line.to_vec();
        stream.extend_from_slice(&behind);
        let (header, length) = Header::parse(&stream, &Rules::DEFAULT).unwrap().unwrap();
        prop_assert_eq!((header.version(), header.command()), (Version::V1, Command::Proxy));
        prop_assert_eq!((header.addresses(), length), (&addresses, line.len()));
        // IPv6 addresses in their other textual form are read as equal.
        let family = if source.is_ipv4() { 4 } else { 6 };
        let plain = format!("PROXY TCP{family} {source} {destination} {} {}\r\n", ports.0, ports.1);
        if plain.len() <= V1_MAX {
            let (header, _) = Header::parse(plain.as_bytes(), &Rules::DEFAULT).unwrap().unwrap();
            prop_assert_eq!(header.addresses(), &addresses);
        }
    }

    #[test]
    fn version_2_reads_back(addresses in addresses(), tlvs in tlvs(), checksum in prop::option::of(0_usize..8), cut: prop::sample::Index) {
        let mut memory = vec![0xaa; 4096];
        let mut writer = HeaderWriter::proxy(&mut memory, &addresses).unwrap();
        let checksum = checksum.map(|at| at.min(tlvs.len()));
        for (index, tlv) in tlvs.iter().enumerate() {
            if checksum == Some(index) {
                writer.tlv(&Tlv::Checksum(0)).unwrap();
            }
            write_tlv(&mut writer, tlv).unwrap();
        }
        if checksum == Some(tlvs.len()) {
            writer.tlv(&Tlv::Checksum(0)).unwrap();
        }
        let bytes = writer.finish();

        let mut decoder = Decoder::new(Rules::DEFAULT);
        let cut = cut.index(bytes.len());
        prop_assert_eq!(decoder.next(&mut &bytes[..cut]).unwrap(), None);
        let mut input = bytes;
        let header = decoder.next(&mut input).unwrap().unwrap();
        prop_assert!(input.is_empty());
        prop_assert_eq!((header.version(), header.command(), header.as_bytes()), (Version::V2, Command::Proxy, bytes));
        prop_assert_eq!(header.addresses(), &addresses);
        let sums = header.tlvs().filter(|tlv| matches!(tlv, Tlv::Checksum(_))).count();
        prop_assert_eq!(sums, usize::from(checksum.is_some()));
        let others: Vec<_> = header.tlvs().filter(|tlv| !matches!(tlv, Tlv::Checksum(_))).collect();
        prop_assert_eq!(others.len(), tlvs.len());
        for (tlv, owned) in others.into_iter().zip(&tlvs) {
            prop_assert!(same(tlv, owned), "{:?} for {:?}", tlv, owned);
        }
        // A checksum detects every change of a single byte, unless the change hides the checksum itself: by changing its type, or the
        // length of a TLV before it.
        if checksum.is_some() && bytes.len() > 16 {
            let mut broken = bytes.to_vec();
            let at = 16 + cut % (bytes.len() - 16);
            broken[at] ^= 0x40;
            if let Ok(Some((header, _))) = Header::parse(&broken, &Rules::DEFAULT) {
                prop_assert!(!header.tlvs().any(|tlv| matches!(tlv, Tlv::Checksum(_))));
            }
        }
    }

    #[test]
    fn small_memory_is_a_misuse_and_changes_nothing(addresses in addresses(), tlvs in tlvs(), room in 0_usize..400) {
        let mut large = vec![0; 8192];
        let mut small = vec![0; room];
        let mut all = HeaderWriter::proxy(&mut large, &addresses).unwrap();
        let Ok(mut some) = HeaderWriter::proxy(&mut small, &addresses) else {
            prop_assert!(room < all.finish().len());
            return Ok(());
        };
        for tlv in &tlvs {
            match write_tlv(&mut some, tlv) {
                Ok(()) => write_tlv(&mut all, tlv).unwrap(),
                Err(misuse) => prop_assert_eq!(misuse, Misuse::NoSpace),
            }
        }
        prop_assert_eq!(some.finish(), all.finish());
        let mut line = vec![0; room];
        let mut whole = [0; V1_MAX];
        match (write_v1(&mut line, &addresses), write_v1(&mut whole, &addresses)) {
            (Err(Misuse::NoSpace), Ok(whole)) => prop_assert!(whole.len() > room),
            (some, whole) => prop_assert_eq!(some, whole),
        }
    }

    #[test]
    fn outcomes_do_not_depend_on_cuts(
        bytes in prop_oneof![
            "PROXY TCP[46] [0-9a-f:. ]{0,60}(\r\n)?[ -~]{0,4}".prop_map(String::into_bytes),
            "PROXY UNKNOWN[ -~\r\n]{0,100}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|rest| [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..], &rest].concat()),
        ]
    ) {
        let whole = Header::parse(&bytes, &Rules::DEFAULT);
        let mut decoder = Decoder::new(Rules::DEFAULT);
        let mut end = 0;
        let pieces = loop {
            match decoder.next(&mut &bytes[..end]) {
                Ok(None) if end < bytes.len() => end += 1,
                outcome => break outcome.map(|header| header.map(|header| (header, header.as_bytes().len()))),
            }
        };
        prop_assert_eq!(pieces, whole);
    }
}

#[test]
fn what_cannot_be_read_cannot_be_written() {
    let v4: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
    let mut memory = vec![0; 3 * V2_MAX];
    let mut line = [0; V1_MAX];
    for mixed in [Addresses::tcp(v4, v6), Addresses::tcp(v6, v4)] {
        assert_eq!(write_v1(&mut line, &mixed), Err(Misuse::MixedFamilies));
        assert_eq!(
            HeaderWriter::proxy(&mut memory, &mixed).unwrap_err(),
            Misuse::MixedFamilies
        );
    }
    assert_eq!(write_v1(&mut line, &Addresses::udp(v4, v4)), Err(Misuse::NotInV1));
    let unix = Addresses::Unix {
        transport: Transport::Stream,
        source: UnixAddress::UNNAMED,
        destination: UnixAddress::new(b"/run/x").unwrap(),
    };
    assert_eq!(write_v1(&mut line, &unix), Err(Misuse::NotInV1));
    assert_eq!(
        write_v1(&mut line, &Addresses::Unspecified).unwrap(),
        b"PROXY UNKNOWN\r\n"
    );
    assert_eq!(UnixAddress::new(&[b'x'; 109]), Err(Misuse::UnixAddressTooLong));

    let mut writer = HeaderWriter::proxy(&mut memory, &Addresses::tcp(v4, v4)).unwrap();
    let long = [b'x'; 1 << 16];
    for (tlv, misuse) in [
        (Tlv::UniqueId(&long[..=UNIQUE_ID_MAX]), Misuse::UniqueIdTooLong),
        (Tlv::Netns("é"), Misuse::NotAscii),
        (Tlv::Noop(&long), Misuse::TooLong),
        (Tlv::Noop(&long[..0xffff]), Misuse::TooLong),
        (Tlv::Noop(&long[..0xffff - 12 - 2]), Misuse::TooLong),
        (
            Tlv::Other {
                kind: kind::SSL,
                value: b"",
            },
            Misuse::TypeHasVariant,
        ),
        (
            Tlv::Other {
                kind: kind::CRC32C,
                value: b"",
            },
            Misuse::TypeHasVariant,
        ),
    ] {
        assert_eq!(writer.tlv(&tlv), Err(misuse));
    }
    for (tlv, misuse) in [
        (SslTlv::Version("é"), Misuse::NotAscii),
        (
            SslTlv::Other {
                kind: kind::SSL_CIPHER,
                value: b"",
            },
            Misuse::TypeHasVariant,
        ),
        (
            SslTlv::Other {
                kind: 0x30,
                value: &long,
            },
            Misuse::TooLong,
        ),
    ] {
        assert_eq!(writer.ssl(Ssl::TLS, 0, &[SslTlv::CommonName("é"), tlv]), Err(misuse));
    }
    writer.tlv(&Tlv::Checksum(0)).unwrap();
    assert_eq!(writer.tlv(&Tlv::Checksum(0)), Err(Misuse::ChecksumRepeated));
    writer.tlv(&Tlv::Noop(&long[..0xffff - 12 - 7 - 3])).unwrap();
    let bytes = writer.finish();
    assert_eq!(bytes.len(), V2_MAX);
    let mut rules = Rules::DEFAULT;
    rules.limits.header = V2_MAX;
    let (header, length) = Header::parse(bytes, &rules).unwrap().unwrap();
    assert_eq!((header.source(), header.tlvs().count(), length), (Some(v4), 2, V2_MAX));
}
