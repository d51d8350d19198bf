//! The vectors of `vectors/proxy.tsv`: whole, cut at every byte, and byte by byte.

#[path = "vectors/reader.rs"]
mod reader;

use std::collections::BTreeSet;

use proto_proxy::{Decoder, Header, HeaderWriter, Rules, Version, ViolationKind, write_v1};
use reader::{show, vectors};

/// Shows `bytes` in pieces that end at `ends`, and returns the outcome and what is left in the input.
fn read(rules: Rules, bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> (String, usize) {
    let mut decoder = Decoder::new(rules);
    for end in ends {
        let mut input = &bytes[..end];
        match decoder.next(&mut input) {
            Ok(None) => assert_eq!(input.len(), end, "bytes of an unfinished header were taken"),
            Ok(Some(header)) => {
                let taken = end - input.len();
                assert_eq!(taken, header.as_bytes().len());
                return (show(Ok(Some(header))), bytes.len() - taken);
            }
            Err(violation) => {
                assert_eq!(
                    decoder.next(&mut &b"PROXY UNKNOWN\r\n"[..]),
                    Err(violation),
                    "a failure is final"
                );
                return (show(Err(violation)), bytes.len());
            }
        }
    }
    ("more".to_owned(), bytes.len())
}

#[test]
fn whole_and_in_pieces() {
    for vector in vectors() {
        let bytes = &vector.bytes;
        let whole = read(vector.rules, bytes, [bytes.len()]);
        assert_eq!(whole.0, vector.outcome, "{}", vector.name);
        for cut in 0..bytes.len() {
            assert_eq!(
                read(vector.rules, bytes, [cut, bytes.len()]),
                whole,
                "{} cut at {cut}",
                vector.name
            );
        }
        assert_eq!(
            read(vector.rules, bytes, 0..=bytes.len()),
            whole,
            "{} byte by byte",
            vector.name
        );
    }
}

#[test]
fn no_fault_is_seen_later_than_at_its_byte() {
    use ViolationKind as Kind;
    for vector in vectors() {
        let Err(violation) = Header::parse(&vector.bytes, &vector.rules) else {
            continue;
        };
        let whole = matches!(
            violation.kind(),
            Kind::Tlv
                | Kind::Authority
                | Kind::ChecksumLength
                | Kind::ChecksumRepeated
                | Kind::Checksum
                | Kind::UniqueId
                | Kind::Ssl
                | Kind::SslText
                | Kind::Netns
        );
        let offset = violation.offset();
        let end = if whole { vector.bytes.len() } else { offset + 1 };
        for shorter in offset..end {
            assert_eq!(
                Header::parse(&vector.bytes[..shorter], &vector.rules),
                Ok(None),
                "{}",
                vector.name
            );
        }
        assert_eq!(
            Header::parse(&vector.bytes[..end], &vector.rules),
            Err(violation),
            "{}",
            vector.name
        );
    }
}

#[test]
fn every_kind_of_violation_has_a_vector() {
    let seen: BTreeSet<_> = vectors()
        .iter()
        .filter_map(|vector| vector.outcome.strip_prefix("error ")?.split(' ').next())
        .collect();
    for kind in ViolationKind::ALL {
        assert!(seen.contains(kind.name()), "{}", kind.name());
    }
}

#[test]
fn what_was_read_is_written_the_same() {
    let mut written = 0;
    for vector in vectors() {
        let Ok(Some((header, _))) = Header::parse(&vector.bytes, &vector.rules) else {
            continue;
        };
        let mut memory = vec![0; 8192];
        let bytes = match header.version() {
            Version::V1 => write_v1(&mut memory, header.addresses()).unwrap(),
            Version::V2 if header.command() == proto_proxy::Command::Local => {
                HeaderWriter::local(&mut memory).unwrap().finish()
            }
            Version::V2 => {
                let mut writer = HeaderWriter::proxy(&mut memory, header.addresses()).unwrap();
                header.tlvs().for_each(|tlv| writer.tlv(&tlv).unwrap());
                let bytes = writer.finish();
                assert_eq!(bytes, header.as_bytes(), "{}", vector.name);
                bytes
            }
        };
        // Version 1 has several texts for one address, so the parsed headers are compared.
        let (again, _) = Header::parse(bytes, &Rules::DEFAULT).unwrap().unwrap();
        assert_eq!(again.addresses(), header.addresses(), "{}", vector.name);
        assert_eq!((again.version(), again.command()), (header.version(), header.command()));
        written += 1;
    }
    assert!(written > 40, "{written}");
}
