//! The codec beside other people's, with nothing but std:
//!
//! ```sh
//! peer get HOST:PORT PATH..     # all at once on one connection; prints STREAM STATUS BYTES for each
//! peer hpack                    # lines of hex: `d BLOCK` decodes to NAME=VALUE.., `e NAME=VALUE..` encodes; one connection's worth
//! ```

// A program may use sockets; the crate may not.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use proto_h2::hpack::{Decoder, Encoder, Indexing};
use proto_h2::{ClientConnection, ClientEvent, Head, Limits, Scratch};

fn get(to: &str, paths: &[String]) -> Result<(), Box<dyn Error>> {
    let mut limits = Limits::DEFAULT;
    limits.body = None;
    let (mut scratch, mut out) = (Scratch::new(), Vec::new());
    let mut connection = ClientConnection::new();
    connection.start(&limits, &mut out)?;
    let mut socket = TcpStream::connect(to)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut waiting: Vec<&String> = paths.iter().rev().collect();
    // Status and bytes by stream.
    let mut answers: BTreeMap<u32, (u16, usize)> = BTreeMap::new();
    let (mut done, mut input, mut buffer) = (0, Vec::new(), vec![0; 65_536]);
    while done < paths.len() {
        while connection.can_request()
            && let Some(path) = waiting.pop()
        {
            connection.request(
                Head::new("GET", "http", to, path),
                &[("accept", "*/*")],
                &limits,
                &mut out,
            )?;
        }
        socket.write_all(&out)?;
        out.clear();
        let count = socket.read(&mut buffer)?;
        if count == 0 {
            return Err("the server has closed".into());
        }
        input.extend_from_slice(&buffer[..count]);
        let mut rest = &input[..];
        while let Some(event) = connection.next(&limits, &mut rest, &mut scratch, &mut out)? {
            match event {
                ClientEvent::Response { stream, response, end } => {
                    answers.insert(stream, (response.status(), 0));
                    done += usize::from(end);
                }
                ClientEvent::Data { stream, data } => {
                    let length = data.len();
                    answers.entry(stream).or_default().1 += length;
                    connection.consume(stream, length, &limits, &mut out)?;
                }
                ClientEvent::End { .. } => done += 1,
                ClientEvent::Reset { stream, code } => return Err(format!("stream {stream} was reset: {code}").into()),
                ClientEvent::Failed(violation) => return Err(violation.into()),
                ClientEvent::Goaway { code, .. } => return Err(format!("the server goes away: {code}").into()),
                _ => {}
            }
        }
        let used = input.len() - rest.len();
        input.drain(..used);
    }
    for (stream, (status, bytes)) in answers {
        println!("{stream} {status} {bytes}");
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}

fn hpack() -> Result<(), Box<dyn Error>> {
    let (mut decoder, mut encoder) = (Decoder::new(4096), Encoder::new());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (what, rest) = line.split_at(line.len().min(2));
        if what == "d " {
            let mut fields = Vec::new();
            match decoder.decode(&unhex(rest)?, |name, value, _| {
                fields.push(format!("{}={}", hex(name), hex(value)))
            }) {
                Ok(()) => println!("{}", fields.join(" ")),
                Err(error) => println!("error {error}"),
            }
        } else {
            let mut block = Vec::new();
            encoder.begin(&mut block)?;
            for (name, value) in rest.split(' ').filter_map(|field| field.split_once('=')) {
                encoder.field(&unhex(name)?, &unhex(value)?, Indexing::Auto, &mut block)?;
            }
            println!("{}", hex(&block));
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [what, to, paths @ ..] if what == "get" => get(to, paths),
        [what] if what == "hpack" => hpack(),
        _ => Err("get HOST:PORT PATH.. | hpack".into()),
    }
}
