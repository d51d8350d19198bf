//! The conformance suite of the contract through TLS, on the rigs in memory.

mod over;

use over::TlsLayer;
use protocol::testing::conformance::{InMemory, Layered, Simulated, run};

#[test]
fn the_rig_conforms_over_tls_1_3() {
    let layer = TlsLayer::new(&rustls::version::TLS13);
    run(&Layered {
        driver: InMemory,
        layer,
    });
}

#[test]
fn the_rig_conforms_over_tls_1_2() {
    let layer = TlsLayer::new(&rustls::version::TLS12);
    run(&Layered {
        driver: InMemory,
        layer,
    });
}

#[test]
fn the_simulation_conforms_over_tls() {
    let layer = TlsLayer::new(&rustls::version::TLS13);
    let driver = Simulated::new(1);
    run(&Layered { driver, layer });
}
