//! A restart under load: a successor takes over the listening socket, and every client is accepted and answered.
#![cfg(target_os = "linux")]

#[macro_use]
#[path = "../../drivers/tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use drivers::{Driver, Server};
use processes::{offer_sockets, offer_sockets_with, take_over};
use protocol::{Cx, Input, Protocol};

/// Answers one question with its name. Does not close before, even while draining.
struct Answerer(&'static [u8; 3]);

impl Protocol for Answerer {
    type Message = ();
    type Error = std::convert::Infallible;

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        input.take_all();
        cx.send(self.0);
        cx.close();
        Ok(())
    }

    fn stop(&mut self, _: &mut Cx<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn a_restart_refuses_nobody(driver: Driver) {
    let path = std::env::temp_dir().join(format!("drivers-handover-{}-{driver}", std::process::id()));
    assert!(take_over(&path).unwrap().is_none(), "the path already has an offer");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let old = Server::on(driver).threads(2);
    let old = old
        .serve_on(listener.try_clone().unwrap(), |_| Some(Answerer(b"old")))
        .unwrap();
    let handle = old.handle();
    offer_sockets(&path, &[listener], move || handle.stop(Duration::from_secs(10))).unwrap();

    let over = Arc::new(AtomicBool::new(false));
    let answers: Arc<[AtomicU64; 2]> = Arc::default();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut stream = TcpStream::connect(to).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    stream.write_all(b"who?").unwrap();
                    let mut name = [0; 3];
                    stream.read_exact(&mut name).unwrap();
                    answers[usize::from(&name == b"new")].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let answered = |which: usize| answers[which].load(Ordering::Relaxed);
    common::eventually("the old one answers", || answered(0) > 100);

    // A successor that ends before it is ready changes nothing.
    drop(take_over(&path).unwrap().unwrap());
    let before = answered(0);
    common::eventually("the old one still answers", || answered(0) > before + 100);

    let mut taken = take_over(&path).unwrap().unwrap();
    let socket = taken.sockets.pop().unwrap();
    let new = Server::on(driver).serve_on(socket, |_| Some(Answerer(b"new"))).unwrap();
    taken.ready().unwrap();
    let stats = old.join().unwrap();
    assert_eq!(stats.stopped, 0, "{stats:?}");
    let before = answered(1);
    common::eventually("the new one answers", || answered(1) > before + 100);
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    new.stop(Duration::from_secs(5)).unwrap();
    std::fs::remove_file(&path).unwrap();
}

/// A process was killed between binding its socket beside the path and renaming it. In a container the next process may have the same id.
#[test]
fn what_a_killed_process_left_beside_the_path_hinders_nobody() {
    let path = std::env::temp_dir().join(format!("drivers-handover-{}-left", std::process::id()));
    let mut beside = path.clone().into_os_string();
    beside.push(format!(".{}", std::process::id()));
    drop(UnixListener::bind(&beside).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    offer_sockets(&path, &[listener], || {}).unwrap();
    take_over(&path).unwrap().unwrap().ready().unwrap();
    assert!(!std::path::Path::new(&beside).exists());
    std::fs::remove_file(&path).unwrap();
}

/// A successor is ready, and dies before it offers the sockets itself. The next start finds no offer at the path, though the first
/// process still drains and holds its [`Offer`](processes::Offer).
#[test]
fn a_fulfilled_offer_leaves_nobody_at_the_path() {
    let path = std::env::temp_dir().join(format!("drivers-handover-{}-fulfilled", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let offer = offer_sockets(&path, &[listener], move || tell.send(()).unwrap()).unwrap();
    take_over(&path).unwrap().unwrap().ready().unwrap();
    told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(take_over(&path).unwrap().is_none());
    offer.withdraw();
    std::fs::remove_file(&path).unwrap();
}

/// A server stops without a successor: its withdrawn offer does not keep the address in use while the server drains.
fn a_withdrawn_offer_keeps_no_socket(driver: Driver) {
    let path = std::env::temp_dir().join(format!("drivers-withdrawn-{}-{driver}", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let offer = offer_sockets(&path, &[&listener], || panic!("no successor takes the sockets")).unwrap();
    let server = Server::on(driver)
        .serve_on(listener, |_| Some(Answerer(b"old")))
        .unwrap();
    let mut inside = TcpStream::connect(to).unwrap();
    inside.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    common::eventually("it is accepted", || server.handle().stats().accepted == 1);
    server.handle().stop(Duration::from_secs(60));
    offer.withdraw();
    common::eventually("nobody can connect", || TcpStream::connect(to).is_err());
    assert!(take_over(&path).unwrap().is_none());
    inside.write_all(b"who?").unwrap();
    let mut name = [0; 3];
    inside.read_exact(&mut name).unwrap();
    server.join().unwrap();
    std::fs::remove_file(&path).unwrap();
}

/// One client keeps a predecessor draining: the predecessor is not woken for new connections instead of its successor.
fn a_draining_predecessor_leaves_new_connections_to_its_successor(driver: Driver) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let connected = || {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let ask = |mut stream: TcpStream| {
        let mut name = [0; 3];
        stream.write_all(b"who?").unwrap();
        stream.read_exact(&mut name).unwrap();
        name
    };
    let serve = |socket: TcpListener, name: &'static [u8; 3]| {
        Server::on(driver).serve_on(socket, move |_| Some(Answerer(name)))
    };
    let old = serve(listener.try_clone().unwrap(), b"old").unwrap();
    let inside = connected();
    common::eventually("it is accepted", || old.handle().stats().accepted == 1);
    let new = serve(listener, b"new").unwrap();
    old.handle().stop(Duration::from_secs(60));
    let mut by_the_old = 0;
    for _ in 0..200 {
        by_the_old += u32::from(&ask(connected()) == b"old");
    }
    assert!(by_the_old < 100, "the predecessor still accepts connections");
    assert_eq!(&ask(inside), b"old");
    old.join().unwrap();
    new.stop(Duration::from_secs(5)).unwrap();
}

/// Each successor inherits a descriptor of its own beside the sockets, even if it never gets ready.
#[test]
fn successors_inherit() {
    let path = std::env::temp_dir().join(format!("drivers-handover-{}-inherit", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (count, (tell, told)) = (AtomicU64::new(0), std::sync::mpsc::channel());
    let inherit = move || {
        let (mut ours, theirs) = UnixStream::pair()?;
        ours.write_all(&[count.fetch_add(1, Ordering::Relaxed) as u8; 3])?;
        Ok(vec![theirs.into()])
    };
    offer_sockets_with(&path, &[listener], inherit, move || tell.send(()).unwrap()).unwrap();
    for n in 0..3 {
        let mut taken = take_over(&path).unwrap().unwrap();
        let inherited = std::mem::take(&mut taken.inherited);
        assert_eq!((taken.sockets.len(), inherited.len()), (1, 1));
        let mut read = Vec::new();
        for stream in inherited {
            UnixStream::from(stream).read_to_end(&mut read).unwrap();
        }
        assert_eq!(read, [n; 3]);
        if n == 2 {
            taken.ready().unwrap();
        }
    }
    told.recv_timeout(Duration::from_secs(10)).unwrap();
    std::fs::remove_file(&path).unwrap();
}

on_every_driver! {
    withdrawn: a_withdrawn_offer_keeps_no_socket;
    restart: a_restart_refuses_nobody;
    successor: a_draining_predecessor_leaves_new_connections_to_its_successor;
}
