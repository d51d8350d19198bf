//! Replies and commands of RESP: events and values are the same however the input is cut. A plain reading finds the same end of an item.
//! What was read is written the same. The redis crate reads the same values. Memory is bounded by the bytes received.

use proto_resp::{Encoder, Event, Rules, ServerConnection, Value, ValueDecoder, Version, Violation, write_command};

use crate::cuts::{arrive, cuts, whole};
use crate::memory;

/// Runs the target: the first byte chooses what reads the rest, replies or commands, and the rules.
pub fn run(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    // Ends the last line: the decoder reports every fault at the end of a line at the latest, except in a string whose bytes are
    // incomplete.
    let data = [data, b"\r\n\r\n"].concat();
    let mut rules = Rules::DEFAULT;
    rules.leniency.inline_commands = choice & 4 != 0;
    rules.leniency.any_nan = choice & 8 != 0;
    rules.leniency.nested_push = choice & 32 != 0;
    if choice & 16 != 0 {
        rules.limits.depth = 3;
        rules.limits.items = 8;
        rules.limits.bulk = 32;
        rules.limits.reply = 128;
        rules.limits.line = 8;
        rules.limits.arguments = 4;
        rules.limits.command = 64;
    }
    // Values of 40 bytes for items of three bytes, what is kept here, and room reserved ahead.
    let limit = (1 << 18) + 256 * data.len();
    match choice & 3 {
        0 => memory::within(limit, || replies(&data, Version::Resp2, rules)),
        1 | 2 => memory::within(limit, || replies(&data, Version::Resp3, rules)),
        _ => memory::within(limit, || commands(&data, rules)),
    }
}

/// The events as text, with the parts of a string joined.
type Events = (Vec<String>, Option<Violation>);

fn replies(data: &[u8], version: Version, rules: Rules) {
    let expected = events(data, &whole(data), version, rules);
    let values = self::values(data, &whole(data), version, rules);
    for ends in cuts(data) {
        assert_eq!(events(data, &ends, version, rules), expected);
        let cut = self::values(data, &ends, version, rules);
        // Compared as text, because a double may be NaN.
        assert_eq!(format!("{cut:?}"), format!("{values:?}"));
    }
    assert_eq!(values.1, expected.1);
    if !rules.leniency.nested_push {
        // An encoder writes no push inside another value, even where the reader accepts one.
        written(data, version, rules);
    }
    for value in &values.0 {
        comes_back(value, rules);
    }
    if version == Version::Resp3 && rules.limits == Rules::DEFAULT.limits && !rules.leniency.nested_push {
        compare(data, &values.0, rules);
    }
}

fn events(data: &[u8], ends: &[usize], version: Version, rules: Rules) -> Events {
    let mut decoder = proto_resp::Decoder::new(version, rules);
    let (mut seen, mut failed, mut string) = (Vec::new(), None, Vec::new());
    let mut left_before = Some(0);
    arrive(data, ends, |rest| {
        while failed.is_none() {
            match decoder.next(rest) {
                Ok(Some(Event::Part { of, bytes, left })) => {
                    if let (Some(before @ 1..), Some(left)) = (left_before, left) {
                        assert_eq!(
                            before,
                            left + bytes.len() as u64,
                            "the lengths of the parts do not add up"
                        );
                    }
                    left_before = left;
                    string.extend_from_slice(bytes);
                    if left == Some(0) {
                        seen.push(format!("{:?}", Event::Bulk(of, &std::mem::take(&mut string))));
                    }
                }
                Ok(Some(event)) => seen.push(format!("{event:?}")),
                Ok(None) => break,
                Err(violation) => failed = Some(violation),
            }
        }
    });
    (seen, failed)
}

fn values(data: &[u8], ends: &[usize], version: Version, rules: Rules) -> (Vec<Value>, Option<Violation>) {
    let mut decoder = ValueDecoder::new(version, rules);
    let (mut seen, mut failed) = (Vec::new(), None);
    arrive(data, ends, |rest| {
        while failed.is_none() {
            match decoder.next(rest) {
                Ok(Some(value)) => seen.push(value),
                Ok(None) => break,
                Err(violation) => failed = Some(violation),
            }
        }
    });
    (seen, failed)
}

/// Checks that events can be written and read again.
fn written(data: &[u8], version: Version, rules: Rules) {
    let mut decoder = proto_resp::Decoder::new(version, rules);
    let mut encoder = Encoder::new(version);
    let (mut rest, mut wire, mut same) = (data, Vec::new(), true);
    while let Ok(Some(event)) = decoder.next(&mut rest) {
        // These may be written differently: a double, a number with a plus sign, and an incomplete chunk, which is written as two.
        same &= !matches!(event, Event::Double(_) | Event::Part { .. });
        same &= !matches!(event, Event::Integer(0..)) || !data.contains(&b'+');
        encoder.event(&event, &mut wire).unwrap();
    }
    assert!(!same || data.starts_with(&wire), "{}", wire.escape_ascii());
    let mut again = Vec::new();
    // A double may be longer when it is written again.
    let (mut rest, mut decoder) = (&wire[..], proto_resp::Decoder::new(version, Rules::DEFAULT));
    let mut encoder = Encoder::new(version);
    while let Some(event) = decoder.next(&mut rest).unwrap() {
        encoder.event(&event, &mut again).unwrap();
    }
    assert!(wire.starts_with(&again));
}

