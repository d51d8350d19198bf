//! The threads of a server.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle, ThreadId};

use crate::Stats;

use crate::cpus::pin;

/// Threads that run in the background. Dropping this value leaves them running.
#[derive(Debug)]
pub struct Threads {
    name: &'static str,
    /// The CPUs to pin threads to; empty for none.
    cpus: Vec<usize>,
    running: Vec<JoinHandle<io::Result<Stats>>>,
}

/// The means by which a started thread reports that it is ready.
#[derive(Debug)]
pub struct Ready<T>(SyncSender<T>);

impl<T> Ready<T> {
    /// Reports that all is set up. [`Threads::join`] reports later failures.
    pub fn tell(self, what: T) {
        // Fails only if the receiving thread has panicked.
        let _ = self.0.send(what);
    }
}

impl Threads {
    /// No threads yet. Threads will be named `name`, and pinned to the CPUs in `cpus` in turn, if there are any.
    pub fn new(name: &'static str, cpus: &[usize]) -> Self {
        Threads {
            name,
            cpus: cpus.to_vec(),
            running: Vec::new(),
        }
    }

    /// Starts a thread and waits until it is ready or has failed. The thread creates the values that cannot leave it, so
    /// neither protocols nor factories need be `Send`.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started, may not run on its CPU, or ended before it was ready.
    pub fn start<T: Send + 'static>(
        &mut self,
        body: impl FnOnce(Ready<T>) -> io::Result<Stats> + Send + 'static,
    ) -> io::Result<T> {
        let (tell, told) = sync_channel(1);
        let cpu = match self.cpus.len() {
            0 => None,
            len => self.cpus.get(self.running.len() % len).copied(),
        };
        let thread = thread::Builder::new().name(self.name.into()).spawn(move || {
            // First of all, so that the thread's memory is allocated near its CPU.
            cpu.map_or(Ok(()), pin)?;
            body(Ready(tell))
        })?;
        match told.recv() {
            Ok(what) => {
                self.running.push(thread);
                Ok(what)
            }
            Err(_) => Err(join(thread)
                .err()
                .unwrap_or_else(|| io::Error::other("the thread ended at once"))),
        }
    }

    /// The thread that was started last.
    pub(crate) fn last(&self) -> Option<ThreadId> {
        Some(self.running.last()?.thread().id())
    }

    /// Waits until all threads have ended, and returns the sum of their counters.
    ///
    /// # Errors
    ///
    /// The first error of a thread that failed or panicked.
    pub fn join(self) -> io::Result<Stats> {
        let mut outcome = Ok(Stats::default());
        for thread in self.running {
            let ended = join(thread);
            outcome = outcome.and_then(|mut sum| {
                sum += ended?;
                Ok(sum)
            });
        }
        outcome
    }
}

fn join(thread: JoinHandle<io::Result<Stats>>) -> io::Result<Stats> {
    thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("a thread of the driver has panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(accepted: u64) -> Stats {
        Stats {
            accepted,
            ..Stats::default()
        }
    }

    #[test]
    fn what_they_tell_and_count_comes_back() {
        let mut threads = Threads::new("test", &[]);
        for n in 0..3 {
            let told = threads.start(move |ready| {
                ready.tell(n);
                Ok(counted(n))
            });
            assert_eq!(told.unwrap(), n);
        }
        assert_eq!(threads.join().unwrap(), counted(3));
    }

    #[test]
    fn failures_come_back_from_where_they_happen() {
        let mut threads = Threads::new("test", &[]);
        let early = threads.start(|_: Ready<()>| Err(io::ErrorKind::AddrInUse.into()));
        assert_eq!(early.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let early = threads.start(|_: Ready<()>| panic!("on purpose"));
        assert!(early.is_err());
        let late = threads.start(|ready| {
            ready.tell(());
            Err(io::ErrorKind::BrokenPipe.into())
        });
        late.unwrap();
        assert_eq!(threads.join().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
