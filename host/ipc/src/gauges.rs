//! What a process tells about itself while it works, to whoever looks.
//!
//! One process writes, anybody reads, nothing follows: each word stands for itself, all of them are hints, and a hostile
//! writer can only tell lies about itself. There is nothing to recover; what a dead process has written is its last word.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::memory::{Mapping, SharedLayout, View};

/// Nanoseconds of the monotonic clock: the same one for all processes of a machine, and that of [`std::time::Instant`].
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec as u64)
}

/// The words; all zero are new ones.
#[repr(C)]
#[derive(Debug)]
struct Words {
    memory: AtomicU64,
    peak_memory: AtomicU64,
    waited: AtomicU64,
    /// When the wait began that goes on; 0 if there is none.
    waiting_since: AtomicU64,
}

// SAFETY: `repr(C)`, atomics only.
unsafe impl SharedLayout for Words {}

/// The gauges of one process.
#[derive(Debug)]
pub struct Gauges(View<Words>);

impl Gauges {
    /// How many bytes they take.
    pub const BYTES: usize = size_of::<Words>();

    /// The gauges at byte `offset` of a mapping, a multiple of eight.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if that is not inside of the mapping.
    pub fn open(mapping: &Arc<Mapping>, offset: usize) -> io::Result<Gauges> {
        let words = mapping
            .view(offset)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "gauges outside of their mapping"))?;
        Ok(Gauges(words))
    }

    /// So many bytes of memory are in use.
    #[inline]
    pub fn uses_memory(&self, bytes: u64) {
        self.0.memory.store(bytes, Ordering::Relaxed);
        if bytes > self.0.peak_memory.load(Ordering::Relaxed) {
            self.0.peak_memory.store(bytes, Ordering::Relaxed);
        }
    }

    /// The bytes of memory that are in use.
    pub fn memory(&self) -> u64 {
        self.0.memory.load(Ordering::Relaxed)
    }

    /// The most bytes of memory that ever were in use.
    pub fn peak_memory(&self) -> u64 {
        self.0.peak_memory.load(Ordering::Relaxed)
    }

    /// Does something that is nothing but waiting.
    pub fn wait<T>(&self, wait: impl FnOnce() -> T) -> T {
        let began = monotonic();
        self.0.waiting_since.store(began, Ordering::Relaxed);
        let outcome = wait();
        // In this order, so that nobody counts the same time twice.
        self.0.waiting_since.store(0, Ordering::Relaxed);
        let waited = self.0.waited.load(Ordering::Relaxed);
        let took = monotonic().saturating_sub(began);
        self.0.waited.store(waited.saturating_add(took), Ordering::Relaxed);
        outcome
    }

    /// Nanoseconds spent waiting until now, the wait that goes on included.
    pub fn waited(&self) -> u64 {
        let since = self.0.waiting_since.load(Ordering::Relaxed);
        let waiting = if since == 0 {
            0
        } else {
            monotonic().saturating_sub(since)
        };
        self.0.waited.load(Ordering::Relaxed).saturating_add(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauges() -> Gauges {
        let (_, mapping) = Mapping::create("gauges", Gauges::BYTES).unwrap();
        Gauges::open(&Arc::new(mapping), 0).unwrap()
    }

    #[test]
    fn the_peak_stays() {
        let gauges = gauges();
        for bytes in [3, 70_000, 5] {
            gauges.uses_memory(bytes);
        }
        assert_eq!((gauges.memory(), gauges.peak_memory()), (5, 70_000));
    }

    #[test]
    fn a_wait_counts_while_it_lasts_and_after() {
        let gauges = gauges();
        let pause = std::time::Duration::from_millis(2);
        let during = gauges.wait(|| {
            std::thread::sleep(pause);
            gauges.waited()
        });
        assert!(during >= 2_000_000, "{during}");
        assert!(gauges.waited() >= during);
    }

    #[test]
    fn lies_are_only_numbers() {
        let gauges = gauges();
        gauges.0.waiting_since.store(u64::MAX, Ordering::Relaxed);
        gauges.0.waited.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(gauges.waited(), u64::MAX);
        gauges.0.waiting_since.store(1, Ordering::Relaxed);
        assert_eq!(gauges.waited(), u64::MAX);
    }
}
