//! What a worker costs that does nothing.

use std::fs;

use wasmp::Pool;

use super::warm;
use crate::{Failure, Sampler, Stage};

/// More than two: it is about the cost of one more.
pub(crate) const WORKERS: u64 = 8;

pub(crate) fn idle_worker(stage: &Stage) -> Result<Sampler, Failure> {
    let pool = warm(Pool::builder(&stage.module).processes(WORKERS as usize))?;
    Ok(Box::new(move || {
        let workers = pool.worker_pids();
        let bytes = workers.iter().map(|pid| private_bytes(*pid)).sum::<Result<u64, _>>()?;
        Ok(bytes as f64 / workers.len() as f64)
    }))
}

/// Memory that only this process has mapped (USS).
fn private_bytes(pid: u32) -> Result<u64, Failure> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let mut kibibytes = 0;
    for line in rollup.lines().filter(|line| line.starts_with("Private_")) {
        kibibytes += line
            .split_whitespace()
            .nth(1)
            .ok_or("an odd line in smaps_rollup")?
            .parse::<u64>()?;
    }
    Ok(kibibytes * 1024)
}
