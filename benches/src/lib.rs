//! Benchmarks beside peers, the testbed server and the load generator.
