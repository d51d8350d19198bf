//! One connection as a task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Instant;

use protocol::driver::{Connection, Interest, Read, Scratch, Settled, Transport, Turn};
use protocol::{Protocol, Reason};

use super::Queue;
use super::group::{Group, Phase, Timer};
use crate::trace;

/// Reads and batches of messages handled before other tasks run.
const ROUNDS: usize = 4;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The reason.
    pub reason: Reason,
    /// Whether the peer must see a reset.
    pub reset: bool,
}

/// One connection, polled by its task with a transport over the task's stream.
///
/// Every call into the protocol catches panics: a panic ends only this connection, with a reset, and is counted. Dropping
/// the task early tells the protocol that the connection was [`Stopped`](Reason::Stopped).
#[derive(Debug)]
pub struct Task<P: Protocol> {
    /// `None` once the connection has ended.
    connection: Option<Connection<P>>,
    mailbox: Option<Arc<Queue<P::Message>>>,
    group: Arc<Group>,
    timer: Option<Timer>,
    /// Identifies the connection in the count per address.
    token: u64,
    /// The time to which the timer is set. The timer is never postponed: if it fires early, it is set again.
    armed: Option<Instant>,
    /// The timer has fired since it was set, so it will not wake the task again.
    fired: bool,
    waker: Option<Waker>,
    interest: Interest,
    begun: bool,
    /// The protocol was told to stop.
    stopped: bool,
}

impl<P: Protocol> Task<P> {
    /// A task of `group` for a connection whose transport is connected. `token` names the connection in the group; 0 for a
    /// connection that is not limited by address.
    pub fn new(protocol: P, mailbox: Option<Arc<Queue<P::Message>>>, group: Arc<Group>, token: u64) -> Self {
        group.join();
        Task {
            connection: Some(Connection::new(protocol)),
            mailbox,
            group,
            timer: None,
            token,
            armed: None,
            fired: false,
            waker: None,
            interest: Interest::default(),
            begun: false,
            stopped: false,
        }
    }

    /// The group.
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Tells the connection what has happened, and does what the connection asks for. `Ready` at the end of the connection:
    /// drop the stream, with a reset if the end says so. Counts in the group; the transport counts its own calls.
    ///
    /// The [`Transport`] must try each call and, where the call would block, arrange for `waker` to be woken.
    pub fn poll<T: Transport>(&mut self, waker: &Waker, transport: &mut T) -> Poll<End> {
        if self.connection.is_none() {
            return Poll::Pending;
        }
        let turned = catch_unwind(AssertUnwindSafe(|| {
            Scratch::lend(self.group.config.limits, Instant::now(), |scratch| {
                let settled = self.turn(waker, transport, scratch);
                if !matches!(settled, Settled::Ended { .. }) {
                    self.rearm(waker);
                }
                settled
            })
        }));
        match turned {
            Ok(Settled::Waits(interest)) => {
                self.interest = interest;
                Poll::Pending
            }
            Ok(Settled::Again) => {
                // As if the stream had just become writable.
                self.interest = Interest {
                    read: false,
                    write: true,
                };
                waker.wake_by_ref();
                Poll::Pending
            }
            Ok(Settled::Ended { reset }) => {
                let reason = self.connection.as_ref().map_or(Reason::Closed, Connection::reason);
                self.group.stats.count_end(reason);
                let error = self.connection.as_ref().and_then(Connection::error);
                trace::ended(self.token, reason, error.map(|error| error as _));
                self.drop_connection();
                Poll::Ready(End { reason, reset })
            }
            Err(_) => {
                // The protocol's state is unknown: not even `closed` may be called. The panic hook has reported the panic.
                count(&self.group.stats.panics, 1);
                trace::panicked(self.token);
                self.drop_connection();
                Poll::Ready(End {
                    reason: Reason::Panicked,
                    reset: true,
                })
            }
        }
    }

