//! Permits, of which the dead give theirs back.
//!
//! # Memory
//!
//! | word | written by | what |
//! | --- | --- | --- |
//! | `state` | everyone, by read-modify-write | how many permits there are; whether somebody may sleep; the last transfer |
//! | `bell` | who rings | sleepers sleep on it: how often it was rung |
//! | `bound` | the host, once | 0: none; otherwise the most permits there can be, plus one |
//! | `columns[slot]` | that process; `settled`: the others | how many permits it holds |
//!
//! ```text
//! state           │ 0–30 value │ 31 WAITERS │ 32–53 turn │ 54–63 slot │   name of the last transfer: which, and whose
//! columns[].word  │ 0–30 held  │ 31 OPEN    │ 32–63 turn              │   how often the slot has begun a transfer
//! ```
//!
//! # Two ways to have a permit
//!
//! *Bare*: one exchange on the value, and nobody knows who has it. *Held*: it is also counted in the holder's column, and
//! comes back when that process dies. Value and column are two words, and a process may be killed between any two
//! instructions, so a held permit moves between them by a **transfer**:
//!
//! 1. The process opens its column: the next turn, `OPEN`, what it will hold; `before` keeps what it holds.
//! 2. It settles the last transfer (see below).
//! 3. **It commits by the one exchange on `state`** that changes the value and puts the name of this transfer there.
//! 4. It closes its column: takes `OPEN` off.
//!
//! An open column was committed if `state` has the name of its turn. Before somebody else puts his name there, he looks
//! whether the column of the last transfer is still open for it, and if so, keeps that turn in the `settled` of that column,
//! where turns only go up. So an open column was committed if `state` or `settled` has its turn, and was not if neither has.
//!
//! Turns are counted modulo 2³², and names have the lower 22 bits of them. For a name to be taken for an older one, a slot
//! would have to make 2²² transfers, exactly, between two instructions of another process, and then die in the middle of
//! the last.
//!
//! The bare way leaves the name alone and so needs none of this; the two mix freely. Nobody waits for anybody in between:
//! a transfer is tried again only when another change of `state` came first.
//!
//! # Sleeping
//!
//! Who finds no permit reads `bell`, sets `WAITERS`, in the same word as the value, and sleeps for as long as `bell` does not
//! change. Who gives permits takes `WAITERS` off with the same exchange, then rings: counts `bell` up and wakes one. There may
//! be more asleep, and more permits. So whoever has slept takes its permit and sets `WAITERS` in one exchange, and if there
//! are permits left, wakes the next one. One who was interrupted just when he was woken passes the wake-up on; for one who
//! died, [`recover`](Semaphore::recover) wakes everyone.
//!
//! # Permits that change hands
//!
//! As in CPython, a permit may be released by a process that has not acquired it. Its column then has nothing to take from,
//! and the column of the one who acquired it still says that it holds it, until it releases another one. If it dies before,
//! the permit comes back a second time. A bounded semaphore never has more permits than its bound, though, and no column
//! says more than it. So a death never loses a permit; at worst, it doubles one that had changed hands.
//!
//! # Trust
//!
//! Any value is a value. Counts are masked, and sums are bounded. An own column that is open before it was opened is
//! `Broken`.

#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Backend, Native, Word};
use crate::lock::ReleaseError;
use crate::memory::{Line, Mapping};
use crate::party::{Limit, Party, SLOTS, Slot, WaitError};
use crate::spin::Patience;

/// The most permits that there can be: CPython's `SEM_VALUE_MAX`.
const MOST: u32 = i32::MAX as u32;

/// In `state` and in a column: how many permits.
const COUNT: u64 = MOST as u64;
/// In `state`: somebody may be asleep.
const WAITERS: u64 = 1 << 31;
/// In `state`: the last transfer.
const NAME: u64 = u64::MAX << 32;
/// In a column: a transfer is going on.
const OPEN: u64 = 1 << 31;

/// Where the turn begins, in `state` and in a column.
const TURN: u32 = 32;
/// Where the slot begins in `state`.
const SLOT: u32 = 54;

const HEADER_BYTES: usize = size_of::<Header<Native>>();

#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header<B: Backend> {
    state: Line<B::U64>,
    bell: B::U32,
    bound: B::U32,
}

