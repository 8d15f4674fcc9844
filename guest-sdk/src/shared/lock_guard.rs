use std::{fmt, marker::PhantomData, mem};

use super::{SharedError, in_time};
use crate::host::objects::{Timeout, check, lock_acquire, lock_count, lock_release};

/// Holds a lock, and releases it when it is dropped.
///
/// A lock that somebody else has released meanwhile stays as it is.
///
/// ```
/// use wasmp_guest::{Lock, Result, SharedMemory};
///
/// fn append(log: &SharedMemory, lock: &Lock) -> Result<()> {
///     let guard = lock.lock()?;
///     if guard.abandoned() {
///         // Who held the lock died in the middle of something.
///         log.write(0, &[0; 8])?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'l> {
    number: u32,
    abandoned: bool,
    lock: PhantomData<&'l ()>,
}

impl LockGuard<'_> {
    /// Acquires the lock or the rlock of this number, however long it takes.
    pub(crate) fn wait(number: u32) -> Result<Self, SharedError> {
        check(lock_acquire(number, Timeout::FOREVER))
            .map(|abandoned| Self::new(number, abandoned))
            .map_err(SharedError::new)
    }

    /// As [`wait`](Self::wait), but only if it does not take too long.
    pub(crate) fn acquire(number: u32, timeout: Timeout) -> Result<Option<Self>, SharedError> {
        let acquired = in_time(check(lock_acquire(number, timeout)))?;
        Ok(acquired.map(|abandoned| Self::new(number, abandoned)))
    }

    fn new(number: u32, abandoned: u32) -> Self {
        Self {
            number,
            abandoned: abandoned != 0,
            lock: PhantomData,
        }
    }

    /// Whether the worker that held the lock before has died with it: what the lock is there for may be half done.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        self.abandoned
    }

    /// A condition has released the lock and taken it again; 1: it was abandoned meanwhile.
    pub(crate) fn note(&mut self, abandoned: u32) {
        self.abandoned |= abandoned != 0;
    }

    /// Leaves the lock acquired.
    pub(crate) fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        let _ = check(lock_release(self.number));
    }
}

/// What the host says of a lock that another worker holds.
const LOCKED_ELSEWHERE: u32 = wasmp_abi::LOCKED_ELSEWHERE.cast_unsigned();

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// This worker, so often.
    This(u32),
    Another,
}

pub(crate) fn holder(number: u32) -> Result<Option<Holder>, SharedError> {
    Ok(match check(lock_count(number)).map_err(SharedError::new)? {
        0 => None,
        LOCKED_ELSEWHERE => Some(Holder::Another),
        times => Some(Holder::This(times)),
    })
}

/// Who holds a lock, in words.
pub(crate) fn state(number: u32) -> Result<impl fmt::Display, SharedError> {
    Ok(match holder(number)? {
        None => "free".to_owned(),
        Some(Holder::This(1)) => "held by this worker".to_owned(),
        Some(Holder::This(times)) => format!("held by this worker, {times} times"),
        Some(Holder::Another) => "held by another worker".to_owned(),
    })
}
