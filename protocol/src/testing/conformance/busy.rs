//! Detects threads that are never idle.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

/// The number of consecutive windows in which a busy thread must have run.
const WINDOWS: usize = 4;
const WINDOW: Duration = Duration::from_millis(200);
/// CPU ticks of 10 ms that a busy thread uses in one window: few, because other processes use the processor too.
const BUSY: u64 = 5;

/// The name of a thread of this process that was busy throughout some 800 ms. `None` if there is none, or if the system does not tell (only
/// Linux does).
pub(super) fn busy_thread() -> Option<String> {
    let mut suspects: Option<BTreeMap<u64, String>> = None;
    for _ in 0..WINDOWS {
        let before = times();
        thread::sleep(WINDOW);
        let busy = times().into_iter().filter_map(|(id, (name, after))| {
            let ran = after.checked_sub(before.get(&id)?.1)?;
            let known = suspects.as_ref().is_none_or(|suspects| suspects.contains_key(&id));
            (known && ran >= BUSY).then_some((id, name))
        });
        let busy: BTreeMap<u64, String> = busy.collect();
        if busy.is_empty() {
            return None;
        }
        suspects = Some(busy);
    }
    suspects?.into_values().next()
}

/// The name of each thread, and the CPU ticks it has used.
fn times() -> BTreeMap<u64, (String, u64)> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let times = tasks.filter_map(|task| {
        let id = task.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        // proc(5): after the name in parentheses, fields 12 and 13 are the times in user and kernel mode.
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let mut fields = tail.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let kernel: u64 = fields.next()?.parse().ok()?;
        Some((id, (name, user + kernel)))
    });
    times.collect()
}
