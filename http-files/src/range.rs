//! Ranges of bytes (RFC 9110 section 14).

use std::ops::Range;

/// About what a part of a multipart answer costs beside its content. Ranges that are nearer are joined (RFC 9110 section 15.3.7.2).
const PART_COST: u64 = 80;

/// What a `Range` field asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// Nothing that has to be respected: the whole file is sent.
    Ignored,
    /// 416: nothing that the file has.
    Unsatisfiable,
    /// These, not empty, each with some bytes of the file.
    Some(Vec<Range<u64>>),
}

/// Reads a `Range` field for a file of `length` bytes. More than `max` ranges are ignored, and so is a field with an error in it
/// (section 14.2).
pub(crate) fn parse(value: &str, length: u64, max: usize) -> Ranges {
    let Some((unit, set)) = value.split_once('=') else {
        return Ranges::Ignored;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Ranges::Ignored;
    }
    let (mut ranges, mut asked) = (Vec::new(), 0);
    // Empty elements of a list count for nothing (section 5.6.1.2), except against the bound.
    for (elements, spec) in set.split(',').enumerate() {
        let spec = spec.trim_matches([' ', '\t']);
        if elements >= max.saturating_mul(2) {
            return Ranges::Ignored;
        }
        if spec.is_empty() {
            continue;
        }
        asked += 1;
        match read(spec, length) {
            None => return Ranges::Ignored,
            Some(range) if range.is_empty() => {}
            Some(range) => ranges.push(range),
        }
    }
    match ranges.is_empty() {
        _ if asked == 0 || asked > max => Ranges::Ignored,
        true => Ranges::Unsatisfiable,
        false => Ranges::Some(join(ranges)),
    }
}

/// One range; empty if the file does not have it, `None` if it is none (section 14.1.1).
fn read(spec: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        // The last bytes.
        let suffix = number(last)?;
        return Some(length.saturating_sub(suffix)..length);
    }
    let first = number(first)?;
    let end = if last.is_empty() {
        u64::MAX
    } else {
        number(last).filter(|last| *last >= first)?.saturating_add(1)
    };
    Some(first.min(length)..end.min(length))
}

/// A number of any size: what is larger than all files is as good as the largest number.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Joins ranges that overlap or almost touch, and puts them in order then. Others stay in the order in which they were asked for.
fn join(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted = ranges.clone();
    sorted.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(PART_COST) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    if joined.len() == ranges.len() { ranges } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        use Ranges::{Ignored, Unsatisfiable};
        let some = |ranges: &[(u64, u64)]| Ranges::Some(ranges.iter().map(|(start, end)| *start..*end).collect());
        let cases: &[(&str, Ranges)] = &[
            // RFC 9110 section 14.1.2, of a file of 10,000 bytes.
            ("bytes=0-499", some(&[(0, 500)])),
            ("bytes=500-999", some(&[(500, 1000)])),
            ("bytes=-500", some(&[(9500, 10000)])),
            ("bytes=9500-", some(&[(9500, 10000)])),
            ("bytes=0-0,-1", some(&[(0, 1), (9999, 10000)])),
            (
                "bytes= 0-999, 4500-5499, -1000",
                some(&[(0, 1000), (4500, 5500), (9000, 10000)]),
            ),
            ("bytes=500-700,601-999", some(&[(500, 1000)])),
            ("bytes=500-600,601-999", some(&[(500, 1000)])),
            // Section 14.1.1: beyond the end, and before the start.
            ("bytes=9000-20000", some(&[(9000, 10000)])),
            ("bytes=-20000", some(&[(0, 10000)])),
            ("bytes=10000-", Unsatisfiable),
            ("bytes=10000-10001,20000-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=20000-,0-0", some(&[(0, 1)])),
            ("bytes=0-99999999999999999999999999", some(&[(0, 10000)])),
            ("bytes=99999999999999999999999999-", Unsatisfiable),
            // Section 14.2: what is wrong is ignored.
            ("bytes=", Ignored),
            ("bytes=,", Ignored),
            ("bytes=5-4", Ignored),
            ("bytes=0-0,5-4", Ignored),
            ("bytes=a-b", Ignored),
            ("bytes=-", Ignored),
            ("bytes=1", Ignored),
            ("bytes=+1-2", Ignored),
            ("bytes=1-2-3", Ignored),
            ("bytes 1-2", Ignored),
            ("lines=1-2", Ignored),
            ("BYTES=1-2", some(&[(1, 3)])),
            ("bytes=1-2,,", some(&[(1, 3)])),
            // Section 17.15: many and overlapping ranges cost no more than the file.
            ("bytes=0-,0-,0-", some(&[(0, 10000)])),
            ("bytes=200-300,0-100,50-60", some(&[(0, 101), (200, 301)])),
            ("bytes=400-500,0-100", some(&[(400, 501), (0, 101)])),
            ("bytes=0-0,1-1,2-2,3-3,4-4", Ignored),
        ];
        for (value, expected) in cases {
            assert_eq!(parse(value, 10_000, 4), *expected, "{value}");
        }
        assert_eq!(parse("bytes=0-", 0, 4), Unsatisfiable);
        assert_eq!(parse("bytes=-5", 0, 4), Unsatisfiable);
    }

    proptest! {
        /// Whatever is asked for: the parts lie in the file, do not overlap, and hold every byte that was asked for.
        #[test]
        fn parts_are_disjoint(asked in prop::collection::vec((0u64..300, 0u64..300), 1..8), length in 0u64..250) {
            let specs: Vec<_> = asked.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            let wanted = |at: &u64| asked.iter().any(|(first, more)| (*first..=first + more).contains(at));
            match parse(&format!("bytes={}", specs.join(",")), length, 8) {
                Ranges::Ignored => prop_assert!(false, "ignored"),
                Ranges::Unsatisfiable => prop_assert!(!(0..length).any(|at| wanted(&at))),
                Ranges::Some(parts) => {
                    for at in 0..length {
                        let holds = parts.iter().filter(|part| part.contains(&at)).count();
                        prop_assert!(holds <= 1 && (holds == 1 || !wanted(&at)));
                    }
                    prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
                }
            }
        }

        #[test]
        fn nothing_panics(value in ".{0,60}", length in any::<u64>()) {
            let _ = parse(&value, length, 3);
            let _ = parse(&format!("bytes={value}"), length, 3);
        }
    }
}
