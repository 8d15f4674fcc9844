//! Queues of messages between any number of processes.
//!
//! A queue is a [ring of messages](crate::fifo), where putting and getting, room and memory, sleeping and waking are
//! explained, and on top of it what a queue knows beyond:
//!
//! | line (128 bytes) | written by | what |
//! | --- | --- | --- |
//! | `settings` | the creator; `closed` by who holds P and C | how many messages it may hold, whether they are acknowledged, and whether it was shut down |
//! | `done` | everyone, by compare and swap | how many tasks are done |
//! | `all_done` | [gate](crate::gate) | who waits for that sleeps here |
//! | [`acknowledgements`](acknowledged) | see there | who has which message |
//!
//! # What commits
//!
//! * **The store of `closed` shuts down.** It happens under both locks, so every put and every get comes before it or
//!   after. What an immediate shutdown drops stays where it is; neither `head` nor `done` has to change for it.
//! * **The exchange of `done` to one more** says that a task is done. Tasks not done are the messages put (`tail`) minus
//!   `done`. `done` never passes `tail`, so whoever reads `done` first, and then finds `tail` the same, has seen a moment
//!   at which everything was done.
//!
//! # Trust
//!
//! As in the ring. `done` is compared and never used as an index; any value of `closed` means something.

mod acknowledged;
#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Backend, Native, Word};
use crate::fifo::{self, Fifo, Flow, Message, Refusal};
use crate::gate::{Gate, Stay};
use crate::memory::{LINE, Line, Mapping};
use crate::party::{Limit, Party, Slot, WaitError};
use crate::spin::Patience;
use acknowledged::{Acknowledgements, DEAD_WORDS};

/// What a queue is like, decided when it is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many messages it holds at most; 0: as many as there is memory for.
    pub maxsize: u32,
    /// A message that was got counts as held, and belongs to the process that got it, until
    /// [`task_done`](Queue::task_done). If that process dies before, somebody else gets the message.
    pub acknowledged: bool,
}

/// All zero is an open queue.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header<B: Backend> {
    settings: Settings<B>,
    done: Line<B::U32>,
    all_done: Line<Gate<B>>,
    acknowledgements: Acknowledgements<B>,
}

#[repr(C, align(128))]
#[derive(Debug)]
struct Settings<B: Backend> {
    maxsize: B::U32,
    acknowledged: B::U32,
    closed: B::U32,
}

/// Values of `closed`.
const OPEN: u32 = 0;
/// What is there can be got.
const DRAINING: u32 = 1;
/// What is there is dropped. This and every other value.
const DROPPED: u32 = 2;

// Where things are in the mapping. The messages begin at a page.
const DATA: usize = 4096;
const DEAD: usize = fifo::HEADER_BYTES + size_of::<Header<Native>>();
const _: () = assert!(fifo::HEADER_BYTES.is_multiple_of(LINE) && DEAD + size_of::<[u32; DEAD_WORDS]>() <= DATA);

/// A queue between processes: first in, first out, any number of producers and consumers.
/// CPython: `multiprocessing.Queue`, `JoinableQueue` and `SimpleQueue`.
///
/// What is put is in the queue when the call returns, whatever becomes of the process: there is no thread that has yet to
/// write it. A process that is killed leaves the queue as it was before its call, or as it is after it.
///
/// A call that need not wait for a message or for room may still wait for another one that is copying. If it may not wait
/// at all it does so for a tenth of a second at most, which means that the other process was stopped or killed just there.
pub struct Queue<B: Backend = Native> {
    fifo: Fifo<B>,
    header: B::Shared<Header<B>>,
    /// A bit for each slot: see [`acknowledged`].
    dead: B::Shared<[B::U32]>,
    /// How many messages it may hold.
    at_most: u32,
    acknowledged: bool,
    join_patience: Patience,
}

impl Queue {
    /// How many bytes of memory a queue takes whose messages take up to `quota` bytes, with eight bytes for each and its
    /// length rounded up to a multiple of eight. Quotas go from 4 KiB to 8 GiB and are rounded up to a power of two.
    ///
    /// The memory is there to be used; what was never used costs nothing.
    pub const fn bytes(quota: usize) -> usize {
        DATA + fifo::data_bytes(quota)
    }

