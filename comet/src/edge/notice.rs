//! Log lines that clients can cause.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(10);
/// The most characters of a client's text in a line.
const SHOWN: usize = 100;

/// One kind of log line, which is written at most every ten seconds, with the number of lines that were left out.
#[derive(Debug, Default)]
pub(crate) struct Notice(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Notice {
    /// Writes `text` to standard error, unless another line of this kind was written less than ten seconds ago.
    pub(crate) fn say(&self, text: impl FnOnce() -> String) {
        if let Some(line) = self.line(Instant::now(), text) {
            tracing::warn!("{line}");
        }
    }

    /// Whether a line was written, or left out.
    #[cfg(test)]
    pub(crate) fn has_said(&self) -> bool {
        self.0.lock().unwrap().last.is_some()
    }

    fn line(&self, now: Instant, text: impl FnOnce() -> String) -> Option<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < PAUSE)
        {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(match std::mem::take(&mut state.left_out) {
            0 => text(),
            more => format!("{} ({more} more like this since the last such line)", text()),
        })
    }
}

/// A client's text, quoted, escaped and cut.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_rare_and_counted() {
        let (notice, now) = (Notice::default(), Instant::now());
        assert_eq!(notice.line(now, || "a".into()).as_deref(), Some("a"));
        assert_eq!(notice.line(now + PAUSE / 2, || "b".into()), None);
        assert_eq!(notice.line(now + PAUSE / 2, || "c".into()), None);
        let line = notice.line(now + PAUSE, || "d".into()).unwrap();
        assert!(line.starts_with("d (2 more"), "{line}");
        assert_eq!(notice.line(now + 2 * PAUSE, || "e".into()).as_deref(), Some("e"));
    }

    #[test]
    fn what_a_client_sends_does_not_break_a_line() {
        assert_eq!(quoted("a\n\x1b[1m"), "\"a\\n\\u{1b}[1m\"");
        assert_eq!(quoted(&"x".repeat(500)).len(), SHOWN + 5);
    }
}
