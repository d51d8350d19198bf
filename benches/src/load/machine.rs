//! The server's process and the machine: processor time, memory, pinning and limits.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::CpuSet;

/// A process and its descendants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(pub u32);

/// The resources that a [`Process`] has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub rss: u64,
}

impl Process {
    /// Reads what the process and its descendants have used so far.
    ///
    /// # Errors
    ///
    /// There is no such process.
    pub fn sample(&self) -> io::Result<Sample> {
        let mut total = Sample {
            cpu: cpu(self.0)?,
            rss: rss(self.0)?,
        };
        for child in children(self.0) {
            // A descendant that has ended meanwhile adds nothing.
            if let Ok(sample) = Process(child).sample() {
                total.cpu += sample.cpu;
                total.rss += sample.rss;
            }
        }
        Ok(total)
    }
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().map(str::parse).collect::<Vec<_>>())
        .flatten()
        .collect()
}

/// Processor time of all threads: from the scheduler's count in nanoseconds, or, where there is none, from user and
/// system time in ticks.
fn cpu(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            return ticks(pid);
        };
        nanos += text
            .split(' ')
            .next()
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or(0);
    }
    if nanos == 0 {
        ticks(pid)
    } else {
        Ok(Duration::from_nanos(nanos))
    }
}

fn ticks(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold any characters. User time is the 12th field behind it, system time the next.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(ticks * 1_000_000_000 / per_second.max(1)))
}

/// Resident memory as the exact sum over the mappings; the total in `status` may lag behind.
fn rss(pid: u32) -> io::Result<u64> {
    let find = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let exact = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    if let Some(kib) = exact.and_then(|text| find(&text, "Rss:")) {
        return Ok(kib * 1024);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(find(&status, "VmRSS:").unwrap_or(0) * 1024)
}

/// Pins the calling thread, and the processes it starts, to one core.
///
/// # Errors
///
/// There is no such core.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    set.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Raises the limit of open descriptors as far as allowed and returns it.
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // If this fails, the limit stays as it was.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    rustix::process::getrlimit(Resource::Nofile).current
}

/// A server process that is started for the run, and stopped when this is dropped.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Starts `command` on `core` and waits until it accepts connections at `address`. The calling thread is pinned to
    /// core `own` afterwards.
    ///
    /// # Errors
    ///
    /// The server cannot be started, ends, or does not listen within ten seconds.
    pub fn start(command: &mut Command, address: SocketAddr, core: usize, own: usize) -> io::Result<Self> {
        pin(core)?;
        let child = command.stdout(Stdio::null()).stdin(Stdio::null()).spawn();
        pin(own)?;
        let mut server = Server(child?);
        let start = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Some(status) = server.0.try_wait()? {
                return Err(io::Error::other(format!("the server ended with {status}")));
            }
            if start.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not listen"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// The server's process.
    pub fn process(&self) -> Process {
        Process(self.0.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(Pid::from_child(&self.0), Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_to_work_and_to_grow() -> io::Result<()> {
        let this = Process(std::process::id());
        let before = this.sample()?;
        let start = Instant::now();
        let block = vec![1_u8; 32 << 20];
        while start.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(block.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        }
        let after = this.sample()?;
        // Other processes may keep the machine busy.
        assert!(after.cpu > before.cpu, "{before:?} {after:?}");
        assert!(after.rss >= before.rss + (16 << 20), "{before:?} {after:?}");
        drop(block);
        Ok(())
    }
}
