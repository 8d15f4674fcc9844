//! Whether what went wrong is tried again, and after how long.

use std::time::Duration;

use wasmp_abi::pool::{RETRY_ON_ERROR, RETRY_ON_TIMEOUT};

pub use wasmp_abi::Retry;

/// Most doublings of the pause.
const MAX_DOUBLINGS: u32 = 10;

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

impl Mishap {
    /// How long to wait before an item is tried again that failed like this, after so many attempts; `None` if it is not.
    pub(crate) fn pause(self, retry: Retry, attempts: u32) -> Option<Duration> {
        let (times, on, backoff) = retry.parts();
        let wanted = match self {
            Self::Lost => true,
            Self::Timeout => on & RETRY_ON_TIMEOUT != 0,
            Self::Error => on & RETRY_ON_ERROR != 0,
        };
        let doublings = attempts.saturating_sub(1).min(MAX_DOUBLINGS);
        (wanted && attempts <= times).then(|| Duration::from_nanos(backoff).saturating_mul(1 << doublings))
    }
}

/// As it is passed on.
pub(crate) mod parts {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Retry;

    pub(crate) fn serialize<S: Serializer>(retry: &Retry, serializer: S) -> Result<S::Ok, S::Error> {
        retry.parts().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Retry, D::Error> {
        let (times, on, backoff) = Deserialize::deserialize(deserializer)?;
        Ok(Retry::from_parts(times, on, backoff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_worker_is_answered_unless_more_is_asked_for() {
        let retry = Retry::times(1);
        assert_eq!(Mishap::Lost.pause(retry, 1), Some(Duration::ZERO));
        assert_eq!(Mishap::Lost.pause(retry, 2), None);
        assert_eq!(Mishap::Timeout.pause(retry, 1), None);
        assert_eq!(Mishap::Error.pause(retry, 1), None);
        assert!(Mishap::Timeout.pause(retry.on_timeout(), 1).is_some());
        assert!(Mishap::Error.pause(retry.on_error(), 1).is_some());
        assert_eq!(Mishap::Lost.pause(Retry::default(), 1), None);
    }

    #[test]
    fn pauses_double() {
        let retry = Retry::times(u32::MAX).backoff(Duration::from_millis(3));
        let pause = |attempts| Mishap::Lost.pause(retry, attempts).unwrap().as_millis();
        assert_eq!(
            [pause(1), pause(2), pause(3), pause(11), pause(400)],
            [3, 6, 12, 3072, 3072]
        );
    }
}
