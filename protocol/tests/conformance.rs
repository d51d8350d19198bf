//! The rigs keep the rules that drivers keep.
#![cfg(feature = "testing")]

use std::panic::catch_unwind;

use protocol::testing::conformance::{Driver, IdentityLayer, InMemory, Layered, Simulated, run};

#[test]
fn the_rig_conforms() {
    run(&InMemory);
}

#[test]
fn the_rig_conforms_through_a_layer() {
    run(&layered(InMemory));
}

#[test]
fn the_simulation_conforms_through_a_layer() {
    run(&layered(Simulated::new(1)));
}

fn layered<D: Driver>(driver: D) -> Layered<D, IdentityLayer> {
    Layered {
        driver,
        layer: IdentityLayer,
    }
}

/// Many orders in which the same things may happen. `SIM_SEED=42` runs one alone.
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
