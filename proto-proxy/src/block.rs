//! Version 2: a signature, a fixed part with the length, and the block it announces (proxy-protocol.txt section 2.2).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::checksum::crc32c;
use crate::{Addresses, Command, Header, Rules, Tlvs, Transport, UnixAddress, Version, Violation, ViolationKind};

/// The signature of every version 2 header. Its first byte distinguishes it from version 1.
pub(crate) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes in front of the addresses.
pub(crate) const FIXED: usize = 16;

pub(crate) const VERSION: u8 = 0x20;
pub(crate) const LOCAL: u8 = 0x0;
pub(crate) const PROXY: u8 = 0x1;

pub(crate) const UNSPEC: u8 = 0x00;
const TCP4: u8 = INET | STREAM;
const UDP4: u8 = INET | DATAGRAM;
const TCP6: u8 = INET6 | STREAM;
const UDP6: u8 = INET6 | DATAGRAM;
const UNIX_STREAM: u8 = UNIX | STREAM;
const UNIX_DATAGRAM: u8 = UNIX | DATAGRAM;

pub(crate) const INET: u8 = 0x10;
pub(crate) const INET6: u8 = 0x20;
pub(crate) const UNIX: u8 = 0x30;
pub(crate) const STREAM: u8 = 0x1;
pub(crate) const DATAGRAM: u8 = 0x2;

/// The length of a header, from its first 16 bytes; `None` if they are incomplete. The first `checked` bytes were validated before.
pub(crate) fn length(input: &[u8], checked: usize, rules: &Rules) -> Result<Option<usize>, Violation> {
    let at = |index: usize| input.get(index).copied().unwrap_or_default();
    for (index, &byte) in input.iter().enumerate().take(FIXED).skip(checked) {
        let checked = match index {
            12 => command(byte),
            13 if at(12) != VERSION | LOCAL && addresses_length(byte).is_none() => Err(ViolationKind::Family),
            13 => Ok(()),
            // The high byte of the length may already show that the header is too long or too short.
            14 => bounded([byte, 0], [byte, 0xff], at(12), at(13), rules),
            15 => bounded([at(14), byte], [at(14), byte], at(12), at(13), rules),
            _ if SIGNATURE.get(index) != Some(&byte) => Err(ViolationKind::Signature),
            _ => Ok(()),
        };
        checked.map_err(|kind| Violation::new(kind, index))?;
    }
    let [.., high, low] = *input.first_chunk::<FIXED>().unwrap_or(&[0; FIXED]);
    let whole = FIXED + usize::from(u16::from_be_bytes([high, low]));
    Ok((input.len() >= FIXED).then_some(whole))
}

fn command(byte: u8) -> Result<(), ViolationKind> {
    match (byte & 0xf0, byte & 0x0f) {
        (VERSION, LOCAL | PROXY) => Ok(()),
        (VERSION, _) => Err(ViolationKind::Command),
        _ => Err(ViolationKind::Version),
    }
}

/// Checks that a length between `least` and `most` can be within the limit and long enough for the addresses.
fn bounded(least: [u8; 2], most: [u8; 2], command: u8, family: u8, rules: &Rules) -> Result<(), ViolationKind> {
    let [least, most] = [least, most].map(|bytes| usize::from(u16::from_be_bytes(bytes)));
    let addresses = if command == VERSION | LOCAL {
        0 // the family is ignored
    } else {
        addresses_length(family).unwrap_or_default()
    };
    if FIXED + least > rules.limits.header {
        Err(ViolationKind::TooLong)
    } else if most < addresses {
        Err(ViolationKind::TooShort)
    } else {
        Ok(())
    }
}

/// Bytes of both endpoints for a family and transport.
const fn addresses_length(family: u8) -> Option<usize> {
    Some(match family {
        UNSPEC => 0,
        TCP4 | UDP4 => 12,
        TCP6 | UDP6 => 36,
        UNIX_STREAM | UNIX_DATAGRAM => 2 * UnixAddress::LENGTH,
        _ => return None,
    })
}

/// Reads a complete header whose first 16 bytes are valid.
pub(crate) fn read(bytes: &[u8]) -> Result<Header<'_>, Violation> {
    let header = |command, addresses, tlvs| Header {
        version: Version::V2,
        command,
        addresses,
        tlvs,
        bytes,
    };
    let Some((&[.., command, family, _, _], block)) = bytes.split_first_chunk::<FIXED>() else {
        return Err(Violation::new(ViolationKind::Signature, 0));
    };
    if command == VERSION | LOCAL {
        // The whole block of a LOCAL command is ignored (section 2.2).
        return Ok(header(Command::Local, Addresses::Unspecified, &[]));
    }
    let Some((addresses, tlvs)) = addresses(family, block) else {
        return Err(Violation::new(ViolationKind::TooShort, 15));
    };
    let start = bytes.len() - tlvs.len();
    let checksum = Tlvs::check(tlvs).map_err(|(kind, at)| Violation::new(kind, start + at))?;
    if let Some((at, sum)) = checksum {
        // The checksum covers the header with zeros in the place of the checksum (section 2.2.3).
        let at = start + at;
        let before = bytes.get(..at + 3).unwrap_or_default();
        let behind = bytes.get(at + 7..).unwrap_or_default();
        if crc32c(&[before, &[0; 4], behind]) != sum {
            return Err(Violation::new(ViolationKind::Checksum, at));
        }
    }
    Ok(header(Command::Proxy, addresses, tlvs))
}

/// Takes the addresses off the front of the block.
fn addresses(family: u8, block: &[u8]) -> Option<(Addresses, &[u8])> {
    let transport = if family & 0x0f == STREAM {
        Transport::Stream
    } else {
        Transport::Datagram
    };
    Some(match family {
        TCP4 | UDP4 => {
            let (source, rest) = block.split_first_chunk::<4>()?;
            let (destination, rest) = rest.split_first_chunk::<4>()?;
            ip(transport, Ipv4Addr::from(*source), Ipv4Addr::from(*destination), rest)?
        }
        TCP6 | UDP6 => {
            let (source, rest) = block.split_first_chunk::<16>()?;
            let (destination, rest) = rest.split_first_chunk::<16>()?;
            ip(transport, Ipv6Addr::from(*source), Ipv6Addr::from(*destination), rest)?
        }
        UNIX_STREAM | UNIX_DATAGRAM => {
            let (source, rest) = block.split_first_chunk()?;
            let (destination, rest) = rest.split_first_chunk()?;
            let addresses = Addresses::Unix {
                transport,
                source: UnixAddress::from_padded(*source),
                destination: UnixAddress::from_padded(*destination),
            };
            (addresses, rest)
        }
        _ => (Addresses::Unspecified, block),
    })
}

/// Adds the ports to two addresses.
fn ip<A: Into<IpAddr>>(transport: Transport, source: A, destination: A, rest: &[u8]) -> Option<(Addresses, &[u8])> {
    let (source_port, rest) = rest.split_first_chunk()?;
    let (destination_port, rest) = rest.split_first_chunk()?;
    let addresses = Addresses::Ip {
        transport,
        source: SocketAddr::new(source.into(), u16::from_be_bytes(*source_port)),
        destination: SocketAddr::new(destination.into(), u16::from_be_bytes(*destination_port)),
    };
    Some((addresses, rest))
}
