//! A whole driver, on smol: a thread whose worker accepts, fires timers and stops, and a task for each connection.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use driver_common::tasks::{Group, Phase, Task, admit};
use protocol::driver::{Config, Stopping, Transfer, Transport};
use protocol::{Peer, Protocol, Stats};
use smol::io::{AsyncRead, AsyncWrite};
use smol::{Async, LocalExecutor, Timer};

/// How long accepting pauses when descriptors run out.
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

    fn shutdown(&mut self) {
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }
}

/// One connection, until its end.
pub(crate) async fn connection<P: Protocol>(mut task: Task<P>, mut stream: Async<TcpStream>) {
    let polled = |cx: &mut Context<'_>| task.poll(&cx.waker().clone(), &mut Io(&mut stream, cx), &mut Stats::default());
    if poll_fn(polled).await.reset {
        driver_common::reset(&stream);
    }
}

/// Serves what comes to `listener` until [`stop`] is called. Runs on a thread of its own.
pub(crate) fn serve<P, F>(group: &Arc<Group>, stop: &Mutex<Option<Duration>>, listener: TcpListener, factory: F)
where
    P: Protocol + 'static,
    P::Message: Send + 'static,
    F: FnMut(&Peer<'_, P::Message>) -> Option<P>,
{
    let executor = LocalExecutor::new();
    let mut listening = Some((Async::new(listener).expect("a listener can be registered"), factory));
    let (mut stopping, mut paused, mut tokens) = (None::<Stopping<Waker>>, None, 0);
    let mut timer = pin!(Timer::never());
    let worker = poll_fn(|cx| {
        let now = Instant::now();
        let timers = group.expire(now, group.config.timer_budget, cx.waker());
        if let Some(drain) = stop.lock().expect("nobody panics with it").take() {
            listening = None;
            stopping = Some(Stopping::new(now, drain, group.enter(Phase::Stopping)));
        }
        let over = stopping.as_ref().is_some_and(|stopping| stopping.is_over(now));
        let killed = if over { group.enter(Phase::Killing) } else { Vec::new() };
        let asked = stopping.as_mut().map(|stopping| stopping.next(now)).unwrap_or_default();
        asked.into_iter().chain(killed).for_each(Waker::wake);
        paused = paused.filter(|until| *until > now);
        if let (Some((listener, factory)), None) = (&mut listening, paused) {
            for left in (0..group.config.accept_budget).rev() {
                match listener.get_ref().accept() {
                    Ok((stream, remote)) => {
                        tokens += 1;
                        let local = stream.local_addr().ok();
                        driver_common::prepare(&stream, &group.config.socket);
                        match (admit(group, tokens, Some(remote), &|| local, factory), Async::new(stream)) {
                            (Ok(task), Ok(stream)) => executor.spawn(connection(task, stream)).detach(),
                            (Err(_), Ok(stream)) => driver_common::reset(&stream),
                            (_, Err(_)) => {}
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock && listener.poll_readable(cx).is_pending() => break,
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {}
                    Err(_) => break paused = Some(now + PAUSE),
                }
                if left == 0 {
                    cx.waker().wake_by_ref();
                }
            }
        }
        if listening.is_none() && group.active() == 0 {
            return Poll::Ready(());
        }
        let stops = stopping.as_ref().filter(|_| !over).and_then(|stopping| now.checked_add(stopping.sleep(now)?));
        if let Some(wake) = [timers, stops, paused].into_iter().flatten().min() {
            timer.as_mut().set(Timer::at(wake));
            if timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    });
    smol::block_on(executor.run(worker));
}

/// Has the server stop, and reset what has not ended after `drain`.
pub(crate) fn stop(group: &Group, stop: &Mutex<Option<Duration>>, drain: Duration) {
    *stop.lock().expect("nobody panics with it") = Some(drain);
    group.wake();
}
