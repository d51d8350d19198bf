//! Properties that hold for all inputs: round trips, independence of cuts, and no panic on random bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use proto_resp::{
    Bulk, Command, Decoder, Encoder, Event, Rules, ServerConnection, Value, ValueDecoder, Version, Violation,
    write_command,
};

/// Bytes that often look like RESP.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        &b"\r\n"[..],
        b"\r",
        b"\n",
        b"$",
        b"*",
        b"%",
        b"~",
        b">",
        b"|",
        b"=",
        b"!",
        b";",
        b"?",
        b".\r\n",
        b"+a\r\n",
        b":1\r\n",
        b"_\r\n",
        b"#t\r\n",
        b"0\r\n",
        b"1\r\n",
        b"2\r\n",
        b"3\r\nabc\r\n",
        b"-1\r\n",
        b"txt:",
        b"$3\r\nGET\r\n",
    ]);
    let piece = prop_oneof![8 => token.prop_map(|token: &[u8]| token.to_vec()), 1 => vec(any::<u8>(), 0..6)];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn bytes() -> impl Strategy<Value = bytes::Bytes> {
    vec(any::<u8>(), 0..40).prop_map(bytes::Bytes::from)
}

fn line() -> impl Strategy<Value = bytes::Bytes> {
    vec(
        any::<u8>().prop_filter("a line break", |byte| !b"\r\n".contains(byte)),
        0..30,
    )
    .prop_map(bytes::Bytes::from)
}

/// Values that have only one encoding.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        line().prop_map(Value::Simple),
        line().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>()
            .prop_filter("is itself", |value| !value.is_nan())
            .prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        "-?[1-9][0-9]{0,40}|0".prop_map(|digits| Value::BigNumber(digits.into())),
        bytes().prop_map(Value::Bulk),
        bytes().prop_map(|text| Value::Verbatim(*b"txt", text)),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec(inner.clone(), 0..6).prop_map(Value::Set),
            vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

/// Cuts `bytes` at some places, in order.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut from = 0;
    ends.iter()
        .map(|&to| {
            let piece = &bytes[from..to];
            from = to;
            piece
        })
        .collect()
}

/// Shows pieces to a reader that takes what it can, until the reader returns false.
fn feed(pieces: &[&[u8]], mut read: impl FnMut(&mut &[u8]) -> bool) {
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut rest = &buffer[..];
        if !read(&mut rest) {
            return;
        }
        let used = buffer.len() - rest.len();
        buffer.drain(..used);
    }
}

type Seen = (Vec<String>, Option<Violation>);

/// All events, with the parts of a string joined; streamed strings are represented by their sum.
fn events(version: Version, pieces: &[&[u8]]) -> Seen {
    let mut decoder = Decoder::new(version, Rules::DEFAULT);
    let (mut seen, mut failed) = (Vec::new(), None);
    let mut string = Vec::new();
    feed(pieces, |rest| {
        loop {
            match decoder.next(rest) {
                Ok(Some(Event::Part { of, bytes, left })) => {
                    string.extend_from_slice(bytes);
                    if left == Some(0) {
                        seen.push(format!("{:?}", Event::Bulk(of, &std::mem::take(&mut string))));
                    }
                }
                Ok(Some(event)) => seen.push(format!("{event:?}")),
                Ok(None) => return true,
                Err(violation) => {
                    failed = Some(violation);
                    return false;
                }
            }
        }
    });
    (seen, failed)
}

fn values(version: Version, pieces: &[&[u8]]) -> (Vec<Value>, Option<Violation>) {
    let mut decoder = ValueDecoder::new(version, Rules::DEFAULT);
    let (mut seen, mut failed) = (Vec::new(), None);
    feed(pieces, |rest| {
        loop {
            match decoder.next(rest) {
                Ok(Some(value)) => seen.push(value),
                Ok(None) => return true,
                Err(violation) => {
                    failed = Some(violation);
                    return false;
                }
            }
        }
    });
    (seen, failed)
}