    /// A new queue in zeroed memory. By the host, once.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping does not have the size of a queue.
    pub fn create(mapping: &Arc<Mapping>, options: QueueOptions) -> io::Result<Queue> {
        let settings = &header(mapping)?.settings;
        settings.maxsize.store(options.maxsize, Ordering::Relaxed);
        settings
            .acknowledged
            .store(options.acknowledged.into(), Ordering::Relaxed);
        Queue::open(mapping)
    }

    /// The queue that another process has created in this memory.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping does not have the size of a queue, or does not hold one.
    pub fn open(mapping: &Arc<Mapping>) -> io::Result<Queue> {
        let header = header(mapping)?;
        let fifo = Fifo::open(mapping, 0, DATA, mapping.len() - DATA).ok_or_else(no_queue)?;
        let dead = mapping.array(DEAD, DEAD_WORDS).ok_or_else(no_queue)?;
        Queue::over(fifo, header, dead).ok_or_else(no_queue)
    }
}

fn no_queue() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not the memory of a queue")
}

fn header(mapping: &Arc<Mapping>) -> io::Result<<Native as Backend>::Shared<Header<Native>>> {
    if mapping.len() < DATA {
        return Err(no_queue());
    }
    mapping.view(fifo::HEADER_BYTES).ok_or_else(no_queue)
}

impl<B: Backend> Queue<B> {
    fn over(fifo: Fifo<B>, header: B::Shared<Header<B>>, dead: B::Shared<[B::U32]>) -> Option<Queue<B>> {
        let maxsize = header.settings.maxsize.load(Ordering::Relaxed);
        let acknowledged = header.settings.acknowledged.load(Ordering::Relaxed);
        (acknowledged <= 1).then(|| Queue {
            fifo,
            header,
            dead,
            at_most: if maxsize == 0 { u32::MAX } else { maxsize },
            acknowledged: acknowledged == 1,
            join_patience: Patience::default(),
        })
    }

    fn flow(&self) -> Flow {
        match self.header.settings.closed.load(Ordering::Acquire) {
            OPEN => Flow::Open,
            DRAINING => Flow::Draining,
            _ => Flow::Closed,
        }
    }

    /// Puts one message, the parts one behind the other, as soon as there is room. `kind` travels with it.
    ///
    /// # Errors
    ///
    /// [`PutError`]; the queue has not changed.
    #[inline]
    pub fn put(&self, party: &Party<B>, kind: u8, parts: &[&[u8]], limit: Limit) -> Result<(), PutError> {
        let flow = || self.flow();
        Ok(self.fifo.put(party, (kind, parts), self.at_most, limit, flow)?)
    }

    /// Puts the first of these messages as soon as there is room, and as many of the others as there is room for then.
    /// Returns how many, at least one (none of none). All of them go in at once: nobody else's come between, and if the
    /// process dies in the middle none is in.
    ///
    /// # Errors
    ///
    /// [`PutError`], about the first one.
    pub fn put_many(&self, party: &Party<B>, messages: &[(u8, &[u8])], limit: Limit) -> Result<usize, PutError> {
        let flow = || self.flow();
        Ok(self.fifo.put_many(party, messages, self.at_most, limit, flow)?)
    }