    fn turn<T: Transport>(&mut self, waker: &Waker, transport: &mut T, scratch: &mut Scratch) -> Settled {
        let begun = core::mem::replace(&mut self.begun, true);
        let Some(connection) = &mut self.connection else {
            return Settled::Ended { reset: false };
        };
        let mut turn = connection.turn(scratch);
        let mut settled = Settled::Waits(self.interest);
        if !begun || self.interest.write {
            if begun {
                // Offers the output once to find out whether the stream takes it. After `Again`, there is more to do.
                turn.writable();
                turn.again();
            } else {
                turn.connected();
            }
            settled = turn.settle(transport);
        }
        let mut late = Late {
            armed: &mut self.armed,
            fired: &mut self.fired,
            looked: false,
        };
        for _ in 0..ROUNDS {
            // A protocol that asked for another turn still gets messages and orders; only its input waits.
            let interest = match settled {
                Settled::Waits(interest) => interest,
                Settled::Again => Interest::default(),
                Settled::Ended { .. } => return settled,
            };
            let orders = !self.group.is_running() && order(&self.group, &mut self.stopped, &mut turn);
            if !orders
                && !messages(&mut self.mailbox, &self.group, waker, &mut turn)
                && !late.input_or_timeout(&self.group, interest, transport, &mut turn)
            {
                return settled;
            }
            settled = turn.settle(transport);
        }
        if !matches!(settled, Settled::Ended { .. }) {
            waker.wake_by_ref();
        }
        settled
    }

    /// Sets the timer if the deadline is earlier than the time to which it is set.
    #[inline(always)]
    fn rearm(&mut self, waker: &Waker) {
        let deadline = self.connection.as_ref().and_then(Connection::deadline);
        let nearer = match (deadline, self.armed) {
            (Some(deadline), Some(armed)) => deadline < armed,
            (Some(_), None) => true,
            // A connection without a deadline has a timer too: the group finds the connection by its timer to stop it.
            (None, _) => self.timer.is_none() || self.fired,
        };
        let moved = !self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        if nearer || moved {
            self.set_timer(if nearer { deadline } else { self.armed }, waker, moved);
        }
    }

    #[inline(never)]
    fn set_timer(&mut self, to: Option<Instant>, waker: &Waker, moved: bool) {
        if moved {
            self.waker = Some(waker.clone());
        }
        self.timer = Some(self.group.arm(self.timer, to, waker));
        self.armed = to;
        self.fired = false;
        if moved && !self.group.is_running() {
            // On another thread, the group may have entered the phase before it knew this waker.
            waker.wake_by_ref();
        }
    }

    /// Drops the connection; the drop of its protocol may panic.
    fn drop_connection(&mut self) {
        let connection = self.connection.take();
        if catch_unwind(AssertUnwindSafe(|| drop(connection))).is_err() {
            count(&self.group.stats.panics, 1);
            trace::panicked(self.token);
        }
    }
}

/// Adds `n` to a counter.
fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Tells the protocol that the driver stops. Returns whether it was told now.
#[cold]
fn order<P: Protocol>(group: &Group, stopped: &mut bool, turn: &mut Turn<'_, P>) -> bool {
    match group.phase() {
        Phase::Running => false,
        Phase::Stopping => {
            let told = !core::mem::replace(stopped, true);
            if told {
                turn.stop();
            }
            told
        }
        Phase::Killing => {
            turn.kill(Reason::Stopped);
            true
        }
    }
}

/// Delivers waiting messages to the protocol. Returns whether there were any.
fn messages<P: Protocol>(
    mailbox: &mut Option<Arc<Queue<P::Message>>>,
    group: &Group,
    waker: &Waker,
    turn: &mut Turn<'_, P>,
) -> bool {
    let Some(queue) = mailbox else { return false };
    let waiting = core::iter::from_fn(|| queue.poll(waker));
    let budget = (group.config.message_budget / ROUNDS).max(1);
    let taken = turn.messages(waiting.take(budget));
    if taken > 0 {
        count(&group.stats.messages, taken as u64);
    } else if Arc::strong_count(queue) == 1 {
        // The last sender was dropped and the queue is empty: no further message can arrive.
        *mailbox = None;
    }
    taken > 0
}

/// The deadline of a task, and whether input was read since the deadline passed.
struct Late<'a> {
    armed: &'a mut Option<Instant>,
    fired: &'a mut bool,
    looked: bool,
}

