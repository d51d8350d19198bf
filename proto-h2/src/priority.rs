//! Priorities (RFC 9218).

/// The urgency of a response, and whether it may share the connection with others of the same urgency (RFC 9218 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Priority {
    /// From 0, the most urgent, to 7. Default 3.
    pub urgency: u8,
    /// Whether parts of the response are useful before all of it has arrived. Default false.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self {
            urgency: 3,
            incremental: false,
        }
    }
}

impl Priority {
    /// Parses the value of a `priority` field. Unknown or invalid members are ignored (RFC 9218 section 4).
    ///
    /// ```
    /// use proto_h2::Priority;
    ///
    /// assert_eq!(Priority::parse(b"u=1, i"), Priority { urgency: 1, incremental: true });
    /// assert_eq!(Priority::parse(b"u=9, x=(1 2), i=?0"), Priority::default());
    /// ```
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        for member in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            let (key, rest) = member.split_at(member.iter().position(|&byte| byte == b'=').unwrap_or(member.len()));
            // Parameters are ignored.
            let rest = rest.split(|&byte| byte == b';').next().unwrap_or_default();
            match (key.split(|&byte| byte == b';').next().unwrap_or_default(), rest) {
                (b"u", [b'=', urgency @ b'0'..=b'7']) => priority.urgency = urgency - b'0',
                (b"i", b"" | b"=?1") => priority.incremental = true,
                (b"i", b"=?0") => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }

    pub(crate) const fn pack(self) -> u8 {
        self.urgency | (self.incremental as u8) << 3
    }

    pub(crate) const fn unpack(packed: u8) -> Self {
        Self {
            urgency: packed & 7,
            incremental: packed & 8 != 0,
        }
    }
}
