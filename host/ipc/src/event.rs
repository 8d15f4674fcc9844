//! A flag that one can wait for.
//!
//! # Memory
//!
//! One word, zero at first:
//!
//! | bits | what |
//! | --- | --- |
//! | 0 | `SET`: the flag |
//! | 1 | `WAITERS`: somebody may be asleep on the word; whoever sets the flag wakes all |
//! | 2 to 31 | generation: how often the flag has been set, modulo 2³⁰ |
//!
//! Everyone writes it, by read-modify-write only.
//!
//! # What commits
//!
//! The one exchange that sets the flag, counts the generation and takes `WAITERS`. Nobody owns anything in an event, so a
//! death changes nothing in it; only the wake-up after that exchange may be lost, and [`recover`](Event::recover) makes up
//! for it.
//!
//! # Sleeping
//!
//! Only while the flag is not set and `WAITERS` is; the kernel compares the word as the sleeper falls asleep. Whoever
//! waits remembers the generation it began in, and is through as soon as that is over: a `set` that is followed by a
//! `clear` before the sleeper looks is not missed. (It would have to be followed by 2³⁰ more, to the number.)
//!
//! # Trust
//!
//! Every content is an event in some state.

#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Backend, Native, Word};
use crate::memory::Mapping;
use crate::party::{Limit, Party, Slot, WaitError};
use crate::spin::Patience;

const SET: u32 = 1;
const WAITERS: u32 = 2;
const ONE_GENERATION: u32 = 4;

/// All zero is an event that is not set.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header<B: Backend>(B::U32);

/// A flag between processes that one can wait for. CPython: `multiprocessing.Event`.
pub struct Event<B: Backend = Native> {
    header: B::Shared<Header<B>>,
    patience: Patience,
}

impl Event {
    /// How many bytes it takes.
    pub const BYTES: usize = size_of::<Header<Native>>();

    /// A new event in zeroed memory, not set. By the host, once.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping is smaller than an event.
    pub fn create(mapping: &Arc<Mapping>) -> io::Result<Event> {
        Event::open(mapping)
    }

    /// The event that somebody has created there.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping is smaller than an event.
    pub fn open(mapping: &Arc<Mapping>) -> io::Result<Event> {
        let header = mapping
            .view(0)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no room for an event"))?;
        Ok(Event::over(header))
    }
}

impl<B: Backend> Event<B> {
    fn over(header: B::Shared<Header<B>>) -> Event<B> {
        Event {
            header,
            patience: Patience::default(),
        }
    }

    fn word(&self) -> &B::U32 {
        &self.header.0
    }

    /// Sets the flag, and lets everyone through who waits. Never waits itself. CPython: `set`.
    pub fn set(&self) {
        let mut word = self.word().load(Ordering::Relaxed);
        loop {
            let next = (word & !(SET | WAITERS)).wrapping_add(ONE_GENERATION) | SET;
            // Release: what was done before is seen by whom this lets through. Acquire: it hands on what earlier ones did.
            match self
                .word()
                .compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if word & WAITERS != 0 {
            B::wake(self.word(), u32::MAX);
        }
    }

    /// Clears the flag. CPython: `clear`.
    pub fn clear(&self) {
        self.word().fetch_and(!SET, Ordering::AcqRel);
    }

    /// Whether the flag is set. CPython: `is_set`.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.word().load(Ordering::Acquire) & SET != 0
    }

    /// Waits until the flag is set: it is now, or it is being set at some time after this call has begun, be it ever so
    /// briefly. CPython: `wait`, which returns false instead of [`WaitError::TimedOut`], and also after a `set` that was
    /// followed by a `clear` too quickly (gh-95826).
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] and [`WaitError::Interrupted`].
    #[inline]
    pub fn wait(&self, party: &Party<B>, limit: Limit) -> Result<(), WaitError> {
        let began = self.word().load(Ordering::Acquire);
        if began & SET != 0 {
            return Ok(());
        }
        match limit {
            Limit::Poll => Err(WaitError::TimedOut),
            _ => self.sleep(party, limit, began),
        }
    }

    #[cold]
    fn sleep(&self, party: &Party<B>, limit: Limit, began: u32) -> Result<(), WaitError> {
        // The flag is set only together with a new generation.
        let is_over = |word: u32| (word ^ began) & !WAITERS != 0;
        if B::spin(&self.patience, || is_over(self.word().load(Ordering::Acquire))) {
            return Ok(());
        }
        loop {
            let word = self.word().fetch_or(WAITERS, Ordering::Acquire);
            if is_over(word) {
                return Ok(());
            }
            // Flags that never rest would put off a sleep, and its end, for ever.
            if limit.is_over() {
                return Err(WaitError::TimedOut);
            }
            party.sleep(self.word(), word | WAITERS, limit)?;
        }
    }

    /// Makes up for a wake-up that a dead process owed the others.
    ///
    /// By the host, when the process is certainly dead; as often as it likes, while others go on.
    pub fn recover(&self, _: Slot) {
        B::wake(self.word(), u32::MAX);
    }
}

impl<B: Backend> fmt::Debug for Event<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish()
    }
}
