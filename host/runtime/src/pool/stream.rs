//! Many items: inputs go in at one end, results come out at the other.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Call;
use super::codec::{Spread, ended};
use crate::cbor::Decoder;
use crate::error::{Error, Result};
use crate::outcome::task_error;
use crate::shared::collect_references;
use crate::supervisor::Shared;
use crate::supervisor::feed::Feed;
use crate::supervisor::job::{BLOCK_BYTES, Batch, ChunkRule, Delivery, Item, JobKey, Outcome, Sink};

/// In which order results come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In that of their inputs.
    Input,
    /// As they are finished.
    Completion,
}

/// The end of a stream where inputs go in; see [`Call::stream`](super::Call::stream). Dropping it ends the input.
pub struct Submitter<A> {
    pool: Arc<Shared>,
    feed: Arc<Feed>,
    job: JobKey,
    spread: Spread,
    /// Where an input is serialized.
    scratch: Vec<u8>,
    input: PhantomData<fn(A)>,
}

impl<A> fmt::Debug for Submitter<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitter")
            .field("feed", &self.feed)
            .finish_non_exhaustive()
    }
}

impl<A: Serialize> Submitter<A> {
    /// Submits an input, and returns its index. Waits while the read-ahead is full, that is until results are taken.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`](crate::Error::Encode) if the input cannot be serialized: nothing was submitted then, and the
    /// stream goes on. [`Error::NotRunning`](crate::Error::NotRunning) if nobody takes results any more.
    pub fn submit(&mut self, input: &A) -> Result<u64> {
        self.scratch.clear();
        let ((), references) = collect_references(|| self.spread.write(input, &mut self.scratch))?;
        let pushed = self.feed.push(&self.scratch, references);
        self.scratch.shrink_to(BLOCK_BYTES);
        let (index, block) = pushed?;
        if let Some(block) = block {
            self.pool.act(|core, _| core.submit(self.job, block));
        }
        Ok(index)
    }

    /// Whether [`submit`](Self::submit) would not have to wait.
    pub(super) fn has_room(&self) -> bool {
        self.feed.has_room()
    }
}

impl<A> Drop for Submitter<A> {
    fn drop(&mut self) {
        let rest = self.feed.take();
        self.pool.act(|core, _| {
            if let Some(rest) = rest {
                core.submit(self.job, rest);
            }
            core.seal_job(self.job);
        });
    }
}

/// The end of a stream where results come out: an iterator over `(index, result)`.
///
/// It goes on after an item that failed. It ends when every input has its outcome, and when the pool is terminated
/// or gives up: then each input that is still open gets an error that says so. Dropping it stops the input, and drops
/// what waits for a worker.
pub struct Results<R> {
    pool: Arc<Shared>,
    task: Arc<str>,
    feed: Arc<Feed>,
    chunk: ChunkRule,
    /// How many inputs may be ahead, if the caller has said so.
    ahead: Option<usize>,
    job: JobKey,
    deliveries: Receiver<Delivery>,
    window: Window<R>,
    /// Results handed out since whoever waits for room was last woken.
    taken: usize,
    decoder: Decoder,
}

impl<R> fmt::Debug for Results<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results")
            .field("task", &self.task)
            .field("feed", &self.feed)
            .finish_non_exhaustive()
    }
}

/// Results that have come and were not handed out, and which of the inputs have had theirs.
struct Window<R> {
    order: Order,
    /// Every input before this one has had its outcome.
    base: u64,
    /// The inputs from `base` on.
    entries: VecDeque<Entry<R>>,
    /// In order of completion: what is to be handed out.
    finished: VecDeque<(u64, Result<R>)>,
}

enum Entry<R> {
    Open,
    Here(Result<R>),
    HandedOut,
}

impl<R> Window<R> {
    fn new(order: Order) -> Self {
        Self {
            order,
            base: 0,
            entries: VecDeque::new(),
            finished: VecDeque::new(),
        }
    }

