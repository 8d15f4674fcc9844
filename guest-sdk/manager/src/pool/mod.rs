//! Pools that all clients of a manager share.
//!
//! `builder.rs` makes them. `call.rs` begins calls, and `job.rs` is what all of those have in common; `result.rs` and `imap.rs` are
//! what callers get of them.

mod builder;
mod call;
mod error;
mod imap;
mod job;
mod result;

use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::builder::PoolBuilder;
use self::builder::count;
pub use self::call::Call;
pub use self::error::PoolError;
pub use self::imap::IMap;
pub use self::result::AsyncResult;
use crate::client::{Client, Proxy};
use crate::protocol::{FOREVER, Op, Writer};
use crate::sync::{came, nanoseconds, wait};
use crate::{ManagerError, proxy};

/// Why a call on a [`Pool`] has no result, for this client.
pub type Error<C> = PoolError<<C as Client>::TaskError>;

/// What stands for a task that can be called with the arguments `A`, a tuple, and returns an `R`. `M` is for the compiler.
///
/// It is implemented for the clients that there are, and cannot be of use elsewhere.
pub trait Calls<F, A, R, M>: Client {
    /// The name of the task.
    ///
    /// # Errors
    ///
    /// What is wrong with what stands for it.
    fn task_name(task: &F) -> Result<Cow<'static, str>, String>;
}

/// What stands for a task that can be called with the arguments `A`, a tuple, whatever it returns. `M` is for the compiler.
///
/// It is implemented for the clients that there are, and cannot be of use elsewhere.
pub trait Prepares<F, A, M>: Client {
    /// The name of the task.
    ///
    /// # Errors
    ///
    /// What is wrong with what stands for it.
    fn initializer_name(task: &F) -> Result<Cow<'static, str>, String>;
}

/// Worker processes that run the tasks of the manager's module, for everybody who has a handle to this. CPython:
/// `SyncManager.Pool`.
///
/// The processes are the manager's: they have the limits and grants of its process, count with all that may be started where it
/// is, and end with it; of 16 pools at most at a time. The clients take turns: nobody's items wait for all of another's, but for
/// those that are at work already, four for each process, two chunks if somebody says how long those are, or as many as are done
/// in 50 ms. What a client has called is cancelled when the client is gone. When whoever has made the pool drops the last handle,
/// and none has travelled, it is terminated.
///
/// How an item fails, by an error, a trap, or a worker that is killed, is what it is in a pool of one's own, and costs nobody
/// else anything. Items wait in the manager for a worker: with more than a quarter of what that may hold, a client waits, too.
/// Outcomes wait until they are asked for: of one client, half of what it may hold; a call with more is ended with
/// [`ManagerError::Full`], as is one whose inputs go on when the client has 512 of those. That there is no such pool any more, as
/// its manager is killed, is [`ManagerError::Gone`] for all.
///
/// What the manager itself holds can be in arguments, from wherever the call comes. Handles of this host (queues, locks, what
/// another manager holds) can be in them, and any can be in results, where a manager and its client are on the same host. There
/// are no callbacks: nobody could call them from elsewhere (CPython calls them in the server).
pub struct Pool<C: Client> {
    proxy: Proxy<C>,
    of: PhantomData<()>,
}

proxy!(Pool[], proxy);

/// What is wrong when nothing was set up but how many processes there are.
fn plain<T, E>(made: Result<T, PoolError<E>>) -> Result<T, ManagerError> {
    made.map_err(|error| match error {
        PoolError::Manager(error) => error,
        _ => ManagerError::Invalid,
    })
}

impl<C: Client> Pool<C> {
    /// A new one with so many processes, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Invalid`] if there are none, [`ManagerError::ProcessLimit`] if there are too many; the others.
    pub fn new(client: &C, processes: usize) -> Result<Self, ManagerError> {
        plain(Self::builder(client).processes(processes).build())
    }

