//! Semaphores.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmp_ipc::{Limit, WaitError};

use super::error::{ReleaseError, SharedError};
use super::handle::{Handle, Shareable, object, sealed, travels, with_party};
use super::within;
use crate::error::Result;
use crate::objects::Shape;

/// A number of permits, up to 2³¹ - 1.
///
/// Two uses: [`permit`](Self::permit) borrows one, which comes back when the guard is dropped or its worker dies;
/// [`acquire`](Self::acquire) and [`release`](Self::release), which need not be the same process's, are signals, and a
/// signal that was taken is not given again because somebody died.
///
/// CPython: `multiprocessing.Semaphore`.
///
/// ```no_run
/// use wasmp::{Pool, Semaphore};
///
/// # fn main() -> wasmp::Result<()> {
/// let pool = Pool::builder("tasks.wasm").processes(8).build()?;
/// let connections = Semaphore::new(2)?; // at most two of the eight download at a time
/// let pages: Vec<String> = pool.starmap("download", [("a", &connections), ("b", &connections)])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Semaphore {
    handle: Handle,
}

impl From<Handle> for Semaphore {
    fn from(handle: Handle) -> Self {
        Self { handle }
    }
}

travels!(Semaphore, Semaphore);

impl Semaphore {
    /// A new semaphore with so many permits.
    ///
    /// # Errors
    ///
    /// There are too many, or the system has no memory or no descriptor for it.
    pub fn new(value: u32) -> Result<Self> {
        Self::make(value, false)
    }

    fn make(value: u32, bounded: bool) -> Result<Self> {
        Handle::create(&Shape::Semaphore { value, bounded }).map(Self::from)
    }

    /// Waits for a permit, and has it until the guard is dropped. CPython: `with semaphore:`.
    ///
    /// # Errors
    ///
    /// The semaphore's memory was overwritten, or the wait was interrupted.
    pub fn permit(&self) -> Result<Permit<'_>, SharedError> {
        self.borrow(Limit::Forever)?;
        Ok(Permit(self))
    }

    /// As [`permit`](Self::permit), but no longer than so long: then `None`.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn permit_timeout(&self, timeout: Duration) -> Result<Option<Permit<'_>>, SharedError> {
        let borrowed = SharedError::in_time(self.borrow(within(timeout)))?;
        Ok(borrowed.map(|()| Permit(self)))
    }

    /// As [`permit`](Self::permit), but only if there is one.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn try_permit(&self) -> Result<Option<Permit<'_>>, SharedError> {
        let borrowed = SharedError::in_time(self.borrow(Limit::Poll))?;
        Ok(borrowed.map(|()| Permit(self)))
    }

    fn borrow(&self, limit: Limit) -> Result<(), WaitError> {
        with_party(|party| object!(self.handle, Semaphore).acquire_held(party, limit))
    }

    /// Waits for a permit and takes it. CPython: `acquire()`.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn acquire(&self) -> Result<(), SharedError> {
        Ok(self.take(Limit::Forever)?)
    }

    /// As [`acquire`](Self::acquire), but no longer than so long; the result is whether one was taken. CPython:
    /// `acquire(timeout=…)`.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, SharedError> {
        Ok(SharedError::in_time(self.take(within(timeout)))?.is_some())
    }

    /// As [`acquire`](Self::acquire), but only if there is one; the result is whether one was taken. CPython:
    /// `acquire(block=False)`.
    ///
    /// # Errors
    ///
    /// As those of [`permit`](Self::permit).
    pub fn try_acquire(&self) -> Result<bool, SharedError> {
        Ok(SharedError::in_time(self.take(Limit::Poll))?.is_some())
    }

    fn take(&self, limit: Limit) -> Result<(), WaitError> {
        with_party(|party| object!(self.handle, Semaphore).acquire(party, limit))
    }

    /// Gives a permit.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::TooMany`]: the semaphore is bounded and has them all, or has as many as it can count.
    pub fn release(&self) -> Result<(), ReleaseError> {
        self.release_many(1)
    }

    /// Gives so many permits, or none.
    ///
    /// # Errors
    ///
    /// As those of [`release`](Self::release).
    pub fn release_many(&self, permits: u32) -> Result<(), ReleaseError> {
        Ok(with_party(|party| {
            object!(self.handle, Semaphore).release(party, permits)
        })?)
    }

    /// How many permits there are. CPython: `get_value()`.
    #[must_use]
    pub fn value(&self) -> u32 {
        object!(self.handle, Semaphore).value()
    }
}

/// A permit of a [`Semaphore`], which has it back when this is dropped.
#[derive(Debug)]
#[must_use = "the semaphore has the permit back when this is dropped"]
pub struct Permit<'s>(&'s Semaphore);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // It fails only if somebody else has given too many, or has overwritten the memory.
        let _ = with_party(|party| object!(self.0.handle, Semaphore).release_held(party, 1));
    }
}

/// A [`Semaphore`] that never has more permits than it had at first: to give one too many is an error.
///
/// CPython: `multiprocessing.BoundedSemaphore`.
///
/// ```
/// use wasmp::{BoundedSemaphore, ReleaseError};
///
/// # fn main() -> wasmp::Result<()> {
/// let semaphore = BoundedSemaphore::new(1)?;
/// assert_eq!(semaphore.release(), Err(ReleaseError::TooMany));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub struct BoundedSemaphore(Semaphore);

impl BoundedSemaphore {
    /// A new semaphore with so many permits, and never more.
    ///
    /// # Errors
    ///
    /// As those of [`Semaphore::new`].
    pub fn new(value: u32) -> Result<Self> {
        Semaphore::make(value, true).map(Self)
    }
}

impl Deref for BoundedSemaphore {
    type Target = Semaphore;

    fn deref(&self) -> &Semaphore {
        &self.0
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl sealed::Handle for BoundedSemaphore {
    fn handle(&self) -> &Handle {
        &self.0.handle
    }
}

impl Shareable for BoundedSemaphore {}
