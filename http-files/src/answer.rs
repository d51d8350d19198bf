//! Answers.

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use proto_http::{Misuse, Request, Responder};

use crate::conditional::{self, Verdict};
use crate::download::{Download, Part};
use crate::encoding::{self, Encoding};
use crate::multipart::{Multipart, content_range};
use crate::open::{Missing, Opened, Root};
use crate::path::{Name, Refused};
use crate::range::{self, Ranges};
use crate::tag::Validators;
use crate::{Config, FilesHandler};

/// The files below a directory, as answers to requests. Shared by all connections.
#[derive(Debug)]
pub struct Files {
    config: Config,
    root: Root,
}

/// A file that is to be sent.
struct Found {
    file: File,
    metadata: Metadata,
    encoding: Option<Encoding>,
    media_type: Option<String>,
}

/// The fields of an answer.
type Lines<'a> = Vec<(&'static str, &'a str)>;

impl Files {
    /// Opens the directory. Paths are looked up in this directory from then on, also if it is renamed.
    ///
    /// # Errors
    ///
    /// If the directory cannot be opened; [`InvalidInput`](io::ErrorKind::InvalidInput) if the value of
    /// [`cache_control`](Config::cache_control) cannot stand in a field.
    pub fn open(config: Config) -> io::Result<Arc<Self>> {
        let value = config.cache_control.as_deref().unwrap_or_default();
        if value.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let root = Root::open(&config.root, config.symlinks)?;
        Ok(Arc::new(Self { config, root }))
    }

    /// A handler for one connection, or one stream of HTTP/2.
    #[must_use]
    pub fn handler<M>(self: &Arc<Self>) -> FilesHandler<M> {
        FilesHandler::new(Arc::clone(self))
    }

    /// Answers a request with the file at `path`, which is the request's own path or what is left of it behind a prefix; it begins
    /// with a slash. Redirects go to the same `path`, so a handler that serves files behind a prefix should pass the whole path and
    /// have the prefix as a directory. Returns what is still to be sent: see [`Download`]. Call this in
    /// [`request`](proto_http::Handler::request).
    ///
    /// # Errors
    ///
    /// Those of the responder, if an answer has begun already.
    pub fn answer(
        &self,
        request: &Request<'_>,
        path: &str,
        responder: &mut Responder<'_, '_>,
    ) -> Result<Option<Download>, Misuse> {
        if !matches!(request.method(), "GET" | "HEAD") {
            return refuse(responder, 405, &[("Allow", "GET, HEAD")]);
        }
        let name = match Name::parse(path, self.config.dotfiles) {
            Ok(name) => name,
            Err(Refused::Malformed) => return refuse(responder, 400, &[]),
            Err(Refused::Hidden) => return refuse(responder, 404, &[]),
        };
        match self.find(&name, request) {
            Ok(Some(found)) => self.send(request, responder, found),
            Ok(None) => {
                let location = name.location(request.target_form().query());
                refuse(responder, 301, &[("Location", &location)])
            }
            Err(Missing::NotFound) => refuse(responder, 404, &[]),
            Err(Missing::Forbidden) => refuse(responder, 403, &[]),
            Err(Missing::Busy) => refuse(responder, 503, &[]),
            Err(Missing::Failed) => refuse(responder, 500, &[]),
        }
    }

    /// The file for a name; `None` for a directory that was named like a file.
    fn find(&self, name: &Name, request: &Request<'_>) -> Result<Option<Found>, Missing> {
        let index = match &self.config.index {
            _ if !name.is_folder => None,
            Some(index) => Some(name.join(index)),
            None => return Err(Missing::NotFound),
        };
        let path = index.as_ref().unwrap_or(&name.path);
        let (file, metadata) = match self.root.find(path)? {
            Opened::File(file, metadata) => (file, metadata),
            Opened::Folder if name.is_folder => return Err(Missing::NotFound),
            Opened::Folder => return Ok(None),
        };
        let media_type = media_type(Path::new(std::ffi::OsStr::from_bytes(path)));
        let mut found = Found {
            file,
            metadata,
            encoding: None,
            media_type,
        };
        if self.config.precompressed {
            self.find_compressed(path, request, &mut found);
        }
        Ok(Some(found))
    }

    /// Takes the compressed file in place of `found`, if there is one that the client prefers.
    fn find_compressed(&self, path: &[u8], request: &Request<'_>, found: &mut Found) {
        for encoding in encoding::accepted(request.fields()) {
            let path = [path, encoding.suffix.as_bytes()].concat();
            let Ok(Opened::File(file, metadata)) = self.root.find(&path) else {
                continue;
            };
            // An older one was made of other content.
            let times = metadata.modified().ok().zip(found.metadata.modified().ok());
            if times.is_some_and(|(compressed, plain)| compressed >= plain) {
                (found.file, found.metadata, found.encoding) = (file, metadata, Some(encoding));
                return;
            }
        }
    }

