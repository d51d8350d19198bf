//! Every setting at its extremes: a server serves where the settings allow it, and stops in any case.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;

use drivers::{Config, Driver, Server};
use protocol::{Cx, Input, Protocol};

/// Echoes; sends itself a message at the first byte, and closes at the end.
struct Echo(protocol::Sender<()>);

impl Protocol for Echo {
    type Message = ();
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        // The mailbox may be full, which is not an error.
        let _ = self.0.send(());
        cx.send(input.take_all());
        Ok(())
    }
}

type Setting = (&'static str, fn(&mut Config));

/// Settings with which a server still serves.
const SERVING: &[Setting] = &[
    ("no linger", |c| c.limits.linger = Duration::ZERO),
    ("endless linger", |c| c.limits.linger = Duration::MAX),
    ("endless writes", |c| c.limits.write_timeout = Some(Duration::MAX)),
    ("no time to write", |c| c.limits.write_timeout = Some(Duration::ZERO)),
    ("no time to connect", |c| c.connect_timeout = Duration::ZERO),
    ("endless connects", |c| c.connect_timeout = Duration::MAX),
    ("no mailbox", |c| c.mailbox = 0),
    ("endless mailbox", |c| c.mailbox = usize::MAX),
    ("no accept budget", |c| c.accept_budget = 0),
    ("endless accept budget", |c| c.accept_budget = usize::MAX),
    ("no message budget", |c| c.message_budget = 0),
    ("endless message budget", |c| c.message_budget = usize::MAX),
    ("no timer budget", |c| c.timer_budget = 0),
    ("endless timer budget", |c| c.timer_budget = usize::MAX),
    ("endless connections", |c| c.max_connections = usize::MAX),
    ("endless connections of an address", |c| {
        c.max_per_address = Some(usize::MAX)
    }),
    ("no discarding", |c| c.limits.max_discard = 0),
    ("endless discarding", |c| c.limits.max_discard = usize::MAX),
    ("endless input", |c| c.limits.max_input = usize::MAX),
    ("endless output", |c| c.limits.max_output = usize::MAX),
    ("no high-water mark", |c| c.limits = c.limits.high_water(0)),
    ("endless high-water mark", |c| {
        c.limits = c.limits.high_water(usize::MAX)
    }),
];

/// Settings with which a server need not serve.
const REFUSING: &[Setting] = &[
    ("no connections", |c| c.max_connections = 0),
    ("no connections of an address", |c| c.max_per_address = Some(0)),
    ("no input", |c| c.limits.max_input = 0),
    ("no output", |c| c.limits.max_output = 0),
];

#[test]
fn every_setting_serves_and_stops() {
    for &driver in Driver::ALL {
        let settings = SERVING.iter().map(|setting| (setting, true));
        for (&(name, change), serves) in settings.chain(REFUSING.iter().map(|setting| (setting, false))) {
            for drain in [Duration::ZERO, Duration::MAX] {
                run(driver, name, change, serves, drain);
            }
        }
    }
}

fn run(driver: Driver, name: &str, change: fn(&mut Config), serves: bool, drain: Duration) {
    let server = Server::on(driver).configure(change);
    let running = server.serve("127.0.0.1:0", |peer| Some(Echo(peer.sender()))).unwrap();
    let mut client = TcpStream::connect(running.local_addr().unwrap()).unwrap();
    if serves {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut seen = [0; 5];
        client.write_all(b"hello").unwrap();
        client
            .read_exact(&mut seen)
            .unwrap_or_else(|error| panic!("{driver}, {name}: {error}"));
        assert_eq!(&seen, b"hello", "{driver}, {name}");
    }
    // A connected client does not keep the server from stopping: the protocol closes, and so has the client.
    drop(client);
    let (done, stopped) = channel();
    std::thread::spawn(move || done.send(running.stop(drain).map(drop)));
    let outcome = stopped.recv_timeout(Duration::from_secs(10));
    assert!(matches!(outcome, Ok(Ok(()))), "{driver}, {name}: {outcome:?}");
}
