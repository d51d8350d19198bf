//! Opening a connection: to an address, or to the best address of a name.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use driver_common::{Answer, Connect, Eyeballs, Family, Found, Pace, Place, SocketOptions};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Sleep, sleep_until};

/// Connects. Dropping the future drops all attempts.
pub(crate) async fn open_stream(connect: &Connect, options: &SocketOptions) -> io::Result<TcpStream> {
    match &connect.to {
        Place::Address(address) => attempt(*address, connect, options).await,
        Place::Name(name, port) => race(name, *port, connect, options).await,
    }
}

async fn attempt(to: SocketAddr, connect: &Connect, options: &SocketOptions) -> io::Result<TcpStream> {
    let socket = driver_common::connecting(to, connect, options)?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// The results of a look-up that the race has not seen yet.
#[derive(Default)]
struct Inbox {
    found: Vec<Found>,
    waker: Option<Waker>,
}

type Attempt<'a> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>>;

async fn race(name: &str, port: u16, connect: &Connect, options: &SocketOptions) -> io::Result<TcpStream> {
    let inbox = Arc::new(Mutex::new(Inbox::default()));
    let theirs = Arc::clone(&inbox);
    let answer = Answer::new(move |found| {
        let mut inbox = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.found.push(found);
        let waker = inbox.waker.take();
        drop(inbox);
        waker.into_iter().for_each(Waker::wake);
    });
    connect.look_up(name, answer);
    let mut eyeballs = Eyeballs::new(Pace::default());
    let mut attempts: Vec<(IpAddr, Attempt<'_>)> = Vec::new();
    let mut sleep = pin!(sleep_until(Instant::now().into()));
    let resolve_by = connect
        .resolve_timeout
        .and_then(|timeout| Instant::now().checked_add(timeout));
    let wanted = connect.local.map(|local| Family::of(&local.ip()));
    std::future::poll_fn(|cx| {
        for found in inbox.lock().unwrap_or_else(PoisonError::into_inner).take(cx) {
            learn(&mut eyeballs, found, wanted);
        }
        loop {
            let now = Instant::now();
            if !eyeballs.is_resolved() && resolve_by.is_some_and(|by| by <= now) {
                eyeballs.resolve_failed(io::ErrorKind::TimedOut);
            }
            while let Some(address) = eyeballs.next(now) {
                let to = SocketAddr::new(address, port);
                attempts.push((address, Box::pin(attempt(to, connect, options))));
            }
            let mut failed = false;
            let mut at = 0;
            while let Some((address, attempt)) = attempts.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        eyeballs.failed(*address, error.kind());
                        drop(attempts.swap_remove(at));
                        failed = true;
                    }
                    Poll::Pending => at += 1,
                }
            }
            if let Some(failure) = eyeballs.failure() {
                return Poll::Ready(Err(failure.into()));
            }
            let resolving = resolve_by.filter(|_| !eyeballs.is_resolved());
            let wake = [eyeballs.deadline(), resolving].into_iter().flatten().min();
            if !failed && wake.is_none_or(|wake| sleeps(&mut sleep, wake, cx)) {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Passes what was found to the race. `wanted` is the only family that can be reached from the local address.
fn learn(eyeballs: &mut Eyeballs, found: Found, wanted: Option<Family>) {
    match found {
        Found::Addresses(family, addresses) => {
            let usable = wanted.is_none_or(|wanted| wanted == family);
            let addresses = addresses.into_iter().filter(|_| usable);
            eyeballs.resolved(Instant::now(), family, addresses);
        }
        Found::Failed(failure) => eyeballs.resolve_failed(failure),
    }
}

/// Whether the sleep until `wake` lasts.
fn sleeps(sleep: &mut Pin<&mut Sleep>, wake: Instant, cx: &mut Context<'_>) -> bool {
    sleep.as_mut().reset(wake.into());
    sleep.as_mut().poll(cx).is_pending()
}

impl Inbox {
    fn take(&mut self, cx: &Context<'_>) -> Vec<Found> {
        self.waker = Some(cx.waker().clone());
        std::mem::take(&mut self.found)
    }
}
