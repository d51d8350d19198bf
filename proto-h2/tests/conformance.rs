//! The conformance suite of the contract through a stream of HTTP/2 (RFC 8441), on the rigs in memory.

mod over;

use over::StreamLayer;
use protocol::testing::conformance::{InMemory, Layered, Simulated, run};

#[test]
fn the_rig_conforms_in_a_stream() {
    run(&Layered {
        driver: InMemory,
        layer: StreamLayer,
    });
}

#[test]
fn the_simulation_conforms_in_a_stream() {
    run(&Layered {
        driver: Simulated::new(1),
        layer: StreamLayer,
    });
}
