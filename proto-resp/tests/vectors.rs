//! The vectors of `vectors/resp.tsv`, whole and cut at every byte.

use std::fmt::Write;

#[path = "vectors/reader.rs"]
mod reader;

use proto_resp::{
    Aggregate, Bulk, ClientConnection, ClientEvent, Command, Decoder, Encoder, Event, Null, Rules, ServerConnection,
    Version, Violation,
};
use protocol::testing::splits;
use reader::{Vector, vectors};

/// Shows pieces to a reader that takes what it can from the front of its buffer.
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

/// Writes events the way the vectors do.
#[derive(Default)]
struct Shown {
    /// Items that are complete.
    done: String,
    /// The item in progress.
    open: String,
    part: Option<Vec<u8>>,
}

impl Shown {
    fn event(&mut self, event: Event<'_>, between: bool) {
        let Shown { open, part, .. } = self;
        if !matches!(event, Event::End { .. }) && part.is_none() && !open.is_empty() && !open.ends_with('[') {
            open.push(' ');
        }
        match event {
            Event::Simple(text) => write!(open, "+\"{}\"", text.escape_ascii()),
            Event::Error(text) => write!(open, "-\"{}\"", text.escape_ascii()),
            Event::Integer(value) => write!(open, "{value}"),
            Event::Double(value) => write!(open, ",{value}"),
            Event::Boolean(value) => write!(open, "{value}"),
            Event::BigNumber(digits) => write!(open, "({digits}"),
            Event::Null(Null::Null) => write!(open, "nil"),
            Event::Null(Null::Bulk) => write!(open, "nil$"),
            Event::Null(Null::Array) => write!(open, "nil*"),
            Event::Bulk(of, bytes) => write!(open, "{}\"{}\"", prefix(of), bytes.escape_ascii()),
            Event::Part { of, bytes, left } => {
                let streamed = part.is_none() && left.is_none();
                let all = part.get_or_insert_default();
                all.extend_from_slice(bytes);
                // The first part shows whether the string is streamed.
                let mark = if streamed { "?" } else { "" };
                let written = open.write_str(mark);
                if left == Some(0) {
                    let all = part.take().unwrap();
                    write!(open, "{}\"{}\"", prefix(of), all.escape_ascii()).unwrap();
                }
                written
            }
            Event::Begin { kind, len } => {
                let streamed = if len.is_none() { "?" } else { "" };
                write!(open, "{}{streamed}[", char::from(kind.byte()))
            }
            Event::End { .. } => write!(open, "]"),
            other => panic!("{other:?}"),
        }
        .unwrap();
        if between {
            self.done.push_str(&std::mem::take(&mut self.open));
            self.done.push(' ');
        }
    }
}

fn prefix(of: Bulk) -> String {
    match of {
        Bulk::String => String::new(),
        Bulk::Error => "!".into(),
        Bulk::Verbatim(encoding) => format!("={}", encoding.escape_ascii()),
    }
}

fn rules(kind: &str) -> Rules {
    let mut rules = Rules::DEFAULT;
    rules.leniency.any_nan = kind.ends_with("any-nan");
    rules.leniency.inline_commands = kind == "inline";
    rules
}

fn version(kind: &str) -> Version {
    if kind == "resp2" {
        Version::Resp2
    } else {
        Version::Resp3
    }
}

/// What a client reads from `pieces`, event by event.
fn decode(kind: &str, pieces: &[&[u8]]) -> String {
    let mut decoder = Decoder::new(version(kind), rules(kind));
    let (mut shown, mut failed, mut left) = (Shown::default(), None, 0);
    feed(pieces, |rest| {
        loop {
            match decoder.next(rest) {
                Ok(Some(event)) => shown.event(event, decoder.is_between()),
                Ok(None) => break,
                Err(violation) => {
                    assert_eq!(decoder.next(rest), Err(violation), "not for ever");
                    failed = Some(violation);
                    return false;
                }
            }
        }
        left = rest.len();
        true
    });
    let end = match failed {
        Some(violation) => format!("error {}", violation.name()),
        None if decoder.is_between() && left == 0 => "more".into(),
        None => "part".into(),
    };
    shown.done + &end
}

