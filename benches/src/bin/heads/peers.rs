//! httparse alone, and with the checks without which its result is not safe to use.

use std::hint::black_box;

use benches::turns::Job;
use httparse::{Header, Request, Response, Status};

use crate::Side;

/// As many as proto-http accepts by default.
const FIELDS: usize = 100;

pub(crate) fn httparse(side: Side, head: Vec<u8>) -> Job {
    job(side, head, |_| true)
}

/// With a plain loop over the fields, as users write it.
pub(crate) fn httparse_checked(side: Side, head: Vec<u8>) -> Job {
    match side {
        Side::Request => job(side, head, |fields| framed(fields) && has_one_host(fields)),
        Side::Response => job(side, head, framed),
    }
}

fn job(side: Side, head: Vec<u8>, check: fn(&[Header<'_>]) -> bool) -> Job {
    Box::new(move |count| {
        for _ in 0..count {
            let found = parse(side, black_box(&head), |fields| check(black_box(fields)));
            assert!(black_box(found));
        }
        count
    })
}

fn parse<T>(side: Side, head: &[u8], then: impl FnOnce(&[Header<'_>]) -> T) -> T {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; FIELDS];
    match side {
        Side::Request => {
            let mut request = Request::new(&mut []);
            let status = request.parse_with_uninit_headers(head, &mut fields);
            assert!(matches!(status, Ok(Status::Complete(_))));
            then(request.headers)
        }
        Side::Response => {
            let mut response = Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            let status = config.parse_response_with_uninit_headers(&mut response, head, &mut fields);
            assert!(matches!(status, Ok(Status::Complete(_))));
            then(response.headers)
        }
    }
}

/// Either one Content-Length of digits or chunked coding, not both (RFC 9112 section 6).
fn framed(fields: &[Header<'_>]) -> bool {
    let (mut length, mut chunked) = (None, false);
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let digits = !field.value.is_empty() && field.value.iter().all(u8::is_ascii_digit);
            let value = std::str::from_utf8(field.value)
                .ok()
                .and_then(|value| value.parse::<u64>().ok());
            if !digits || value.is_none() || length.is_some() {
                return false;
            }
            length = value;
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                return false;
            }
            chunked = true;
        }
    }
    black_box(length).is_none() || !chunked
}

/// Whether there is exactly one Host (RFC 9112 section 3.2).
fn has_one_host(fields: &[Header<'_>]) -> bool {
    let hosts = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    hosts.count() == 1
}

/// The number of fields found.
pub(crate) fn fields(side: Side, head: &[u8]) -> usize {
    parse(side, head, |fields| fields.len())
}
