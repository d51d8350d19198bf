//! Lets the fuzzing server of the Autobahn TestSuite test the client: asks for the number of cases, then echoes on one connection for each
//! case.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use drivers::{Driver, Server};
use proto_ws::entropy::PerThread;
use proto_ws::{Client, Config, Handler, Masked, Message, Misuse, Opening, Socket};
use protocol::Limits;

/// Echoes for the Autobahn fuzzing server.
#[derive(Parser)]
struct Options {
    /// The fuzzing server, such as 127.0.0.1:9001.
    server: SocketAddr,
    /// The name for the report.
    agent: String,
    /// The driver: epoll or tokio.
    #[arg(long, default_value_t)]
    driver: Driver,
}

/// Echoes, and keeps the last text message.
struct Echo(Arc<Mutex<String>>);

impl Handler<Masked<PerThread>> for Echo {
    type Message = std::convert::Infallible;

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_, Masked<PerThread>>) -> Result<(), Misuse> {
        if let Message::Text(text) = message {
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            last.clear();
            last.push_str(text);
        }
        socket.message(message)?;
        Ok(())
    }
}

/// Runs one connection to its end. Returns the last text message.
fn connect(options: &Options, config: &Arc<Config>, target: String) -> io::Result<String> {
    let mut limits = Limits::default();
    limits.max_output = 64 << 20;
    let mut opening = Opening::new(options.server.to_string(), target);
    opening.deflate = true;
    let last = Arc::new(Mutex::new(String::new()));
    let (config, echo, opening) = (Arc::clone(config), Echo(Arc::clone(&last)), Arc::new(opening));
    let running = Server::on(options.driver)
        .limits(limits)
        .connect(options.server, move |_| Client::new(config, opening, PerThread, echo))?;
    running.join()?;
    let last = last.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(last.clone())
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let mut config = Config::default();
    config.limits.frame = 16 << 20;
    config.limits.message = 16 << 20;
    config.limits.fragments = 1 << 17;
    let config = Arc::new(config);
    let count: u32 = connect(&options, &config, "/getCaseCount".into())?
        .parse()
        .map_err(io::Error::other)?;
    for case in 1..=count {
        connect(
            &options,
            &config,
            format!("/runCase?case={case}&agent={}", options.agent),
        )?;
    }
    connect(&options, &config, format!("/updateReports?agent={}", options.agent)).map(drop)
}
