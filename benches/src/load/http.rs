//! HTTP/1.1: one request, and the check of its answers.

use super::Plan;
use super::script::{Progress, Violation};

/// The maximum size of a response head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Http {
    /// The expected content of each answer.
    content: Vec<u8>,
    template: Option<Template>,
}

/// A right answer: later answers are compared with its bytes, except for the value of Date.
#[derive(Debug)]
struct Template {
    answer: Vec<u8>,
    /// The position of the value of Date.
    date: std::ops::Range<usize>,
}

impl Template {
    fn matches(&self, answer: &[u8]) -> bool {
        let parts = |bytes: &[u8]| Some((bytes.get(..self.date.start)?, bytes.get(self.date.end..)?) == self.parts());
        answer.len() == self.answer.len() && parts(answer) == Some(true)
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        (&self.answer[..self.date.start], &self.answer[self.date.end..])
    }
}

impl Http {
    /// Makes the request and the check of its answers.
    pub(super) fn new(plan: &Plan) -> (Vec<u8>, Self) {
        let content: Vec<u8> = (0..plan.payload).map(|n| b'a' + (n % 26) as u8).collect();
        let (method, path) = if content.is_empty() {
            ("GET", "/")
        } else {
            ("POST", "/echo")
        };
        let path = plan.path.as_deref().unwrap_or(path);
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", plan.target);
        for field in &plan.fields {
            request.push_str(field);
            request.push_str("\r\n");
        }
        if !content.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", content.len()));
        }
        request.push_str("\r\n");
        let mut request = request.into_bytes();
        request.extend_from_slice(&content);
        let content = if content.is_empty() {
            plan.expect.clone()
        } else {
            content
        };
        (
            request,
            Http {
                content,
                template: None,
            },
        )
    }

    pub(super) fn check(&mut self, progress: &mut Progress, bytes: &[u8]) -> Result<usize, Violation> {
        let mut kept = std::mem::take(&mut progress.partial);
        let mut rest = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept
        };
        let mut answers = 0;
        while let Some(length) = self.answer(rest)? {
            rest = &rest[length..];
            answers += 1;
        }
        progress.partial.extend_from_slice(rest);
        Ok(answers)
    }

    /// The length of the answer at the start of `bytes`, or `None` when it is not complete.
    fn answer(&mut self, bytes: &[u8]) -> Result<Option<usize>, Violation> {
        if let Some(template) = &self.template
            && let Some(answer) = bytes.get(..template.answer.len())
            && template.matches(answer)
        {
            return Ok(Some(answer.len()));
        }
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if bytes.len() > MAX_HEAD {
                Err(Violation::Head)
            } else {
                Ok(None)
            };
        };
        let date = judge_head(&bytes[..head], self.content.len())?;
        let start = head + 4;
        let (came, wanted) = (&bytes[start..], &self.content);
        if came.iter().zip(wanted).any(|(came, wanted)| came != wanted) {
            return Err(Violation::Content);
        }
        if came.len() < wanted.len() {
            return Ok(None);
        }
        let length = start + wanted.len();
        self.template = Some(Template {
            answer: bytes[..length].to_vec(),
            date,
        });
        Ok(Some(length))
    }
}

/// Checks that the head has the status of success, announces `length` bytes of content, and keeps the connection open.
/// Returns the position of the value of Date, or an empty range at 0 when there is none.
fn judge_head(head: &[u8], length: usize) -> Result<std::ops::Range<usize>, Violation> {
    let head = std::str::from_utf8(head).map_err(|_| Violation::Head)?;
    let mut lines = head.split("\r\n");
    if lines
        .clone()
        .any(|line| line.contains(|c: char| c.is_control() && c != '\t'))
    {
        return Err(Violation::Head);
    }
    if !lines.next().is_some_and(|line| line.starts_with("HTTP/1.1 200 ")) {
        return Err(Violation::Status);
    }
    let (mut date, mut lengths) = (0..0, Vec::new());
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Violation::Head)?;
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(Violation::Head);
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("date") {
            let start = value.as_ptr() as usize - head.as_ptr() as usize;
            date = start..start + value.len();
        } else if name.eq_ignore_ascii_case("content-length") {
            lengths.push(value.parse());
        } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
            return Err(Violation::Closed);
        }
    }
    if lengths != [Ok(length)] {
        return Err(Violation::Head);
    }
    Ok(date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Mode;

    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 13\r\n\r\nHello, World!";
    const LATER: &[u8] =
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\nContent-Length: 13\r\n\r\nHello, World!";

    fn check(pieces: &[&[u8]]) -> Result<usize, Violation> {
        let plan = Plan::new(([127, 0, 0, 1], 80).into(), Mode::Http);
        let (_, mut http) = Http::new(&plan);
        let mut progress = Progress::default();
        pieces
            .iter()
            .try_fold(0, |sum, piece| Ok(sum + http.check(&mut progress, piece)?))
    }

    #[test]
    fn answers_are_counted_however_they_are_split() {
        let stream = [ANSWER, LATER, LATER].concat();
        for split in 0..stream.len() {
            assert_eq!(check(&[&stream[..split], &stream[split..]]), Ok(3), "split at {split}");
        }
    }

    #[test]
    fn every_wrong_byte_is_found() {
        for at in 0..ANSWER.len() {
            let mut wrong = ANSWER.to_vec();
            wrong[at] ^= 0x10;
            let found = check(&[ANSWER, &wrong, ANSWER]);
            let as_first = check(&[&wrong]);
            // The server may choose the reason phrase, the name of an unknown field and the date; a length of 013 is
            // 13.
            let free = (13..15).contains(&at) || (17..21).contains(&at) || (22..52).contains(&at) || at == 69;
            if free {
                assert_eq!(found, Ok(3), "byte {at}");
            } else {
                assert!(found.is_err() || found == Ok(1), "byte {at}: {found:?}");
                assert!(as_first.is_err() || as_first == Ok(0), "byte {at}: {as_first:?}");
            }
        }
    }

    #[test]
    fn failures_and_wrong_lengths_are_found() {
        let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\nHello, World!";
        assert_eq!(check(&[missing]), Err(Violation::Status));
        let twice = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Length: 13\r\n\r\nHello, World!";
        assert_eq!(check(&[twice]), Err(Violation::Head));
        let short = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nHello, World";
        assert_eq!(check(&[short]), Err(Violation::Head));
        let wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World?";
        assert_eq!(check(&[wrong]), Err(Violation::Content));
    }
}
