//! The errors, by the side at fault: [`Violation`] is the peer's fault, [`Misuse`] the caller's.

use core::fmt;

macro_rules! violations {
    ($($(#[$doc:meta])* $name:ident $(($byte:ident))? = $section:literal, $text:literal;)*) => {
        /// The peer broke the protocol or exceeded a limit. The connection has no further events; never resynchronise.
        ///
        /// The sections are those of the specification,
        /// <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Violation {
            $($(#[$doc])* $name $((violations!(@type $byte)))?,)*
        }

        impl Violation {
            /// The names of all there are, for tables and tests.
            pub const NAMES: &[&str] = &[$(stringify!($name),)*];

            /// The section of the specification that forbids it.
            #[must_use]
            pub const fn section(self) -> &'static str {
                match self { $(Self::$name { .. } => $section,)* }
            }

            /// The name of the variant, as the test vectors spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name),)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name { .. } => $text,)* }
            }

            const fn byte(self) -> Option<u8> {
                match self { $($(Self::$name($byte) => Some($byte),)?)* _ => None }
            }
        }
    };
    (@type $byte:ident) => { u8 };
}

violations! {
    /// An item that begins with a byte of no known type.
    UnknownType(byte) = "RESP protocol description", "a type that there is not";
    /// A type of RESP3 on a connection that speaks RESP2.
    Resp3Type(byte) = "RESP versions", "a type of RESP3 in RESP2";
    /// A line ended by LF alone, or with LF in it.
    BareLf = "RESP protocol description", "a line feed without carriage return";
    /// A CR without an LF after it.
    BareCr = "RESP protocol description", "a carriage return without line feed";
    /// A bulk string without a CRLF after it.
    BulkEnd = "Bulk strings", "a bulk string that is longer than it says";
    /// A length that is not digits without leading zeros, nor -1 or ? where these may stand.
    Length = "Bulk strings", "a length that is none";
    /// An integer that is not digits with an optional sign and without leading zeros, or is beyond 64 bits.
    Integer = "Integers", "an integer that is none";
    /// A double that is not of the grammar.
    Double = "Doubles", "a double that is none";
    /// A boolean that is neither `t` nor `f`.
    Boolean = "Booleans", "a boolean that is none";
    /// A null that is not `_` alone.
    Null = "Nulls", "a null with something behind it";
    /// A big number that is not digits with an optional sign and without leading zeros.
    BigNumber = "Big numbers", "a big number that is none";
    /// A verbatim string without the three bytes of its encoding and their colon.
    Verbatim = "Verbatim strings", "a verbatim string without encoding";
    /// Push data inside of something else, or push data inside of that.
    NestedPush = "Pushes", "push data inside of a reply";
    /// Push data without the string that says what it is.
    PushKind = "Pushes", "push data of no kind";
    /// An attribute without an item after it.
    DanglingAttribute = "Attributes", "an attribute of nothing";
    /// The end of a streamed aggregate where none is open.
    StrayEnd = "Streamed aggregated data types", "the end of something that is not open";
    /// A chunk of a streamed string where none is open.
    StrayChunk = "Streamed strings", "a chunk of a string that is not open";
    /// Something else where a chunk of a streamed string must come.
    MissingChunk(byte) = "Streamed strings", "something else than a chunk in a streamed string";
    /// A streamed map that ends behind a key.
    OddMap = "Streamed aggregated data types", "a map with a key that has no value";
    /// More than [`Limits::depth`](crate::Limits::depth) aggregates inside each other.
    TooDeep = "Limits::depth", "aggregates nested too deeply";
    /// More than [`Limits::items`](crate::Limits::items) elements.
    TooManyItems = "Limits::items", "too many elements";
    /// A string longer than [`Limits::bulk`](crate::Limits::bulk).
    BulkTooLong = "Limits::bulk", "a string that is too long";
    /// A reply of more bytes than [`Limits::reply`](crate::Limits::reply).
    ReplyTooLong = "Limits::reply", "a reply that is too long";
    /// A line longer than [`Limits::line`](crate::Limits::line).
    LineTooLong = "Limits::line", "a line that is too long";
    /// Other data in the place of the array of a command.
    NotACommand(byte) = "Sending commands to a Redis server", "something else than a command";
    /// An argument that is not a bulk string.
    NotAnArgument(byte) = "Sending commands to a Redis server", "an argument that is not a bulk string";
    /// A command without a name.
    EmptyCommand = "Sending commands to a Redis server", "a command without a name";
    /// A command of more than [`Limits::arguments`](crate::Limits::arguments).
    TooManyArguments = "Limits::arguments", "too many arguments";
    /// A command of more bytes than [`Limits::command`](crate::Limits::command).
    CommandTooLong = "Limits::command", "a command that is too long";
    /// An inline command with a quote that does not end, or with something right behind its end.
    Quotes = "Inline commands", "an inline command with unbalanced quotes";
    /// A line of HTTP where inline commands may stand.
    Http = "Inline commands", "a line of HTTP";
    /// Other data in the place of the marker after an unsubscription, so that replies can no longer be matched to commands.
    Misordered = "Request-Response model", "replies of which it cannot be told whose they are";
    /// A reply to no command.
    Unsolicited = "Request-Response model", "a reply that nothing had asked for";
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())?;
        if let Some(byte) = self.byte() {
            write!(f, ", {:?}", char::from(byte))?;
        }
        Ok(())
    }
}

