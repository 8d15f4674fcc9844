//! Many items whose results are wanted together: `map` and its kin.

use std::sync::Arc;

use crossbeam_channel::{TryRecvError, unbounded};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Call;
use super::codec::{self, Spread, ended};
use super::result::AsyncResult;
use crate::cbor::Decoder;
use crate::error::{Error, Result};
use crate::outcome::task_error;
use crate::supervisor::feed::Refused;
use crate::supervisor::job::{BLOCK_ITEMS, Batch, Block, ChunkRule, Delivery, Item, JobKey, Outcome, Sink};
use crate::supervisor::shot::{OneShot, Reply};

/// Calls the task for each input, and waits for all results.
pub(super) fn map<I, R>(call: &Call<'_>, spread: Spread, inputs: I) -> Result<Vec<R>>
where
    I: IntoIterator<Item: Serialize>,
    R: DeserializeOwned,
{
    let (sender, deliveries) = unbounded();
    let mut gather = Gather::new(call.name());
    let (_, total) = submit(call, Sink::Many(Box::new(sender)), spread, inputs)?;
    gather.expect(total);
    let pool = call.pool();
    let mut decoder = Decoder::new();
    while gather.missing > 0 {
        let delivery = match deliveries.try_recv() {
            Err(TryRecvError::Empty) => {
                let attended = pool.attend(|| deliveries.try_recv().ok());
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

/// Calls the task for each input, and returns when all are submitted.
pub(super) fn map_async<I, R>(call: &Call<'_>, spread: Spread, inputs: I) -> Result<AsyncResult<Vec<R>>>
where
    I: IntoIterator<Item: Serialize>,
    R: DeserializeOwned,
{
    let shot = OneShot::new();
    let (job, _) = submit(
        call,
        Sink::All(Box::new((Arc::clone(&shot), Vec::new()))),
        spread,
        inputs,
    )?;
    Ok(AsyncResult::new(call.origin()?, job, shot, open))
}

/// All results, or the failure of the first input that failed.
fn open<R: DeserializeOwned>(task: &str, reply: &Reply) -> Result<Vec<R>> {
    match reply {
        Reply::All(batches) => {
            let mut gather = Gather::new(task);
            gather.expect(batches.iter().map(|batch| batch.items.len()).sum());
            let mut decoder = Decoder::new();
            for batch in batches {
                gather.accept_batch(batch, &mut decoder);
            }
            gather.finish()
        }
        Reply::Failed(failure) => Err(task_error(task, 0, failure).into()),
        Reply::Ended(end) => Err(ended(task, 0, end)),
        Reply::Callback(panic) => Err(Error::Callback(panic.clone())),
        Reply::Done(_) => Err(Error::Decode("one result came where many were expected".into())),
    }
}

/// Opens a job and submits all inputs. Returns how many there were.
fn submit<I>(call: &Call<'_>, sink: Sink, spread: Spread, inputs: I) -> Result<(JobKey, usize)>
where
    I: IntoIterator<Item: Serialize>,
{
    if !call.counts_inputs() {
        return submit_chunks(call, sink, spread, call.chunk(None)?, inputs);
    }
    let inputs: Vec<_> = inputs.into_iter().collect();
    let chunk = call.chunk(Some(inputs.len()))?;
    submit_chunks(call, sink, spread, chunk, inputs)
}

fn submit_chunks<I>(call: &Call<'_>, sink: Sink, spread: Spread, chunk: ChunkRule, inputs: I) -> Result<(JobKey, usize)>
where
    I: IntoIterator<Item: Serialize>,
{
    let job = call.open_job(sink, chunk, None)?;
    match send_all(call, job, spread, chunk, inputs) {
        Ok(total) => Ok((job, total)),
        Err(refused) => {
            call.pool().act(|core, _| core.cancel_job(job));
            Err(refused.into())
        }
    }
}

/// Submits all inputs, block by block, so that the workers begin with the first. Returns how many there were.
fn send_all<I>(call: &Call<'_>, job: JobKey, spread: Spread, chunk: ChunkRule, inputs: I) -> Result<usize, Refused>
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
        call.pool().act(|core, _| {
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

/// The results of a `map`, as they come.
struct Gather<'a, R> {
    task: &'a str,
    results: Vec<Option<R>>,
    first_failed: Option<(u64, Error)>,
    missing: usize,
}

impl<'a, R: DeserializeOwned> Gather<'a, R> {
    fn new(task: &'a str) -> Self {
        Self {
            task,
            results: Vec::new(),
            first_failed: None,
            missing: 0,
        }
    }

    fn expect(&mut self, total: usize) {
        self.results.resize_with(total, || None);
        self.missing = total;
    }

    fn accept(&mut self, delivery: Delivery, decoder: &mut Decoder) {
        match delivery {
            Delivery::Batch(batch) => self.accept_batch(&batch, decoder),
            Delivery::Complete => {}
            Delivery::End(end) => {
                let open = self.results.iter().position(Option::is_none).unwrap_or(0) as u64;
                self.fail(open, ended(self.task, open, &end));
                self.missing = 0;
            }
        }
    }

    fn accept_batch(&mut self, batch: &Batch, decoder: &mut Decoder) {
        for Item { index, outcome } in &batch.items {
            self.missing -= 1;
            let result = match outcome {
                Outcome::Done { start, len } => {
                    let bytes = &batch.bytes[*start..start + len];
                    decoder.read(bytes).map_err(Error::Decode)
                }
                Outcome::Failed(failure) => Err(task_error(self.task, *index, failure).into()),
            };
            match result {
                Ok(result) => self.results[*index as usize] = Some(result),
                Err(error) => self.fail(*index, error),
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
