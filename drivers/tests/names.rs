//! Connections to names on both drivers: the look-up, the race of the addresses, and how each may fail.

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use driver_common::{Answer, Family, Resolve};
use drivers::{Connect, Driver, Server};
use protocol::{Cx, Input, Protocol, Reason};

/// Says hello, and reports what came back and how the connection ended.
struct Hello {
    heard: Vec<u8>,
    report: mpsc::Sender<(Vec<u8>, Reason)>,
}

impl Protocol for Hello {
    type Message = Infallible;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(b"hello");
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Infallible> {
        self.heard.extend_from_slice(input.take_all());
        Ok(())
    }

    fn closed(&mut self, reason: Reason) {
        let _ = self.report.send((std::mem::take(&mut self.heard), reason));
    }
}

fn open(driver: Driver, connect: Connect) -> (Vec<u8>, Reason) {
    let (report, reports) = mpsc::channel();
    let hello = Hello {
        heard: Vec::new(),
        report,
    };
    let running = Server::on(driver).connect(connect, move |_| hello).unwrap();
    let outcome = reports.recv_timeout(Duration::from_secs(20)).unwrap();
    running.join().unwrap();
    outcome
}

/// A server that greets one client.
fn server(address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut said = [0; 5];
        client.read_exact(&mut said).unwrap();
        client.write_all(b"welcome").unwrap();
    });
    port
}

/// Answers every look-up in the same way.
struct Fixed(Box<dyn Fn(Answer) + Send + Sync>);

impl Resolve for Fixed {
    fn resolve(&self, name: &str, answer: Answer) {
        assert_eq!(name, "somewhere.test");
        (self.0)(answer);
    }
}

fn by(port: u16, answer: impl Fn(Answer) + Send + Sync + 'static) -> Connect {
    Connect::new(("somewhere.test", port)).resolver(Arc::new(Fixed(Box::new(answer))))
}

const NOWHERE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1));

#[test]
fn the_system_knows_localhost() {
    for &driver in Driver::ALL {
        let port = server("127.0.0.1");
        let (heard, reason) = open(driver, Connect::new(("localhost", port)));
        assert_eq!(
            (heard.as_slice(), reason),
            (b"welcome".as_slice(), Reason::Closed),
            "{driver}"
        );
    }
}

/// Unreachable and refusing addresses come first; each hands over to the next at once.
#[test]
fn addresses_that_fail_hand_over_at_once() {
    for &driver in Driver::ALL {
        let port = server("127.0.0.4");
        let start = Instant::now();
        let (heard, reason) = open(
            driver,
            by(port, |mut answer| {
                answer.found(Family::V6, vec![Ipv6Addr::LOCALHOST.into(), NOWHERE_V6]);
                let v4 = [2, 3, 4].map(|last| IpAddr::from([127, 0, 0, last]));
                answer.found(Family::V4, v4.to_vec());
            }),
        );
        assert_eq!(
            (heard.as_slice(), reason),
            (b"welcome".as_slice(), Reason::Closed),
            "{driver}"
        );
        assert!(start.elapsed() < Duration::from_secs(3), "{driver}");
    }
}

/// RFC 8305 section 3: IPv6 answers late or never; IPv4 goes on after 50 ms.
#[test]
fn one_family_does_not_wait_for_the_other() {
    for &driver in Driver::ALL {
        let port = server("127.0.0.1");
        let kept = Mutex::new(Vec::new());
        let start = Instant::now();
        let (heard, _) = open(
            driver,
            by(port, move |mut answer| {
                answer.found(Family::V4, vec![Ipv4Addr::LOCALHOST.into()]);
                kept.lock().unwrap().push(answer);
            }),
        );
        assert_eq!(heard, b"welcome", "{driver}");
        assert!(start.elapsed() >= Duration::from_millis(50), "{driver}");
        assert!(start.elapsed() < Duration::from_secs(3), "{driver}");
    }
}

#[test]
fn failures_say_what_failed() {
    for &driver in Driver::ALL {
        let failed = |connect: Connect| open(driver, connect).1;
        let refused = failed(by(1, |mut answer| {
            answer.found(Family::V6, vec![]);
            answer.found(Family::V4, vec![Ipv4Addr::LOCALHOST.into()]);
        }));
        assert_eq!(refused, Reason::Io(ErrorKind::ConnectionRefused), "{driver}");
        let unknown = failed(by(1, |answer| answer.fail(ErrorKind::NotFound)));
        assert_eq!(unknown, Reason::Io(ErrorKind::NotFound), "{driver}");
        let dropped = failed(by(1, drop));
        assert_eq!(dropped, Reason::Io(ErrorKind::Other), "{driver}");
        let kept = Arc::new(Mutex::new(Vec::new()));
        let silent = |kept: &Arc<Mutex<Vec<Answer>>>| {
            let kept = Arc::clone(kept);
            by(1, move |answer| kept.lock().unwrap().push(answer))
        };
        let late = silent(&kept).resolve_timeout(Some(Duration::from_millis(20)));
        assert_eq!(failed(late), Reason::Io(ErrorKind::TimedOut), "{driver}");
        let late = silent(&kept).timeout(Some(Duration::from_millis(20)));
        assert_eq!(failed(late), Reason::Io(ErrorKind::TimedOut), "{driver}");
        // From an IPv4 address, an IPv6 address cannot be reached.
        let other = by(1, |mut answer| {
            answer.found(Family::V6, vec![Ipv6Addr::LOCALHOST.into()]);
            answer.found(Family::V4, vec![]);
        });
        let other = failed(other.local("127.0.0.1:0".parse().unwrap()));
        assert_eq!(other, Reason::Io(ErrorKind::NotFound), "{driver}");
    }
}

/// A driver that stops does not wait for a look-up.
/// A resolver is the user's code: its panic ends one attempt, not the loop.
#[test]
fn a_resolver_that_panics_has_failed() {
    for driver in Driver::ALL {
        let connect = by(1, |_| panic!("as the test wants"));
        assert_eq!(
            open(*driver, connect),
            (vec![], Reason::Io(ErrorKind::Other)),
            "{driver}"
        );
    }
}

#[test]
fn a_stop_ends_the_attempt() {
    for &driver in Driver::ALL {
        let kept = Mutex::new(Vec::new());
        let (report, reports) = mpsc::channel();
        let connect = by(1, move |answer| kept.lock().unwrap().push(answer));
        let hello = Hello {
            heard: Vec::new(),
            report,
        };
        let connect = connect.timeout(Some(Duration::from_millis(700)));
        let running = Server::on(driver).connect(connect, move |_| hello).unwrap();
        running.stop(Duration::ZERO).unwrap();
        let (_, reason) = reports.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(
            matches!(reason, Reason::Stopped | Reason::Io(ErrorKind::TimedOut)),
            "{driver}: {reason:?}"
        );
    }
}
