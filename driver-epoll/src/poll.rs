//! Waiting.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::SpareCapacity;
use rustix::event::{Timespec, epoll};
use timing_wheel::Ticks;

/// Waits for events for at most `sleep`, rounded up to a millisecond: waking before a deadline would mean waking twice. An interrupted wait
/// returns early, without events.
pub(crate) fn wait(
    epoll: &OwnedFd,
    events: SpareCapacity<'_, epoll::Event>,
    sleep: Option<Duration>,
) -> io::Result<()> {
    let millis = sleep.map(|sleep| i32::try_from(Ticks::MILLISECOND.deadline(sleep)).unwrap_or(i32::MAX));
    let timespec = millis.map(|millis| Timespec {
        tv_sec: i64::from(millis / 1000),
        tv_nsec: i64::from(millis % 1000) * 1_000_000,
    });
    match epoll::wait(epoll, events, timespec.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
