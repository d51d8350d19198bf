//! The options of connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{Connect, SocketOptions};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

#[cfg(target_os = "linux")]
use crate::linux;

/// Sets the options of a connection's socket: an accepted socket, or one that is about to connect.
pub fn prepare<'a>(socket: impl Into<SockRef<'a>>, options: &SocketOptions) {
    let socket = socket.into();
    // An option fails only if it does not apply: on a socket that is not TCP, or that is already broken.
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

/// Sets the options of a socket that is about to listen, except those about its address.
pub(crate) fn prepare_listening(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    // Accepted connections inherit the size, which must be set before the handshake announces the window scale.
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    #[cfg(target_os = "linux")]
    {
        let set = |option, value| linux::set(&socket.into(), libc::IPPROTO_TCP, option, value);
        if let Some(time) = options.defer_accept {
            // 0 would disable the option.
            set(libc::TCP_DEFER_ACCEPT, number(time.as_secs_f64().ceil() as u64).max(1))?;
        }
        if let Some(queue) = options.fast_open {
            set(libc::TCP_FASTOPEN, number(queue.into()))?;
        }
    }
    Ok(())
}

/// Creates a non-blocking socket, ready to connect to `to`, which is [`Connect::to`] or an address of its name.
///
/// # Errors
///
/// When the requested local address is not available, or file descriptors run out.
pub fn connecting(to: SocketAddr, connect: &Connect, options: &SocketOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    prepare(&socket, options);
    if let Some(local) = connect.local {
        if local.port() != 0 {
            socket.set_reuse_address(true)?;
        }
        #[cfg(target_os = "linux")]
        if local.port() == 0 {
            linux::set(&(&socket).into(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        }
        socket.bind(&local.into())?;
    }
    #[cfg(target_os = "linux")]
    if connect.fast_open {
        linux::set(&(&socket).into(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)?;
    }
    Ok(socket)
}

/// Clamps a value to the kernel's type.
#[cfg(target_os = "linux")]
fn number(value: u64) -> libc::c_int {
    libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX)
}

/// Makes the close of the socket, which must follow, reset the connection.
pub fn reset<'a>(socket: impl Into<SockRef<'a>>) {
    // Fails only on a socket that is already broken.
    let _ = socket.into().set_linger(Some(Duration::ZERO));
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Reads an option of a socket that listens or connects with these options.
    fn has(socket: &Socket, option: libc::c_int) -> libc::c_int {
        linux::get(&socket.into(), libc::IPPROTO_TCP, option).unwrap()
    }

    fn listening(options: &SocketOptions) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        prepare_listening(&socket, options).unwrap();
        socket.listen(1).unwrap();
        socket
    }

    #[test]
    fn a_listener_has_its_options() {
        let mut options = SocketOptions::default();
        let plain = listening(&options);
        assert_eq!(
            (has(&plain, libc::TCP_DEFER_ACCEPT), has(&plain, libc::TCP_FASTOPEN)),
            (0, 0)
        );
        options.fast_open = Some(17);
        options.send_buffer = Some(100_000);
        for (time, seconds) in [(0, 1), (200, 1), (3000, 3), (4000, 7)] {
            options.defer_accept = Some(Duration::from_millis(time));
            let socket = listening(&options);
            assert_eq!(has(&socket, libc::TCP_DEFER_ACCEPT), seconds);
            assert_eq!(has(&socket, libc::TCP_FASTOPEN), 17);
            // The kernel doubles the value for its own needs.
            assert_eq!(socket.send_buffer_size().unwrap(), 200_000);
        }
    }

    #[test]
    fn a_connection_has_its_options() {
        let options = SocketOptions {
            quickack: true,
            user_timeout: Some(Duration::from_secs(5)),
            ..SocketOptions::default()
        };
        let to = "127.0.0.1:1".parse().unwrap();
        let socket = connecting(to, &Connect::new(to), &options).unwrap();
        assert!(socket.tcp_nodelay().unwrap() && socket.nonblocking().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), options.user_timeout);
        assert_eq!(has(&socket, libc::TCP_FASTOPEN_CONNECT), 0);
        let local = "127.0.0.7:0".parse().unwrap();
        let socket = connecting(to, &Connect::new(to).local(local).fast_open(), &options).unwrap();
        assert_eq!(has(&socket, libc::TCP_FASTOPEN_CONNECT), 1);
        // No port is taken before the connect.
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(local));
        let elsewhere = connecting(to, &Connect::new(to).local("192.0.2.1:0".parse().unwrap()), &options);
        assert_eq!(elsewhere.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
