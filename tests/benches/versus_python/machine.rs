//! The facts without which no figure means anything.

use std::fmt;
use std::fs;
use std::thread;

use super::python::Python;

/// The machine and what runs on it.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    /// Version and default start method; nothing if there is no Python.
    python: Option<String>,
    wasmp: &'static str,
    /// Mean number of runnable processes in the last minute: well above zero, it was not a quiet machine.
    load: String,
}

impl Machine {
    pub(crate) fn look(python: Option<&Python>) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()))
            .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        Self {
            cores: thread::available_parallelism().map_or(1, std::num::NonZero::get),
            processor,
            kernel: read("/proc/sys/kernel/osrelease"),
            python: python.map(|python| python.facts.clone()),
            wasmp: env!("CARGO_PKG_VERSION"),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cores,
            processor,
            kernel,
            python,
            wasmp,
            load,
        } = self;
        let python = python.as_deref().unwrap_or("no Python");
        write!(
            f,
            "{cores} cores ({processor}), Linux {kernel}, {python}, wasmp {wasmp}, load {load} before"
        )
    }
}
