//! The places where comet listens: addresses, and Unix sockets in the file system.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use drivers::{Listening, Server};

use crate::settings::Settings;

/// The beginning of a place that is a Unix socket.
const UNIX: &str = "unix:";

/// The path of a place that is a Unix socket.
pub(crate) fn path(place: &str) -> Option<&Path> {
    place.strip_prefix(UNIX).map(Path::new)
}

/// A Unix socket in the file system. Dropping it removes the file, unless another program has put its own there.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// The device, the inode, and when the file was made: the number of an inode is used again.
type Identity = (u64, u64, Option<SystemTime>);

fn identity(there: &fs::Metadata) -> Identity {
    (there.dev(), there.ino(), there.created().ok())
}

/// A place that is listened on, and its file if it is a Unix socket.
pub(crate) struct Opened {
    pub(crate) listening: Listening,
    pub(crate) file: Option<SocketFile>,
}

/// Listens on a place.
///
/// # Errors
///
/// The place, and why nothing can listen there.
pub(crate) fn open(server: &Server, settings: &Settings, place: &str) -> io::Result<Opened> {
    let Some(path) = path(place) else {
        let listening = server.listen(place).map_err(|error| cannot_listen(place, &error))?;
        return Ok(Opened { listening, file: None });
    };
    let listener =
        bind(path, settings.unix_mode, settings.handover.is_some()).map_err(|error| cannot_listen(place, &error))?;
    Ok(Opened {
        listening: listener.into(),
        file: SocketFile::at(path),
    })
}

/// Binds a Unix socket. The file of a program that has ended is replaced, and with `replaces`, also that of a program that serves: a
/// predecessor, which drains.
fn bind(path: &Path, mode: Option<u32>, replaces: bool) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "a file that is no socket is there",
            ));
        }
        Ok(_) if !replaces && UnixStream::connect(path).is_ok() => return Err(ErrorKind::AddrInUse.into()),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Bound under another name, so that at no moment the path leads to nothing, or to a socket that too many may use.
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    let listener = UnixListener::bind(&new)?;
    let permitted = mode.map_or(Ok(()), |mode| {
        fs::set_permissions(&new, fs::Permissions::from_mode(mode))
    });
    if let Err(error) = permitted.and_then(|()| fs::rename(&new, path)) {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    Ok(listener)
}

impl SocketFile {
    /// The file at `path`, if there is a socket: bound here, or taken over from a predecessor.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let there = fs::symlink_metadata(path).ok()?;
        there.file_type().is_socket().then(|| SocketFile {
            path: path.to_owned(),
            identity: identity(&there),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A successor serves the socket, and removes the file at its own end.
    pub(crate) fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| identity(&there) == self.identity) {
            // If it cannot be removed, the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(crate) fn cannot_listen(place: &str, error: &io::Error) -> io::Error {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "another program listens there".into(),
        ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        ErrorKind::PermissionDenied => "not permitted".into(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("cannot listen on {place}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("comet-place-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn the_socket_of_a_program_that_has_ended_is_replaced() {
        let folder = folder("stale");
        let path = folder.join("socket");
        let first = bind(&path, Some(0o600), false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind(&path, None, false).unwrap_err().kind(), ErrorKind::AddrInUse);
        let file = SocketFile::at(&path).unwrap();
        drop(first);
        drop(bind(&path, None, true).unwrap());
        let second = bind(&path, Some(0o666), false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        // The first program ends at last, and leaves the file of the second.
        drop(file);
        UnixStream::connect(&path).unwrap();
        drop(SocketFile::at(&path));
        assert!(UnixStream::connect(&path).is_err() && !path.exists());
        drop(second);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let folder = folder("file");
        let path = folder.join("notes");
        fs::write(&path, "mine").unwrap();
        assert_eq!(bind(&path, None, false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let nowhere = bind(&folder.join("none/socket"), None, false);
        assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);
        fs::remove_dir_all(&folder).unwrap();
    }
}
