use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    LockGuard, ReleaseError, SharedError,
    handle::{self, Handle, RLOCK},
    lock_guard,
};
use crate::host::objects::{Timeout, check, lock_new, lock_release};

/// A lock that its owner may take again: it is free when it was released as often as acquired.
///
/// Only the worker that holds it can release it. Everything else is as with [`Lock`](super::Lock).
///
/// CPython: `multiprocessing.RLock`.
///
/// ```
/// use wasmp_guest::{RLock, Result, Value, task};
///
/// fn add(total: &Value<i64>, lock: &RLock, n: i64) -> Result<()> {
///     let _guard = lock.lock()?;
///     Ok(total.set(total.get()? + n)?)
/// }
///
/// /// Adds both numbers or, to everybody else, none.
/// #[task]
/// fn add_both(total: Value<i64>, lock: RLock, a: i64, b: i64) -> Result<()> {
///     let _guard = lock.lock()?;
///     add(&total, &lock, a)?;
///     add(&total, &lock, b)
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RLock(pub(super) Handle<RLOCK>);

impl RLock {
    /// A new lock, held by nobody.
    ///
    /// # Errors
    ///
    /// The pool may have no more objects, or this is not a wasmp worker.
    pub fn new() -> Result<Self, SharedError> {
        Handle::made(lock_new(true)).map(Self)
    }

    /// The lock of this name, from the command line.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn named(name: &str) -> Result<Self, SharedError> {
        Handle::find(name).map(Self)
    }

    /// Waits for the lock unless this worker holds it already, and holds it until the guard is dropped. CPython:
    /// `with lock:`.
    ///
    /// # Errors
    ///
    /// As any wait, it can be interrupted, and the lock's memory may have been overwritten.
    pub fn lock(&self) -> Result<LockGuard<'_>, SharedError> {
        LockGuard::wait(self.number())
    }

    /// As [`lock`](Self::lock), but no longer than so long: then `None`.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>, SharedError> {
        LockGuard::acquire(self.number(), timeout.into())
    }

    /// As [`lock`](Self::lock), but only if nobody else holds it.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_>>, SharedError> {
        LockGuard::acquire(self.number(), Timeout::POLL)
    }

    /// Waits for the lock, and keeps it until it is [released](Self::release). CPython: `acquire()`.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn acquire(&self) -> Result<(), SharedError> {
        self.lock().map(LockGuard::keep)
    }

    /// As [`acquire`](Self::acquire), but no longer than so long; the result is whether it was acquired. CPython:
    /// `acquire(timeout=…)`.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, SharedError> {
        Ok(self.lock_timeout(timeout)?.map(LockGuard::keep).is_some())
    }

    /// As [`acquire`](Self::acquire), but only if nobody else holds it; the result is whether it was acquired. CPython:
    /// `acquire(block=False)`.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn try_acquire(&self) -> Result<bool, SharedError> {
        Ok(self.try_lock()?.map(LockGuard::keep).is_some())
    }

    /// Releases the lock once.
    ///
    /// # Errors
    ///
    /// This worker does not hold it.
    pub fn release(&self) -> Result<(), ReleaseError> {
        check(lock_release(self.number())).map(drop).map_err(ReleaseError::new)
    }

    /// Whether anybody holds it, be it this worker.
    ///
    /// # Errors
    ///
    /// The lock's memory was overwritten.
    pub fn locked(&self) -> Result<bool, SharedError> {
        Ok(lock_guard::holder(self.number())?.is_some())
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.number()
    }
}

/// With who holds it, and how often.
impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        handle::debug(f, "RLock", lock_guard::state(self.number()))
    }
}
