//! The floor on epoll: one loop, one buffer for each direction, level-triggered.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{RecvFlags, SendFlags};

use crate::floor::Floor;

const LISTENER: u64 = u64::MAX;

struct Conn {
    socket: OwnedFd,
    floor: Floor,
    /// Output that the socket has not taken.
    unsent: Vec<u8>,
}

pub(crate) fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut conns: Vec<Option<Conn>> = Vec::new();
    let mut free = Vec::new();
    let (mut input, mut output) = (vec![0; 64 * 1024], Vec::with_capacity(64 * 1024));
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let key = event.data.u64();
            if key == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    let index = free.pop().unwrap_or(conns.len());
                    epoll::add(&epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
                    conns.resize_with(conns.len().max(index + 1), || None);
                    conns[index] = Some(Conn {
                        socket: stream.into(),
                        floor: Floor::default(),
                        unsent: Vec::new(),
                    });
                }
                continue;
            }
            let index = key as usize;
            let Some(conn) = &mut conns[index] else { continue };
            if !turn(&epoll, conn, key, &mut input, &mut output) {
                conns[index] = None;
                free.push(index);
            }
        }
    }
}

/// One read, one write. Returns false if the connection has ended.
fn turn(epoll: &OwnedFd, conn: &mut Conn, key: u64, input: &mut [u8], output: &mut Vec<u8>) -> bool {
    output.clear();
    let was_full = !conn.unsent.is_empty();
    if was_full {
        output.append(&mut conn.unsent);
    } else {
        match rustix::net::recv(&conn.socket, &mut *input, RecvFlags::empty()) {
            Ok((0, _)) => return false,
            Ok((n, _)) => conn.floor.received(&mut input[..n], output),
            Err(rustix::io::Errno::AGAIN) => return true,
            Err(_) => return false,
        }
    }
    if output.is_empty() {
        return true;
    }
    let sent = match rustix::net::send(&conn.socket, output, SendFlags::NOSIGNAL) {
        Ok(n) => n,
        Err(rustix::io::Errno::AGAIN) => 0,
        Err(_) => return false,
    };
    let full = sent < output.len();
    if full {
        conn.unsent = output[sent..].to_vec();
    }
    if full != was_full {
        let flags = if full { EventFlags::OUT } else { EventFlags::IN };
        return epoll::modify(epoll, &conn.socket, EventData::new_u64(key), flags).is_ok();
    }
    true
}
