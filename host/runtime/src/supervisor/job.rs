//! What the supervisor knows about work: blocks of items on their way in, batches of outcomes on their way out.
//!
//! Both are plain bytes. The caller's thread serializes and deserializes; the supervisor only moves.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::feed::Feed;
use super::shot::{OneShot, Reply};
use crate::retry::{Mishap, Retry};
use crate::shared::References;
use crate::wire::ITEM_PREFIX;

/// Largest block of more than one item, and the size from which a block is sent on without waiting for more items.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// Most items in a block that is filled item by item.
pub(crate) const BLOCK_ITEMS: usize = 1024;

/// Items in submission order, laid out as the body of a call: each its length, then its arguments.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The index of the first item within its job.
    pub(crate) base: u64,
    ends: Vec<u32>,
    bytes: Vec<u8>,
    /// What the items refer to.
    references: References,
}

impl Drop for Block {
    fn drop(&mut self) {
        std::mem::take(&mut self.references).retract();
    }
}

/// An item is larger than a message may be.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl Block {
    /// An empty block whose first item will be number `base` of its job.
    pub(crate) fn new(base: u64) -> Self {
        let mut block = Self::default();
        block.base = base;
        block
    }

    /// Appends an item that `write` serializes. After an error the block is as it was.
    pub(crate) fn push<E: From<TooLarge>>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ITEM_PREFIX]);
        let written = write(&mut self.bytes).and_then(|()| {
            let len = u32::try_from(self.bytes.len() - start - ITEM_PREFIX).map_err(|_| TooLarge)?;
            let end = u32::try_from(self.bytes.len()).map_err(|_| TooLarge)?;
            self.bytes[start..start + ITEM_PREFIX].copy_from_slice(&len.to_le_bytes());
            self.ends.push(end);
            Ok(())
        });
        if written.is_err() {
            self.bytes.truncate(start);
        }
        written
    }

    /// Keeps these alive, which its items refer to.
    pub(crate) fn refer_to(&mut self, references: References) {
        self.references.append(references);
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether it is time to send it on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES || self.ends.len() >= BLOCK_ITEMS
    }

    /// Bytes of all items.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Where the items `first..end` stand in [`Self::bytes`].
    pub(crate) fn span(&self, first: usize, end: usize) -> std::ops::Range<usize> {
        let start = if first == 0 { 0 } else { self.ends[first - 1] as usize };
        start..self.ends[end - 1] as usize
    }

    /// The items as they travel.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Outcomes in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) items: Vec<Item>,
}

/// The outcome of one item.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) index: u64,
    pub(crate) outcome: Outcome,
}

/// What became of an item.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its result is in the batch's bytes.
    Done {
        start: usize,
        len: usize,
    },
    Failed(Box<Failure>),
}

impl Outcome {
    /// Whether it is none to be glad of.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// An item that has no result, and whose fault that was.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: What,
    pub(crate) worker: u32,
    pub(crate) pid: u32,
    pub(crate) attempt: u32,
}

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum What {
    /// The worker says so; the bytes are a `Fault`, not yet looked at.
    Reported(Vec<u8>),
    /// It ran longer than this.
    Timeout(Duration),
    /// The worker is gone.
    Lost(Loss),
}

/// How a worker went.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    Signaled(i32),
    Exited(i32),
    /// It broke the protocol and was killed for it.
    Violation(String),
    /// Nobody could tell.
    Unknown,
}

/// Why a job ends before all of its items have an outcome.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Whoever wanted it wants it no more.
    Cancelled,
    /// The pool was terminated.
    Terminated,
    /// The pool cannot go on, for this reason.
    Broken(String),
}

/// What comes out of a job with many items.
#[derive(Debug)]
pub(crate) enum Delivery {
    Batch(Batch),
    End(End),
}

/// Where outcomes go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// As they come, in batches.
    Many(Sender<Delivery>),
    /// The only one.
    One(Arc<OneShot>),
    /// All at once, when there is nothing left to come.
    All(Arc<OneShot>, Vec<Batch>),
    /// Nobody is interested any more.
    Nobody,
}

/// How many items make one call of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkRule {
    /// As many as keep the overhead small and the workers evenly loaded.
    Adaptive,
    Exact(u32),
}

impl ChunkRule {
    /// Items are best sent in multiples of this, so that every chunk is whole.
    pub(crate) const fn multiple(self) -> usize {
        match self {
            Self::Adaptive => 1,
            Self::Exact(items) => items as usize,
        }
    }
}

/// A call of the library that has items under way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) task: u32,
    pub(crate) chunk: ChunkRule,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Retry,
    pub(crate) sink: Sink,
    /// Where more items may come from.
    pub(crate) feed: Option<Arc<Feed>>,
    /// More items may be submitted.
    pub(crate) open: bool,
    /// Items submitted that have no outcome yet.
    pub(crate) outstanding: u64,
    /// Outcomes of this turn.
    pub(crate) batch: Batch,
}

