//! Seconds from the start of a process to its end.

use std::time::Instant;

use wasmp::{Pool, StartMethod};

use super::seconds_since;
use crate::{Failure, Sampler, Stage};

/// Processes of one sample, of which the median is taken.
const PROCESSES: u64 = 50;

pub(crate) fn forkserver(stage: &Stage) -> Result<Sampler, Failure> {
    start_and_join(stage, StartMethod::Forkserver)
}

pub(crate) fn spawn(stage: &Stage) -> Result<Sampler, Failure> {
    start_and_join(stage, StartMethod::Spawn)
}

pub(crate) fn fork(stage: &Stage) -> Result<Sampler, Failure> {
    fork_and_join(stage, 0)
}

pub(crate) fn fork_64_mib(stage: &Stage) -> Result<Sampler, Failure> {
    fork_and_join(stage, 64 << 20)
}

/// A guest forks, so it is a guest that counts: the mean is taken.
fn fork_and_join(stage: &Stage, ballast: usize) -> Result<Sampler, Failure> {
    let pool = Pool::builder(&stage.module).processes(1).build()?;
    let times = stage.items(PROCESSES);
    Ok(Box::new(move || {
        let begin = Instant::now();
        pool.apply::<_, ()>("fork_and_join", (times, ballast))?;
        Ok(seconds_since(begin) / times as f64)
    }))
}

fn start_and_join(stage: &Stage, method: StartMethod) -> Result<Sampler, Failure> {
    let context = Pool::builder(&stage.module).context()?;
    let processes = stage.items(PROCESSES);
    Ok(Box::new(move || {
        let mut took = Vec::new();
        for _ in 0..processes {
            let begin = Instant::now();
            let process = context.process("square").args((7,)).start_method(method).start()?;
            process.join();
            took.push(seconds_since(begin));
            if process.exitcode() != Some(0) {
                return Err("a process that failed".into());
            }
        }
        took.sort_by(f64::total_cmp);
        Ok(took[took.len() / 2])
    }))
}
