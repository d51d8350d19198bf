//! A server of HTTP/2: the events and the bytes sent are the same however the client's frames are cut; memory stays within the limits.

use std::collections::BTreeMap;
use std::fmt::Write;

use proto_h2::{Limits, PREFACE, Scratch, ServerConnection, ServerEvent};

use crate::cuts::{arrive, cuts, whole};

/// Runs the target: the input is the client's frames behind the preface and SETTINGS.
pub fn run(data: &[u8]) {
    let data = [&PREFACE[..], b"\0\0\0\x04\0\0\0\0\0", data].concat();
    let expected = serve(&data, &whole(&data));
    for ends in cuts(&data) {
        assert_eq!(serve(&data, &ends), expected);
    }
}

fn serve(data: &[u8], ends: &[usize]) -> (String, Vec<u8>) {
    let mut limits = Limits::DEFAULT;
    (limits.streams, limits.fields_bytes, limits.body) = (4, 2000, Some(50_000));
    let (mut connection, mut out, mut scratch) = (ServerConnection::new(), Vec::new(), Scratch::new());
    connection.start(&limits, &mut Vec::new()).unwrap();
    let (mut log, mut content) = (String::new(), BTreeMap::<u32, usize>::new());
    arrive(data, ends, |rest| {
        loop {
            match connection.next(&limits, rest, &mut scratch, &mut out) {
                Ok(None) => break,
                Ok(Some(ServerEvent::Data { stream, data })) => {
                    assert!(!data.is_empty());
                    let length = data.len();
                    *content.entry(stream).or_default() += length;
                    connection.consume(stream, length, &limits, &mut out).unwrap();
                }
                Ok(Some(event)) => {
                    writeln!(log, "{event:?}").unwrap();
                    let complete = match event {
                        ServerEvent::Request { stream, end: true, .. } | ServerEvent::End { stream, .. } => {
                            Some(stream)
                        }
                        _ => None,
                    };
                    if let Some(stream) = complete.filter(|&stream| connection.can_respond(stream)) {
                        let answer = connection.respond(stream, 200, &[("x", "y")], b"answer", None, &limits, &mut out);
                        // Only a stream that asked for a tunnel may refuse this response.
                        assert!(answer.is_ok() || connection.wants_tunnel(stream));
                    }
                }
                Err(violation) => {
                    assert!(violation.ends_connection());
                    writeln!(log, "{violation:?}").unwrap();
                    break;
                }
            }
        }
        assert!(connection.streams() <= 4);
    });
    (format!("{log}{content:?}"), out)
}
