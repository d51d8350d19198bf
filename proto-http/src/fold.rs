//! Folded field lines (RFC 9112 section 5.2), and empty lines around messages (section 2.2).

use crate::{Limits, scan};

/// What becomes of folds, lines that go on with the field in front (RFC 9112 section 5.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folds {
    /// They are wrong.
    Refused,
    /// They were replaced as far as the lines have come; what follows the last may go on with it.
    Replaced,
    /// They are passed over.
    Dropped,
}

/// Whether `input` holds empty lines alone, the last perhaps cut, and no more than a start line may have in front.
pub(crate) fn are_empty_lines(input: &[u8], limits: &Limits) -> bool {
    let (lines, rest) = input.as_chunks::<2>();
    lines.len() + rest.len() <= limits.leading_lines
        && lines.iter().all(|line| line == b"\r\n")
        && matches!(rest, [] | [b'\r'])
}

/// Replaces each fold (RFC 9112 section 5.2: CRLF and white space behind a field line) of the head at the front of `input` by spaces.
/// The first `scanned` bytes were looked at before.
pub(crate) fn unfold(input: &mut [u8], scanned: usize) {
    // A line end may have been looked at without the byte behind it.
    let mut at = scanned.saturating_sub(2);
    // White space behind the start line folds nothing.
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
