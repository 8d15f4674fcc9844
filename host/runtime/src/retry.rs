//! What is tried again, how often, and after how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most doublings of the pause.
const MAX_DOUBLINGS: u32 = 10;

/// When an item that failed is tried again: by default when its worker process was lost under it, and then at once.
///
/// Only whoever knows the task can say whether running it twice does harm. `retries(n)` of a pool or a call is short for
/// `retry(Retry::times(n))`.
///
/// ```
/// use std::time::Duration;
/// use wasmp::Retry;
///
/// // Up to three more times, whatever went wrong, after 100 ms, 200 ms and 400 ms.
/// let retry = Retry::times(3).on_timeout().on_error().backoff(Duration::from_millis(100));
/// # let _ = retry;
/// ```
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[must_use = "a policy does nothing until a pool or a call gets it"]
pub struct Retry {
    times: u32,
    timeout: bool,
    error: bool,
    backoff: Duration,
}

/// What went wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The worker process is gone.
    Lost,
    /// It ran too long.
    Timeout,
    /// The task says so itself, or has trapped.
    Error,
}

impl Retry {
    /// An item whose worker died under it is tried again up to `times` times.
    pub fn times(times: u32) -> Self {
        Self {
            times,
            ..Self::default()
        }
    }

    /// Also one that ran longer than it may.
    pub fn on_timeout(mut self) -> Self {
        self.timeout = true;
        self
    }

    /// Also one that failed by itself: by an error, a panic, a trap or an exit.
    pub fn on_error(mut self) -> Self {
        self.error = true;
        self
    }

    /// Waits so long before the second attempt, and twice as long before each further one, up to 1024 times as long.
    /// Other items go on meanwhile.
    pub fn backoff(mut self, pause: Duration) -> Self {
        self.backoff = pause;
        self
    }

    /// How long to wait before an item is tried again that failed like this, after so many attempts; `None` if it is not.
    pub(crate) fn after(&self, mishap: Mishap, attempts: u32) -> Option<Duration> {
        let wanted = match mishap {
            Mishap::Lost => true,
            Mishap::Timeout => self.timeout,
            Mishap::Error => self.error,
        };
        let doublings = attempts.saturating_sub(1).min(MAX_DOUBLINGS);
        (wanted && attempts <= self.times).then(|| self.backoff.saturating_mul(1 << doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_worker_is_answered_unless_more_is_asked_for() {
        let retry = Retry::times(1);
        assert_eq!(retry.after(Mishap::Lost, 1), Some(Duration::ZERO));
        assert_eq!(retry.after(Mishap::Lost, 2), None);
        assert_eq!(retry.after(Mishap::Timeout, 1), None);
        assert_eq!(retry.after(Mishap::Error, 1), None);
        assert!(retry.on_timeout().after(Mishap::Timeout, 1).is_some());
        assert!(retry.on_error().after(Mishap::Error, 1).is_some());
        assert_eq!(Retry::default().after(Mishap::Lost, 1), None);
    }

    #[test]
    fn pauses_double() {
        let retry = Retry::times(u32::MAX).backoff(Duration::from_millis(3));
        let pause = |attempts| retry.after(Mishap::Lost, attempts).unwrap().as_millis();
        assert_eq!(
            [pause(1), pause(2), pause(3), pause(11), pause(400)],
            [3, 6, 12, 3072, 3072]
        );
    }
}
