//! Queues.

use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{came, create, in_time, named, nanoseconds, wait};
use crate::client::{Client, Proxy};
use crate::protocol::{FOREVER, Kind, Op};
use crate::{ManagerError, item, proxy, told};

/// Values in a row, in a manager: put in at one end, and gotten at the other, each by one. CPython: `SyncManager.Queue`.
///
/// Who waits for a value gets it in the order in which they came. A value is gotten at most once, and lost with who has gotten
/// it. One that is on its way to somebody who is gone before it was taken from the pipe, or who has given up waiting, goes back
/// to the front, unless the manager needs its room meanwhile; one on its way to a program elsewhere is lost if its connection
/// breaks just then.
pub struct Queue<T, C: Client> {
    proxy: Proxy<C>,
    of: PhantomData<fn() -> T>,
}

proxy!(Queue[T], proxy);

impl<T, C: Client> Queue<T, C> {
    /// A new one, in the manager that `client` reaches, that has at most so many values at a time; 0: any number.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C, maxsize: u32) -> Result<Self, ManagerError> {
        let proxy = create(client, Kind::Queue, maxsize)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// The one of this name, in the manager that `client` reaches: a new one if there was none, that has at most so many values
    /// at a time. It stays as long as the manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn named(client: &C, name: &str, maxsize: u32) -> Result<Self, ManagerError> {
        let proxy = named(client, name, Kind::Queue, maxsize)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// How many values there are (CPython: `qsize`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`], as from every method.
    pub fn len(&self) -> Result<u64, ManagerError> {
        Ok(self.length()?.0)
    }

    /// Whether there are none (CPython: `empty`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        Ok(self.len()? == 0)
    }

    /// Whether there are as many as there may be (CPython: `full`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_full(&self) -> Result<bool, ManagerError> {
        let (len, maxsize) = self.length()?;
        Ok(maxsize != 0 && len >= u64::from(maxsize))
    }

    fn length(&self) -> Result<(u64, u32), ManagerError> {
        self.proxy.ask(
            Op::QueueLength,
            |_| Ok(()),
            |mut fields| Ok((told(fields.u64())?, told(fields.u32())?)),
        )
    }

    /// From now on nothing is put in, and what is in it can be gotten: then both are [`ManagerError::QueueShutDown`].
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn shutdown(&self) -> Result<(), ManagerError> {
        self.shut_down(false)
    }

    /// As [`shutdown`](Self::shutdown), but what is in it is dropped (CPython: `shutdown(immediate=True)`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn shutdown_immediately(&self) -> Result<(), ManagerError> {
        self.shut_down(true)
    }

    fn shut_down(&self, immediately: bool) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::QueueShutDown,
            |writer| {
                writer.u8(immediately.into());
                Ok(())
            },
            |_| Ok(()),
        )
    }
}

impl<T: Serialize, C: Client> Queue<T, C> {
    /// Puts a value in, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// [`ManagerError::QueueShutDown`], [`ManagerError::Full`] if the manager has no room, and the others.
    pub fn put(&self, value: &T) -> Result<(), ManagerError> {
        self.put_within(value, FOREVER)
    }

    /// As [`put`](Self::put), but waits no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`ManagerError::QueueFull`], and those of [`put`](Self::put).
    pub fn put_timeout(&self, value: &T, timeout: Duration) -> Result<(), ManagerError> {
        self.put_within(value, nanoseconds(timeout))
    }

    /// As [`put`](Self::put), but only if there is room (CPython: `put_nowait`).
    ///
    /// # Errors
    ///
    /// As those of [`put_timeout`](Self::put_timeout).
    pub fn try_put(&self, value: &T) -> Result<(), ManagerError> {
        self.put_within(value, 0)
    }

    fn put_within(&self, value: &T, time: u64) -> Result<(), ManagerError> {
        let put = self.proxy.ask_for_long(
            Op::QueuePut,
            |writer| {
                writer.u64(time);
                item::<C>(writer, value)
            },
            |status, fields| in_time(status, fields, |_| Ok(())),
        )?;
        put.ok_or(ManagerError::QueueFull)
    }
}

impl<T: DeserializeOwned, C: Client> Queue<T, C> {
    /// Gets the next value, and waits for one if there is none.
    ///
    /// # Errors
    ///
    /// [`ManagerError::QueueShutDown`]; [`ManagerError::Decode`] if it is of another type, then it is lost; and the others.
    pub fn get(&self) -> Result<T, ManagerError> {
        self.get_within(FOREVER)
    }

    /// As [`get`](Self::get), but waits no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`ManagerError::QueueEmpty`], and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, ManagerError> {
        self.get_within(nanoseconds(timeout))
    }

    /// As [`get`](Self::get), but only if there is one (CPython: `get_nowait`).
    ///
    /// # Errors
    ///
    /// As those of [`get_timeout`](Self::get_timeout).
    pub fn try_get(&self) -> Result<T, ManagerError> {
        self.get_within(0)
    }

    fn get_within(&self, time: u64) -> Result<T, ManagerError> {
        let gotten = self.proxy.ask_for_long(
            Op::QueueGet,
            |writer| {
                writer.u64(time);
                Ok(())
            },
            |status, fields| in_time(status, fields, |mut fields| C::decode(told(fields.item())?)),
        )?;
        gotten.ok_or(ManagerError::QueueEmpty)
    }
}

/// A [`Queue`] that knows which values were dealt with, and which only gotten. CPython: `SyncManager.JoinableQueue`.
///
/// A value that was gotten by somebody who is gone counts as not dealt with, for ever, as in CPython.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct JoinableQueue<T, C: Client>(Queue<T, C>);

impl<T, C: Client> JoinableQueue<T, C> {
    /// A new one, in the manager that `client` reaches, that has at most so many values at a time; 0: any number.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C, maxsize: u32) -> Result<Self, ManagerError> {
        Queue::new(client, maxsize).map(Self)
    }

    /// The one of this name, in the manager that `client` reaches: as [`Queue::named`].
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn named(client: &C, name: &str, maxsize: u32) -> Result<Self, ManagerError> {
        Queue::named(client, name, maxsize).map(Self)
    }

    /// One of the values that were gotten is dealt with.
    ///
    /// # Errors
    ///
    /// [`ManagerError::TooMany`] if all are; the others.
    pub fn task_done(&self) -> Result<(), ManagerError> {
        self.0.proxy.ask(Op::QueueTaskDone, |_| Ok(()), |_| Ok(()))
    }

    /// Waits until all values that were put in are dealt with.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn join(&self) -> Result<(), ManagerError> {
        came(wait(&self.0.proxy, Op::QueueJoin, FOREVER)?.then_some(()))
    }

    /// As [`join`](Self::join), but no longer than `timeout`. Returns whether they are.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        wait(&self.0.proxy, Op::QueueJoin, nanoseconds(timeout))
    }
}

impl<T, C: Client> Deref for JoinableQueue<T, C> {
    type Target = Queue<T, C>;

    fn deref(&self) -> &Queue<T, C> {
        &self.0
    }
}

impl<T, C: Client> Clone for JoinableQueue<T, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, C: Client> std::fmt::Debug for JoinableQueue<T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("JoinableQueue").field(&self.0.proxy).finish()
    }
}
