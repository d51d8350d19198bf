//! Connections as tasks of an async runtime, whichever it is: what a driver over futures adds its sockets to.
//!
//! A driver has a worker, which accepts, fires timers and stops, and a task for each connection. Both are mostly here:
//!
//! * [`Group`] is what the worker and its tasks share: settings, counters, timers, how many connections there are, whether
//!   to stop.
//! * [`Task`] is one connection: poll it with a [`Transport`](protocol::driver::Transport) over the runtime's socket.
//! * [`Queue`] is the bounded mailbox of one connection.
//! * [`admit`] asks the factory for the protocol of an accepted connection.
//!
//! The worker's part in the rules: accept within a budget; take a failed accept for a passing trouble and pause; call
//! [`Group::expire`] when it says; stop accepting, spread [`Group::enter`]'s wakers by
//! [`Stopping`](crate::Stopping), and enter [`Phase::Killing`] at the deadline. docs/writing-a-driver.md of the
//! repository shows a whole driver.

mod admission;
mod group;
mod queue;
mod task;

pub use self::admission::{Refused, admit, open};
pub use self::group::{Group, Phase};
pub use self::queue::Queue;
pub use self::task::{End, Task};
