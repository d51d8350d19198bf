//! The tables.

use std::collections::{BTreeMap, BTreeSet};

use crate::peers::{BTREE, DELAY_QUEUE, HASH_WHEEL, HEAP_EMPTY, HEAP_REARM, NEXUS, NEXUS_QUEUE, OURS, SLEEP};
use crate::scenarios::Row;

/// All values measured so far.
#[derive(Default)]
pub(crate) struct Report {
    values: BTreeMap<(Row, u32, &'static str), Vec<f64>>,
}

/// A limit that the wheel must meet at a number of timers.
struct Bar {
    row: Row,
    size: u32,
    limit: Limit,
}

enum Limit {
    /// A multiple of a peer's value in the same run.
    Times(f64, &'static str),
    /// An absolute value.
    Value(f64),
}

const MILLION: u32 = 1_000_000;

/// Twenty bytes plus the value; the last 0.1 covers memory per wheel or chunk.
const PER_TIMER: f64 = 20.0 + size_of::<u32>() as f64 + 0.1;

const fn times(row: Row, size: u32, factor: f64, peer: &'static str) -> Bar {
    Bar {
        row,
        size,
        limit: Limit::Times(factor, peer),
    }
}

const fn value(row: Row, limit: f64) -> Bar {
    Bar {
        row,
        size: MILLION,
        limit: Limit::Value(limit),
    }
}

const BARS: &[Bar] = &[
    times(Row::ResetHot, MILLION, 0.10, SLEEP),
    times(Row::ResetHot, MILLION, 0.10, NEXUS),
    times(Row::ResetHot, MILLION, 2.0, HEAP_REARM),
    times(Row::ResetHot, 10_000, 0.12, SLEEP),
    times(Row::ResetHot, 10_000, 0.12, NEXUS),
    times(Row::ResetRandom, MILLION, 0.4, SLEEP),
    times(Row::ResetRandom, MILLION, 0.5, NEXUS),
    times(Row::Insert, MILLION, 0.5, NEXUS),
    times(Row::Insert, MILLION, 0.15, DELAY_QUEUE),
    times(Row::Cancel, MILLION, 0.2, DELAY_QUEUE),
    times(Row::Cancel, MILLION, 0.2, SLEEP),
    times(Row::Cancel, MILLION, 0.2, NEXUS),
    times(Row::Cancel, MILLION, 0.7, HASH_WHEEL),
    times(Row::Mixed, MILLION, 0.4, SLEEP),
    times(Row::Mixed, MILLION, 0.4, NEXUS),
    times(Row::Mixed, MILLION, 0.15, DELAY_QUEUE),
    times(Row::Steady, MILLION, 0.4, SLEEP),
    times(Row::Steady, MILLION, 0.4, NEXUS),
    times(Row::Steady, MILLION, 0.12, DELAY_QUEUE),
    times(Row::Idle, 10_000, 1.2, HEAP_EMPTY),
    times(Row::Idle, 100_000, 1.2, HEAP_EMPTY),
    times(Row::Idle, MILLION, 1.2, HEAP_EMPTY),
    value(Row::Expiry, 5.0),
    times(Row::Expiry, MILLION, 0.1, DELAY_QUEUE),
    times(Row::Expiry, MILLION, 0.1, SLEEP),
    times(Row::Expiry, MILLION, 0.1, NEXUS_QUEUE),
    times(Row::JumpAll, MILLION, 0.15, DELAY_QUEUE),
    times(Row::JumpAll, MILLION, 0.15, NEXUS),
    times(Row::JumpAll, MILLION, 0.5, BTREE),
    value(Row::JumpNone, 1.0),
    times(Row::SteadyWorst, MILLION, 0.1, SLEEP),
    times(Row::SteadyWorst, MILLION, 0.1, DELAY_QUEUE),
    times(Row::SteadyWorst, MILLION, 0.1, NEXUS),
    value(Row::SteadyWorst, 250.0),
    value(Row::GrowWorst, 100.0),
    value(Row::Bytes, PER_TIMER),
    value(Row::GrowthByUse, PER_TIMER),
    value(Row::AllocationsInsert, 1.0),
    value(Row::AllocationsUse, 0.0),
];

impl Report {
    /// Adds the measurement of one round.
    pub(crate) fn add(&mut self, size: u32, row: Row, name: &'static str, value: f64) {
        self.values.entry((row, size, name)).or_default().push(value);
    }

    /// Prints a table per size, and the bars.
    pub(crate) fn print(&self, sizes: &[u32], names: &[&'static str]) {
        let rows: BTreeSet<Row> = self.values.keys().map(|&(row, ..)| row).collect();
        for &size in sizes {
            println!("\n{size} timers (medians; the least maximum of all rounds)\n");
            print!("| {:30} |", "");
            names.iter().for_each(|name| print!(" {name:>14} |"));
            print!("\n|{}|", "-".repeat(32));
            names.iter().for_each(|_| print!("{}:|", "-".repeat(15)));
            println!();
            for &row in &rows {
                print!("| {row:30} |");
                for name in names {
                    match self.value(row, size, name) {
                        Some(value) => print!(" {:>14} |", figures(value)),
                        None => print!(" {:>14} |", ""),
                    }
                }
                println!();
            }
        }
        self.print_bars();
    }

    fn print_bars(&self) {
        println!("\nThe bars of {OURS}\n");
        println!(
            "| {:30} | {:>8} | {:>9} | {:>24} | {:>9} | {:>6} |",
            "", "timers", "measured", "bar", "ratio", ""
        );
        println!(
            "|{}|{}:|{}:|{}:|{}:|--------|",
            "-".repeat(32),
            "-".repeat(9),
            "-".repeat(10),
            "-".repeat(25),
            "-".repeat(10)
        );
        for Bar { row, size, limit } in BARS {
            let Some(ours) = self.value(*row, *size, OURS) else {
                continue;
            };
            let (bar, ratio, met) = match limit {
                Limit::Value(limit) => (figures(*limit), String::new(), ours <= *limit),
                Limit::Times(factor, peer) => {
                    let Some(theirs) = self.value(*row, *size, peer) else {
                        continue;
                    };
                    (
                        format!("{factor} x {peer}"),
                        format!("{:.3}", ours / theirs),
                        ours <= factor * theirs,
                    )
                }
            };
            let met = if met { "met" } else { "MISSED" };
            println!(
                "| {row:30} | {size:>8} | {:>9} | {bar:>24} | {ratio:>9} | {met:>6} |",
                figures(ours)
            );
        }
    }

    fn value(&self, row: Row, size: u32, name: &'static str) -> Option<f64> {
        let mut values = self.values.get(&(row, size, name))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(if row.least() { 0 } else { values.len() / 2 }).copied()
    }
}

/// A value with about three significant digits.
fn figures(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
