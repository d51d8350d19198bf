//! Binding and listening.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(unix)]
use std::os::unix::net::UnixListener;

use crate::{Config, SocketOptions};
use socket2::{Domain, Socket, Type};

#[cfg(target_os = "linux")]
use crate::linux;
use crate::options::prepare_listening;

/// One address where a server accepts: either one socket that all of its threads accept from, or one socket for each thread.
///
/// With one socket for each thread (`SO_REUSEPORT`), the kernel spreads connections evenly, and threads share no lock or
/// wake-up. [`bind`](Listening::bind) creates the sockets; `from` accepts sockets that already listen.
#[derive(Debug)]
pub struct Listening {
    address: Option<SocketAddr>,
    sockets: Vec<Socket>,
}

impl Listening {
    /// Listens on the first of `addresses` that can be bound, for a server with `threads` threads.
    ///
    /// # Errors
    ///
    /// When no address can be bound, for instance because another program listens there already
    /// ([`AddrInUse`](ErrorKind::AddrInUse)).
    pub fn bind(addresses: impl ToSocketAddrs, config: &Config, threads: usize) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::InvalidInput, "no address to listen on");
        for address in addresses.to_socket_addrs()? {
            match Self::bind_one(address, config, threads) {
                Ok(bound) => return Ok(bound),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn bind_one(address: SocketAddr, config: &Config, threads: usize) -> io::Result<Self> {
        let options = &config.socket;
        let share = options.share_port || (threads > 1 && cfg!(unix));
        if share && !options.share_port {
            // Without this check, the shared port could join another program's server unnoticed.
            bind(address, options, false)?;
        }
        let first = bind(address, options, share)?;
        let address = first.local_addr()?.as_socket().unwrap_or(address);
        let mut sockets = vec![first];
        if share {
            for _ in 1..threads {
                sockets.push(bind(address, options, share)?);
            }
        }
        #[cfg(target_os = "linux")]
        if config.steer && share {
            let Some(cpus) = config.cpus.get(..threads).filter(|_| !options.share_port) else {
                let why = "steering needs a CPU for each thread, and a port that is not shared with others";
                return Err(io::Error::new(ErrorKind::InvalidInput, why));
            };
            linux::steer(&(&sockets[0]).into(), cpus)?;
        }
        Ok(Listening {
            address: Some(address),
            sockets,
        })
    }

    /// Groups listening sockets by their addresses, for instance those of a predecessor that had one socket for each of its
    /// threads.
    #[cfg(unix)]
    pub fn group(sockets: impl IntoIterator<Item = OwnedFd>) -> Vec<Self> {
        let mut places: Vec<Listening> = Vec::new();
        for socket in sockets {
            let alone = Listening::from(socket);
            let same = |place: &&mut Listening| place.address.is_some() && place.address == alone.address;
            match places.iter_mut().find(same) {
                Some(place) => place.sockets.extend(alone.sockets),
                None => places.push(alone),
            }
        }
        places
    }

    /// The sockets of this address.
    #[cfg(unix)]
    pub fn as_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// The local address, with the port that the system chose for port 0; `None` if there is no such address (a Unix
    /// socket).
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl From<Socket> for Listening {
    fn from(socket: Socket) -> Self {
        Listening {
            address: socket.local_addr().ok().and_then(|address| address.as_socket()),
            sockets: vec![socket],
        }
    }
}

impl From<TcpListener> for Listening {
    fn from(listener: TcpListener) -> Self {
        Socket::from(listener).into()
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listening {
    fn from(listener: UnixListener) -> Self {
        OwnedFd::from(listener).into()
    }
}

/// A socket of any family, for instance one that a predecessor or a service manager has handed over.
#[cfg(unix)]
impl From<OwnedFd> for Listening {
    fn from(socket: OwnedFd) -> Self {
        Socket::from(socket).into()
    }
}

/// Creates one listening socket, for [`Listening`], `Loop::listen` or other users. With
/// [`share_port`](SocketOptions::share_port) other programs may listen on the same port.
///
/// # Errors
///
/// When the address cannot be bound, or a requested option cannot be set.
pub fn listen(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    bind(address, options, options.share_port).map(TcpListener::from)
}

/// Distributes sockets to the threads of a server: each thread gets the sockets that it accepts from, in non-blocking mode.
/// Also returns the addresses.
///
/// # Errors
///
/// When a socket does not listen, or file descriptors run out.
pub fn deal(
    places: impl IntoIterator<Item = Listening>,
    threads: usize,
) -> io::Result<(Vec<SocketAddr>, Vec<Vec<Socket>>)> {
    let mut addresses = Vec::new();
    let mut dealt: Vec<Vec<Socket>> = (0..threads).map(|_| Vec::new()).collect();
    for Listening { address, sockets } in places {
        addresses.extend(address);
        for socket in &sockets {
            #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
            if !socket.is_listener()? {
                return Err(io::Error::new(ErrorKind::InvalidInput, "the socket does not listen"));
            }
            socket.set_nonblocking(true)?;
        }
        // Each thread gets at least one socket, and each socket at least one thread.
        for turn in 0..sockets.len().max(threads) {
            dealt[turn % threads].push(sockets[turn % sockets.len()].try_clone()?);
        }
    }
    Ok((addresses, dealt))
}

/// Binds and listens. With `share`, other sockets may listen on the same port.
fn bind(address: SocketAddr, options: &SocketOptions, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restarted server must not wait for its predecessor's connections in TIME_WAIT. On Windows this option has another meaning, and is
    // not needed.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    if share {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(unix))]
    let _ = share;
    if options.only_v6 && address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    prepare_listening(&socket, options)?;
    socket.listen(options.backlog)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(share: bool) -> Config {
        let mut config = Config::default();
        config.socket.share_port = share;
        config
    }

    #[test]
    #[cfg(unix)]
    fn threads_share_a_port_and_strangers_do_not() {
        let first = Listening::bind("127.0.0.1:0", &config(false), 3).unwrap();
        assert_eq!(first.sockets.len(), 3);
        let address = first.local_addr().unwrap();
        for threads in [1, 3] {
            let taken = Listening::bind(address, &config(false), threads).unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        }
        assert_eq!(
            Listening::bind(address, &config(true), 2).unwrap().local_addr(),
            Some(address)
        );
    }

    #[test]
    fn the_first_address_that_can_be_bound_is_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let keeps = TcpListener::bind(taken).unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = Listening::bind(&[taken, free][..], &config(false), 1).unwrap();
        assert_ne!(bound.local_addr(), keeps.local_addr().ok());
        let none = Listening::bind(&[][..], &config(false), 1).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    #[cfg(unix)]
    fn every_thread_has_a_socket_and_every_socket_a_thread() {
        let places = || {
            vec![
                Listening::bind("127.0.0.1:0", &config(false), 3).unwrap(),
                TcpListener::bind("127.0.0.1:0").unwrap().into(),
            ]
        };
        for threads in 1..5 {
            let places = places();
            let expected: Vec<SocketAddr> = places.iter().filter_map(Listening::local_addr).collect();
            let (addresses, dealt) = deal(places, threads).unwrap();
            assert_eq!(addresses, expected);
            assert_eq!(dealt.len(), threads);
            for sockets in &dealt {
                for address in &addresses {
                    let here = |socket: &&Socket| socket.local_addr().unwrap().as_socket() == Some(*address);
                    assert!(sockets.iter().find(here).is_some());
                }
            }
            let all: usize = dealt.iter().map(Vec::len).sum();
            assert_eq!(all, threads.max(3) + threads);
        }
    }

    #[test]
    #[cfg(unix)]
    fn sockets_are_grouped_by_address() {
        let many = Listening::bind("127.0.0.1:0", &config(false), 3).unwrap();
        let one = Listening::bind("127.0.0.1:0", &config(false), 1).unwrap();
        let mut sockets: Vec<_> = many.as_fds().chain(one.as_fds()).collect();
        // The sockets are given in different orders.
        for _ in 0..4 {
            sockets.rotate_left(1);
            let places = Listening::group(sockets.iter().map(|socket| socket.try_clone_to_owned().unwrap()));
            let mut sizes: Vec<_> = places
                .iter()
                .map(|place| (place.sockets.len(), place.address))
                .collect();
            sizes.sort_unstable();
            assert_eq!(sizes, [(1, one.address), (3, many.address)]);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_that_does_not_listen_is_refused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let refused = deal(vec![socket.into()], 1).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}
