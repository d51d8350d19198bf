//! Decodes HTTP/1 messages and WebSocket frames, with the offset of each and any errors.

mod capture;
mod flow;
mod tape;

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::tape::{Agreed, Sender, Tape};

/// Bytes read at once from a file that is not a capture, as from a socket.
const READ: usize = 64 * 1024;

/// Decodes HTTP/1 and WebSocket bytes, or a capture of packets
#[derive(Args)]
pub(crate) struct Inspect {
    /// A file of bytes or packets (pcap, pcapng), or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The kind of the bytes [default: detected]
    #[arg(long = "as", value_name = "WHAT", value_enum)]
    what: Option<What>,
    /// Prints JSON, an object a line
    #[arg(long)]
    json: bool,
}

/// The kind of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Requests of a client, and its frames after an upgrade
    Requests,
    /// Responses of a server, and its frames after an upgrade
    Responses,
    /// A client's frames, masked
    ClientFrames,
    /// A server's frames
    ServerFrames,
    /// A capture of packets
    Capture,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// Offset in the stream, in bytes.
    offset: u64,
    /// The connection in a capture, and the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<&'static str>,
    kind: &'static str,
    text: String,
    /// The section of the specification that a rejected byte violates.
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<&'static str>,
}

impl Finding {
    fn new(offset: u64, kind: &'static str, text: String) -> Self {
        Finding {
            offset,
            connection: None,
            sender: None,
            kind,
            text,
            section: None,
        }
    }

    fn is_bad(&self) -> bool {
        matches!(self.kind, "REJECTED" | "cut short" | "lost")
    }
}

impl Inspect {
    /// Prints the findings. Returns whether there were no errors.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(crate) fn run(&self) -> io::Result<bool> {
        let mut input = open(&self.file)?;
        let mut start = vec![0; READ];
        let read = fill(&mut input, &mut start)?;
        start.truncate(read);
        let mut printer = Printer::new(self.json);
        match self.what.unwrap_or_else(|| guess(&start)) {
            What::Capture => capture::read(start.as_slice().chain(input), &mut |finding| printer.print(finding))?,
            what => bytes(what, start.as_slice().chain(input), &mut printer)?,
        }
        Ok(printer.all_is_well)
    }
}

/// Reads one direction.
fn bytes(what: What, mut input: impl Read, printer: &mut Printer) -> io::Result<()> {
    let mut tape = match what {
        What::Responses => Tape::http(Sender::Server, true),
        What::ClientFrames => Tape::frames(Sender::Client),
        What::ServerFrames => Tape::frames(Sender::Server),
        What::Requests | What::Capture => Tape::http(Sender::Client, true),
    };
    let (mut agreed, mut found, mut buffer) = (Agreed::default(), Vec::new(), vec![0; READ]);
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            tape.end(&mut found);
        } else {
            tape.feed(&buffer[..read], &mut agreed, &mut found);
        }
        found.drain(..).try_for_each(|finding| printer.print(finding))?;
        if read == 0 {
            return Ok(());
        }
    }
}

