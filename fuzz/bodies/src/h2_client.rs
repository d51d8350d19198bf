//! A client of HTTP/2 with requests under way: the events and the bytes sent are the same however the server's frames are cut.

use std::collections::BTreeMap;
use std::fmt::Write;

use proto_h2::{ClientConnection, ClientEvent, Head, Limits, Scratch};

use crate::cuts::{arrive, cuts, whole};

/// Runs the target: the input is the server's frames behind its SETTINGS, in answer to a GET, a HEAD, a POST and a CONNECT.
pub fn run(data: &[u8]) {
    let data = [&b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01"[..], data].concat();
    let expected = call(&data, &whole(&data));
    for ends in cuts(&data) {
        assert_eq!(call(&data, &ends), expected);
    }
}

fn call(data: &[u8], ends: &[usize]) -> (String, Vec<u8>) {
    let mut limits = Limits::DEFAULT;
    (limits.fields_bytes, limits.body) = (2000, Some(50_000));
    let (mut connection, mut scratch) = (ClientConnection::new(), Scratch::new());
    let mut started = Vec::new();
    connection.start(&limits, &mut started).unwrap();
    for method in ["GET", "HEAD"] {
        let head = Head::new(method, "http", "a", "/");
        connection.request(head, &(), &limits, &mut started).unwrap();
    }
    let post = Head::new("POST", "http", "a", "/");
    for head in [post, Head::connect("a:1")] {
        connection
            .start_request(head, &(), None, &limits, &mut started)
            .unwrap();
    }
    let (mut log, mut out, mut content) = (String::new(), Vec::new(), BTreeMap::<u32, usize>::new());
    arrive(data, ends, |rest| {
        loop {
            match connection.next(&limits, rest, &mut scratch, &mut out) {
                Ok(None) => break,
                Ok(Some(ClientEvent::Data { stream, data })) => {
                    assert!(!data.is_empty());
                    let length = data.len();
                    *content.entry(stream).or_default() += length;
                    connection.consume(stream, length, &limits, &mut out).unwrap();
                }
                Ok(Some(event)) => writeln!(log, "{event:?}").unwrap(),
                Err(violation) => {
                    writeln!(log, "{violation:?}").unwrap();
                    break;
                }
            }
        }
        assert!(connection.streams() <= 4);
    });
    (format!("{log}{content:?}"), out)
}
