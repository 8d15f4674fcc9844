//! How dense the replies of a pool come: whether it pays to look for them at intervals instead of being rung for each.

use std::time::Instant;

use super::POLL_INTERVAL;

/// So many replies in an interval are worth waiting for.
const DENSE: u128 = 4;

/// Replies, counted over about an interval at a time.
#[derive(Debug)]
pub(super) struct Flow {
    since: Instant,
    replies: u128,
    dense: bool,
}

impl Flow {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            replies: 0,
            dense: false,
        }
    }

    /// So many have come by now. Returns whether they are dense.
    pub(super) fn note(&mut self, now: Instant, replies: usize) -> bool {
        self.replies += replies as u128;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= POLL_INTERVAL {
            self.dense = self.replies * POLL_INTERVAL.as_nanos() >= DENSE * elapsed.as_nanos();
            (self.since, self.replies) = (now, 0);
        }
        self.dense
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether replies that come at this distance are dense at last.
    fn dense(distance: Duration) -> bool {
        let begin = Instant::now();
        let mut flow = Flow::new(begin);
        (1..100).fold(false, |_, number| flow.note(begin + distance * number, 1))
    }

    #[test]
    fn it_is_the_rate_that_counts_not_how_many_come_at_once() {
        assert!(dense(Duration::from_micros(12)));
        assert!(!dense(Duration::from_micros(40)));
    }

    #[test]
    fn a_pause_ends_it() {
        let begin = Instant::now();
        let mut flow = Flow::new(begin);
        assert!(flow.note(begin + POLL_INTERVAL, 10));
        assert!(flow.note(begin + POLL_INTERVAL, 1), "too early to say");
        assert!(!flow.note(begin + POLL_INTERVAL * 11, 1));
    }
}
