//! What guests in two workers share.

use std::time::Instant;

use serde::Serialize;
use wasmp::{Lock, Manager, Pool, Queue, Value, as_completed, pipe as pipe_ends};

use super::{WORKERS, seconds_since, warm, warm_pair};
use crate::{Failure, Sampler, Stage};

pub(crate) fn queue_16_b(stage: &Stage) -> Result<Sampler, Failure> {
    queue(stage, 16, 2_000_000)
}

pub(crate) fn queue_64_kib(stage: &Stage) -> Result<Sampler, Failure> {
    queue(stage, 64 << 10, 50_000)
}

pub(crate) fn queue_1_mib(stage: &Stage) -> Result<Sampler, Failure> {
    queue(stage, 1 << 20, 5_000)
}

/// Messages a second from one guest to the other.
fn queue(stage: &Stage, size: usize, messages: u64) -> Result<Sampler, Failure> {
    let pool = warm_pair(stage)?;
    let messages = stage.items(messages);
    let queue = Queue::<()>::new(0)?;
    Ok(Box::new(move || {
        let took = together(&pool, ("fill", (&queue, messages, size)), ("drain", (&queue, messages)))?;
        Ok(messages as f64 / took)
    }))
}

pub(crate) fn pipe(stage: &Stage) -> Result<Sampler, Failure> {
    let pool = warm_pair(stage)?;
    let rounds = stage.items(200_000);
    let (here, there) = pipe_ends()?;
    Ok(Box::new(move || {
        let took = together(&pool, ("ping", (&here, rounds)), ("pong", (&there, rounds)))?;
        Ok(took / rounds as f64)
    }))
}

pub(crate) fn lock_alone(stage: &Stage) -> Result<Sampler, Failure> {
    alone(stage, "lock_pairs", Lock::new()?, 5_000_000)
}

pub(crate) fn lock_two(stage: &Stage) -> Result<Sampler, Failure> {
    let pool = warm_pair(stage)?;
    let pairs = stage.items(5_000_000);
    let lock = Lock::new()?;
    Ok(Box::new(move || {
        let work = || ("lock_pairs", (&lock, pairs));
        let took = together(&pool, work(), work())?;
        Ok((WORKERS as u64 * pairs) as f64 / took)
    }))
}

pub(crate) fn value(stage: &Stage) -> Result<Sampler, Failure> {
    alone(stage, "increment", Value::new(0_i64)?, 2_000_000)
}

pub(crate) fn value_atomic(stage: &Stage) -> Result<Sampler, Failure> {
    alone(stage, "fetch_add", Value::new(0_i64)?, 5_000_000)
}

pub(crate) fn dict(stage: &Stage) -> Result<Sampler, Failure> {
    let manager = Manager::new()?;
    alone(stage, "set_and_get", manager.dict::<u64, u64>([])?, 100_000)
}

pub(crate) fn dict_1(stage: &Stage) -> Result<Sampler, Failure> {
    dict_of(stage, 1)
}

pub(crate) fn dict_4(stage: &Stage) -> Result<Sampler, Failure> {
    dict_of(stage, 4)
}

pub(crate) fn dict_16(stage: &Stage) -> Result<Sampler, Failure> {
    dict_of(stage, 16)
}

/// Operations a second of so many guests on one dictionary.
fn dict_of(stage: &Stage, clients: usize) -> Result<Sampler, Failure> {
    let pool = warm(Pool::builder(&stage.module).processes(clients))?;
    let dict = Manager::new()?.dict::<u64, u64>([])?;
    // As long as CPython's samples take.
    let each = stage.items(400_000) / clients as u64;
    Ok(Box::new(move || {
        let begin = Instant::now();
        let calls: Vec<_> = (0..clients)
            .map(|_| pool.apply_async::<_, ()>("set_and_get", (&dict, each)))
            .collect::<Result<_, _>>()?;
        for call in calls {
            call.get()?;
        }
        Ok((each * clients as u64) as f64 / seconds_since(begin))
    }))
}

/// Seconds for each of so many operations of one guest.
fn alone(stage: &Stage, task: &'static str, object: impl Serialize + 'static, times: u64) -> Result<Sampler, Failure> {
    let pool = warm_pair(stage)?;
    let times = stage.items(times);
    Ok(Box::new(move || {
        let begin = Instant::now();
        pool.apply::<_, ()>(task, (&object, times))?;
        Ok(seconds_since(begin) / times as f64)
    }))
}

/// Seconds until two tasks, which need each other, are done. If one of them fails, nobody waits for the other.
fn together(
    pool: &Pool,
    (one, with): (&str, impl Serialize),
    (other, with_other): (&str, impl Serialize),
) -> Result<f64, Failure> {
    let begin = Instant::now();
    let calls = [
        pool.apply_async::<_, ()>(one, with)?,
        pool.apply_async::<_, ()>(other, with_other)?,
    ];
    for call in as_completed(calls) {
        call.get()?;
    }
    Ok(seconds_since(begin))
}
