//! What the supervisor knows about work: blocks of items on their way in, batches of outcomes on their way out.
//!
//! Both are plain bytes. The caller's thread serializes and deserializes; the supervisor only moves.
//!
//! A million jobs of one item each may be waiting, so what belongs to a job or a block is kept small: what few of them have
//! is behind a pointer.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::feed::Feed;
use super::shot::{OneShot, Reply};
use crate::outcome::{End, Failure};
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
    /// How many items there are.
    items: u32,
    /// Where each of them ends but the last.
    #[expect(
        clippy::box_collection,
        reason = "most blocks that wait have one item, and none of these"
    )]
    ends: Option<Box<Vec<u32>>>,
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

    /// Items that are laid out already, `count` of them. `None` if they are not.
    pub(crate) fn of(base: u64, count: u64, bytes: Vec<u8>) -> Option<Self> {
        let mut block = Self::new(base);
        let mut at = 0;
        while at < bytes.len() {
            block.add_end(at);
            let prefix = bytes.get(at..at + ITEM_PREFIX)?.try_into().ok()?;
            at = at.checked_add(ITEM_PREFIX + u32::from_le_bytes(prefix) as usize)?;
            u32::try_from(at).ok()?;
        }
        let whole = at == bytes.len() && u64::from(block.items) == count;
        block.bytes = bytes;
        whole.then_some(block)
    }

    /// Another item begins at this place.
    fn add_end(&mut self, at: usize) {
        if self.items > 0 {
            self.ends.get_or_insert_default().push(at as u32);
        }
        self.items += 1;
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
            u32::try_from(self.bytes.len()).map_err(|_| TooLarge)?;
            self.bytes[start..start + ITEM_PREFIX].copy_from_slice(&len.to_le_bytes());
            self.add_end(start);
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
        self.items as usize
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Whether it is time to send it on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_BYTES || self.len() >= BLOCK_ITEMS
    }

    /// Bytes of all items.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Where the items `first..end` stand in [`Self::bytes`].
    pub(crate) fn span(&self, first: usize, end: usize) -> std::ops::Range<usize> {
        let begin = |item: usize| match (item, &self.ends) {
            (0, _) => 0,
            (item, Some(ends)) if item <= ends.len() => ends[item - 1] as usize,
            _ => self.bytes.len(),
        };
        begin(first)..begin(end)
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

/// What comes out of a job with many items.
#[derive(Debug)]
pub(crate) enum Delivery {
    Batch(Batch),
    /// Every item has had its outcome. Only guests are told; the host's own callers count.
    Complete,
    End(End),
}

/// Where outcomes go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// As they come, in batches.
    Many(Box<Sender<Delivery>>),
    /// The same, to a guest that has this pool, and knows the job by this number.
    Guest(Box<(Sender<(u32, Delivery)>, u32)>),
    /// The only one.
    One(Arc<OneShot>),
    /// All at once, when there is nothing left to come.
    All(Box<(Arc<OneShot>, Vec<Batch>)>),
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

/// What is to be called, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) task: u32,
    pub(crate) chunk: ChunkRule,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Retry,
}

/// A call of the library that has items under way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) terms: Arc<Terms>,
    pub(crate) sink: Sink,
    /// Where more items may come from.
    pub(crate) feed: Option<Arc<Feed>>,
    /// More items may be submitted.
    pub(crate) open: bool,
    /// It was cancelled: what runs of it has no time left.
    pub(crate) cancelled: bool,
    /// Which use of its place in the table this is.
    generation: u32,
    /// Items submitted that have no outcome yet.
    pub(crate) outstanding: u64,
    /// Outcomes of this turn.
    batch: Option<Box<Batch>>,
}

impl Job {
    /// A job to which nothing has been submitted.
    pub(crate) fn new(terms: Arc<Terms>, sink: Sink, feed: Option<Arc<Feed>>) -> Self {
        Self {
            terms,
            sink,
            feed,
            open: true,
            cancelled: false,
            generation: 0,
            outstanding: 0,
            batch: None,
        }
    }