    /// Takes the first message out, as soon as there is one, and runs `take` on it, which copies what it wants.
    ///
    /// `take` runs inside of the queue: other gets wait for it. The message is gone when it returns, and still there if
    /// it panics.
    ///
    /// # Errors
    ///
    /// [`GetError`]; `take` did not run.
    #[inline]
    pub fn get<R>(
        &self,
        party: &Party<B>,
        limit: Limit,
        take: impl FnOnce(Message<'_, B>) -> R,
    ) -> Result<R, GetError> {
        let flow = || self.flow();
        match self.acknowledged {
            false => Ok(self.fifo.get(party, limit, flow, take)?),
            true => Ok(self.get_to_acknowledge(party, limit, take)?),
        }
    }

    /// Takes messages out, as soon as there is one: up to `most`, and until `take` refuses one by `false`, which stays in
    /// the queue. Returns how many were taken.
    ///
    /// # Errors
    ///
    /// [`GetError`]; `take` did not run.
    pub fn get_many(
        &self,
        party: &Party<B>,
        most: usize,
        limit: Limit,
        take: impl FnMut(Message<'_, B>) -> bool,
    ) -> Result<usize, GetError> {
        if most == 0 {
            return Ok(0);
        }
        let flow = || self.flow();
        match self.acknowledged {
            false => Ok(self.fifo.get_many(party, most, limit, flow, take)?),
            true => Ok(self.get_many_to_acknowledge(party, most, limit, take)?),
        }
    }

    /// How many messages can be got: exactly, at some moment during the call. CPython: `qsize`, there approximate.
    pub fn len(&self) -> usize {
        let items = match (self.flow(), self.acknowledged) {
            (Flow::Closed, _) => 0,
            (_, false) => self.fifo.items().unwrap_or(0),
            (_, true) => self.items_to_get(),
        };
        items as usize
    }

    /// Whether there is nothing to get.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it holds as many messages as it may.
    pub fn is_full(&self) -> bool {
        let held = self.fifo.items().unwrap_or(0);
        self.flow() != Flow::Closed && held >= self.at_most
    }

    /// Where to wait for a message.
    pub(crate) fn gate(&self) -> &Gate<B> {
        self.fifo.not_empty()
    }

    /// Whether a message can be got, or the queue was shut down: seen without a lock.
    pub(crate) fn is_ready(&self) -> bool {
        self.flow().has_ended() || self.may_have_something_to_get()
    }

    fn may_have_something_to_get(&self) -> bool {
        match self.acknowledged {
            true => self.may_have_something_unheld(),
            false => !self.fifo.is_empty(),
        }
    }

    /// Ends the queue: from now on nothing can be put; what is there can be got, and then gets fail as well. `immediate`:
    /// what is there is dropped, and counts as done. Whoever waits is woken. It can be made immediate later, but not undone.
    /// CPython 3.13: `queue.Queue.shutdown`.
    ///
    /// # Errors
    ///
    /// [`Interrupted`](WaitError::Interrupted) or [`Broken`](WaitError::Broken); the queue has not changed. It waits for
    /// calls that are in the middle of copying, however long that takes.
    pub fn shutdown(&self, party: &Party<B>, immediate: bool) -> Result<(), WaitError> {
        self.fifo.alone(party, Limit::Forever, |contents| {
            let closed = &self.header.settings.closed;
            if self.flow() != Flow::Closed {
                closed.store(if immediate { DROPPED } else { DRAINING }, Ordering::Release);
            }
            match self.acknowledged {
                true => self
                    .settle(contents)
                    .and_then(|()| self.remove_done(contents, contents.head)),
                false => Ok(()),
            }
        })?;
        self.fifo.wake_everyone();
        self.header.all_done.0.wake_all();
        Ok(())
    }

    /// Says that one of the messages got so far has been dealt with. CPython: `JoinableQueue.task_done`.
    ///
    /// With [acknowledgement](QueueOptions::acknowledged) it is the oldest message that this process has.
    ///
    /// # Errors
    ///
    /// [`TaskDoneError::TooMany`] if there is no such message.
    pub fn task_done(&self, party: &Party<B>) -> Result<(), TaskDoneError> {
        match self.acknowledged {
            true => self.acknowledge(party)?,
            false => self.count_done()?,
        }
        B::fence();
        if self.unfinished() == Ok(0) {
            self.header.all_done.0.wake_all();
        }
        Ok(())
    }

    fn count_done(&self) -> Result<(), TaskDoneError> {
        let counter = &self.header.done.0;
        loop {
            let done = counter.load(Ordering::Acquire);
            if self.tasks_not_done(done) == 0 {
                return Err(TaskDoneError::TooMany);
            }
            let one_more = done.wrapping_add(1);
            let exchanged = counter.compare_exchange(done, one_more, Ordering::AcqRel, Ordering::Relaxed);
            if exchanged.is_ok() {
                return Ok(());
            }
        }
    }

    /// Tasks that were not done, for a `done` that was read before.
    fn tasks_not_done(&self, done: u32) -> u32 {
        // The flow first: once it is closed, the marks stay.
        let flow = self.flow();
        let tail = self.fifo.tail().items;
        let dropped = match flow {
            Flow::Closed => tail.wrapping_sub(self.fifo.head().items),
            Flow::Open | Flow::Slow | Flow::Draining => 0,
        };
        tail.wrapping_sub(done).saturating_sub(dropped)
    }

    /// Tasks that are not done.
    fn unfinished(&self) -> Result<u32, WaitError> {
        match self.acknowledged {
            true => self.fifo.items(),
            false => Ok(self.tasks_not_done(self.header.done.0.load(Ordering::Acquire))),
        }
    }

    /// Waits until every message that was put is [done](Self::task_done). CPython: `JoinableQueue.join`.
    ///
    /// # Errors
    ///
    /// Why it ended without that.
    pub fn join(&self, party: &Party<B>, limit: Limit) -> Result<(), WaitError> {
        let ready = || self.unfinished() == Ok(0) || self.must_settle_to_join();
        let mut stay = Stay::new(&self.header.all_done.0, ready);
        loop {
            if self.must_settle_to_join() {
                self.settle_to_join(party, limit)?;
            }
            if self.unfinished()? == 0 {
                return Ok(());
            }
            stay.wait(party, &self.join_patience, limit)?;
        }
    }

    /// Frees what a dead process held. Messages that it had not acknowledged can be got again.
    pub fn recover(&self, slot: Slot) {
        self.take_back(slot);
        self.fifo.recover(slot);
        self.header.all_done.0.recover();
    }
}

impl<B: Backend> fmt::Debug for Queue<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("maxsize", &self.header.settings.maxsize)
            .field("acknowledged", &self.acknowledged)
            .field("flow", &self.flow())
            .finish_non_exhaustive()
    }
}

