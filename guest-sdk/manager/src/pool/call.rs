//! One call on a pool, with its options.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmp_abi::Retry;

use super::job::{Inputs, Job, Terms};
use super::{AsyncResult, Calls, Error, IMap, Pool, PoolError};
use crate::client::Client;
use crate::protocol::Policy;

/// Items for one call of a worker: as many as the pool likes.
const ANY_CHUNK: u32 = 0;

/// How many inputs of `imap` are ahead of whoever takes the results, unless somebody says otherwise.
const AHEAD: u64 = 64;

/// A task of a pool and how to call it; from [`Pool::task`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is called"]
pub struct Call<'p, F, C: Client> {
    pool: &'p Pool<C>,
    task: F,
    chunksize: Option<u32>,
    policy: Policy,
    buffersize: u64,
}

impl<'p, F, C: Client> Call<'p, F, C> {
    pub(super) fn new(pool: &'p Pool<C>, task: F) -> Self {
        Self {
            pool,
            task,
            chunksize: None,
            policy: Policy::default(),
            buffersize: AHEAD,
        }
    }

    /// How many items make one call of a worker, 1 or more (CPython: `chunksize`). Default: the pool's choice, by how long items
    /// take.
    ///
    /// A chunk is no longer than what is submitted at once: 2048 items, with 64 KiB of arguments, or for `imap` the inputs that are
    /// pulled together, as many as [`buffersize`](Self::buffersize) says at most. Other clients wait for whole chunks, of which each
    /// process has two.
    pub fn chunksize(mut self, items: u32) -> Self {
        self.chunksize = Some(items);
        self
    }

