//! Validators: what tells one state of a file from another.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// How long after a change another one may leave the validators as they are: the clocks of file systems tick in up to two seconds.
const TICK: Duration = Duration::from_secs(2);

/// What tells one state of a file from another (RFC 9110 section 8.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validators {
    /// The entity tag, as it stands in `ETag`.
    pub(crate) tag: String,
    /// When the file was changed, in whole seconds, but not later than now (section 8.8.2.1).
    pub(crate) modified: SystemTime,
    /// Whether both change whenever the content does (sections 8.8.1 and 8.8.2.2).
    pub(crate) strong: bool,
}

impl Validators {
    /// Those of a file at `now`, sent with this suffix for its encoding.
    pub(crate) fn new(metadata: &Metadata, suffix: &str, now: SystemTime) -> Self {
        let exact = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let strong = now.duration_since(exact).is_ok_and(|age| age >= TICK);
        let weak = if strong { "" } else { "W/" };
        let (seconds, nanos, length) = (metadata.mtime(), metadata.mtime_nsec(), metadata.size());
        let tag = format!("{weak}\"{seconds:x}.{nanos:x}-{length:x}{suffix}\"");
        let modified = exact.min(now).max(SystemTime::UNIX_EPOCH);
        let fraction = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            tag,
            modified: modified - Duration::from_nanos(fraction.subsec_nanos().into()),
            strong,
        }
    }
}
