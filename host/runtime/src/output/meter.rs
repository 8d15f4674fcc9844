//! How much of what a guest prints is passed on: so many bytes a second.

use std::collections::HashMap;
use std::time::Instant;

/// What a writer may pass on each second, and at once after a second's pause.
#[derive(Debug)]
pub(super) struct Meter {
    rate: u64,
    workers: HashMap<u32, Allowance>,
}

#[derive(Debug)]
struct Allowance {
    /// Bytes that may still be passed on. Less than nothing after a line that was longer.
    left: f64,
    /// When that was so.
    at: Instant,
    /// Bytes that were dropped, and nobody was told of.
    dropped: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    Passed {
        /// Bytes that were dropped before it, and nobody was told of.
        dropped: u64,
    },
    Dropped,
}

impl Meter {
    pub(super) fn new(rate: u64) -> Self {
        Self {
            rate,
            workers: HashMap::new(),
        }
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// Judges a line. One that begins while anything is left is passed on as a whole, however long it is.
    pub(super) fn admit(&mut self, worker: u32, len: usize, now: Instant) -> Admitted {
        let rate = self.rate as f64;
        let allowance = self.workers.entry(worker).or_insert(Allowance {
            left: rate,
            at: now,
            dropped: 0,
        });
        let passed = now.saturating_duration_since(allowance.at).as_secs_f64();
        allowance.left = (allowance.left + passed * rate).min(rate);
        allowance.at = now;
        if allowance.left <= 0.0 {
            allowance.dropped += len as u64;
            return Admitted::Dropped;
        }
        allowance.left -= len as f64;
        Admitted::Passed {
            dropped: std::mem::take(&mut allowance.dropped),
        }
    }

    /// The process is gone. Returns how much was dropped that nobody was told of.
    pub(super) fn forget(&mut self, worker: u32) -> u64 {
        self.workers.remove(&worker).map_or(0, |allowance| allowance.dropped)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_too_much_for_a_second_is_dropped_and_counted() {
        let start = Instant::now();
        let mut meter = Meter::new(100);
        let passed = |dropped| Admitted::Passed { dropped };
        assert_eq!(meter.admit(1, 60, start), passed(0));
        assert_eq!(meter.admit(1, 60, start), passed(0), "something was left");
        assert_eq!(meter.admit(1, 60, start), Admitted::Dropped);
        assert_eq!(meter.admit(1, 7, start + Duration::from_millis(100)), Admitted::Dropped);
        assert_eq!(meter.admit(2, 60, start), passed(0), "each worker has its own");
        assert_eq!(meter.admit(1, 1, start + Duration::from_millis(300)), passed(67));
        assert_eq!(meter.admit(1, 1, start + Duration::from_millis(300)), passed(0));
    }

    #[test]
    fn a_pause_allows_for_one_second_and_no_more() {
        let start = Instant::now();
        let mut meter = Meter::new(100);
        meter.admit(1, 1, start);
        let later = start + Duration::from_secs(1000);
        assert_eq!(meter.admit(1, 100, later), Admitted::Passed { dropped: 0 });
        assert_eq!(meter.admit(1, 1, later), Admitted::Dropped);
        assert_eq!(meter.forget(1), 1);
        assert_eq!(
            meter.admit(1, 1, later),
            Admitted::Passed { dropped: 0 },
            "another process"
        );
    }
}
