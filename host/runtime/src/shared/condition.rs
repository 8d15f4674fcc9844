//! Conditions.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmp_ipc::{Limit, Waited};

use super::error::{ConditionError, SharedError};
use super::handle::{Handle, object, travels, with_party};
use super::lock::{AnyLock, LockGuard, RLock};
use super::within;
use crate::error::Result;
use crate::objects::{Object, Shape};

/// Something to be notified about, under a lock.
///
/// To wait, hold the lock: it is released meanwhile, however often its owner has taken it, and taken again before the wait
/// ends. To notify, hold the lock as well.
///
/// CPython: `multiprocessing.Condition`.
///
/// ```no_run
/// use wasmp::{Condition, Pool, RawValue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let (count, changed) = (RawValue::new(0_u32)?, Condition::new()?);
/// let workers = (0..3)
///     .map(|_| pool.apply_async::<_, ()>("increment", (&count, &changed)))
///     .collect::<wasmp::Result<Vec<_>>>()?;
/// let mut guard = changed.lock()?;
/// changed.wait_for(&mut guard, || count.get() == 3)?;
/// # drop(workers);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Condition(Bell, AnyLock);

/// The object without its lock.
#[derive(Clone)]
struct Bell {
    handle: Handle,
}

impl From<Handle> for Bell {
    fn from(handle: Handle) -> Self {
        Self { handle }
    }
}

travels!(Bell, Condition);

impl Condition {
    /// A new condition with an [`RLock`] of its own.
    ///
    /// # Errors
    ///
    /// The system has no memory or no descriptor for it.
    pub fn new() -> Result<Self> {
        Self::with_lock(&RLock::new()?)
    }

    /// A new condition that goes with this lock.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn with_lock(lock: impl Into<AnyLock>) -> Result<Self> {
        Ok(Self(Handle::create(&Shape::Condition)?.into(), lock.into()))
    }

    /// Waits for the condition's lock, and holds it until the guard is dropped. CPython: `with condition:`.
    ///
    /// # Errors
    ///
    /// The lock's memory was overwritten, or the wait was interrupted.
    pub fn lock(&self) -> Result<LockGuard<'_>, SharedError> {
        self.1.lock()
    }

    /// The lock that it goes with.
    #[must_use]
    pub fn get_lock(&self) -> &AnyLock {
        &self.1
    }

    /// Releases the lock, waits to be notified, and takes the lock again. The guard then also knows whether the lock was
    /// [abandoned](LockGuard::abandoned) meanwhile.
    ///
    /// # Errors
    ///
    /// [`ConditionError::NotOwner`]: the guard is that of another lock. The condition's or the lock's memory was
    /// overwritten, or the wait was interrupted.
    pub fn wait(&self, guard: &mut LockGuard<'_>) -> Result<(), ConditionError> {
        self.wait_within(guard, Limit::Forever).map(drop)
    }

    /// As [`wait`](Self::wait), but no longer than so long; the result is whether it was notified. The lock is taken again
    /// in any case.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, guard: &mut LockGuard<'_>, timeout: Duration) -> Result<bool, ConditionError> {
        self.wait_within(guard, within(timeout))
    }

    /// Waits until `predicate` holds. It is asked at first, and whenever the condition was notified.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_for(
        &self,
        guard: &mut LockGuard<'_>,
        mut predicate: impl FnMut() -> bool,
    ) -> Result<(), ConditionError> {
        while !predicate() {
            self.wait(guard)?;
        }
        Ok(())
    }

    /// As [`wait_for`](Self::wait_for), but no longer than so long; the result is what the predicate said last.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_for_timeout(
        &self,
        guard: &mut LockGuard<'_>,
        timeout: Duration,
        mut predicate: impl FnMut() -> bool,
    ) -> Result<bool, ConditionError> {
        let limit = within(timeout);
        while !predicate() {
            if !self.wait_within(guard, limit)? {
                return Ok(predicate());
            }
        }
        Ok(true)
    }

    fn wait_within(&self, guard: &mut LockGuard<'_>, limit: Limit) -> Result<bool, ConditionError> {
        if !guard.holds(&self.1) {
            return Err(ConditionError::NotOwner);
        }
        let condition = object!(self.0.handle, Condition);
        let Waited { notified, abandoned } = with_party(|party| match self.1.handle().object() {
            Object::RLock(lock) => condition.wait(party, lock, limit),
            _ => condition.wait(party, object!(self.1.handle(), Lock), limit),
        })?;
        if abandoned {
            guard.set_abandoned();
        }
        Ok(notified)
    }

    /// Wakes so many of those who wait, the oldest first.
    ///
    /// # Errors
    ///
    /// [`ConditionError::NotOwner`]: this thread does not hold the lock. The condition's memory was overwritten.
    pub fn notify(&self, waiters: u32) -> Result<(), ConditionError> {
        self.wake(waiters as usize)
    }

    /// Wakes all who wait.
    ///
    /// # Errors
    ///
    /// As those of [`notify`](Self::notify).
    pub fn notify_all(&self) -> Result<(), ConditionError> {
        self.wake(usize::MAX)
    }

    fn wake(&self, waiters: usize) -> Result<(), ConditionError> {
        let condition = object!(self.0.handle, Condition);
        with_party(|party| match self.1.handle().object() {
            Object::RLock(lock) => condition.notify(party, lock, waiters),
            _ => condition.notify(party, object!(self.1.handle(), Lock), waiters),
        })?;
        Ok(())
    }
}
