//! What is tried again, how often, and after how long.

use core::time::Duration;

use crate::pool::{RETRY_ON_ERROR, RETRY_ON_TIMEOUT};

/// When an item that failed is tried again: by default when its worker process was lost under it, and then at once.
///
/// Only whoever knows the task can say whether running it twice does harm.
///
/// ```
/// # use wasmp_abi::Retry;
/// use std::time::Duration;
///
/// // Up to three more times, whatever went wrong, after 100 ms, 200 ms and 400 ms.
/// let retry = Retry::times(3).on_timeout().on_error().backoff(Duration::from_millis(100));
/// # let _ = retry;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "a policy does nothing until a pool or a call gets it"]
pub struct Retry {
    times: u32,
    /// `RETRY_ON_…`.
    on: u32,
    backoff: Duration,
}

impl Retry {
    /// An item whose worker died under it is tried again up to `times` times.
    pub const fn times(times: u32) -> Self {
        Self {
            times,
            on: 0,
            backoff: Duration::ZERO,
        }
    }

    /// Also one that ran longer than it may.
    pub const fn on_timeout(mut self) -> Self {
        self.on |= RETRY_ON_TIMEOUT;
        self
    }

    /// Also one that failed by itself: by an error, a panic, a trap or an exit.
    pub const fn on_error(mut self) -> Self {
        self.on |= RETRY_ON_ERROR;
        self
    }

    /// Waits so long before the second attempt, and twice as long before each further one, up to 1024 times as long. Other items
    /// go on meanwhile.
    pub const fn backoff(mut self, pause: Duration) -> Self {
        self.backoff = pause;
        self
    }

    /// As it is passed on: how often, on what (`RETRY_ON_…`), and the nanoseconds of the first pause.
    #[doc(hidden)]
    #[must_use]
    pub fn parts(self) -> (u32, u32, u64) {
        let backoff = u64::try_from(self.backoff.as_nanos()).unwrap_or(u64::MAX);
        (self.times, self.on, backoff)
    }

    /// The other way round.
    #[doc(hidden)]
    pub const fn from_parts(times: u32, on: u32, backoff: u64) -> Self {
        Self {
            times,
            on,
            backoff: Duration::from_nanos(backoff),
        }
    }
}
