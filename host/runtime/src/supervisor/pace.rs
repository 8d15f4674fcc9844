//! How much work a worker is given ahead of time.
//!
//! Too little, and it idles while the host is busy elsewhere; too much, and items wait behind a slow one while other
//! workers idle. So the window is an amount of *time*, counted in items by what an item has lately taken. It starts at
//! one item and doubles as long as the worker keeps up, like a connection's congestion window.

use std::time::{Duration, Instant};

/// How long a full window should keep a worker busy.
const WINDOW_TIME: Duration = Duration::from_millis(2);

/// Most items in a window.
const MAX_WINDOW: usize = 4096;

/// Most items in one call of the guest, when the caller leaves the choice to the pool.
const MAX_CHUNK: usize = 64;

#[derive(Debug)]
pub(super) struct Pace {
    /// Nanoseconds an item takes, as far as known.
    per_item: Option<f64>,
    window: usize,
    /// When the worker last began or delivered something.
    since: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            per_item: None,
            window: 1,
            since: now,
        }
    }

    /// How many items may be under way.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// How many items to put into one call.
    pub(super) fn chunk(&self) -> usize {
        (self.window / 8).clamp(1, MAX_CHUNK)
    }

    /// An idle worker was given work.
    pub(super) fn began(&mut self, now: Instant) {
        self.since = now;
    }

    /// `items` outcomes were found; `dry` if nothing is left under way, so that the worker may have idled since.
    pub(super) fn delivered(&mut self, items: usize, dry: bool, now: Instant) {
        let sample = (now.saturating_duration_since(self.since).as_nanos() as f64 / items as f64).max(1.0);
        self.since = now;
        let known = self.per_item.unwrap_or(sample);
        let estimate = if dry {
            // Only an upper bound: it contains whatever time passed until somebody looked.
            sample.min(known * 1.05)
        } else {
            (known + sample) / 2.0
        };
        self.per_item = Some(estimate);
        let target = (WINDOW_TIME.as_nanos() as f64 / estimate) as usize;
        self.window = target.min(self.window * 2).clamp(1, MAX_WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that takes `item` for each item and is looked at every `look`.
    fn settle(item: Duration, look: Duration) -> usize {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..200 {
            pace.began(now);
            let busy = item * u32::try_from(pace.window()).unwrap();
            now += busy.max(look);
            pace.delivered(pace.window(), true, now);
        }
        pace.window()
    }

    #[test]
    fn a_worker_with_long_tasks_gets_one_at_a_time() {
        assert_eq!(settle(Duration::from_millis(50), Duration::from_micros(10)), 1);
    }

    #[test]
    fn a_worker_with_tiny_tasks_gets_many() {
        assert!(settle(Duration::from_nanos(500), Duration::from_micros(10)) >= 1024);
    }

    #[test]
    fn a_host_that_looks_rarely_does_not_starve_its_worker() {
        assert!(settle(Duration::from_nanos(500), Duration::from_micros(300)) >= 100);
    }
}
