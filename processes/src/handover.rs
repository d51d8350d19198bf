//! Passing listening sockets from a process to its successor, so that a restart refuses no connection.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::descriptors;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a late successor waits when it asks again. The predecessor may be waiting for another successor.
const AGAIN: Duration = Duration::from_secs(1);

/// Takes the listening sockets of the process that [offers](offer_sockets) them at `path`. Returns none if no process offers
/// sockets, as at a first start.
///
/// From then on both processes accept from the sockets. Serve on them, then call [`Taken::ready`]: the other process then
/// stops accepting. If a successor fails before that call, the other process goes on accepting.
///
/// # Errors
///
/// If the other process does not answer as expected.
pub fn take_over(path: impl AsRef<Path>) -> io::Result<Option<Taken>> {
    take_over_within(path.as_ref(), PATIENCE)
}

fn take_over_within(path: &Path, patience: Duration) -> io::Result<Option<Taken>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(patience))?;
    let [sockets, inherited] = descriptors::receive(&stream)?;
    Ok(Some(Taken {
        sockets,
        inherited,
        stream,
        path: path.to_owned(),
    }))
}

/// Sockets that were taken over.
#[derive(Debug)]
pub struct Taken {
    /// The sockets, in the order in which they were offered. [`Listening::group`](driver_common::Listening::group) groups
    /// them by their addresses.
    pub sockets: Vec<OwnedFd>,
    /// The other descriptors that the predecessor passed with [`offer_sockets_with`]; empty if it offered only sockets.
    pub inherited: Vec<OwnedFd>,
    stream: UnixStream,
    path: PathBuf,
}

impl Taken {
    /// Tells the predecessor that the sockets are served. If the predecessor no longer waits, because this took more than 10
    /// seconds, it is asked once more. A predecessor that has died need not be told.
    ///
    /// # Errors
    ///
    /// If the predecessor is alive but does not answer within a second, for instance because it waits for another successor. The
    /// predecessor then goes on serving, so this process should not serve.
    pub fn ready(mut self) -> io::Result<()> {
        if self.stream.write_all(b"!").is_ok() {
            return Ok(());
        }
        match take_over_within(&self.path, AGAIN)? {
            Some(mut again) => again.stream.write_all(b"!"),
            None => Ok(()),
        }
    }
}

/// Offers listening sockets at `path`, in the background, to one successor after the other until one is ready. Then calls `taken`, which
/// should stop this process. Only processes of the same user can take the sockets.
///
/// The offer holds copies of the sockets, so the sockets listen as long as the offer stands. Withdraw the offer if this process stops for
/// another reason; otherwise new connections wait in the accept queue until the process has ended.
///
/// # Errors
///
/// If `path` cannot be bound, or there are more than 253 sockets. An existing offer of another process at `path` is replaced.
pub fn offer_sockets(
    path: impl Into<PathBuf>,
    sockets: &[impl AsFd],
    taken: impl FnOnce() + Send + 'static,
) -> io::Result<Offer> {
    offer_sockets_with(path, sockets, || Ok(Vec::new()), taken)
}

/// Like [`offer_sockets`], and also passes each successor the descriptors that `inherit` makes for it, for instance a pipe with the keys of
/// session tickets. If `inherit` fails, the successor gets nothing, and its [`take_over`] fails.
///
/// # Errors
///
/// Like [`offer_sockets`]. Sockets and descriptors from `inherit` may be 253 together.
pub fn offer_sockets_with(
    path: impl Into<PathBuf>,
    sockets: &[impl AsFd],
    inherit: impl Fn() -> io::Result<Vec<OwnedFd>> + Send + 'static,
    taken: impl FnOnce() + Send + 'static,
) -> io::Result<Offer> {
    if sockets.len() > descriptors::MOST {
        return Err(io::Error::new(ErrorKind::InvalidInput, "too many sockets"));
    }
    let path = path.into();
    let sockets: Vec<OwnedFd> = sockets
        .iter()
        .map(|socket| socket.as_fd().try_clone_to_owned())
        .collect::<io::Result<_>>()?;
    let listener = Arc::new(bind(&path)?);
    let offer = Offer {
        listener: Arc::downgrade(&listener),
        withdrawn: Arc::default(),
    };
    let withdrawn = Arc::clone(&offer.withdrawn);
    let offering = move || {
        while !withdrawn.load(Ordering::Acquire) {
            match listener.accept() {
                // A successor that disconnects, or never becomes ready, has taken nothing.
                Ok((successor, _)) => {
                    if give(successor, &sockets, &inherit).is_ok() {
                        // Nobody listens at the path from here on, however long this process drains.
                        drop(listener);
                        return taken();
                    }
                }
                // Either file descriptors have run out, or the offer was withdrawn.
                Err(_) if !withdrawn.load(Ordering::Acquire) => thread::sleep(Duration::from_millis(100)),
                Err(_) => {}
            }
        }
    };
    thread::Builder::new().name("handover".into()).spawn(offering)?;
    Ok(offer)
}

/// Sockets that are offered to a successor. Dropping this value leaves the offer in place.
#[derive(Debug)]
pub struct Offer {
    /// The accepting thread owns the listener, so that nobody listens at the path once a successor is ready.
    listener: Weak<UnixListener>,
    withdrawn: Arc<AtomicBool>,
}

impl Offer {
    /// Withdraws the offer, and closes its copies of the sockets. A successor that has already taken the sockets keeps them. The path is
    /// not removed, because another process may offer there by now; a process that finds no offer at the path learns so when it connects.
    pub fn withdraw(self) {
        self.withdrawn.store(true, Ordering::Release);
        if let Some(listener) = self.listener.upgrade() {
            // Wakes the accepting thread: `accept` fails from now on.
            let _ = rustix::net::shutdown(&*listener, rustix::net::Shutdown::Both);
        }
    }
}

/// Binds a temporary path, restricts it to this user, and renames it to `path`, so that at no time another user can connect.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // In containers, processes often have the same id. A process that was killed here has left its socket, which nobody needs.
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

/// Passes the sockets and the descriptors from `inherit` to `successor`, and waits until it is ready.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A predecessor that passes its sockets to `times` successors one after the other. It waits only for the last, and then ends.
    fn predecessor(path: &Path, times: usize) -> thread::JoinHandle<io::Result<()>> {
        let listener = bind(path).unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        thread::spawn(move || {
            for left in (0..times).rev() {
                let (mut stream, _) = listener.accept()?;
                descriptors::send(&stream, [&[socket.as_fd()], &[]])?;
                if left == 0 && times > 1 {
                    stream.read_exact(&mut [0])?;
                }
            }
            Ok(())
        })
    }

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("processes-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_dead_predecessor_needs_not_be_told() {
        let path = path("dead");
        let predecessor = predecessor(&path, 1);
        let taken = take_over(&path).unwrap().unwrap();
        predecessor.join().unwrap().unwrap();
        taken.ready().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_predecessor_that_waited_in_vain_is_told_all_the_same() {
        let path = path("late");
        let predecessor = predecessor(&path, 2);
        let taken = take_over(&path).unwrap().unwrap();
        // The predecessor closes its end as soon as it has passed the sockets.
        assert_eq!((&taken.stream).read(&mut [0]).unwrap(), 0);
        taken.ready().unwrap();
        predecessor.join().unwrap().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
