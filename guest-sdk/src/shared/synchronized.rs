use std::{ops::Deref, time::Duration};

use serde::{Deserialize, Serialize};

use super::{AnyLock, LockGuard, SharedError};

/// Something in shared memory, and its lock: a [`Value`](super::Value) or an [`Array`](super::Array).
///
/// It derefs to the raw one, whose operations take no lock.
///
/// CPython: `multiprocessing.sharedctypes.Synchronized`.
///
/// ```
/// use wasmp_guest::{Result, Value};
///
/// /// The next number of the series, which nobody else gets.
/// fn double(last: &Value<u64>) -> Result<u64> {
///     let last = last.lock()?;
///     let next = last.get()? * 2;
///     last.set(next)?;
///     Ok(next)
/// }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Synchronized<R>(R, AnyLock);

impl<R> Synchronized<R> {
    pub(crate) fn new_with(raw: R, lock: AnyLock) -> Self {
        Self(raw, lock)
    }

    /// Waits for the lock, and holds it until the result is dropped. CPython: `with value.get_lock():`.
    ///
    /// # Errors
    ///
    /// As any wait, it can be interrupted, and the lock's memory may have been overwritten.
    pub fn lock(&self) -> Result<Locked<'_, R>, SharedError> {
        self.1.lock().map(|guard| self.locked(guard))
    }

    /// As [`lock`](Self::lock), but no longer than so long: then `None`.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<Locked<'_, R>>, SharedError> {
        Ok(self.1.lock_timeout(timeout)?.map(|guard| self.locked(guard)))
    }

    /// As [`lock`](Self::lock), but only if nobody else holds it.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<Locked<'_, R>>, SharedError> {
        Ok(self.1.try_lock()?.map(|guard| self.locked(guard)))
    }

    fn locked<'l>(&'l self, guard: LockGuard<'l>) -> Locked<'l, R> {
        Locked { raw: &self.0, guard }
    }

    /// The lock.
    #[must_use]
    pub fn get_lock(&self) -> &AnyLock {
        &self.1
    }
}

/// Without the lock. CPython: `get_obj()`.
impl<R> Deref for Synchronized<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0
    }
}

/// A raw value or array whose lock is held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Locked<'l, R> {
    raw: &'l R,
    guard: LockGuard<'l>,
}

impl<R> Locked<'_, R> {
    /// Whether the worker that held the lock before has died with it: the value may be half written.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        self.guard.abandoned()
    }
}

impl<R> Deref for Locked<'_, R> {
    type Target = R;

    fn deref(&self) -> &R {
        self.raw
    }
}
