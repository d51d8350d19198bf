//! Masking (RFC 6455 section 5.3): in place or while copying, at any alignment, in pieces or at once, the result is the same as byte by
//! byte, and bytes around the payload do not change.

use bytes::BytesMut;
use proto_ws::mask::Mask;

/// The number of bytes around the payload.
const AROUND: usize = 70;
/// The length of the longest piece.
const LONGEST: usize = 1200;

/// Runs the target: the input is a key, an offset, and the lengths of pieces.
pub fn run(data: &[u8]) {
    let Some((&[a, b, c, d, offset, spare], lengths)) = data.split_first_chunk() else {
        return;
    };
    let key = [a, b, c, d];
    let lengths: Vec<usize> = lengths
        .chunks(2)
        .take(40)
        .map(|pair| usize::from(u16::from_le_bytes([pair[0], *pair.get(1).unwrap_or(&0)])) % LONGEST)
        .collect();
    let payload: Vec<u8> = (0..lengths.iter().sum())
        .map(|at: usize| (at ^ at >> 8) as u8)
        .collect();
    let expected: Vec<u8> = payload
        .iter()
        .zip(key.iter().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect();

    let offset = usize::from(offset) % AROUND;
    for lengths in [&lengths[..], &[payload.len()]] {
        in_place(key, offset, lengths, &payload, &expected);
        appended(key, usize::from(spare), lengths, &payload, &expected);
    }
}

fn in_place(key: [u8; 4], offset: usize, lengths: &[usize], payload: &[u8], expected: &[u8]) {
    let mut memory = vec![0xa5; AROUND + payload.len() + AROUND];
    let end = offset + payload.len();
    memory[offset..end].copy_from_slice(payload);
    let mut mask = Mask::new(key);
    let mut at = offset;
    for &length in lengths {
        assert_eq!(mask, Mask::new(key).advanced(at - offset));
        mask.apply(&mut memory[at..at + length]);
        at += length;
    }
    assert_eq!(&memory[offset..end], expected);
    let beside = memory[..offset].iter().chain(&memory[end..]);
    assert!(
        beside.copied().all(|byte| byte == 0xa5),
        "a byte beside the payload changed"
    );
}

fn appended(key: [u8; 4], spare: usize, lengths: &[usize], payload: &[u8], expected: &[u8]) {
    // The output begins with other bytes, and has room for some of the pieces without growing.
    let mut out = BytesMut::with_capacity(8 + spare * 16);
    out.extend_from_slice(b"front");
    let mut mask = Mask::new(key);
    let mut at = 0;
    for &length in lengths {
        mask.append(&payload[at..at + length], &mut out);
        at += length;
    }
    assert_eq!(mask, Mask::new(key).advanced(payload.len()));
    assert_eq!(out.split_to(5), b"front"[..]);
    assert_eq!(out, expected);
}
