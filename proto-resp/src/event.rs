//! The items of a RESP stream.

/// The version of the protocol that a connection speaks. Every connection begins with RESP2; HELLO changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    /// RESP2.
    #[default]
    Resp2,
    /// RESP3, which can express all that RESP2 can.
    Resp3,
}

/// The kinds of items that have elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// `*`: elements in order.
    Array,
    /// `%`: pairs of key and value. RESP3.
    Map,
    /// `~`: elements in no order. RESP3.
    Set,
    /// `>`: out-of-band data, never an element of a reply, although [`Leniency::nested_push`](crate::Leniency::nested_push)
    /// permits it inside one; the first element names its kind. RESP3.
    Push,
    /// `|`: pairs of key and value that describe the next item, and do not count as an element. RESP3.
    Attribute,
}

impl Aggregate {
    /// The type byte.
    #[inline]
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Aggregate::Array => b'*',
            Aggregate::Map => b'%',
            Aggregate::Set => b'~',
            Aggregate::Push => b'>',
            Aggregate::Attribute => b'|',
        }
    }

    /// Items for each element that the header counts: two for pairs.
    #[inline]
    #[must_use]
    pub const fn width(self) -> u32 {
        match self {
            Aggregate::Map | Aggregate::Attribute => 2,
            Aggregate::Array | Aggregate::Set | Aggregate::Push => 1,
        }
    }

    /// Whether the aggregate may be streamed.
    #[inline]
    pub(crate) const fn streams(self) -> bool {
        matches!(self, Aggregate::Array | Aggregate::Map | Aggregate::Set)
    }
}

/// The three forms of null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Null {
    /// `_`. RESP3.
    Null,
    /// `$-1`: a null string. RESP2.
    Bulk,
    /// `*-1`: a null array. RESP2.
    Array,
}

/// The strings that are preceded by their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bulk {
    /// `$`: bytes.
    String,
    /// `!`: an error with any bytes in it. RESP3.
    Error,
    /// `=`: text to be shown as it is, with its encoding, `txt` or `mkd`. RESP3.
    Verbatim([u8; 3]),
}

/// One item of a stream, or a part of one, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// `+`: a short string without line breaks.
    Simple(&'a [u8]),
    /// `-`: an error; its first word is a code such as `ERR`.
    Error(&'a [u8]),
    /// `:`
    Integer(i64),
    /// `,` RESP3.
    Double(f64),
    /// `#` RESP3.
    Boolean(bool),
    /// `(`: digits with an optional sign. RESP3.
    BigNumber(&'a str),
    /// Null, in one of its three forms.
    Null(Null),
    /// A whole string, without the encoding of a verbatim one.
    Bulk(Bulk, &'a [u8]),
    /// The next bytes of a string that is not complete in the input, or that is streamed (`$?`): then the first part is
    /// empty.
    Part {
        /// The kind of the string.
        of: Bulk,
        /// The bytes.
        bytes: &'a [u8],
        /// The number of bytes that follow: 0 with the last part, `None` while a streamed string goes on.
        left: Option<u64>,
    },
    /// An aggregate begins. Its elements follow, then its [`End`](Event::End).
    Begin {
        /// The kind of the aggregate.
        kind: Aggregate,
        /// The number of its elements, or pairs; `None` if the aggregate is streamed, so that they are not counted yet.
        len: Option<u32>,
    },
    /// An aggregate has ended.
    End {
        /// The kind of the aggregate.
        kind: Aggregate,
        /// Whether the stream contains an explicit end (`.`). Otherwise the aggregate ended because all its elements have arrived.
        streamed: bool,
    },
}
