//! Connections as tasks of any async runtime: the base of a driver over futures, which adds its sockets.
//!
//! A driver has a worker, which accepts, fires timers and stops, and a task for each connection. This module contains most
//! of both:
//!
//! * [`Group`] is the state that the worker and its tasks share: settings, counters, timers, the number of connections, and
//!   the phase of a shutdown.
//! * [`Task`] is one connection: poll it with a [`Transport`](protocol::driver::Transport) over the runtime's socket.
//! * [`Queue`] is the bounded mailbox of one connection.
//! * [`read_cached`] and [`load_cached`] read from files what needs no disk; a runtime has the rest read on a thread that may block.
//! * [`admit`] asks the factory for the protocol of an accepted connection.
//!
//! The worker must do the following: accept within a budget; after a failed accept, pause and go on; call [`Group::expire`]
//! at the time that it returns; to stop, stop accepting, spread the wakers of [`Group::enter`] over time with
//! [`Stopping`](crate::Stopping), and enter [`Phase::Killing`] at the deadline. docs/writing-a-driver.md of the repository
//! shows a complete driver.

mod admission;
mod files;
mod group;
mod queue;
mod task;

pub use self::admission::{Refused, admit, open};
pub use self::files::{load_cached, read_cached};
pub use self::group::{Group, Phase};
pub use self::queue::Queue;
pub use self::task::{End, Task};
