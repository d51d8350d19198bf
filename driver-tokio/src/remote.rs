//! How other threads communicate with a worker.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use driver_common::tasks::Group;
use driver_common::{Command, Stats, Worker};
use protocol::Protocol;

/// A worker, as other threads see it.
pub struct Remote<P: Protocol> {
    pub(crate) group: Arc<Group>,
    /// `None` once the worker has ended.
    commands: Mutex<Option<Vec<Command<P>>>>,
}

impl<P: Protocol> Remote<P> {
    pub(crate) fn new(group: Arc<Group>) -> Arc<Self> {
        Arc::new(Remote {
            group,
            commands: Mutex::new(Some(Vec::new())),
        })
    }

    pub(crate) fn take(&self) -> Vec<Command<P>> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Accepts no more commands. Returns false if a command is still queued.
    pub(crate) fn close(&self) -> bool {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = commands.as_ref().is_none_or(Vec::is_empty);
        if empty {
            *commands = None;
        }
        empty
    }
}

impl<P: Protocol> Worker<P> for Remote<P> {
    fn command(&self, command: Command<P>) -> bool {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let room = match command {
            Command::Stop(_) => usize::MAX,
            _ => self.group.config.max_connections.max(1),
        };
        let Some(queue) = commands.as_mut().filter(|queue| queue.len() < room) else {
            return false;
        };
        queue.push(command);
        drop(commands);
        self.group.wake();
        true
    }

    fn stats(&self) -> Stats {
        self.group.stats()
    }
}

impl<P: Protocol> fmt::Debug for Remote<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
