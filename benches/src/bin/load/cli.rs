//! The flags.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use benches::load::{self, Abuse, Encryption, Length, Mode, Plan, Process, Server};
use clap::{Parser, ValueEnum};

/// Drives an HTTP or WebSocket server, checks every byte of its answers, and tells how it did.
#[derive(Parser)]
struct Options {
    /// The server.
    #[arg(long, value_name = "ADDR")]
    target: SocketAddr,
    /// What it speaks.
    #[arg(long, value_enum, default_value_t = Speaks::Http)]
    mode: Speaks,
    /// Over TLS, with a server whose certificate is for localhost, and by an authority in this file, or in it itself, in PEM.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["churn", "abuse"])]
    tls_ca: Option<PathBuf>,
    /// The resource; `/` (HTTP), `/echo` (HTTP with a payload) or `/ws` if not given.
    #[arg(long)]
    path: Option<String>,
    /// A field line to add to each request: `Name: value`.
    #[arg(long = "field", value_name = "LINE")]
    fields: Vec<String>,
    /// Connections open at once.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests or messages of each connection that wait for their answers.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Bytes of content of each request or message. 20 for WebSocket if not given.
    #[arg(long)]
    payload: Option<usize>,
    /// What a GET must be answered with.
    #[arg(long, default_value = "Hello, World!")]
    expect: String,
    /// How long to measure.
    #[arg(long, default_value_t = 5.0, conflicts_with = "requests")]
    seconds: f64,
    /// Measure exactly this number of requests instead.
    #[arg(long)]
    requests: Option<u64>,
    /// How long to work before measuring.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    warm_up: f64,
    /// Requests per second, all connections together; as fast as answers come if not given.
    #[arg(long)]
    rate: Option<f64>,
    /// Never sleep, so that no answer of the server has to wake the generator.
    #[arg(long)]
    spin: bool,
    /// Over how long to open the connections.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    ramp: f64,
    /// Use source addresses 127.0.0.1 to 127.0.0.N in turns: one has about 28,000 ports.
    #[arg(long, default_value_t = 1, value_name = "N")]
    sources: u32,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Instead of load: one exchange on each connection, then hold them for so long.
    #[arg(long, value_name = "SECONDS")]
    idle: Option<f64>,
    /// Instead of load: connections that come and go at random, each staying for so long on average, with as many of them
    /// there as --connections says.
    #[arg(long, value_name = "SECONDS", conflicts_with = "idle")]
    churn: Option<f64>,
    /// Instead of load: an attack, for as long as --seconds says, beside honest clients that speak --mode.
    #[arg(long, value_enum, conflicts_with_all = ["idle", "churn"])]
    abuse: Option<Abuse>,
    /// The server's process, for its processor time and memory.
    #[arg(long, conflicts_with = "command")]
    pid: Option<u32>,
    /// Start the server with this command (words are split at blanks) and stop it at the end.
    #[arg(long)]
    command: Option<String>,
    /// The core of a server that is started.
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    server_core: usize,
    /// The core of the generator when it starts the server.
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    core: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Speaks {
    Http,
    Ws,
}

pub(crate) fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether all answers were correct.
fn run(options: Options) -> io::Result<bool> {
    let limit = load::raise_descriptor_limit();
    if limit.is_some_and(|limit| limit < options.connections as u64 + 200) {
        return Err(io::Error::other(
            "the limit of open descriptors is too low: see ulimit -n",
        ));
    }
    let server = match &options.command {
        Some(line) => {
            let mut words = line.split_ascii_whitespace();
            let program = words.next().ok_or_else(|| io::Error::other("--command is empty"))?;
            let mut command = Command::new(program);
            command.args(words);
            Some(Server::start(
                &mut command,
                options.target,
                options.server_core,
                options.core,
            )?)
        }
        None => None,
    };
    let mode = match options.mode {
        Speaks::Http => Mode::Http,
        Speaks::Ws => Mode::WebSocket,
    };
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).map_err(io::Error::other);
    let mut plan = Plan::new(options.target, mode);
    plan.encryption = options.tls_ca.as_deref().map(Encryption::trusting).transpose()?;
    plan.path = options.path;
    plan.fields = options.fields;
    plan.connections = options.connections;
    plan.in_flight = options.in_flight;
    plan.payload = options.payload.unwrap_or(if mode == Mode::Http { 0 } else { 20 });
    plan.expect = options.expect.into_bytes();
    plan.length = match options.requests {
        Some(requests) => Length::Requests(requests),
        None => Length::Time(seconds(options.seconds)?),
    };
    plan.warm_up = seconds(options.warm_up)?;
    plan.rate = options.rate;
    plan.spin = options.spin;
    plan.ramp = seconds(options.ramp)?;
    plan.sources = options.sources;
    plan.threads = options.threads;
    plan.server = server.as_ref().map(Server::process).or(options.pid.map(Process));
    let print = |text: String, json: String| println!("{}", if options.json { json } else { text });
    if let Some(abuse) = options.abuse {
        let outcome = load::abuse(&plan, abuse)?;
        print(outcome.to_string(), outcome.to_json());
        return Ok(outcome.withstood());
    }
    if let Some(stay) = options.churn {
        let churned = load::churn(&plan, seconds(stay)?)?;
        print(churned.to_string(), churned.to_json());
        return Ok(churned.errors == 0);
    }
    if let Some(hold) = options.idle {
        let idle = load::idle(&plan, seconds(hold)?)?;
        print(idle.to_string(), idle.to_json());
        return Ok(idle.errors == 0 && idle.lost == 0);
    }
    let report = load::run(&plan)?;
    print(report.to_string(), report.to_json());
    Ok(report.errors == 0)
}