/// What a server reads from `pieces`.
fn serve(kind: &str, pieces: &[&[u8]]) -> String {
    let rules = rules(kind);
    let ServerConnection { mut reader, mut writer } = ServerConnection::new();
    let (mut shown, mut failed, mut left) = (String::new(), None, 0);
    feed(pieces, |rest| {
        loop {
            match reader.next(&mut writer, &rules, rest) {
                Ok(Some(command)) => {
                    let words: Vec<_> = [command.name()].into_iter().chain(&command).collect();
                    let words: Vec<_> = words.iter().map(|word| word.escape_ascii().to_string()).collect();
                    assert_eq!(words.len(), command.len() + 1);
                    write!(shown, "({}) ", words.join(" ")).unwrap();
                    writer.none().unwrap();
                }
                Ok(None) => break,
                Err(violation) => {
                    failed = Some(violation);
                    return false;
                }
            }
        }
        left = rest.len();
        true
    });
    let end = match failed {
        Some(violation) => format!("error {}", violation.name()),
        None if left == 0 && !reader.is_inside_command() => "more".into(),
        None => "part".into(),
    };
    shown + &end
}

fn outcome(vector: &Vector, pieces: &[&[u8]]) -> String {
    match vector.kind {
        "command" | "inline" => serve(vector.kind, pieces),
        kind if kind.starts_with("resp") => decode(kind, pieces),
        kind => panic!("unknown kind {kind}"),
    }
}

