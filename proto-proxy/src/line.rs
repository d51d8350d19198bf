//! Version 1: a line of text, parsed byte by byte (proxy-protocol.txt section 2.1).

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::text::{Ipv4Text, Ipv6Text, Number};
use crate::{Addresses, V1_MAX, ViolationKind};

const TCP4: &[u8] = b"PROXY TCP4 ";
const TCP6: &[u8] = b"PROXY TCP6 ";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN";

/// Offsets at which the three first words differ: `TCP` from `UNKNOWN`, and `TCP4` from `TCP6`.
const PROTOCOL: usize = 6;
const VERSION_OF_IP: usize = 9;

/// The state of a partly read line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Valid bytes read so far.
    length: usize,
    /// The expected first word, as far as the bytes so far determine it.
    word: &'static [u8],
    part: Part,
    addresses: [IpAddr; 2],
    source_port: u16,
    destination_port: u16,
}

/// The part of the line that the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Part {
    Word,
    Ipv4 {
        destination: bool,
        text: Ipv4Text,
    },
    Ipv6 {
        destination: bool,
        text: Ipv6Text,
    },
    SourcePort(Number),
    DestinationPort(Number),
    /// After `UNKNOWN`: the end of the line, or a space.
    Unknown,
    /// After that space: everything up to the end of the line is ignored.
    Ignored,
    /// The CR was read.
    End(Outcome),
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Unknown,
    Tcp,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self {
            length: 0,
            word: TCP4,
            part: Part::Word,
            addresses: [IpAddr::V4(Ipv4Addr::UNSPECIFIED); 2],
            source_port: 0,
            destination_port: 0,
        }
    }

    /// Bytes read so far. If `push` fails, this is the offset of the invalid byte.
    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    /// Takes the next byte. Returns the addresses at the LF.
    pub(crate) fn push(&mut self, byte: u8) -> Result<Option<Addresses>, ViolationKind> {
        if let Part::End(outcome) = self.part {
            if byte != b'\n' {
                return Err(ViolationKind::BareCr);
            }
            self.length += 1;
            return Ok(Some(self.addresses(outcome)));
        }
        // The last two bytes of the longest line are its CRLF.
        if self.length + 2 == V1_MAX && byte != b'\r' {
            return Err(ViolationKind::LineTooLong);
        }
        if byte == b'\n' && self.length >= PROTOCOL {
            return Err(ViolationKind::BareLf);
        }
        self.part = self.step(byte)?;
        self.length += 1;
        Ok(None)
    }

    /// The part of the line that follows when `byte` is read.
    fn step(&mut self, byte: u8) -> Result<Part, ViolationKind> {
        Ok(match self.part {
            Part::Word => return self.word(byte),
            Part::Ipv4 { destination, mut text } => {
                if byte == b' ' {
                    let address = text.finish().map_err(|_| ViolationKind::Address)?;
                    let next = Part::Ipv4 {
                        destination: true,
                        text: Ipv4Text::default(),
                    };
                    self.address(destination, address.into(), next)
                } else {
                    text.push(byte).map_err(|_| ViolationKind::Address)?;
                    Part::Ipv4 { destination, text }
                }
            }
            Part::Ipv6 { destination, mut text } => {
                if byte == b' ' {
                    let address = text.finish().map_err(|_| ViolationKind::Address)?;
                    let next = Part::Ipv6 {
                        destination: true,
                        text: Ipv6Text::default(),
                    };
                    self.address(destination, address.into(), next)
                } else {
                    text.push(byte).map_err(|_| ViolationKind::Address)?;
                    Part::Ipv6 { destination, text }
                }
            }
            Part::SourcePort(mut number) => {
                if byte == b' ' {
                    self.source_port = port(number)?;
                    Part::DestinationPort(Number::default())
                } else {
                    digit(&mut number, byte)?;
                    Part::SourcePort(number)
                }
            }
            Part::DestinationPort(mut number) => {
                if byte == b'\r' {
                    self.destination_port = port(number)?;
                    Part::End(Outcome::Tcp)
                } else {
                    digit(&mut number, byte)?;
                    Part::DestinationPort(number)
                }
            }
            Part::Unknown if byte == b' ' => Part::Ignored,
            Part::Unknown if byte != b'\r' => return Err(ViolationKind::Protocol),
            Part::Ignored if byte != b'\r' => Part::Ignored,
            Part::Unknown | Part::Ignored => Part::End(Outcome::Unknown),
            Part::End(outcome) => Part::End(outcome),
        })
    }

    /// Continues the first word, one of three.
    fn word(&mut self, byte: u8) -> Result<Part, ViolationKind> {
        match (self.length, byte) {
            (PROTOCOL, b'U') => self.word = UNKNOWN,
            (VERSION_OF_IP, b'6') if self.word == TCP4 => self.word = TCP6,
            _ => {}
        }
        if self.word.get(self.length) != Some(&byte) {
            return Err(if self.length < PROTOCOL {
                ViolationKind::Signature
            } else {
                ViolationKind::Protocol
            });
        }
        Ok(if self.length + 1 < self.word.len() {
            Part::Word
        } else if self.word == UNKNOWN {
            Part::Unknown
        } else if self.word == TCP6 {
            Part::Ipv6 {
                destination: false,
                text: Ipv6Text::default(),
            }
        } else {
            Part::Ipv4 {
                destination: false,
                text: Ipv4Text::default(),
            }
        })
    }

    fn address(&mut self, destination: bool, address: IpAddr, next: Part) -> Part {
        let [source, target] = &mut self.addresses;
        if destination {
            *target = address;
            Part::SourcePort(Number::default())
        } else {
            *source = address;
            next
        }
    }

    fn addresses(&self, outcome: Outcome) -> Addresses {
        let [source, destination] = self.addresses;
        match outcome {
            Outcome::Unknown => Addresses::Unspecified,
            Outcome::Tcp => Addresses::tcp(
                SocketAddr::new(source, self.source_port),
                SocketAddr::new(destination, self.destination_port),
            ),
        }
    }
}

fn digit(number: &mut Number, byte: u8) -> Result<(), ViolationKind> {
    number.push(byte, 0xffff).map_err(|_| ViolationKind::Port)
}

fn port(number: Number) -> Result<u16, ViolationKind> {
    let number = number.finish().map_err(|_| ViolationKind::Port)?;
    u16::try_from(number).map_err(|_| ViolationKind::Port)
}
