//! Barriers.

use std::marker::PhantomData;
use std::time::Duration;

use super::{came, create, in_time, named, nanoseconds};
use crate::client::{Client, Proxy};
use crate::protocol::{FOREVER, Kind, Op};
use crate::{ManagerError, proxy, told};

/// A meeting point, in a manager: nobody passes before all have come, as often as they like. CPython:
/// `SyncManager.Barrier`, without an action: who gets 0 can do what is to be done once, and all meet again after it.
///
/// When one of them gives up, by its time or by being gone, the barrier breaks, and none of the others waits for ever.
pub struct Barrier<C: Client> {
    proxy: Proxy<C>,
    of: PhantomData<()>,
}

proxy!(Barrier[], proxy);

impl<C: Client> Barrier<C> {
    /// A new one for so many, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Invalid`] if it is for nobody; the others.
    pub fn new(client: &C, parties: u32) -> Result<Self, ManagerError> {
        let proxy = create(client, Kind::Barrier, parties)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// The one of this name, in the manager that `client` reaches: a new one for so many if there was none. It stays as long
    /// as the manager.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn named(client: &C, name: &str, parties: u32) -> Result<Self, ManagerError> {
        let proxy = named(client, name, Kind::Barrier, parties)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// Waits until all have come. The result is a number from 0, another one for each of them.
    ///
    /// # Errors
    ///
    /// [`ManagerError::BrokenBarrier`], and the others, as from every method.
    pub fn wait(&self) -> Result<u32, ManagerError> {
        self.meet(FOREVER)
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`: then the barrier breaks, for this one and for all others.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, ManagerError> {
        self.meet(nanoseconds(timeout))
    }

    fn meet(&self, time: u64) -> Result<u32, ManagerError> {
        let place = self.proxy.ask_for_long(
            Op::BarrierWait,
            |writer| {
                writer.u64(time);
                Ok(())
            },
            |status, fields| in_time(status, fields, |mut fields| told(fields.u32())),
        )?;
        came(place)
    }

    /// Breaks the barrier, for those who wait and for those who come.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn abort(&self) -> Result<(), ManagerError> {
        self.disturb(false)
    }

    /// Makes it as new. Those who wait get [`ManagerError::BrokenBarrier`].
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn reset(&self) -> Result<(), ManagerError> {
        self.disturb(true)
    }

    fn disturb(&self, as_new: bool) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::BarrierBreak,
            |writer| {
                writer.u8(as_new.into());
                Ok(())
            },
            |_| Ok(()),
        )
    }

    /// How many it is for.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn parties(&self) -> Result<u32, ManagerError> {
        Ok(self.state()?.0)
    }

    /// How many wait.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn n_waiting(&self) -> Result<u32, ManagerError> {
        Ok(self.state()?.1)
    }

    /// Whether it is broken (CPython: `broken`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_broken(&self) -> Result<bool, ManagerError> {
        Ok(self.state()?.2)
    }

    fn state(&self) -> Result<(u32, u32, bool), ManagerError> {
        self.proxy.ask(
            Op::BarrierState,
            |_| Ok(()),
            |mut fields| Ok((told(fields.u32())?, told(fields.u32())?, told(fields.u8())? != 0)),
        )
    }
}
