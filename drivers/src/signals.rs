//! Signals that ask a program to end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator;

/// SIGINT and SIGTERM, caught: what comes from now on is kept until [`Running::until`](crate::Running::until) waits for it. To
/// be made before the program says that it serves, for whoever hears that may stop it at once; and before it starts threads, or
/// a signal may be lost that comes just then. (A worker of [`Prefork`](crate::Prefork) may make it at any time.)
#[derive(Debug)]
pub struct Signals(pub(crate) iterator::Signals);

impl Signals {
    /// Catches them.
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
