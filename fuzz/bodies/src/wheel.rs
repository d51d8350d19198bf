//! The timing wheel compared with a model, by the wheel's own test: the same operations leave both in the same state.

// This file of the wheel's tests is included here, so that the wheel's crate needs no further dependency.
#[path = "../../../timing-wheel/tests/model/operations.rs"]
mod operations;

/// Runs the target.
pub fn run(data: &[u8]) {
    operations::run(data);
}
