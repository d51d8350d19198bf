//! Futures without a runtime.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future of this crate on this thread, which sleeps meanwhile. Not for threads that run other futures, or a driver.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http_client::{Client, Settings, wait};
///
/// let client = Client::on(&drivers::Server::new(), Settings::default())?;
/// let mut answer = wait(client.get("http://example.org/").send())?;
/// println!("{}", wait(answer.text())?);
/// # Ok(()) }
/// ```
pub fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

/// A future that is polled by whoever wakes it.
struct Spawned {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    /// A wake-up has come that no poll has answered yet.
    woken: AtomicBool,
}

impl Wake for Spawned {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        // Who holds the lock polls again.
        while self.woken.load(Ordering::Acquire)
            && let Ok(mut future) = self.future.try_lock()
        {
            if self.woken.swap(false, Ordering::AcqRel)
                && let Some(running) = &mut *future
            {
                let waker = Waker::from(Arc::clone(&self));
                if running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    *future = None;
                }
            }
        }
    }
}

/// Polls `future` here, and later on the threads that wake it.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    let spawned = Arc::new(Spawned {
        future: Mutex::new(Some(Box::pin(future))),
        woken: AtomicBool::new(false),
    });
    spawned.wake();
}
