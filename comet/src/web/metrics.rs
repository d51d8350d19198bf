//! The counters in the text format of Prometheus.

use std::fmt::Write;

use crate::node::{GAUGES, Node, PART, SUM, Sample};

/// The fields of the answer.
pub(super) const FIELDS: &[(&str, &str)] = &[
    ("Content-Type", "text/plain; version=0.0.4"),
    ("Cache-Control", "no-store"),
];

/// What each counter counts.
const HELP: &[(&str, &str)] = &[
    ("subscriptions", "Subscriptions of clients now."),
    (
        "published",
        "Publications that clients and back ends asked this process for.",
    ),
    (
        "publish_failures",
        "Publications that failed, or whose outcome is unknown.",
    ),
    ("publications", "Publications in channels that this process follows."),
    ("deliveries", "Deliveries of publications to subscribers."),
    ("missed", "Publications that slow subscribers missed, and were told of."),
    (
        "too_slow",
        "Clients that were disconnected because they read too slowly.",
    ),
    ("resets", "Channels that lost their history, or continuity with it."),
    (
        "recovered",
        "Clients that came back and got everything they had missed.",
    ),
    ("unrecovered", "Clients that came back too late to get everything."),
    ("limited", "Requests refused because a client made too many."),
    ("webhook_events", "Events that the back end has accepted."),
    ("webhook_lost", "Events that the back end was not told of."),
    ("webhook_repeated", "Requests of the webhook that were repeated."),
    ("proxy_questions", "Questions to the back end."),
    (
        "proxy_failures",
        "Questions to the back end that had no answer, or were not asked because too many waited.",
    ),
    (
        "broker_reconnects",
        "Times that the connection to the broker was lost and established again.",
    ),
    (
        "delivery_seconds",
        "Time from a publication's arrival in this process to its writing, for one delivery in 16.",
    ),
    (
        "broker_round_trip_seconds",
        "Time until the broker has acknowledged a publication, measured once a second.",
    ),
    ("accepted", "Connections accepted."),
    ("refused", "Connections closed at once: refused, or over a limit."),
    ("connected", "Connections that this process opened."),
    ("active", "Connections now."),
    ("closed", "Connections that ended in order."),
    ("aborted", "Connections that this side reset."),
    ("errors", "Connections that an error of their protocol ended."),
    ("io_errors", "Connections that the network or the peer broke."),
    (
        "write_timeouts",
        "Connections ended because the peer took no output in time.",
    ),
    (
        "over_limits",
        "Connections ended at the limit of unsent output or unconsumed input.",
    ),
    (
        "stopped",
        "Connections that did not end by themselves when the server stopped.",
    ),
    ("panics", "Connections dropped because of a fault in comet."),
    ("bytes_in", "Bytes read."),
    ("bytes_out", "Bytes written."),
    ("reads", "Calls that read from a connection."),
    ("writes", "Calls that wrote to a connection."),
    ("timeouts", "Deadlines that passed."),
    ("messages", "Messages between connections."),
    ("messages_late", "Messages to connections that had just ended."),
    (
        "accept_pauses",
        "Times that accepting paused for lack of descriptors or memory.",
    ),
    ("tls_handshakes", "Complete TLS handshakes."),
    ("tls_resumed", "Complete TLS handshakes that resumed a session."),
    ("tls_tls12", "Complete handshakes of TLS 1.2."),
    (
        "tls_client_certificates",
        "Complete TLS handshakes with a client certificate.",
    ),
    ("tls_ended", "TLS handshakes that the peer or the network ended."),
    ("tls_timeouts", "TLS handshakes that timed out."),
    ("tls_plain_http", "Clients that spoke HTTP without TLS."),
    ("tls_alerts", "TLS handshakes that the peer ended with an alert."),
    (
        "tls_bad_certificates",
        "TLS handshakes that failed because of the peer's certificate.",
    ),
    (
        "tls_incompatible",
        "TLS handshakes without a common algorithm or protocol.",
    ),
    ("tls_violations", "TLS handshakes in which the peer broke the rules."),
    ("tls_local", "TLS handshakes that failed because of this side."),
    ("tls_refused", "Clients that were refused after the TLS handshake."),
    ("tls_broken", "TLS connections that ended without close_notify."),
    ("resident_memory_bytes", "Resident memory of the process."),
    ("cpu_seconds", "Processor time of the process."),
    ("uptime_seconds", "Time since the process started."),
    ("broker_connected", "Whether the broker is reachable."),
];

