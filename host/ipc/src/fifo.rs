//! The ring of messages under [`Queue`](crate::Queue) and [`Connection`](crate::Connection): any number of producers and
//! consumers, messages of any length.
//!
//! # Memory
//!
//! | line (128 bytes) | written by | what |
//! | --- | --- | --- |
//! | `producers` | who holds its lock P | the lock, and what `head` said when a producer last looked |
//! | `tail` | who holds P | behind the last message put |
//! | `consumers` | who holds its lock C | the lock, and what `tail` said when a consumer last looked |
//! | `head` | who holds C | behind the last message got |
//! | `doublings` | who holds P and C | how often the ring has doubled |
//! | `not_empty` | [gate](crate::gate) | consumers sleep here |
//! | `not_full` | gates | producers sleep here: those that wait for a message to go, and those that wait for bytes |
//!
//! A [`Mark`] such as `tail` is one word: how many messages since the beginning of time, and where in the ring, in units of
//! eight bytes. Both wrap around. So one store moves both, and the difference between two marks tells how many messages
//! and how many bytes lie between. A message is a word (length, kind, holder) and its payload, filled up to a multiple of
//! eight; it may wrap around the end of the ring. The memory behind the header is as large as the ring may become. It is
//! sparse: only what the ring has used is there.
//!
//! # What commits
//!
//! * **The store of `tail` puts** the messages that were written behind it, **the store of `head` gets** those before it.
//!   Who is killed before that store has done nothing; who is killed after it, everything.
//! * **The store of `doublings` grows** the ring. What lies beyond the old end in the larger ring was copied there before;
//!   the old ring has no use for that place, so it stays good until the store. The same store shrinks an empty ring.
//!
//! Copies happen under the own side's lock; puts and gets run at the same time. P is taken before C, and who has C waits for
//! nothing. Nobody who waits for a message or for room holds a lock.
//!
//! # What was left out
//!
//! A second ring with a descriptor for each message would tell where the next message begins without reading the one
//! before, which nobody needs. Places reserved under the lock and filled outside of it would let two producers copy at
//! the same time, and leave half-filled places behind the dead. A memory of its own for each long message would have to be
//! asked for, counted, handed on and freed, and any of these steps may be the last of its process. As it is, to recover a
//! producer or a consumer is to free its lock; in return, a second producer waits while a long message is copied.
//!
//! # Sleeping
//!
//! By [gates](crate::gate). A put wakes one consumer. A get wakes one of the producers that wait for a message to go, and
//! all of those that wait for bytes: nobody knows whom those suffice.
//!
//! It does so at every get. To wait until half of the ring is free would save wake-ups, but a consumer may take one message
//! and then wait, somewhere else, for the producer that it has not woken. There are few wake-ups as it is: everyone looks
//! for a moment before it sleeps, and while a woken producer is on its way, gets find nobody asleep.
//!
//! # Trust
//!
//! Everything is checked against the size of the ring when it is read; a walk over messages ends after as many units as
//! the ring has. What does not fit is `Broken`.

mod get;
#[cfg(test)]
pub(crate) mod model;
mod put;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{fmt, mem};

use crate::backend::{Backend, Bytes, Native, Word};
use crate::gate::Gate;
use crate::lock::{self, LockWord};
use crate::memory::{LINE, Line, Mapping};
use crate::party::{Limit, Party, Slot, WaitError};
use crate::spin::Patience;
pub(crate) use get::Contents;

/// What positions count in, in bytes.
const UNIT: usize = 8;
/// What a ring has at first.
const FIRST_CAPACITY: usize = 64 << 10;
/// What a ring that has become larger keeps when it is empty.
const KEPT_CAPACITY: usize = 4 << 20;
/// The smallest ring: a page, so that memory can be given back.
pub(crate) const MIN_QUOTA: usize = 4096;
/// The largest ring: the distance of two marks must be told from a negative one.
pub(crate) const MAX_QUOTA: usize = 8 << 30;

