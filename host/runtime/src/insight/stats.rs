//! What callers are told.

use std::time::Duration;

use serde::Serialize;

use super::Ran;

/// How many of the slowest items are remembered.
const SLOWEST: usize = 10;

/// What a pool has done so far; from [`Pool::stats`](crate::Pool::stats).
///
/// Counts, process ids and memory are always known; times and the slowest items only with
/// [`PoolBuilder::insight`](crate::PoolBuilder::insight).
///
/// ```no_run
/// use wasmp::Pool;
///
/// # fn main() -> wasmp::Result<()> {
/// let pool = Pool::builder("tasks.wasm").insight(true).build()?;
/// let _: Vec<i64> = pool.map("square", 0..1000)?;
/// let stats = pool.stats();
/// for worker in &stats.workers {
///     let busy = worker.times.map(|times| times.busy);
///     println!("worker {}: {} items, busy for {busy:?}", worker.worker, worker.done);
/// }
/// if let Some(slowest) = stats.slowest.first() {
///     println!("{} took {:?} for input {}", slowest.task, slowest.took, slowest.index);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PoolStats {
    /// Items that have a result.
    pub done: u64,
    /// Items that have failed for good.
    pub failed: u64,
    /// Attempts that failed and were followed by another.
    pub retried: u64,
    /// Each worker, in the order of their numbers; also those that a smaller pool has no use for any more.
    pub workers: Vec<WorkerStats>,
    /// The ten items that ran longest, the longest first. Each attempt counts by itself.
    pub slowest: Vec<SlowItem>,
}

/// What one worker has done: all the processes that had its number, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its number, from 1.
    pub worker: u32,
    /// The process that it is at the moment, if there is one.
    pub pid: Option<u32>,
    /// Items that have a result.
    pub done: u64,
    /// Items that have failed for good.
    pub failed: u64,
    /// Attempts that failed and were followed by another.
    pub retried: u64,
    /// How many processes were started after the first, for whatever reason.
    pub restarts: u64,
    /// How many of its processes ended untold: by a deadline, a signal, a crash.
    pub deaths: u64,
    /// The most bytes that the memory of an instance had. What a worker needs beside that is not in it.
    pub peak_memory: u64,
    /// What it did with its time, if the pool measures that.
    pub times: Option<WorkerTimes>,
}

/// What a worker did with its time, which is `busy + idle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerTimes {
    /// It ran items, the one that runs at the moment included.
    pub busy: Duration,
    /// The part of `busy` in which it only waited: for a lock, a message or another shared object, or because it slept.
    pub waiting: Duration,
    /// It was there, or about to be, and ran no item.
    pub idle: Duration,
}

/// An item that took long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlowItem {
    /// The name of its task.
    pub task: String,
    /// Its place among the inputs of its call, from 0.
    pub index: u64,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// The number of the worker that ran it.
    pub worker: u32,
    /// How long it ran.
    pub took: Duration,
    /// The most bytes that the memory of its instance had until it ended. A wasm memory never shrinks: with
    /// [`Isolation::Worker`](crate::Isolation::Worker) it may be another item that needed them.
    pub peak_memory: u64,
}

/// The same, as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) ran: Ran,
    pub(crate) worker: u32,
    /// Nanoseconds.
    pub(crate) took: u64,
    pub(crate) memory: u64,
}

/// Puts an item among the slowest, if it is one of them.
#[inline]
pub(crate) fn rank(slowest: &mut Vec<Slow>, slow: Slow) {
    if slowest.len() == SLOWEST && slowest[SLOWEST - 1].took >= slow.took {
        return;
    }
    slowest.truncate(SLOWEST - 1);
    let place = slowest.partition_point(|other| other.took >= slow.took);
    slowest.insert(place, slow);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_come_first_and_equals_stay_in_their_order() {
        let mut slowest = Vec::new();
        for (index, took) in (0..).zip([5, 1, 9, 9, 2, 3, 4, 6, 7, 8, 10, 0]) {
            let ran = Ran {
                task: 0,
                index,
                attempt: 1,
            };
            rank(
                &mut slowest,
                Slow {
                    ran,
                    worker: 1,
                    took,
                    memory: 0,
                },
            );
        }
        let found: Vec<_> = slowest.iter().map(|slow| (slow.took, slow.ran.index)).collect();
        let expected = [
            (10, 10),
            (9, 2),
            (9, 3),
            (8, 9),
            (7, 8),
            (6, 7),
            (5, 0),
            (4, 6),
            (3, 5),
            (2, 4),
        ];
        assert_eq!(found, expected);
    }
}
