//! Limits on a peer's input ([`Limits`]), and the violations that may be tolerated ([`Leniency`]).

/// The maximum number of aggregates that can be open at once, whatever [`Limits::depth`] says.
pub const MAX_DEPTH: u8 = 128;

/// Limits on a peer's input. Each has a finite default; 0 means that nothing is allowed, never "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Aggregates open at once in a reply, at most [`MAX_DEPTH`]. Each costs four bytes in the decoder, and in a
    /// [`Value`](crate::Value) under construction room for up to 256 elements, 10 KiB. Default 32.
    pub depth: u8,
    /// Elements of one reply on all levels together, counted as claimed when the header of their aggregate is read; at most
    /// 2^28 - 1. A [`Value`](crate::Value) takes 40 bytes for each element that has arrived. Default 1,048,576.
    pub items: u32,
    /// Bytes of one bulk string, bulk error, verbatim string or argument; a longer one is refused when its header is read.
    /// The decoder passes the bytes on as they arrive. Default 16 MiB.
    pub bulk: u64,
    /// Bytes of all strings and numbers of one reply. For a reply that is not complete, a [`Value`](crate::Value) holds at
    /// most twice this much. Default 64 MiB.
    pub reply: u64,
    /// Bytes of a line, without its end: simple strings and errors, doubles, big numbers and inline commands. An unfinished
    /// line stays in the caller's buffer. Of an error line only this many bytes are passed on; the other bytes count for
    /// `reply` and are skipped, because scripts may put anything into an error. Default 16 KiB.
    pub line: u32,
    /// Bytes of one command, with its framing; refused as soon as its headers claim more. A command that is not complete in
    /// one read is held in the caller's buffer up to 16 KiB, above that in one buffer of at most twice this size. Default 1
    /// MiB.
    pub command: u32,
    /// Arguments of one command, including its name. They cost no memory beyond their bytes. Default 65,536.
    pub arguments: u32,
    /// A client's commands that have no reply yet. Each takes up to 16 bytes plus its ticket. Default 65,536.
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

/// Tolerated violations of the specification that some peers need. All are off by default; [`REPLIES`](Self::REPLIES), the
/// default of `ClientConfig` in the adapters, tolerates those of old servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leniency {
    /// Permits commands as a line of words ("Inline commands"), for people with `telnet`, with the quotes and escapes that
    /// Redis accepts. A line of HTTP is also an inline command, so a browser on the same machine can be made to send
    /// commands. `POST` and `Host:`, which are no command's name, are refused all the same.
    pub inline_commands: bool,
    /// Permits push data inside an aggregate, without being an element of it, as Redis 7.0 sends it in the reply to EXEC.
    /// The push is returned before the aggregate that contains it. Not permitted inside other push data, nor where an
    /// attribute describes the aggregate.
    pub nested_push: bool,
    /// Permits `-nan`, `NAN` and `nan(...)` for doubles that are not numbers. Redis before 7.2 may send them, because its
    /// libc formats them so.
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

/// The rules by which a connection reads: [`Limits`] and [`Leniency`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Limits on the peer's input.
    pub limits: Limits,
    /// The violations by the peer that are tolerated.
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
