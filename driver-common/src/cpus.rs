//! Which CPU a thread runs on.

use std::io;

/// The CPUs that this thread, and those it starts, may run on: for [`Config::cpus`](crate::Config::cpus).
///
/// # Errors
///
/// When the kernel does not tell, or this system cannot ([`Unsupported`](io::ErrorKind::Unsupported)).
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

/// Keeps this thread, and those it starts from now on, on one CPU. Elsewhere than on Linux it does nothing.
///
/// # Errors
///
/// When there is no such CPU, or it is not for this process.
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
