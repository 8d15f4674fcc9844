use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wasmp_abi::Status;

use super::{
    AnyLock, ConditionError, LockGuard, RLock, SharedError,
    handle::{CONDITION, Handle},
};
use crate::{
    Result,
    host::objects::{Timeout, check, condition_new, condition_notify, condition_wait},
};

/// Something to be notified about, under a lock.
///
/// To wait, hold the lock: it is released meanwhile, however often this worker has taken it, and taken again before the
/// wait ends. To notify, hold the lock as well.
///
/// CPython: `multiprocessing.Condition`.
///
/// ```
/// use wasmp_guest::{Condition, RawValue, Result, task};
///
/// /// Waits until there are so many.
/// #[task]
/// fn wait_for(count: RawValue<u32>, changed: Condition, enough: u32) -> Result<u32> {
///     let mut guard = changed.lock()?;
///     changed.wait_for(&mut guard, || Ok(count.get()? >= enough))?;
///     Ok(count.get()?)
/// }
///
/// /// One more.
/// #[task]
/// fn increment(count: RawValue<u32>, changed: Condition) -> Result<()> {
///     let _guard = changed.lock()?;
///     count.set(count.get()? + 1)?;
///     Ok(changed.notify_all()?)
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Condition(Handle<CONDITION>, AnyLock);

impl Condition {
    /// A new condition with an [`RLock`] of its own.
    ///
    /// # Errors
    ///
    /// The pool may have no more objects, or this is not a wasmp worker.
    pub fn new() -> Result<Self, SharedError> {
        Self::with_lock(&RLock::new()?)
    }

    /// A new condition that goes with this lock.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn with_lock(lock: impl Into<AnyLock>) -> Result<Self, SharedError> {
        Ok(Self(Handle::made(condition_new())?, lock.into()))
    }

    /// Waits for the condition's lock, and holds it until the guard is dropped. CPython: `with condition:`.
    ///
    /// # Errors
    ///
    /// As those of [`Lock::lock`](super::Lock::lock).
    pub fn lock(&self) -> Result<LockGuard<'_>, SharedError> {
        self.1.lock()
    }

    /// The lock that it goes with.
    #[must_use]
    pub fn get_lock(&self) -> &AnyLock {
        &self.1
    }

    /// Releases the lock, waits to be notified, and takes the lock again. The guard then also knows whether the lock
    /// was [abandoned](LockGuard::abandoned) meanwhile.
    ///
    /// # Errors
    ///
    /// The guard is that of another lock. As any wait, it can be interrupted, and the condition's or the lock's memory
    /// may have been overwritten.
    pub fn wait(&self, guard: &mut LockGuard<'_>) -> Result<(), ConditionError> {
        self.sleep(guard, Timeout::FOREVER).map_err(ConditionError::new)
    }

    /// As [`wait`](Self::wait), but no longer than so long; the result is whether it was notified. The lock is taken
    /// again in any case.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, guard: &mut LockGuard<'_>, timeout: Duration) -> Result<bool, ConditionError> {
        match self.sleep(guard, timeout.into()) {
            Err(Status::TimedOut) => Ok(false),
            other => other.map(|()| true).map_err(ConditionError::new),
        }
    }

    fn sleep(&self, guard: &mut LockGuard<'_>, timeout: Timeout) -> Result<(), Status> {
        let abandoned = check(condition_wait(self.0.number(), self.1.number(), timeout))?;
        guard.note(abandoned);
        Ok(())
    }

    /// Waits until `predicate` holds. It is asked at first, and whenever the condition was notified.
    ///
    /// # Errors
    ///
    /// Those of the predicate, and those of [`wait`](Self::wait).
    pub fn wait_for(&self, guard: &mut LockGuard<'_>, mut predicate: impl FnMut() -> Result<bool>) -> Result<()> {
        while !predicate()? {
            self.wait(guard)?;
        }
        Ok(())
    }

    /// As [`wait_for`](Self::wait_for), but no longer than so long; the result is what the predicate said last.
    ///
    /// # Errors
    ///
    /// As those of [`wait_for`](Self::wait_for).
    pub fn wait_for_timeout(
        &self,
        guard: &mut LockGuard<'_>,
        timeout: Duration,
        mut predicate: impl FnMut() -> Result<bool>,
    ) -> Result<bool> {
        let start = Instant::now();
        while !predicate()? {
            let rest = timeout.saturating_sub(start.elapsed());
            if rest.is_zero() {
                return Ok(false);
            }
            self.wait_timeout(guard, rest)?;
        }
        Ok(true)
    }

    /// Wakes so many of those who wait, the oldest first.
    ///
    /// # Errors
    ///
    /// This worker does not hold the lock, or the condition's memory was overwritten.
    pub fn notify(&self, waiters: u32) -> Result<(), ConditionError> {
        self.wake(i32::try_from(waiters).unwrap_or(i32::MAX))
    }

    /// Wakes all who wait.
    ///
    /// # Errors
    ///
    /// As those of [`notify`](Self::notify).
    pub fn notify_all(&self) -> Result<(), ConditionError> {
        self.wake(-1)
    }

    fn wake(&self, waiters: i32) -> Result<(), ConditionError> {
        check(condition_notify(self.0.number(), self.1.number(), waiters))
            .map(drop)
            .map_err(ConditionError::new)
    }
}
