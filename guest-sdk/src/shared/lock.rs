use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    LockGuard, ReleaseError, SharedError,
    handle::{self, Handle, LOCK},
    lock_guard,
};
use crate::host::objects::{Timeout, check, lock_new, lock_release};

/// Mutual exclusion between workers.
///
/// [`lock`](Self::lock) gives a guard that releases it, the scoped use. [`acquire`](Self::acquire) and
/// [`release`](Self::release) are Python's plain calls: whoever acquires it, any worker may release it. A worker that
/// takes the lock twice waits for itself; [`RLock`](super::RLock) is for that. When a worker dies with the lock, the
/// next one gets it, and its guard says that the lock was [`abandoned`](LockGuard::abandoned).
///
/// CPython: `multiprocessing.Lock`.
///
/// ```
/// use wasmp_guest::{Lock, Result, Value, task};
///
/// /// Takes a ticket: no number is given out twice.
/// #[task]
/// fn ticket(last: Value<u64>, lock: Lock) -> Result<u64> {
///     let _guard = lock.lock()?;
///     last.set(last.get()? + 1)?;
///     Ok(last.get()?)
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lock(pub(super) Handle<LOCK>);

impl Lock {
    /// A new lock, held by nobody.
    ///
    /// # Errors
    ///
    /// The pool may have no more objects, or this is not a wasmp worker.
    pub fn new() -> Result<Self, SharedError> {
        Handle::made(lock_new(false)).map(Self)
    }

    /// The lock of this name, from the command line: `--lock name`.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn named(name: &str) -> Result<Self, SharedError> {
        Handle::find(name).map(Self)
    }

    /// Waits for the lock, and holds it until the guard is dropped. CPython: `with lock:`.
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

    /// As [`lock`](Self::lock), but only if nobody holds it.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_>>, SharedError> {
        LockGuard::acquire(self.number(), Timeout::POLL)
    }

    /// Waits for the lock, and keeps it until somebody [releases](Self::release) it. CPython: `acquire()`.
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

    /// As [`acquire`](Self::acquire), but only if nobody holds it; the result is whether it was acquired. CPython:
    /// `acquire(block=False)`.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn try_acquire(&self) -> Result<bool, SharedError> {
        Ok(self.try_lock()?.map(LockGuard::keep).is_some())
    }

    /// Releases the lock, whoever holds it.
    ///
    /// # Errors
    ///
    /// Nobody holds it.
    pub fn release(&self) -> Result<(), ReleaseError> {
        check(lock_release(self.number())).map(drop).map_err(ReleaseError::new)
    }

    /// Whether anybody holds it.
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

/// With who holds it.
impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        handle::debug(f, "Lock", lock_guard::state(self.number()))
    }
}
