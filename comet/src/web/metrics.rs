//! What is counted, in the text format of Prometheus.

use std::fmt::Write;

use crate::node::{Node, Sample};

/// What metrics say of themselves.
pub(super) const FIELDS: &[(&str, &str)] = &[
    ("Content-Type", "text/plain; version=0.0.4"),
    ("Cache-Control", "no-store"),
];

/// Counters that go down again, and what they are called here.
const GAUGES: &[(&str, &str)] = &[("active", "connections"), ("subscriptions", "subscriptions")];

/// All processes of this server, each with its number.
pub(super) fn text(node: &Node) -> String {
    let own = node.sample();
    let others = node.samples();
    let mut samples: Vec<&Sample> = others
        .iter()
        .filter(|sample| sample.server == own.server && sample.node != own.node)
        .collect();
    samples.push(&own);
    samples.sort_by_key(|sample| sample.worker);
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, value: &dyn Fn(&Sample) -> u64| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# TYPE comet_{name} {kind}");
        for sample in &samples {
            let _ = writeln!(text, "comet_{name}{{worker=\"{}\"}} {}", sample.worker, value(sample));
        }
    };
    for (counter, _) in &own.counters {
        let value = |sample: &Sample| sample.counter(counter);
        match GAUGES.iter().find(|(known, _)| known == counter) {
            Some((_, name)) => metric(name, "gauge", &value),
            None => metric(&format!("{counter}_total"), "counter", &value),
        }
    }
    metric("resident_memory_bytes", "gauge", &|sample| sample.memory);
    metric("cpu_milliseconds_total", "counter", &|sample| sample.cpu);
    metric("uptime_seconds", "gauge", &|sample| sample.uptime);
    metric("broker_connected", "gauge", &|sample| sample.connected.into());
    text
}
