//! Signals that ask a program to end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use driver_common::{Backend, Handle, Running, Stats};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use protocol::Protocol;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator;

/// SIGINT and SIGTERM, caught: a signal that arrives from now on is kept until [`then_stop`](Signals::then_stop) waits for
/// it.
///
/// Catch signals before the program reports that it serves, because the reader of that report may send a signal at once.
/// Catch them also before the program starts threads; otherwise a signal that arrives just then may be lost. (A worker of
/// [`Prefork`](crate::Prefork) may catch them at any time.)
#[derive(Debug)]
pub struct Signals(pub(crate) iterator::Signals);

impl Signals {
    /// Catches both signals.
    ///
    /// # Errors
    ///
    /// When the system does not allow it.
    pub fn catch() -> io::Result<Self> {
        blocked(|| {
            let signals = iterator::Signals::new([SIGINT, SIGTERM])?;
            if let Some(ends) = ENDS.get() {
                ends.store(false, Ordering::Release);
            }
            Ok(Signals(signals))
        })
    }

    /// Waits for a signal, then stops `running` gracefully, and waits for its end. A second signal starts the drain time
    /// again if that ends sooner. Returns early when all threads of `running` end by themselves.
    ///
    /// # Errors
    ///
    /// When a thread of `running` failed, or no thread for waiting can be started.
    pub fn then_stop<P, B>(self, running: Running<P, B>, drain: Duration) -> io::Result<Stats>
    where
        P: Protocol,
        B: Backend,
        Handle<P, B>: Send + 'static,
    {
        self.then_stop_telling(running, drain, || {})
    }

    /// As [`then_stop`](Signals::then_stop), and calls `told` for each signal, before anything is stopped: to report the
    /// signal, or to withdraw an [offer](crate::Offer).
    ///
    /// # Errors
    ///
    /// As [`then_stop`](Signals::then_stop).
    pub fn then_stop_telling<P, B>(
        self,
        running: Running<P, B>,
        drain: Duration,
        mut told: impl FnMut() + Send + 'static,
    ) -> io::Result<Stats>
    where
        P: Protocol,
        B: Backend,
        Handle<P, B>: Send + 'static,
    {
        let Signals(mut signals) = self;
        let closer = signals.handle();
        let handle = running.handle();
        let watcher = thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                told();
                handle.stop(drain);
            }
        })?;
        let outcome = running.join();
        closer.close();
        let _ = watcher.join();
        outcome
    }
}

/// Whether a signal still ends the program, where [`prepare`] was called.
static ENDS: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Has the signals handled from now on, so that they end the program as before, until they are caught: that loses none then,
/// whatever threads there are. To be called before there are any.
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

/// The first handler of a signal is put in place before it is known what it is to do; a signal that this thread gets meanwhile
/// would be lost. It waits until then.
fn blocked<T>(register: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let both = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    let before = both.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let outcome = register();
    before.thread_set_mask()?;
    outcome
}
