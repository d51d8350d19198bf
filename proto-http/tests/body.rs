//! The body decoder alone: exact limits, and its state while it reads.

use proto_http::{BodyDecoder, BodyLength, Piece, Rules, Violation, ViolationKind};

fn limited(limit: u64) -> Rules {
    let mut rules = Rules::DEFAULT;
    rules.limits.body = Some(limit);
    rules
}

/// The number of bytes of content in `input`, and whether the body has ended.
fn read(body: &mut BodyDecoder, mut input: &[u8], rules: &Rules) -> Result<(usize, bool), ViolationKind> {
    let mut content = 0;
    while let Some(piece) = body.next(&mut input, rules).map_err(|violation| violation.kind())? {
        match piece {
            Piece::Data(data) => content += data.len(),
            Piece::End(_) => return Ok((content, true)),
        }
    }
    Ok((content, false))
}

#[test]
fn the_limit_is_met_exactly() {
    let rules = limited(5);
    let outcome = |length, input: &[u8]| read(&mut BodyDecoder::new(length), input, &rules);
    let too_large = Err(ViolationKind::BodyTooLarge);
    assert_eq!(outcome(BodyLength::Length(5), b"hello"), Ok((5, true)));
    assert_eq!(outcome(BodyLength::Length(6), b""), too_large);
    assert_eq!(outcome(BodyLength::UntilClose, b"hello"), Ok((5, false)));
    assert_eq!(outcome(BodyLength::UntilClose, b"hello!"), too_large);
    assert_eq!(outcome(BodyLength::Chunked, b"5\r\nhello\r\n0\r\n\r\n"), Ok((5, true)));
    assert_eq!(outcome(BodyLength::Chunked, b"6\r\n"), too_large);
    assert_eq!(
        outcome(BodyLength::Chunked, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        Ok((5, true))
    );
    assert_eq!(outcome(BodyLength::Chunked, b"3\r\nabc\r\n3\r\n"), too_large);
    // In pieces too, and for good.
    let mut body = BodyDecoder::new(BodyLength::UntilClose);
    assert_eq!(read(&mut body, b"hell", &rules), Ok((4, false)));
    assert_eq!(read(&mut body, b"o", &rules), Ok((1, false)));
    assert_eq!(read(&mut body, b"!", &rules), too_large);
    assert_eq!(read(&mut body, b"", &rules), too_large);
}

#[test]
fn the_limits_of_chunk_lines_are_met_exactly() {
    let mut rules = Rules::DEFAULT;
    rules.limits.chunk_extensions = 10;
    rules.limits.chunk_line = 8;
    let outcome = |input: &[u8]| read(&mut BodyDecoder::new(BodyLength::Chunked), input, &rules);
    assert_eq!(outcome(b"1;aaaa\r\na\r\n0;aaaa\r\n\r\n"), Ok((1, true)));
    let too_long = Err(ViolationKind::ChunkLineTooLong);
    assert_eq!(outcome(b"1;aaaa\r\na\r\n0;aaaaa\r\n"), too_long);
    assert_eq!(outcome(b"1;aaaaaa\r\na"), Ok((1, false)));
    assert_eq!(outcome(b"1;aaaaaaa\r\n"), too_long);
    // Before its end is there, too.
    assert_eq!(outcome(b"1;aaaaaa\r"), Ok((0, false)));
    assert_eq!(outcome(b"1;aaaaaaa"), too_long);
}

#[test]
fn what_is_left_and_when_it_is_done() {
    let mut body = BodyDecoder::new(BodyLength::Length(5));
    assert_eq!((body.remaining(), body.is_done()), (Some(5), false));
    assert_eq!(read(&mut body, b"he", &Rules::DEFAULT), Ok((2, false)));
    assert_eq!((body.remaining(), body.is_done()), (Some(3), false));
    assert_eq!(
        body.eof().map_err(|violation| violation.kind()),
        Err(ViolationKind::Truncated)
    );
    assert_eq!(read(&mut body, b"llo", &Rules::DEFAULT), Ok((3, true)));
    assert_eq!((body.remaining(), body.is_done()), (Some(0), true));
    // The bytes that follow belong to the next message.
    assert_eq!(read(&mut body, b"GET", &Rules::DEFAULT), Ok((0, false)));
    assert_eq!(body.eof(), Ok(()));

    let mut body = BodyDecoder::new(BodyLength::Chunked);
    assert_eq!((body.remaining(), body.is_done()), (None, false));
    assert_eq!(read(&mut body, b"2\r\nab\r\n0\r\n", &Rules::DEFAULT), Ok((2, false)));
    assert!(matches!(body.eof(), Err(violation) if violation.kind() == ViolationKind::Truncated));
    assert_eq!(read(&mut body, b"\r\nGET", &Rules::DEFAULT), Ok((0, true)));
    assert_eq!((body.remaining(), body.is_done()), (Some(0), true));
    assert_eq!(read(&mut body, b"0\r\n\r\n", &Rules::DEFAULT), Ok((0, false)));

    let mut body = BodyDecoder::new(BodyLength::UntilClose);
    assert_eq!((body.remaining(), body.is_done()), (None, false));
    assert_eq!(read(&mut body, b"abc", &Rules::DEFAULT), Ok((3, false)));
    assert_eq!(body.eof(), Ok::<(), Violation>(()));
    assert_eq!((body.remaining(), body.is_done()), (Some(0), true));
}

/// RFC 9110 section 6.5.1: fields for framing, routing, authentication or the description of content.
#[test]
fn what_may_not_stand_in_trailers() {
    let outcome = |name: &str| {
        let body = format!("0\r\n{name}: x\r\n\r\n");
        read(
            &mut BodyDecoder::new(BodyLength::Chunked),
            body.as_bytes(),
            &Rules::DEFAULT,
        )
    };
    for name in [
        "TE",
        "Host",
        "Range",
        "Cookie",
        "Expect",
        "Trailer",
        "Upgrade",
        "Location",
        "Connection",
        "Keep-Alive",
        "Set-Cookie",
        "Content-Type",
        "Max-Forwards",
        "Authorization",
        "Cache-Control",
        "Content-Range",
        "Content-Length",
        "Content-Encoding",
        "WWW-Authenticate",
        "Transfer-Encoding",
        "Proxy-Authenticate",
        "Proxy-Authorization",
    ] {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            assert_eq!(outcome(&name), Err(ViolationKind::Trailer), "{name}");
            let other = name.replacen(|letter: char| letter.is_ascii_alphabetic(), "z", 1);
            assert_eq!(outcome(&other), Ok((0, true)), "{other}");
        }
    }
}

