//! Locks.

use std::marker::PhantomData;
use std::sync::MutexGuard;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use wasmp_abi::ObjectKind;
use wasmp_ipc::{Acquired, Limit, WaitError};

use super::error::{ReleaseError, SharedError};
use super::handle::{Handle, object, travels, with_party};
use super::within;
use crate::error::Result;
use crate::objects::{Object, Shape};

/// What both kinds of locks have.
macro_rules! lock {
    ($(#[$doc:meta])* $lock:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $lock {
            handle: Handle,
        }

        impl From<Handle> for $lock {
            fn from(handle: Handle) -> Self {
                Self { handle }
            }
        }

        travels!($lock, $lock);

        impl $lock {
            /// A new one, which nobody holds.
            ///
            /// # Errors
            ///
            /// The system has no memory or no descriptor for it.
            pub fn new() -> Result<Self> {
                Handle::create(&Shape::$lock).map(Self::from)
            }

            /// Waits for the lock, and holds it until the guard is dropped. CPython: `with lock:`.
            ///
            /// # Errors
            ///
            /// The lock's memory was overwritten, or the wait was interrupted.
            pub fn lock(&self) -> Result<LockGuard<'_>, SharedError> {
                LockGuard::wait(&self.handle)
            }

            /// As [`lock`](Self::lock), but no longer than so long: then `None`.
            ///
            /// # Errors
            ///
            /// As those of [`lock`](Self::lock).
            pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>, SharedError> {
                LockGuard::acquire(&self.handle, within(timeout))
            }

            /// As [`lock`](Self::lock), but only if it need not be waited for.
            ///
            /// # Errors
            ///
            /// As those of [`lock`](Self::lock).
            pub fn try_lock(&self) -> Result<Option<LockGuard<'_>>, SharedError> {
                LockGuard::acquire(&self.handle, Limit::Poll)
            }

            /// Waits for the lock, and keeps it until it is [released](Self::release). CPython: `acquire()`.
            ///
            /// # Errors
            ///
            /// As those of [`lock`](Self::lock).
            pub fn acquire(&self) -> Result<(), SharedError> {
                self.lock().map(LockGuard::keep)
            }

            /// As [`acquire`](Self::acquire), but no longer than so long; the result is whether it was acquired.
            /// CPython: `acquire(timeout=…)`.
            ///
            /// # Errors
            ///
            /// As those of [`lock`](Self::lock).
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, SharedError> {
                Ok(self.lock_timeout(timeout)?.map(LockGuard::keep).is_some())
            }

            /// As [`acquire`](Self::acquire), but only if it need not be waited for; the result is whether it was
            /// acquired. CPython: `acquire(block=False)`.
            ///
            /// # Errors
            ///
            /// As those of [`lock`](Self::lock).
            pub fn try_acquire(&self) -> Result<bool, SharedError> {
                Ok(self.try_lock()?.map(LockGuard::keep).is_some())
            }

            /// Whether anybody holds it. CPython 3.14: `locked()`.
            #[must_use]
            pub fn locked(&self) -> bool {
                object!(self.handle, $lock).owner().is_some()
            }
        }
    };
}

lock! {
    /// Mutual exclusion between processes, and between the threads of one.
    ///
    /// [`lock`](Self::lock) gives a guard that releases it, the scoped use. [`acquire`](Self::acquire) and
    /// [`release`](Self::release) are Python's plain calls: whoever acquires it, anybody may release it. A thread that
    /// takes the lock twice waits for itself; [`RLock`] is for that. When a worker dies with the lock, the next one gets
    /// it, and its guard says that the lock was [`abandoned`](LockGuard::abandoned). While nobody waits, acquiring and
    /// releasing make no system call.
    ///
    /// CPython: `multiprocessing.Lock`.
    ///
    /// ```no_run
    /// use wasmp::{Lock, Pool};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder("tasks.wasm").build()?;
    /// let lock = Lock::new()?;
    /// let held = lock.lock()?;
    /// let result = pool.apply_async::<_, ()>("print_in_turn", (&lock, "hello"))?; // waits for the lock
    /// drop(held);
    /// result.get()?;
    /// # Ok(())
    /// # }
    /// ```
    Lock
}

lock! {
    /// A lock that its owner may take again: it is free when it was released as often as acquired.
    ///
    /// The owner is a worker, or a thread of the host; nobody else can release it. Everything else is as with [`Lock`].
    ///
    /// CPython: `multiprocessing.RLock`.
    ///
    /// ```
    /// use wasmp::RLock;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lock = RLock::new()?;
    /// let outer = lock.lock()?;
    /// let inner = lock.try_lock()?;
    /// assert!(inner.is_some());
    /// # Ok(())
    /// # }
    /// ```
    RLock
}