/// How long an operation that may not wait for a message waits for the lock. The holder is busy copying, or dead and about
/// to be recovered: answering "full" or "empty" meanwhile would be a guess.
const COURTESY: Duration = Duration::from_millis(100);

/// Bytes of the largest ring for this quota.
pub(crate) const fn data_bytes(quota: usize) -> usize {
    match quota {
        0..=MIN_QUOTA => MIN_QUOTA,
        MAX_QUOTA.. => MAX_QUOTA,
        quota => quota.next_power_of_two(),
    }
}

/// One side's lock.
#[repr(C, align(128))]
#[derive(Debug)]
struct Side<B: Backend> {
    lock: LockWord<B>,
    /// The other side's mark as last seen: reading the mark itself takes its line away from the other side.
    seen: B::U64,
}

#[repr(C, align(128))]
#[derive(Debug)]
struct Room<B: Backend> {
    items: Gate<B>,
    bytes: Gate<B>,
}

/// The header; all zero is an empty ring.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header<B: Backend> {
    producers: Side<B>,
    tail: Line<B::U64>,
    consumers: Side<B>,
    head: Line<B::U64>,
    doublings: Line<B::U32>,
    not_empty: Line<Gate<B>>,
    not_full: Room<B>,
}

pub(crate) const HEADER_BYTES: usize = size_of::<Header<Native>>();
const _: () = assert!(align_of::<Header<Native>>() == LINE && HEADER_BYTES == 7 * LINE);

/// A position between two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Messages before it.
    pub(crate) items: u32,
    /// Units before it.
    at: u32,
}

impl Mark {
    pub(crate) fn of(word: u64) -> Mark {
        Mark {
            items: (word >> 32) as u32,
            at: word as u32,
        }
    }

    pub(crate) fn word(self) -> u64 {
        u64::from(self.items) << 32 | u64::from(self.at)
    }

    /// Behind the message here, which takes so many units.
    fn behind(self, units: u32) -> Mark {
        Mark {
            items: self.items.wrapping_add(1),
            at: self.at.wrapping_add(units),
        }
    }
}

/// What lies between two marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stock {
    pub(crate) items: u32,
    units: u32,
}

impl Stock {
    /// `None` if the marks do not belong together.
    fn between(head: Mark, tail: Mark, capacity: u32) -> Option<Stock> {
        let items = tail.items.wrapping_sub(head.items);
        let units = tail.at.wrapping_sub(head.at);
        let possible = units <= capacity && items <= units && (items == 0) == (units == 0);
        possible.then_some(Stock { items, units })
    }

    /// Why nothing of `need` units can be added.
    fn lack(self, need: u32, capacity: u32, at_most: u32) -> Option<Lack> {
        if self.items >= at_most {
            Some(Lack::Items)
        } else if need > capacity - self.units {
            Some(Lack::Bytes)
        } else {
            None
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// A message has to go first.
    Items,
    /// Room for the bytes.
    Bytes,
}

/// What the owner of a ring says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Anyone may put and get.
    Open,
    /// The same, but who puts is at something else: it is of no use to look for what comes next.
    Slow,
    /// Nothing can be put any more.
    Draining,
    /// Nor can anything be got.
    Closed,
}

impl Flow {
    pub(crate) fn has_ended(self) -> bool {
        matches!(self, Flow::Draining | Flow::Closed)
    }
}

/// Why nothing was put, or got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It would have taken longer.
    Wait(WaitError),
    /// The flow has ended.
    Ended,
    /// It is longer than the ring can become.
    TooLarge,
}

impl From<WaitError> for Refusal {
    fn from(why: WaitError) -> Refusal {
        Refusal::Wait(why)
    }
}

/// The bytes of a ring of some capacity.
struct Data<'a, B: Backend> {
    bytes: &'a B::Bytes,
    /// Of its positions in bytes; the capacity is a power of two.
    mask: usize,
}

impl<B: Backend> Clone for Data<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Data<'_, B> {}

impl<'a, B: Backend> Data<'a, B> {
    #[inline]
    fn of(bytes: &'a B::Bytes, capacity: u32) -> Self {
        let mask = capacity as usize * UNIT - 1;
        Data { bytes, mask }
    }