/// What a process holds.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Column<B: Backend> {
    word: B::U64,
    /// What it held before the transfer for which the column is open.
    before: B::U32,
    /// A turn known to be committed: the last one that others have found open.
    settled: B::U32,
}

#[inline]
fn count(word: u64) -> u32 {
    (word & COUNT) as u32
}

/// The turn in a column.
#[inline]
fn turn(column: u64) -> u32 {
    (column >> TURN) as u32
}

/// A column that is closed.
#[inline]
fn closed(turn: u32, held: u32) -> u64 {
    u64::from(turn) << TURN | u64::from(held)
}

/// The name of a transfer, where it is in `state`.
#[inline]
fn name(slot: Slot, turn: u32) -> u64 {
    (slot.number() as u64) << SLOT | u64::from(turn) << (64 - SLOT + TURN) >> (64 - SLOT)
}

/// Permits between processes. CPython: `multiprocessing.Semaphore`, and `BoundedSemaphore` if it has a bound.
///
/// A permit is a signal or a resource. A signal is released by one process and acquired by another, who keeps it:
/// [`acquire`](Self::acquire). A resource is acquired and later released by the same process, and should come back if that
/// process dies: [`acquire_held`](Self::acquire_held) and [`release_held`](Self::release_held). With a bound all permits are
/// resources, and the two are the same.
pub struct Semaphore<B: Backend = Native> {
    header: B::Shared<Header<B>>,
    columns: B::Shared<[Column<B>]>,
    bound: Option<u32>,
    patience: Patience,
}

impl Semaphore {
    /// How many bytes it takes.
    pub const BYTES: usize = HEADER_BYTES + SLOTS * size_of::<Column<Native>>();

    /// A new semaphore in zeroed memory. By the host, once.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there are more permits than the bound, or than CPython's `SEM_VALUE_MAX`, 2³¹ - 1; `InvalidData`
    /// if the mapping is smaller than a semaphore.
    pub fn create(mapping: &Arc<Mapping>, value: u32, bound: Option<u32>) -> io::Result<Semaphore> {
        let most = bound.unwrap_or(MOST);
        if value > most || most > MOST {
            let message = format!("{value} permits of at most {most} are more than a semaphore can have");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let semaphore = Semaphore::open(mapping)?;
        let encoded = bound.map_or(0, |bound| bound + 1);
        semaphore.header.bound.store(encoded, Ordering::Relaxed);
        semaphore.header.state.0.store(value.into(), Ordering::Release);
        Ok(Semaphore { bound, ..semaphore })
    }

    /// The semaphore that somebody has created there.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping is smaller than a semaphore, or there is none.
    pub fn open(mapping: &Arc<Mapping>) -> io::Result<Semaphore> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let small = || invalid("no room for a semaphore");
        let header = mapping.view(0).ok_or_else(small)?;
        let columns = mapping.array(HEADER_BYTES, SLOTS).ok_or_else(small)?;
        Semaphore::over(header, columns).ok_or_else(|| invalid("the bound of a semaphore was overwritten"))
    }
}

impl<B: Backend> Semaphore<B> {
    /// `None`: an impossible bound.
    fn over(header: B::Shared<Header<B>>, columns: B::Shared<[Column<B>]>) -> Option<Semaphore<B>> {
        let bound = header.bound.load(Ordering::Relaxed).checked_sub(1);
        bound.is_none_or(|bound| bound <= MOST).then(|| Semaphore {
            header,
            columns,
            bound,
            patience: Patience::default(),
        })
    }

    /// Takes a permit for good; held if the semaphore has a bound. CPython: `acquire`, where [`Limit::Poll`] is
    /// `block=False` or a timeout of zero or less.
    ///
    /// # Errors
    ///
    /// The ends of a wait: see [`WaitError`].
    #[inline]
    pub fn acquire(&self, party: &Party<B>, limit: Limit) -> Result<(), WaitError> {
        self.take_or_sleep(party, limit, self.bound.is_some())
    }

    /// Takes a permit that comes back if this process dies before it releases it.
    ///
    /// # Errors
    ///
    /// The ends of a wait: see [`WaitError`].
    #[inline]
    pub fn acquire_held(&self, party: &Party<B>, limit: Limit) -> Result<(), WaitError> {
        self.take_or_sleep(party, limit, true)
    }