/// Checks that a value that was read can be sent, and that RESP3 keeps it as it is.
fn comes_back(value: &Value, rules: Rules) {
    let mut wire = Vec::new();
    value.encode(Version::Resp3, &mut wire).unwrap();
    let (back, failed) = values(&wire, &whole(&wire), Version::Resp3, rules);
    // Both kinds of errors are one kind of value, and each may be written as the other, whose limit differs. So values are compared under
    // default limits only.
    if rules.limits == Rules::DEFAULT.limits && !rules.leniency.nested_push {
        assert_eq!((format!("{back:?}"), failed), (format!("{:?}", [value]), None));
    }
    let mut wire = Vec::new();
    value.encode(Version::Resp2, &mut wire).unwrap();
    let (back, failed) = values(&wire, &whole(&wire), Version::Resp2, Rules::DEFAULT);
    assert_eq!((back.len(), failed), (1, None));
}

/// Checks that the redis crate accepts the first item if we do, and reads the same kind of value.
fn compare(data: &[u8], values: &[Value], rules: Rules) {
    let Some(first) = values.first() else { return };
    // The redis crate does not know streamed values, and wants UTF-8 in lines.
    let streamed = data.windows(2).any(|pair| pair[1] == b'?');
    if streamed || !data.is_ascii() || rules.leniency.any_nan {
        return;
    }
    match redis::parse_redis_value(data) {
        Ok(theirs) => assert!(alike(first, &theirs), "ours: {first:?}, redis: {theirs:?}"),
        // It also refuses a sign in front of a big number, and numbers beyond its own limits.
        Err(error) => assert!(
            data.iter()
                .any(|byte| matches!(byte, b'(' | b'=' | b'|' | b'>' | b',' | b'!' | b'-')),
            "{error}"
        ),
    }
}

fn alike(ours: &Value, theirs: &redis::Value) -> bool {
    use redis::Value as Theirs;
    let list = |ours: &[Value], theirs: &[Theirs]| {
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| alike(ours, theirs))
    };
    match (ours, theirs) {
        (Value::Null, Theirs::Nil) => true,
        (Value::Integer(ours), Theirs::Int(theirs)) => ours == theirs,
        (Value::Bulk(ours), Theirs::BulkString(theirs)) => ours == theirs,
        (Value::Simple(ours), Theirs::Okay) => &ours[..] == b"OK",
        (Value::Simple(ours), Theirs::SimpleString(theirs)) => ours == theirs,
        (Value::Array(ours), Theirs::Array(theirs)) => list(ours, theirs),
        (Value::Set(ours), Theirs::Set(theirs)) => list(ours, theirs),
        (Value::Boolean(ours), Theirs::Boolean(theirs)) => ours == theirs,
        (Value::Map(ours), Theirs::Map(theirs)) => ours.len() == theirs.len(),
        // The other values have other forms in that crate.
        (Value::Integer(_) | Value::Bulk(_) | Value::Simple(_) | Value::Null, Theirs::Attribute { .. }) => true,
        (_, Theirs::Array(_) | Theirs::Int(_) | Theirs::BulkString(_) | Theirs::Nil) => false,
        _ => true,
    }
}

/// Checks the reading of commands, as lists of words.
fn commands(data: &[u8], rules: Rules) {
    let expected = served(data, &whole(data), rules);
    for ends in cuts(data) {
        assert_eq!(served(data, &ends, rules), expected);
    }
    // Commands that are written again are read the same.
    let mut wire = Vec::new();
    for words in expected.0.iter().filter(|words| !words[0].is_empty()) {
        write_command(&mut wire, words).unwrap();
    }
    let again = served(&wire, &whole(&wire), Rules::DEFAULT);
    let named: Vec<_> = expected.0.into_iter().filter(|words| !words[0].is_empty()).collect();
    assert_eq!(again, (named, None));
}

fn served(data: &[u8], ends: &[usize], rules: Rules) -> (Vec<Vec<Vec<u8>>>, Option<Violation>) {
    let ServerConnection { mut reader, mut writer } = ServerConnection::new();
    let (mut seen, mut failed) = (Vec::new(), None);
    arrive(data, ends, |rest| {
        while failed.is_none() {
            match reader.next(&mut writer, &rules, rest) {
                Ok(Some(command)) => {
                    let words = [command.name()].into_iter().chain(&command);
                    seen.push(words.map(<[u8]>::to_vec).collect());
                    writer.none().unwrap();
                }
                Ok(None) => break,
                Err(violation) => failed = Some(violation),
            }
        }
    });
    (seen, failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto_resp::Bulk;

    /// Shows that the comparison of strings finds differences.
    #[test]
    fn strings_are_compared() {
        assert!(alike(
            &Value::Bulk("a".into()),
            &redis::Value::BulkString(b"a".to_vec())
        ));
        assert!(!alike(
            &Value::Bulk("a".into()),
            &redis::Value::BulkString(b"b".to_vec())
        ));
        assert_eq!(
            events(b"$1\r\na\r\n", &whole(b"$1\r\na\r\n"), Version::Resp2, Rules::DEFAULT).0,
            [format!("{:?}", Event::Bulk(Bulk::String, b"a"))]
        );
    }
}
