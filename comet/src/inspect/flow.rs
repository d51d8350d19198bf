//! Reassembles connections from packets: TCP segments in order (RFC 9293), and both directions together.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::Finding;
use super::tape::{Agreed, Sender, Tape};

/// Bytes of segments that wait for an earlier one; beyond this limit, the earlier one counts as lost.
const AHEAD: usize = 1 << 20;

/// A captured segment.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) payload: &'a [u8],
}

/// All connections of a capture.
#[derive(Default)]
pub(super) struct Flows {
    flows: HashMap<(SocketAddr, SocketAddr), Flow>,
    count: usize,
}

/// One connection, identified by the addresses of client and server.
struct Flow {
    number: usize,
    agreed: Agreed,
    client: Direction,
    server: Direction,
}

/// One direction.
struct Direction {
    tape: Tape,
    sender: &'static str,
    /// The sequence number of the next byte; `None` before the first segment.
    next: Option<u32>,
    /// Early segments, by their distance from the next byte.
    ahead: BTreeMap<u32, Vec<u8>>,
    waiting: usize,
    ended: bool,
}

impl Flows {
    /// Processes the next segment. Appends findings.
    pub(super) fn segment(&mut self, segment: &Segment<'_>, found: &mut Vec<Finding>) {
        let forth = (segment.from, segment.to);
        let is_reply = self.flows.contains_key(&(segment.to, segment.from));
        let key = if is_reply { (segment.to, segment.from) } else { forth };
        if segment.syn && !is_reply && self.flows.get(&key).is_some_and(Flow::is_over) {
            // A new connection with the same addresses.
            self.flows.remove(&key);
        }
        if !self.flows.contains_key(&key) {
            if segment.payload.is_empty() && !segment.syn {
                return;
            }
            self.count += 1;
            let (from, to) = if self.is_from_server(segment) {
                (key.1, key.0)
            } else {
                key
            };
            let mut opened = Finding::new(0, "connection", format!("{from} to {to}"));
            opened.connection = Some(self.count);
            found.push(opened);
            self.flows.insert((from, to), Flow::new(self.count));
            return self.segment(segment, found);
        }
        let Some(flow) = self.flows.get_mut(&key) else { return };
        flow.segment(segment, is_reply, found);
    }

    /// Whether a connection's first segment comes from the server: a segment with SYN, or with a request, comes from the client.
    fn is_from_server(&self, segment: &Segment<'_>) -> bool {
        !segment.syn && segment.payload.starts_with(b"HTTP/")
    }

    /// The end of the capture.
    pub(super) fn end(mut self, found: &mut Vec<Finding>) {
        let mut flows: Vec<_> = self.flows.drain().map(|(_, flow)| flow).collect();
        flows.sort_by_key(|flow| flow.number);
        for mut flow in flows {
            flow.end(found);
        }
    }
}

impl Flow {
    fn new(number: usize) -> Self {
        Flow {
            number,
            agreed: Agreed::default(),
            client: Direction::new(Sender::Client),
            server: Direction::new(Sender::Server),
        }
    }

    fn is_over(&self) -> bool {
        self.client.ended || self.server.ended
    }

    fn segment(&mut self, segment: &Segment<'_>, is_reply: bool, found: &mut Vec<Finding>) {
        let (this, other) = if is_reply {
            (&mut self.server, &mut self.client)
        } else {
            (&mut self.client, &mut self.server)
        };
        let mut new = Vec::new();
        this.segment(segment, &mut self.agreed, &mut new);
        this.tell(self.number, &mut new, found);
        // A request for an upgrade may have been answered now.
        other.tape.feed(&[], &mut self.agreed, &mut new);
        other.tell(self.number, &mut new, found);
    }

    fn end(&mut self, found: &mut Vec<Finding>) {
        for direction in [&mut self.client, &mut self.server] {
            if direction.ended {
                continue;
            }
            let mut new = Vec::new();
            if !direction.ahead.is_empty() {
                direction.tape.lose(&mut new);
            }
            direction.tape.end(&mut new);
            // A connection that is still open at the end of the capture is not faulty.
            new.retain(|finding| finding.kind != "cut short");
            direction.tell(self.number, &mut new, found);
        }
    }
}

impl Direction {
    fn new(sender: Sender) -> Self {
        Direction {
            tape: Tape::http(sender, false),
            sender: match sender {
                Sender::Client => "client",
                Sender::Server => "server",
            },
            next: None,
            ahead: BTreeMap::new(),
            waiting: 0,
            ended: false,
        }
    }

    fn tell(&self, connection: usize, new: &mut Vec<Finding>, found: &mut Vec<Finding>) {
        found.extend(new.drain(..).map(|finding| Finding {
            connection: Some(connection),
            sender: Some(self.sender),
            ..finding
        }));
    }