impl Job {
    /// Hands on what this turn has brought. A receiver that is gone wants nothing.
    pub(crate) fn flush(&mut self) {
        if self.batch.items.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        match &mut self.sink {
            Sink::Many(sender) => {
                let _ = sender.send(Delivery::Batch(batch));
            }
            Sink::All(_, batches) => batches.push(batch),
            Sink::One(shot) => {
                let Batch { bytes, items } = batch;
                for item in items {
                    shot.set(match item.outcome {
                        Outcome::Done { start, len } => Reply::Done(bytes[start..start + len].to_vec()),
                        Outcome::Failed(failure) => Reply::Failed(*failure),
                    });
                }
            }
            Sink::Nobody => {}
        }
    }

    /// Whether nothing will come any more.
    pub(crate) fn is_complete(&self) -> bool {
        self.outstanding == 0 && !self.open
    }

    /// Hands on what is left to be handed on when it is complete.
    pub(crate) fn complete(&mut self) {
        self.flush();
        if let Sink::All(shot, batches) = &mut self.sink {
            shot.set(Reply::All(std::mem::take(batches)));
        }
    }

    /// Ends the job: what has no outcome will not get one.
    pub(crate) fn end(&mut self, end: End) {
        self.flush();
        match &self.sink {
            Sink::Many(sender) => {
                let _ = sender.send(Delivery::End(end));
            }
            Sink::One(shot) | Sink::All(shot, _) => shot.set(Reply::Ended(end)),
            Sink::Nobody => {}
        }
    }
}

/// Which job: a place in the table of jobs, and a number that no other job ever has. A caller may hold the key of a job
/// that has long ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobKey {
    at: u32,
    number: u64,
}

/// The jobs of a pool.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    table: Vec<Option<(u64, Job)>>,
    free: Vec<u32>,
    next_number: u64,
}

impl Jobs {
    pub(crate) fn insert(&mut self, job: Job) -> JobKey {
        let at = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            u32::try_from(self.table.len() - 1).expect("four thousand million jobs do not fit in memory")
        });
        let number = self.next_number;
        self.next_number += 1;
        self.table[at as usize] = Some((number, job));
        JobKey { at, number }
    }

    pub(crate) fn get(&mut self, key: JobKey) -> Option<&mut Job> {
        match self.table.get_mut(key.at as usize)? {
            Some((number, job)) if *number == key.number => Some(job),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: JobKey) {
        if self.get(key).is_some() {
            self.table[key.at as usize] = None;
            self.free.push(key.at);
        }
    }

    pub(crate) fn keys(&self) -> Vec<JobKey> {
        let key = |(at, entry): (u32, &Option<(u64, Job)>)| {
            let (number, _) = entry.as_ref()?;
            Some(JobKey { at, number: *number })
        };
        (0..).zip(&self.table).filter_map(key).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.table.len()
    }
}

/// What is to be done about an item that failed.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is tried again, after so long.
    Again(Pending, Duration),
    /// It was its last attempt.
    Final,
}

/// Items of one block that wait for a worker.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) job: JobKey,
    pub(crate) block: Arc<Block>,
    /// The items `first..end` of the block.
    pub(crate) first: u32,
    pub(crate) end: u32,
    /// How often these items have been charged with the loss of a worker.
    pub(crate) attempts: u32,
}

impl Pending {
    /// What is to be done about this one item, which failed like this.
    pub(crate) fn judge(mut self, retry: &Retry, mishap: Mishap) -> Verdict {
        self.attempts += 1;
        match retry.after(mishap, self.attempts) {
            Some(pause) => Verdict::Again(self, pause),
            None => Verdict::Final,
        }
    }

    pub(crate) fn len(&self) -> usize {
        (self.end - self.first) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            task: 0,
            chunk: ChunkRule::Adaptive,
            timeout: None,
            retry: Retry::default(),
            sink: Sink::Nobody,
            feed: None,
            open: true,
            outstanding: 0,
            batch: Batch::default(),
        }
    }

    #[test]
    fn the_key_of_a_job_that_ended_is_not_that_of_the_next() {
        let mut jobs = Jobs::default();
        let old = jobs.insert(job());
        jobs.remove(old);
        let new = jobs.insert(job());
        assert!(jobs.get(old).is_none());
        jobs.remove(old);
        assert!(jobs.get(new).is_some(), "removing a job twice must not remove another");
        assert_eq!(jobs.keys(), [new]);
        jobs.remove(new);
        assert!(jobs.is_empty());
    }
}
