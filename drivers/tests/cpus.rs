//! Threads pinned to CPUs, and the connections that each thread gets, on every driver.
#![cfg(target_os = "linux")]

#[macro_use]
mod common;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

use drivers::{Driver, Server, allowed_cpus};
use protocol::{Cx, Input, Protocol};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Sends the list of CPUs on which its thread may run.
#[derive(Debug)]
struct Where;

impl Protocol for Where {
    type Message = ();
    type Error = std::convert::Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Self::Error> {
        cx.send(format!("{:?}", allowed_cpus().unwrap()).as_bytes());
        cx.close();
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Self::Error> {
        input.take_all();
        Ok(())
    }
}

/// Two allowed CPUs, if there are two.
fn two_cpus() -> Option<[usize; 2]> {
    let cpus = allowed_cpus().unwrap();
    let two = [*cpus.first()?, *cpus.get(1)?];
    Some(two)
}

fn pinned(driver: Driver) {
    let cpus = allowed_cpus().unwrap();
    let last = cpus[cpus.len() - 1];
    let server = Server::on(driver)
        .threads(2)
        .configure(|config| config.cpus = vec![last]);
    let server = server.serve("127.0.0.1:0", |_| Some(Where)).unwrap();
    for _ in 0..10 {
        let mut said = String::new();
        let mut stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, format!("[{last}]"));
    }
    server.stop(Duration::from_secs(5)).unwrap();
    let nowhere = Server::on(driver).configure(|config| config.cpus = vec![100_000]);
    let nowhere = nowhere.serve("127.0.0.1:0", |_| Some(Where)).unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::InvalidInput);
}

/// On loopback the CPU that sends a SYN receives it.
fn steered(driver: Driver) {
    let Some([one, two]) = two_cpus() else {
        return eprintln!("SKIPPED: one CPU");
    };
    for cpus in [[one, two], [two, one]] {
        let server = Server::on(driver).threads(2).configure(|config| {
            config.cpus = cpus.to_vec();
            config.steer = true;
        });
        let server = server.serve("127.0.0.1:0", |_| Some(Where)).unwrap();
        let to = server.local_addr().unwrap();
        let client = std::thread::spawn(move || {
            for (cpu, count) in [(cpus[0], 30), (cpus[1], 20)] {
                let mut set = CpuSet::new();
                set.set(cpu);
                sched_setaffinity(None, &set).unwrap();
                for _ in 0..count {
                    let mut said = String::new();
                    TcpStream::connect(to).unwrap().read_to_string(&mut said).unwrap();
                    assert_eq!(said, format!("[{cpu}]"));
                }
            }
        });
        client.join().unwrap();
        let handle = server.handle();
        let shares = || -> Vec<u64> { handle.stats_by_thread().iter().map(|stats| stats.accepted).collect() };
        common::eventually("each thread has those of its CPU", || shares() == [30, 20]);
        server.stop(Duration::from_secs(5)).unwrap();
    }
}

fn no_steering_without_cpus(driver: Driver) {
    let steering = |cpus: Vec<usize>, share: bool| {
        let server = Server::on(driver).threads(2).configure(|config| {
            config.cpus = cpus;
            config.steer = true;
            config.socket.share_port = share;
        });
        server.serve("127.0.0.1:0", |_| Some(Where)).unwrap_err().kind()
    };
    let cpus = allowed_cpus().unwrap();
    assert_eq!(steering(vec![], false), ErrorKind::InvalidInput);
    assert_eq!(steering(vec![cpus[0]], false), ErrorKind::InvalidInput);
    assert_eq!(steering(vec![cpus[0], cpus[0]], true), ErrorKind::InvalidInput);
}

on_every_driver! {
    pinned_threads: pinned;
    steered_connections: steered;
    without_cpus: no_steering_without_cpus;
}