/// The counters of all processes of this server, as last reported to their parent: every process gives the same answer, and counters never
/// decrease.
pub(super) fn text(node: &Node) -> String {
    let mut samples = node.crew_samples();
    if samples.is_empty() {
        samples.push(node.sample());
    }
    let mut text = Text {
        text: String::new(),
        samples: &samples,
    };
    let counters = samples.first().map(|sample| &sample.counters);
    let mut known = "";
    for (counter, _) in counters.into_iter().flatten() {
        let value = |sample: &Sample| sample.counter(counter).to_string();
        match (counter.as_str(), counter.split_once(PART)) {
            (_, Some((name, _))) if name == known => {}
            (_, Some((name, _))) => {
                known = name;
                text.histogram(name);
            }
            ("active", _) => text.metric("active", "connections", "gauge", &value),
            (name, _) if GAUGES.contains(&name) => text.metric(name, name, "gauge", &value),
            (name, _) => text.metric(name, &format!("{name}_total"), "counter", &value),
        }
    }
    let mut gauge = |name: &str, value: &dyn Fn(&Sample) -> String| text.metric(name, name, "gauge", value);
    gauge("resident_memory_bytes", &|sample| sample.memory.to_string());
    gauge("uptime_seconds", &|sample| sample.uptime.to_string());
    gauge("broker_connected", &|sample| u8::from(sample.connected).to_string());
    let cpu = |sample: &Sample| format!("{}.{:03}", sample.cpu / 1000, sample.cpu % 1000);
    text.metric("cpu_seconds", "cpu_seconds_total", "counter", &cpu);
    text.text
}

struct Text<'s> {
    text: String,
    samples: &'s [Sample],
}

impl Text<'_> {
    // Writing to a string cannot fail.

    fn head(&mut self, counter: &str, name: &str, kind: &str) {
        let help = HELP.iter().find(|(known, _)| *known == counter);
        let help = help.map_or("", |(_, help)| help);
        let _ = writeln!(self.text, "# HELP comet_{name} {help}\n# TYPE comet_{name} {kind}");
    }

    fn metric(&mut self, counter: &str, name: &str, kind: &str, value: &dyn Fn(&Sample) -> String) {
        self.head(counter, name, kind);
        for sample in self.samples {
            let _ = writeln!(
                self.text,
                "comet_{name}{{worker=\"{}\"}} {}",
                sample.worker,
                value(sample)
            );
        }
    }

    fn histogram(&mut self, name: &str) {
        self.head(name, name, "histogram");
        for sample in self.samples {
            let worker = sample.worker;
            let parts = sample.counters.iter().filter_map(|(counter, value)| {
                let (of, part) = counter.split_once(PART)?;
                (of == name).then_some((part, *value))
            });
            let mut count = 0;
            for (part, value) in parts {
                let _ = if part == SUM {
                    let (seconds, micros) = (value / 1_000_000, value % 1_000_000);
                    writeln!(
                        self.text,
                        "comet_{name}_sum{{worker=\"{worker}\"}} {seconds}.{micros:06}"
                    )
                } else {
                    count = count.max(value);
                    writeln!(
                        self.text,
                        "comet_{name}_bucket{{worker=\"{worker}\",le=\"{part}\"}} {value}"
                    )
                };
            }
            let _ = writeln!(self.text, "comet_{name}_count{{worker=\"{worker}\"}} {count}");
        }
    }
}
