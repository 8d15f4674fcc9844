//! One call on a pool, with its options.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, Spread};
use super::result::{self, AsyncResult, Origin};
use super::stream::{self, IMap, Order, Results, Submitter};
use super::{Pool, Settings, map};
use crate::error::{Error, Result};
use crate::retry::Retry;
use crate::supervisor::Shared;
use crate::supervisor::feed::Feed;
use crate::supervisor::job::{ChunkRule, Job, JobKey, Sink, Terms};
use crate::supervisor::shot::OneShot;

/// How many items make one call of the guest: one trip to a worker and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunksize {
    /// Whatever keeps the overhead small and the workers evenly loaded, by how long items take.
    #[default]
    Adaptive,
    /// CPython's rule for `map`: a quarter of each worker's share of the inputs. For streams, whose length is not known,
    /// it is 1, as for CPython's `imap`.
    Python,
    /// This many. A stream whose inputs come slowly does not wait for a chunk to fill.
    Exact(u32),
}

impl Chunksize {
    /// The rule for this many inputs.
    fn rule(self, inputs: Option<usize>, processes: usize) -> Result<ChunkRule> {
        match (self, inputs) {
            (Self::Adaptive, _) => Ok(ChunkRule::Adaptive),
            (Self::Python, Some(inputs)) => {
                // CPython: `chunksize, extra = divmod(len(iterable), len(self._pool) * 4); if extra: chunksize += 1`.
                let items = inputs.div_ceil(processes * 4).max(1);
                Ok(ChunkRule::Exact(u32::try_from(items).unwrap_or(u32::MAX)))
            }
            (Self::Python, None) => Ok(ChunkRule::Exact(1)),
            (Self::Exact(0), _) => Err(Error::Invalid(
                "a chunksize of 0 makes no sense: it must be 1 or more".into(),
            )),
            (Self::Exact(items), _) => Ok(ChunkRule::Exact(items)),
        }
    }
}

/// See [`Call`].
#[derive(Clone, Debug)]
struct Made {
    origin: Arc<Origin>,
    /// For a single item.
    terms: Arc<Terms>,
}

/// A task of a pool and how to call it; from [`Pool::task`].
///
/// ```no_run
/// use std::time::Duration;
/// use wasmp::{Chunksize, Pool};
///
/// # fn main() -> wasmp::Result<()> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let squares: Vec<i64> = pool
///     .task("square")
///     .chunksize(Chunksize::Exact(20))
///     .timeout(Duration::from_secs(1))
///     .map(0..1000)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is called"]
pub struct Call<'p> {
    pool: &'p Pool,
    task: String,
    /// What is the same for all uses of this call, made by the first.
    made: OnceLock<Made>,
    chunksize: Chunksize,
    timeout: Option<Duration>,
    retry: Retry,
    buffersize: Option<usize>,
}

impl<'p> Call<'p> {
    pub(super) fn new(pool: &'p Pool, task: &str, settings: &Settings) -> Self {
        Self {
            pool,
            task: task.to_owned(),
            made: OnceLock::new(),
            chunksize: Chunksize::default(),
            timeout: settings.timeout,
            retry: settings.retry,
            buffersize: None,
        }
    }

    /// How many items make one call of the guest.
    pub fn chunksize(mut self, chunksize: Chunksize) -> Self {
        self.chunksize = chunksize;
        self
    }