impl Late<'_> {
    /// Reads input, or tells the protocol that its deadline has passed. If input has already arrived, one read of it precedes the timeout,
    /// so that a delay of the loop costs no peer its connection. Returns whether anything happened.
    fn input_or_timeout<P: Protocol, T: Transport>(
        &mut self,
        group: &Group,
        interest: Interest,
        transport: &mut T,
        turn: &mut Turn<'_, P>,
    ) -> bool {
        let due = self
            .armed
            .is_some_and(|armed| armed <= turn.now() && group.has_fired(armed));
        if interest.read && !(due && self.looked) {
            self.looked = due;
            if turn.read(transport) != Read::Blocked {
                return true;
            }
        }
        if due {
            *self.armed = None;
            *self.fired = true;
            let deadline = turn.connection().deadline();
            if deadline.is_some_and(|deadline| deadline <= turn.now()) {
                count(&group.stats.timeouts, 1);
            }
            turn.timeout();
        }
        due
    }
}

impl<P: Protocol> Drop for Task<P> {
    fn drop(&mut self) {
        if let Some(mailbox) = &self.mailbox {
            count(&self.group.stats.messages_late, mailbox.close() as u64);
        }
        if let Some(connection) = &mut self.connection {
            // A panic in `closed` must not abort the process.
            if catch_unwind(AssertUnwindSafe(|| connection.closed(Reason::Stopped))).is_err() {
                count(&self.group.stats.panics, 1);
            }
            self.group.stats.count_end(Reason::Stopped);
            self.drop_connection();
        }
        self.group.part_with(self.timer, self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use core::convert::Infallible;
    use protocol::driver::Transfer;
    use protocol::{Cx, Input, Simple};
    use std::task::Wake;

    /// A stream with input for one read.
    struct Once(Option<&'static [u8]>, Vec<u8>);

    impl Transport for Once {
        fn receive(&mut self, buffer: &mut [u8]) -> Transfer {
            let Some(bytes) = self.0.take() else {
                return Transfer::Blocked;
            };
            buffer[..bytes.len()].copy_from_slice(bytes);
            Transfer::Bytes(bytes.len())
        }

        fn send(&mut self, bytes: &[u8]) -> Transfer {
            self.1.extend_from_slice(bytes);
            Transfer::Bytes(bytes.len())
        }

        fn shutdown(&mut self) {}
    }

    /// A transport whose group stops, as if on another thread, just before the timer is set for the first time.
    struct StoppedMeanwhile(Arc<Group>);

    impl Protocol for StoppedMeanwhile {
        type Message = Infallible;
        type Error = Infallible;

        fn received(&mut self, _: &mut Cx<'_>, _: &mut Input<'_>) -> Result<(), Infallible> {
            Ok(())
        }

        fn deadline(&self) -> Option<Instant> {
            self.0.enter(Phase::Stopping).into_iter().for_each(Waker::wake);
            None
        }
    }

    /// Counts wake-ups.
    #[derive(Default)]
    struct Wakes(AtomicU64);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            count(&self.0, 1);
        }
    }

    #[test]
    fn a_stop_before_the_first_timer_is_set_is_not_lost() {
        let group = Group::new(Config::default());
        let mut task = Task::new(StoppedMeanwhile(Arc::clone(&group)), None, Arc::clone(&group), 0);
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut stream = Once(None, Vec::new());
        assert!(task.poll(&waker, &mut stream).is_pending());
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(!task.stopped);
        let _ = task.poll(&waker, &mut stream);
        assert!(task.stopped);
    }

    #[test]
    fn a_mailbox_without_senders_is_given_back() {
        let group = Group::new(Config::default());
        let queue = Queue::new(1);
        let sender = Arc::clone(&queue);
        let echo = Simple(|cx: &mut Cx<'_>, input: &mut Input<'_>| cx.send(input.take_all()));
        let mut task = Task::new(echo, Some(queue), Arc::clone(&group), 0);
        let mut stream = Once(Some(b"hi"), Vec::new());
        assert!(task.poll(Waker::noop(), &mut stream).is_pending());
        assert_eq!((&stream.1[..], task.mailbox.is_some()), (&b"hi"[..], true));
        drop(sender);
        assert!(task.poll(Waker::noop(), &mut stream).is_pending());
        assert!(task.mailbox.is_none());
        assert_eq!(group.active(), 1);
        drop(task);
        assert_eq!((group.active(), group.stats().stopped), (0, 1));
    }
}