    /// Gives so many permits; with a bound, the caller's own first. CPython: `release`, which gives one.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::TooMany`] if there would be more than the bound, or than 2³¹ - 1. CPython: `ValueError("semaphore or
    /// lock released too many times")`, or `OverflowError`.
    #[inline]
    pub fn release(&self, party: &Party<B>, permits: u32) -> Result<(), ReleaseError> {
        self.give(party, permits, self.bound.is_some())
    }

    /// Gives so many permits, of those that this process holds first.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    #[inline]
    pub fn release_held(&self, party: &Party<B>, permits: u32) -> Result<(), ReleaseError> {
        self.give(party, permits, true)
    }

    /// How many permits there are. CPython: `get_value`.
    pub fn value(&self) -> u32 {
        count(self.state().load(Ordering::Relaxed))
    }

    /// The most permits there can be, if that was asked for.
    pub fn bound(&self) -> Option<u32> {
        self.bound
    }

    /// Gives back what a dead process held.
    ///
    /// By the host, when the process is certainly dead; as often as it likes, while others go on.
    pub fn recover(&self, slot: Slot) {
        let held = self
            .columns
            .get(slot.number())
            .map_or(0, |column| self.empty(slot, column));
        if held > 0 {
            self.change(|state| Some(state & !COUNT | u64::from((count(state) + held).min(self.most()))));
        }
        self.ring(u32::MAX);
    }

    /// Empties the column of a dead process. What it held; if there are several callers, one of them gets it.
    fn empty(&self, slot: Slot, column: &Column<B>) -> u32 {
        let word = column.word.load(Ordering::Acquire);
        let turn = turn(word);
        // In this order: the name goes after `settled` has come.
        let committed = word & OPEN == 0
            || self.state().load(Ordering::Acquire) & NAME == name(slot, turn)
            || column.settled.load(Ordering::Relaxed) == turn;
        let held = match committed {
            true => count(word),
            false => column.before.load(Ordering::Relaxed) & MOST,
        };
        let emptied = column
            .word
            .compare_exchange(word, closed(turn, 0), Ordering::AcqRel, Ordering::Relaxed);
        emptied.map_or(0, |_| held)
    }

    #[inline]
    fn state(&self) -> &B::U64 {
        &self.header.state.0
    }

    #[inline]
    fn most(&self) -> u32 {
        self.bound.unwrap_or(MOST)
    }

    /// The column to count the permits of a process in. The host has none: it is never recovered, and its threads could not
    /// share one.
    fn column_of(&self, slot: Slot) -> Option<&Column<B>> {
        match slot {
            Slot::HOST => None,
            slot => self.columns.get(slot.number()),
        }
    }

    #[inline]
    fn take_or_sleep(&self, party: &Party<B>, limit: Limit, held: bool) -> Result<(), WaitError> {
        match self.take(party, held, 0)? {
            Some(_) => Ok(()),
            None if limit == Limit::Poll => Err(WaitError::TimedOut),
            None => self.sleep(party, limit, held),
        }
    }

    #[cold]
    fn sleep(&self, party: &Party<B>, limit: Limit, held: bool) -> Result<(), WaitError> {
        let mut taken = Ok(None);
        B::spin(&self.patience, || {
            taken = self.take(party, held, 0);
            taken != Ok(None)
        });
        if taken?.is_some() {
            return Ok(());
        }
        let bell = &self.header.bell;
        loop {
            // Before `WAITERS`: whoever takes that off rings after this.
            let rung = bell.load(Ordering::Acquire);
            if let Some(left) = self.take(party, held, WAITERS)? {
                if left > 0 {
                    B::wake(bell, 1);
                }
                return Ok(());
            }
            if count(self.state().fetch_or(WAITERS, Ordering::AcqRel)) > 0 {
                continue;
            }
            // A bell that never rests would put off a sleep, and its end, for ever.
            if limit.is_over() {
                return Err(WaitError::TimedOut);
            }
            if let Err(why) = party.sleep(bell, rung, limit) {
                if why == WaitError::Interrupted {
                    B::wake(bell, 1);
                }
                return Err(why);
            }
        }
    }

