//! PROXY headers: the result is the same for any cuts. A plain reading of the specification gives the same result, and does not find a
//! fault earlier. A header that was read is written the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proto_proxy::{Addresses, Command, Decoder, Header, HeaderWriter, Rules, Transport, Version, Violation, write_v1};

use crate::cuts::{cuts, whole};

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut wide = Rules::DEFAULT;
    wide.limits.header = usize::MAX;
    for rules in [Rules::DEFAULT, wide] {
        let outcome = read(&rules, data, &whole(data));
        for ends in cuts(data) {
            assert_eq!(read(&rules, data, &ends), outcome, "cuts changed the outcome");
        }
        assert_eq!(
            Header::parse(data, &rules).map(|found| found.map(|(header, _)| header)),
            outcome
        );
        if let Err(violation) = outcome {
            let before = Header::parse(&data[..violation.offset()], &rules);
            assert_eq!(before, Ok(None), "refused before the byte at fault");
        }
        if let Ok(Some(header)) = outcome {
            write(&header);
        }
    }
    let ours = Header::parse(data, &wide).ok().flatten();
    let ours = ours.map(|(header, length)| (header.command(), *header.addresses(), length));
    assert_eq!(ours, plain(data), "the plain reader disagrees");
}

/// Reads the header, offered in pieces that end at `ends`.
fn read<'a>(rules: &Rules, data: &'a [u8], ends: &[usize]) -> Result<Option<Header<'a>>, Violation> {
    let mut decoder = Decoder::new(*rules);
    for &end in ends {
        let mut input = &data[..end];
        match decoder.next(&mut input) {
            Ok(None) => assert_eq!(input.len(), end, "bytes of an unfinished header were taken"),
            Ok(Some(header)) => {
                assert_eq!(end - input.len(), header.as_bytes().len());
                return Ok(Some(header));
            }
            Err(violation) => {
                assert_eq!(
                    decoder.next(&mut &b"P"[..]),
                    Err(violation),
                    "a failed decoder continued"
                );
                return Err(violation);
            }
        }
    }
    Ok(None)
}

/// Panics when the header is not written as it was read.
fn write(header: &Header<'_>) {
    let mut memory = vec![0; header.as_bytes().len().max(256)];
    let written = match (header.version(), header.command()) {
        (Version::V1, _) => write_v1(&mut memory, header.addresses()).unwrap(),
        (Version::V2, Command::Local) => HeaderWriter::local(&mut memory).unwrap().finish(),
        (Version::V2, Command::Proxy) => {
            let mut writer = HeaderWriter::proxy(&mut memory, header.addresses()).unwrap();
            header.tlvs().for_each(|tlv| writer.tlv(&tlv).unwrap());
            writer.finish()
        }
    };
    if header.version() == Version::V2 && header.command() == Command::Proxy {
        assert_eq!(written, header.as_bytes());
    }
    let mut wide = Rules::DEFAULT;
    wide.limits.header = usize::MAX;
    let (again, length) = Header::parse(written, &wide).unwrap().unwrap();
    assert_eq!(length, written.len());
    assert_eq!(
        (again.version(), again.command(), again.addresses()),
        (header.version(), header.command(), header.addresses())
    );
}

type Plain = (Command, Addresses, usize);

/// A plain reader of the header at the start of `data`.
fn plain(data: &[u8]) -> Option<Plain> {
    if data.starts_with(b"PROXY ") {
        plain_line(data)
    } else {
        plain_block(data)
    }
}

fn plain_line(data: &[u8]) -> Option<Plain> {
    let end = data.iter().take(107).position(|&byte| byte == b'\n')?;
    let line = data[..end].strip_suffix(b"\r")?;
    if line.contains(&b'\r') {
        return None;
    }
    let length = end + 1;
    let unknown = line.strip_prefix(b"PROXY UNKNOWN");
    if unknown.is_some_and(|rest| rest.is_empty() || rest[0] == b' ') {
        return Some((Command::Proxy, Addresses::Unspecified, length));
    }
    let text = std::str::from_utf8(line).ok()?;
    let ["PROXY", protocol, source, destination, source_port, destination_port] =
        text.split(' ').collect::<Vec<_>>()[..]
    else {
        return None;
    };
    let address = |text: &str| -> Option<IpAddr> {
        match protocol {
            "TCP4" => Some(text.parse::<Ipv4Addr>().ok()?.into()),
            "TCP6" => Some(text.parse::<Ipv6Addr>().ok()?.into()),
            _ => None,
        }
    };
    let port = |text: &str| {
        let number = text.parse::<u16>().ok()?;
        (number.to_string() == text).then_some(number)
    };
    let source = SocketAddr::new(address(source)?, port(source_port)?);
    let destination = SocketAddr::new(address(destination)?, port(destination_port)?);
    Some((Command::Proxy, Addresses::tcp(source, destination), length))
}

