//! proto-resp, in three ways of use.

use std::hint::black_box;

use proto_resp::{
    ClientConnection, ClientEvent, CommandDecoder, Decoder, Rules, Value, ValueDecoder, Version, write_command,
};

use crate::cases::{Case, PIPELINE, SET, Task};
use benches::turns::Job;

/// The floor: copies the bytes once, as a read does, and examines nothing.
pub(crate) fn memcpy(case: &Case) -> Option<Job> {
    let (feed, len) = (case.feed(), case.wire.len());
    let mut to = vec![0; feed.len()];
    Some(Box::new(move |count| {
        let mut seen = 0;
        while seen < count {
            to.copy_from_slice(black_box(&feed));
            black_box(&to);
            seen += feed.len() / len;
        }
        seen
    }))
}

/// Runs `take` over reads of the feed, repeatedly; `take` returns how many items it took.
fn reads(case: &Case, mut take: impl FnMut(&mut &[u8]) -> usize + 'static) -> Job {
    let feed = case.feed();
    let mut buffer = vec![0; feed.len()];
    Box::new(move |count| {
        let mut seen = 0;
        while seen < count {
            buffer.copy_from_slice(black_box(&feed));
            let mut rest = &buffer[..];
            seen += take(&mut rest);
            assert!(rest.is_empty());
        }
        seen
    })
}

/// Borrowed events, without allocating.
pub(crate) fn decoder(case: &Case) -> Option<Job> {
    let rules = Rules::DEFAULT;
    Some(match case.task {
        Task::Replies => {
            let mut decoder = Decoder::new(Version::Resp3, rules);
            reads(case, move |rest| {
                let mut seen = 0;
                while let Some(event) = decoder.next(rest).unwrap() {
                    black_box(event);
                    seen += usize::from(decoder.is_between());
                }
                seen
            })
        }
        Task::Commands => {
            let mut decoder = CommandDecoder::new();
            reads(case, move |rest| {
                let mut seen = 0;
                while let Some(command) = decoder.next(&rules, rest).unwrap() {
                    for argument in &command {
                        black_box(argument);
                    }
                    seen += 1;
                }
                seen
            })
        }
        Task::Write => {
            let mut out = Vec::with_capacity(65536);
            Box::new(move |count| {
                for _ in 0..count {
                    if out.len() > 65000 {
                        black_box(&out);
                        out.clear();
                    }
                    write_command(&mut out, &black_box(SET)).unwrap();
                }
                count
            })
        }
        Task::Pipeline => return None,
    })
}

/// Owned values.
pub(crate) fn value(case: &Case) -> Option<Job> {
    if case.task != Task::Replies {
        return None;
    }
    let mut decoder = ValueDecoder::new(Version::Resp3, Rules::DEFAULT);
    Some(reads(case, move |rest| {
        let mut seen = 0;
        while let Some(value) = decoder.next(rest).unwrap() {
            black_box(value);
            seen += 1;
        }
        seen
    }))
}

/// Owned values, matched to their commands.
pub(crate) fn connection(case: &Case) -> Option<Job> {
    let mut connection = ClientConnection::new(Rules::DEFAULT);
    let mut out = Vec::with_capacity(1 << 20);
    match case.task {
        Task::Pipeline => {
            let replies = case.wire.repeat(PIPELINE);
            let mut buffer = vec![0; replies.len()];
            Some(Box::new(move |count| {
                let mut seen = 0;
                while seen < count {
                    out.clear();
                    for ticket in 0..PIPELINE {
                        connection.command(ticket, &("GET", "session:4711"), &mut out).unwrap();
                    }
                    black_box(&out);
                    buffer.copy_from_slice(black_box(&replies));
                    let mut rest = &buffer[..];
                    while let Some(ClientEvent::Reply(ticket, value)) = connection.next(&mut rest, &mut out).unwrap() {
                        black_box((ticket, value));
                        seen += 1;
                    }
                }
                seen
            }))
        }
        Task::Write => Some(Box::new(move |count: usize| {
            // There are no replies.
            connection.take_unanswered().for_each(drop);
            for _ in 0..count {
                if out.len() > 65000 {
                    black_box(&out);
                    out.clear();
                }
                connection.command(0, &black_box(SET), &mut out).unwrap();
            }
            count
        }) as Job),
        Task::Replies | Task::Commands => None,
    }
}

/// Checks that a case has the intended meaning.
pub(crate) fn check(case: &Case) {
    if case.task == Task::Replies {
        let mut decoder = ValueDecoder::new(Version::Resp3, Rules::DEFAULT);
        let mut rest = &case.wire[..];
        let value = decoder.next(&mut rest).unwrap();
        assert!(value.is_some() && rest.is_empty(), "{}", case.name);
        assert!(!matches!(value, Some(Value::Error(_))));
    }
}
