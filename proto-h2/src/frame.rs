//! Frame heads (RFC 9113 section 4.1), and the length and stream that each frame type requires (section 6).

use crate::ViolationKind;

/// Bytes of a frame head.
pub(crate) const HEAD: usize = 9;

/// The first octets of a client's connection (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest payload allowed without a setting.
pub(crate) const SMALLEST_MAX: u32 = 16_384;

pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const PRIORITY_UPDATE: u8 = 16;
}

pub(crate) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 32;
}

/// A frame head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Head {
    #[inline(always)]
    pub(crate) fn read(octets: &[u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, d, e, f, g] = *octets;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            // The reserved bit is ignored.
            stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
        }
    }

    #[inline(always)]
    pub(crate) fn write(self) -> [u8; HEAD] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, d, e, f, g]
    }

    #[inline]
    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Checks a frame head before its payload has arrived. Only a PRIORITY of a wrong length is an error of the stream alone.
    #[inline(always)]
    pub(crate) fn check(&self, max: u32) -> Result<(), ViolationKind> {
        if self.length > max {
            return Err(ViolationKind::FrameTooLarge);
        }
        let Some(rule) = RULES.get(usize::from(self.kind)) else {
            return Ok(());
        };
        if self.length < rule.least || self.length > rule.most {
            return Err(ViolationKind::FrameSize);
        }
        let fits = match rule.on {
            On::Stream => self.stream != 0,
            On::Connection => self.stream == 0,
            On::Any => true,
        };
        if fits { Ok(()) } else { Err(ViolationKind::FrameStream) }
    }
}

#[derive(Clone, Copy)]
enum On {
    Stream,
    Connection,
    Any,
}

#[derive(Clone, Copy)]
struct Rule {
    on: On,
    least: u32,
    most: u32,
}

/// Rules by frame type, 0 to 16.
static RULES: [Rule; 17] = {
    const fn rule(on: On, least: u32, most: u32) -> Rule {
        Rule { on, least, most }
    }
    let mut rules = [rule(On::Any, 0, u32::MAX); 17];
    rules[kind::DATA as usize] = rule(On::Stream, 0, u32::MAX);
    rules[kind::HEADERS as usize] = rule(On::Stream, 0, u32::MAX);
    rules[kind::PRIORITY as usize] = rule(On::Stream, 0, u32::MAX);
    rules[kind::RST_STREAM as usize] = rule(On::Stream, 4, 4);
    rules[kind::SETTINGS as usize] = rule(On::Connection, 0, u32::MAX);
    rules[kind::PUSH_PROMISE as usize] = rule(On::Stream, 4, u32::MAX);
    rules[kind::PING as usize] = rule(On::Connection, 8, 8);
    rules[kind::GOAWAY as usize] = rule(On::Connection, 8, u32::MAX);
    rules[kind::WINDOW_UPDATE as usize] = rule(On::Any, 4, 4);
    rules[kind::CONTINUATION as usize] = rule(On::Stream, 0, u32::MAX);
    rules[kind::PRIORITY_UPDATE as usize] = rule(On::Connection, 4, u32::MAX);
    rules
};
