//! Benchmarks beside peers, the testbed server and the load generator.

#[cfg(target_os = "linux")]
pub mod load;
pub mod turns;