    /// The word in front of the message at a mark.
    #[inline]
    fn word(self, mark: Mark) -> &'a B::U64 {
        self.bytes.word((mark.at as usize * UNIT) & self.mask)
    }

    /// The place of byte `at` of the payload of the message at a mark, and how many bytes come before the ring's end.
    #[inline]
    fn place(self, mark: Mark, at: usize) -> (usize, usize) {
        let place = ((mark.at as usize + 1) * UNIT + at) & self.mask;
        (place, self.mask + 1 - place)
    }

    #[inline]
    fn write(self, mark: Mark, at: usize, source: &[u8]) {
        let (place, until_end) = self.place(mark, at);
        if source.len() <= until_end {
            self.bytes.write(place, source);
        } else {
            let (first, second) = source.split_at(until_end);
            self.bytes.write(place, first);
            self.bytes.write(0, second);
        }
    }

    #[inline]
    fn read(self, mark: Mark, at: usize, target: &mut [u8]) {
        let (place, until_end) = self.place(mark, at);
        if target.len() <= until_end {
            self.bytes.read(place, target);
        } else {
            let (first, second) = target.split_at_mut(until_end);
            self.bytes.read(place, first);
            self.bytes.read(0, second);
        }
    }
}

/// A message that is being taken out of a queue or a connection: it can be copied out while this is there.
pub struct Message<'a, B: Backend = Native> {
    data: Data<'a, B>,
    mark: Mark,
    length: u32,
    kind: u8,
}

impl<B: Backend> Message<'_, B> {
    /// Number of bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length to make room for; empty messages are not special"
    )]
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// What the one who sent it said it is.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// Copies the bytes from byte `at`.
    ///
    /// # Panics
    ///
    /// If the message ends before.
    #[inline]
    pub fn read(&self, at: usize, target: &mut [u8]) {
        assert!(
            at <= self.len() && target.len() <= self.len() - at,
            "bytes behind the end of a message"
        );
        self.data.read(self.mark, at, target);
    }

    /// A copy of it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut copy = vec![0; self.len()];
        self.read(0, &mut copy);
        copy
    }
}

impl<B: Backend> fmt::Debug for Message<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("len", &self.len())
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A message in the ring, as its word says, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) mark: Mark,
    length: u32,
    kind: u8,
    /// Nobody, at first. What else it says is up to the owner of the ring.
    pub(crate) holder: u16,
    units: u32,
}

impl Item {
    /// The mark behind it.
    pub(crate) fn end(&self) -> Mark {
        self.mark.behind(self.units)
    }

    fn word(&self) -> u64 {
        u64::from(self.length) | u64::from(self.kind) << 32 | u64::from(self.holder) << 40
    }
}

/// Units that a message takes.
fn units(length: usize) -> usize {
    1 + length.div_ceil(UNIT)
}

/// A process-local handle on a ring.
pub(crate) struct Fifo<B: Backend> {
    header: B::Shared<Header<B>>,
    bytes: B::Bytes,
    /// Capacity at first, in units.
    first: u32,
    /// Units that remain when the ring is emptied.
    kept: u32,
    lock_patience: Patience,
    put_patience: Patience,
    get_patience: Patience,
}

/// One side's lock, held.
struct Held<'a, B: Backend>(&'a LockWord<B>);

impl<'a, B: Backend> Held<'a, B> {
    /// If it is free.
    fn now(lock: &'a LockWord<B>, party: &Party<B>) -> Option<Self> {
        lock.try_acquire(party).ok().map(|_| Held(lock))
    }
}

impl<B: Backend> Drop for Held<'_, B> {
    #[inline]
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Fifo<Native> {
    /// The ring in memory of these places and this size, if it can be.
    pub(crate) fn open(mapping: &Arc<Mapping>, header: usize, data: usize, len: usize) -> Option<Fifo<Native>> {
        if !len.is_power_of_two() || !(MIN_QUOTA..=MAX_QUOTA).contains(&len) {
            return None;
        }
        let (header, bytes) = (mapping.view(header)?, mapping.region(data, len)?);
        Some(Fifo::new(header, bytes, FIRST_CAPACITY, KEPT_CAPACITY))
    }
}

