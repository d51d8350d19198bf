//! Blocking clients, for the tools.

pub(crate) mod http;
pub(crate) mod ws;

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The timeout for connecting, reading and writing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// Looks up the address of HOST:PORT.
///
/// # Errors
///
/// If there is none.
pub(crate) fn resolve(address: &str) -> io::Result<SocketAddr> {
    let mut addresses = address
        .to_socket_addrs()
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    addresses
        .next()
        .ok_or_else(|| io::Error::other(format!("{address} has no address")))
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Appends the next input. The end of the stream is an error.
fn read(stream: &mut impl Read, input: &mut Vec<u8>) -> io::Result<()> {
    let there = input.len();
    input.resize(there + READ, 0);
    let n = stream.read(&mut input[there..])?;
    input.truncate(there + n);
    if n == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
