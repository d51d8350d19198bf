//! Opening what a name names, and nothing outside the root.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// How often an open is repeated that a rename has disturbed (openat2(2), EAGAIN).
const ATTEMPTS: usize = 8;

/// The directory below which files are opened.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OwnedFd,
    symlinks: bool,
    /// Whether `openat2` is there.
    whole: bool,
}

/// What was opened.
#[derive(Debug)]
pub(crate) enum Opened {
    File(File, Metadata),
    Folder,
}

/// Why nothing was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// There is nothing to be served: 404.
    NotFound,
    /// The server may not read it: 403.
    Forbidden,
    /// There are too many open files: 503.
    Busy,
    /// The disk, or the system, has failed: 500.
    Failed,
}

impl Root {
    pub(crate) fn open(path: &Path, symlinks: bool) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Self {
            directory: rustix::fs::open(path, flags, Mode::empty())?,
            symlinks,
            whole: true,
        };
        let whole = !matches!(
            root.open_whole(Path::new(".")),
            Some(Err(Errno::NOSYS | Errno::PERM)) | None
        );
        Ok(Self { whole, ..root })
    }

    /// Opens without `openat2`, as on an older kernel.
    #[cfg(test)]
    pub(crate) fn by_components(self) -> Self {
        Self { whole: false, ..self }
    }

    /// Opens `path`, whose segments are names: neither empty nor `.` or `..`. Empty for the root itself.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Opened, Missing> {
        let path = Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }));
        let file = match self.whole.then(|| self.open_whole(path)).flatten() {
            Some(opened) => opened,
            None => self.open_components(path),
        };
        let file = File::from(file.map_err(missing)?);
        let metadata = file.metadata().map_err(|_| Missing::Failed)?;
        if metadata.is_dir() {
            Ok(Opened::Folder)
        } else if metadata.is_file() {
            Ok(Opened::File(file, metadata))
        } else {
            Err(Missing::NotFound)
        }
    }

    /// In one call, which the kernel keeps below the root. `None` where the system has no such call.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn open_whole(&self, path: &Path) -> Option<Result<OwnedFd, Errno>> {
        use rustix::fs::{ResolveFlags, openat2};
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if !self.symlinks {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        let open = || openat2(&self.directory, path, FLAGS, Mode::empty(), resolve);
        let mut opened = open();
        for _ in 1..ATTEMPTS {
            if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
            opened = open();
        }
        Some(opened)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn open_whole(&self, _: &Path) -> Option<Result<OwnedFd, Errno>> {
        None
    }

    /// One component after the other, none of which may be a link.
    fn open_components(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let mut at: Option<OwnedFd> = None;
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            let last = components.peek().is_none();
            let flags = if last { FLAGS } else { FLAGS | OFlags::DIRECTORY } | OFlags::NOFOLLOW;
            let folder = at.as_ref().map_or(self.directory.as_fd(), AsFd::as_fd);
            at = Some(rustix::fs::openat(folder, component.as_os_str(), flags, Mode::empty())?);
        }
        at.ok_or(Errno::NOENT)
    }
}

/// A FIFO without a writer, and a terminal, must not hold the thread up.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

fn missing(errno: Errno) -> Missing {
    match errno {
        // Not there; not below the root; a link; a socket.
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::NAMETOOLONG
        | Errno::XDEV
        | Errno::LOOP
        | Errno::NXIO
        | Errno::INVAL
        | Errno::NODEV => Missing::NotFound,
        Errno::ACCESS | Errno::PERM => Missing::Forbidden,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => Missing::Busy,
        _ => Missing::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Both ways of opening find the same, links apart: without `openat2` none is followed.
    #[test]
    fn both_ways_agree() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        std::fs::write(root.join("sub/deep/file"), b"inside").unwrap();
        std::fs::write(folder.path().join("secret"), b"outside").unwrap();
        for (link, to) in [
            ("link", "sub/deep/file"),
            ("sub/out", "../../secret"),
            ("up", ".."),
            ("etc", "/etc"),
        ] {
            symlink(to, root.join(link)).unwrap();
        }
        let found = |root: &Root, path: &str| match root.find(path.as_bytes()) {
            Ok(Opened::File(_, metadata)) => Ok(metadata.len()),
            Ok(Opened::Folder) => Ok(0),
            Err(missing) => Err(missing),
        };
        for symlinks in [false, true] {
            let whole = Root::open(&root, symlinks).unwrap();
            let stepwise = Root::open(&root, symlinks).unwrap().by_components();
            for (path, expected) in [
                ("", Ok(0)),
                ("sub", Ok(0)),
                ("sub/deep/file", Ok(6)),
                ("sub/deep/file/x", Err(Missing::NotFound)),
                ("nothing", Err(Missing::NotFound)),
                ("sub/out", Err(Missing::NotFound)),
                ("up/secret", Err(Missing::NotFound)),
                ("up", Err(Missing::NotFound)),
                ("etc/passwd", Err(Missing::NotFound)),
            ] {
                assert_eq!(found(&stepwise, path), expected, "{path} by components");
                assert_eq!(found(&whole, path), expected, "{path}, links: {symlinks}");
            }
            assert_eq!(found(&stepwise, "link"), Err(Missing::NotFound));
            let follows = symlinks && whole.whole;
            assert_eq!(
                found(&whole, "link"),
                if follows { Ok(6) } else { Err(Missing::NotFound) }
            );
        }
    }
}
