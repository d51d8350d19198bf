//! Measures a server with very many subscribers: publishes, and checks that every message reaches every subscriber.

mod drain;
mod part;
mod publisher;
mod report;
mod server;

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use drivers::Driver;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use self::drain::Drain;
use self::part::Part;
use self::publisher::Publishing;
use self::report::Report;
use self::server::Server;
use crate::client;
use crate::settings::{DriverName, Span};

/// Subscribers of one process: below the usual limit of descriptors.
const PER_PROCESS: usize = 15_000;
/// Connections from one source address: below the number of its ports.
const PER_SOURCE: usize = 20_000;

/// Has very many clients subscribe, publishes to them, and checks every message at every one of them
#[derive(Args)]
pub(crate) struct Bench {
    /// The server, HOST:PORT [default: one that is started for this]
    #[arg(value_name = "ADDR")]
    address: Option<String>,
    /// Flags for the server that is started, such as "--driver tokio --prefork 2"
    #[arg(long, value_name = "FLAGS", conflicts_with = "address", allow_hyphen_values = true)]
    server: Option<String>,
    /// How many subscribers
    #[arg(long, value_name = "N", default_value_t = 1000)]
    subscribers: usize,
    /// Publications a second
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    rate: f64,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s")]
    time: Span,
    /// Publishes over one connection without waiting for answers [default: 16 connections, each of which waits]
    #[arg(long)]
    pipelined: bool,
    /// Bytes of each publication's data, at least 40
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    payload: usize,
    /// The channel
    #[arg(long, value_name = "NAME", default_value = "demo:bench")]
    channel: String,
    /// The server's API token
    #[arg(long, value_name = "TOKEN", env = "COMET_API_TOKEN", hide_env_values = true)]
    api_token: Option<String>,
    /// Which driver the subscribers run on [default: the fastest here]
    #[arg(long, value_name = "DRIVER")]
    clients: Option<DriverName>,
    /// How many connections are being opened at once
    #[arg(long, value_name = "N", default_value_t = 100)]
    opening: usize,
    /// At the end, stops the server that was started, and tells how evenly it lets the subscribers go
    #[arg(long, conflicts_with = "address")]
    drain: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// Is a part of a run: reads what to do from its standard input
    #[arg(long, hide = true)]
    part: bool,
}

/// Instructions for a part of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    address: SocketAddr,
    channel: String,
    driver: String,
    subscribers: usize,
    opening: usize,
    /// The number of its first source address, and the number of its addresses.
    first_source: u32,
    sources: u32,
}

/// A line that a part of a run writes, or later reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// This many subscribe by now.
    Subscribed(usize),
    /// All subscribe, after this position.
    Ready {
        offset: u64,
    },
    /// The last publication has this offset: report when it has reached every subscriber, or cannot.
    Until {
        offset: u64,
    },
    Done(Box<part::Outcome>),
    /// The server is about to stop; echoed when the part is ready for that.
    Leave,
    /// When each subscriber was disconnected, in microseconds since 1970, and other problems.
    Left {
        times: Vec<u64>,
        problem: Option<String>,
    },
}

impl Bench {
    /// Measures, and prints the result. Returns whether every message reached every subscriber, and, with `drain`, whether the server
    /// stopped properly.
    ///
    /// # Errors
    ///
    /// If the server cannot be started or reached.
    pub(crate) fn run(&self) -> io::Result<bool> {
        if self.part {
            return Part::run().map(|()| true);
        }
        let mut server = match &self.address {
            Some(address) => Server::at(client::resolve(address)?, self.api_token.as_deref()),
            None => Server::start(self.server.as_deref().unwrap_or_default(), &self.channel)?,
        };
        let idle = server.usage()?;
        let begun = Instant::now();
        let mut parts = self.parts(server.address())?;
        let start = self.wait_for_subscribers(&mut parts)?;
        let connecting = begun.elapsed();
        // Lets the aftermath of opening so many connections settle first.
        std::thread::sleep(Duration::from_secs(1));
        let before = server.usage()?;
        let publishing = Publishing {
            server: &server,
            channel: &self.channel,
            rate: self.rate,
            time: self.time.0,
            payload: self.payload,
            pipelined: self.pipelined,
        };
        let bar = self.bar("publishing");
        let published = publishing.run(|count| bar.set_message(format!("{count} published")))?;
        bar.finish_and_clear();
        let last = start + published.count;
        let outcomes = finish(&mut parts, last)?;
        let after = server.usage()?;
        let drain = self.drain.then(|| Drain::run(&mut parts, &mut server)).transpose()?;
        let report = Report::new(
            self.subscribers,
            connecting,
            &published,
            outcomes,
            [idle, before, after],
            drain,
        )?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{report}");
        }
        Ok(report.is_good())
    }

    fn parts(&self, address: SocketAddr) -> io::Result<Vec<Process>> {
        let count = self.subscribers.div_ceil(PER_PROCESS).max(1);
        let mut first_source = 1;
        (0..count)
            .map(|index| {
                let subscribers = self.subscribers / count + usize::from(index < self.subscribers % count);
                let sources = u32::try_from(subscribers.div_ceil(PER_SOURCE)).unwrap_or(u32::MAX);
                let plan = Plan {
                    address,
                    channel: self.channel.clone(),
                    driver: self
                        .clients
                        .map_or_else(Driver::default, |name| name.0)
                        .name()
                        .to_owned(),
                    subscribers,
                    opening: self.opening.div_ceil(count),
                    first_source,
                    sources,
                };
                first_source += sources;
                Process::start(&plan)
            })
            .collect()
    }

    /// Waits until all subscribe. Returns the position at which they begin.
    fn wait_for_subscribers(&self, parts: &mut [Process]) -> io::Result<u64> {
        let bar = self.bar("subscribing");
        let mut there = vec![0; parts.len()];
        let mut start = None;
        for index in 0..parts.len() {
            loop {
                match parts[index].read()? {
                    Line::Subscribed(count) => there[index] = count,
                    Line::Ready { offset } => {
                        // No other program publishes there.
                        start = Some(start.unwrap_or(offset).max(offset));
                        break;
                    }
                    line => return Err(io::Error::other(format!("unexpected: {line:?}"))),
                }
                bar.set_message(format!("{} of {}", there.iter().sum::<usize>(), self.subscribers));
            }
        }
        bar.finish_and_clear();
        Ok(start.unwrap_or(0))
    }

    fn bar(&self, what: &'static str) -> ProgressBar {
        let bar = if self.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

/// Makes all parts wait for the publication with that offset, and collects their observations.
fn finish(parts: &mut [Process], offset: u64) -> io::Result<Vec<part::Outcome>> {
    for part in &mut *parts {
        part.write(&Line::Until { offset })?;
    }
    let mut outcomes = Vec::new();
    for part in parts {
        match part.read()? {
            Line::Done(outcome) => outcomes.push(*outcome),
            line => return Err(io::Error::other(format!("unexpected: {line:?}"))),
        }
    }
    Ok(outcomes)
}

/// A part of the run, in its own process.
struct Process {
    child: Child,
    lines: io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(plan: &Plan) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "--part"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut process = Process {
            child,
            lines: BufReader::new(out).lines(),
        };
        process.send(&serde_json::to_string(plan)?)?;
        Ok(process)
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        self.send(&serde_json::to_string(line)?)
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        let input = self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{line}")
    }

    fn read(&mut self) -> io::Result<Line> {
        match self.lines.next() {
            Some(line) => Ok(serde_json::from_str(&line?)?),
            None => Err(io::Error::other("a process with subscribers has ended")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
