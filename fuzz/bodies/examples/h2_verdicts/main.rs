//! Shows how wirestate and the crate h2 read HTTP/2 frames. Reads one connection per line from standard input, who receives and the pieces
//! in hexadecimal, separated by tabs, and writes one line for each. `ci/differential.py` compares these lines with each other and with
//! those of two more implementations.
//!
//! usage: h2_verdicts ours|h2. Who receives: `server`, `answering` (a server that answers each complete request), `client` (which has sent
//! a GET on stream 1, a HEAD on 3, and a POST on 5 whose content is still to come), and, for wirestate alone, `hpack`, where the pieces are
//! header blocks.
//!
//! A line has for each piece the items read and the replies, separated by commas, and a tab between pieces; nothing follows `G CODE`, the
//! end of the connection. Texts are written as in [`escaped`].

mod ours;
mod peer;

use std::fmt::Write as _;
use std::io::{self, BufRead, BufWriter, Write};

fn main() -> io::Result<()> {
    let who = std::env::args().nth(1).unwrap_or_default();
    let mut output = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (kind, pieces) = line.split_once('\t').unwrap_or((&line, ""));
        let pieces: Option<Vec<Vec<u8>>> = pieces.split(' ').map(unhex).collect();
        let pieces = pieces.ok_or_else(|| io::Error::other("not in hexadecimal"))?;
        let verdict = match (&*who, kind) {
            ("ours", "hpack") => ours::blocks(&pieces),
            ("ours", "client") => ours::client(&pieces),
            ("ours", _) => ours::server(&pieces, kind == "answering"),
            ("h2", "client") => peer::client(&pieces),
            ("h2", _) => peer::server(&pieces, kind == "answering"),
            _ => return Err(io::Error::other("usage: h2_verdicts ours|h2")),
        };
        writeln!(output, "{}", verdict.join("\t"))?;
    }
    output.flush()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// Visible ASCII except `%`, `&` and `,` is written as it is, any other byte as `%XX`, and an empty text as `-`.
fn escaped(text: &[u8]) -> String {
    if text.is_empty() {
        return "-".into();
    }
    let mut shown = String::new();
    for &byte in text {
        if byte.is_ascii_graphic() && !b"%&,".contains(&byte) {
            shown.push(char::from(byte));
        } else {
            let _ = write!(shown, "%{byte:02X}");
        }
    }
    shown
}

/// The fields sorted by name; fields of the same name keep their order.
fn fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> String {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(name, _)| *name);
    let shown: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    if shown.is_empty() { "-".into() } else { shown.join("&") }
}

/// The items read from one piece. Consecutive content of one stream is joined.
#[derive(Default)]
struct Taken {
    tokens: Vec<String>,
    content: Option<(u32, Vec<u8>)>,
}

impl Taken {
    fn push(&mut self, token: String) {
        self.end_content();
        self.tokens.push(token);
    }

    fn data(&mut self, stream: u32, data: &[u8]) {
        match &mut self.content {
            Some((last, content)) if *last == stream => content.extend_from_slice(data),
            _ => {
                self.end_content();
                self.content = Some((stream, data.to_vec()));
            }
        }
    }

    fn end_content(&mut self) {
        if let Some((stream, content)) = self.content.take() {
            self.tokens.push(format!("D {stream} {}", escaped(&content)));
        }
    }

    /// Adds the replies. Returns whether the connection has ended.
    fn replied(&mut self, out: &[u8]) -> bool {
        self.end_content();
        let mut rest = out.strip_prefix(proto_h2::PREFACE.as_slice()).unwrap_or(out);
        let mut over = false;
        while let Some((head, behind)) = rest.split_first_chunk::<9>() {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let (payload, behind) = behind.split_at_checked(length).unwrap_or((behind, &[]));
            let code = |at: usize| {
                let octets = payload.get(at..at + 4).and_then(|octets| octets.try_into().ok());
                octets.map_or(0, u32::from_be_bytes)
            };
            match head[3] {
                3 => self.tokens.push(format!("R {stream} {}", code(0))),
                4 if head[4] & 1 == 1 => self.tokens.push("A".into()),
                6 if head[4] & 1 == 1 => self.tokens.push(format!("P {}", escaped(payload))),
                7 => {
                    self.tokens.push(format!("G {}", code(4)));
                    over = true;
                }
                _ => {}
            }
            rest = behind;
        }
        over
    }

    /// Removes resets that the implementation under test caused itself: it has sent the reset to the other side, or has ended the
    /// connection.
    fn drop_own_resets(&mut self, over: bool) {
        let own: Vec<_> = self
            .tokens
            .iter()
            .filter_map(|token| token.strip_prefix("R "))
            .collect();
        let own: Vec<_> = own
            .iter()
            .filter_map(|token| token.split(' ').next())
            .map(String::from)
            .collect();
        self.tokens.retain(|token| {
            let stream = token.strip_prefix("X ").and_then(|token| token.split(' ').next());
            stream.is_none_or(|stream| !over && !own.iter().any(|own| own == stream))
        });
    }

    fn line(&self) -> String {
        if self.tokens.is_empty() {
            "-".into()
        } else {
            self.tokens.join(",")
        }
    }
}
