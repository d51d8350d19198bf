//! How names become addresses.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Family;

/// Looks up names. Implemented by [`SystemResolver`], and by whoever knows better.
pub trait Resolve: Send + Sync + 'static {
    /// Starts to look up `name`, and returns at once. The addresses go to `answer`, from any thread.
    fn resolve(&self, name: &str, answer: Answer);
}

/// What a look-up has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The addresses of one family, the best first; possibly none.
    Addresses(Family, Vec<IpAddr>),
    /// The look-up of what was not found yet has failed.
    Failed(ErrorKind),
}

/// Takes the results of one look-up: the addresses of each family as soon as they are known, or the failure. Dropping this before
/// both families are known is a failure.
pub struct Answer {
    sink: Box<dyn Fn(Found) + Send + Sync>,
    v4: bool,
    v6: bool,
}

impl Answer {
    /// An answer whose results go to `sink`, which must not block.
    pub fn new(sink: impl Fn(Found) + Send + Sync + 'static) -> Self {
        Answer {
            sink: Box::new(sink),
            v4: false,
            v6: false,
        }
    }

    /// Tells the addresses of one family. Only the first call for each family counts.
    pub fn found(&mut self, family: Family, addresses: Vec<IpAddr>) {
        let known = match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        if !std::mem::replace(known, true) {
            (self.sink)(Found::Addresses(family, addresses));
        }
    }

    /// Tells that what was not found yet will not be found. [`NotFound`](ErrorKind::NotFound): the name has no address.
    pub fn fail(mut self, failure: ErrorKind) {
        self.end(failure);
    }

    fn end(&mut self, failure: ErrorKind) {
        if !(self.v4 && self.v6) {
            (self.v4, self.v6) = (true, true);
            (self.sink)(Found::Failed(failure));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.end(ErrorKind::Other);
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("v4", &self.v4)
            .field("v6", &self.v6)
            .finish_non_exhaustive()
    }
}

/// The most threads that look up names at the same time.
const THREADS: usize = 8;
/// The most look-ups that wait for a thread.
const WAITING: usize = 4096;
/// How long a thread waits for its next look-up before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// Looks up names as the system does (`getaddrinfo`: the hosts file, DNS, whatever it is configured to use), on up to eight threads
/// of the process, which end when there is nothing to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SystemResolver;

struct Pool {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    waiting: VecDeque<(String, Answer)>,
    threads: usize,
    idle: usize,
}

static POOL: Pool = Pool {
    state: Mutex::new(State {
        waiting: VecDeque::new(),
        threads: 0,
        idle: 0,
    }),
    wake: Condvar::new(),
};

impl Resolve for SystemResolver {
    /// Fails with [`ResourceBusy`](ErrorKind::ResourceBusy) if 4,096 look-ups wait, or no thread can be started.
    fn resolve(&self, name: &str, answer: Answer) {
        let mut state = POOL.lock();
        if state.waiting.len() >= WAITING {
            drop(state);
            return answer.fail(ErrorKind::ResourceBusy);
        }
        state.waiting.push_back((name.to_owned(), answer));
        if state.waiting.len() <= state.idle || state.threads >= THREADS {
            drop(state);
            return POOL.wake.notify_one();
        }
        state.threads += 1;
        drop(state);
        let started = thread::Builder::new().name("resolver".into()).spawn(|| POOL.work());
        if started.is_err() {
            let mut state = POOL.lock();
            state.threads -= 1;
            // Without any thread nobody would ever answer.
            let stranded = if state.threads == 0 {
                std::mem::take(&mut state.waiting)
            } else {
                VecDeque::new()
            };
            drop(state);
            for (_, answer) in stranded {
                answer.fail(ErrorKind::ResourceBusy);
            }
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some((name, answer)) = state.waiting.pop_front() {
                drop(state);
                look_up(&name, answer);
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let waited = self.wake.wait_timeout(state, IDLE);
            let (back, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.idle -= 1;
            if timeout.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

fn look_up(name: &str, mut answer: Answer) {
    match (name, 0).to_socket_addrs() {
        Ok(found) => {
            let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            for family in [Family::V6, Family::V4] {
                let of_family = found.iter().filter(|address| Family::of(address) == family);
                answer.found(family, of_family.copied().collect());
            }
        }
        Err(error) => answer.fail(kind(&error)),
    }
}

/// `getaddrinfo` has errors of its own, which Rust cannot tell apart; nearly all of them mean that there is no such name.
fn kind(error: &io::Error) -> ErrorKind {
    match error.raw_os_error() {
        Some(_) => error.kind(),
        None => ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn localhost_has_addresses_and_an_invalid_name_has_none() {
        let (sender, found) = mpsc::channel();
        for name in ["localhost", "name.invalid"] {
            let sender = sender.clone();
            SystemResolver.resolve(name, Answer::new(move |found| sender.send((name, found)).unwrap()));
        }
        drop(sender);
        let found: Vec<_> = found.iter().collect();
        let loopback = |(name, found): &(&str, Found)| {
            *name == "localhost" && matches!(found, Found::Addresses(_, some) if some.iter().any(IpAddr::is_loopback))
        };
        assert!(found.iter().any(loopback), "{found:?}");
        assert!(
            found
                .iter()
                .any(|(name, found)| *name == "name.invalid" && matches!(found, Found::Failed(_))),
            "{found:?}"
        );
    }

    #[test]
    fn each_family_counts_once_and_a_dropped_answer_is_a_failure() {
        let (sender, found) = mpsc::channel();
        let mut answer = Answer::new(move |found| sender.send(found).unwrap());
        answer.found(Family::V4, vec![IpAddr::from([192, 0, 2, 1])]);
        answer.found(Family::V4, vec![]);
        drop(answer);
        let found: Vec<_> = found.iter().collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], Found::Failed(ErrorKind::Other));
    }
}
