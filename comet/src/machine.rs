//! What the system says of this process.

/// Has this process have as many descriptors as it may.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // What stays is what was.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// What this process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Bytes of resident memory.
    pub(crate) memory: u64,
    /// Milliseconds of processor time.
    pub(crate) cpu: u64,
}

impl Usage {
    /// Zeroes where the system does not say.
    #[cfg(target_os = "linux")]
    pub(crate) fn now() -> Self {
        let memory = || {
            let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
            let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
            Some(resident * rustix::param::page_size() as u64)
        };
        let time = |clock| rustix::time::clock_gettime(clock);
        let cpu = time(rustix::time::ClockId::ProcessCPUTime);
        Usage {
            memory: memory().unwrap_or(0),
            cpu: u64::try_from(cpu.tv_sec * 1000 + cpu.tv_nsec / 1_000_000).unwrap_or(0),
        }
    }

    /// Zeroes where the system does not say.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn now() -> Self {
        Usage::default()
    }
}
