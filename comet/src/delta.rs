//! Deltas between two texts, in the format of Fossil: what a text has in common with the one before is not sent again.
//!
//! The format is a length, copies and insertions, and a checksum (<https://fossil-scm.org/home/doc/trunk/www/delta_format.wiki>). A delta
//! made here is text: no character of the new text is cut.

use std::collections::HashMap;

/// The bytes of the old text that are looked for in the new one at once.
const BLOCK: usize = 16;
const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// How to make `new` from `old`. `None` if that is not shorter than `new`.
pub(crate) fn delta(old: &[u8], new: &str) -> Option<String> {
    let mut delta = Delta::of(new.len());
    let bytes = new.as_bytes();
    let start = old.iter().zip(bytes).take_while(|(one, other)| one == other).count();
    let start = floor(new, start);
    let (old_rest, rest) = (old.get(start..)?, bytes.get(start..)?);
    let same = old_rest
        .iter()
        .rev()
        .zip(rest.iter().rev())
        .take_while(|(one, other)| one == other);
    let end = ceil(new, new.len() - same.count());
    delta.copy(start, 0);
    delta.middle(old, new, start, end);
    delta.copy(new.len() - end, old.len() - (new.len() - end));
    delta.number(checksum(bytes));
    delta.text.push(';');
    (delta.text.len() < new.len()).then_some(delta.text)
}

struct Delta {
    text: String,
}

impl Delta {
    fn of(len: usize) -> Self {
        let mut delta = Delta { text: String::new() };
        delta.number(len as u32);
        delta.text.push('\n');
        delta
    }

    fn number(&mut self, number: u32) {
        let digits = (0..6).rev().map(|place| number >> (6 * place) & 63);
        let digits = digits
            .skip_while(|digit| *digit == 0)
            .filter_map(|digit| DIGITS.get(digit as usize));
        let before = self.text.len();
        self.text.extend(digits.map(|digit| char::from(*digit)));
        if self.text.len() == before {
            self.text.push('0');
        }
    }

    fn copy(&mut self, count: usize, from: usize) {
        if count > 0 {
            self.number(count as u32);
            self.text.push('@');
            self.number(from as u32);
            self.text.push(',');
        }
    }

    fn insert(&mut self, text: &str) {
        if !text.is_empty() {
            self.number(text.len() as u32);
            self.text.push(':');
            self.text.push_str(text);
        }
    }

    /// The part of the new text between `at` and `end`: blocks of the old text are copied wherever they are found.
    fn middle(&mut self, old: &[u8], new: &str, mut at: usize, end: usize) {
        let mut blocks = HashMap::new();
        if end - at > BLOCK {
            for (index, block) in old.chunks_exact(BLOCK).enumerate() {
                // The first of equal blocks: more follows it.
                blocks.entry(block).or_insert(index * BLOCK);
            }
        }
        let bytes = new.as_bytes();
        let mut look = at;
        while let Some(block) = bytes.get(look..look + BLOCK).filter(|_| look + BLOCK <= end) {
            let Some(&from) = blocks.get(block).filter(|_| new.is_char_boundary(look)) else {
                look += 1;
                continue;
            };
            // As far as it goes on, without a part of a character.
            let (mine, theirs) = (bytes.get(look..end), old.get(from..));
            let same = mine.into_iter().flatten().zip(theirs.into_iter().flatten());
            let to = floor(new, look + same.take_while(|(one, other)| one == other).count());
            if to <= look {
                look += 1;
                continue;
            }
            self.insert(new.get(at..look).unwrap_or_default());
            self.copy(to - look, from);
            (at, look) = (to, to);
        }
        self.insert(new.get(at..end).unwrap_or_default());
    }
}

fn floor(text: &str, mut index: usize) -> usize {
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

fn ceil(text: &str, mut index: usize) -> usize {
    while !text.is_char_boundary(index) {
        index += 1;
    }
    index
}

/// The sum of the words of four bytes, of which the last is filled up with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.chunks(4).fold(0, |sum: u32, chunk| {
        let mut word = [0; 4];
        word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        sum.wrapping_add(u32::from_be_bytes(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies a delta, as a client does.
    fn apply(old: &[u8], delta: &str) -> Vec<u8> {
        let (mut at, bytes) = (0, delta.as_bytes());
        let number = |at: &mut usize| {
            let mut number = 0_u32;
            while let Some(digit) = DIGITS.iter().position(|digit| *digit == bytes[*at]) {
                number = number << 6 | digit as u32;
                *at += 1;
            }
            *at += 1;
            (number as usize, bytes[*at - 1])
        };
        let (len, sign) = number(&mut at);
        assert_eq!(sign, b'\n');
        let mut new = Vec::new();
        loop {
            let (count, sign) = number(&mut at);
            match sign {
                b'@' => {
                    let (from, sign) = number(&mut at);
                    assert_eq!(sign, b',');
                    new.extend(&old[from..from + count]);
                }
                b':' => {
                    new.extend(&bytes[at..at + count]);
                    at += count;
                }
                b';' => {
                    assert_eq!((count as u32, new.len(), at), (checksum(&new), len, bytes.len()));
                    return new;
                }
                other => panic!("{other} in {delta}"),
            }
        }
    }

    #[test]
    fn deltas_make_the_new_text() {
        let long = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(20);
        let moved = format!("[{}|{}]", &long[300..], &long[..300]);
        let texts = [
            "",
            "{}",
            r#"{"x":100,"y":200,"user":"ann","color":"red"}"#,
            r#"{"x":101,"y":2001,"user":"ann","color":"red"}"#,
            r#"{"text":"größer als ein Absatz mit ü und 💧, immer wieder","more":[1,2,3]}"#,
            r#"{"text":"größer als ein Absatz mit ö und 💦, immer wieder","more":[1,2,4]}"#,
            "ääääääääääääääääääää",
            "äääääääääöääääääääää",
            &long,
            &moved,
        ];
        let mut made = 0;
        for old in texts {
            for new in texts {
                if let Some(delta) = delta(old.as_bytes(), new) {
                    assert_eq!(apply(old.as_bytes(), &delta), new.as_bytes(), "{delta}");
                    made += 1;
                }
            }
        }
        assert!(made > texts.len(), "{made}");
        // A moved part is found.
        assert!(delta(long.as_bytes(), &moved).unwrap().len() < 60);
        assert!(delta(texts[2].as_bytes(), texts[3]).unwrap().len() < 30);
    }

    #[test]
    fn any_two_texts_of_few_letters() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..2000 {
            let mut text = |len| {
                (0..len)
                    .map(|_| ['a', 'b', 'ü', '💧'][random(4) as usize])
                    .collect::<String>()
            };
            let (one, shared, other) = (text(20), text(60), text(20));
            let (old, new) = (format!("{one}{shared}{other}"), format!("{other}{shared}{one}"));
            if let Some(delta) = delta(old.as_bytes(), &new) {
                assert_eq!(apply(old.as_bytes(), &delta), new.as_bytes(), "{old} {new} {delta}");
            }
        }
    }
}
