//! Inline commands: lines of words, as people type them.

use alloc::vec::Vec;

use crate::number::{Header, put_bulk};
use crate::{Rules, Violation};

/// Rewrites a line into the array of a command, in `out`. Returns false if the line has no words.
///
/// Words are separated by spaces. In double quotes, `
/// `, `\r`, `\t`, `\b`, `\a` and `\xHH` stand for the byte they name, and a backslash before any other byte stands for that byte. In single
/// quotes, only `\'` is an escape. A space or the end of the line must follow a closing quote.
pub(crate) fn rewrite(line: &[u8], rules: &Rules, out: &mut Vec<u8>) -> Result<bool, Violation> {
    // No command has these names, and a browser that was tricked into sending commands must send such lines.
    if line.starts_with(b"POST ") || line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"Host:")) {
        return Err(Violation::Http);
    }
    let mut arguments = Vec::new();
    let (mut rest, mut count) = (line, 0u32);
    let mut word = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        rest = rest.get(blanks..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        word.clear();
        rest = take_word(rest, &mut word)?;
        count += 1;
        if count > rules.limits.arguments {
            return Err(Violation::TooManyArguments);
        }
        // A vector has room for everything.
        let _ = put_bulk(&mut arguments, b'$', &word);
    }
    if count > 0 {
        out.extend_from_slice(Header::new().line(b'*', u64::from(count)));
        out.append(&mut arguments);
    }
    Ok(count > 0)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0)
}

/// Takes a word off the front. Quotes may also begin in the middle of a word.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Violation> {
    loop {
        rest = match rest {
            [] => return Ok(rest),
            [blank, ..] if is_blank(*blank) => return Ok(rest),
            [b'"', behind @ ..] => closed(double_quoted(behind, word)?)?,
            [b'\'', behind @ ..] => closed(single_quoted(behind, word)?)?,
            [byte, behind @ ..] => {
                word.push(*byte);
                behind
            }
        };
    }
}

/// Checks what follows a closing quote.
fn closed(rest: &[u8]) -> Result<&[u8], Violation> {
    match rest.first() {
        None => Ok(rest),
        Some(&blank) if is_blank(blank) => Ok(rest),
        Some(_) => Err(Violation::Quotes),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Violation> {
    loop {
        let (byte, behind) = match rest {
            [b'"', behind @ ..] => return Ok(behind),
            [b'\\', b'x', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), behind)
            }
            [b'\\', byte, behind @ ..] => (
                match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                },
                behind,
            ),
            [byte, behind @ ..] => (*byte, behind),
            [] => return Err(Violation::Quotes),
        };
        word.push(byte);
        rest = behind;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Violation> {
    loop {
        let (byte, behind) = match rest {
            [b'\'', behind @ ..] => return Ok(behind),
            [b'\\', b'\'', behind @ ..] => (b'\'', behind),
            [byte, behind @ ..] => (*byte, behind),
            [] => return Err(Violation::Quotes),
        };
        word.push(byte);
        rest = behind;
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, Violation> {
        let mut out = Vec::new();
        if !rewrite(line.as_bytes(), &Rules::DEFAULT, &mut out)? {
            return Ok(Vec::new());
        }
        let (command, used) = crate::Command::parse(&out, &Rules::DEFAULT)?.unwrap();
        assert_eq!(used, out.len());
        let all = [command.name()].into_iter().chain(&command);
        Ok(all.map(|word| word.escape_ascii().to_string()).collect())
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("  SET k  v ").unwrap(), ["SET", "k", "v"]);
        assert_eq!(words(r#"SET "a b" 'c d'"#).unwrap(), ["SET", "a b", "c d"]);
        assert_eq!(
            words(r#"e "\x41\n\"\\\q" '\'\n'"#).unwrap(),
            ["e", r#"A\n\"\\q"#, r"\'\\n"]
        );
        assert_eq!(words(r#"GET "" a"b""#).unwrap(), ["GET", "", "ab"]);
        assert_eq!(words("").unwrap(), [""; 0]);
        assert_eq!(words(" \t ").unwrap(), [""; 0]);
        for wrong in [
            r#"GET "a"#,
            "GET 'a",
            r#"GET "a"b"#,
            "GET 'a'b",
            r#"GET "a\"#,
            r#"GET "\x4"#,
        ] {
            assert_eq!(words(wrong), Err(Violation::Quotes), "{wrong}");
        }
        assert_eq!(words("POST / HTTP/1.1"), Err(Violation::Http));
        assert_eq!(words("host: 127.0.0.1:6379"), Err(Violation::Http));
    }
}
