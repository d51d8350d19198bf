//! The counters in the text format of Prometheus.

use std::fmt::Write;

use crate::node::{GAUGES, Node, Sample};

/// The fields of the answer.
pub(super) const FIELDS: &[(&str, &str)] = &[
    ("Content-Type", "text/plain; version=0.0.4"),
    ("Cache-Control", "no-store"),
];

/// The counters of all processes of this server, as last reported to their parent: every process gives the same answer, and counters never
/// decrease.
pub(super) fn text(node: &Node) -> String {
    let mut samples = node.crew_samples();
    if samples.is_empty() {
        samples.push(node.sample());
    }
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, value: &dyn Fn(&Sample) -> u64| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE comet_{name} {kind}");
        for sample in &samples {
            let _ = writeln!(text, "comet_{name}{{worker=\"{}\"}} {}", sample.worker, value(sample));
        }
    };
    let counters = samples.first().map(|sample| &sample.counters);
    for (counter, _) in counters.into_iter().flatten() {
        let value = |sample: &Sample| sample.counter(counter);
        match counter.as_str() {
            "active" => metric("connections", "gauge", &value),
            name if GAUGES.contains(&name) => metric(name, "gauge", &value),
            name => metric(&format!("{name}_total"), "counter", &value),
        }
    }
    metric("resident_memory_bytes", "gauge", &|sample| sample.memory);
    metric("cpu_milliseconds_total", "counter", &|sample| sample.cpu);
    metric("uptime_seconds", "gauge", &|sample| sample.uptime);
    metric("broker_connected", "gauge", &|sample| sample.connected.into());
    text
}
