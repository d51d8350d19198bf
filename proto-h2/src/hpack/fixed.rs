//! The static table (RFC 7541 appendix A), with the meaning of each name for HTTP.

/// The meaning of a field's name for HTTP/2, so that names are compared once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Token {
    Method,
    Path,
    Scheme,
    Authority,
    Status,
    Protocol,
    /// An unknown pseudo-header field.
    Unknown,
    Host,
    Cookie,
    ContentLength,
    /// `connection` and the other connection-specific fields (RFC 9113 section 8.2.2).
    Connection,
    Te,
    Expect,
    Priority,
    /// Any other field.
    Other,
}

impl Token {
    /// Whether it is a pseudo-header field (RFC 9113 section 8.3).
    #[inline]
    pub(crate) const fn is_pseudo(self) -> bool {
        (self as u8) < Token::Host as u8
    }

    /// The meaning of `name`, which is in small letters.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            [b':', rest @ ..] => match rest {
                b"method" => Token::Method,
                b"path" => Token::Path,
                b"scheme" => Token::Scheme,
                b"authority" => Token::Authority,
                b"status" => Token::Status,
                b"protocol" => Token::Protocol,
                _ => Token::Unknown,
            },
            b"te" => Token::Te,
            b"host" => Token::Host,
            b"cookie" => Token::Cookie,
            b"expect" => Token::Expect,
            b"priority" => Token::Priority,
            b"content-length" => Token::ContentLength,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
                Token::Connection
            }
            _ => Token::Other,
        }
    }
}

macro_rules! fixed {
    ($($index:literal $token:ident $name:literal $value:literal;)*) => {
        /// For each entry: its line as [`Fields`](proto_http::Fields) reads it, the length of its name, and the name's meaning. Index 0 is
        /// unused.
        pub(crate) static ENTRIES: [(&[u8], u8, Token); 62] = [
            (b"", 0, Token::Unknown),
            $((concat!($name, ": ", $value, "\r\n").as_bytes(), $name.len() as u8, Token::$token),)*
        ];

        /// The names of the entries.
        #[cfg(test)]
        pub(crate) const NAMES: [(u8, &str, &str); 61] = [$(($index, $name, $value),)*];
    };
}

/// The number of entries.
pub(crate) const COUNT: u32 = 61;

fixed! {
    1 Authority ":authority" "";
    2 Method ":method" "GET";
    3 Method ":method" "POST";
    4 Path ":path" "/";
    5 Path ":path" "/index.html";
    6 Scheme ":scheme" "http";
    7 Scheme ":scheme" "https";
    8 Status ":status" "200";
    9 Status ":status" "204";
    10 Status ":status" "206";
    11 Status ":status" "304";
    12 Status ":status" "400";
    13 Status ":status" "404";
    14 Status ":status" "500";
    15 Other "accept-charset" "";
    16 Other "accept-encoding" "gzip, deflate";
    17 Other "accept-language" "";
    18 Other "accept-ranges" "";
    19 Other "accept" "";
    20 Other "access-control-allow-origin" "";
    21 Other "age" "";
    22 Other "allow" "";
    23 Other "authorization" "";
    24 Other "cache-control" "";
    25 Other "content-disposition" "";
    26 Other "content-encoding" "";
    27 Other "content-language" "";
    28 ContentLength "content-length" "";
    29 Other "content-location" "";
    30 Other "content-range" "";
    31 Other "content-type" "";
    32 Cookie "cookie" "";
    33 Other "date" "";
    34 Other "etag" "";
    35 Expect "expect" "";
    36 Other "expires" "";
    37 Other "from" "";
    38 Host "host" "";
    39 Other "if-match" "";
    40 Other "if-modified-since" "";
    41 Other "if-none-match" "";
    42 Other "if-range" "";
    43 Other "if-unmodified-since" "";
    44 Other "last-modified" "";
    45 Other "link" "";
    46 Other "location" "";
    47 Other "max-forwards" "";
    48 Other "proxy-authenticate" "";
    49 Other "proxy-authorization" "";
    50 Other "range" "";
    51 Other "referer" "";
    52 Other "refresh" "";
    53 Other "retry-after" "";
    54 Other "server" "";
    55 Other "set-cookie" "";
    56 Other "strict-transport-security" "";
    57 Connection "transfer-encoding" "";
    58 Other "user-agent" "";
    59 Other "vary" "";
    60 Other "via" "";
    61 Other "www-authenticate" "";
}

/// The first index with this name, ignoring case; 0 where there is none.
pub(crate) fn index_of(name: &[u8]) -> u8 {
    macro_rules! pick {
        ($($index:literal)*) => {
            match name { $(_ if name_of($index).eq_ignore_ascii_case(name) => $index,)* _ => 0 }
        };
    }
    // By length, then by name: at most five comparisons.
    match name.len() {
        3 => pick!(21 60),
        4 => pick!(33 34 59 38 37 45),
        5 => pick!(4 22 50),
        6 => pick!(19 54 32 35),
        7 => pick!(2 6 8 36 51 52),
        8 => pick!(46 39 42),
        10 => pick!(58 1 55),
        11 => pick!(53),
        12 => pick!(31 47),
        13 => pick!(24 44 18 30 41 23),
        14 => pick!(28 15),
        15 => pick!(16 17),
        16 => pick!(26 27 29 61),
        17 => pick!(40 57),
        18 => pick!(48),
        19 => pick!(25 43 49),
        25 => pick!(56),
        27 => pick!(20),
        _ => 0,
    }
}

#[inline(always)]
fn name_of(index: u8) -> &'static [u8] {
    let (line, length, _) = ENTRIES[usize::from(index)];
    line.get(..usize::from(length)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_every_name_is_found() {
        for (place, (index, name, value)) in NAMES.into_iter().enumerate() {
            assert_eq!(place + 1, usize::from(index));
            let (line, length, token) = ENTRIES[place + 1];
            assert_eq!(line, format!("{name}: {value}\r\n").as_bytes());
            assert_eq!(usize::from(length), name.len());
            assert_eq!(token, Token::of(name.as_bytes()), "{name}");
            let first = NAMES.iter().find(|entry| entry.1 == name).unwrap().0;
            assert_eq!(index_of(name.as_bytes()), first, "{name}");
        }
        for none in [
            "",
            "x",
            "te",
            "if-matcher",
            "content-typf",
            ":protocol",
            "x-forwarded-for",
        ] {
            assert_eq!(index_of(none.as_bytes()), 0, "{none}");
        }
    }
}
