//! The options of connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::driver::SocketOptions;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

/// Sets what belongs on the socket of a connection: one that was accepted, or is about to connect.
pub fn prepare<'a>(socket: impl Into<SockRef<'a>>, options: &SocketOptions) {
    let socket = socket.into();
    // Each fails only where it makes no sense: on sockets that are no TCP sockets, or are broken already.
    if options.nodelay {
        let _ = socket.set_tcp_nodelay(true);
    }
    if let Some(keepalive) = options.keepalive {
        let times = TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval);
        let _ = socket.set_tcp_keepalive(&times.with_retries(keepalive.count));
    }
    #[cfg(target_os = "linux")]
    {
        if options.user_timeout.is_some() {
            let _ = socket.set_tcp_user_timeout(options.user_timeout);
        }
        if options.quickack {
            let _ = socket.set_tcp_quickack(true);
        }
    }
    if let Some(size) = options.receive_buffer {
        let _ = socket.set_recv_buffer_size(size);
    }
    if let Some(size) = options.send_buffer {
        let _ = socket.set_send_buffer_size(size);
    }
}

/// A socket that does not block, ready to connect to `to`.
///
/// # Errors
///
/// When descriptors run out, or the system does not know the family of the address.
pub fn connecting(to: SocketAddr, options: &SocketOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    prepare(&socket, options);
    Ok(socket)
}

/// Has a connection reset when its socket is closed, which is to follow.
pub fn reset<'a>(socket: impl Into<SockRef<'a>>) {
    // It fails only on a socket that is broken already.
    let _ = socket.into().set_linger(Some(Duration::ZERO));
}