impl<B: Backend> Fifo<B> {
    /// Over a header and all the bytes that the ring may come to use, a power of two. `first` and `kept` are as well.
    pub(crate) fn new(header: B::Shared<Header<B>>, bytes: B::Bytes, first: usize, kept: usize) -> Fifo<B> {
        let in_units = |capacity: usize| (capacity.min(bytes.len()) / UNIT) as u32;
        Fifo {
            first: in_units(first),
            kept: in_units(kept),
            header,
            bytes,
            lock_patience: Patience::default(),
            put_patience: Patience::default(),
            get_patience: Patience::default(),
        }
    }

    /// What the ring can become, in units.
    fn largest(&self) -> u32 {
        (self.bytes.len() / UNIT) as u32
    }

    /// What it has now. Changes under both locks only.
    #[inline]
    fn capacity(&self) -> Result<u32, WaitError> {
        let doublings = self.header.doublings.0.load(Ordering::Relaxed);
        if doublings > self.largest().ilog2() - self.first.ilog2() {
            return Err(WaitError::Broken);
        }
        Ok(self.first << doublings)
    }

    fn set_capacity(&self, capacity: u32) {
        let doublings = capacity.ilog2() - self.first.ilog2();
        self.header.doublings.0.store(doublings, Ordering::Relaxed);
    }

    pub(crate) fn tail(&self) -> Mark {
        Mark::of(self.header.tail.0.load(Ordering::Acquire))
    }

    pub(crate) fn head(&self) -> Mark {
        Mark::of(self.header.head.0.load(Ordering::Acquire))
    }

    /// A look without a lock. False: there was a message at some moment during it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.header.tail.0.load(Ordering::Acquire) == self.header.head.0.load(Ordering::Acquire)
    }

    /// Messages between a mark of the consumers' and the tail, both of one moment. A look without a lock.
    pub(crate) fn items_behind(&self, mark: impl Fn() -> Mark) -> Result<u32, WaitError> {
        let mut head = mark();
        // Under a stream of gets the marks may never hold still; then recent ones have to do.
        for _ in 0..100 {
            let stock = Stock::between(head, self.tail(), self.largest());
            let before = mem::replace(&mut head, mark());
            if head == before {
                return stock.map(|stock| stock.items).ok_or(WaitError::Broken);
            }
        }
        Ok(self.tail().items.wrapping_sub(head.items))
    }

    /// Messages in the ring.
    pub(crate) fn items(&self) -> Result<u32, WaitError> {
        self.items_behind(|| self.head())
    }

    /// Takes one side's lock.
    fn enter<'a>(&self, lock: &'a LockWord<B>, party: &Party<B>, limit: Limit) -> Result<Held<'a, B>, WaitError> {
        match lock.acquire(party, &self.lock_patience, limit) {
            Err(WaitError::TimedOut) => {
                let courtesy = Limit::Until(Instant::now() + COURTESY);
                lock.acquire(party, &self.lock_patience, courtesy)?;
            }
            acquired => drop(acquired?),
        }
        Ok(Held(lock))
    }

    /// The gate to wait at for a message.
    pub(crate) fn not_empty(&self) -> &Gate<B> {
        &self.header.not_empty.0
    }

    /// After the flow has changed.
    pub(crate) fn wake_everyone(&self) {
        B::fence();
        self.header.not_empty.0.wake_all();
        self.header.not_full.items.wake_all();
        self.header.not_full.bytes.wake_all();
    }

    /// Frees what a dead process held.
    pub(crate) fn recover(&self, slot: Slot) {
        self.header.producers.lock.recover(slot, lock::FREE);
        self.header.consumers.lock.recover(slot, lock::FREE);
        self.header.not_empty.0.recover();
        self.header.not_full.items.recover();
        self.header.not_full.bytes.recover();
    }
}
