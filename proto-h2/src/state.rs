//! The state machine of a stream (RFC 9113 sections 5.1 and 8.1): one table, which is the same for both roles and both directions.
//!
//! A stream carries one message in each direction, and each message has a [`Half`]. The states of RFC 9113 section 5.1 are pairs of halves:
//! in *open*, neither is `Done`; in *half-closed*, one is; in *closed*, both are, and the stream is forgotten.
//!
//! ```text
//! Head -- Informational -> Head
//! Head -- Head          -> Body
//! Head -- WholeHead     -> Done
//! Body -- Data          -> Body
//! Body -- End           -> Done
//! ```

/// How far one message of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// The head was not sent yet.
    Head,
    /// The head was sent, content may follow.
    Body,
    /// The message is complete: END_STREAM was sent.
    Done,
}

/// A step of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// An informational response.
    Informational,
    /// A head with content behind it.
    Head,
    /// A head without content: the whole message.
    WholeHead,
    /// Some content.
    Data,
    /// The end, with or without trailers.
    End,
}

impl Half {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Head, Self::Body, Self::Done];
}

impl Move {
    /// Every move.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Head, Self::WholeHead, Self::Data, Self::End];
}

/// The table: the state that follows `half` after `step`, or `None` if the step is not allowed.
#[inline]
#[must_use]
pub const fn next(half: Half, step: Move) -> Option<Half> {
    Some(match (half, step) {
        (Half::Head, Move::Informational) => Half::Head,
        (Half::Head, Move::Head) => Half::Body,
        (Half::Head, Move::WholeHead) => Half::Done,
        (Half::Body, Move::Data) => Half::Body,
        (Half::Body, Move::End) => Half::Done,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the module's documentation equals [`next`].
    #[test]
    fn the_documentation_shows_the_table() {
        let mut table = String::new();
        for half in Half::ALL {
            for step in Move::ALL {
                if let Some(to) = next(half, step) {
                    let step = format!("{step:?}");
                    table += &format!("//! {half:?} -- {step:<13} -> {to:?}\n");
                }
            }
        }
        assert!(include_str!("state.rs").contains(&table), "{table}");
    }
}
