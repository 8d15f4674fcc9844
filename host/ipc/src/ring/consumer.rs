//! The side that reads records.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::{
    Corrupt, PARKED, Record, Shared, State, WORD, clear_parked, max_record, record_bytes, record_word, set_parked,
    take_parked,
};
use crate::backend::{Backend, Native, Word};
use crate::memory::Mapping;

/// The reading end of a [ring](super).
///
/// Records are looked at one by one ([`peek`](Self::peek), [`read`](Self::read), [`advance`](Self::advance)) and given
/// back to the producer in batches ([`release`](Self::release)).
pub struct Consumer<B: Backend = Native> {
    ring: Shared<B>,
    /// Where the next record begins, or the one that is peeked at.
    position: u64,
    /// What `head` says: behind the last record released.
    released: u64,
    /// What `tail` said when it was last read, checked.
    published: u64,
    peeked: Option<Record>,
}

impl Consumer {
    /// The reading end of the new ring at byte `offset` of a mapping: one process makes it, once in the ring's life.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no room for such a ring: see [`ring_bytes`](super::ring_bytes).
    pub fn new(mapping: &Arc<Mapping>, offset: usize, capacity: usize) -> io::Result<Consumer> {
        Ok(Consumer::over(Shared::open(mapping, offset, capacity)?))
    }

    /// As [`prepare_park`](Self::prepare_park), for who waits for others, too: the word to sleep on while it is that.
    pub(crate) fn announce(&self) -> (&AtomicU32, u32) {
        debug_assert_eq!(self.released, self.position, "going to sleep on unreleased records");
        let flag = &self.ring.header.consumer_parked.0;
        set_parked::<Native>(flag);
        (flag, PARKED)
    }

    /// As [`cancel_park`](Self::cancel_park).
    pub(crate) fn withdraw(&self) {
        clear_parked::<Native>(&self.ring.header.consumer_parked.0);
    }
}

impl<B: Backend> Consumer<B> {
    pub(super) fn over(ring: Shared<B>) -> Consumer<B> {
        Consumer {
            ring,
            position: 0,
            released: 0,
            published: 0,
            peeked: None,
        }
    }

    /// Whether nothing is there to [`peek`](Self::peek) at. One load: made for spinning.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.position == self.published && self.ring.header.tail.0.load(Ordering::Relaxed) == self.published
    }

    /// The next record, the same one until [`advance`](Self::advance).
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Record>, Corrupt> {
        if self.peeked.is_none() && (self.position != self.published || self.look_published()?) {
            self.peeked = Some(self.look_record()?);
        }
        Ok(self.peeked)
    }

    /// Takes the record peeked at, so that the producer can no longer revoke it. False: it has revoked it; skip it.
    ///
    /// Only rings whose producer revokes need it.
    #[inline]
    pub fn take(&mut self) -> bool {
        let Some(Record { length }) = self.peeked else {
            return false;
        };
        let (ready, taken) = (record_word(length, State::Ready), record_word(length, State::Taken));
        let word = self.ring.record_word(self.position);
        word.compare_exchange(ready, taken, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Copies bytes of the record peeked at, from byte `at` of its payload.
    ///
    /// # Errors
    ///
    /// [`Corrupt::Truncated`] if the record ends before: the peer promised more than it sent.
    #[inline]
    pub fn read(&self, at: usize, target: &mut [u8]) -> Result<(), Corrupt> {
        let length = self.peeked.map_or(0, |record| record.len());
        if at > length || target.len() > length - at {
            return Err(Corrupt::Truncated);
        }
        self.ring.read(self.position + (WORD + at) as u64, target);
        Ok(())
    }

    /// Is done with the record peeked at.
    #[inline]
    pub fn advance(&mut self) {
        if let Some(record) = self.peeked.take() {
            self.position += record_bytes(record.len());
        }
    }

    /// Gives the producer the space of every record that [`advance`](Self::advance) has passed.
    #[inline]
    pub fn release(&mut self) {
        if self.released != self.position {
            // Release: reads of the space come before.
            self.ring.header.head.0.store(self.position, Ordering::Release);
            self.released = self.position;
        }
    }

    /// Whether the producer waits for room, and half of the ring is free: then ring it. True once per wait. For after
    /// [`release`](Self::release).
    ///
    /// Whoever stops reading before the ring is half free, and then waits for that same producer, waits for ever.
    #[inline]
    pub fn producer_parked(&mut self) -> bool {
        // `published` may be old: then this errs towards waking.
        let used = self.published - self.released;
        used <= self.ring.capacity() as u64 / 2 && take_parked::<B>(&self.ring.header.producer_parked.0)
    }

    /// Rings a producer that sleeps in [`Producer::park_for_space`](super::Producer::park_for_space).
    pub fn wake_producer(&self) {
        B::wake(&self.ring.header.producer_parked.0, 1);
    }

    /// Makes the producer ring for its next record. True: still nothing there; go to sleep. False: something came.
    ///
    /// A producer that waits for room must know about it by now: [`release`](Self::release) and
    /// [`producer_parked`](Self::producer_parked) come first.
    pub fn prepare_park(&mut self) -> bool {
        debug_assert_eq!(self.released, self.position, "going to sleep on unreleased records");
        set_parked::<B>(&self.ring.header.consumer_parked.0);
        let empty = self.is_empty();
        if !empty {
            self.cancel_park();
        }
        empty
    }

    /// After [`prepare_park`](Self::prepare_park): sleeps until the producer rings ([`Producer::wake_consumer`]), or
    /// until the deadline.
    ///
    /// [`Producer::wake_consumer`]: super::Producer::wake_consumer
    pub fn park(&mut self, deadline: Option<Instant>) {
        let flag = &self.ring.header.consumer_parked.0;
        while flag.load(Ordering::Relaxed) == PARKED && B::wait(flag, PARKED, deadline) {}
        self.cancel_park();
    }

    /// After [`prepare_park`](Self::prepare_park): not going to sleep after all, or no longer asleep.
    pub fn cancel_park(&mut self) {
        clear_parked::<B>(&self.ring.header.consumer_parked.0);
    }

    /// Reads how far the producer is; true if that is farther than before.
    fn look_published(&mut self) -> Result<bool, Corrupt> {
        // Acquire: the records come with it.
        let tail = self.ring.header.tail.0.load(Ordering::Acquire);
        let used = tail.wrapping_sub(self.released);
        let known = self.published - self.released;
        if !(known..=self.ring.capacity() as u64).contains(&used) || tail % WORD as u64 != 0 {
            return Err(Corrupt::Position(tail));
        }
        self.published = tail;
        Ok(tail != self.position)
    }

    /// Reads the word in front of the record at `position`.
    #[inline]
    fn look_record(&self) -> Result<Record, Corrupt> {
        let word = self.ring.record_word(self.position).load(Ordering::Relaxed);
        let (length, state) = (word as u32, (word >> 32) as u32);
        if state != State::Ready as u32 && state != State::Revoked as u32 {
            return Err(Corrupt::State(state));
        }
        let fits = length as usize <= max_record(self.ring.capacity())
            && record_bytes(length as usize) <= self.published - self.position;
        if fits {
            Ok(Record { length })
        } else {
            Err(Corrupt::Length(length))
        }
    }
}

impl<B: Backend> fmt::Debug for Consumer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Consumer {
            ring,
            position,
            released,
            published,
            peeked,
        } = self;
        f.debug_struct("Consumer")
            .field("capacity", &ring.capacity())
            .field("position", position)
            .field("released", released)
            .field("published", published)
            .field("peeked", peeked)
            .finish()
    }
}
