//! The comet server.
fn main() {}
