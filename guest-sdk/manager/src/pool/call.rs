//! One call on a pool, with its options.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::imap::AHEAD;
use super::job::{Inputs, Job};
use super::{AsyncResult, Calls, Error, IMap, Pool, PoolError};
use crate::client::Client;

/// Items for one call of a worker: as many as the pool likes.
const ANY_CHUNK: u32 = 0;

/// A task of a pool and how to call it; from [`Pool::task`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is called"]
pub struct Call<'p, F, C: Client> {
    pool: &'p Pool<C>,
    task: F,
    chunksize: Option<u32>,
}

impl<'p, F, C: Client> Call<'p, F, C> {
    pub(super) fn new(pool: &'p Pool<C>, task: F) -> Self {
        Self {
            pool,
            task,
            chunksize: None,
        }
    }

    /// How many items make one call of a worker, 1 or more (CPython: `chunksize`). Default: the pool's choice, by how long items
    /// take.
    ///
    /// A chunk is no longer than what is submitted at once: 2048 items, with 64 KiB of arguments, or for `imap` the inputs that are
    /// pulled together, 64 at most. Other clients wait for whole chunks, of which each process has two.
    pub fn chunksize(mut self, items: u32) -> Self {
        self.chunksize = Some(items);
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
        let chunk = chunksize.unwrap_or(ANY_CHUNK);
        Ok(Job::begin(&self.pool.proxy, &task, chunk, inputs, most)?)
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
    /// are pulled 64 ahead of them at most.
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
        let job = self.begin::<(I::Item,), R, M, _>(self.chunksize, &mut inputs, AHEAD)?;
        Ok(IMap::new(inputs, job, ordered))
    }
}
