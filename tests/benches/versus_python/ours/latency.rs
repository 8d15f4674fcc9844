//! Seconds to one result.

use std::env;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wasmp::{ModuleSource, Pool};

use super::{WORKERS, seconds_since, warm_pair};
use crate::child::CHILD;
use crate::{Failure, Sampler, Stage};

/// Calls of one sample, of which the median is taken.
const CALLS: u64 = 2_000;

pub(crate) fn apply(stage: &Stage) -> Result<Sampler, Failure> {
    let pool = warm_pair(stage)?;
    let calls = i64::try_from(stage.items(CALLS))?;
    Ok(Box::new(move || {
        let mut took = Vec::new();
        for x in 0..calls {
            let begin = Instant::now();
            let _: i64 = pool.apply("square", (x,))?;
            took.push(seconds_since(begin));
        }
        took.sort_by(f64::total_cmp);
        Ok(took[took.len() / 2])
    }))
}

/// Seconds from `begin` to the first result of a new pool.
pub(crate) fn first_result(module: impl Into<ModuleSource>, begin: Instant) -> Result<f64, Failure> {
    let pool = Pool::builder(module).processes(WORKERS).build()?;
    let result: i64 = pool.apply("square", (7,))?;
    let took = seconds_since(begin);
    if result != 49 {
        return Err("a wrong result".into());
    }
    pool.terminate();
    pool.join()?;
    Ok(took)
}

/// Keeper and zygote run already, as another pool of the same module is in use.
pub(crate) fn pool_warm(stage: &Stage) -> Result<Sampler, Failure> {
    let in_use = warm_pair(stage)?;
    Ok(Box::new(move || first_result(in_use.module(), Instant::now())))
}

pub(crate) fn pool_cold(stage: &Stage) -> Result<Sampler, Failure> {
    let wasm = stage.wasm.clone();
    Ok(Box::new(move || {
        let output = Command::new(env::current_exe()?)
            .args([CHILD, "first-result"])
            .arg(&wasm)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim_end().parse()?)
    }))
}

/// Both workers are busy for ever, and one item waits: it can only run once there is another worker.
pub(crate) fn replacement(stage: &Stage) -> Result<Sampler, Failure> {
    let module = stage.module.clone();
    Ok(Box::new(move || {
        let pool = Pool::builder(&module).processes(WORKERS).build()?;
        let _: Vec<i64> = pool.map("square", 0..super::WARM_UP)?;
        let busy = (0..WORKERS)
            .map(|_| pool.apply_async::<_, ()>("spin", ()))
            .collect::<Result<Vec<_>, _>>()?;
        thread::sleep(Duration::from_millis(100));
        let result = pool.apply_async::<_, i64>("square", (7,))?;
        let victim = pool
            .worker_pids()
            .first()
            .copied()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let begin = Instant::now();
        kill_process(victim.ok_or("a pool without workers")?, Signal::KILL)?;
        if result.get()? != 49 {
            return Err("a wrong result".into());
        }
        let took = seconds_since(begin);
        if busy.iter().filter(|result| result.ready()).count() > 1 {
            return Err("more than one item was lost with one worker".into());
        }
        pool.terminate();
        pool.join()?;
        Ok(took)
    }))
}
