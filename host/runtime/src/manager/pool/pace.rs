//! How many items a crew has at once: what it does in a moment, and a few for each process.
//!
//! The supervisor has them done in their order, whoever they are of. So who comes next waits for that moment; and of items that
//! take long, for those few. Were there always so few, then the processes would wait for items that take no time.

use std::time::{Duration, Instant};

/// What is done in this time is at work at once.
const MOMENT: Duration = Duration::from_millis(50);

/// Items for each process, at least.
const FEW: u64 = 4;

/// Items at all.
const MAX_AT_WORK: u64 = 2048;

/// Items of a chunk that stay together.
fn whole(chunk: u32) -> u64 {
    u64::from(chunk).clamp(1, MAX_AT_WORK)
}

#[derive(Debug)]
pub(super) struct Pace {
    processes: u64,
    /// Items that had their outcome since then.
    done: u64,
    since: Option<Instant>,
    most: u64,
}

impl Pace {
    pub(super) fn new(processes: u32) -> Self {
        let processes = u64::from(processes).clamp(1, MAX_AT_WORK / FEW);
        Self {
            processes,
            done: 0,
            since: None,
            most: processes * FEW,
        }
    }

    /// There are so many processes from now on.
    pub(super) fn resize(&mut self, processes: u32) {
        *self = Self::new(processes);
    }

    pub(super) fn one_is_done(&mut self) {
        self.done += 1;
    }

    /// Looks again how fast it is, when a moment has passed.
    pub(super) fn keep(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(*self.since.get_or_insert(now));
        if passed >= MOMENT {
            let in_a_moment = u128::from(self.done) * MOMENT.as_nanos() / passed.as_nanos();
            self.most = (in_a_moment as u64).clamp(self.processes * FEW, MAX_AT_WORK);
            self.done = 0;
            self.since = Some(now);
        }
    }

    /// How many items the crew has at once, when it is to take more of a client whose chunks have so many: two of those for each
    /// process, at least.
    pub(super) fn most(&self, chunk: u32) -> u64 {
        self.most.max(2 * self.processes * whole(chunk))
    }

    /// How many it takes at once of such a client: whole chunks.
    pub(super) fn part(&self, chunk: u32) -> u64 {
        let (part, chunk) = (self.most / (2 * self.processes), whole(chunk));
        if chunk <= part { part - part % chunk } else { chunk }
    }
}
