//! What a pool tells about its work: counts, times, and a trace of everything that its workers did.
//!
//! Each slot of the supervisor keeps a [`Log`] through all the processes that live in it. Counting is free: it is done
//! where outcomes are filed anyway. Times are known only if the pool was asked for them, for then the workers look at the
//! clock twice for each item and send a [`Stamp`](crate::wire::Stamp) with its outcome. [`stats`] is what callers get,
//! [`trace`] the file.
//!
//! Stamps and gauges come from workers, so they are numbers and nothing else: each is forced into the time in which the
//! worker can have run, and can thereby only be wrong about that worker.

mod log;
mod stats;
pub(crate) mod trace;

pub(crate) use self::log::{Fate, Log, Ran};
pub use self::stats::{PoolStats, SlowItem, WorkerStats, WorkerTimes};
pub(crate) use self::stats::{Slow, rank};
use self::trace::{Event, TraceSender, What};

/// What a pool wants to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Insight {
    /// When items began and ended.
    pub(crate) timed: bool,
    pub(crate) trace: Option<TraceSender>,
    /// What the memory of a guest is limited to.
    pub(crate) max_memory: u64,
}

impl Insight {
    /// Somebody gave up a call of this task.
    pub(crate) fn cancelled(&self, task: u32) {
        if let Some(trace) = &self.trace {
            trace.send(vec![Event::now(0, What::Cancelled { task })]);
        }
    }
}