    fn segment(&mut self, segment: &Segment<'_>, agreed: &mut Agreed, found: &mut Vec<Finding>) {
        if self.ended {
            return;
        }
        // A SYN takes one sequence number.
        let sequence = segment.sequence.wrapping_add(segment.syn.into());
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(next);
        if ahead as i32 > 0 {
            if self.waiting + segment.payload.len() > AHEAD {
                self.tape.lose(found);
                self.ended = true;
                return;
            }
            self.waiting += segment.payload.len();
            self.ahead.insert(sequence, segment.payload.to_vec());
            return;
        }
        // Removes the part that arrived before.
        let known = next.wrapping_sub(sequence) as usize;
        self.take(segment.payload.get(known..).unwrap_or_default(), agreed, found);
        while let Some((sequence, payload)) = self.due() {
            let known = self.next.unwrap_or(sequence).wrapping_sub(sequence) as usize;
            self.take(payload.get(known..).unwrap_or_default(), agreed, found);
        }
        if segment.fin || segment.rst {
            self.ended = self.ahead.is_empty();
            if self.ended && segment.fin {
                self.tape.end(found);
            }
        }
    }

    /// The next segment that is no longer early.
    fn due(&mut self) -> Option<(u32, Vec<u8>)> {
        let next = self.next?;
        let sequence = *self
            .ahead
            .keys()
            .find(|sequence| sequence.wrapping_sub(next) as i32 <= 0)?;
        let payload = self.ahead.remove(&sequence)?;
        self.waiting -= payload.len();
        Some((sequence, payload))
    }

    fn take(&mut self, payload: &[u8], agreed: &mut Agreed, found: &mut Vec<Finding>) {
        self.next = self.next.map(|next| next.wrapping_add(payload.len() as u32));
        self.tape.feed(payload, agreed, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "127.0.0.1:5000";
    const SERVER: &str = "127.0.0.1:80";

    struct Wire {
        flows: Flows,
        found: Vec<Finding>,
    }

    impl Wire {
        fn new() -> Self {
            Wire {
                flows: Flows::default(),
                found: Vec::new(),
            }
        }

        fn send(&mut self, from: &str, sequence: u32, flags: &str, payload: &[u8]) {
            let to = if from == CLIENT { SERVER } else { CLIENT };
            let segment = Segment {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                sequence,
                syn: flags.contains('S'),
                fin: flags.contains('F'),
                rst: flags.contains('R'),
                payload,
            };
            self.flows.segment(&segment, &mut self.found);
        }

        fn end(mut self) -> Vec<String> {
            self.flows.end(&mut self.found);
            let line = |finding: Finding| {
                format!(
                    "{} {} {}",
                    finding.sender.unwrap_or_default().trim(),
                    finding.kind,
                    finding.text
                )
            };
            self.found.into_iter().map(line).collect()
        }
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

    #[test]
    fn segments_are_put_in_order_and_sent_again() {
        let mut wire = Wire::new();
        // Sequence numbers that wrap around.
        wire.send(CLIENT, u32::MAX - 5, "S", b"");
        wire.send(SERVER, 99, "S", b"");
        let at = |offset: u32| (u32::MAX - 4).wrapping_add(offset);
        wire.send(CLIENT, at(10), "", &REQUEST[10..20]);
        wire.send(CLIENT, at(20), "F", &REQUEST[20..]);
        wire.send(CLIENT, at(0), "", &REQUEST[..10]);
        wire.send(CLIENT, at(5), "", &REQUEST[5..20]);
        wire.send(SERVER, 100, "", &RESPONSE[..20]);
        wire.send(SERVER, 110, "F", &RESPONSE[10..]);
        assert_eq!(
            wire.end(),
            [
                " connection 127.0.0.1:5000 to 127.0.0.1:80",
                "client request GET /, 1 fields",
                "server response 200 OK, 1 fields",
                "server content 2 bytes: hi",
                "server end of content ",
            ]
        );
    }

    #[test]
    fn frames_are_read_once_the_server_has_switched() {
        let mut wire = Wire::new();
        let request = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut early = request.to_vec();
        early.extend(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        wire.send(CLIENT, 1, "", &early);
        wire.send(
            SERVER,
            1,
            "",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x8a\x00",
        );
        assert_eq!(
            wire.end()[1..],
            [
                "client request GET /ws, 3 fields",
                "server response 101 Switching Protocols, 2 fields",
                "server pong 0 bytes: ",
                "client text 5 bytes: Hello",
            ]
        );
    }

    #[test]
    fn lost_segments_are_said_to_be() {
        let mut wire = Wire::new();
        wire.send(CLIENT, 0, "S", b"");
        wire.send(CLIENT, 11, "", &REQUEST[10..]);
        assert_eq!(wire.end()[1..], ["client lost bytes are missing in the capture"]);
    }

    #[test]
    fn a_capture_may_begin_in_the_middle_and_addresses_come_again() {
        let mut wire = Wire::new();
        wire.send(SERVER, 7, "F", RESPONSE);
        wire.send(CLIENT, 1, "S", b"");
        wire.send(CLIENT, 2, "", REQUEST);
        let found = wire.end();
        assert_eq!(found[0], " connection 127.0.0.1:5000 to 127.0.0.1:80");
        assert_eq!(found[1], "server response 200 OK, 1 fields");
        assert_eq!(
            found[4..],
            [
                " connection 127.0.0.1:5000 to 127.0.0.1:80",
                "client request GET /, 1 fields"
            ]
        );
    }
}
