//! Signals that ask a program to end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use driver_common::{Backend, Handle, Running, Stats};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use protocol::Protocol;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator;

/// SIGINT and SIGTERM, caught: a signal that arrives from now on is kept until [`then_stop`](Signals::then_stop) waits for it.
///
/// Catch signals before the program reports that it serves, because the reader of the report may send a signal at once. Catch them also
/// before the program starts threads; otherwise a signal that arrives during the call may be lost. (A worker of [`Prefork`](crate::Prefork)
/// may catch them at any time.)
#[derive(Debug)]
pub struct Signals(pub(crate) iterator::Signals);

impl Signals {
    /// Catches both signals.
    ///
    /// # Errors
    ///
    /// If the system does not allow it.
    pub fn catch() -> io::Result<Self> {
        blocked(|| {
            let signals = iterator::Signals::new([SIGINT, SIGTERM])?;
            if let Some(ends) = ENDS.get() {
                ends.store(false, Ordering::Release);
            }
            Ok(Signals(signals))
        })
    }

    /// Waits for a signal, then stops `running` gracefully, and waits until it has ended. A second signal restarts the drain time if it
    /// then ends sooner. Returns early if all threads of `running` end by themselves.
    ///
    /// # Errors
    ///
    /// If a thread of `running` failed, or if no thread for waiting can be started.
    pub fn then_stop<P, B>(self, running: Running<P, B>, drain: Duration) -> io::Result<Stats>
    where
        P: Protocol,
        B: Backend,
        Handle<P, B>: Send + 'static,
    {
        self.then_stop_telling(running, drain, || {})
    }

    /// Like [`then_stop`](Signals::then_stop), and calls `told` for each signal before anything is stopped: to report the signal, or to
    /// withdraw an [offer](crate::Offer).
    ///
    /// # Errors
    ///
    /// Like [`then_stop`](Signals::then_stop).
    pub fn then_stop_telling<P, B>(
        self,
        running: Running<P, B>,
        drain: Duration,
        told: impl FnMut() + Send + 'static,
    ) -> io::Result<Stats>
    where
        P: Protocol,
        B: Backend,
        Handle<P, B>: Send + 'static,
    {
        self.then_stop_as(running, AtOnce { drain, told })
    }

    /// Waits for a signal, then stops `running` in two phases, as `ending` says: first the program only tells that it leaves, and still
    /// accepts connections; then it drains. A second signal ends the first phase. Otherwise like [`then_stop`](Signals::then_stop).
    ///
    /// # Errors
    ///
    /// Like [`then_stop`](Signals::then_stop).
    pub fn then_stop_as<P, B>(self, running: Running<P, B>, mut ending: impl Ending) -> io::Result<Stats>
    where
        P: Protocol,
        B: Backend,
        Handle<P, B>: Send + 'static,
    {
        let Signals(mut signals) = self;
        let closer = signals.handle();
        let ended = closer.clone();
        let handle = running.handle();
        let watcher = thread::Builder::new().name("signals".into()).spawn(move || {
            // The iterator ends when `running` has ended.
            if signals.forever().next().is_none() {
                return;
            }
            let begun = Instant::now();
            let delay = ending.leave();
            while begun.elapsed() < delay && signals.pending().next().is_none() && !ended.is_closed() {
                thread::sleep(LOOK.min(delay.saturating_sub(begun.elapsed())));
            }
            handle.stop(ending.drain());
            for _ in signals.forever() {
                handle.stop(ending.drain());
            }
        })?;
        let outcome = running.join();
        closer.close();
        let _ = watcher.join();
        outcome
    }
}

/// How often the first phase of an end looks for a second signal.
const LOOK: Duration = Duration::from_millis(20);

/// How a program ends after a signal, for [`Signals::then_stop_as`].
pub trait Ending: Send + 'static {
    /// The first signal has arrived. Returns how long the program still accepts connections, for instance until load balancers have noticed
    /// that it is no longer ready.
    fn leave(&mut self) -> Duration {
        Duration::ZERO
    }

    /// The program stops accepting connections, after the first phase and at each further signal. Returns how long connections have to end.
    fn drain(&mut self) -> Duration;
}

/// An end without a first phase.
struct AtOnce<F> {
    drain: Duration,
    told: F,
}

impl<F: FnMut() + Send + 'static> Ending for AtOnce<F> {
    fn drain(&mut self) -> Duration {
        (self.told)();
        self.drain
    }
}

/// Whether a signal still ends the program after a call of [`prepare`].
static ENDS: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Installs handlers that end the program as before until the signals are caught. Catching them later then loses no signal, whatever
/// threads exist. Call this before threads exist.
#[cfg(target_os = "linux")]
pub(crate) fn prepare() -> io::Result<()> {
    blocked(|| {
        let ends = ENDS.get_or_init(|| Arc::new(AtomicBool::new(true)));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(ends))?;
        }
        Ok(())
    })
}

/// Registers a handler with the signals blocked in this thread. The first handler is installed before its action is known, and a signal
/// that this thread got in between would be lost.
fn blocked<T>(register: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let both = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    let before = both.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let outcome = register();
    before.thread_set_mask()?;
    outcome
}