#[test]
fn every_vector_has_its_outcome() {
    let vectors = vectors();
    assert!(vectors.len() >= 200);
    let mut wrong = Vec::new();
    for vector in &vectors {
        let found = outcome(vector, &[&vector.bytes]);
        if found != vector.outcome {
            wrong.push(format!("{}: {found}\n  instead of {}", vector.name, vector.outcome));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_cut_changes_an_outcome() {
    let mut wrong = Vec::new();
    for vector in vectors() {
        let bytewise = vector.bytes.chunks(1).collect::<Vec<_>>();
        for pieces in splits(&vector.bytes).chain([bytewise]) {
            let found = outcome(&vector, &pieces);
            if found != vector.outcome {
                let first = pieces.first().map_or(0, |piece| piece.len());
                wrong.push(format!(
                    "{} at {first}: {found}\n  instead of {}",
                    vector.name, vector.outcome
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every violation that bytes alone can cause is shown by a vector, or by one of the cases here.
#[test]
fn every_violation_is_shown() {
    let vectors = vectors();
    let mut line = b"+".to_vec();
    line.resize(20_000, b'x');
    let mut many = b"*5\r\n".to_vec();
    for _ in 0..5 {
        many.extend_from_slice(b"$16777216\r\n");
        many.resize(many.len() + (16 << 20), b'x');
        many.extend_from_slice(b"\r\n");
    }
    let mut connection = ClientConnection::<()>::new(Rules::DEFAULT);
    let unsolicited = connection.next(&mut &b"+OK\r\n"[..], &mut Vec::new());
    let mut unsubscribing = ClientConnection::<()>::new(Rules::DEFAULT);
    unsubscribing.command((), "UNSUBSCRIBE", &mut Vec::new()).unwrap();
    let misordered = unsubscribing.next(&mut &b"+OK\r\n"[..], &mut Vec::new());
    let others = [
        format!(
            "error {}",
            misordered.map(|_: Option<ClientEvent<()>>| ()).unwrap_err().name()
        ),
        decode("resp3", &[&line]),
        decode("resp3", &[&many]),
        format!(
            "error {}",
            unsolicited.map(|_: Option<ClientEvent<()>>| ()).unwrap_err().name()
        ),
    ];
    for name in Violation::NAMES {
        let shown = vectors
            .iter()
            .any(|vector| vector.outcome.ends_with(&format!("error {name}")));
        let other = others.iter().any(|outcome| outcome.ends_with(&format!("error {name}")));
        assert!(shown || other, "{name}");
    }
}

/// Every complete item is written as it was read, because each has only one encoding.
#[test]
fn what_is_read_is_written_the_same() {
    let mut same = 0;
    for vector in vectors() {
        if !vector.kind.starts_with("resp") || !vector.outcome.ends_with("more") {
            continue;
        }
        let version = version(vector.kind);
        let mut decoder = Decoder::new(version, rules(vector.kind));
        let mut encoder = Encoder::new(version);
        let mut written = Vec::new();
        let mut rest = &vector.bytes[..];
        while let Some(event) = decoder.next(&mut rest).unwrap() {
            encoder.event(&event, &mut written).unwrap();
            // An aggregate ends with its last element; its end is told behind it.
            assert!(encoder.is_between() || !decoder.is_between(), "{}", vector.name);
        }
        // Doubles and numbers with signs have several encodings; the written one is read back as the same value.
        if vector.bytes.iter().any(|byte| matches!(byte, b',' | b'+')) && written != vector.bytes {
            assert_eq!(decode(vector.kind, &[&written]), vector.outcome, "{}", vector.name);
            continue;
        }
        assert_eq!(
            written.escape_ascii().to_string(),
            vector.bytes.escape_ascii().to_string(),
            "{}",
            vector.name
        );
        same += 1;
    }
    assert!(same > 60);
}

/// The redis crate accepts what we accept, and reads the same values.
#[test]
fn replies_look_to_the_redis_crate_as_they_do_to_us() {
    let mut seen = 0;
    for vector in vectors() {
        if !vector.kind.starts_with("resp") || !vector.outcome.ends_with("more") || vector.bytes.is_empty() {
            continue;
        }
        let theirs = redis::parse_redis_value(&vector.bytes);
        // The redis crate reads only the first item.
        if theirs.is_err() {
            // It knows no streams, wants UTF-8 in simple strings, and knows no bits of numbers that are none.
            let known = ["simple of any bytes", "no number with its bits"].contains(&vector.name);
            assert!(known || vector.outcome.contains('?'), "{}", vector.name);
            continue;
        }
        let mut rest = &vector.bytes[..];
        let mut decoder = proto_resp::ValueDecoder::new(version(vector.kind), rules(vector.kind));
        let ours = decoder.next(&mut rest).unwrap().unwrap();
        assert!(same(&ours, &theirs.unwrap()), "{}: {ours:?}", vector.name);
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}

fn same(ours: &proto_resp::Value, theirs: &redis::Value) -> bool {
    use proto_resp::Value as Ours;
    use redis::Value as Theirs;
    let list = |ours: &[Ours], theirs: &[Theirs]| {
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
    };
    let pairs = |ours: &[(Ours, Ours)], theirs: &[(Theirs, Theirs)]| {
        ours.len() == theirs.len()
            && ours
                .iter()
                .zip(theirs)
                .all(|(ours, theirs)| same(&ours.0, &theirs.0) && same(&ours.1, &theirs.1))
    };
    match (ours, theirs) {
        // We drop an attribute without content.
        (ours, Theirs::Attribute { data, attributes }) if attributes.is_empty() => same(ours, data),
        (Ours::Null, Theirs::Nil) => true,
        (Ours::Integer(ours), Theirs::Int(theirs)) => ours == theirs,
        (Ours::Bulk(ours), Theirs::BulkString(theirs)) => ours == theirs,
        (Ours::Simple(ours), Theirs::Okay) => &ours[..] == b"OK",
        (Ours::Simple(ours), Theirs::SimpleString(theirs)) => ours == theirs,
        (Ours::Array(ours), Theirs::Array(theirs)) => list(ours, theirs),
        (Ours::Set(ours), Theirs::Set(theirs)) => list(ours, theirs),
        (Ours::Map(ours), Theirs::Map(theirs)) => pairs(ours, theirs),
        (Ours::Double(ours), Theirs::Double(theirs)) => {
            ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan()
        }
        (Ours::Boolean(ours), Theirs::Boolean(theirs)) => ours == theirs,
        (Ours::Verbatim(_, ours), Theirs::VerbatimString { text, .. }) => ours == text,
        // Only the kind is compared: the redis crate represents the text of errors in another form.
        (Ours::Error(_), Theirs::ServerError(_)) => true,
        (Ours::BigNumber(_), Theirs::BigNumber(_)) => true,
        (Ours::Push(ours), Theirs::Push { data, .. }) => list(&ours[1..], data),
        (Ours::Attributed(ours), mut theirs) => {
            // Several attributes of one value are nested.
            let mut all = Vec::new();
            while let Theirs::Attribute { data, attributes } = theirs {
                all.extend(attributes.iter().cloned());
                theirs = data;
            }
            same(&ours.value, theirs) && pairs(&ours.attributes, &all)
        }
        _ => false,
    }
}

#[test]
fn a_command_alone_is_parsed_from_a_slice() {
    for vector in vectors().iter().filter(|vector| vector.kind == "command") {
        match Command::parse(&vector.bytes, &Rules::DEFAULT) {
            Ok(Some((command, used))) => {
                assert!(
                    vector
                        .outcome
                        .starts_with(&format!("({}", command.name().escape_ascii()))
                );
                assert!(used <= vector.bytes.len());
            }
            Ok(None) => assert_eq!(vector.outcome, "part"),
            Err(violation) => assert_eq!(vector.outcome, format!("error {}", violation.name())),
        }
    }
    assert_eq!(Aggregate::Map.width(), 2);
}
