//! A listening socket that goes from a process to its successor, so that a restart refuses nobody.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Sockets handed over at once, at most.
const SOCKETS: usize = 16;
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
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut count = [0];
    recvmsg(
        &stream,
        &mut [IoSliceMut::new(&mut count)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sockets.extend(descriptors);
        }
    }
    if sockets.len() != usize::from(count[0]) {
        return Err(io::Error::new(ErrorKind::InvalidData, "not all sockets came"));
    }
    Ok(Some(Taken { sockets, stream }))
}

/// Sockets that were taken over.
#[derive(Debug)]
pub struct Taken {
    /// The sockets, in the order in which they were offered.
    pub sockets: Vec<OwnedFd>,
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
/// When `path` cannot be bound. Somebody who offers there already is replaced.
pub fn offer_sockets(
    path: impl Into<PathBuf>,
    sockets: &[impl AsFd],
    taken: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    if sockets.len() > SOCKETS {
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
            // A successor that goes away or does not get ready has taken nothing.
            if listener
                .accept()
                .and_then(|(successor, _)| give(successor, &sockets))
                .is_ok()
            {
                return taken();
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
    let listener = UnixListener::bind(&beside)?;
    let named = std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&beside, path));
    if named.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    named.map(|()| listener)
}

/// Hands the sockets to `successor` and waits until it is ready.
fn give(mut successor: UnixStream, sockets: &[OwnedFd]) -> io::Result<()> {
    successor.set_read_timeout(Some(PATIENCE))?;
    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("no room for the sockets"));
    }
    let count = [u8::try_from(sockets.len()).unwrap_or(u8::MAX)];
    sendmsg(&successor, &[IoSlice::new(&count)], &mut control, SendFlags::NOSIGNAL)?;
    successor.read_exact(&mut [0])
}
