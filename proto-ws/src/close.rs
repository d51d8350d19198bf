//! The closing handshake (RFC 6455 section 7): codes, reasons, and states.

#[cfg(feature = "alloc")]
use crate::Misuse;
use crate::{Violation, utf8};

/// A status code (section 7.4) that is allowed in a Close frame, or that is reported in place of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = CloseCode(1000);
    /// 1001: the endpoint goes away, as a server that stops does.
    pub const AWAY: Self = CloseCode(1001);
    /// 1002: protocol error.
    pub const PROTOCOL: Self = CloseCode(1002);
    /// 1003: a kind of data that is not accepted.
    pub const UNSUPPORTED: Self = CloseCode(1003);
    /// 1005: reported for a Close frame without code; never sent.
    pub const NO_STATUS: Self = CloseCode(1005);
    /// 1006: reported for a connection that ended without a Close frame; never sent.
    pub const ABNORMAL: Self = CloseCode(1006);
    /// 1007: data that does not match its kind, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = CloseCode(1007);
    /// 1008: a policy is violated.
    pub const POLICY: Self = CloseCode(1008);
    /// 1009: the message is too big.
    pub const TOO_BIG: Self = CloseCode(1009);
    /// 1010: the server did not negotiate an extension the client needs.
    pub const EXTENSION: Self = CloseCode(1010);
    /// 1011: an unexpected condition.
    pub const INTERNAL: Self = CloseCode(1011);
    /// 1012: the service restarts.
    pub const RESTART: Self = CloseCode(1012);
    /// 1013: try again later.
    pub const TRY_AGAIN: Self = CloseCode(1013);

    /// Returns the code if it is allowed in a Close frame: 1000 to 1003, 1007 to 1014 (registered) and 3000 to 4999.
    #[inline]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(code)),
            _ => None,
        }
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl core::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// The content of a Close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseReason<'a> {
    /// The code; [`CloseCode::NO_STATUS`] if the frame had no payload.
    pub code: CloseCode,
    /// The reason, at most 123 bytes.
    pub reason: &'a str,
}

impl<'a> CloseReason<'a> {
    /// Parses the unmasked payload of a Close frame (section 5.5.1).
    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, Violation> {
        match payload {
            [] => Ok(CloseReason {
                code: CloseCode::NO_STATUS,
                reason: "",
            }),
            [_] => Err(Violation::CloseTooShort),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                let code = CloseCode::new(code).ok_or(Violation::CloseCode(code))?;
                Ok(CloseReason {
                    code,
                    reason: utf8::whole(reason).map_err(|_| Violation::Utf8)?,
                })
            }
        }
    }

    /// The payload of the Close frame, and its length.
    #[cfg(feature = "alloc")]
    pub(crate) fn encode(&self) -> Result<([u8; 125], usize), Misuse> {
        let mut payload = [0; 125];
        if self.code == CloseCode::NO_STATUS && self.reason.is_empty() {
            return Ok((payload, 0));
        }
        let code = CloseCode::new(self.code.0).ok_or(Misuse::CloseCode(self.code.0))?;
        let len = 2 + self.reason.len();
        let [high, low, text @ ..] = &mut payload;
        [*high, *low] = code.0.to_be_bytes();
        text.get_mut(..self.reason.len())
            .ok_or(Misuse::ControlTooLong)?
            .copy_from_slice(self.reason.as_bytes());
        Ok((payload, len))
    }
}

/// The progress of the closing handshake.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Messages flow in both directions.
    #[default]
    Open,
    /// Our Close frame was sent, the peer's has not arrived; its messages still arrive (section 1.4).
    Closing,
    /// Both Close frames were exchanged; only the end of the stream is missing.
    Closed,
    /// The stream ended, or the connection failed, before both Close frames were exchanged.
    Failed,
}

/// A step of the closing handshake.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// This side sends a Close frame unasked.
    Send,
    /// The peer's Close frame arrives. It is answered in the same step, unless our Close frame was already sent.
    Receive,
    /// The peer broke the protocol: a Close frame reports this, unless one was already sent.
    Fail,
    /// The stream ends.
    End,
}

#[cfg(feature = "alloc")]
impl State {
    /// The state machine of the closing handshake: returns the state after `step`, and whether the step sends a Close frame.
    ///
    /// | | Send | Receive | Fail | End |
    /// |--|--|--|--|--|
    /// | Open | Closing, Close | Closed, Close | Failed, Close | Failed |
    /// | Closing | - | Closed | Failed | Failed |
    /// | Closed | - | - | - | Closed |
    /// | Failed | - | - | - | Failed |
    pub(crate) const fn after(self, step: Step) -> (State, bool) {
        match (self, step) {
            (State::Open, Step::Send) => (State::Closing, true),
            (State::Open, Step::Receive) => (State::Closed, true),
            (State::Open, Step::Fail) => (State::Failed, true),
            (State::Closing, Step::Receive) => (State::Closed, false),
            (State::Open | State::Closing, Step::End) | (State::Closing, Step::Fail) => (State::Failed, false),
            (state, _) => (state, false),
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent() {
        let allowed: Vec<u16> = (0..=u16::MAX).filter(|code| CloseCode::new(*code).is_some()).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(allowed, expected);
    }

    #[test]
    fn a_reason_reads_back() {
        let reason = CloseReason {
            code: CloseCode::POLICY,
            reason: "zu schnell \u{2026}",
        };
        let (payload, len) = reason.encode().unwrap();
        assert_eq!(CloseReason::parse(&payload[..len]), Ok(reason));
        let long = "x".repeat(124);
        assert_eq!(
            CloseReason {
                code: CloseCode::NORMAL,
                reason: &long
            }
            .encode(),
            Err(Misuse::ControlTooLong)
        );
        assert_eq!(
            CloseReason {
                code: CloseCode::ABNORMAL,
                reason: ""
            }
            .encode(),
            Err(Misuse::CloseCode(1006))
        );
        assert_eq!(CloseReason::parse(&[3]), Err(Violation::CloseTooShort));
        assert_eq!(CloseReason::parse(&[3, 237]), Err(Violation::CloseCode(1005)));
        assert_eq!(CloseReason::parse(&[3, 232, 0xff]), Err(Violation::Utf8));
    }
}
