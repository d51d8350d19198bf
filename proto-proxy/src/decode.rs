//! Decodes a header that arrives in pieces.

use crate::line::Line;
use crate::{Command, Header, Rules, Version, Versions, Violation, ViolationKind, block};

/// Decodes the header at the start of a connection. Allocates nothing.
///
/// ```
/// use proto_proxy::{Decoder, Rules};
///
/// let mut decoder = Decoder::new(Rules::DEFAULT);
/// let mut input = &b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n"[..];
///
/// // Half of the header is there.
/// assert_eq!(decoder.next(&mut &input[..20])?, None);
///
/// let header = decoder.next(&mut input)?.expect("the header is whole");
/// assert_eq!(header.source(), Some("192.168.0.1:56324".parse().unwrap()));
/// assert_eq!(header.destination(), Some("192.168.0.11:443".parse().unwrap()));
/// assert_eq!(input, b"GET / HTTP/1.1\r\n");
///
/// // A client that knows nothing of the PROXY protocol is refused by its first wrong byte.
/// let violation = decoder.next(&mut &b"G"[..]).unwrap_err();
/// assert_eq!(violation.offset(), 0);
/// # Ok::<(), proto_proxy::Violation>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    rules: Rules,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Start,
    /// In a version 1 header.
    Line(Line),
    /// In a version 2 header, of which this many bytes are valid.
    Block(usize),
    Failed(Violation),
}

impl Decoder {
    /// A decoder before the first byte of a header.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Start,
        }
    }

    /// Returns the header, or `None` if it is incomplete. Takes a complete header off the front of `input`. An incomplete one stays there:
    /// at most [`V1_MAX`](crate::V1_MAX) bytes or [`Limits::header`](crate::Limits::header).
    ///
    /// Pass the same bytes again, followed by new ones. Each byte is examined once; only the TLVs of a version 2 header are checked at its
    /// end. After a header the decoder starts over, which is useful only behind a chain of proxies that each prepend a header.
    ///
    /// # Errors
    ///
    /// [`Violation`] at the first byte that cannot be part of a valid header, or when a limit is exceeded. Every later call returns the
    /// same error.
    #[allow(clippy::should_implement_trait, reason = "it borrows from its argument")]
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Header<'a>>, Violation> {
        let header = self.step(input).inspect_err(|&violation| {
            self.state = State::Failed(violation);
        })?;
        if let Some(header) = &header {
            *input = input.get(header.bytes.len()..).unwrap_or_default();
            self.state = State::Start;
        }
        Ok(header)
    }

    fn step<'a>(&mut self, input: &'a [u8]) -> Result<Option<Header<'a>>, Violation> {
        if matches!(self.state, State::Start) {
            let Some(&first) = input.first() else { return Ok(None) };
            self.state = self.begin(first).map_err(|kind| Violation::new(kind, 0))?;
        }
        match &mut self.state {
            State::Line(line) => read_line(line, input),
            State::Block(checked) => {
                let Some(length) = block::length(input, *checked, &self.rules)? else {
                    *checked = input.len();
                    return Ok(None);
                };
                *checked = block::FIXED;
                input.get(..length).map(block::read).transpose()
            }
            State::Failed(violation) => Err(*violation),
            State::Start => Ok(None),
        }
    }

    /// The state for a header that begins with `first`.
    fn begin(&self, first: u8) -> Result<State, ViolationKind> {
        let (state, refused) = match first {
            b'P' => (State::Line(Line::new()), Versions::V2),
            b'\r' => (State::Block(0), Versions::V1),
            _ => return Err(ViolationKind::Signature),
        };
        if self.rules.versions == refused {
            return Err(ViolationKind::VersionRefused);
        }
        Ok(state)
    }
}

fn read_line<'a>(line: &mut Line, input: &'a [u8]) -> Result<Option<Header<'a>>, Violation> {
    for &byte in input.get(line.length()..).unwrap_or_default() {
        let addresses = line.push(byte).map_err(|kind| Violation::new(kind, line.length()))?;
        if let Some(addresses) = addresses {
            return Ok(input.get(..line.length()).map(|bytes| Header {
                version: Version::V1,
                command: Command::Proxy,
                addresses,
                tlvs: &[],
                bytes,
            }));
        }
    }
    Ok(None)
}
