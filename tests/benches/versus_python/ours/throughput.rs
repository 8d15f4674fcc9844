//! Items a second.

use std::time::Instant;

use wasmp::{Chunksize, Isolation, Pool};

use super::{WORKERS, seconds_since, warm, warm_pair};
use crate::{Failure, Sampler, Stage};

/// Items of one sample.
pub(crate) const ITEMS: u64 = 1_000_000;

/// Of one sample where each item is two orders of magnitude more work.
const FEW_ITEMS: u64 = 100_000;

pub(crate) fn map_chunk_1(stage: &Stage) -> Result<Sampler, Failure> {
    rate(warm_pair(stage)?, stage.items(ITEMS), |pool, inputs| {
        let results: Vec<i64> = pool.task("square").chunksize(Chunksize::Exact(1)).map(inputs)?;
        Ok(results.iter().sum())
    })
}

pub(crate) fn map_default(stage: &Stage) -> Result<Sampler, Failure> {
    rate(warm_pair(stage)?, stage.items(ITEMS), |pool, inputs| {
        let results: Vec<i64> = pool.map("square", inputs)?;
        Ok(results.iter().sum())
    })
}

pub(crate) fn imap_chunk_1(stage: &Stage) -> Result<Sampler, Failure> {
    rate(warm_pair(stage)?, stage.items(ITEMS), |pool, inputs| {
        pool.task("square")
            .chunksize(Chunksize::Exact(1))
            .imap::<_, i64>(inputs)?
            .sum()
    })
}

pub(crate) fn fresh_instance(stage: &Stage) -> Result<Sampler, Failure> {
    let builder = Pool::builder(&stage.module)
        .processes(WORKERS)
        .isolation(Isolation::Task);
    rate(warm(builder)?, stage.items(FEW_ITEMS), |pool, inputs| {
        let results: Vec<i64> = pool.task("square_afresh").chunksize(Chunksize::Exact(1)).map(inputs)?;
        Ok(results.iter().sum())
    })
}

/// What returns the sum of the squares of these numbers.
type Work = fn(&Pool, std::ops::Range<i64>) -> wasmp::Result<i64>;

fn rate(pool: Pool, items: u64, work: Work) -> Result<Sampler, Failure> {
    let count = i64::try_from(items)?;
    Ok(Box::new(move || {
        let begin = Instant::now();
        let sum = work(&pool, 0..count)?;
        let took = seconds_since(begin);
        if sum != count * (count - 1) * (2 * count - 1) / 6 {
            return Err("a wrong result".into());
        }
        Ok(items as f64 / took)
    }))
}
