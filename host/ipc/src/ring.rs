//! A queue of records from one process to one other.
//!
//! # Memory
//!
//! A ring is a header and `capacity` bytes of data, all zero at first:
//!
//! | line (128 bytes) | written by | what |
//! | --- | --- | --- |
//! | `tail` | producer | position behind the last published record |
//! | `head` | consumer | position behind the last released record |
//! | `consumer_parked` | consumer sets, both clear | 1: ring me when something is published |
//! | `producer_parked` | producer sets, both clear | 1: ring me when there is room |
//!
//! Positions count bytes since the beginning of time and are multiples of eight; the place in the data is the position
//! modulo the capacity. A record is one word and its payload, filled up to a multiple of eight; it may wrap around the
//! end of the data:
//!
//! ```text
//! position        +8                        +8+length    next multiple of eight
//! │ length: u32 │ state: u32 │ payload …            │ (undefined) │
//! ```
//!
//! # What commits
//!
//! * **The store of `tail` publishes** every record written since the last one. A producer that dies before it has
//!   written nothing, one that dies after it has written all of them.
//! * **The store of `head` releases** every record consumed since the last one: the space may be written again.
//! * **The state word decides who has a record**: the consumer takes it (`READY → TAKEN`) or the producer takes it back
//!   (`READY → REVOKED`), by compare and swap, never both. A ring whose producer never revokes need not take. Until
//!   `head` has passed a record, its place is not used again, so a ticket cannot hit a later record.
//!
//! # Sleeping
//!
//! Whoever is about to sleep sets its flag, fences, and looks at the other side's position once more; whoever moves its
//! position fences and then looks at the flag. One of the two sees the other, so no wake-up is lost. The flag goes from
//! 1 to 0 by exchange, so that one sleep is rung for once, and a busy peer is never rung at all. How to ring is the
//! caller's business: `wake_*` is a futex on the flag; a process that sleeps in `epoll` has a
//! [`Doorbell`](crate::Doorbell).
//!
//! A producer that waits for room is reported only when half of the ring is free. Waking it for each record that goes
//! would cost two context switches per record.
//!
//! # Trust
//!
//! Each side owns its position privately and only ever publishes it. What it reads of the other side (`tail`, `head`,
//! record words) is read once per decision and checked against its own position and the capacity; see [`Corrupt`].
//! Flags need no check: a wrong one costs a wake-up, or lets the one sleep on who wrote it.

mod consumer;
#[cfg(test)]
mod model;
mod producer;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Backend, Bytes, Native, Word};
use crate::memory::{LINE, Line, Mapping};

pub use consumer::Consumer;
pub use producer::Producer;

/// Bytes of a record in front of its payload; also what every record is a multiple of.
const WORD: usize = 8;

/// Smallest capacity: the longest record must fit beside another one.
const MIN_CAPACITY: usize = 64;
/// Largest capacity: lengths are 32 bits.
const MAX_CAPACITY: usize = 1 << 31;

const HEADER_BYTES: usize = size_of::<Header<Native>>();

/// How many bytes of a mapping a ring takes whose data has `capacity` bytes. The capacity is a power of two, at least
/// 64.
pub const fn ring_bytes(capacity: usize) -> usize {
    HEADER_BYTES + capacity
}

/// The longest payload that fits into a ring of this capacity: a quarter of it, so that the other side can work on one
/// record while the next is written.
const fn max_record(capacity: usize) -> usize {
    capacity / 4
}

/// Bytes that a record takes. `length` is at most [`MAX_CAPACITY`].
const fn record_bytes(length: usize) -> u64 {
    (WORD + length.next_multiple_of(WORD)) as u64
}

/// The header of a ring; all zero is a new one.
#[repr(C)]
#[derive(Debug)]
pub struct Header<B: Backend> {
    tail: Line<B::U64>,
    head: Line<B::U64>,
    consumer_parked: Line<B::U32>,
    producer_parked: Line<B::U32>,
}

const _: () = assert!(align_of::<Header<Native>>() == LINE && HEADER_BYTES == 4 * LINE);

/// Values of the flags.
const AWAKE: u32 = 0;
const PARKED: u32 = 1;

// Flags change by exchange only: this makes their history one chain, which the model checker can follow exactly.