fn commands(rules: &Rules, pieces: &[&[u8]]) -> (Vec<Vec<Vec<u8>>>, Option<Violation>) {
    let ServerConnection { mut reader, mut writer } = ServerConnection::new();
    let (mut seen, mut failed) = (Vec::new(), None);
    feed(pieces, |rest| {
        loop {
            match reader.next(&mut writer, rules, rest) {
                Ok(Some(command)) => {
                    let all = [command.name()].into_iter().chain(&command);
                    seen.push(all.map(<[u8]>::to_vec).collect());
                    writer.none().unwrap();
                }
                Ok(None) => return true,
                Err(violation) => {
                    failed = Some(violation);
                    return false;
                }
            }
        }
    });
    (seen, failed)
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![1 => Just(Version::Resp2), 3 => Just(Version::Resp3)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_cut_changes_events(version in version(), noise in noise(), places in vec(any::<prop::sample::Index>(), 0..12)) {
        let expected = events(version, &[&noise]);
        prop_assert_eq!(&events(version, &cut(&noise, &places)), &expected);
        let bytewise: Vec<_> = noise.chunks(1).collect();
        prop_assert_eq!(&events(version, &bytewise), &expected);
        let (whole, failed) = values(version, &[&noise]);
        prop_assert_eq!(failed, expected.1);
        // Compared as text, because a double may be NaN.
        prop_assert_eq!(format!("{:?}", values(version, &bytewise).0), format!("{whole:?}"));
    }

    #[test]
    fn no_cut_changes_commands(inline in any::<bool>(), noise in noise(), places in vec(any::<prop::sample::Index>(), 0..12)) {
        let mut rules = Rules::DEFAULT;
        rules.leniency.inline_commands = inline;
        let expected = commands(&rules, &[&noise]);
        prop_assert_eq!(&commands(&rules, &cut(&noise, &places)), &expected);
        let bytewise: Vec<_> = noise.chunks(1).collect();
        prop_assert_eq!(&commands(&rules, &bytewise), &expected);
    }

    #[test]
    fn what_was_read_is_written_the_same(version in version(), noise in noise()) {
        let mut decoder = Decoder::new(version, Rules::DEFAULT);
        let mut encoder = Encoder::new(version);
        let (mut rest, mut written) = (&noise[..], Vec::new());
        let mut whole = true;
        while let Ok(Some(event)) = decoder.next(&mut rest) {
            encoder.event(&event, &mut written).unwrap();
            whole &= !matches!(event, Event::Double(_) | Event::Part { left: Some(1..), .. });
        }
        // What the noise has of numbers is in the one form that is written.
        prop_assert!(!whole || noise.starts_with(&written), "{} from {}", written.escape_ascii(), noise.escape_ascii());
        if encoder.is_between() {
            prop_assert_eq!(events(version, &[&written]).1, None);
        }
    }

    #[test]
    fn values_come_back(values_sent in vec(value(), 0..5), places in vec(any::<prop::sample::Index>(), 0..12)) {
        let mut wire = Vec::new();
        for value in &values_sent {
            value.encode(Version::Resp3, &mut wire).unwrap();
        }
        prop_assert_eq!(&values(Version::Resp3, &[&wire]), &(values_sent.clone(), None));
        prop_assert_eq!(&values(Version::Resp3, &cut(&wire, &places)), &(values_sent.clone(), None));
        // Values that RESP2 has no form for are sent in another form, which is read back as it is.
        let mut old = Vec::new();
        for value in &values_sent {
            value.encode(Version::Resp2, &mut old).unwrap();
        }
        let (read, failed) = values(Version::Resp2, &cut(&old, &places));
        prop_assert_eq!((read.len(), failed), (values_sent.len(), None));
        let mut again = Vec::new();
        for value in &read {
            value.encode(Version::Resp2, &mut again).unwrap();
        }
        prop_assert_eq!(again, old);
    }

    #[test]
    fn commands_come_back(all in vec(vec(vec(any::<u8>(), 0..30), 1..6), 0..6), places in vec(any::<prop::sample::Index>(), 0..12)) {
        let all: Vec<_> = all.into_iter().filter(|command| !command[0].is_empty()).collect();
        let mut wire = Vec::new();
        for command in &all {
            write_command(&mut wire, command).unwrap();
        }
        prop_assert_eq!(commands(&Rules::DEFAULT, &cut(&wire, &places)), (all, None));
    }

    /// Long commands are collected correctly, however they are cut.
    #[test]
    fn long_commands_come_back(lens in vec(0..40_000usize, 1..5), chunk in 1..50_000usize) {
        let mut command: Vec<Vec<u8>> = vec![b"SET".to_vec()];
        command.extend(lens.iter().map(|&len| vec![b'\n'; len]));
        let mut wire = Vec::new();
        write_command(&mut wire, &command).unwrap();
        write_command(&mut wire, "PING").unwrap();
        let pieces: Vec<_> = wire.chunks(chunk).collect();
        prop_assert_eq!(commands(&Rules::DEFAULT, &pieces), (vec![command, vec![b"PING".to_vec()]], None));
    }

    #[test]
    fn arguments_are_the_same_each_time(name in vec(any::<u8>(), 1..9), mut command in vec(vec(any::<u8>(), 0..9), 0..9)) {
        command.insert(0, name);
        let mut wire = Vec::new();
        write_command(&mut wire, &command).unwrap();
        let (read, used) = Command::parse(&wire, &Rules::DEFAULT).unwrap().unwrap();
        prop_assert_eq!(used, wire.len());
        prop_assert_eq!(read.len(), command.len() - 1);
        prop_assert_eq!(read.iter().len(), read.iter().count());
        prop_assert_eq!(read.arguments::<2>().is_some(), command.len() == 3);
        // A client may read a command as an array.
        let (array, _) = values(Version::Resp2, &[&wire]);
        let strings = command.into_iter().map(|argument| Value::Bulk(argument.into())).collect();
        prop_assert_eq!(array, vec![Value::Array(strings)]);
    }
}

#[test]
fn a_bulk_in_parts_is_one() {
    let wire = b"$10\r\n0123456789\r\n";
    let (seen, _) = events(Version::Resp2, &[&wire[..8], &wire[8..15], &wire[15..]]);
    assert_eq!(seen, [format!("{:?}", Event::Bulk(Bulk::String, b"0123456789"))]);
}
