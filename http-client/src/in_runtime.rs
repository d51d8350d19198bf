//! A client in a runtime of tokio.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use driver_common::Config;
use driver_tokio::{Listener, Tokio};
use protocol::Peer;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::Settings;
use crate::agent::Agent;
use crate::dialer::{ClockSender, Dialer, Node, OnDriver};
use crate::line::{Guard, Nudge};

/// The driver in the runtime, and a task instead of a connection for the timers.
struct InRuntime {
    driver: OnDriver<Tokio>,
    notify: Arc<Notify>,
}

impl Dialer for InRuntime {
    fn dial(&self, connect: driver_common::Connect, guard: Guard) {
        self.driver.dial(connect, guard);
    }

    fn wake_clock(&self) {
        self.notify.notify_one();
    }

    fn stop(&self) {
        self.driver.stop();
        self.notify.notify_one();
    }
}

/// Starts a client's agent in `runtime`.
pub(crate) fn start(settings: Settings, runtime: &Handle) -> Arc<Agent> {
    let _entered = runtime.enter();
    let refuse = |_: &Peer<'_, Nudge>| -> Option<Node> { None };
    let (handle, worker) = driver_tokio::serve_in_runtime(Config::default(), std::iter::empty::<Listener>(), refuse);
    let notify = Arc::new(Notify::new());
    let dialer = InRuntime {
        driver: OnDriver {
            handle: Arc::new(OnceLock::from(handle)),
            clock: ClockSender::default(),
        },
        notify: Arc::clone(&notify),
    };
    let agent = Agent::new(settings, Box::new(dialer));
    let weak = Arc::downgrade(&agent);
    runtime.spawn(worker);
    runtime.spawn(async move {
        loop {
            let deadline = match weak.upgrade() {
                Some(agent) if !agent.is_stopped() => agent.deadline(),
                _ => return,
            };
            match deadline {
                None => notify.notified().await,
                Some(at) if tokio::time::timeout_at(at.into(), notify.notified()).await.is_err() => {
                    if let Some(agent) = weak.upgrade() {
                        agent.tick(Instant::now());
                    }
                }
                Some(_) => {}
            }
        }
    });
    agent
}
