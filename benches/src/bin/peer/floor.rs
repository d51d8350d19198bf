//! The least work of any server: find the end of each head, or unmask and copy each message.

/// The answer of the testbed, with a date.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 13\r\n\
    Content-Type: text/plain\r\n\r\nHello, World!";
/// Accepts the key of RFC 6455 section 1.3, whatever was sent.
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// One connection. Checks nothing.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    upgraded: bool,
    /// The start of an incomplete request or frame.
    #[expect(clippy::box_collection, reason = "an idle connection is to be small")]
    kept: Option<Box<Vec<u8>>>,
}

impl Floor {
    /// Appends the answers to `input`.
    pub(crate) fn received(&mut self, input: &mut [u8], output: &mut Vec<u8>) {
        if let Some(mut kept) = self.kept.take() {
            kept.extend_from_slice(input);
            self.whole(&mut kept, output);
        } else {
            self.whole(input, output);
        }
    }

    fn whole(&mut self, input: &mut [u8], output: &mut Vec<u8>) {
        let used = if self.upgraded {
            echo(input, output)
        } else if input.starts_with(b"GET /ws") && input.ends_with(b"\r\n\r\n") {
            self.upgraded = true;
            output.extend_from_slice(UPGRADED);
            input.len()
        } else {
            answer(input, output)
        };
        if used < input.len() {
            self.kept = Some(Box::new(input[used..].to_vec()));
        }
    }
}

/// Answers each head. Examines every fourth byte until one may belong to the end of a head.
fn answer(input: &[u8], output: &mut Vec<u8>) -> usize {
    let (mut used, mut at) = (0, 3);
    while let Some(byte) = input.get(at) {
        at += match byte {
            b'\n' if input[at - 3..].starts_with(b"\r\n\r\n") => {
                output.extend_from_slice(ANSWER);
                used = at + 1;
                4
            }
            b'\r' | b'\n' => 1,
            _ => 4,
        };
    }
    used
}

/// Sends each frame back, unmasked.
fn echo(input: &mut [u8], output: &mut Vec<u8>) -> usize {
    let mut used = 0;
    loop {
        let rest = &mut input[used..];
        let (head, length) = match *rest {
            [_, length @ 0x80..=0xfd, ..] => (2, usize::from(length & 0x7f)),
            [_, 0xfe, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
            [_, 0xff, a, b, c, d, e, f, g, h, ..] => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize),
            _ => return used,
        };
        let Some(frame) = rest.get_mut(..head + 4 + length) else {
            return used;
        };
        let (header, payload) = frame.split_at_mut(head + 4);
        let key = [header[head], header[head + 1], header[head + 2], header[head + 3]];
        let mut words = payload.chunks_exact_mut(4);
        for word in &mut words {
            for (byte, key) in word.iter_mut().zip(key) {
                *byte ^= key;
            }
        }
        for (byte, key) in words.into_remainder().iter_mut().zip(key) {
            *byte ^= key;
        }
        header[1] &= 0x7f;
        output.extend_from_slice(&header[..head]);
        output.extend_from_slice(payload);
        used += head + 4 + length;
    }
}