fn guess(start: &[u8]) -> What {
    if capture::is_capture(start) {
        return What::Capture;
    }
    match start {
        [b'H', b'T', b'T', b'P', b'/', ..] => What::Responses,
        // The first byte of a frame that begins a message or is a control frame, then the mask bit.
        [0x80.. | 0x01 | 0x02, second, ..] if second & 0x80 != 0 => What::ClientFrames,
        [0x80.. | 0x01 | 0x02, ..] => What::ServerFrames,
        _ => What::Requests,
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    let file =
        File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(Box::new(file))
}

/// Reads until the buffer is full, or the input ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Prints findings.
struct Printer {
    out: io::StdoutLock<'static>,
    json: bool,
    colour: bool,
    all_is_well: bool,
}

impl Printer {
    fn new(json: bool) -> Self {
        let out = io::stdout().lock();
        Printer {
            colour: out.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            out,
            json,
            all_is_well: true,
        }
    }

    fn print(&mut self, finding: Finding) -> io::Result<()> {
        self.all_is_well &= !finding.is_bad();
        if self.json {
            serde_json::to_writer(&mut self.out, &finding)?;
            return writeln!(self.out);
        }
        let (bad, plain) = if self.colour && finding.is_bad() {
            ("\x1b[31m", "\x1b[0m")
        } else {
            ("", "")
        };
        if let Some(connection) = finding.connection {
            write!(self.out, "{connection:>4} {:<6} ", finding.sender.unwrap_or_default())?;
        }
        let Finding { offset, kind, text, .. } = finding;
        writeln!(self.out, "{offset:>8}  {bad}{kind:<14} {text}{plain}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind and offset of the findings, independent of the pieces.
    fn found(what: What, bytes: &[u8]) -> Vec<(u64, &'static str, String)> {
        let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut tape = match what {
                What::Responses => Tape::http(Sender::Server, true),
                What::ClientFrames => Tape::frames(Sender::Client),
                What::ServerFrames => Tape::frames(Sender::Server),
                _ => Tape::http(Sender::Client, true),
            };
            let (mut agreed, mut found) = (Agreed::default(), Vec::new());
            for piece in pieces {
                tape.feed(piece, &mut agreed, &mut found);
            }
            tape.end(&mut found);
            found
                .into_iter()
                .map(|finding| (finding.offset, finding.kind, finding.text))
                .collect::<Vec<_>>()
        };
        let whole = read(&mut std::iter::once(bytes));
        // Content depends on the pieces; everything else must not.
        let without_content = |found: &[(u64, &'static str, String)]| {
            let rest = found.iter().filter(|(_, kind, _)| *kind != "content");
            rest.cloned().collect::<Vec<_>>()
        };
        let by_byte = read(&mut bytes.chunks(1));
        assert_eq!(without_content(&whole), without_content(&by_byte));
        whole
    }

    #[test]
    fn requests_and_what_follows_them() {
        let bytes = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
        let expected = [
            (0, "request", "POST /a, 2 fields"),
            (48, "content", "3 bytes: abc"),
            (51, "end of content", ""),
            (51, "request", "GET /b, 1 fields"),
        ];
        assert_eq!(
            found(What::Requests, bytes),
            expected.map(|(at, kind, text)| (at, kind, text.to_owned()))
        );
    }

    #[test]
    fn an_upgrade_and_the_frames_behind_it() {
        let mut bytes = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_vec();
        let head = bytes.len() as u64;
        bytes.extend(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        bytes.extend(b"\x81\x05Hello");
        let found = found(What::Requests, &bytes);
        assert_eq!((found[1].0, found[1].1, &*found[1].2), (head, "text", "5 bytes: Hello"));
        // A client must mask (RFC 6455 section 5.1).
        assert_eq!((found[2].0, found[2].1), (head + 11, "REJECTED"));
        assert!(found[2].2.contains("without mask"), "{}", found[2].2);
    }

    #[test]
    fn what_is_wrong_is_found_where_it_stands() {
        let found = found(What::Requests, b"GET / HTTP/1.1\r\nHost: x\r\nX : 1\r\n\r\n");
        assert_eq!((found.len(), found[0].1), (1, "REJECTED"));
        assert_eq!(found[0].0, 26);
        assert!(found[0].2.contains("RFC 9112 section 5.1"), "{}", found[0].2);
    }

    #[test]
    fn responses_with_every_kind_of_end() {
        let found = found(
            What::Responses,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n\
              HTTP/1.1 204 No Content\r\n\r\nHTTP/1.0 200 OK\r\n\r\nuntil the end",
        );
        let kinds: Vec<_> = found.iter().map(|(_, kind, _)| *kind).collect();
        assert_eq!(
            kinds,
            [
                "response",
                "response",
                "content",
                "end of content",
                "response",
                "response",
                "content",
                "end of content"
            ]
        );
        assert_eq!(found[3].2, "1 trailer fields");
    }

    #[test]
    fn it_guesses_what_bytes_are() {
        assert_eq!(guess(b"GET / HTTP/1.1"), What::Requests);
        assert_eq!(guess(b"HTTP/1.1 200"), What::Responses);
        assert_eq!(guess(b"\x81\x85abcd"), What::ClientFrames);
        assert_eq!(guess(b"\x81\x05hello"), What::ServerFrames);
        assert_eq!(guess(&[0xd4, 0xc3, 0xb2, 0xa1]), What::Capture);
    }
}
