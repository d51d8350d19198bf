//! Roles, states, and the results of `next_event` that are no events.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use proto_http::state::State;

/// A constant, compared by identity.
#[pyclass(frozen, module = "wirestate.http")]
pub(crate) struct Sentinel(Name);

macro_rules! names {
    ($($variant:ident = $text:literal,)*) => {
        /// The constants.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Name { $($variant,)* }

        impl Name {
            const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(crate) const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The one object of this name.
            pub(crate) fn object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                static OBJECTS: [PyOnceLock<Py<PyAny>>; [$($text,)*].len()] = [const { PyOnceLock::new() }; [$($text,)*].len()];
                let make = || PyResult::Ok(Py::new(py, Sentinel(self))?.into_any());
                match OBJECTS.get(self as usize) {
                    Some(object) => Ok(object.get_or_try_init(py, make)?.clone_ref(py)),
                    None => make(),
                }
            }
        }
    };
}

names! {
    Client = "CLIENT",
    Server = "SERVER",
    NeedData = "NEED_DATA",
    Paused = "PAUSED",
    Idle = "IDLE",
    SendResponse = "SEND_RESPONSE",
    SendBody = "SEND_BODY",
    Done = "DONE",
    MustClose = "MUST_CLOSE",
    Closed = "CLOSED",
    Error = "ERROR",
    MightSwitch = "MIGHT_SWITCH_PROTOCOL",
    Switched = "SWITCHED_PROTOCOL",
}

impl Name {
    /// The name of a codec's state, on a connection that persists or not.
    pub(crate) const fn of(state: State, keep_alive: bool) -> Self {
        match state {
            State::Idle => Self::Idle,
            State::Respond => Self::SendResponse,
            State::Body => Self::SendBody,
            State::Done if keep_alive => Self::Done,
            State::Done | State::MustClose => Self::MustClose,
            State::MightSwitch => Self::MightSwitch,
            State::Switched => Self::Switched,
            State::Closed => Self::Closed,
            State::Error => Self::Error,
        }
    }

    /// The states of client and server, where the end of one side shows in the other's.
    pub(crate) const fn joined(client: Self, server: Self) -> (Self, Self) {
        match (client, server) {
            (Self::Closed, Self::Done | Self::Idle) | (Self::Error, Self::Done) => (client, Self::MustClose),
            (Self::Done | Self::Idle, Self::Closed) | (Self::Done, Self::Error) => (Self::MustClose, server),
            _ => (client, server),
        }
    }
}

#[pymethods]
impl Sentinel {
    fn __repr__(&self) -> &'static str {
        self.0.text()
    }

    /// Copies and pickles are the same object.
    fn __reduce__(&self) -> &'static str {
        self.0.text()
    }
}

pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for name in Name::ALL {
        module.add(name.text(), name.object(module.py())?)?;
    }
    Ok(())
}
