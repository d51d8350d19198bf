//! The timing wheel against a model, by the wheel's own test: the same operations on both leave both in the same state.

// The one file of another crate's tests that is used here, so that the wheel's tests need nothing but the wheel.
#[path = "../../../timing-wheel/tests/model/operations.rs"]
mod operations;

/// Runs the target.
pub fn run(data: &[u8]) {
    operations::run(data);
}
