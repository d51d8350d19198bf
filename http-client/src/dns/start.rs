//! A DNS resolver on a thread of its own.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use driver_common::{Answer, Resolve};
use protocol::{SendError, Sender};

use super::{AskStream, Dns, DnsConfig, DnsMessage};

/// The most questions over TCP at the same time.
const STREAMS: usize = 4;

/// A [`Resolve`] that asks DNS servers: a [`Dns`] on a thread, which ends with the process.
pub struct DnsResolver {
    sender: Sender<DnsMessage>,
}

impl DnsResolver {
    /// Starts a resolver. The system chooses its port at random.
    ///
    /// # Errors
    ///
    /// When no socket or thread can be created, or the first server has a family that this machine has not.
    pub fn start(config: DnsConfig) -> io::Result<Self> {
        let six = config.servers.first().is_some_and(SocketAddr::is_ipv6);
        let any: IpAddr = if six {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ready, started) = mpsc::channel();
        thread::Builder::new().name("dns".into()).spawn(move || {
            runtime.block_on(async move {
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                let make = move |peer: &protocol::Peer<'_, DnsMessage>| {
                    // The receiver waits for it.
                    let _ = ready.send(peer.sender());
                    let timeout = config.timeout;
                    Dns::new(config, streams(peer.sender(), timeout))
                };
                driver_tokio::serve_datagrams(socket, make).await
            })
        })?;
        let sender = started.recv().map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
        Ok(DnsResolver { sender })
    }
}

impl Resolve for DnsResolver {
    fn resolve(&self, name: &str, answer: Answer) {
        // A message that does not fit fails its look-up.
        match self.sender.send(DnsMessage::Ask(name.to_owned(), answer)) {
            Err(SendError::Full(DnsMessage::Ask(_, answer))) => answer.fail(ErrorKind::ResourceBusy),
            Err(SendError::Closed(DnsMessage::Ask(_, answer))) => answer.fail(ErrorKind::BrokenPipe),
            _ => {}
        }
    }
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DnsResolver(..)")
    }
}

/// Asks over TCP on threads, a few at a time: answers that do not fit in a datagram are rare.
fn streams(sender: Sender<DnsMessage>, timeout: Duration) -> AskStream {
    let busy: Arc<AtomicUsize> = Arc::default();
    Box::new(move |server, id, question| {
        let (sender, busy) = (sender.clone(), Arc::clone(&busy));
        if busy.fetch_add(1, Ordering::AcqRel) >= STREAMS {
            busy.fetch_sub(1, Ordering::AcqRel);
            // Asked again by datagram, later.
            let _ = sender.send(DnsMessage::Stream(id, None));
            return;
        }
        let (theirs, released) = (sender.clone(), Arc::clone(&busy));
        let spawned = thread::Builder::new().name("dns-tcp".into()).spawn(move || {
            let answer = ask(server, &question, timeout).ok();
            released.fetch_sub(1, Ordering::AcqRel);
            let _ = theirs.send(DnsMessage::Stream(id, answer));
        });
        if spawned.is_err() {
            busy.fetch_sub(1, Ordering::AcqRel);
            let _ = sender.send(DnsMessage::Stream(id, None));
        }
    })
}

/// One question over TCP (RFC 1035 section 4.2.2).
fn ask(server: SocketAddr, question: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let length = u16::try_from(question.len()).map_err(|_| ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
