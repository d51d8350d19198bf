//! The parent watches a server's processes. Each process sends its counters to the parent once a second, and the parent passes them to all.
//! A process that is silent for long hangs or was stopped: it is killed and replaced.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::node::{Node, Sample};
use crate::settings::Options;

/// How long a process may be silent, in parts: if the parent was stopped as well, it kills no process for that.
const SILENCE: Duration = Duration::from_secs(5);
const SILENCES: u32 = 4;
/// How long a process may fail to read the others' counters. Counters that do not fit are skipped.
const TAKES: Duration = Duration::from_millis(200);
/// The longest line, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The parent's view of its processes.
#[derive(Default)]
pub(crate) struct Watch {
    workers: Mutex<BTreeMap<usize, Worker>>,
}

#[derive(Default)]
struct Worker {
    starts: u32,
    /// The connection to the process, while it runs.
    stream: Option<UnixStream>,
    /// The last sample of the process, and the last sample passed on.
    sample: Option<Sample>,
    told: Option<Sample>,
    /// The counters of earlier processes with this number, so that counters never decrease.
    before: Vec<(String, u64)>,
}

/// A line with options.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passed {
    options: Box<Options>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process is about to start. Returns its end of the connection.
    ///
    /// # Errors
    ///
    /// If no socket or thread can be created.
    pub(crate) fn starts(self: &Arc<Self>, number: usize) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(SILENCE))?;
        ours.set_write_timeout(Some(TAKES))?;
        {
            let mut workers = self.lock();
            // The new process first gets the counters of all others.
            for told in workers.values().filter_map(|worker| worker.told.as_ref()) {
                (&ours).write_all(&line_of(told))?;
            }
            let worker = workers.entry(number).or_default();
            worker.stream = Some(ours.try_clone()?);
            worker.starts += 1;
            if worker.starts > 1 {
                tracing::warn!("worker {number} is restarted");
            }
        }
        let watch = Arc::clone(self);
        let listen = move || watch.listen(number, ours);
        thread::Builder::new().name("watch".into()).spawn(listen)?;
        Ok(theirs)
    }

    /// Reads from one process until its end.
    fn listen(&self, number: usize, stream: UnixStream) {
        let (mut reader, mut silences, mut pid) = (BufReader::new(stream), 0, 0);
        let mut line = Vec::new();
        loop {
            match io::Read::take(&mut reader, LONGEST).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) if !line.ends_with(b"\n") => break,
                Ok(_) => {
                    silences = 0;
                    if let Ok(sample) = serde_json::from_slice::<Sample>(&line) {
                        pid = sample.pid;
                        self.tell(number, Some(sample));
                    }
                    line.clear();
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    silences += 1;
                    if silences >= SILENCES {
                        end(number, pid);
                        silences = 0;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        tracing::warn!("worker {number} (process {pid}) has ended");
        self.tell(number, None);
    }

    /// Passes options to all processes, to be put in force.
    pub(crate) fn pass(&self, options: &Options) {
        let passed = Passed {
            options: Box::new(options.clone()),
        };
        let Ok(mut line) = serde_json::to_vec(&passed) else {
            return;
        };
        line.push(b'\n');
        for (number, worker) in self.lock().iter_mut() {
            if let Some(stream) = &mut worker.stream
                && let Err(error) = stream.write_all(&line)
            {
                worker.stream = None;
                tracing::warn!("worker {number} keeps its settings until it is started again: {error}");
            }
        }
    }

    /// Passes a process's sample to all processes, or reports its end to them.
    fn tell(&self, number: usize, said: Option<Sample>) {
        let mut workers = self.lock();
        let Some(worker) = workers.get_mut(&number) else { return };
        let Some(told) = worker.add_up(said) else { return };
        let Ok(mut line) = serde_json::to_vec(&told) else {
            return;
        };
        line.push(b'\n');
        for worker in workers.values_mut() {
            if let Some(stream) = &mut worker.stream
                && stream.write_all(&line).is_err()
            {
                // After an incomplete line, this process gets no more, and keeps its last counters.
                worker.stream = None;
            }
        }
    }
}

fn line_of(sample: &Sample) -> Vec<u8> {
    // Cannot fail: strings and numbers always make JSON.
    let mut line = serde_json::to_vec(sample).unwrap_or_default();
    line.push(b'\n');
    line
}

impl Worker {
    /// Adds the counters of all processes that had this number.
    fn add_up(&mut self, said: Option<Sample>) -> Option<Sample> {
        match said {
            Some(said) => {
                let told = said.plus(&self.before);
                self.sample = Some(said);
                Some(told)
            }
            None => {
                self.stream = None;
                let ended = self.sample.take()?.plus(&self.before).ended();
                self.before.clone_from(&ended.counters);
                Some(ended)
            }
        }
    }
}

/// Kills a process that hangs. Its id cannot be reused before the parent has waited for it, which does not happen while the connection
/// exists.
fn end(number: usize, pid: u32) {
    let known = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(known) = known {
        let seconds = (SILENCE * SILENCES).as_secs();
        tracing::warn!("worker {number} (process {pid}) was silent for {seconds} s: killing it");
        // Fails only if the process has just ended.
        let _ = kill_process(known, Signal::KILL);
    }
}

/// The process's side: reports the node's counters to the parent from now on, reads the counters of all processes, and calls `put_in_force`
/// with options that the parent passes.
///
/// # Errors
///
/// If no thread can be started.
pub(crate) fn report(
    node: &Arc<Node>,
    stream: UnixStream,
    put_in_force: impl Fn(Options) + Send + 'static,
) -> io::Result<()> {
    stream.set_write_timeout(Some(TAKES))?;
    let reader = BufReader::new(stream.try_clone()?);
    node.reports_to(stream);
    let weak = Arc::downgrade(node);
    let listen = move || {
        for line in reader.lines().map_while(Result::ok) {
            let Some(node) = weak.upgrade() else { return };
            if let Ok(Passed { options }) = serde_json::from_str(&line) {
                put_in_force(*options);
            } else if let Ok(sample) = serde_json::from_str(&line) {
                node.hears_of(sample);
            }
        }
    };
    thread::Builder::new().name("crew".into()).spawn(listen).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(published: u64, connections: u64) -> Sample {
        let counters = vec![("published".to_owned(), published), ("active".to_owned(), connections)];
        Sample::of(7, counters)
    }

    #[test]
    fn counters_go_on_where_the_process_before_has_ended() {
        let mut worker = Worker::default();
        let count = |sample: Option<Sample>| {
            let sample = sample.unwrap();
            (sample.counter("published"), sample.counter("active"))
        };
        assert_eq!(count(worker.add_up(Some(sample(5, 3)))), (5, 3));
        assert_eq!(count(worker.add_up(None)), (5, 0));
        assert_eq!(count(worker.add_up(Some(sample(1, 2)))), (6, 2));
        assert_eq!(count(worker.add_up(None)), (6, 0));
        assert_eq!(count(worker.add_up(Some(sample(2, 2)))), (8, 2));
    }

    #[test]
    fn what_one_says_all_hear() {
        let watch = Arc::<Watch>::default();
        let (one, two) = (watch.starts(0).unwrap(), watch.starts(1).unwrap());
        let mut line = serde_json::to_vec(&sample(5, 1)).unwrap();
        line.push(b'\n');
        (&one).write_all(&line).unwrap();
        for stream in [&one, &two] {
            let mut heard = String::new();
            BufReader::new(stream).read_line(&mut heard).unwrap();
            let heard: Sample = serde_json::from_str(&heard).unwrap();
            assert_eq!(heard.counter("published"), 5);
        }
    }
}
