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