/// Why a message was not put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutError {
    /// There was no room in time. CPython: `queue.Full`.
    Full,
    /// The queue was shut down. CPython 3.13: `queue.ShutDown`.
    ShutDown,
    /// This party was told to stop waiting.
    Interrupted,
    /// The message is longer than the queue's memory.
    TooLarge,
    /// The queue's memory holds what no honest party writes.
    Broken,
}

impl From<Refusal> for PutError {
    fn from(why: Refusal) -> PutError {
        match why {
            Refusal::Ended => PutError::ShutDown,
            Refusal::TooLarge => PutError::TooLarge,
            Refusal::Wait(WaitError::TimedOut) => PutError::Full,
            Refusal::Wait(WaitError::Interrupted) => PutError::Interrupted,
            Refusal::Wait(WaitError::Broken) => PutError::Broken,
        }
    }
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PutError::Full => "the queue is full",
            PutError::ShutDown => "the queue was shut down",
            PutError::Interrupted => "interrupted",
            PutError::TooLarge => "the message is longer than the queue's memory",
            PutError::Broken => "the queue is broken: its memory was overwritten",
        })
    }
}

impl std::error::Error for PutError {}

/// Why no message was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetError {
    /// There was none in time. CPython: `queue.Empty`.
    Empty,
    /// The queue was shut down and is empty. CPython 3.13: `queue.ShutDown`.
    ShutDown,
    /// This party was told to stop waiting.
    Interrupted,
    /// The queue's memory holds what no honest party writes.
    Broken,
}

impl From<Refusal> for GetError {
    fn from(why: Refusal) -> GetError {
        match why {
            Refusal::Ended => GetError::ShutDown,
            Refusal::Wait(WaitError::TimedOut) => GetError::Empty,
            Refusal::Wait(WaitError::Interrupted) => GetError::Interrupted,
            Refusal::Wait(WaitError::Broken) | Refusal::TooLarge => GetError::Broken,
        }
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GetError::Empty => "the queue is empty",
            GetError::ShutDown => "the queue was shut down",
            GetError::Interrupted => "interrupted",
            GetError::Broken => "the queue is broken: its memory was overwritten",
        })
    }
}

impl std::error::Error for GetError {}

/// Why a task was not counted as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskDoneError {
    /// Everything was done already. CPython: `ValueError`, "called too many times".
    TooMany,
    /// This party was told to stop waiting.
    Interrupted,
    /// The queue's memory holds what no honest party writes.
    Broken,
}

impl From<WaitError> for TaskDoneError {
    fn from(why: WaitError) -> TaskDoneError {
        match why {
            WaitError::Interrupted => TaskDoneError::Interrupted,
            WaitError::Broken | WaitError::TimedOut => TaskDoneError::Broken,
        }
    }
}

impl fmt::Display for TaskDoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskDoneError::TooMany => "task_done() called too many times",
            TaskDoneError::Interrupted => "interrupted",
            TaskDoneError::Broken => "the queue is broken: its memory was overwritten",
        })
    }
}

impl std::error::Error for TaskDoneError {}
