//! What is served, and how.

use std::path::PathBuf;

/// What [`Files`](crate::Files) serve, and how.
///
/// ```
/// let config = http_files::Config::new("/srv/www").precompressed(true).cache_control("max-age=3600");
/// assert_eq!(config.max_ranges, 16);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The directory.
    pub root: PathBuf,
    /// The name of the file that answers for a directory. Default `index.html`; `None` for none.
    pub index: Option<String>,
    /// Whether symbolic links are followed, as far as they are relative and stay inside the root. Default false. Needs `openat2`
    /// (Linux 5.6); without it none is followed.
    pub symlinks: bool,
    /// Whether names that begin with a dot are served. Default false; `/.well-known/` (RFC 8615) is served in any case.
    pub dotfiles: bool,
    /// Whether a file with `.br`, `.zst` or `.gz` behind its name is sent in place of the file to clients that prefer the encoding
    /// (RFC 9110 section 12.5.3). Default false. Costs an attempt to open for each encoding that a client accepts. All answers
    /// then say `Vary: Accept-Encoding`.
    pub precompressed: bool,
    /// Ranges that one request may ask for. Default 16. A request for more gets the whole file (RFC 9110 section 14.2).
    pub max_ranges: usize,
    /// The value of `Cache-Control` (RFC 9111 section 5.2) in answers with content, and in 304. Default `None`, for no such field.
    pub cache_control: Option<String>,
}

impl Config {
    /// Serves `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            index: Some("index.html".to_owned()),
            symlinks: false,
            dotfiles: false,
            precompressed: false,
            max_ranges: 16,
            cache_control: None,
        }
    }

    /// Sets [`index`](Config::index).
    #[must_use]
    pub fn index(mut self, name: Option<&str>) -> Self {
        self.index = name.map(str::to_owned);
        self
    }

    /// Sets [`symlinks`](Config::symlinks).
    #[must_use]
    pub fn symlinks(mut self, follow: bool) -> Self {
        self.symlinks = follow;
        self
    }

    /// Sets [`dotfiles`](Config::dotfiles).
    #[must_use]
    pub fn dotfiles(mut self, serve: bool) -> Self {
        self.dotfiles = serve;
        self
    }

    /// Sets [`precompressed`](Config::precompressed).
    #[must_use]
    pub fn precompressed(mut self, serve: bool) -> Self {
        self.precompressed = serve;
        self
    }

    /// Sets [`max_ranges`](Config::max_ranges).
    #[must_use]
    pub fn max_ranges(mut self, ranges: usize) -> Self {
        self.max_ranges = ranges;
        self
    }

    /// Sets [`cache_control`](Config::cache_control).
    #[must_use]
    pub fn cache_control(mut self, value: impl Into<String>) -> Self {
        self.cache_control = Some(value.into());
        self
    }
}
