//! Reads packets from a pcap or pcapng file, down to TCP.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError};

use super::Finding;
use super::flow::{Flows, Segment};

/// The largest packet, or file block, in bytes.
const LARGEST: usize = 256 << 10;

/// Whether a file with this start contains packets.
pub(super) fn is_capture(start: &[u8]) -> bool {
    // pcap with microseconds or nanoseconds, in either byte order; pcapng.
    matches!(
        start,
        [0xd4, 0xc3, 0xb2, 0xa1, ..]
            | [0xa1, 0xb2, 0xc3, 0xd4, ..]
            | [0x4d, 0x3c, 0xb2, 0xa1, ..]
            | [0xa1, 0xb2, 0x3c, 0x4d, ..]
            | [0x0a, 0x0d, 0x0d, 0x0a, ..]
    )
}

/// Reads all packets, and passes the findings to `tell`.
pub(super) fn read(input: impl Read + Send, tell: &mut dyn FnMut(Finding) -> io::Result<()>) -> io::Result<()> {
    let broken = |error: &dyn std::fmt::Debug| {
        io::Error::new(io::ErrorKind::InvalidData, format!("the capture is broken: {error:?}"))
    };
    let mut reader = pcap_parser::create_reader(LARGEST, input).map_err(|error| broken(&error))?;
    // A pcap file has one link type, pcapng one for each interface.
    let mut links = Vec::new();
    let (mut flows, mut found) = (Flows::default(), Vec::new());
    loop {
        match reader.next() {
            Ok((length, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => links = vec![header.network],
                    PcapBlockOwned::Legacy(packet) => self::packet(links.first(), packet.data, &mut flows, &mut found),
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => links.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => links.push(interface.linktype),
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let data = packet.data.get(..packet.caplen as usize).unwrap_or(packet.data);
                        self::packet(links.get(packet.if_id as usize), data, &mut flows, &mut found);
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        self::packet(links.first(), packet.data, &mut flows, &mut found);
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                reader.consume(length);
                found.drain(..).try_for_each(&mut *tell)?;
            }
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => reader.refill().map_err(|error| broken(&error))?,
            // A truncated capture is read as far as possible.
            Err(PcapError::UnexpectedEof) => break,
            Err(error) => return Err(broken(&error)),
        }
    }
    flows.end(&mut found);
    found.drain(..).try_for_each(tell)
}

fn packet(link: Option<&Linktype>, data: &[u8], flows: &mut Flows, found: &mut Vec<Finding>) {
    let sliced = match link {
        Some(&Linktype::ETHERNET) => SlicedPacket::from_ethernet(data).ok(),
        Some(&Linktype::LINUX_SLL) => SlicedPacket::from_linux_sll(data).ok(),
        // Linux's capture of all interfaces: a header of 20 bytes.
        Some(&Linktype(276)) => data.get(20..).and_then(|data| SlicedPacket::from_ip(data).ok()),
        // The loopback interface of BSD and macOS: a header of 4 bytes.
        Some(&Linktype::NULL | &Linktype::LOOP) => data.get(4..).and_then(|data| SlicedPacket::from_ip(data).ok()),
        Some(&Linktype::RAW | &Linktype::IPV4 | &Linktype::IPV6) => SlicedPacket::from_ip(data).ok(),
        _ => None,
    };
    let Some(SlicedPacket {
        net: Some(net),
        transport: Some(TransportSlice::Tcp(tcp)),
        ..
    }) = sliced
    else {
        return;
    };
    let (from, to): (IpAddr, IpAddr) = match &net {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => return,
    };
    let segment = Segment {
        from: SocketAddr::new(from, tcp.source_port()),
        to: SocketAddr::new(to, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        payload: tcp.payload(),
    };
    flows.segment(&segment, found);
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    /// A pcap file of one request, in IPv4 over Ethernet.
    fn capture() -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
            file.extend(word.to_le_bytes());
        }
        let request = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
        let builder = PacketBuilder::ethernet2([0; 6], [0; 6])
            .ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64)
            .tcp(5000, 80, 1, 1024);
        let mut packet = Vec::new();
        builder.write(&mut packet, request).unwrap();
        for word in [0, 0, packet.len() as u32, packet.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
        file
    }

    #[test]
    fn packets_are_taken_apart() {
        let file = capture();
        assert!(is_capture(&file));
        let mut found = Vec::new();
        read(&file[..], &mut |finding| {
            found.push(finding.text);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, ["127.0.0.1:5000 to 127.0.0.1:80", "GET /a, 1 fields"]);
    }

    /// A capture that the `protocol` crate's tracer wrote: a request in two pieces, and its answer.
    #[test]
    fn captures_of_the_tracer_are_read() {
        use std::time::{Instant, SystemTime};

        use protocol::testing::Harness;
        use protocol::{Capture, Cx, Input, Simple, Tracer};

        let answers = Simple(|cx: &mut Cx<'_>, input: &mut Input<'_>| {
            if input.as_slice().ends_with(b"\r\n\r\n") {
                input.take_all();
                cx.send(b"HTTP/1.1 204 No Content\r\n\r\n");
            }
        });
        let capture = Capture::new(Vec::new(), SystemTime::now(), Instant::now()).unwrap();
        let (server, client) = ("192.0.2.2:80".parse().unwrap(), "192.0.2.1:4242".parse().unwrap());
        let mut harness = Harness::new(Tracer::new(answers, &capture, server, client));
        harness.receive(b"GET /a HTTP/1.1\r\nHo");
        harness.receive(b"st: x\r\n\r\n");
        harness.eof();
        drop(harness);
        let file = capture.into_inner().unwrap();
        let mut found = Vec::new();
        read(&file[..], &mut |finding| {
            found.push(finding.text);
            Ok(())
        })
        .unwrap();
        let expected = ["192.0.2.1:4242 to 192.0.2.2:80", "GET /a, 1 fields"];
        assert_eq!(found[..2], expected);
        assert!(found.iter().any(|text| text.contains("204")), "{found:?}");
        assert!(!found.iter().any(|text| text.contains("missing")), "{found:?}");
    }

    #[test]
    fn broken_captures_do_no_harm() {
        let file = capture();
        for end in (0..file.len()).step_by(5) {
            let _ = read(&file[..end], &mut |_| Ok(()));
        }
        for at in (0..file.len()).step_by(3) {
            let mut file = file.clone();
            file[at] ^= 0xff;
            let _ = read(&file[..], &mut |_| Ok(()));
        }
    }
}
