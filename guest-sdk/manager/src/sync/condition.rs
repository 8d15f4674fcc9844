//! Conditions.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use super::lock::acquire;
use super::{LockGuard, came, create, named, nanoseconds};
use crate::client::{Client, Proxy};
use crate::protocol::{FOREVER, Kind, Op};
use crate::{ManagerError, proxy, told};

/// Something to be notified about, under a lock of its own that its holder can acquire again. CPython:
/// `SyncManager.Condition`, without a lock from elsewhere.
///
/// To wait, hold the [lock](Self::lock): it is released meanwhile, however often it was acquired, and acquired again before
/// the wait ends. To notify, hold it as well. A notification is not lost with somebody who is gone before it came: it goes to
/// the next one who waits.
pub struct Condition<C: Client> {
    proxy: Proxy<C>,
    of: PhantomData<()>,
}

proxy!(Condition[], proxy);

impl<C: Client> Condition<C> {
    /// A new one, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C) -> Result<Self, ManagerError> {
        let proxy = create(client, Kind::Condition, 0)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// The one of this name, in the manager that `client` reaches: a new one if there was none. It stays as long as the
    /// manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn named(client: &C, name: &str) -> Result<Self, ManagerError> {
        let proxy = named(client, name, Kind::Condition, 0)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// Waits for the lock, and holds it until the guard is dropped (CPython: `with condition:`).
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

    /// Releases the lock, waits to be notified, and acquires the lock again.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotOwner`] if the guard is that of another lock, or the lock is lost. After
    /// [`Interrupted`](ManagerError::Interrupted) it is not held: what the guard does when it is dropped, changes nothing.
    pub fn wait(&self, guard: &mut LockGuard<'_, C>) -> Result<(), ManagerError> {
        self.sleep(guard, FOREVER).map(drop)
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`. Returns whether it was notified; the lock is acquired again in
    /// any case.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, guard: &mut LockGuard<'_, C>, timeout: Duration) -> Result<bool, ManagerError> {
        self.sleep(guard, nanoseconds(timeout))
    }

    fn sleep(&self, guard: &mut LockGuard<'_, C>, time: u64) -> Result<bool, ManagerError> {
        if !guard.proxy().is(&self.proxy) {
            return Err(ManagerError::NotOwner);
        }
        self.proxy.ask_for_long(
            Op::ConditionWait,
            |writer| {
                writer.id(C::holder());
                writer.u64(time);
                Ok(())
            },
            |_, mut fields| {
                let notified = told(fields.u8())? != 0;
                guard.again(fields)?;
                Ok(notified)
            },
        )
    }

    /// Waits until `predicate` holds. It is asked at first, and whenever the condition was notified.
    ///
    /// # Errors
    ///
    /// Those of the predicate, and those of [`wait`](Self::wait).
    pub fn wait_for<E: From<ManagerError>>(
        &self,
        guard: &mut LockGuard<'_, C>,
        mut predicate: impl FnMut() -> Result<bool, E>,
    ) -> Result<(), E> {
        while !predicate()? {
            self.wait(guard)?;
        }
        Ok(())
    }

    /// As [`wait_for`](Self::wait_for), but no longer than `timeout`. Returns what the predicate said last.
    ///
    /// # Errors
    ///
    /// As those of [`wait_for`](Self::wait_for).
    pub fn wait_for_timeout<E: From<ManagerError>>(
        &self,
        guard: &mut LockGuard<'_, C>,
        timeout: Duration,
        mut predicate: impl FnMut() -> Result<bool, E>,
    ) -> Result<bool, E> {
        let start = Instant::now();
        while !predicate()? {
            let rest = timeout.saturating_sub(start.elapsed());
            if rest.is_zero() {
                return Ok(false);
            }
            self.wait_timeout(guard, rest)?;
        }
        Ok(true)
    }

    /// Wakes so many of those who wait, the oldest first.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NotOwner`], and the others.
    pub fn notify(&self, waiters: u32) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::ConditionNotify,
            |writer| {
                writer.id(C::holder());
                writer.u32(waiters);
                Ok(())
            },
            |_| Ok(()),
        )
    }

    /// Wakes all who wait.
    ///
    /// # Errors
    ///
    /// As those of [`notify`](Self::notify).
    pub fn notify_all(&self) -> Result<(), ManagerError> {
        self.notify(u32::MAX)
    }
}
