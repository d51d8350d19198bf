//! Masking in place, alone.

use std::hint::black_box;

use benches::turns::Job;
use proto_ws::mask::Mask;

use benches::suite::{Row, Suite};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Offsets of payloads: after a header of 8 bytes, for various offsets of the frame.
const OFFSETS: [usize; 4] = [8, 22, 61, 43];

const MAKE: [fn(usize) -> Job; 4] = [
    memcpy,
    |len| in_place(len, |payload| Mask::new(KEY).apply(payload)),
    |len| in_place(len, |payload| fastwebsockets::unmask(payload, KEY)),
    |len| in_place(len, |payload| yawc::mask::apply_mask(payload, KEY)),
];

pub(crate) fn suite() -> Suite {
    let row = |(len, name): (usize, &str)| Row {
        name: format!("mask: {name} in place"),
        bar: None,
        batch: (2_000_000 / (len / 16 + 4)).max(4),
        check: Box::new(move || check(len)),
        job: Box::new(move |index| Some(MAKE[index](len))),
    };
    let sizes = [
        (16, "16 B"),
        (125, "125 B"),
        (1024, "1 KiB"),
        (65536, "64 KiB"),
        (1 << 20, "1 MiB"),
    ];
    Suite {
        contestants: &["memcpy", "Mask", "fastws", "yawc"],
        ours: "Mask",
        rivals: &["fastws", "yawc"],
        rows: sizes.map(row).into(),
    }
}

/// The lower bound: reads and writes as many bytes unchanged.
fn memcpy(len: usize) -> Job {
    let from = vec![0x5a; len];
    in_place(len, move |payload| payload.copy_from_slice(black_box(&from)))
}

fn in_place(len: usize, mut apply: impl FnMut(&mut [u8]) + 'static) -> Job {
    let mut buffer = vec![0x5a; len + 64];
    Box::new(move |count| {
        for offset in OFFSETS.iter().cycle().take(count) {
            apply(black_box(&mut buffer[*offset..offset + len]));
        }
        black_box(&buffer);
        count
    })
}

/// Compares with a literal implementation of RFC 6455 section 5.3.
fn check(len: usize) {
    let payload: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
    let expected: Vec<u8> = payload
        .iter()
        .zip(KEY.iter().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect();
    for offset in OFFSETS {
        let mut buffer = [&vec![0; offset], &payload[..]].concat();
        Mask::new(KEY).apply(&mut buffer[offset..]);
        assert!(buffer[offset..] == expected);
    }
}
