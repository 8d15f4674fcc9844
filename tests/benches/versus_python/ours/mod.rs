//! Our side of the rows.

pub(crate) mod cpu;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod objects;
pub(crate) mod processes;
pub(crate) mod throughput;
pub(crate) mod walls;

use std::time::Instant;

use wasmp::{Pool, PoolBuilder};

use super::{Failure, Stage};

pub(crate) use self::latency::first_result;

/// Always two, whatever the machine has: rows stay comparable.
const WORKERS: usize = 2;

/// Items that warm a pool up.
const WARM_UP: i64 = 1_000;

/// A pool whose workers have all worked.
fn warm(builder: PoolBuilder) -> Result<Pool, Failure> {
    let pool = builder.build()?;
    let _: Vec<i64> = pool.map("square", 0..WARM_UP)?;
    Ok(pool)
}

/// A warm pool of two.
fn warm_pair(stage: &Stage) -> Result<Pool, Failure> {
    warm(Pool::builder(&stage.module).processes(WORKERS))
}

fn seconds_since(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64()
}
