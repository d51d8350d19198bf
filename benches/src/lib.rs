//! Benchmarks beside peers, the testbed server and the load generator.

pub mod heads;
pub mod json;
#[cfg(target_os = "linux")]
pub mod load;
pub mod random;
pub mod suite;
pub mod turns;
