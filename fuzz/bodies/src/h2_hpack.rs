//! Header blocks of HTTP/2: any bytes are decoded or refused, twice with the same result. Decoded fields can be encoded and decoded again.
//! Memory is bounded.

use proto_h2::hpack::{DecodeError, Decoder, Encoder, Indexing};

use crate::memory;

type Decoded = (Vec<Vec<(Vec<u8>, Vec<u8>)>>, Option<DecodeError>);

/// Runs the target: the first byte chooses the size of the table; the rest is header blocks, each behind its length.
pub fn run(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let size = u32::from(choice) * 32;
    let mut blocks = Vec::new();
    let mut rest = data;
    while let Some((&length, behind)) = rest.split_first() {
        let (block, behind) = behind.split_at(usize::from(length).min(behind.len()));
        blocks.push(block);
        rest = behind;
    }
    // An indexed field takes one byte of input and stands for a whole entry of the table.
    let limit = (1 << 18) + (8192 + 512) * data.len();
    memory::within(limit, || {
        let decoded = decode(&blocks, size);
        assert_eq!(decode(&blocks, size), decoded);
        encode(&decoded.0, size);
    });
}

fn decode(blocks: &[&[u8]], size: u32) -> Decoded {
    let mut decoder = Decoder::new(size);
    let mut all = Vec::new();
    for block in blocks {
        let mut fields = Vec::new();
        if let Err(error) = decoder.decode(block, |name, value, _| fields.push((name.to_vec(), value.to_vec()))) {
            return (all, Some(error));
        }
        all.push(fields);
    }
    (all, None)
}

fn encode(blocks: &[Vec<(Vec<u8>, Vec<u8>)>], size: u32) {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    decoder.offer(size);
    encoder.limit(size);
    for fields in blocks {
        // The encoder writes names in lower case.
        let small = |name: &[u8]| name.to_ascii_lowercase();
        let mut block = Vec::new();
        encoder.begin(&mut block).unwrap();
        for (name, value) in fields {
            encoder.field(name, value, Indexing::Auto, &mut block).unwrap();
        }
        let mut seen = Vec::new();
        decoder
            .decode(&block, |name, value, _| seen.push((name.to_vec(), value.to_vec())))
            .unwrap();
        let expected: Vec<_> = fields
            .iter()
            .map(|(name, value)| (small(name), value.clone()))
            .collect();
        assert_eq!(seen, expected);
    }
}