    /// Takes a permit if there is one, and sets `flag`. How many are left.
    #[inline]
    fn take(&self, party: &Party<B>, held: bool, flag: u64) -> Result<Option<u32>, WaitError> {
        let one_less = |state: u64| (count(state) > 0).then(|| (state - 1) | flag);
        let taken = match self.column_of(party.slot()).filter(|_| held) {
            None => self.change(one_less),
            Some(column) => {
                let one_more = |held: u32| held.saturating_add(1).min(self.most());
                self.transfer(party.slot(), column, one_more, one_less)?
            }
        };
        Ok(taken.map(|state| count(state) - 1))
    }

    #[inline]
    fn give(&self, party: &Party<B>, permits: u32, held: bool) -> Result<(), ReleaseError> {
        let more = |state: u64| {
            let sum = count(state).checked_add(permits).filter(|&sum| sum <= self.most())?;
            Some(state & NAME | u64::from(sum))
        };
        let holds_any = |column: &&Column<B>| held && count(column.word.load(Ordering::Relaxed)) > 0;
        let given = match self.column_of(party.slot()).filter(holds_any) {
            None => self.change(more),
            Some(column) => {
                let less = |held: u32| held.saturating_sub(permits);
                self.transfer(party.slot(), column, less, more)
                    .map_err(|_| ReleaseError::Broken)?
            }
        };
        let state = given.ok_or(ReleaseError::TooMany)?;
        if state & WAITERS != 0 {
            self.ring(1);
        }
        Ok(())
    }

    /// Wakes so many, and keeps those from sleeping who are about to. For after `WAITERS` has been taken off.
    fn ring(&self, sleepers: u32) {
        let bell = &self.header.bell;
        bell.fetch_add(1, Ordering::Release);
        B::wake(bell, sleepers);
    }

    /// Changes `state` without a name. What it was, if it could be changed.
    #[inline]
    fn change(&self, next: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut state = self.state().load(Ordering::Relaxed);
        loop {
            let changed = next(state)?;
            match self
                .state()
                .compare_exchange(state, changed, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Some(state),
                Err(now) => state = now,
            }
        }
    }

    /// Changes `state` and what a slot holds together. What `state` was, if it could be changed.
    fn transfer(
        &self,
        slot: Slot,
        column: &Column<B>,
        holds: impl Fn(u32) -> u32,
        next: impl Fn(u64) -> Option<u64>,
    ) -> Result<Option<u64>, WaitError> {
        let mut state = self.state().load(Ordering::Acquire);
        if next(state).is_none() {
            return Ok(None);
        }
        let word = column.word.load(Ordering::Relaxed);
        if word & OPEN != 0 {
            return Err(WaitError::Broken);
        }
        let (turn, before) = (turn(word).wrapping_add(1), count(word));
        let after = closed(turn, holds(before));
        column.before.store(before, Ordering::Relaxed);
        // Release: `before` comes first.
        column.word.store(after | OPEN, Ordering::Release);
        while let Some(changed) = next(state) {
            self.settle(state)?;
            let named = changed & !NAME | name(slot, turn);
            match self
                .state()
                .compare_exchange(state, named, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    column.word.store(after, Ordering::Release);
                    return Ok(Some(state));
                }
                Err(now) => state = now,
            }
        }
        column.word.store(word, Ordering::Release);
        Ok(None)
    }

    /// Sees to it that the last transfer counts as committed when `state` no longer has its name.
    fn settle(&self, state: u64) -> Result<(), WaitError> {
        let last = Slot::new((state >> SLOT) as usize).ok_or(WaitError::Broken)?;
        let column = self.columns.get(last.number()).ok_or(WaitError::Broken)?;
        loop {
            // In this order: then the column is not older than what is settled already, which so never goes back.
            let settled = column.settled.load(Ordering::Acquire);
            let word = column.word.load(Ordering::Acquire);
            let turn = turn(word);
            if word & OPEN == 0 || name(last, turn) != state & NAME {
                return Ok(());
            }
            let settling = column
                .settled
                .compare_exchange(settled, turn, Ordering::AcqRel, Ordering::Relaxed);
            if settling.is_ok() {
                return Ok(());
            }
        }
    }
}

impl<B: Backend> fmt::Debug for Semaphore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("value", &self.value())
            .field("bound", &self.bound)
            .finish()
    }
}