    /// Kills an item that runs longer than this. Its worker is replaced, which costs about a millisecond.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self.made = OnceLock::new();
        self
    }

    /// How often an item is tried again whose worker died under it.
    pub fn retries(self, retries: u32) -> Self {
        self.retry(Retry::times(retries))
    }

    /// When an item that failed is tried again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self.made = OnceLock::new();
        self
    }

    /// For streams and `imap`: how many inputs may be ahead of whoever takes the results (CPython: `buffersize`, of
    /// `Executor.map`). It is at least 1. Default: what keeps the workers busy, by how long items take.
    pub fn buffersize(mut self, items: usize) -> Self {
        self.buffersize = Some(items.max(1));
        self
    }

    /// Calls the task with these arguments, a tuple, and waits for its result.
    ///
    /// # Errors
    ///
    /// Those of [`apply_async`](Self::apply_async) and [`AsyncResult::get`].
    pub fn apply<A: Serialize, R: DeserializeOwned>(&self, args: A) -> Result<R> {
        self.apply_async(args)?.get()
    }

    /// Calls the task with these arguments, a tuple, and returns at once.
    ///
    /// # Errors
    ///
    /// If there is no such task, the arguments cannot be serialized, or the pool takes no more work.
    pub fn apply_async<A: Serialize, R: DeserializeOwned>(&self, args: A) -> Result<AsyncResult<R>> {
        let shot = OneShot::new();
        let block = codec::single(&args)?;
        let Made { origin, terms } = self.made()?;
        let job = Job::new(Arc::clone(terms), Sink::One(Arc::clone(&shot)), None);
        let key = self.pool().act(|core, _| {
            let key = core.open_job(job)?;
            core.submit(key, block);
            core.seal_job(key);
            Ok::<_, Error>(key)
        })?;
        Ok(AsyncResult::new(Arc::clone(origin), key, shot, result::open))
    }

    /// Calls the task once for each input, its one argument; returns the results in the order of the inputs.
    ///
    /// # Errors
    ///
    /// The error of the first input that failed, after all have run (CPython: `Pool.map`); and those of
    /// [`apply_async`](Self::apply_async).
    pub fn map<I, R>(&self, inputs: I) -> Result<Vec<R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        map::map(self, Spread::One, inputs)
    }

    /// [`map`](Self::map), but each input is a tuple of all arguments.
    ///
    /// # Errors
    ///
    /// Those of `map`.
    pub fn starmap<I, R>(&self, inputs: I) -> Result<Vec<R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        map::map(self, Spread::Star, inputs)
    }

    /// [`map`](Self::map), but returns when all inputs are submitted; the one result is all results.
    ///
    /// # Errors
    ///
    /// Those of [`apply_async`](Self::apply_async).
    pub fn map_async<I, R>(&self, inputs: I) -> Result<AsyncResult<Vec<R>>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        map::map_async(self, Spread::One, inputs)
    }

    /// [`map_async`](Self::map_async), but each input is a tuple of all arguments.
    ///
    /// # Errors
    ///
    /// Those of `map_async`.
    pub fn starmap_async<I, R>(&self, inputs: I) -> Result<AsyncResult<Vec<R>>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        map::map_async(self, Spread::Star, inputs)
    }

    /// [`map`](Self::map) without waiting for all: results come as the iterator is pulled, in the order of the inputs.
    ///
    /// Inputs are pulled only so far ahead as keeps the workers busy, so they may be endless; pulling happens inside
    /// `next`, which therefore waits for an input that is slow to come.
    ///
    /// # Errors
    ///
    /// If there is no such task, or the pool takes no more work.
    pub fn imap<I, R>(&self, inputs: I) -> Result<IMap<I::IntoIter, R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        Ok(IMap::new(
            inputs.into_iter(),
            stream::open(self, Spread::One, Order::Input)?,
        ))
    }

    /// [`imap`](Self::imap), but results come as they are finished.
    ///
    /// # Errors
    ///
    /// Those of `imap`.
    pub fn imap_unordered<I, R>(&self, inputs: I) -> Result<IMap<I::IntoIter, R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        Ok(IMap::new(
            inputs.into_iter(),
            stream::open(self, Spread::One, Order::Completion)?,
        ))
    }

    /// A stream: inputs, each a tuple (or other sequence) of all arguments, go in at one end, results come out at the
    /// other, and the two ends may be used by different threads.
    ///
    /// # Errors
    ///
    /// If there is no such task, or the pool takes no more work.
    pub fn stream<A: Serialize, R: DeserializeOwned>(&self, order: Order) -> Result<(Submitter<A>, Results<R>)> {
        stream::open(self, Spread::Star, order)
    }

    pub(super) fn pool(&self) -> &Arc<Shared> {
        &self.pool.shared
    }

    pub(super) fn origin(&self) -> Result<Arc<Origin>> {
        Ok(Arc::clone(&self.made()?.origin))
    }

    pub(super) fn name(&self) -> &str {
        &self.task
    }

    /// Whether the chunk depends on how many inputs there are.
    pub(super) fn counts_inputs(&self) -> bool {
        self.chunksize == Chunksize::Python
    }

    /// The rule for this many inputs, `None` if that is not known.
    pub(super) fn chunk(&self, inputs: Option<usize>) -> Result<ChunkRule> {
        self.chunksize.rule(inputs, self.pool.processes())
    }

    pub(super) fn ahead(&self) -> Option<usize> {
        self.buffersize
    }

    fn made(&self) -> Result<&Made> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let made = Made {
            origin: Arc::new(Origin {
                pool: Arc::clone(self.pool()),
                task: self.task.as_str().into(),
            }),
            terms: Arc::new(self.terms(ChunkRule::Exact(1))?),
        };
        Ok(self.made.get_or_init(|| made))
    }

    fn terms(&self, chunk: ChunkRule) -> Result<Terms> {
        Ok(Terms {
            task: super::task_number(&self.pool.module, &self.task)?,
            chunk,
            timeout: self.timeout,
            retry: self.retry,
        })
    }

    pub(super) fn open_job(&self, sink: Sink, chunk: ChunkRule, feed: Option<Arc<Feed>>) -> Result<JobKey> {
        let job = Job::new(Arc::new(self.terms(chunk)?), sink, feed);
        Ok(self.pool().act(|core, _| core.open_job(job))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_python_rule_is_that_of_cpython() {
        // Measured on CPython with four workers.
        for (inputs, chunk) in [(7, 1), (16, 1), (17, 2), (100, 7), (1000, 63)] {
            assert_eq!(
                Chunksize::Python.rule(Some(inputs), 4).unwrap(),
                ChunkRule::Exact(chunk),
                "{inputs} inputs"
            );
        }
    }

    #[test]
    fn a_chunksize_of_zero_is_refused() {
        assert!(matches!(Chunksize::Exact(0).rule(None, 2), Err(Error::Invalid(_))));
    }
}
