//! `Output` and `Input` compared with a plain vector: they hold the same bytes in the same order, however bytes are added and taken.

use std::io::IoSlice;

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Buf, Bytes};
use protocol::{Input, Output};

#[derive(Debug, Arbitrary)]
enum Step {
    Copy(u16),
    Share(u16),
    Tail(u16),
    Advance(u16),
    Vectored(u8),
    Clear,
    Consume(u16),
    Take(u16),
    TakeAll,
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut output = Output::new();
    let mut model: Vec<u8> = Vec::new();
    let mut made = 0_u8;
    // Each call makes other bytes.
    let mut fresh = |len: u16| -> Vec<u8> {
        let len = usize::from(len % 5000);
        (0..len)
            .map(|_| {
                made = made.wrapping_mul(5).wrapping_add(1);
                made
            })
            .collect()
    };
    let mut steps = Unstructured::new(data);
    for _ in 0..200 {
        let Ok(step) = steps.arbitrary::<Step>() else { break };
        match step {
            Step::Copy(len) => {
                let bytes = fresh(len);
                output.extend_from_slice(&bytes);
                model.extend_from_slice(&bytes);
            }
            Step::Share(len) => {
                let bytes = fresh(len);
                model.extend_from_slice(&bytes);
                output.push(Bytes::from(bytes));
            }
            Step::Tail(len) => {
                let bytes = fresh(len);
                output.tail().extend_from_slice(&bytes);
                model.extend_from_slice(&bytes);
            }
            Step::Advance(len) => {
                let len = usize::from(len).min(model.len());
                output.advance(len);
                model.drain(..len);
            }
            Step::Vectored(slices) => vectored(&output, &model, usize::from(slices % 70)),
            Step::Clear => {
                output.clear();
                model.clear();
            }
            Step::Consume(len) => lent(&model, |input| input.consume(usize::from(len)), usize::from(len)),
            Step::Take(len) => lent(
                &model,
                |input| {
                    assert_eq!(
                        input.take(usize::from(len)),
                        &model[..model.len().min(usize::from(len))]
                    )
                },
                usize::from(len),
            ),
            Step::TakeAll => lent(&model, |input| assert_eq!(input.take_all(), model), usize::MAX),
        }
        assert_eq!((output.len(), output.remaining()), (model.len(), model.len()));
        assert_eq!(output.is_empty(), model.is_empty());
        assert!(model.starts_with(output.chunk()));
        assert_eq!(output.chunk().is_empty(), model.is_empty());
    }
    let mut all = vec![0; model.len()];
    output.copy_to_slice(&mut all);
    assert_eq!(all, model);
    assert!(output.is_empty());
}

/// Checks that the slices are the beginning of the output, or all of it when there are enough slices.
fn vectored(output: &Output, model: &[u8], count: usize) {
    let mut slices = vec![IoSlice::new(&[]); count];
    let filled = output.chunks_vectored(&mut slices);
    assert!(filled <= count);
    let bytes: Vec<u8> = slices[..filled]
        .iter()
        .flat_map(|slice| slice.iter().copied())
        .collect();
    assert!(model.starts_with(&bytes));
    assert!(
        filled == count || bytes.len() == model.len(),
        "output remains although slices are free"
    );
    assert!(slices[..filled].iter().all(|slice| !slice.is_empty()));
}

/// Lends `model` to `with`, which must take `taken` bytes from its front.
fn lent(model: &[u8], with: impl FnOnce(&mut Input<'_>), taken: usize) {
    let mut bytes = model.to_vec();
    let mut input = Input::new(&mut bytes);
    with(&mut input);
    assert_eq!(input.as_slice(), &model[model.len().min(taken)..]);
    assert_eq!(
        (input.len(), input.is_empty()),
        (input.as_slice().len(), input.as_slice().is_empty())
    );
}
