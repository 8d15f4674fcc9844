//! What is done about items of a pool that take too long, or fail.

use std::time::Duration;

use wasmp_abi::Retry;

use super::{Fields, Writer};

/// What is done about items that take too long, or fail; of a call, where nothing is said, what the pool says.
///
/// ```text
/// nanoseconds u64 (0: nothing is said) │ whether something is said of retries u8 │ times u32 │ on u32 │ pause u64, nanoseconds
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long an item may take.
    pub timeout: Option<Duration>,
    /// When it is tried again.
    pub retry: Option<Retry>,
}

impl Policy {
    /// What it is where nothing is said of it but by this other one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            timeout: self.timeout.or(other.timeout),
            retry: self.retry.or(other.retry),
        }
    }

    /// How long an item may take, in nanoseconds; 0: any time.
    #[must_use]
    pub fn nanoseconds(&self) -> u64 {
        // No time at all is said by the shortest there is.
        self.timeout.map_or(0, |timeout| {
            u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1)
        })
    }

    /// Appends it.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.nanoseconds());
        writer.u8(self.retry.is_some().into());
        let (times, on, pause) = self.retry.unwrap_or_default().parts();
        writer.u32(times);
        writer.u32(on);
        writer.u64(pause);
    }

    /// The next of the fields.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (timeout, is_said) = fields.u64().zip(fields.u8())?;
        let ((times, on), pause) = fields.u32().zip(fields.u32()).zip(fields.u64())?;
        Some(Self {
            timeout: (timeout != 0).then(|| Duration::from_nanos(timeout)),
            retry: (is_said != 0).then(|| Retry::from_parts(times, on, pause)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_comes_back_as_it_was_written() {
        let retry = Retry::times(3).on_error().backoff(Duration::from_millis(2));
        for policy in [
            Policy::default(),
            Policy {
                timeout: Some(Duration::from_secs(1)),
                retry: Some(retry),
            },
            Policy {
                retry: Some(Retry::default()),
                ..Policy::default()
            },
        ] {
            let mut bytes = Vec::new();
            policy.write(&mut Writer(&mut bytes));
            let mut fields = Fields(&bytes);
            assert_eq!((Policy::read(&mut fields), fields.is_empty()), (Some(policy), true));
            assert_eq!(Policy::read(&mut Fields(&bytes[1..])), None);
        }
    }

    #[test]
    fn no_time_at_all_is_not_any_time() {
        let none = Policy {
            timeout: Some(Duration::ZERO),
            ..Policy::default()
        };
        assert_eq!((none.nanoseconds(), Policy::default().nanoseconds()), (1, 0));
    }

    #[test]
    fn what_a_call_says_goes_before_what_its_pool_says() {
        let pools = Policy {
            timeout: Some(Duration::from_secs(1)),
            retry: Some(Retry::times(3)),
        };
        let calls = Policy {
            retry: Some(Retry::times(0)),
            ..Policy::default()
        };
        assert_eq!(Policy::default().or(pools), pools);
        assert_eq!(
            calls.or(pools),
            Policy {
                timeout: pools.timeout,
                retry: calls.retry
            }
        );
    }
}