    fn send(
        &self,
        request: &Request<'_>,
        responder: &mut Responder<'_, '_>,
        found: Found,
    ) -> Result<Option<Download>, Misuse> {
        let length = found.metadata.len();
        let suffix = found.encoding.map_or("", |encoding| encoding.suffix);
        let validators = Validators::new(&found.metadata, suffix, SystemTime::now());
        let modified = httpdate::fmt_http_date(validators.modified);
        let mut lines: Lines<'_> = Vec::with_capacity(10);
        lines.push(("ETag", &validators.tag));
        lines.push(("Last-Modified", &modified));
        if let Some(value) = &self.config.cache_control {
            lines.push(("Cache-Control", value));
        }
        if self.config.precompressed {
            lines.push(("Vary", "Accept-Encoding"));
        }
        match conditional::evaluate(request.fields(), &validators) {
            Verdict::Serve => {}
            Verdict::NotModified => {
                responder.start(304, &lines, None)?;
                return responder.finish().map(|()| None);
            }
            Verdict::Failed => return refuse(responder, 412, &lines),
        }
        lines.push(("Accept-Ranges", "bytes"));
        // Section 14.2: ranges are for GET alone.
        let ranges = match conditional::single(request.fields(), "range") {
            Some(value) if request.method() == "GET" && conditional::ranges_count(request.fields(), &validators) => {
                range::parse(value, length, self.config.max_ranges)
            }
            _ => Ranges::Ignored,
        };
        lines.push(("X-Content-Type-Options", "nosniff"));
        if let Some(encoding) = found.encoding {
            lines.push(("Content-Encoding", encoding.name));
        }
        let ranges = match ranges {
            Ranges::Unsatisfiable => {
                let range = format!("bytes */{length}");
                lines.retain(|(name, _)| *name != "Content-Encoding");
                lines.push(("Content-Range", &range));
                return refuse(responder, 416, &lines);
            }
            Ranges::Ignored => Vec::new(),
            Ranges::Some(ranges) => ranges,
        };
        match &*ranges {
            [] => {
                lines.extend(found.media_type.as_deref().map(|value| ("Content-Type", value)));
                send_part(
                    request,
                    responder,
                    (200, &lines),
                    (found.file, &found.metadata),
                    0..length,
                )
            }
            [range] => {
                let value = content_range(range, length);
                lines.extend(found.media_type.as_deref().map(|value| ("Content-Type", value)));
                lines.push(("Content-Range", &value));
                send_part(
                    request,
                    responder,
                    (206, &lines),
                    (found.file, &found.metadata),
                    range.clone(),
                )
            }
            ranges => {
                let frame = Multipart::new(ranges, length, found.media_type.as_deref());
                lines.push(("Content-Type", &frame.media_type));
                responder.start(206, &lines, Some(frame.length(ranges)))?;
                let mut parts = VecDeque::with_capacity(2 * ranges.len() + 1);
                for (head, range) in frame.heads.into_iter().zip(ranges) {
                    parts.push_back(Part::Bytes(Bytes::from(head)));
                    parts.push_back(Part::File(range.clone()));
                }
                parts.push_back(Part::Bytes(Bytes::from(frame.end)));
                proceed(responder, found.file, &found.metadata, parts)
            }
        }
    }
}

/// Sends one part of a file.
fn send_part(
    request: &Request<'_>,
    responder: &mut Responder<'_, '_>,
    (status, lines): (u16, &Lines<'_>),
    (file, metadata): (File, &Metadata),
    range: Range<u64>,
) -> Result<Option<Download>, Misuse> {
    let length = range.end - range.start;
    if request.method() == "HEAD" {
        responder.start(status, lines, Some(length))?;
        return responder.finish().map(|()| None);
    }
    let read = small::read(&file, range.start, length, |content| {
        responder.send(status, lines, content)
    });
    if let Some(sent) = read {
        return sent.map(|()| None);
    }
    responder.start(status, lines, Some(length))?;
    proceed(responder, file, metadata, VecDeque::from([Part::File(range)]))
}

/// Begins to send the content.
fn proceed(
    responder: &mut Responder<'_, '_>,
    file: File,
    metadata: &Metadata,
    parts: VecDeque<Part>,
) -> Result<Option<Download>, Misuse> {
    let mut download = Download::new(file, metadata, parts);
    let done = download.proceed(responder)?;
    Ok((!done).then_some(download))
}

/// An answer without a file.
fn refuse(
    responder: &mut Responder<'_, '_>,
    status: u16,
    lines: &[(&'static str, &str)],
) -> Result<Option<Download>, Misuse> {
    responder.send(status, lines, b"").map(|()| None)
}

/// The media type by the name of a file. Text is taken as UTF-8.
fn media_type(path: &Path) -> Option<String> {
    let guess = mime_guess::from_path(path).first_raw()?;
    Some(if guess.starts_with("text/") {
        format!("{guess}; charset=utf-8")
    } else {
        guess.to_owned()
    })
}

/// Small files are read at once, if that does not wait for the disk, so that head and content are sent together.
mod small {
    use std::cell::RefCell;
    use std::fs::File;

    /// Bytes up to which a copy is cheaper than another call.
    const MAX: usize = 16 * 1024;

    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// Calls `then` with the content, if all of it can be had now.
    pub(super) fn read<R>(file: &File, offset: u64, length: u64, then: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX)?;
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(MAX, 0);
            let content = buffer.get_mut(..length)?;
            (length == 0 || cached(file, content, offset) == Some(length)).then(|| then(&buffer[..length]))
        })
    }

    #[cfg(target_os = "linux")]
    fn cached(file: &File, content: &mut [u8], offset: u64) -> Option<usize> {
        use rustix::io::{IoSliceMut, ReadWriteFlags, preadv2};
        preadv2(file, &mut [IoSliceMut::new(content)], offset, ReadWriteFlags::NOWAIT).ok()
    }

    #[cfg(not(target_os = "linux"))]
    fn cached(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
        None
    }
}
