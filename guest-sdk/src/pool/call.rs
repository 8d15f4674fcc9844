//! One call on a pool, with its options.

use std::{borrow::Cow, rc::Rc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use wasmp_abi::Retry;

use super::{
    Pool, PoolError,
    imap::IMap,
    job::Job,
    result::{AsyncResult, open_all, open_one},
};
use crate::cbor;

/// Bytes of items that are submitted at once.
const BLOCK_BYTES: usize = 64 << 10;

/// How many inputs `imap` reads ahead, unless it is told otherwise.
const AHEAD: u64 = 64;

/// Head of a CBOR array of one element.
const ARRAY_OF_ONE: u8 = 0x81;

/// A task of a pool and how to call it; from [`Pool::task`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is called"]
pub struct Call<'p> {
    pool: &'p Pool,
    /// Its name, or why it has none.
    task: Result<Rc<str>, String>,
    chunksize: Option<u32>,
    timeout: Duration,
    retry: Retry,
    buffersize: u64,
}

/// Appends an item: its length, then its arguments: `input` is the only one, or with `star` the sequence of all.
pub(super) fn write_item(input: &impl Serialize, star: bool, block: &mut Vec<u8>) -> Result<(), PoolError> {
    let start = block.len();
    block.extend_from_slice(&[0; 4]);
    if !star {
        block.push(ARRAY_OF_ONE);
    }
    let written = cbor::encode(input, block).map_err(PoolError::Encode);
    if written.is_err() {
        block.truncate(start);
        return written;
    }
    let length = u32::try_from(block.len() - start - 4).expect("memory has 32 bits");
    block[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

impl<'p> Call<'p> {
    pub(super) fn new(pool: &'p Pool, task: Result<Cow<'static, str>, String>) -> Self {
        Self {
            pool,
            task: task.map(|name| name.as_ref().into()),
            chunksize: None,
            timeout: pool.timeout,
            retry: pool.retry,
            buffersize: AHEAD,
        }
    }

    /// How many items make one call of a worker, 1 or more. Default: the host's choice, by how long items take.
    pub fn chunksize(mut self, items: u32) -> Self {
        self.chunksize = Some(items);
        self
    }

    /// Kills an item that runs longer than this. Its worker is replaced, which costs about a millisecond.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// When an item that failed is tried again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// For `imap`: how many inputs may be ahead of whoever takes the results; it is at least 1. Default: 64.
    pub fn buffersize(mut self, items: u32) -> Self {
        self.buffersize = items.max(1).into();
        self
    }

    fn begin(&self, chunksize: Option<u32>) -> Result<Rc<Job>, PoolError> {
        if chunksize == Some(0) {
            let why = "a chunksize of 0 makes no sense: it must be 1 or more";
            return Err(PoolError::Invalid(why.to_owned()));
        }
        let task = self.task.as_ref().map_err(|why| PoolError::Invalid(why.clone()))?;
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut options = Vec::with_capacity(32);
        options.extend_from_slice(&chunksize.unwrap_or(0).to_le_bytes());
        let (retries, retry_on, backoff) = self.retry.parts();
        options.extend_from_slice(&retries.to_le_bytes());
        options.extend_from_slice(&retry_on.to_le_bytes());
        options.extend_from_slice(&[0; 4]);
        options.extend_from_slice(&nanoseconds(self.timeout).to_le_bytes());
        options.extend_from_slice(&backoff.to_le_bytes());
        Job::begin(&self.pool.inner, task, &options)
    }

    /// Calls the task with these arguments, a tuple, and waits for its result.
    ///
    /// # Errors
    ///
    /// Those of [`apply_async`](Self::apply_async) and [`AsyncResult::get`].
    pub fn apply<R: DeserializeOwned>(&self, args: impl Serialize) -> Result<R, PoolError> {
        self.apply_async(args)?.get()
    }

    /// Calls the task with these arguments, a tuple, and returns at once.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be serialized, or the pool takes no more work. That there is no such task is said by the
    /// result.
    pub fn apply_async<R: DeserializeOwned>(&self, args: impl Serialize) -> Result<AsyncResult<R>, PoolError> {
        let mut item = Vec::new();
        write_item(&args, true, &mut item)?;
        let job = self.begin(Some(1))?;
        job.submit(&item)?;
        job.seal()?;
        Ok(AsyncResult::new(job, open_one))
    }

    /// Calls the task once for each input, its one argument; returns the results in the order of the inputs.
    ///
    /// # Errors
    ///
    /// The error of the first input that failed, after all have run (CPython: `Pool.map`); and those of
    /// [`apply_async`](Self::apply_async).
    pub fn map<R: DeserializeOwned>(&self, inputs: impl IntoIterator<Item: Serialize>) -> Result<Vec<R>, PoolError> {
        self.map_async(inputs)?.get()
    }

    /// [`map`](Self::map), but each input is a tuple of all arguments.
    ///
    /// # Errors
    ///
    /// Those of `map`.
    pub fn starmap<R: DeserializeOwned>(
        &self,
        inputs: impl IntoIterator<Item: Serialize>,
    ) -> Result<Vec<R>, PoolError> {
        self.starmap_async(inputs)?.get()
    }

    /// [`map`](Self::map), but returns when all inputs are submitted; the one result is all results.
    ///
    /// # Errors
    ///
    /// Those of [`apply_async`](Self::apply_async).
    pub fn map_async<R: DeserializeOwned>(
        &self,
        inputs: impl IntoIterator<Item: Serialize>,
    ) -> Result<AsyncResult<Vec<R>>, PoolError> {
        self.submit_all(inputs, false)
    }

    /// [`map_async`](Self::map_async), but each input is a tuple of all arguments.
    ///
    /// # Errors
    ///
    /// Those of `map_async`.
    pub fn starmap_async<R: DeserializeOwned>(
        &self,
        inputs: impl IntoIterator<Item: Serialize>,
    ) -> Result<AsyncResult<Vec<R>>, PoolError> {
        self.submit_all(inputs, true)
    }

    fn submit_all<R: DeserializeOwned>(
        &self,
        inputs: impl IntoIterator<Item: Serialize>,
        star: bool,
    ) -> Result<AsyncResult<Vec<R>>, PoolError> {
        let job = self.begin(self.chunksize)?;
        let mut block = Vec::new();
        for input in inputs {
            if let Err(error) = write_item(&input, star, &mut block) {
                // As in the host, all or nothing: what was submitted is not wanted.
                job.cancel()?;
                return Err(error);
            }
            if block.len() >= BLOCK_BYTES {
                job.submit(&block)?;
                block.clear();
            }
        }
        if !block.is_empty() {
            job.submit(&block)?;
        }
        job.seal()?;
        Ok(AsyncResult::new(job, open_all))
    }

    /// [`map`](Self::map) without waiting for all: results come as the iterator is pulled, in the order of the inputs.
    ///
    /// Inputs are pulled only so far ahead as [`buffersize`](Self::buffersize) says, so they may be endless.
    ///
    /// # Errors
    ///
    /// [`PoolError::NotRunning`] if the pool takes no more work, [`PoolError::Invalid`] for a chunksize of 0.
    pub fn imap<I, R>(&self, inputs: I) -> Result<IMap<I::IntoIter, R>, PoolError>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        let job = self.begin(self.chunksize)?;
        Ok(IMap::new(inputs.into_iter(), job, self.buffersize, true))
    }

    /// [`imap`](Self::imap), but results come as they are finished.
    ///
    /// # Errors
    ///
    /// Those of `imap`.
    pub fn imap_unordered<I, R>(&self, inputs: I) -> Result<IMap<I::IntoIter, R>, PoolError>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        let job = self.begin(self.chunksize)?;
        Ok(IMap::new(inputs.into_iter(), job, self.buffersize, false))
    }
}