    fn put(&mut self, index: u64, result: Result<R>) {
        let at = usize::try_from(index - self.base).expect("no more inputs are open than fit in memory");
        if self.entries.len() <= at {
            self.entries.resize_with(at + 1, || Entry::Open);
        }
        self.entries[at] = match self.order {
            Order::Input => Entry::Here(result),
            Order::Completion => {
                self.finished.push_back((index, result));
                Entry::HandedOut
            }
        };
    }

    fn pop(&mut self) -> Option<(u64, Result<R>)> {
        loop {
            match (self.order, self.entries.front()) {
                (_, Some(Entry::HandedOut)) | (Order::Input, Some(Entry::Here(_))) => {
                    let entry = self.entries.pop_front();
                    let index = self.base;
                    self.base += 1;
                    if let Some(Entry::Here(result)) = entry {
                        return Some((index, result));
                    }
                }
                _ => return self.finished.pop_front(),
            }
        }
    }

    /// Gives every one of the first `submitted` inputs that is still open this outcome.
    fn close(&mut self, submitted: u64, outcome: impl Fn(u64) -> Result<R>) {
        for index in self.base..submitted {
            let at = (index - self.base) as usize;
            if matches!(self.entries.get(at), None | Some(Entry::Open)) {
                self.put(index, outcome(index));
            }
        }
    }
}

impl<R: DeserializeOwned> Results<R> {
    fn accept(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Batch(Batch { bytes, items }) => {
                for Item { index, outcome } in items {
                    let result = match outcome {
                        Outcome::Done { start, len } => {
                            let bytes = &bytes[start..start + len];
                            self.decoder.read(bytes).map_err(Error::Decode)
                        }
                        Outcome::Failed(failure) => Err(task_error(&self.task, index, &failure).into()),
                    };
                    self.window.put(index, result);
                }
            }
            Delivery::Complete => {}
            Delivery::End(end) => {
                let submitted = self.feed.close();
                self.window
                    .close(submitted, |index| Err(ended(&self.task, index, &end)));
            }
        }
    }

    /// The next result, if it is there.
    pub fn try_next(&mut self) -> Option<(u64, Result<R>)> {
        let mut next = self.window.pop();
        while next.is_none()
            && let Ok(delivery) = self.deliveries.try_recv()
        {
            self.accept(delivery);
            next = self.window.pop();
        }
        if next.is_some() {
            self.feed.took_one();
            self.taken += 1;
        }
        if next.is_none() || self.taken >= WAKE_EVERY {
            self.taken = 0;
            let appetite = || self.pool.read(|core| core.appetite(self.chunk));
            self.feed.make_room(self.ahead.unwrap_or_else(appetite));
        }
        next
    }
}

impl<R: DeserializeOwned> Results<R> {
    /// The next result, `None` after the last. Waits no longer than `timeout` (CPython: `IMapIterator.next`).
    ///
    /// # Errors
    ///
    /// [`Error::WaitTimeout`] if it is not there by then; it can be asked for again.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<(u64, Result<R>)>> {
        self.next_until(Instant::now().checked_add(timeout))
            .map_err(|_| Error::WaitTimeout(timeout))
    }

    /// An error: it was not there by the deadline.
    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<(u64, Result<R>)>, RecvTimeoutError> {
        loop {
            if let Some(next) = self.try_next() {
                return Ok(Some(next));
            }
            let deliveries = &self.deliveries;
            let received = match self.pool.attend(|| deliveries.try_recv().ok()) {
                Some(delivery) => Ok(delivery),
                None => match deadline {
                    Some(deadline) => deliveries.recv_deadline(deadline),
                    None => deliveries.recv().map_err(Into::into),
                },
            };
            match received {
                Ok(delivery) => self.accept(delivery),
                Err(RecvTimeoutError::Disconnected) => return Ok(self.window.pop()),
                Err(timeout) => return Err(timeout),
            }
        }
    }
}

