//! A connection opened by another connection runs on the same thread.

#[macro_use]
mod common;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

use drivers::{Driver, Handle, Server};
use protocol::{Cx, Input, Protocol, Sender};

/// Opens a connection to its own server, and tells its client whether both run on the same thread.
enum Both {
    Client {
        handle: Arc<OnceLock<Handle<Both>>>,
        here: Sender<ThreadId>,
    },
    Opened(Sender<ThreadId>),
}

impl Protocol for Both {
    type Message = ThreadId;
    type Error = Infallible;

    fn connected(&mut self, _: &mut Cx<'_>) -> Result<(), Infallible> {
        if let Both::Opened(asked) = self {
            let _ = asked.send(thread::current().id());
        }
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        input.take_all();
        if let Both::Client { handle, here } = self {
            let (handle, here) = (handle.wait(), here.clone());
            let own = LISTENER.get().unwrap().local_addr().unwrap();
            assert!(handle.connect(own, move |_| Both::Opened(here)));
        }
        Ok(())
    }

    fn posted(&mut self, cx: &mut Cx<'_>, opened: ThreadId) -> Result<(), Infallible> {
        cx.send(if opened == thread::current().id() {
            b"same "
        } else {
            b"other"
        });
        Ok(())
    }
}

/// The listener to which the connections are opened.
static LISTENER: OnceLock<std::net::TcpListener> = OnceLock::new();

fn nearest(driver: Driver) {
    LISTENER.get_or_init(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let handle = Arc::new(OnceLock::new());
    let theirs = Arc::clone(&handle);
    let running = Server::on(driver)
        .threads(4)
        .serve("127.0.0.1:0", move |peer| {
            let (handle, here) = (Arc::clone(&theirs), peer.sender());
            Some(Both::Client { handle, here })
        })
        .unwrap();
    assert!(handle.set(running.handle()).is_ok());
    for _ in 0..30 {
        let mut stream = TcpStream::connect(running.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"?").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"same ");
    }
    running.stop(Duration::ZERO).unwrap();
}

on_every_driver! {
    what_a_connection_opens_runs_on_its_thread: nearest;
}
