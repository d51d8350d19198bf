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
            /// The names of all variants, for tables and tests.
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
    /// An item that begins with a byte of an unknown type.
    UnknownType(byte) = "RESP protocol description", "an unknown type";
    /// A RESP3 type on a connection in RESP2.
    Resp3Type(byte) = "RESP versions", "a RESP3 type in RESP2";
    /// A line that ends with LF alone, or contains LF.
    BareLf = "RESP protocol description", "a line feed without carriage return";
    /// A CR without an LF after it.
    BareCr = "RESP protocol description", "a carriage return without line feed";
    /// A bulk string without a CRLF after it.
    BulkEnd = "Bulk strings", "a bulk string without CRLF at its end";
    /// A length that is not digits without leading zeros, nor -1 or ? where these are allowed.
    Length = "Bulk strings", "an invalid length";
    /// An integer that is not digits with an optional sign and without leading zeros, or is beyond 64 bits.
    Integer = "Integers", "an invalid integer";
    /// A double that does not match the grammar.
    Double = "Doubles", "an invalid double";
    /// A boolean that is neither `t` nor `f`.
    Boolean = "Booleans", "an invalid boolean";
    /// A null that is not `_` alone.
    Null = "Nulls", "a null followed by other bytes";
    /// A big number that is not digits with an optional sign and without leading zeros.
    BigNumber = "Big numbers", "an invalid big number";
    /// A verbatim string without the three bytes of its encoding and a colon.
    Verbatim = "Verbatim strings", "a verbatim string without encoding";
    /// Push data inside another value, or inside other push data.
    NestedPush = "Pushes", "push data inside a reply";
    /// Push data whose first element is not a string that names its kind.
    PushKind = "Pushes", "push data without a kind";
    /// An attribute without an item after it.
    DanglingAttribute = "Attributes", "an attribute without an item";
    /// The end of a streamed aggregate without one being open.
    StrayEnd = "Streamed aggregated data types", "the end of an aggregate that is not open";
    /// A chunk of a streamed string without one being open.
    StrayChunk = "Streamed strings", "a chunk of a string that is not open";
    /// Other data in the place of a chunk of a streamed string.
    MissingChunk(byte) = "Streamed strings", "something other than a chunk in a streamed string";
    /// A streamed map that ends after a key.
    OddMap = "Streamed aggregated data types", "a map whose last key has no value";
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
    NotACommand(byte) = "Sending commands to a Redis server", "something other than a command";
    /// An argument that is not a bulk string.
    NotAnArgument(byte) = "Sending commands to a Redis server", "an argument that is not a bulk string";
    /// A command without a name.
    EmptyCommand = "Sending commands to a Redis server", "a command without a name";
    /// A command of more than [`Limits::arguments`](crate::Limits::arguments).
    TooManyArguments = "Limits::arguments", "too many arguments";
    /// A command of more bytes than [`Limits::command`](crate::Limits::command).
    CommandTooLong = "Limits::command", "a command that is too long";
    /// An inline command with an unclosed quote, or with text directly after a closing quote.
    Quotes = "Inline commands", "an inline command with unbalanced quotes";
    /// A line of HTTP in the place of an inline command.
    Http = "Inline commands", "a line of HTTP";
    /// Other data in the place of the marker after an unsubscription, so that replies can no longer be matched to commands.
    Misordered = "Request-Response model", "replies that cannot be matched to commands";
    /// A reply without a command.
    Unsolicited = "Request-Response model", "a reply without a command";
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
    /// The output buffer is full.
    NoSpace,
    /// A simple string or error with CR or LF in it.
    LineBreak,
    /// A big number that is not digits with an optional sign and without leading zeros.
    BigNumber,
    /// A command without a name.
    EmptyCommand,
    /// [`Arguments`](crate::Arguments) wrote a number of arguments other than their count.
    Count,
    /// Push data inside another value, or without elements.
    Push,
    /// Aggregates nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH), or with more elements than 2^28 - 1.
    TooLarge,
    /// The end of an aggregate that is not open, or that ends by itself because it has a length; or a string in parts was continued in
    /// another way than it began.
    Unbalanced,
    /// An aggregate or a string in parts is incomplete, or an attribute has no item to describe.
    Unfinished,
    /// RESP2 has no streaming and no attributes.
    Resp3,
    /// No reply is due now.
    NotDue,
    /// As many commands as [`Limits::outstanding`](crate::Limits::outstanding) have no reply yet.
    Outstanding,
    /// The handshake is not over, or the connection is closing.
    NotReady,
    /// A command that would make replies impossible to match: HELLO, RESET, MONITOR, SYNC, PSYNC and CLIENT REPLY; and between MULTI and
    /// EXEC, every command that subscribes or unsubscribes.
    Unanswerable,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misuse::NoSpace => "the output is full",
            Misuse::LineBreak => "a simple string with a line break",
            Misuse::BigNumber => "an invalid big number",
            Misuse::EmptyCommand => "a command without a name",
            Misuse::Count => "a number of arguments other than announced",
            Misuse::Push => "push data that is empty or inside another value",
            Misuse::TooLarge => "too many elements, or nested too deeply",
            Misuse::Unbalanced => "the end of an aggregate that is not open",
            Misuse::Unfinished => "an item is incomplete",
            Misuse::Resp3 => "not possible in RESP2",
            Misuse::NotDue => "no reply is due",
            Misuse::Outstanding => "too many commands without a reply",
            Misuse::NotReady => "the connection is not ready",
            Misuse::Unanswerable => "a command that would make replies impossible to match",
        })
    }
}

impl core::error::Error for Misuse {}

impl From<proto_buffer::NoSpace> for Misuse {
    fn from(_: proto_buffer::NoSpace) -> Self {
        Misuse::NoSpace
    }
}
