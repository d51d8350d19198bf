//! The CPU that a thread runs on.

use std::io;

/// Returns the CPUs that this thread, and the threads it starts, may run on: for [`Config::cpus`](crate::Config::cpus).
///
/// # Errors
///
/// When the kernel does not answer, or this system does not support the query ([`Unsupported`](io::ErrorKind::Unsupported)).
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    #[cfg(target_os = "linux")]
    {
        let set = rustix::thread::sched_getaffinity(None)?;
        Ok((0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|cpu| set.is_set(*cpu))
            .collect())
    }
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

/// Pins this thread, and the threads that it starts from now on, to one CPU. Does nothing on systems other than Linux.
///
/// # Errors
///
/// When there is no such CPU, or this process may not use it.
pub fn pin(cpu: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, format!("there is no CPU {cpu} to run on"));
        let mut set = rustix::thread::CpuSet::new();
        if cpu >= rustix::thread::CpuSet::MAX_CPU {
            return Err(none());
        }
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set).map_err(|_| none())?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = cpu;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_where_it_is_pinned() {
        let here = allowed_cpus().unwrap();
        let last = here[here.len() - 1];
        let there = std::thread::spawn(move || {
            pin(last).unwrap();
            let inherited = std::thread::spawn(allowed_cpus);
            (allowed_cpus().unwrap(), inherited.join().unwrap().unwrap())
        });
        assert_eq!(there.join().unwrap(), (vec![last], vec![last]));
        assert_eq!(allowed_cpus().unwrap(), here);
        assert_eq!(pin(1_000_000).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
