//! Joins pieces of output into full records.

use std::cell::Cell;

use crate::engine::FULL;

thread_local! {
    /// Memory for the plaintext of one record; taken out of its cell while in use.
    static STAGE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `each` with the bytes of `pieces`, in order, joined into as few chunks as full records allow.
pub(crate) fn join<'a, E>(
    pieces: impl Iterator<Item = &'a [u8]>,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // The memory is gone while the thread ends.
    let mut stage = STAGE.try_with(Cell::take).unwrap_or_default();
    let joined = join_in(&mut stage, pieces, &mut each);
    stage.clear();
    let _ = STAGE.try_with(|kept| kept.set(stage));
    joined
}

fn join_in<'a, E>(
    stage: &mut Vec<u8>,
    pieces: impl Iterator<Item = &'a [u8]>,
    each: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    for mut piece in pieces {
        if !stage.is_empty() {
            let (head, rest) = piece.split_at(piece.len().min(FULL - stage.len()));
            stage.extend_from_slice(head);
            piece = rest;
            if stage.len() < FULL {
                continue;
            }
            each(stage)?;
            stage.clear();
        }
        let full = piece.len() - piece.len() % FULL;
        if full > 0 {
            each(&piece[..full])?;
        }
        stage.extend_from_slice(&piece[full..]);
    }
    if stage.is_empty() { Ok(()) } else { each(stage) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_full_records_in_order() {
        let all: Vec<u8> = (0..5 * FULL).map(|i| (i % 251) as u8).collect();
        for step in [1, 1000, FULL - 1, FULL, FULL + 1, 3 * FULL] {
            for length in [0, 1, FULL, FULL + 1, 5 * FULL] {
                let mut records = Vec::new();
                let joined = join(all[..length].chunks(step), |piece| {
                    records.extend(piece.chunks(FULL).map(<[u8]>::to_vec));
                    Ok::<(), ()>(())
                });
                assert_eq!(joined, Ok(()));
                assert_eq!(
                    records.len(),
                    length.div_ceil(FULL),
                    "{length} bytes in pieces of {step}"
                );
                assert_eq!(records.concat(), all[..length]);
            }
        }
    }
}
