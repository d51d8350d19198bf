//! The measured server.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use crate::client::http::Client;
use crate::node::Sample;

/// The API token of a server that was started for the run.
const TOKEN: &str = "bench";

/// The server, and its process if it was started for the run; that process ends with this value.
pub(super) struct Server {
    address: SocketAddr,
    token: Option<String>,
    child: Option<Child>,
}

/// The resources used by all processes of the server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) processes: usize,
    pub(super) connections: u64,
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Processor time in milliseconds.
    pub(super) cpu: u64,
}

impl Server {
    pub(super) fn at(address: SocketAddr, token: Option<&str>) -> Self {
        Server {
            address,
            token: token.map(str::to_owned),
            child: None,
        }
    }

    /// Starts a server with `flags` that permits `channel`.
    pub(super) fn start(flags: &str, channel: &str) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--listen", "127.0.0.1:0"])
            .args(flags.split_whitespace())
            // Everyone may read `channel`: the server is used by this run only.
            .args((channel.starts_with("demo:")).then_some("--demo"))
            .env("COMET_API_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut server = Server {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: Some(TOKEN.to_owned()),
            child: Some(child),
        };
        let line = BufReader::new(out).lines().next().transpose()?.unwrap_or_default();
        let address = line
            .strip_prefix("listening on http://")
            .and_then(|text| text.parse().ok());
        server.address = address.ok_or_else(|| io::Error::other("the server does not start"))?;
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn client(&self) -> io::Result<Client> {
        Client::open(self.address, self.token.as_deref())
    }

    /// The resource usage that its processes report, once all of them do.
    pub(super) fn usage(&self) -> io::Result<Usage> {
        #[derive(Deserialize)]
        struct Nodes {
            nodes: Vec<Sample>,
        }
        // A sample is at most a second old.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let (status, content) = self.client()?.ask("GET", "/api/nodes", b"")?;
        if status != 200 {
            let text = String::from_utf8_lossy(&content).into_owned();
            return Err(io::Error::other(format!(
                "cannot read the server's usage: it answered {status}: {text}"
            )));
        }
        let Nodes { nodes } = serde_json::from_slice(&content)?;
        let mut usage = Usage::default();
        for node in nodes {
            usage.processes += 1;
            usage.connections += node.counter("active");
            usage.memory += node.memory;
            usage.cpu += node.cpu;
        }
        Ok(usage)
    }
}

/// The end of a run.
impl Server {
    /// Stops a server that was started for the run, and waits until it has exited. Returns its status, unless it was killed.
    ///
    /// # Errors
    ///
    /// If the system does not let this process wait.
    pub(super) fn stop(&mut self) -> io::Result<Option<i32>> {
        let Some(mut child) = self.child.take() else {
            return Ok(None);
        };
        // By a signal, so that a server of several processes stops them all.
        if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        Ok(child.wait()?.code())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if the server has exited.
        let _ = self.stop();
    }
}
