//! The test rigs pass the conformance suite for drivers.
#![cfg(feature = "testing")]

use std::panic::catch_unwind;

use protocol::testing::conformance::{IdentityLayer, InMemory, Layer, Layered, Simulated, TracerLayer, run};

#[test]
fn the_rig_conforms() {
    run(&InMemory);
}

#[test]
fn the_rigs_conform_through_layers() {
    fn with(layer: impl Layer) {
        run(&Layered {
            driver: InMemory,
            layer: layer.clone(),
        });
        run(&Layered {
            driver: Simulated::new(1),
            layer,
        });
    }
    with(IdentityLayer);
    with(TracerLayer::new());
}

/// Runs the suite with many orders of the same events. `SIM_SEED=42` runs only that seed.
#[test]
fn the_simulation_conforms_with_every_seed() {
    let seed = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = seed.map_or(0..20, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let outcome = catch_unwind(|| run(&Simulated::new(seed)));
        assert!(
            outcome.is_ok(),
            "SIM_SEED={seed} cargo test -p wirestate-protocol --features testing --test conformance"
        );
    }
}