/// Trailers that arrive slowly have the same limits and results as trailers that arrive at once.
#[test]
fn trailers_that_trickle() {
    let trickle = |trailers: &[u8]| {
        let bytes = [b"0\r\n", trailers].concat();
        let mut body = BodyDecoder::new(BodyLength::Chunked);
        let mut from = 0;
        for end in 1..=bytes.len() {
            let mut rest = &bytes[from..end];
            match body.next(&mut rest, &Rules::DEFAULT) {
                Ok(Some(Piece::End(trailers))) => return Ok((end, trailers.as_bytes().to_vec())),
                Ok(_) => from = end - rest.len(),
                Err(violation) => return Err((end, violation.kind())),
            }
        }
        Ok((0, Vec::new()))
    };
    let trailers = b"X: y\r\nLong: a value of some length\r\n";
    let whole = [&trailers[..], b"\r\n"].concat();
    assert_eq!(trickle(&whole), Ok((3 + whole.len(), trailers.to_vec())));
    // The default limit is 8 KiB, for one line or many; exceeding it is found at once, and not before.
    for line in [format!("X: {}\r\n", "y".repeat(9000)), "X: y\r\n".repeat(1500)] {
        let (end, kind) = trickle(line.as_bytes()).unwrap_err();
        if line.starts_with("X: y\r") {
            // The 33rd field.
            assert_eq!(kind, ViolationKind::TooManyFields);
        } else {
            assert_eq!(kind, ViolationKind::FieldsTooLarge);
            assert!((3 + 8 * 1024..3 + 8 * 1024 + 3).contains(&end), "{end}");
        }
    }
    let fits = format!("X: {}\r\n\r\n", "y".repeat(8 * 1024 - 5));
    assert_eq!(trickle(fits.as_bytes()).map(|(end, _)| end), Ok(3 + fits.len()));
    let over = format!("X: {}\r\n\r\n", "y".repeat(8 * 1024 - 4));
    assert_eq!(
        trickle(over.as_bytes()).map_err(|(_, kind)| kind),
        Err(ViolationKind::FieldsTooLarge)
    );
}

/// Content that is not copied obeys the same framing: both roles say whether it is sent at all.
#[test]
fn content_that_is_not_copied_is_framed() {
    use proto_http::{BodyLength, ClientConnection, Misuse};
    let mut out = Vec::new();
    let mut client = ClientConnection::new();
    client
        .send_request("PUT", "/", &[("Host", "a")], BodyLength::Length(5), &mut out)
        .unwrap();
    out.clear();
    assert_eq!(client.begin_data(0, &mut out), Ok(false));
    assert_eq!(client.begin_data(3, &mut out), Ok(true));
    client.end_data(&mut out).unwrap();
    assert_eq!(client.begin_data(3, &mut out), Err(Misuse::BodyTooLong));
    assert_eq!(client.begin_data(2, &mut out), Ok(true));
    client.end_data(&mut out).unwrap();
    client.finish(&(), &mut out).unwrap();
    assert_eq!(out, b"");

    let mut client = ClientConnection::new();
    client
        .send_request("PUT", "/", &[("Host", "a")], BodyLength::Chunked, &mut out)
        .unwrap();
    out.clear();
    assert_eq!(client.begin_data(0, &mut out), Ok(false));
    assert_eq!(client.begin_data(26, &mut out), Ok(true));
    client.end_data(&mut out).unwrap();
    client.finish(&(), &mut out).unwrap();
    assert_eq!(out, b"1a\r\n\r\n0\r\n\r\n");
}
