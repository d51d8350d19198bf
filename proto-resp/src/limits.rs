//! What a peer may cost us ([`Limits`]) and what it may get wrong ([`Leniency`]).

/// The most aggregates that can be open at once, whatever [`Limits::depth`] says.
pub const MAX_DEPTH: u8 = 128;

/// Bounds on what a peer may send. Each has a finite default; 0 means none at all, never "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Aggregates open at once in a reply, at most [`MAX_DEPTH`]. Each costs four bytes in the decoder, and in a
    /// [`Value`](crate::Value) under construction room for up to 256 elements, 10 KiB. Default 32.
    pub depth: u8,
    /// Elements of one reply on all levels together, counted as claimed, when the header of their aggregate is seen; at
    /// most 2^28 - 1. A [`Value`](crate::Value) takes 40 bytes for each that has arrived. Default 1,048,576.
    pub items: u32,
    /// Bytes of one bulk string, bulk error, verbatim string or argument; refused when its header is seen. The decoder
    /// hands them on as they arrive. Default 16 MiB.
    pub bulk: u64,
    /// Bytes of all strings and numbers of one reply. A [`Value`](crate::Value) holds so much of a reply that has not ended
    /// at most twice. Default 64 MiB.
    pub reply: u64,
    /// Bytes of a line, without its end: simple strings and errors, doubles, big numbers and inline commands. An unfinished
    /// line stays in the caller's buffer. Of an error line only so many are handed on, and the others, which count for
    /// `reply`, are read past: scripts may put anything into one. Default 16 KiB.
    pub line: u32,
    /// Bytes of one command, with its framing; refused as soon as its headers claim more. A command that does not lie whole
    /// in one read is held in the caller's buffer up to 16 KiB, above that in one buffer of at most twice this size.
    /// Default 1 MiB.
    pub command: u32,
    /// Arguments of one command, its name among them. They cost no memory beyond their bytes. Default 65,536.
    pub arguments: u32,
    /// Commands of a client whose replies have not come. Each takes up to 16 bytes and its ticket. Default 65,536.
    pub outstanding: u32,
}

impl Limits {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self {
        depth: 32,
        items: 1 << 20,
        bulk: 16 << 20,
        reply: 64 << 20,
        line: 16 << 10,
        command: 1 << 20,
        arguments: 1 << 16,
        outstanding: 1 << 16,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Departures from the letter of the specification that some peers need. All are off by default, but
/// [`REPLIES`](Self::REPLIES), the default of `ClientConfig` in the adapters, has those that servers need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leniency {
    /// Permits commands as a line of words ("Inline commands"), for people with `telnet`, with the quotes and escapes that
    /// Redis takes. A line of HTTP is one too, so a browser on the same machine can be made to send commands; `POST` and
    /// `Host:`, which no command is called, are refused all the same.
    pub inline_commands: bool,
    /// Permits push data inside of an aggregate, of which it is no element, as Redis 7.0 puts it into the reply to EXEC. It
    /// comes before what it is inside of. Not inside of other push data, nor where an attribute says something of it.
    pub nested_push: bool,
    /// Permits `-nan`, `NAN` and `nan(...)` for doubles that are no numbers, which Redis before 7.2 may send, as its libc
    /// writes them.
    pub any_nan: bool,
}

impl Leniency {
    /// Permits nothing.
    pub const STRICT: Self = Self {
        inline_commands: false,
        nested_push: false,
        any_nan: false,
    };

    /// Permits what Redis before 7.2 sends.
    pub const REPLIES: Self = Self {
        nested_push: true,
        any_nan: true,
        ..Self::STRICT
    };
}

/// The rules a connection reads by: [`Limits`] and [`Leniency`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Bounds on what the peer may send.
    pub limits: Limits,
    /// What the peer may get wrong.
    pub leniency: Leniency,
}

impl Rules {
    /// The defaults, as a constant: finite limits, nothing lenient.
    pub const DEFAULT: Self = Self {
        limits: Limits::DEFAULT,
        leniency: Leniency::STRICT,
    };

    /// For a client: finite limits, and [`Leniency::REPLIES`].
    pub const REPLIES: Self = Self {
        limits: Limits::DEFAULT,
        leniency: Leniency::REPLIES,
    };
}

impl From<Limits> for Rules {
    fn from(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::DEFAULT
        }
    }
}
