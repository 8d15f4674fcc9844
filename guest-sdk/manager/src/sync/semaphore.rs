//! Semaphores.

use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{came, create, in_time, named, nanoseconds};
use crate::client::{Client, Proxy};
use crate::protocol::{FOREVER, Kind, Op};
use crate::{ManagerError, proxy, told};

/// A number of permits, in a manager. CPython: `SyncManager.Semaphore`.
///
/// Two uses: [`permit`](Self::permit) borrows one, which comes back when the guard is dropped or who has it is gone;
/// [`acquire`](Self::acquire) and [`release`](Self::release), which need not be the same one's, are signals, and a signal that
/// was taken is not given again because somebody is gone.
pub struct Semaphore<C: Client> {
    proxy: Proxy<C>,
    of: PhantomData<()>,
}

proxy!(Semaphore[], proxy);

impl<C: Client> Semaphore<C> {
    /// A new one with so many permits, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Invalid`] if they are too many; the others.
    pub fn new(client: &C, permits: u32) -> Result<Self, ManagerError> {
        let proxy = create(client, Kind::Semaphore, permits)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// The one of this name, in the manager that `client` reaches: a new one with so many permits if there was none. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn named(client: &C, name: &str, permits: u32) -> Result<Self, ManagerError> {
        let proxy = named(client, name, Kind::Semaphore, permits)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// Waits for a permit, and has it until the guard is dropped (CPython: `with semaphore:`).
    ///
    /// # Errors
    ///
    /// [`ManagerError::Interrupted`], and the others, as from every method.
    pub fn permit(&self) -> Result<Permit<'_, C>, ManagerError> {
        came(self.borrow(FOREVER)?)
    }

    /// As [`permit`](Self::permit), but no longer than `timeout`: then it is `None`.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn permit_timeout(&self, timeout: Duration) -> Result<Option<Permit<'_, C>>, ManagerError> {
        self.borrow(nanoseconds(timeout))
    }

    /// As [`permit`](Self::permit), but only if there is one.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn try_permit(&self) -> Result<Option<Permit<'_, C>>, ManagerError> {
        self.borrow(0)
    }

    fn borrow(&self, time: u64) -> Result<Option<Permit<'_, C>>, ManagerError> {
        Ok(self.take(true, time)?.then_some(Permit(self)))
    }

    /// Waits for a permit and takes it (CPython: `acquire()`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn acquire(&self) -> Result<(), ManagerError> {
        self.take(false, FOREVER).map(drop)
    }

    /// As [`acquire`](Self::acquire), but no longer than `timeout`. Returns whether one was taken.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        self.take(false, nanoseconds(timeout))
    }

    /// As [`acquire`](Self::acquire), but only if there is one. Returns whether one was taken.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn try_acquire(&self) -> Result<bool, ManagerError> {
        self.take(false, 0)
    }

    fn take(&self, held: bool, time: u64) -> Result<bool, ManagerError> {
        let taken = self.proxy.ask_for_long(
            Op::SemaphoreAcquire,
            |writer| {
                writer.u8(held.into());
                writer.u64(time);
                Ok(())
            },
            |status, fields| in_time(status, fields, |_| Ok(())),
        )?;
        Ok(taken.is_some())
    }

    /// One permit more.
    ///
    /// # Errors
    ///
    /// [`ManagerError::TooMany`] if there are as many as there may be; the others.
    pub fn release(&self) -> Result<(), ManagerError> {
        self.release_many(1)
    }

    /// So many permits more.
    ///
    /// # Errors
    ///
    /// As those of [`release`](Self::release), then there are as many as before; [`ManagerError::Invalid`] if they are none.
    pub fn release_many(&self, permits: u32) -> Result<(), ManagerError> {
        self.give_back(false, permits)
    }

    fn give_back(&self, held: bool, permits: u32) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::SemaphoreRelease,
            |writer| {
                writer.u8(held.into());
                writer.u32(permits);
                Ok(())
            },
            |_| Ok(()),
        )
    }

    /// How many permits there are (CPython: `get_value`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn value(&self) -> Result<u32, ManagerError> {
        self.proxy
            .ask(Op::SemaphoreValue, |_| Ok(()), |mut fields| told(fields.u32()))
    }
}

/// One permit of a [`Semaphore`], until it is dropped.
#[derive(Debug)]
#[must_use = "the permit comes back when the guard is dropped"]
pub struct Permit<'s, C: Client>(&'s Semaphore<C>);

impl<C: Client> Drop for Permit<'_, C> {
    fn drop(&mut self) {
        // Who was gone for the manager has it no more.
        let _ = self.0.give_back(true, 1);
    }
}

/// A [`Semaphore`] that never has more permits than at first: releasing more is [`ManagerError::TooMany`]. CPython:
/// `SyncManager.BoundedSemaphore`.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct BoundedSemaphore<C: Client>(Semaphore<C>);

impl<C: Client> BoundedSemaphore<C> {
    /// A new one with so many permits, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// As those of [`Semaphore::new`].
    pub fn new(client: &C, permits: u32) -> Result<Self, ManagerError> {
        let proxy = create(client, Kind::BoundedSemaphore, permits)?;
        Ok(Self(Semaphore { proxy, of: PhantomData }))
    }

    /// The one of this name, in the manager that `client` reaches: a new one with so many permits if there was none. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// As those of [`Semaphore::new`].
    pub fn named(client: &C, name: &str, permits: u32) -> Result<Self, ManagerError> {
        let proxy = named(client, name, Kind::BoundedSemaphore, permits)?;
        Ok(Self(Semaphore { proxy, of: PhantomData }))
    }
}

impl<C: Client> Deref for BoundedSemaphore<C> {
    type Target = Semaphore<C>;

    fn deref(&self) -> &Semaphore<C> {
        &self.0
    }
}

impl<C: Client> Clone for BoundedSemaphore<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Client> std::fmt::Debug for BoundedSemaphore<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BoundedSemaphore").field(&self.0.proxy).finish()
    }
}