/// A flag's owner is about to sleep, and looks at the other side's position once more after this.
fn set_parked<B: Backend>(flag: &B::U32) {
    flag.swap(PARKED, Ordering::Relaxed);
    B::fence();
}

/// A flag's owner stays awake, or has woken up.
fn clear_parked<B: Backend>(flag: &B::U32) {
    flag.swap(AWAKE, Ordering::Relaxed);
}

/// Whether the flag's owner waits to be rung; true once per sleep. For after the store of a position.
fn take_parked<B: Backend>(flag: &B::U32) -> bool {
    B::fence();
    // The load keeps the line shared while nobody sleeps.
    flag.load(Ordering::Relaxed) != AWAKE && flag.swap(AWAKE, Ordering::Relaxed) != AWAKE
}

/// What both sides hold of a ring.
struct Shared<B: Backend> {
    header: B::Shared<Header<B>>,
    bytes: B::Bytes,
}

impl<B: Backend> Shared<B> {
    #[inline]
    fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The place of a position in the data.
    #[inline]
    fn place(&self, position: u64) -> usize {
        position as usize & (self.capacity() - 1)
    }

    /// The word in front of the record at a position.
    #[inline]
    fn record_word(&self, position: u64) -> &B::U64 {
        self.bytes.word(self.place(position))
    }

    #[inline]
    fn write(&self, position: u64, source: &[u8]) {
        let place = self.place(position);
        let until_end = self.capacity() - place;
        if source.len() <= until_end {
            self.bytes.write(place, source);
        } else {
            let (first, second) = source.split_at(until_end);
            self.bytes.write(place, first);
            self.bytes.write(0, second);
        }
    }

    #[inline]
    fn read(&self, position: u64, target: &mut [u8]) {
        let place = self.place(position);
        let until_end = self.capacity() - place;
        if target.len() <= until_end {
            self.bytes.read(place, target);
        } else {
            let (first, second) = target.split_at_mut(until_end);
            self.bytes.read(place, first);
            self.bytes.read(0, second);
        }
    }
}

impl Shared<Native> {
    fn open(mapping: &Arc<Mapping>, offset: usize, capacity: usize) -> io::Result<Shared<Native>> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        if !capacity.is_power_of_two() || !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) {
            return Err(invalid(
                "the capacity of a ring is a power of two from 64 bytes to 2 GiB",
            ));
        }
        let outside = || invalid("a ring outside of its mapping, or not on a multiple of 128 bytes");
        let header = mapping.view(offset).ok_or_else(outside)?;
        let bytes = mapping.region(offset + HEADER_BYTES, capacity).ok_or_else(outside)?;
        Ok(Shared { header, bytes })
    }
}

/// Whether a record is still to be had; the upper half of the word in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum State {
    /// Written, and nobody has it yet.
    Ready = 1,
    /// The consumer has it.
    Taken = 2,
    /// The producer has taken it back.
    Revoked = 3,
}

/// The word in front of a record.
const fn record_word(length: u32, state: State) -> u64 {
    (state as u64) << 32 | length as u64
}

/// A record that the producer may want back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    position: u64,
    length: u32,
}

/// The record that a consumer is looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    length: u32,
}

impl Record {
    /// Number of bytes of its payload.
    #[expect(
        clippy::len_without_is_empty,
        reason = "it is the length of a message, not a collection"
    )]
    pub fn len(&self) -> usize {
        self.length as usize
    }
}

/// The peer has written something that no honest peer writes. There is no way on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corrupt {
    /// A position that is not where the peer can be.
    Position(u64),
    /// A record longer than what was published of it, or than records are.
    Length(u32),
    /// A record in a state that does not exist.
    State(u32),
    /// A record that ends before what should be in it.
    Truncated,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corrupt::Position(position) => write!(f, "corrupt ring: impossible position {position}"),
            Corrupt::Length(length) => write!(f, "corrupt ring: impossible record length {length}"),
            Corrupt::State(state) => write!(f, "corrupt ring: unknown record state {state}"),
            Corrupt::Truncated => f.write_str("corrupt ring: a record is shorter than its contents"),
        }
    }
}

impl std::error::Error for Corrupt {}
