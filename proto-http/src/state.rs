//! The state machine of a message: one table, which is the same for both sides of an exchange.
//!
//! Each message of an exchange has its own [`State`]; [`next`] is the table. `Exchange` joins the two, because one message can affect the
//! other: the connection persists only when both are done, and a switch of protocols needs both.
//!
//! ```text
//! Idle        -- Asked         -> Respond
//! Idle        -- Head          -> Body
//! Idle        -- WholeHead     -> Done
//! Idle        -- SwitchHead    -> MightSwitch
//! Idle        -- Close         -> Closed
//! Respond     -- Informational -> Respond
//! Respond     -- Head          -> Body
//! Respond     -- WholeHead     -> Done
//! Respond     -- Switch        -> Switched
//! Body        -- Data          -> Body
//! Body        -- End           -> Done
//! Done        -- LastMessage   -> MustClose
//! Done        -- NextCycle     -> Idle
//! Done        -- Close         -> Closed
//! MustClose   -- Close         -> Closed
//! MightSwitch -- Switch        -> Switched
//! MightSwitch -- Refused       -> Done
//! Closed      -- Close         -> Closed
//! any but Switched -- Fail -> Error
//! ```

/// How far a message of the exchange has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing of the message was sent.
    #[default]
    Idle,
    /// Only for responses: the request was received, the final response was not sent. Informational responses are allowed.
    Respond,
    /// The head was sent, the body is in progress.
    Body,
    /// The message is complete.
    Done,
    /// The message is complete, and no other follows on this connection.
    MustClose,
    /// Only for requests: the complete request asks for a switch of protocols, and the response decides.
    MightSwitch,
    /// Another protocol has taken over.
    Switched,
    /// This side has closed.
    Closed,
    /// This side broke the protocol.
    Error,
}

/// A step of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// The other side's request was received: a response is due.
    Asked,
    /// An informational response: any 1xx status except 101.
    Informational,
    /// A head with a body after it.
    Head,
    /// A head without a body: the whole message.
    WholeHead,
    /// A head without a body that asks for a switch of protocols.
    SwitchHead,
    /// Part of the body.
    Data,
    /// The end of the body.
    End,
    /// The other protocol begins.
    Switch,
    /// The switch was refused.
    Refused,
    /// The connection will not persist.
    LastMessage,
    /// Both messages are complete: the next exchange begins.
    NextCycle,
    /// This side closes.
    Close,
    /// This side broke the protocol.
    Fail,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Idle,
        Self::Respond,
        Self::Body,
        Self::Done,
        Self::MustClose,
        Self::MightSwitch,
        Self::Switched,
        Self::Closed,
        Self::Error,
    ];
}

impl Move {
    /// Every move.
    pub const ALL: [Self; 13] = [
        Self::Asked,
        Self::Informational,
        Self::Head,
        Self::WholeHead,
        Self::SwitchHead,
        Self::Data,
        Self::End,
        Self::Switch,
        Self::Refused,
        Self::LastMessage,
        Self::NextCycle,
        Self::Close,
        Self::Fail,
    ];
}

/// The table: the state that follows `state` after `step`, or `None` if the step is not allowed.
#[inline]
#[must_use]
pub const fn next(state: State, step: Move) -> Option<State> {
    Some(match (state, step) {
        (State::Idle, Move::Asked) => State::Respond,
        (State::Respond, Move::Informational) => State::Respond,
        (State::Idle | State::Respond, Move::Head) => State::Body,
        (State::Idle | State::Respond, Move::WholeHead) => State::Done,
        (State::Idle, Move::SwitchHead) => State::MightSwitch,
        (State::Body, Move::Data) => State::Body,
        (State::Body, Move::End) => State::Done,
        (State::Respond | State::MightSwitch, Move::Switch) => State::Switched,
        (State::Done, Move::LastMessage) => State::MustClose,
        (State::Done, Move::NextCycle) => State::Idle,
        (State::MightSwitch, Move::Refused) => State::Done,
        (State::Idle | State::Done | State::MustClose | State::Closed, Move::Close) => State::Closed,
        (State::Switched, Move::Fail) => return None,
        (_, Move::Fail) => State::Error,
        _ => return None,
    })
}

