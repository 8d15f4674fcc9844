//! The side that writes records.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{
    Corrupt, PARKED, Shared, State, Ticket, WORD, clear_parked, max_record, record_bytes, record_word, set_parked,
    take_parked,
};
use crate::backend::{Backend, Native, Word};
use crate::memory::Mapping;

/// The writing end of a [ring](super).
pub struct Producer<B: Backend = Native> {
    ring: Shared<B>,
    /// Behind the last record written.
    written: u64,
    /// What `tail` says: behind the last record published.
    published: u64,
    /// What `head` said when it was last read, checked.
    released: u64,
}

impl Producer {
    /// The writing end of the new ring at byte `offset` of a mapping: one process makes it, once in the ring's life.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no room for such a ring: see [`ring_bytes`](super::ring_bytes).
    pub fn new(mapping: &Arc<Mapping>, offset: usize, capacity: usize) -> io::Result<Producer> {
        Ok(Producer::over(Shared::open(mapping, offset, capacity)?))
    }
}

impl<B: Backend> Producer<B> {
    pub(super) fn over(ring: Shared<B>) -> Producer<B> {
        Producer {
            ring,
            written: 0,
            published: 0,
            released: 0,
        }
    }

    /// The longest record: a quarter of the capacity. A longer one never fits.
    pub fn max_record(&self) -> usize {
        max_record(self.ring.capacity())
    }

    /// Writes one record, the parts one behind the other. The consumer sees it after [`publish`](Self::publish).
    ///
    /// `None`: no room now, or longer than [`max_record`](Self::max_record), which callers check before.
    #[inline]
    pub fn try_write(&mut self, parts: &[&[u8]]) -> Result<Option<Ticket>, Corrupt> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(length <= self.max_record(), "a record of {length} bytes never fits");
        if length > self.max_record() {
            return Ok(None);
        }
        let bytes = record_bytes(length);
        if self.known_free() < bytes && self.look_free()? < bytes {
            return Ok(None);
        }
        let ticket = Ticket {
            position: self.written,
            length: length as u32,
        };
        let mut position = self.written + WORD as u64;
        for part in parts {
            self.ring.write(position, part);
            position += part.len() as u64;
        }
        let word = record_word(ticket.length, State::Ready);
        self.ring.record_word(ticket.position).store(word, Ordering::Relaxed);
        self.written += bytes;
        Ok(Some(ticket))
    }

    /// Lets the consumer see every record written so far.
    #[inline]
    pub fn publish(&mut self) {
        if self.published != self.written {
            self.ring.header.tail.0.store(self.written, Ordering::Release);
            self.published = self.written;
        }
    }

    /// Whether the consumer sleeps, or is about to: then ring it. True once per sleep. For after
    /// [`publish`](Self::publish).
    #[inline]
    pub fn consumer_parked(&mut self) -> bool {
        take_parked::<B>(&self.ring.header.consumer_parked.0)
    }

    /// Rings a consumer that sleeps in [`Consumer::park`](super::Consumer::park).
    pub fn wake_consumer(&self) {
        B::wake(&self.ring.header.consumer_parked.0, 1);
    }

    /// Takes a record back. False: the consumer has it.
    pub fn revoke(&mut self, ticket: &Ticket) -> bool {
        // Below `released`, other records may have been written over it.
        if ticket.position < self.released {
            return false;
        }
        let ready = record_word(ticket.length, State::Ready);
        let revoked = record_word(ticket.length, State::Revoked);
        let word = self.ring.record_word(ticket.position);
        word.compare_exchange(ready, revoked, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether the consumer has taken a record, or is past it. Asking changes nothing, and the answer may be old
    /// already.
    pub fn is_taken(&self, ticket: &Ticket) -> bool {
        let taken = record_word(ticket.length, State::Taken);
        ticket.position < self.released || self.ring.record_word(ticket.position).load(Ordering::Relaxed) == taken
    }

    /// Bytes that are free now. A record takes eight more than its payload, and multiples of eight.
    pub fn free(&mut self) -> Result<usize, Corrupt> {
        self.look_free().map(|free| free as usize)
    }

    /// Asks the consumer to report when half of the ring is free
    /// ([`Consumer::producer_parked`](super::Consumer::producer_parked)), and returns at once. True: it is already.
    pub fn ask_for_space(&mut self) -> Result<bool, Corrupt> {
        let half = self.ring.capacity() as u64 / 2;
        self.ask_unless_free(half)
    }

    /// Whether the consumer has reported since [`ask_for_space`](Self::ask_for_space). For after a fence.
    pub(crate) fn has_been_told(&self) -> bool {
        self.ring.header.producer_parked.0.load(Ordering::Relaxed) != PARKED
    }

    /// Sleeps until a record of `length` bytes fits. False: the deadline passed.
    pub fn park_for_space(&mut self, length: usize, deadline: Option<Instant>) -> Result<bool, Corrupt> {
        let bytes = record_bytes(length.min(self.max_record()));
        while !self.ask_unless_free(bytes)? {
            let flag = &self.ring.header.producer_parked.0;
            if !B::wait(flag, PARKED, deadline) {
                clear_parked::<B>(flag);
                return Ok(self.look_free()? >= bytes);
            }
        }
        Ok(true)
    }

    fn ask_unless_free(&mut self, bytes: u64) -> Result<bool, Corrupt> {
        if self.look_free()? >= bytes {
            return Ok(true);
        }
        set_parked::<B>(&self.ring.header.producer_parked.0);
        let free = self.look_free()? >= bytes;
        if free {
            clear_parked::<B>(&self.ring.header.producer_parked.0);
        }
        Ok(free)
    }

    #[inline]
    fn known_free(&self) -> u64 {
        self.ring.capacity() as u64 - (self.written - self.released)
    }

    /// Reads how far the consumer is.
    fn look_free(&mut self) -> Result<u64, Corrupt> {
        // Acquire: the consumer's reads of a place are over before it is written again.
        let head = self.ring.header.head.0.load(Ordering::Acquire);
        if !(self.released..=self.published).contains(&head) || head % WORD as u64 != 0 {
            return Err(Corrupt::Position(head));
        }
        self.released = head;
        Ok(self.known_free())
    }
}

impl<B: Backend> fmt::Debug for Producer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Producer {
            ring,
            written,
            published,
            released,
        } = self;
        f.debug_struct("Producer")
            .field("capacity", &ring.capacity())
            .field("written", written)
            .field("published", published)
            .field("released", released)
            .finish()
    }
}
