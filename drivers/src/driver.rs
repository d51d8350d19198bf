//! The drivers, by name.

use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::str::FromStr;

use protocol::{Endpoint, Peer, Reason};

/// A driver of this project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Driver {
    /// Raw epoll, one loop per thread.
    #[cfg(target_os = "linux")]
    Epoll,
    /// The tokio runtime, one per thread.
    Tokio,
}

impl Driver {
    /// Every driver of this platform.
    pub const ALL: &[Driver] = &[
        #[cfg(target_os = "linux")]
        Driver::Epoll,
        Driver::Tokio,
    ];

    /// The name of the driver, as in the `--driver` flag.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_os = "linux")]
            Driver::Epoll => "epoll",
            Driver::Tokio => "tokio",
        }
    }
}

impl Default for Driver {
    /// The fastest driver of this platform.
    fn default() -> Self {
        Driver::ALL.first().copied().unwrap_or(Driver::Tokio)
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is not that of a driver on this platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownDriver(String);

impl fmt::Display for UnknownDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a driver on this platform; the drivers are", self.0)?;
        for (i, driver) in Driver::ALL.iter().enumerate() {
            write!(f, "{} {driver}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownDriver {}

impl FromStr for Driver {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Driver::ALL.iter().copied().find(|driver| driver.name() == name);
        known.ok_or_else(|| UnknownDriver(name.to_owned()))
    }
}

/// Runs the endpoint that `make` returns on `socket`, on this thread, until the endpoint closes or fails.
///
/// # Errors
///
/// If the socket's options cannot be set, or the kernel refuses to wait.
pub fn serve_datagrams<E>(
    driver: Driver,
    socket: UdpSocket,
    make: impl FnOnce(&Peer<'_, E::Message>) -> E,
) -> io::Result<Reason>
where
    E: Endpoint,
    E::Message: Send + 'static,
{
    match driver {
        #[cfg(target_os = "linux")]
        Driver::Epoll => driver_epoll::serve_datagrams(socket, make),
        Driver::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                socket.set_nonblocking(true)?;
                driver_tokio::serve_datagrams(tokio::net::UdpSocket::from_std(socket)?, make).await
            })
        }
    }
}