    /// Kills an item that runs longer than this. Its worker is replaced, which costs about a millisecond. Default: what the
    /// pool's [builder](super::PoolBuilder::timeout) was told.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.policy.timeout = Some(timeout);
        self
    }

    /// When an item that failed is tried again. Default: what the pool's [builder](super::PoolBuilder::retry) was told.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.policy.retry = Some(retry);
        self
    }

    /// For `imap`: how many inputs may be ahead of whoever takes the results (CPython: `buffersize`, of `Executor.map`); it is at
    /// least 1. Default: 64.
    pub fn buffersize(mut self, items: usize) -> Self {
        self.buffersize = items.max(1) as u64;
        self
    }

    fn begin<A, R, M, I>(&self, chunksize: Option<u32>, inputs: &mut Inputs<I>, most: u64) -> Result<Job<C>, Error<C>>
    where
        C: Calls<F, A, R, M>,
        I: Iterator<Item: Serialize>,
    {
        if chunksize == Some(0) {
            let why = "a chunksize of 0 makes no sense: it must be 1 or more";
            return Err(PoolError::Invalid(why.to_owned()));
        }
        let task = C::task_name(&self.task).map_err(PoolError::Invalid)?;
        let terms = Terms {
            task: &task,
            chunk: chunksize.unwrap_or(ANY_CHUNK),
            policy: self.policy,
        };
        Ok(Job::begin(&self.pool.proxy, &terms, inputs, most)?)
    }

    /// Calls the task with these arguments, a tuple, and waits for its result.
    ///
    /// # Errors
    ///
    /// Those of [`apply_async`](Self::apply_async) and [`AsyncResult::get`].
    pub fn apply<A, R, M>(&self, args: A) -> Result<R, Error<C>>
    where
        C: Calls<F, A, R, M>,
        A: Serialize,
        R: DeserializeOwned,
    {
        self.apply_async(args)?.get()
    }

    /// Calls the task with these arguments, a tuple, and returns when the pool has taken the call.
    ///
    /// # Errors
    ///
    /// [`ManagerError::PoolNotRunning`](crate::ManagerError::PoolNotRunning) if the pool was closed or terminated, and those of every method of a manager's
    /// ([`PoolError::Manager`]). That there is no such task is said by the result.
    pub fn apply_async<A, R, M>(&self, args: A) -> Result<AsyncResult<R, C>, Error<C>>
    where
        C: Calls<F, A, R, M>,
        A: Serialize,
        R: DeserializeOwned,
    {
        let mut inputs = Inputs::new(std::iter::once(args), true);
        let job = self.begin::<A, R, M, _>(Some(1), &mut inputs, u64::MAX)?;
        inputs.check()?;
        Ok(AsyncResult::one(job))
    }

    /// Calls the task once for each input, its one argument; returns the results in the order of the inputs.
    ///
    /// # Errors
    ///
    /// The error of the first input that failed, after all have run; and those of [`apply_async`](Self::apply_async).
    pub fn map<I, R, M>(&self, inputs: I) -> Result<Vec<R>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, (I::Item,), R, M>,
        R: DeserializeOwned,
    {
        self.map_async(inputs)?.get()
    }

    /// As [`map`](Self::map), but returns when the pool has taken all inputs; the one result is all results.
    ///
    /// # Errors
    ///
    /// As those of [`apply_async`](Self::apply_async).
    pub fn map_async<I, R, M>(&self, inputs: I) -> Result<AsyncResult<Vec<R>, C>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, (I::Item,), R, M>,
        R: DeserializeOwned,
    {
        let mut inputs = Inputs::new(inputs.into_iter(), false);
        let job = self.begin::<(I::Item,), R, M, _>(self.chunksize, &mut inputs, u64::MAX)?;
        job.submit_all(inputs)?;
        Ok(AsyncResult::all(job))
    }

    /// As [`map`](Self::map), but each input is a tuple of all arguments.
    ///
    /// # Errors
    ///
    /// As those of [`map`](Self::map).
    pub fn starmap<I, R, M>(&self, inputs: I) -> Result<Vec<R>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, I::Item, R, M>,
        R: DeserializeOwned,
    {
        self.starmap_async(inputs)?.get()
    }

    /// As [`map_async`](Self::map_async), but each input is a tuple of all arguments.
    ///
    /// # Errors
    ///
    /// As those of [`apply_async`](Self::apply_async).
    pub fn starmap_async<I, R, M>(&self, inputs: I) -> Result<AsyncResult<Vec<R>, C>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, I::Item, R, M>,
        R: DeserializeOwned,
    {
        let mut inputs = Inputs::new(inputs.into_iter(), true);
        let job = self.begin::<I::Item, R, M, _>(self.chunksize, &mut inputs, u64::MAX)?;
        job.submit_all(inputs)?;
        Ok(AsyncResult::all(job))
    }

    /// As [`map`](Self::map), without waiting for all: results come as the iterator is pulled, in the order of the inputs, which
    /// are pulled so far ahead of them as [`buffersize`](Self::buffersize) says: so they may be endless.
    ///
    /// # Errors
    ///
    /// As those of [`apply_async`](Self::apply_async).
    pub fn imap<I, R, M>(&self, inputs: I) -> Result<IMap<I::IntoIter, R, C>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, (I::Item,), R, M>,
        R: DeserializeOwned,
    {
        self.stream(inputs, true)
    }

    /// As [`imap`](Self::imap), but results come as they are finished.
    ///
    /// # Errors
    ///
    /// As those of [`apply_async`](Self::apply_async).
    pub fn imap_unordered<I, R, M>(&self, inputs: I) -> Result<IMap<I::IntoIter, R, C>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, (I::Item,), R, M>,
        R: DeserializeOwned,
    {
        self.stream(inputs, false)
    }

    fn stream<I, R, M>(&self, inputs: I, ordered: bool) -> Result<IMap<I::IntoIter, R, C>, Error<C>>
    where
        I: IntoIterator<Item: Serialize>,
        C: Calls<F, (I::Item,), R, M>,
    {
        let mut inputs = Inputs::new(inputs.into_iter(), false);
        let job = self.begin::<(I::Item,), R, M, _>(self.chunksize, &mut inputs, self.buffersize)?;
        Ok(IMap::new(inputs, job, self.buffersize, ordered))
    }
}
