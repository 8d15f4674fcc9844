//! One call on a pool, with its options.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{TryRecvError, unbounded};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, Spread, ended, task_error};
use super::result::AsyncResult;
use super::stream::{self, IMap, Order, Results, Submitter};
use super::{Pool, Settings};
use crate::cbor::Decoder;
use crate::error::{Error, Result};
use crate::supervisor::Shared;
use crate::supervisor::feed::{Feed, Refused};
use crate::supervisor::job::{BLOCK_ITEMS, Block, ChunkRule, Delivery, Item, Job, JobKey, OneShot, Outcome, Sink};

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
    chunksize: Chunksize,
    timeout: Option<Duration>,
    retries: u32,
}

impl<'p> Call<'p> {
    pub(super) fn new(pool: &'p Pool, task: &str, settings: &Settings) -> Self {
        Self {
            pool,
            task: task.to_owned(),
            chunksize: Chunksize::default(),
            timeout: settings.timeout,
            retries: settings.retries,
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
        self
    }

    /// How often an item is tried again whose worker died under it.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
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
        let shot = Arc::new(OneShot::default());
        let block = codec::single(&args)?;
        let job = self.job(Sink::One(Arc::clone(&shot)), ChunkRule::Exact(1), None)?;
        self.pool().act(|core, _| {
            let key = core.open_job(job)?;
            core.submit(key, block);
            core.seal_job(key);
            Ok::<_, Error>(())
        })?;
        Ok(AsyncResult::new(Arc::clone(self.pool()), self.task_name(), shot))
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
        self.map_spread(Spread::One, inputs)
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
        self.map_spread(Spread::Star, inputs)
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

    pub(super) fn task_name(&self) -> Arc<str> {
        self.task.as_str().into()
    }

    pub(super) fn stream_chunk(&self) -> Result<ChunkRule> {
        self.chunksize.rule(None, self.pool.processes())
    }

    fn job(&self, sink: Sink, chunk: ChunkRule, feed: Option<Arc<Feed>>) -> Result<Job> {
        Ok(Job {
            task: self.pool.task_number(&self.task)?,
            chunk,
            timeout: self.timeout,
            retries: self.retries,
            sink,
            feed,
            open: true,
            outstanding: 0,
            batch: Default::default(),
        })
    }

    pub(super) fn open_job(&self, sink: Sink, chunk: ChunkRule, feed: Option<Arc<Feed>>) -> Result<JobKey> {
        let job = self.job(sink, chunk, feed)?;
        Ok(self.pool().act(|core, _| core.open_job(job))?)
    }

    fn map_spread<I, R>(&self, spread: Spread, inputs: I) -> Result<Vec<R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        // CPython's rule needs the number of inputs before the first is sent.
        if self.chunksize == Chunksize::Python {
            let inputs: Vec<_> = inputs.into_iter().collect();
            let chunk = self.chunksize.rule(Some(inputs.len()), self.pool.processes())?;
            self.map_chunks(spread, chunk, inputs)
        } else {
            self.map_chunks(spread, self.chunksize.rule(None, 1)?, inputs)
        }
    }

    fn map_chunks<I, R>(&self, spread: Spread, chunk: ChunkRule, inputs: I) -> Result<Vec<R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        let (sender, deliveries) = unbounded();
        let job = self.open_job(Sink::Many(sender), chunk, None)?;
        let mut gather = Gather {
            task: &self.task,
            results: Vec::new(),
            first_failed: None,
            missing: 0,
        };
        match self.send_all(job, spread, chunk, inputs) {
            Ok(total) => gather.expect(total),
            Err(refused) => {
                self.pool().act(|core, _| core.cancel_job(job));
                return Err(refused.into());
            }
        }
        let mut decoder = Decoder::new();
        while gather.missing > 0 {
            let delivery = match deliveries.try_recv() {
                Err(TryRecvError::Empty) => {
                    let attended = self.pool().attend(|| deliveries.try_recv().ok());
                    attended.or_else(|| deliveries.recv().ok())
                }
                received => received.ok(),
            };
            match delivery {
                Some(delivery) => gather.accept(delivery, &mut decoder),
                None => return Err(Error::NotRunning),
            }
        }
        gather.finish()
    }

    /// Submits all inputs, block by block, so that the workers begin with the first. Returns how many there were.
    fn send_all<I>(&self, job: JobKey, spread: Spread, chunk: ChunkRule, inputs: I) -> Result<usize, Refused>
    where
        I: IntoIterator<Item: Serialize>,
    {
        // Blocks are cut between chunks, so that each chunk is whole.
        let multiple = chunk.multiple();
        let most = (BLOCK_ITEMS / multiple).max(1) * multiple;
        let mut inputs = inputs.into_iter();
        let mut total = 0;
        loop {
            let mut block = Block::new(total as u64);
            let more = codec::fill(&mut block, |block| {
                for input in inputs.by_ref() {
                    block.push(|bytes| spread.write(&input, bytes))?;
                    if block.len() >= most || (block.is_full() && block.len().is_multiple_of(multiple)) {
                        return Ok(true);
                    }
                }
                Ok(false)
            })?;
            total += block.len();
            self.pool().act(|core, _| {
                core.submit(job, block);
                if !more {
                    core.seal_job(job);
                }
            });
            if !more {
                return Ok(total);
            }
        }
    }
}

/// The results of a `map`, as they come.
struct Gather<'a, R> {
    task: &'a str,
    results: Vec<Option<R>>,
    first_failed: Option<(u64, Error)>,
    missing: usize,
}

impl<R: DeserializeOwned> Gather<'_, R> {
    fn expect(&mut self, total: usize) {
        self.results.resize_with(total, || None);
        self.missing = total;
    }

    fn accept(&mut self, delivery: Delivery, decoder: &mut Decoder) {
        let batch = match delivery {
            Delivery::Batch(batch) => batch,
            Delivery::End(end) => {
                let open = self.results.iter().position(Option::is_none).unwrap_or(0) as u64;
                self.fail(open, ended(self.task, open, &end));
                self.missing = 0;
                return;
            }
        };
        for Item { index, outcome } in batch.items {
            self.missing -= 1;
            let result = match outcome {
                Outcome::Done { start, len } => {
                    let bytes = &batch.bytes[start..start + len];
                    decoder.read(bytes).map_err(Error::Decode)
                }
                Outcome::Failed(failure) => Err(task_error(self.task, index, &failure).into()),
            };
            match result {
                Ok(result) => self.results[index as usize] = Some(result),
                Err(error) => self.fail(index, error),
            }
        }
    }

    fn fail(&mut self, index: u64, error: Error) {
        if self.first_failed.as_ref().is_none_or(|(first, _)| index < *first) {
            self.first_failed = Some((index, error));
        }
    }

    fn finish(self) -> Result<Vec<R>> {
        match self.first_failed {
            Some((_, error)) => Err(error),
            None => Ok(self.results.into_iter().flatten().collect()),
        }
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
