//! Folded field lines (RFC 9112 section 5.2), and empty lines around messages (section 2.2).

use crate::{Limits, scan};

/// How to treat folds, which are lines that continue the previous field (RFC 9112 section 5.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folds {
    /// A fold is a violation.
    Refused,
    /// Folds were replaced in the lines that have arrived; the next line to arrive may be another fold.
    Replaced,
    /// Folds are skipped.
    Dropped,
}

/// Whether `input` holds only empty lines, the last possibly incomplete, and at most as many as may precede a start line.
pub(crate) fn are_empty_lines(input: &[u8], limits: &Limits) -> bool {
    let (lines, rest) = input.as_chunks::<2>();
    lines.len() + rest.len() <= limits.leading_lines
        && lines.iter().all(|line| line == b"\r\n")
        && matches!(rest, [] | [b'\r'])
}

/// Replaces each fold (CRLF and white space after a field line, RFC 9112 section 5.2) in the head at the start of `input` by spaces. The
/// first `scanned` bytes were processed before.
pub(crate) fn unfold(input: &mut [u8], scanned: usize) {
    // A line end may have been processed before the byte after it arrived.
    let mut at = scanned.saturating_sub(2);
    // White space after the start line is not a fold.
    let mut fields = 0;
    while let Some(rest) = input.get(at..) {
        let end = at + scan::until_lf(rest);
        if fields == 0 && end < input.len() {
            let leading = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            fields = leading + scan::until_lf(input.get(leading..).unwrap_or_default()) + 1;
        }
        if end > fields && input.get(end.saturating_sub(3)..=end) == Some(b"\r\n\r\n") {
            return;
        }
        match (end.checked_sub(1), input.get(end + 1)) {
            (_, None) => return,
            (Some(cr), Some(b' ' | b'\t')) if end >= fields && input.get(cr) == Some(&b'\r') => {
                for byte in input.iter_mut().skip(cr).take(2) {
                    *byte = b' ';
                }
            }
            _ => {}
        }
        at = end + 1;
    }
}
