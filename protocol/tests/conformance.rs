//! The in-memory rig keeps the rules that drivers keep.
#![cfg(feature = "testing")]

use protocol::testing::conformance::{InMemory, run};

#[test]
fn the_rig_conforms() {
    run(&InMemory);
}
