//! The running workers.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use driver_common::Socket;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The workers by number, and the sockets they accept from. Workers are kept as pidfds, which cannot refer to another process later.
#[derive(Debug, Default)]
pub(super) struct Crew {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    workers: Vec<Option<OwnedFd>>,
    /// The sockets of each worker; dropped when all are to stop, because nobody would accept from them any more.
    sockets: Vec<Vec<Socket>>,
    /// Functions to call when all are to stop.
    leaving: Vec<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("stopping", &self.stopping)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl Crew {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Sets the sockets that the workers accept from.
    pub(super) fn accept_from(&self, sockets: Vec<Vec<Socket>>) {
        let mut crew = self.lock();
        if !crew.stopping {
            crew.sockets = sockets;
        }
    }

    /// Calls `leave` when all are to stop.
    pub(super) fn when_stopped(&self, leave: Box<dyn FnOnce() + Send>) {
        let mut crew = self.lock();
        if !crew.stopping {
            return crew.leaving.push(leave);
        }
        drop(crew);
        leave();
    }

    /// Starts a worker with its sockets. Returns `None` if all are to stop.
    pub(super) fn start(
        &self,
        number: usize,
        spawn: impl FnOnce(&[Socket]) -> io::Result<Child>,
    ) -> io::Result<Option<Child>> {
        let mut crew = self.lock();
        if crew.stopping {
            return Ok(None);
        }
        let child = spawn(crew.sockets.get(number).map_or(&[], Vec::as_slice))?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        if crew.workers.len() <= number {
            crew.workers.resize_with(number + 1, || None);
        }
        crew.workers[number] = Some(pidfd);
        Ok(Some(child))
    }

    pub(super) fn gone(&self, number: usize) {
        if let Some(slot) = self.lock().workers.get_mut(number) {
            *slot = None;
        }
    }

    pub(super) fn stop(&self, signal: Signal) {
        let mut crew = self.lock();
        crew.stopping = true;
        crew.sockets.clear();
        for pidfd in crew.workers.iter().flatten() {
            // Fails only if the worker has just ended.
            let _ = pidfd_send_signal(pidfd, signal);
        }
        self.stopped.notify_all();
        let leaving = core::mem::take(&mut crew.leaving);
        // Called without the lock, because the functions may use the crew.
        drop(crew);
        leaving.into_iter().for_each(|leave| leave());
    }

    /// Waits for `delay`, or until all are to stop.
    pub(super) fn wait(&self, delay: Duration) {
        let end = Instant::now() + delay;
        let mut crew = self.lock();
        while !crew.stopping
            && let Some(left) = end.checked_duration_since(Instant::now())
            && !left.is_zero()
        {
            let waited = self.stopped.wait_timeout(crew, left);
            crew = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_woken_by_the_stop() {
        let crew = Crew::default();
        let begun = Instant::now();
        crew.wait(Duration::from_millis(20));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        std::thread::scope(|scope| {
            scope.spawn(|| crew.wait(Duration::from_secs(60)));
            crew.stop(Signal::TERM);
        });
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(crew.start(0, |_| panic!("no worker may start")).unwrap().is_none());
    }
}