fn plain_block(data: &[u8]) -> Option<Plain> {
    let rest = data.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let [command, family, high, low, rest @ ..] = rest else {
        return None;
    };
    let length = usize::from(*high) * 256 + usize::from(*low);
    let block = rest.get(..length)?;
    let length = 16 + length;
    let unspecified = Addresses::Unspecified;
    match command {
        0x20 => return Some((Command::Local, unspecified, length)),
        0x21 => {}
        _ => return None,
    }
    let transport = match family & 15 {
        1 => Transport::Stream,
        _ => Transport::Datagram,
    };
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    let (addresses, used) = match family {
        0 => (unspecified, 0),
        0x11 | 0x12 if block.len() >= 12 => {
            let ip = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&block[at..at + 4]).unwrap());
            let addresses = Addresses::Ip {
                transport,
                source: (ip(0), port(8)).into(),
                destination: (ip(4), port(10)).into(),
            };
            (addresses, 12)
        }
        0x21 | 0x22 if block.len() >= 36 => {
            let ip = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&block[at..at + 16]).unwrap());
            let addresses = Addresses::Ip {
                transport,
                source: (ip(0), port(32)).into(),
                destination: (ip(16), port(34)).into(),
            };
            (addresses, 36)
        }
        0x31 | 0x32 if block.len() >= 216 => {
            let addresses = Addresses::Unix {
                transport,
                source: proto_proxy::UnixAddress::new(&block[..108]).unwrap(),
                destination: proto_proxy::UnixAddress::new(&block[108..216]).unwrap(),
            };
            (addresses, 216)
        }
        _ => return None,
    };
    let tlvs = plain_tlvs(&block[used..])?;
    let mut sums = tlvs.iter().filter(|(_, kind, _)| *kind == 3);
    if let Some((at, _, value)) = sums.next() {
        if value.len() != 4 {
            return None;
        }
        let at = 16 + used + at + 3;
        let mut zeroed = data[..length].to_vec();
        zeroed[at..at + 4].fill(0);
        if sums.next().is_some() || crc32c(&zeroed).to_be_bytes() != **value {
            return None;
        }
    }
    let fine = tlvs.iter().all(|&(_, kind, value)| match kind {
        2 => std::str::from_utf8(value).is_ok(),
        5 => value.len() <= 128,
        0x20 => value.len() >= 5 && plain_tlvs(&value[5..]).is_some_and(|inner| inner.iter().all(plain_ssl)),
        0x30 => value.is_ascii(),
        _ => true,
    });
    fine.then_some((Command::Proxy, addresses, length))
}

fn plain_ssl(&(_, kind, value): &(usize, u8, &[u8])) -> bool {
    match kind {
        0x22 => std::str::from_utf8(value).is_ok(),
        0x21 | 0x23..=0x25 => value.is_ascii(),
        _ => true,
    }
}

/// The position, type and value of each TLV.
fn plain_tlvs(bytes: &[u8]) -> Option<Vec<(usize, u8, &[u8])>> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let [kind, high, low] = *bytes.get(at..at + 3)? else {
            return None;
        };
        let end = at + 3 + usize::from(high) * 256 + usize::from(low);
        all.push((at, kind, bytes.get(at + 3..end)?));
        at = end;
    }
    Some(all)
}

/// The CRC32c of `bytes`, bit by bit, with the polynomial of RFC 4960 appendix B.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut rest = u32::MAX;
    for &byte in bytes {
        rest ^= u32::from(byte);
        for _ in 0..8 {
            rest = if rest & 1 == 1 {
                rest >> 1 ^ 0x82f6_3b78
            } else {
                rest >> 1
            };
        }
    }
    !rest
}
