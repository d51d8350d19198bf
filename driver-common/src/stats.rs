//! The counters of a driver.

use core::ops::AddAssign;
use core::sync::atomic::{AtomicU64, Ordering};

use protocol::Reason;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of a driver since it started. They are the same on every driver, so one dashboard fits all drivers.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl AddAssign for Stats {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        /// [`Stats`] that several threads update.
        #[derive(Debug, Default)]
        #[allow(missing_docs, reason = "the counters of `Stats`, which have the docs")]
        #[non_exhaustive]
        pub struct SharedStats {
            $(pub $name: AtomicU64,)*
        }

        impl SharedStats {
            /// Returns the counters so far.
            pub fn load(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            /// Adds all of `stats`.
            pub fn add(&self, stats: &Stats) {
                $(if stats.$name != 0 {
                    self.$name.fetch_add(stats.$name, Ordering::Relaxed);
                })*
            }
        }

        impl Stats {
            /// Returns each counter with its name, for exporters.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted from listeners.
    accepted,
    /// Connections closed at once: the factory refused them, or a limit was reached.
    refused,
    /// Connections opened by this side that were established.
    connected,
    /// Connections open now, including those being opened or closed.
    active,
    /// Connections that their protocol ended in order.
    closed,
    /// Connections that their protocol ended with a reset.
    aborted,
    /// Connections that an error of their protocol ended.
    errors,
    /// Connections that the transport ended: resets, failed connects.
    io_errors,
    /// Connections ended because the peer took no output in time.
    write_timeouts,
    /// Connections ended at the limit of unsent output or unconsumed input.
    over_limits,
    /// Connections ended because the driver stopped and they did not end by themselves in time.
    stopped,
    /// Connections dropped because their protocol panicked.
    panics,
    /// Bytes read.
    bytes_in,
    /// Bytes written.
    bytes_out,
    /// Calls that read from a connection.
    reads,
    /// Calls that wrote to a connection.
    writes,
    /// Deadlines that fired.
    timeouts,
    /// Messages delivered to protocols.
    messages,
    /// Messages dropped because their connection was gone at delivery.
    messages_late,
    /// Times that accepting paused because file descriptors or memory ran out.
    accept_pauses,
}

/// The counter of connections that end for `$reason`, as `$($borrow)` of a field of `$counters`.
macro_rules! counter_of_end {
    ($counters:ident, $reason:ident, $($borrow:tt)+) => {
        match $reason {
            Reason::Closed => $($borrow)+ $counters.closed,
            Reason::Aborted => $($borrow)+ $counters.aborted,
            Reason::Io(_) => $($borrow)+ $counters.io_errors,
            Reason::WriteTimeout => $($borrow)+ $counters.write_timeouts,
            Reason::OutputLimit | Reason::InputLimit => $($borrow)+ $counters.over_limits,
            Reason::Stopped => $($borrow)+ $counters.stopped,
            Reason::Panicked => $($borrow)+ $counters.panics,
            // Reasons of newer versions count as errors until they have a counter.
            _ => $($borrow)+ $counters.errors,
        }
    };
}

impl Stats {
    /// Counts an ended connection by its reason.
    pub fn count_end(&mut self, reason: Reason) {
        *counter_of_end!(self, reason, &mut) += 1;
    }
}

impl SharedStats {
    /// Counts an ended connection by its reason.
    pub fn count_end(&self, reason: Reason) {
        counter_of_end!(self, reason, &).fetch_add(1, Ordering::Relaxed);
    }
}
