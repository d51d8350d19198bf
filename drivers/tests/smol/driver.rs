//! A complete driver on smol: a worker that accepts, fires timers and stops, and a task for each connection.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use driver_common::Stopping;
use driver_common::tasks::{Group, Phase, Refused, Task, admit, load_cached};
use protocol::driver::{Transfer, Transport};
use protocol::{Load, Peer, Protocol};
use smol::io::{AsyncRead, AsyncWrite};
use smol::{Async, LocalExecutor, Timer};

/// How long accepting pauses when descriptors run out or the connection limit is reached.
const PAUSE: Duration = Duration::from_millis(100);

/// A stream while its task is polled.
struct Io<'a, 'c>(&'a mut Async<TcpStream>, &'a mut Context<'c>);

fn transfer(polled: Poll<io::Result<usize>>) -> Transfer {
    match polled {
        Poll::Pending => Transfer::Blocked,
        Poll::Ready(outcome) => outcome.map_or_else(|error| Transfer::Failed(error.kind()), Transfer::Bytes),
    }
}

impl Transport for Io<'_, '_> {
    const SHORT_SEND_BLOCKS: bool = false;
    fn receive(&mut self, buffer: &mut [u8]) -> Transfer {
        transfer(Pin::new(&mut *self.0).poll_read(self.1, buffer))
    }
    fn send(&mut self, bytes: &[u8]) -> Transfer {
        transfer(Pin::new(&mut *self.0).poll_write(self.1, bytes))
    }
    fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> Transfer {
        transfer(Pin::new(&mut *self.0).poll_write_vectored(self.1, slices))
    }
    fn load(&mut self, load: &Arc<Load>) -> bool {
        if load.is_done() || load_cached(load) {
            return false;
        }
        if load.begin(self.1.waker()) {
            let load = Arc::clone(load);
            smol::unblock(move || load.run()).detach();
        }
        true
    }
    fn shutdown(&mut self) {
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }
}

/// One connection, until its end.
pub(crate) async fn connection<P: Protocol>(mut task: Task<P>, mut stream: Async<TcpStream>) {
    let end = poll_fn(|cx| task.poll(&cx.waker().clone(), &mut Io(&mut stream, cx)));
    if end.await.reset {
        driver_common::reset(&stream);
    }
}

/// Serves the connections of `listener` on this thread until `stop` holds a drain time, and then for at most that time.
pub(crate) fn serve<P, F>(group: &Arc<Group>, stop: &Mutex<Option<Duration>>, listener: TcpListener, mut factory: F)
where
    P: Protocol + 'static,
    P::Message: Send + 'static,
    F: FnMut(&Peer<'_, P::Message>) -> Option<P>,
{
    let executor = LocalExecutor::new();
    let mut accepting = Some(Box::pin(async {
        let listener = Async::new(listener).expect("the reactor takes sockets");
        for token in 1.. {
            while group.active() >= group.config.max_connections as u64 {
                Timer::after(PAUSE).await;
            }
            match listener.accept().await {
                Ok((stream, remote)) => {
                    driver_common::prepare(&stream, &group.config.socket);
                    let local = || stream.get_ref().local_addr().ok();
                    match admit(group, token, Some(remote), &local, &mut factory) {
                        Ok(task) => executor.spawn(connection(task, stream)).detach(),
                        Err(Refused) => driver_common::reset(&stream),
                    }
                }
                Err(_) => {
                    group.stats.accept_pauses.fetch_add(1, Ordering::Relaxed);
                    Timer::after(PAUSE).await;
                }
            }
            smol::future::yield_now().await;
        }
    }));
    let mut stopping: Option<Stopping<Waker>> = None;
    let mut timer = Timer::never();
    smol::block_on(executor.run(poll_fn(|cx| {
        let now = Instant::now();
        let mut next = group.expire(now, group.config.timer_budget, cx.waker());
        if let Some(drain) = stop.lock().unwrap().take() {
            accepting = None;
            stopping = Some(Stopping::new(now, drain, group.enter(Phase::Stopping)));
        }
        if let Some(stopping) = &mut stopping {
            let over = stopping.is_over(now);
            let due = if over {
                group.enter(Phase::Killing)
            } else {
                stopping.next(now)
            };
            due.into_iter().for_each(Waker::wake);
            let sleep = stopping.sleep(now).filter(|_| !over);
            next = next.into_iter().chain(sleep.map(|sleep| now + sleep)).min();
        }
        match &mut accepting {
            Some(accepting) => drop(accepting.as_mut().poll(cx)),
            None if group.active() == 0 => return Poll::Ready(()),
            None => {}
        }
        timer = next.map_or_else(Timer::never, Timer::at);
        if Pin::new(&mut timer).poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })));
}