impl Lock {
    /// Releases the lock, whoever holds it. CPython: `release()`.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::TooMany`]: nobody holds it.
    pub fn release(&self) -> Result<(), ReleaseError> {
        release(&self.handle)
    }
}

impl RLock {
    /// Releases the lock once. CPython: `release()`.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::NotOwner`]: this thread does not hold it.
    pub fn release(&self) -> Result<(), ReleaseError> {
        release(&self.handle)
    }
}

fn acquire(lock: &Handle, limit: Limit) -> Result<Acquired, WaitError> {
    with_party(|party| match lock.object() {
        Object::RLock(lock) => lock.acquire(party, limit),
        _ => object!(lock, Lock).acquire(party, limit),
    })
}

fn release(lock: &Handle) -> Result<(), ReleaseError> {
    with_party(|party| match lock.object() {
        Object::RLock(lock) => lock.release(party),
        _ => object!(lock, Lock).release(party),
    })
    .map_err(ReleaseError::from)
}

/// Holds a lock, and releases it when it is dropped.
///
/// A lock that somebody else has released meanwhile stays as it is. The guard stays with the thread that made it.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'l> {
    lock: &'l Handle,
    abandoned: bool,
    /// An `RLock` belongs to a thread.
    thread: PhantomData<MutexGuard<'l, ()>>,
}

impl<'l> LockGuard<'l> {
    fn acquire(lock: &'l Handle, limit: Limit) -> Result<Option<Self>, SharedError> {
        let acquired = SharedError::in_time(acquire(lock, limit))?;
        Ok(acquired.map(|acquired| Self::of(lock, acquired)))
    }

    fn wait(lock: &'l Handle) -> Result<Self, SharedError> {
        Ok(Self::of(lock, acquire(lock, Limit::Forever)?))
    }

    fn of(lock: &'l Handle, Acquired { abandoned }: Acquired) -> Self {
        Self {
            lock,
            abandoned,
            thread: PhantomData,
        }
    }

    /// Whether the worker that held the lock before has died with it: what the lock is there for may be half done. The
    /// first one after is told, once.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        self.abandoned
    }

    /// The lock was abandoned while a condition had it.
    pub(super) fn set_abandoned(&mut self) {
        self.abandoned = true;
    }

    /// Whether it is this lock that it holds.
    pub(super) fn holds(&self, lock: &AnyLock) -> bool {
        std::ptr::eq(self.lock.object(), lock.handle().object())
    }

    /// Leaves the lock acquired.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        // It fails only if somebody else has released the lock, or has overwritten its memory.
        let _ = release(self.lock);
    }
}

/// A lock of either kind: what a [`Condition`](super::Condition), a [`Value`](super::Value) or an
/// [`Array`](super::Array) goes with.
///
/// ```
/// use wasmp::{Array, Value};
///
/// /// Both under one lock.
/// fn stock() -> wasmp::Result<(Value<u64>, Array<u32>)> {
///     let total = Value::new(0)?;
///     let parts = Array::with_lock(100, total.get_lock())?;
///     Ok((total, parts))
/// }
/// # stock().unwrap();
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum AnyLock {
    /// One that anybody may release.
    Lock(Lock),
    /// One that its owner may take again.
    RLock(RLock),
}

impl AnyLock {
    /// See [`Lock::lock`].
    ///
    /// # Errors
    ///
    /// As those of [`Lock::lock`].
    pub fn lock(&self) -> Result<LockGuard<'_>, SharedError> {
        LockGuard::wait(self.handle())
    }

    /// See [`Lock::lock_timeout`].
    ///
    /// # Errors
    ///
    /// As those of [`Lock::lock`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>, SharedError> {
        LockGuard::acquire(self.handle(), within(timeout))
    }

    /// See [`Lock::try_lock`].
    ///
    /// # Errors
    ///
    /// As those of [`Lock::lock`].
    pub fn try_lock(&self) -> Result<Option<LockGuard<'_>>, SharedError> {
        LockGuard::acquire(self.handle(), Limit::Poll)
    }

    pub(super) fn handle(&self) -> &Handle {
        match self {
            Self::Lock(lock) => &lock.handle,
            Self::RLock(lock) => &lock.handle,
        }
    }
}

impl From<&Lock> for AnyLock {
    fn from(lock: &Lock) -> Self {
        Self::Lock(lock.clone())
    }
}

impl From<&RLock> for AnyLock {
    fn from(lock: &RLock) -> Self {
        Self::RLock(lock.clone())
    }
}

impl From<&Self> for AnyLock {
    fn from(lock: &Self) -> Self {
        lock.clone()
    }
}

impl<'de> Deserialize<'de> for AnyLock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = Handle::deserialize(&[ObjectKind::Lock, ObjectKind::RLock], deserializer)?;
        Ok(match handle.object() {
            Object::RLock(_) => Self::RLock(handle.into()),
            _ => Self::Lock(handle.into()),
        })
    }
}