impl<R: DeserializeOwned> Iterator for Results<R> {
    type Item = (u64, Result<R>);

    fn next(&mut self) -> Option<Self::Item> {
        // Without a deadline there is no timeout.
        self.next_until(None).ok().flatten()
    }
}

impl<R> Drop for Results<R> {
    fn drop(&mut self) {
        self.feed.close();
        self.pool.act(|core, _| core.cancel_job(self.job));
    }
}

/// How many results are handed out before whoever waits for room is woken.
const WAKE_EVERY: usize = 64;

/// Opens a stream.
pub(super) fn open<A, R>(call: &Call<'_>, spread: Spread, order: Order) -> Result<(Submitter<A>, Results<R>)> {
    let pool = call.pool();
    let chunk = call.chunk(None)?;
    let ahead = call.ahead();
    let appetite = ahead.unwrap_or_else(|| pool.read(|core| core.appetite(chunk)));
    let feed = Arc::new(Feed::new(appetite, chunk.multiple()));
    let (sender, deliveries) = unbounded();
    let job = call.open_job(Sink::Many(Box::new(sender)), chunk, Some(Arc::clone(&feed)))?;
    let submitter = Submitter {
        pool: Arc::clone(pool),
        feed: Arc::clone(&feed),
        job,
        spread,
        scratch: Vec::new(),
        input: PhantomData,
    };
    let results = Results {
        pool: Arc::clone(pool),
        task: Arc::clone(&call.origin()?.task),
        feed,
        chunk,
        ahead,
        job,
        deliveries,
        window: Window::new(order),
        taken: 0,
        decoder: Decoder::new(),
    };
    Ok((submitter, results))
}

/// The results of [`Pool::imap`](super::Pool::imap): pulls inputs as it is pulled itself.
///
/// It goes on after an item that failed. An input that cannot be serialized is the last: its error comes after the
/// results of the inputs before it.
pub struct IMap<I: Iterator, R> {
    inputs: I,
    submitter: Option<Submitter<I::Item>>,
    results: Results<R>,
    failed: Option<Error>,
}

impl<I: Iterator, R> fmt::Debug for IMap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IMap")
            .field("results", &self.results)
            .finish_non_exhaustive()
    }
}

impl<I: Iterator, R> IMap<I, R> {
    pub(super) fn new(inputs: I, (submitter, results): (Submitter<I::Item>, Results<R>)) -> Self {
        Self {
            inputs,
            submitter: Some(submitter),
            results,
            failed: None,
        }
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned> IMap<I, R> {
    /// Submits inputs for as long as there is room.
    fn pull(&mut self) {
        while let Some(submitter) = &mut self.submitter {
            if !submitter.has_room() {
                return;
            }
            let submitted = match self.inputs.next() {
                Some(input) => submitter.submit(&input),
                None => Err(Error::NotRunning),
            };
            if let Err(error) = submitted {
                self.submitter = None;
                self.failed = Some(error).filter(|error| !matches!(error, Error::NotRunning));
            }
        }
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<Result<R>>, RecvTimeoutError> {
        if let Some((_, result)) = self.results.try_next() {
            return Ok(Some(result));
        }
        self.pull();
        Ok(match self.results.next_until(deadline)? {
            Some((_, result)) => Some(result),
            None => self.failed.take().map(Err),
        })
    }

    /// The next result, `None` after the last. Waits no longer than `timeout` for it; for the next input it may have to
    /// (CPython: `IMapIterator.next`).
    ///
    /// # Errors
    ///
    /// [`Error::WaitTimeout`] if the result is not there by then; it can be asked for again. Or the error of that item,
    /// after which the next can be asked for.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<R>> {
        match self.next_until(Instant::now().checked_add(timeout)) {
            Ok(next) => next.transpose(),
            Err(_) => Err(Error::WaitTimeout(timeout)),
        }
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned> Iterator for IMap<I, R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None).ok().flatten()
    }
}
