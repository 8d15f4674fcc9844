//! What the second wall costs: the same work with and without it.

use std::time::Instant;

use wasmp::{Chunksize, Pool, Sandbox};

use super::{WORKERS, seconds_since, warm};
use crate::{Failure, Sampler, Stage};

/// Calls of one sample, of which the median is taken.
const CALLS: u64 = 5_000;

/// Items of one sample.
const ITEMS: u64 = 500_000;

/// Pools of one sample, of which the median is taken.
const POOLS: u64 = 15;

pub(crate) fn apply(stage: &Stage) -> Result<Sampler, Failure> {
    round_trip(stage, Sandbox::BestEffort)
}

pub(crate) fn apply_without(stage: &Stage) -> Result<Sampler, Failure> {
    round_trip(stage, Sandbox::Off)
}

pub(crate) fn map(stage: &Stage) -> Result<Sampler, Failure> {
    rate(stage, Sandbox::BestEffort)
}

pub(crate) fn map_without(stage: &Stage) -> Result<Sampler, Failure> {
    rate(stage, Sandbox::Off)
}

pub(crate) fn start(stage: &Stage) -> Result<Sampler, Failure> {
    first_result(stage, Sandbox::BestEffort)
}

pub(crate) fn start_without(stage: &Stage) -> Result<Sampler, Failure> {
    first_result(stage, Sandbox::Off)
}

fn round_trip(stage: &Stage, level: Sandbox) -> Result<Sampler, Failure> {
    // One worker: where two share the processors with this process, it is their turns that are measured.
    let pool = warm(Pool::builder(&stage.module).processes(1).sandbox(level))?;
    let calls = i64::try_from(stage.items(CALLS))?;
    Ok(Box::new(move || {
        let mut took = Vec::new();
        for x in 0..calls {
            let begin = Instant::now();
            let _: i64 = pool.apply("square", (x,))?;
            took.push(seconds_since(begin));
        }
        Ok(median(took))
    }))
}

fn rate(stage: &Stage, level: Sandbox) -> Result<Sampler, Failure> {
    let pool = warm(Pool::builder(&stage.module).processes(WORKERS).sandbox(level))?;
    let items = i64::try_from(stage.items(ITEMS))?;
    Ok(Box::new(move || {
        let begin = Instant::now();
        let squares: Vec<i64> = pool.task("square").chunksize(Chunksize::Exact(1)).map(0..items)?;
        let took = seconds_since(begin);
        match squares.last() {
            Some(last) if *last == (items - 1) * (items - 1) => Ok(items as f64 / took),
            _ => Err("a wrong result".into()),
        }
    }))
}

fn first_result(stage: &Stage, level: Sandbox) -> Result<Sampler, Failure> {
    let builder = {
        let module = stage.module.clone();
        move || Pool::builder(&module).processes(WORKERS).sandbox(level)
    };
    let in_use = warm(builder())?;
    let pools = stage.items(POOLS);
    Ok(Box::new(move || {
        let mut took = Vec::new();
        // Keeper and zygote run already, as another pool of the same kind is in use.
        if in_use.worker_pids().is_empty() {
            return Err("the other pool has no workers".into());
        }
        for _ in 0..pools {
            let begin = Instant::now();
            let pool = builder().build()?;
            let result: i64 = pool.apply("square", (7,))?;
            took.push(seconds_since(begin));
            if result != 49 {
                return Err("a wrong result".into());
            }
            pool.terminate();
            pool.join()?;
        }
        Ok(median(took))
    }))
}

fn median(mut took: Vec<f64>) -> f64 {
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}
