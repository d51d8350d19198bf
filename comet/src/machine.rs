//! Information from the system about this process.

/// Raises this process's limit of descriptors as far as permitted.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // On failure, the limit stays.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// The resources used by this process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Bytes of resident memory.
    pub(crate) memory: u64,
    /// Processor time in milliseconds.
    pub(crate) cpu: u64,
}

impl Usage {
    /// Zero if the system does not report usage.
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

    /// Zero if the system does not report usage.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn now() -> Self {
        Usage::default()
    }
}