    /// The one of this name, in the manager that `client` reaches: a new one with so many processes if there was none. It stays
    /// as long as the manager.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn named(client: &C, name: &str, processes: usize) -> Result<Self, ManagerError> {
        plain(Self::builder(client).processes(processes).named(name))
    }

    /// One to be set up, in the manager that `client` reaches.
    pub fn builder(client: &C) -> PoolBuilder<C> {
        PoolBuilder::new(client)
    }

    /// A task, and how to call it: for calls with options (CPython: the argument `chunksize`).
    pub fn task<F>(&self, task: F) -> Call<'_, F, C> {
        Call::new(self, task)
    }

    /// Calls a task with these arguments, a tuple, and waits for its result.
    ///
    /// # Errors
    ///
    /// Those of [`apply_async`](Self::apply_async) and [`AsyncResult::get`].
    pub fn apply<F, A, R, M>(&self, task: F, args: A) -> Result<R, Error<C>>
    where
        C: Calls<F, A, R, M>,
        A: Serialize,
        R: DeserializeOwned,
    {
        self.task(task).apply(args)
    }

    /// Calls a task with these arguments, a tuple, and returns when the pool has taken the call.
    ///
    /// # Errors
    ///
    /// [`ManagerError::PoolNotRunning`] if the pool was closed or terminated, and those of every method of a manager's
    /// ([`PoolError::Manager`]). That there is no such task is said by the result.
    pub fn apply_async<F, A, R, M>(&self, task: F, args: A) -> Result<AsyncResult<R, C>, Error<C>>
    where
        C: Calls<F, A, R, M>,
        A: Serialize,
        R: DeserializeOwned,
    {
        self.task(task).apply_async(args)
    }

    /// Calls a task once for each input, its one argument; returns the results in the order of the inputs.
    ///
    /// # Errors
    ///
    /// The error of the first input that failed, after all have run; and those of [`apply_async`](Self::apply_async).
    pub fn map<F, I, R, M>(&self, task: F, inputs: I) -> Result<Vec<R>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, (I::Item,), R, M>,
        R: DeserializeOwned,
    {
        self.task(task).map(inputs)
    }

    /// As [`map`](Self::map), but returns when the pool has taken all inputs; the one result is all results.
    ///
    /// # Errors
    ///
    /// As those of [`apply_async`](Self::apply_async).
    pub fn map_async<F, I, R, M>(&self, task: F, inputs: I) -> Result<AsyncResult<Vec<R>, C>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, (I::Item,), R, M>,
        R: DeserializeOwned,
    {
        self.task(task).map_async(inputs)
    }

    /// As [`map`](Self::map), but each input is a tuple of all arguments.
    ///
    /// # Errors
    ///
    /// As those of [`map`](Self::map).
    pub fn starmap<F, I, R, M>(&self, task: F, inputs: I) -> Result<Vec<R>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, I::Item, R, M>,
        R: DeserializeOwned,
    {
        self.task(task).starmap(inputs)
    }

    /// As [`map_async`](Self::map_async), but each input is a tuple of all arguments.
    ///
    /// # Errors
    ///
    /// As those of [`apply_async`](Self::apply_async).
    pub fn starmap_async<F, I, R, M>(&self, task: F, inputs: I) -> Result<AsyncResult<Vec<R>, C>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, I::Item, R, M>,
        R: DeserializeOwned,
    {
        self.task(task).starmap_async(inputs)
    }

    /// As [`map`](Self::map), without waiting for all: results come as the iterator is pulled, in the order of the inputs, which
    /// are pulled 64 ahead of them at most, or as [`Call::buffersize`] says.
    ///
    /// # Errors
    ///
    /// As those of [`apply_async`](Self::apply_async).
    pub fn imap<F, I, R, M>(&self, task: F, inputs: I) -> Result<IMap<I::IntoIter, R, C>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, (I::Item,), R, M>,
        R: DeserializeOwned,
    {
        self.task(task).imap(inputs)
    }

    /// As [`imap`](Self::imap), but results come as they are finished.
    ///
    /// # Errors
    ///
    /// As those of [`apply_async`](Self::apply_async).
    pub fn imap_unordered<F, I, R, M>(&self, task: F, inputs: I) -> Result<IMap<I::IntoIter, R, C>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, (I::Item,), R, M>,
        R: DeserializeOwned,
    {
        self.task(task).imap_unordered(inputs)
    }

    /// Has so many processes from now on, for everybody. Those that are too many end when they have finished what they run.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Invalid`] if that is none, [`ManagerError::ProcessLimit`] if it is too many, and
    /// [`ManagerError::PoolNotRunning`] if the pool was closed or terminated, or has given up; it is as it was then. And the others.
    pub fn resize(&self, processes: usize) -> Result<(), ManagerError> {
        let write = |writer: &mut Writer<'_>| {
            writer.u32(count(processes));
            Ok(())
        };
        self.proxy.ask(Op::PoolResize, write, |_| Ok(()))
    }

    /// Takes no more work; what was submitted is finished, and then the processes end.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn close(&self) -> Result<(), ManagerError> {
        self.proxy.ask(Op::PoolClose, |_| Ok(()), |_| Ok(()))
    }

    /// Kills the processes at once. Everything that is not done resolves with
    /// [`ErrorKind::Cancelled`](wasmp_abi::ErrorKind::Cancelled).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn terminate(&self) -> Result<(), ManagerError> {
        self.proxy.ask(Op::PoolTerminate, |_| Ok(()), |_| Ok(()))
    }

    /// Waits until every process has ended.
    ///
    /// # Errors
    ///
    /// [`ManagerError::PoolStillRunning`] if the pool was neither closed nor terminated; the others.
    pub fn join(&self) -> Result<(), ManagerError> {
        came(wait(&self.proxy, Op::PoolJoin, FOREVER)?.then_some(()))
    }

    /// As [`join`](Self::join), but no longer than `timeout`. Returns whether they have.
    ///
    /// # Errors
    ///
    /// As those of [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        wait(&self.proxy, Op::PoolJoin, nanoseconds(timeout))
    }
}
