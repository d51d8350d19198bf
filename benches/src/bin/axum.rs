//! One axum router on two servers, in one run: `cargo run --release -p benches --features axum --bin axum`.
//!
//! `axum::serve`, which is hyper, and proto-tower on driver-tokio, each on one thread of one core, loaded from another core in interleaved
//! rounds. The best turn counts, as in `compare`. Prints the server's processor time per request and the memory of an idle connection, with
//! their ratio and the bar. Exit status 1 if a bar is missed.

use std::io;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use benches::load::{self, Length, Mode, Plan, Server};
use clap::{Parser, ValueEnum};

/// One axum router on two servers.
#[derive(Parser)]
struct Options {
    /// Only serve.
    #[arg(long, value_enum)]
    serve: Option<Name>,
    /// Where to listen, with --serve.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// How often each server takes its turn.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long a turn is.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// The share of its core that a server must have used for a turn to count.
    #[arg(long, default_value_t = 0.85)]
    busy: f64,
    /// Idle connections.
    #[arg(long, default_value_t = 5000)]
    idle: usize,
    /// The first of the ports that the servers listen on.
    #[arg(long, default_value_t = 18180)]
    port: u16,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Name {
    /// proto-tower on driver-tokio.
    Ours,
    /// axum::serve.
    Hyper,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Name::Ours => "ours",
            Name::Hyper => "hyper",
        }
    }
}

/// The core of the servers, and that of the load.
const CORES: (usize, usize) = (0, 1);
/// The permitted ratio of ours to hyper's: processor time, and memory.
const BARS: (f64, f64) = (0.8, 0.3);

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.serve {
        Some(name) => serve(name, options.listen).map(|()| true),
        None => measure(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("axum: {error}");
            ExitCode::from(2)
        }
    }
}

fn serve(name: Name, listen: SocketAddr) -> io::Result<()> {
    let app = Router::new().route("/", get(|| async { "Hello, World!" }));
    if name == Name::Ours {
        let config = proto_tower::Config::new(SystemTime::now);
        let server = driver_tokio::Server::new().serve(listen, move |peer| {
            Some(proto_tower::connection(&config, app.clone(), peer))
        })?;
        return server.join().map(drop);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        use axum::serve::ListenerExt as _;
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, app).await
    })
}

fn start(name: Name, address: SocketAddr) -> io::Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--serve", name.text(), "--listen", &address.to_string()]);
    Server::start(&mut command, address, CORES.0, CORES.1)
}

fn measure(options: &Options) -> io::Result<bool> {
    load::raise_descriptor_limit();
    let addresses = [0, 1].map(|n| SocketAddr::from(([127, 0, 0, 1], options.port + n)));
    let servers = [(Name::Ours, addresses[0]), (Name::Hyper, addresses[1])];
    let mut met = true;
    for in_flight in [1, 16] {
        let figures = processor_time(options, servers, in_flight)?;
        let what = format!("us of CPU per GET, 64 connections, {in_flight} in flight");
        // The bar applies to requests sent one by one.
        met &= tell(&what, figures, (in_flight == 1).then_some(BARS.0));
    }
    let mut idle = [0.0; 2];
    for (figure, (name, address)) in idle.iter_mut().zip(servers) {
        let server = start(name, address)?;
        let mut plan = Plan::new(address, Mode::Http);
        plan.server = Some(server.process());
        plan.connections = options.idle;
        let report = load::idle(&plan, Duration::from_millis(500))?;
        if let Some(error) = &report.first_error {
            return Err(io::Error::other(format!("{}: {error}", name.text())));
        }
        *figure = report.bytes_per_connection.unwrap_or(f64::NAN);
    }
    met &= tell("bytes per idle connection", idle, Some(BARS.1));
    Ok(met)
}

fn tell(what: &str, [ours, hyper]: [f64; 2], bar: Option<f64>) -> bool {
    let ratio = ours / hyper;
    let met = bar.is_none_or(|bar| ratio <= bar);
    let judged = match bar {
        Some(bar) => format!("bar {bar}: {}", if met { "met" } else { "missed" }),
        None => "no bar".to_owned(),
    };
    println!("{what}: proto-tower {ours:.2}, hyper {hyper:.2}, ratio {ratio:.2}, {judged}");
    met
}

/// The best turn of each server.
fn processor_time(options: &Options, servers: [(Name, SocketAddr); 2], in_flight: usize) -> io::Result<[f64; 2]> {
    let time = Duration::try_from_secs_f64(options.seconds).map_err(io::Error::other)?;
    let running = [start(servers[0].0, servers[0].1)?, start(servers[1].0, servers[1].1)?];
    let mut best = [f64::INFINITY; 2];
    let mut counted = [0; 2];
    // Turns that do not count are repeated.
    for _ in 0..options.rounds * 6 {
        for at in [0, 1] {
            if counted[at] >= options.rounds {
                continue;
            }
            let mut plan = Plan::new(servers[at].1, Mode::Http);
            plan.server = Some(running[at].process());
            (plan.connections, plan.in_flight, plan.spin) = (64, in_flight, true);
            (plan.length, plan.warm_up) = (Length::Time(time), time / 5);
            let report = load::run(&plan)?;
            if let Some(error) = &report.first_error {
                return Err(io::Error::other(format!("{}: {error}", servers[at].0.text())));
            }
            let Some(nanos) = report.cpu_nanos else { continue };
            if nanos * report.rate() / 1e9 >= options.busy {
                counted[at] += 1;
                best[at] = best[at].min(nanos / 1000.0);
            }
        }
    }
    if counted.contains(&0) {
        return Err(io::Error::other("the machine was too busy to measure"));
    }
    Ok(best)
}
