//! TCP/IP packets in pcap records.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The most content of one packet, so that content and headers fit in 64 KiB.
pub(super) const PAYLOAD_MAX: usize = 60_000;

/// Packets begin with an IP header (LINKTYPE_RAW).
const LINKTYPE_RAW: u32 = 101;
const TCP: u8 = 6;
const TCP_HEADER: usize = 20;

/// The flags of a packet. All but the first SYN have ACK set as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const FIN: Flags = Flags(0x01);
    pub(super) const SYN: Flags = Flags(0x02);
    pub(super) const RST: Flags = Flags(0x04);
    pub(super) const PUSH: Flags = Flags(0x08);
    const ACK: u8 = 0x10;
}

/// One connection: its two ends, and the next sequence number of each. The first end is the traced side.
#[derive(Debug)]
pub(super) struct Stream {
    ends: [SocketAddr; 2],
    next: [u32; 2],
}

/// The header of a capture: timestamps in microseconds, packets of any length.
pub(super) fn file_header() -> [u8; 24] {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    header[4..6].copy_from_slice(&2_u16.to_le_bytes());
    header[6..8].copy_from_slice(&4_u16.to_le_bytes());
    header[16..20].copy_from_slice(&(u32::from(u16::MAX) + 1).to_le_bytes());
    header[20..].copy_from_slice(&LINKTYPE_RAW.to_le_bytes());
    header
}

impl Stream {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Stream {
            ends: [local, remote],
            next: [0; 2],
        }
    }

    /// Appends a record with one packet.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, time: Duration, outgoing: bool, flags: Flags, payload: &[u8]) {
        let from = usize::from(!outgoing);
        let (source, target) = (self.ends[from], self.ends[1 - from]);
        let mut tcp = Vec::with_capacity(TCP_HEADER + payload.len());
        tcp.extend_from_slice(&source.port().to_be_bytes());
        tcp.extend_from_slice(&target.port().to_be_bytes());
        tcp.extend_from_slice(&self.next[from].to_be_bytes());
        let first = flags == Flags::SYN && self.next[1 - from] == 0;
        tcp.extend_from_slice(&self.next[1 - from].to_be_bytes());
        let ack = if first { 0 } else { Flags::ACK };
        tcp.extend_from_slice(&[(TCP_HEADER as u8 / 4) << 4, flags.0 | ack, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend_from_slice(payload);
        let counts = u32::from(flags == Flags::SYN || flags == Flags::FIN);
        // Content has at most 60,000 bytes.
        self.next[from] = self.next[from].wrapping_add(payload.len() as u32 + counts);
        let ip = ip_header(source.ip(), target.ip(), &mut tcp);
        let length = (ip.len() + tcp.len()) as u32;
        // The format has 32 bits for the seconds, which last until 2106.
        out.extend_from_slice(&(time.as_secs() as u32).to_le_bytes());
        out.extend_from_slice(&time.subsec_micros().to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&ip);
        out.extend_from_slice(&tcp);
    }
}

/// The IP header for `tcp`, whose checksum it also computes. For addresses of different families, the header is IPv6.
fn ip_header(source: IpAddr, target: IpAddr, tcp: &mut [u8]) -> Vec<u8> {
    let length = tcp.len() as u16;
    let mut header;
    let pseudo;
    if let (IpAddr::V4(source), IpAddr::V4(target)) = (source, target) {
        header = vec![0x45, 0];
        header.extend_from_slice(&(20 + length).to_be_bytes());
        header.extend_from_slice(&[0, 0, 0x40, 0, 64, TCP, 0, 0]);
        header.extend_from_slice(&source.octets());
        header.extend_from_slice(&target.octets());
        let checksum = !sum(0, &header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        pseudo = sum(0, &header[12..20]);
    } else {
        let v6 = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let (source, target): (Ipv6Addr, Ipv6Addr) = (v6(source), v6(target));
        header = vec![0x60, 0, 0, 0];
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&[TCP, 64]);
        header.extend_from_slice(&source.octets());
        header.extend_from_slice(&target.octets());
        pseudo = sum(0, &header[8..40]);
    }
    let pseudo = sum(pseudo, &[0, TCP, (length >> 8) as u8, length as u8]);
    let checksum = !sum(pseudo, tcp);
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// The ones' complement sum of 16-bit words (RFC 1071 section 1).
fn sum(start: u16, bytes: &[u8]) -> u16 {
    let mut sum = u64::from(start);
    for word in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 section 3.
    #[test]
    fn checksums() {
        assert_eq!(sum(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        let (local, remote) = ("192.0.2.2:80".parse().unwrap(), "192.0.2.1:4242".parse().unwrap());
        let mut record = Vec::new();
        Stream::new(local, remote).write(&mut record, Duration::from_micros(7), true, Flags::PUSH, b"odd");
        let packet = &record[16..];
        assert_eq!(packet.len(), 20 + 20 + 3);
        // Data that includes its own checksum sums up to all ones.
        assert_eq!(sum(0, &packet[..20]), 0xffff);
        let pseudo = sum(sum(0, &packet[12..20]), &[0, TCP, 0, 23]);
        assert_eq!(sum(pseudo, &packet[20..]), 0xffff);
    }
}
