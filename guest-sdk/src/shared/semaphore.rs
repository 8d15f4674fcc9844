use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use wasmp_abi::Status;

use super::{
    ReleaseError, SharedError,
    handle::{self, Handle, SEMAPHORE},
    in_time,
};
use crate::host::objects::{Timeout, check, semaphore_acquire, semaphore_new, semaphore_release, semaphore_value};

/// A number of permits.
///
/// Two uses: [`permit`](Self::permit) borrows one, which comes back when the guard is dropped or its worker dies;
/// [`acquire`](Self::acquire) and [`release`](Self::release), which need not be the same worker's, are signals, and a
/// signal that was taken is not given again because somebody died.
///
/// CPython: `multiprocessing.Semaphore`.
///
/// ```
/// use wasmp_guest::{Result, Semaphore, task};
///
/// /// So many of these at once as the semaphore has permits.
/// #[task]
/// fn download(url: &str, connections: Semaphore) -> Result<String> {
///     let _permit = connections.permit()?;
///     Ok(format!("the contents of {url}"))
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Semaphore(Handle<SEMAPHORE>);

impl Semaphore {
    /// A new semaphore with so many permits.
    ///
    /// # Errors
    ///
    /// There are too many, the pool may have no more objects, or this is not a wasmp worker.
    pub fn new(value: u32) -> Result<Self, SharedError> {
        Self::make(value, false)
    }

    pub(crate) fn make(value: u32, bounded: bool) -> Result<Self, SharedError> {
        Handle::made(semaphore_new(value, bounded)).map(Self)
    }

    /// The semaphore of this name, from the command line.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn named(name: &str) -> Result<Self, SharedError> {
        Handle::find(name).map(Self)
    }

    /// Waits for a permit, and has it until the guard is dropped. CPython: `with semaphore:`.
    ///
    /// # Errors
    ///
    /// As any wait, it can be interrupted, and the semaphore's memory may have been overwritten.
    pub fn permit(&self) -> Result<Permit<'_>, SharedError> {
        self.take(true, Timeout::FOREVER)
            .map(|_| Permit(self))
            .map_err(SharedError::new)
    }

    /// As [`permit`](Self::permit), but no longer than so long: then `None`.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn permit_timeout(&self, timeout: Duration) -> Result<Option<Permit<'_>>, SharedError> {
        Ok(in_time(self.take(true, timeout.into()))?.map(|_| Permit(self)))
    }

    /// As [`permit`](Self::permit), but only if there is one.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn try_permit(&self) -> Result<Option<Permit<'_>>, SharedError> {
        Ok(in_time(self.take(true, Timeout::POLL))?.map(|_| Permit(self)))
    }

    /// Waits for a permit and takes it. CPython: `acquire()`.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn acquire(&self) -> Result<(), SharedError> {
        self.take(false, Timeout::FOREVER).map(drop).map_err(SharedError::new)
    }

    /// As [`acquire`](Self::acquire), but no longer than so long; the result is whether one was taken. CPython:
    /// `acquire(timeout=…)`.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, SharedError> {
        Ok(in_time(self.take(false, timeout.into()))?.is_some())
    }

    /// As [`acquire`](Self::acquire), but only if there is one; the result is whether one was taken. CPython:
    /// `acquire(block=False)`.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn try_acquire(&self) -> Result<bool, SharedError> {
        Ok(in_time(self.take(false, Timeout::POLL))?.is_some())
    }

    fn take(&self, held: bool, timeout: Timeout) -> Result<u32, Status> {
        check(semaphore_acquire(self.0.number(), held, timeout))
    }

    /// Gives a permit.
    ///
    /// # Errors
    ///
    /// The semaphore is bounded and has them all, or as many as it can count.
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.release_many(1)
    }

    /// Gives so many permits, or none.
    ///
    /// # Errors
    ///
    /// As those of [`release`](Self::release).
    pub fn release_many(&self, permits: u32) -> Result<(), ReleaseError> {
        self.give(false, permits)
    }

    fn give(&self, held: bool, permits: u32) -> Result<(), ReleaseError> {
        check(semaphore_release(self.0.number(), held, permits))
            .map(drop)
            .map_err(ReleaseError::new)
    }

    /// How many permits there are. CPython: `get_value()`.
    ///
    /// # Errors
    ///
    /// The semaphore's memory was overwritten.
    pub fn value(&self) -> Result<u32, SharedError> {
        check(semaphore_value(self.0.number())).map_err(SharedError::new)
    }
}

/// With how many permits there are.
impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        handle::debug(f, "Semaphore", self.value())
    }
}

/// A permit of a [`Semaphore`], which has it back when this is dropped.
#[derive(Debug)]
#[must_use = "the semaphore has the permit back when this is dropped"]
pub struct Permit<'s>(&'s Semaphore);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let _ = self.0.give(true, 1);
    }
}