/// The two messages of an exchange and the connection they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) request: State,
    pub(crate) response: State,
    keep_alive: bool,
}

impl Exchange {
    pub(crate) const fn new() -> Self {
        Self {
            request: State::Idle,
            response: State::Idle,
            keep_alive: true,
        }
    }

    /// Handles a request head. `None` if none is allowed.
    #[inline]
    pub(crate) fn request_head(&mut self, whole: bool, switch: bool, keep_alive: bool) -> Option<()> {
        let step = match (whole, switch) {
            (true, false) => Move::WholeHead,
            (true, true) => Move::SwitchHead,
            (false, _) => Move::Head,
        };
        let (request, response) = (next(self.request, step)?, next(self.response, Move::Asked)?);
        (self.request, self.response) = (request, response);
        self.keep_alive &= keep_alive;
        Some(())
    }

    /// Handles a final response head.
    #[inline]
    pub(crate) fn response_head(&mut self, whole: bool, keep_alive: bool) -> Option<()> {
        self.response = next(self.response, if whole { Move::WholeHead } else { Move::Head })?;
        if let Some(request) = next(self.request, Move::Refused) {
            self.request = request;
        }
        self.keep_alive &= keep_alive;
        Some(())
    }

    /// Handles the response that switches protocols.
    pub(crate) fn switch(&mut self) -> Option<()> {
        let (request, response) = (next(self.request, Move::Switch)?, next(self.response, Move::Switch)?);
        (self.request, self.response) = (request, response);
        Some(())
    }

    /// A side has closed between messages.
    pub(crate) fn close(state: &mut State) {
        if let Some(closed) = next(*state, Move::Close) {
            *state = closed;
        }
    }

    /// Ends a message, if it has begun.
    #[inline]
    pub(crate) fn end(state: &mut State) -> Option<()> {
        *state = next(*state, Move::End)?;
        Some(())
    }

    /// Makes this exchange the last of the connection.
    pub(crate) fn last(&mut self) {
        self.keep_alive = false;
    }

    pub(crate) const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// After both messages are complete: begins the next exchange and returns true, or ends the connection.
    #[inline]
    pub(crate) fn settle(&mut self) -> bool {
        if !self.keep_alive {
            for state in [&mut self.request, &mut self.response] {
                if let Some(last) = next(*state, Move::LastMessage) {
                    *state = last;
                }
            }
            return false;
        }
        let both = (
            next(self.request, Move::NextCycle),
            next(self.response, Move::NextCycle),
        );
        if let (Some(request), Some(response)) = both {
            (self.request, self.response) = (request, response);
            return true;
        }
        false
    }

    /// A side has broken the protocol: no further event follows.
    pub(crate) fn fail(state: &mut State) {
        if let Some(failed) = next(*state, Move::Fail) {
            *state = failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the module's documentation equals [`next`].
    #[test]
    fn the_documentation_shows_the_table() {
        let mut table = String::new();
        for state in State::ALL {
            for step in Move::ALL {
                if let (Some(to), false) = (next(state, step), step == Move::Fail) {
                    table += &format!(
                        "//! {:<11} -- {:<13} -> {to:?}\n",
                        format!("{state:?}"),
                        format!("{step:?}")
                    );
                }
            }
        }
        table += "//! any but Switched -- Fail -> Error\n";
        assert!(include_str!("state.rs").contains(&table), "{table}");
    }

    #[test]
    fn nothing_leaves_the_last_states() {
        for state in [State::Switched, State::Error] {
            for step in Move::ALL {
                assert!(
                    matches!(next(state, step), None | Some(State::Error)),
                    "{state:?} {step:?}"
                );
            }
        }
        for state in State::ALL {
            assert_eq!(next(state, Move::Fail).is_none(), state == State::Switched);
        }
    }
}
