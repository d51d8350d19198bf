//! proto-http.

use std::hint::black_box;

use benches::turns::Job;
use proto_http::{Parsed, Request, Response, Rules};

use crate::Side;

/// The floor: copies the bytes once, and examines nothing.
pub(crate) fn memcpy(_: Side, head: Vec<u8>) -> Job {
    let mut to = vec![0; head.len()];
    Box::new(move |count| {
        for _ in 0..count {
            to.copy_from_slice(black_box(&head));
            black_box(&to);
        }
        count
    })
}

/// Always strict: once a head is parsed, the framing of its body is known and unambiguous.
pub(crate) fn parse(side: Side, head: Vec<u8>) -> Job {
    match side {
        Side::Request => Box::new(move |count| {
            for _ in 0..count {
                let parsed = Request::parse(black_box(&head), &Rules::DEFAULT);
                assert!(matches!(black_box(parsed), Ok(Parsed::Complete { .. })));
            }
            count
        }),
        Side::Response => Box::new(move |count| {
            for _ in 0..count {
                let parsed = Response::parse(black_box(&head), &Rules::DEFAULT);
                assert!(matches!(black_box(parsed), Ok(Parsed::Complete { .. })));
            }
            count
        }),
    }
}

/// The number of fields found.
pub(crate) fn fields(side: Side, head: &[u8]) -> usize {
    match side {
        Side::Request => match Request::parse(head, &Rules::DEFAULT) {
            Ok(Parsed::Complete { head, .. }) => head.fields().iter().count(),
            other => panic!("{other:?}"),
        },
        Side::Response => match Response::parse(head, &Rules::DEFAULT) {
            Ok(Parsed::Complete { head, .. }) => head.fields().iter().count(),
            other => panic!("{other:?}"),
        },
    }
}