    /// How long an item of it may run.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        if self.cancelled {
            return Some(Duration::ZERO);
        }
        self.terms.timeout
    }

    /// The outcomes of this turn.
    pub(crate) fn batch(&mut self) -> &mut Batch {
        self.batch.get_or_insert_default()
    }

    /// Hands on what this turn has brought. A receiver that is gone wants nothing.
    pub(crate) fn flush(&mut self) {
        let Some(batch) = self.batch.take() else { return };
        let batch = *batch;
        match &mut self.sink {
            Sink::Many(sender) => {
                let _ = sender.send(Delivery::Batch(batch));
            }
            Sink::Guest(guest) => {
                let _ = guest.0.send((guest.1, Delivery::Batch(batch)));
            }
            Sink::All(all) => all.1.push(batch),
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
        match &mut self.sink {
            Sink::All(all) => all.0.set(Reply::All(std::mem::take(&mut all.1))),
            Sink::Guest(guest) => {
                let _ = guest.0.send((guest.1, Delivery::Complete));
            }
            Sink::Many(_) | Sink::One(_) | Sink::Nobody => {}
        }
    }

    /// Ends the job: what has no outcome will not get one.
    pub(crate) fn end(&mut self, end: End) {
        self.flush();
        match &self.sink {
            Sink::Many(sender) => {
                let _ = sender.send(Delivery::End(end));
            }
            Sink::Guest(guest) => {
                let _ = guest.0.send((guest.1, Delivery::End(end)));
            }
            Sink::One(shot) => shot.set(Reply::Ended(end)),
            Sink::All(all) => all.0.set(Reply::Ended(end)),
            Sink::Nobody => {}
        }
    }
}

/// Which job: a place in the table of jobs, and which use of that place. A caller may hold the key of a job that has long
/// ended: it is not that of another, unless the place was used four thousand million times meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobKey {
    at: u32,
    generation: u32,
}

/// The jobs of a pool.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    table: Vec<Option<Job>>,
    free: Vec<u32>,
    next_generation: u32,
}

impl Jobs {
    pub(crate) fn insert(&mut self, mut job: Job) -> JobKey {
        let at = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            u32::try_from(self.table.len() - 1).expect("four thousand million jobs do not fit in memory")
        });
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        job.generation = generation;
        self.table[at as usize] = Some(job);
        JobKey { at, generation }
    }

    pub(crate) fn get(&mut self, key: JobKey) -> Option<&mut Job> {
        let job = self.table.get_mut(key.at as usize)?.as_mut()?;
        (job.generation == key.generation).then_some(job)
    }

    pub(crate) fn remove(&mut self, key: JobKey) {
        if self.get(key).is_some() {
            self.table[key.at as usize] = None;
            self.free.push(key.at);
        }
    }

    /// The job that a guest knows by this number.
    pub(crate) fn of_guest(&self, number: u32) -> Option<JobKey> {
        let is_it = |job: &Job| matches!(&job.sink, Sink::Guest(guest) if guest.1 == number);
        self.all().find(|(_, job)| is_it(job)).map(|(key, _)| key)
    }

    pub(crate) fn keys(&self) -> Vec<JobKey> {
        self.all().map(|(key, _)| key).collect()
    }

    fn all(&self) -> impl Iterator<Item = (JobKey, &Job)> {
        (0..).zip(&self.table).filter_map(|(at, job)| {
            let job = job.as_ref()?;
            let generation = job.generation;
            Some((JobKey { at, generation }, job))
        })
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
    pub(crate) fn judge(mut self, retry: Retry, mishap: Mishap) -> Verdict {
        self.attempts += 1;
        match mishap.pause(retry, self.attempts) {
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
        let terms = Terms {
            task: 0,
            chunk: ChunkRule::Adaptive,
            timeout: None,
            retry: Retry::default(),
        };
        Job::new(Arc::new(terms), Sink::Nobody, None)
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
