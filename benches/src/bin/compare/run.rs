//! The rounds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use benches::load::{self, Encryption, Length, Mode, Plan, Server};
use clap::Parser;

use crate::cases::{CASES, Case, Kind, PAYLOAD};
use crate::contestants::{self, Contestant};
use crate::table::Row;
use crate::{chart, table};

/// A turn counts only if the server used this share of its core. Otherwise something else used the load generator's core, the server slept
/// between requests, and the measurement would be that of waking up.
const BUSY: f64 = 0.85;
/// Turns that do not count are repeated, up to this many times the number of rounds.
const PATIENCE: usize = 6;

/// The testbed on both drivers beside other servers, as Markdown.
#[derive(Parser)]
struct Options {
    /// How often each server takes its turn in each case.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long a turn is.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Idle connections.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Only cases whose names hold this.
    #[arg(long, default_value = "")]
    only: String,
    /// Write a bar chart of each case into this folder, and `summary.svg` of all.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// The first of the ports that the servers listen on.
    #[arg(long, default_value_t = 18080)]
    port: u16,
    /// The core of the servers.
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    server_core: usize,
    /// The core of the load.
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    core: usize,
}

pub(crate) fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> io::Result<()> {
    load::raise_descriptor_limit();
    let programs = build()?;
    let scratch = std::env::temp_dir().join(format!("compare-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let done = contestants::all(&programs, options.port, &scratch).and_then(|all| {
        let encryption = Encryption::trusting(&contestants::certificate(&scratch))?;
        cases(options, &all, &encryption)
    });
    fs::remove_dir_all(&scratch)?;
    done
}

/// Builds the servers with cargo. Returns their folder, which is that of this program.
fn build() -> io::Result<PathBuf> {
    // Set by `cargo run`; otherwise existing programs are used.
    if let Some(cargo) = std::env::var_os("CARGO") {
        let arguments = "build --quiet --release -p benches --features peers --bin testbed --bin peer";
        let status = Command::new(cargo)
            .args(arguments.split(' '))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        if !status.success() {
            return Err(io::Error::other("the servers could not be built"));
        }
    }
    let program = std::env::current_exe()?;
    Ok(program.parent().unwrap_or(Path::new(".")).to_owned())
}

fn cases(options: &Options, all: &[Contestant], encryption: &Encryption) -> io::Result<()> {
    println!("{}\n", machine());
    let mut all_rows = Vec::new();
    for case in CASES.iter().filter(|case| case.name.contains(&options.only)) {
        let rows = match case.kind {
            Kind::Load { connections, in_flight } => {
                under_load(options, case, all, encryption, (connections, in_flight))?
            }
            Kind::Idle => idle(options, case, all, encryption)?,
        };
        println!("{}", table::markdown(case, &rows));
        if let Some(folder) = &options.svg {
            fs::create_dir_all(folder)?;
            fs::write(folder.join(format!("{}.svg", case.file)), chart::svg(case, &rows))?;
            // Also after each case, so that an aborted run keeps its results.
            all_rows.push((*case, rows));
            fs::write(folder.join("summary.svg"), chart::summary(&all_rows))?;
        }
    }
    Ok(())
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // "rustc 1.95.0 (59807616e 2026-04-14)"; "Sun, 06 Nov 1994 08:49:37 GMT".
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let date = proto_http::imf_fixdate(now.as_secs());
    let date = String::from_utf8_lossy(date.get(5..16).unwrap_or_default()).into_owned();
    format!(
        "{}, {cores} cores, Linux {}, {}, {date}; the server on one core, the load on another",
        model.map_or("unknown processor", |(_, model)| model),
        kernel.trim(),
        rustc.split(" (").next().unwrap_or_default()
    )
}

fn plan(contestant: &Contestant, case: &Case, server: &Server, encryption: &Encryption) -> Plan {
    let mut plan = Plan::new(contestant.address, case.mode);
    plan.encryption = case.tls.then(|| encryption.clone());
    plan.payload = if case.mode == Mode::WebSocket { PAYLOAD } else { 0 };
    plan.server = Some(server.process());
    plan
}

fn start(options: &Options, contestant: &Contestant) -> io::Result<Server> {
    let address = contestant.address;
    Server::start(&mut contestant.command(), address, options.server_core, options.core)
        .map_err(|error| io::Error::other(format!("{}: {error}", contestant.name)))
}

fn failed(contestant: &Contestant, case: &Case, error: &str) -> io::Error {
    io::Error::other(format!("{}, {}: {error}", contestant.name, case.name))
}

fn under_load(
    options: &Options,
    case: &Case,
    all: &[Contestant],
    encryption: &Encryption,
    (connections, in_flight): (usize, usize),
) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for contestant in all.iter().filter(|contestant| contestant.takes_part(case)) {
        let row = Row {
            name: contestant.name.clone(),
            role: contestant.role,
            figures: Vec::new(),
            turns: 0,
            rate: 0.0,
            p99: f64::INFINITY,
        };
        rows.push((contestant, start(options, contestant)?, row));
    }
    let time = Duration::try_from_secs_f64(options.seconds).map_err(io::Error::other)?;
    for _ in 0..options.rounds * PATIENCE {
        for (contestant, server, row) in &mut rows {
            if row.figures.len() >= options.rounds {
                continue;
            }
            let mut plan = plan(contestant, case, server, encryption);
            (plan.connections, plan.in_flight) = (connections, in_flight);
            (plan.length, plan.warm_up) = (Length::Time(time), time / 5);
            plan.spin = true;
            let report = load::run(&plan)?;
            if let Some(error) = &report.first_error {
                return Err(failed(contestant, case, error));
            }
            row.turns += 1;
            let Some(nanos) = report.cpu_nanos else { continue };
            if nanos * report.rate() / 1e9 >= BUSY {
                row.figures.push(nanos / 1000.0);
                row.rate = row.rate.max(report.rate());
                row.p99 = row.p99.min(report.quantile(0.99).as_nanos() as f64 / 1000.0);
            }
        }
    }
    for (contestant, _, row) in &rows {
        if row.figures.is_empty() {
            return Err(failed(contestant, case, "the machine was too busy to measure"));
        }
    }
    Ok(rows.into_iter().map(|(_, _, row)| row).collect())
}

/// Each on a fresh server.
fn idle(options: &Options, case: &Case, all: &[Contestant], encryption: &Encryption) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for contestant in all.iter().filter(|contestant| contestant.takes_part(case)) {
        let server = start(options, contestant)?;
        let mut plan = plan(contestant, case, &server, encryption);
        plan.connections = options.idle;
        let idle = load::idle(&plan, Duration::from_millis(500))?;
        if let Some(error) = &idle.first_error {
            return Err(failed(contestant, case, error));
        }
        if idle.lost > 0 {
            return Err(failed(contestant, case, "it closed idle connections"));
        }
        rows.push(Row {
            name: contestant.name.clone(),
            role: contestant.role,
            figures: idle.bytes_per_connection.into_iter().collect(),
            turns: 1,
            rate: 0.0,
            p99: 0.0,
        });
    }
    Ok(rows)
}
