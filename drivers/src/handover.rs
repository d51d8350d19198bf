//! A listening socket that goes from a process to its successor, so that a restart refuses nobody.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::descriptors;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the listening sockets of the process that [offers](offer_sockets) them at `path`; none when nobody does, which
/// is a first start.
///
/// From then on both processes accept from them. Serve on them, then call [`Taken::ready`]: the other stops accepting
/// then. A successor that fails before takes nothing away.
///
/// # Errors
///
/// When the other process does not answer as it should.
pub fn take_over(path: impl AsRef<Path>) -> io::Result<Option<Taken>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let [sockets, inherited] = descriptors::receive(&stream)?;
    Ok(Some(Taken {
        sockets,
        inherited,
        stream,
    }))
}

/// Sockets that were taken over.
#[derive(Debug)]
pub struct Taken {
    /// The sockets, in the order in which they were offered. [`Listening::group`](crate::Listening::group) sorts them into
    /// the places they serve.
    pub sockets: Vec<OwnedFd>,
    /// What else the predecessor gave, by [`offer_sockets_with`]; nothing when it offered sockets alone.
    pub inherited: Vec<OwnedFd>,
    stream: UnixStream,
}

impl Taken {
    /// Tells the predecessor that the sockets are served.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn ready(mut self) -> io::Result<()> {
        self.stream.write_all(b"!")
    }
}

/// Offers listening sockets at `path`, in the background, to one successor after the other until one is ready; then
/// `taken` is called, to stop this process. Only processes of the same user can take them.
///
/// # Errors
///
/// When `path` cannot be bound, or there are more than 253 sockets. Somebody who offers there already is replaced.
pub fn offer_sockets(
    path: impl Into<PathBuf>,
    sockets: &[impl AsFd],
    taken: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    offer_sockets_with(path, sockets, || Ok(Vec::new()), taken)
}

/// As [`offer_sockets`]; each successor gets the descriptors that `inherit` makes for it as well, for instance a pipe with
/// the keys of session tickets. Where `inherit` fails, that successor gets nothing, and fails in [`take_over`].
///
/// # Errors
///
/// As [`offer_sockets`]. Sockets and what `inherit` makes may be 253 together.
pub fn offer_sockets_with(
    path: impl Into<PathBuf>,
    sockets: &[impl AsFd],
    inherit: impl Fn() -> io::Result<Vec<OwnedFd>> + Send + 'static,
    taken: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    if sockets.len() > descriptors::MOST {
        return Err(io::Error::new(ErrorKind::InvalidInput, "too many sockets"));
    }
    let path = path.into();
    let sockets: Vec<OwnedFd> = sockets
        .iter()
        .map(|socket| socket.as_fd().try_clone_to_owned())
        .collect::<io::Result<_>>()?;
    let listener = bind(&path)?;
    let offering = move || {
        loop {
            match listener.accept() {
                // A successor that goes away or does not get ready has taken nothing.
                Ok((successor, _)) => {
                    if give(successor, &sockets, &inherit).is_ok() {
                        return taken();
                    }
                }
                // Descriptors have run out.
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    };
    thread::Builder::new().name("handover".into()).spawn(offering).map(drop)
}

/// Binds beside `path` first, so that at no time anyone else may connect there.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // In a container every process has the same number. One that was killed here left its socket, which nobody needs.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&beside)?;
    let named = std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&beside, path));
    if named.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    named.map(|()| listener)
}

/// Hands the sockets, and what `inherit` makes, to `successor` and waits until it is ready.
fn give(
    mut successor: UnixStream,
    sockets: &[OwnedFd],
    inherit: impl Fn() -> io::Result<Vec<OwnedFd>>,
) -> io::Result<()> {
    successor.set_read_timeout(Some(PATIENCE))?;
    let inherited = inherit()?;
    let [sockets, inherited] =
        [sockets, &inherited].map(|list| list.iter().map(AsFd::as_fd).collect::<Vec<BorrowedFd<'_>>>());
    descriptors::send(&successor, [&sockets, &inherited])?;
    successor.read_exact(&mut [0])
}
