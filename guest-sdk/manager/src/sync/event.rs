//! Events.

use std::marker::PhantomData;
use std::time::Duration;

use super::{create, named, nanoseconds, wait};
use crate::client::{Client, Proxy};
use crate::protocol::{FOREVER, Kind, Op};
use crate::{ManagerError, flag, proxy};

/// Something that happens, or has, in a manager. CPython: `SyncManager.Event`.
pub struct Event<C: Client> {
    proxy: Proxy<C>,
    of: PhantomData<()>,
}

proxy!(Event[], proxy);

impl<C: Client> Event<C> {
    /// A new one that is not set, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C) -> Result<Self, ManagerError> {
        let proxy = create(client, Kind::Event, 0)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// The one of this name, in the manager that `client` reaches: a new one if there was none. It stays as long as the
    /// manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn named(client: &C, name: &str) -> Result<Self, ManagerError> {
        let proxy = named(client, name, Kind::Event, 0)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// Sets it: everybody who waits goes on, and nobody waits until it is cleared.
    ///
    /// # Errors
    ///
    /// [`ManagerError`], as from every method.
    pub fn set(&self) -> Result<(), ManagerError> {
        self.put(true)
    }

    /// From now on it is waited for again.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.put(false)
    }

    fn put(&self, set: bool) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::EventSet,
            |writer| {
                writer.u8(set.into());
                Ok(())
            },
            |_| Ok(()),
        )
    }

    /// Whether it is set.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_set(&self) -> Result<bool, ManagerError> {
        self.proxy.ask(Op::EventIsSet, |_| Ok(()), flag)
    }

    /// Waits until it is set.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Interrupted`], and the others.
    pub fn wait(&self) -> Result<(), ManagerError> {
        wait(&self.proxy, Op::EventWait, FOREVER).map(drop)
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`. Returns whether it was set.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        wait(&self.proxy, Op::EventWait, nanoseconds(timeout))
    }
}