impl core::error::Error for Violation {}

/// The caller asked to send data that may not be sent. Nothing was written; the connection is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misuse {
    /// The output has no room for it.
    NoSpace,
    /// A simple string or error with CR or LF in it.
    LineBreak,
    /// A big number that is not digits with an optional sign and without leading zeros.
    BigNumber,
    /// A command without a name.
    EmptyCommand,
    /// Other arguments were written than were counted.
    Count,
    /// Push data inside of something else, or empty.
    Push,
    /// Aggregates nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH), or with more elements than 2^28 - 1.
    TooLarge,
    /// The end of something that is not open, or that has a length and so ends by itself; or a string in parts went on
    /// in another way than it began.
    Unbalanced,
    /// What was begun has not ended: an aggregate, a string in parts, or an attribute with nothing to describe.
    Unfinished,
    /// RESP2 has no streaming and no attributes.
    Resp3,
    /// No reply is due now.
    NotDue,
    /// As many commands as [`Limits::outstanding`](crate::Limits::outstanding) have no reply yet.
    Outstanding,
    /// The handshake is not over, or the connection is closing.
    NotReady,
    /// A command that changes how replies are read, so that they could not be matched: HELLO, RESET, MONITOR, SYNC, PSYNC
    /// and CLIENT REPLY; and between MULTI and EXEC every command that subscribes.
    Unanswerable,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misuse::NoSpace => "no room in the output",
            Misuse::LineBreak => "a simple string with a line break",
            Misuse::BigNumber => "a big number that is none",
            Misuse::EmptyCommand => "a command without a name",
            Misuse::Count => "other arguments than were counted",
            Misuse::Push => "push data inside of something, or empty",
            Misuse::TooLarge => "too many elements, or nested too deeply",
            Misuse::Unbalanced => "the end of something that is not open",
            Misuse::Unfinished => "what was begun has not ended",
            Misuse::Resp3 => "not in RESP2",
            Misuse::NotDue => "nothing is to be answered",
            Misuse::Outstanding => "too many commands without reply",
            Misuse::NotReady => "the connection is not ready",
            Misuse::Unanswerable => "a command whose replies could not be told apart",
        })
    }
}

impl core::error::Error for Misuse {}

impl From<proto_buffer::NoSpace> for Misuse {
    fn from(_: proto_buffer::NoSpace) -> Self {
        Misuse::NoSpace
    }
}
