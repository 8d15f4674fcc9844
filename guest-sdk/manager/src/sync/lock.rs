//! Locks.

use std::marker::PhantomData;
use std::sync::MutexGuard;
use std::time::Duration;

use super::{came, create, in_time, named, nanoseconds};
use crate::client::{Client, Proxy};
use crate::protocol::{ANY_FENCE, ELSEWHERE, FOREVER, Fields, Kind, Op};
use crate::{ManagerError, proxy, told};

macro_rules! lock {
    ($(#[$meta:meta])* $name:ident, $release:literal) => {
        $(#[$meta])*
        pub struct $name<C: Client> {
            proxy: Proxy<C>,
            of: PhantomData<()>,
        }

        proxy!($name[], proxy);

        impl<C: Client> $name<C> {
            /// A new one that nobody holds, in the manager that `client` reaches.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn new(client: &C) -> Result<Self, ManagerError> {
                let proxy = create(client, Kind::$name, 0)?;
                Ok(Self { proxy, of: PhantomData })
            }

            /// The one of this name, in the manager that `client` reaches: a new one if there was none. It stays as long as
            /// the manager.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn named(client: &C, name: &str) -> Result<Self, ManagerError> {
                let proxy = named(client, name, Kind::$name, 0)?;
                Ok(Self { proxy, of: PhantomData })
            }

            /// Waits for the lock, and holds it until the guard is dropped (CPython: `with lock:`).
            ///
            /// # Errors
            ///
            /// [`ManagerError::Interrupted`], and the others, as from every method.
            pub fn lock(&self) -> Result<LockGuard<'_, C>, ManagerError> {
                came(acquire(&self.proxy, FOREVER)?)
            }

            /// As [`lock`](Self::lock), but no longer than `timeout`: then it is `None`.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_, C>>, ManagerError> {
                acquire(&self.proxy, nanoseconds(timeout))
            }

            /// As [`lock`](Self::lock), but only if that can be at once.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn try_lock(&self) -> Result<Option<LockGuard<'_, C>>, ManagerError> {
                acquire(&self.proxy, 0)
            }

            /// Waits for the lock, and keeps it until it is [released](Self::release) (CPython: `acquire()`).
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn acquire(&self) -> Result<(), ManagerError> {
                self.lock().map(LockGuard::keep)
            }

            /// As [`acquire`](Self::acquire), but no longer than `timeout`. Returns whether it was acquired (CPython:
            /// `acquire(timeout=…)`).
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
                Ok(self.lock_timeout(timeout)?.map(LockGuard::keep).is_some())
            }

            /// As [`acquire`](Self::acquire), but only if that can be at once (CPython: `acquire(block=False)`).
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn try_acquire(&self) -> Result<bool, ManagerError> {
                Ok(self.try_lock()?.map(LockGuard::keep).is_some())
            }

            #[doc = $release]
            pub fn release(&self) -> Result<(), ManagerError> {
                release(&self.proxy, ANY_FENCE)
            }

            /// Whether anybody holds it.
            ///
            /// # Errors
            ///
            /// [`ManagerError`].
            pub fn locked(&self) -> Result<bool, ManagerError> {
                Ok(held(&self.proxy)? != 0)
            }
        }
    };
}

lock! {
    /// Mutual exclusion, in a manager. All clones are the same lock, in whatever process. CPython: `SyncManager.Lock`.
    Lock,
    "Releases the lock, whoever holds it.\n\n# Errors\n\n[`ManagerError::TooMany`] if nobody does; the others."
}

lock! {
    /// A lock that its holder can acquire again, and then has to release as often. CPython: `SyncManager.RLock`.
    RLock,
    "Releases the lock once.\n\n# Errors\n\n[`ManagerError::NotOwner`] if somebody else holds it, or nobody does; the others."
}

impl<C: Client> RLock<C> {
    /// How often this thread, or this worker, holds it.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn count(&self) -> Result<u32, ManagerError> {
        match held(&self.proxy)? {
            ELSEWHERE => Ok(0),
            times => Ok(times),
        }
    }
}

/// Holds a lock of a manager, and releases it when it is dropped.
///
/// Its holder can lose the lock: when its connection to the manager is lost, the manager gives the lock to the next one.
pub struct LockGuard<'l, C: Client> {
    proxy: &'l Proxy<C>,
    fence: u64,
    abandoned: bool,
    /// A thread is the holder, and no other can release it.
    of: PhantomData<MutexGuard<'l, ()>>,
}

impl<C: Client> std::fmt::Debug for LockGuard<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockGuard")
            .field("fence", &self.fence)
            .field("abandoned", &self.abandoned)
            .finish_non_exhaustive()
    }
}

impl<C: Client> LockGuard<'_, C> {
    /// Whether who held the lock before is gone without having released it: what the lock is there for may be half done.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        self.abandoned
    }

    /// A number that is higher for each who holds the lock. What is changed under the lock can refuse a lower one than it has
    /// seen: that comes from somebody who has lost the lock and does not know it.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Leaves the lock acquired.
    fn keep(self) {
        std::mem::forget(self);
    }

    /// Of which lock this is.
    pub(super) fn proxy(&self) -> &Proxy<C> {
        self.proxy
    }

    /// The lock was released and acquired again meanwhile.
    pub(super) fn again(&mut self, mut fields: Fields<'_>) -> Result<(), ManagerError> {
        self.fence = told(fields.u64())?;
        self.abandoned |= told(fields.u8())? != 0;
        Ok(())
    }
}

impl<C: Client> Drop for LockGuard<'_, C> {
    fn drop(&mut self) {
        // Who has lost the lock has nothing to release.
        let _ = release(self.proxy, self.fence);
    }
}

pub(super) fn acquire<C: Client>(proxy: &Proxy<C>, time: u64) -> Result<Option<LockGuard<'_, C>>, ManagerError> {
    proxy.ask_for_long(
        Op::LockAcquire,
        |writer| {
            writer.id(C::holder());
            writer.u64(time);
            Ok(())
        },
        |status, fields| {
            in_time(status, fields, |mut fields| {
                Ok(LockGuard {
                    proxy,
                    fence: told(fields.u64())?,
                    abandoned: told(fields.u8())? != 0,
                    of: PhantomData,
                })
            })
        },
    )
}

fn release<C: Client>(proxy: &Proxy<C>, fence: u64) -> Result<(), ManagerError> {
    proxy.ask(
        Op::LockRelease,
        |writer| {
            writer.id(C::holder());
            writer.u64(fence);
            Ok(())
        },
        |_| Ok(()),
    )
}

fn held<C: Client>(proxy: &Proxy<C>) -> Result<u32, ManagerError> {
    proxy.ask(
        Op::LockHeld,
        |writer| {
            writer.id(C::holder());
            Ok(())
        },
        |mut fields| told(fields.u32()),
    )
}
