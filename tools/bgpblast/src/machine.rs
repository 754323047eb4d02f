//! The machine that a run is made on, and the tool's own use of it.

use std::fs;
use std::time::SystemTime;

use crate::outcome::Machine;

/// What this machine is.
pub fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let named = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let memory = read("/proc/meminfo");
    let kb = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    Machine {
        processor: named
            .map_or_else(|| std::env::consts::ARCH.to_string(), |(_, name)| name.trim().to_string()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_mb: kb.unwrap_or(0u64) / 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_string(),
    }
}

/// Now, in UTC (RFC 3339).
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// The processor time of this thread so far, s.
pub fn own_cpu_s() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: Option<u64> = text.split_whitespace().next().and_then(|word| word.parse().ok());
    nanoseconds.unwrap_or(0) as f64 / 1e9
}
