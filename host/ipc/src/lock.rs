//! Mutual exclusion: a word that says who holds it, and the `Lock` of users.
//!
//! # Memory
//!
//! One word, zero at first:
//!
//! | bits | what |
//! | --- | --- |
//! | 0 | `WAITERS`: somebody may be asleep on the word; whoever releases the lock wakes one |
//! | 1 to 30 | the holder's slot plus one; 0 is free |
//! | 31 | `ABANDONED`: free because its holder died |
//!
//! Everyone writes it, by read-modify-write only.
//!
//! # What commits
//!
//! * **The exchange from free to a slot acquires.** Who dies before has nothing, who dies after is the holder whom
//!   [`recover`](LockWord::recover) finds. This is why the word names a process and not just a state.
//! * **The exchange to free releases.** The wake-up after it may be lost with whoever dies in between.
//!
//! # Sleeping
//!
//! Only while the word is held and has `WAITERS`: the kernel compares it as the sleeper falls asleep, so no release can
//! slip in between. A release clears `WAITERS` and wakes one sleeper, although more may be asleep. So that one acquires
//! with `WAITERS` set, or sets it again before it goes back to sleep: there is no moment at which someone sleeps and
//! neither `WAITERS` is set nor a woken sleeper is on its way to set it. Two things can stop one on its way:
//!
//! * It was interrupted just when it was woken: it passes the wake-up on. (A sleep that times out has not been woken: the
//!   kernel tells the two apart.)
//! * It died: `recover` wakes everyone.
//!
//! # Trust
//!
//! Whoever maps the word can lock others out or let them in together: it guards the data of an object that the same
//! parties can write anyhow. A holder that does not exist is `Broken`.

#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;

use std::fmt;
use std::hint;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Backend, Native, Word};
use crate::memory::Mapping;
use crate::party::{Limit, Party, Slot, WaitError};
use crate::spin::Patience;

/// Somebody may be asleep.
const WAITERS: u32 = 1;
/// A lock that nobody holds.
pub(crate) const FREE: u32 = 0;
/// A lock that nobody holds because its holder died.
pub(crate) const ABANDONED: u32 = 1 << 31;

/// Most pauses of the processor between two looks at a lock that is held. Each look takes the word's line away from the holder,
/// who needs it to release: the longer it has taken, the less often it is looked at.
const MAX_PAUSE: u32 = 15;

/// The word of a lock held by `slot`.
#[inline]
fn held_by(slot: Slot) -> u32 {
    (slot.number() as u32 + 1) << 1
}

/// The slot in the word of a lock, if it is held.
#[inline]
fn holder(word: u32) -> Result<Option<Slot>, WaitError> {
    match ((word & !ABANDONED) >> 1) as usize {
        0 => Ok(None),
        number => Slot::new(number - 1).map(Some).ok_or(WaitError::Broken),
    }
}

/// A lock inside of another object; all zero is free.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct LockWord<B: Backend>(pub(crate) B::U32);

/// A lock has been acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// The holder before died with it: what the lock guards may be half changed. Told once, to the first one after.
    pub abandoned: bool,
}

impl<B: Backend> LockWord<B> {
    /// Acquires it, waiting if the limit allows.
    #[inline]
    pub(crate) fn acquire(&self, party: &Party<B>, patience: &Patience, limit: Limit) -> Result<Acquired, WaitError> {
        let mine = held_by(party.slot());
        match self
            .0
            .compare_exchange(FREE, mine, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => Ok(Acquired { abandoned: false }),
            Err(_) => self.acquire_or_sleep(party, patience, limit),
        }
    }

    #[cold]
    fn acquire_or_sleep(&self, party: &Party<B>, patience: &Patience, limit: Limit) -> Result<Acquired, WaitError> {
        let mine = held_by(party.slot());
        if limit == Limit::Poll {
            return self.try_acquire(party);
        }
        let mut taken = Ok(None);
        let mut pause = 0;
        B::spin(patience, || {
            (0..pause).for_each(|_| hint::spin_loop());
            pause = (2 * pause + 1).min(MAX_PAUSE);
            taken = self.take(mine);
            taken != Ok(None)
        });
        if let Some(acquired) = taken? {
            return Ok(acquired);
        }
        loop {
            // As one who may have been woken while others still sleep.
            if let Some(acquired) = self.take(mine | WAITERS)? {
                return Ok(acquired);
            }
            let word = self.0.load(Ordering::Relaxed);
            if holder(word)?.is_none() || !self.set_waiters(word) {
                continue;
            }
            // A word that never stays the same would put off a sleep, and its end, for ever.
            if limit.is_over() {
                return Err(WaitError::TimedOut);
            }
            if let Err(why) = party.sleep(&self.0, word | WAITERS, limit) {
                if why == WaitError::Interrupted {
                    B::wake(&self.0, 1);
                }
                return Err(why);
            }
        }
    }

    /// Acquires it, however long that takes, and does not hear interruptions.
    pub(crate) fn acquire_undisturbed(&self, party: &Party<B>, patience: &Patience) -> Result<Acquired, WaitError> {
        self.acquire(&Party::worker(party.slot(), None), patience, Limit::Forever)
    }

    /// Acquires it if it is free now: does not wait.
    #[inline]
    pub(crate) fn try_acquire(&self, party: &Party<B>) -> Result<Acquired, WaitError> {
        self.take(held_by(party.slot()))?.ok_or(WaitError::TimedOut)
    }

    /// Puts `mine` into the word if it is free.
    fn take(&self, mine: u32) -> Result<Option<Acquired>, WaitError> {
        let word = self.0.load(Ordering::Relaxed);
        if holder(word)?.is_some() {
            return Ok(None);
        }
        // If this fails, then because the lock was held just now.
        let taken = self
            .0
            .compare_exchange(word, mine, Ordering::Acquire, Ordering::Relaxed);
        Ok(taken.is_ok().then_some(Acquired {
            abandoned: word & ABANDONED != 0,
        }))
    }

    /// Sets `WAITERS`; false if the word is no longer what it was.
    fn set_waiters(&self, word: u32) -> bool {
        let set = word | WAITERS;
        word == set
            || self
                .0
                .compare_exchange(word, set, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Releases it, whoever holds it. False: nobody held it, and nothing has changed.
    #[inline]
    pub(crate) fn release(&self) -> bool {
        // Clears everything of a held word and nothing of a free one.
        let word = self.0.fetch_and(ABANDONED, Ordering::Release);
        if word & WAITERS != 0 {
            B::wake(&self.0, 1);
        }
        word & !(ABANDONED | WAITERS) != 0
    }

    /// Who holds it.
    pub(crate) fn owner(&self) -> Option<Slot> {
        holder(self.0.load(Ordering::Relaxed)).ok().flatten()
    }

    /// Whether somebody holds it.
    pub(crate) fn is_held(&self) -> bool {
        self.0.load(Ordering::Relaxed) & !(ABANDONED | WAITERS) != 0
    }

    /// Makes it free, or abandoned, if the dead `slot` holds it. Wakes everyone: what the dead one should have woken,
    /// and who was woken when it was.
    pub(crate) fn recover(&self, slot: Slot, left: u32) {
        let mut word = self.0.load(Ordering::Relaxed);
        while holder(word) == Ok(Some(slot)) {
            // Release, in the place of the dead.
            match self.0.compare_exchange(word, left, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        B::wake(&self.0, u32::MAX);
    }
}

/// A release that is not allowed; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseError {
    /// Nobody holds the lock.
    NotLocked,
    /// The lock belongs to the one who acquired it, who is not the caller.
    NotOwner,
    /// The semaphore would get more permits than it may have.
    TooMany,
    /// The shared memory holds what no honest party writes.
    Broken,
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReleaseError::NotLocked => "released a lock that is not locked",
            ReleaseError::NotOwner => "released a lock that somebody else holds, or nobody",
            ReleaseError::TooMany => "released a semaphore too many times",
            ReleaseError::Broken => "the object is broken: its memory was overwritten",
        })
    }
}

impl std::error::Error for ReleaseError {}

/// What a condition needs of the lock that belongs to it.
pub trait Mutex<B: Backend> {
    /// Whether the party holds it.
    fn owned_by(&self, party: &Party<B>) -> bool;
    /// Releases it, however often the party has acquired it; how often that was.
    fn release_all(&self, party: &Party<B>) -> Result<u32, ReleaseError>;
    /// Acquires it as often as that. Waits for as long as it takes, and does not hear interruptions.
    fn acquire_again(&self, party: &Party<B>, depth: u32) -> Result<Acquired, WaitError>;
}

/// A lock between processes, not recursive. CPython: `multiprocessing.Lock`.
///
/// Any process may release it, not only the one that acquired it: like CPython's it is a semaphore of one. When a process
/// dies that holds it, the lock is free, and the next one to acquire it is told so; CPython's stays locked for ever.
pub struct Lock<B: Backend = Native> {
    word: B::Shared<LockWord<B>>,
    patience: Patience,
}

impl Lock {
    /// How many bytes it takes.
    pub const BYTES: usize = size_of::<LockWord<Native>>();

    /// A new lock in zeroed memory. By the host, once.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping is smaller than a lock.
    pub fn create(mapping: &Arc<Mapping>) -> io::Result<Lock> {
        Lock::open(mapping)
    }

    /// The lock that somebody has created there.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping is smaller than a lock.
    pub fn open(mapping: &Arc<Mapping>) -> io::Result<Lock> {
        let word = mapping
            .view(0)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no room for a lock"))?;
        Ok(Lock::over(word))
    }
}

impl<B: Backend> Lock<B> {
    pub(crate) fn over(word: B::Shared<LockWord<B>>) -> Lock<B> {
        Lock {
            word,
            patience: Patience::default(),
        }
    }

    /// Acquires it. CPython: `acquire`, where [`Limit::Poll`] is `block=False` or a timeout of zero or less.
    ///
    /// # Errors
    ///
    /// The ends of a wait: see [`WaitError`].
    #[inline]
    pub fn acquire(&self, party: &Party<B>, limit: Limit) -> Result<Acquired, WaitError> {
        self.word.acquire(party, &self.patience, limit)
    }

    /// Releases it, whoever holds it. CPython: `release`.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::NotLocked`]. CPython: `ValueError("semaphore or lock released too many times")`.
    #[inline]
    pub fn release(&self, _: &Party<B>) -> Result<(), ReleaseError> {
        match self.word.release() {
            true => Ok(()),
            false => Err(ReleaseError::NotLocked),
        }
    }

    /// Whether somebody holds it. An abandoned lock is not held. CPython: `locked` (3.14).
    pub fn is_locked(&self) -> bool {
        self.word.is_held()
    }

    /// The process that holds it.
    pub fn owner(&self) -> Option<Slot> {
        self.word.owner()
    }

    /// Abandons the lock if a dead process holds it.
    ///
    /// By the host, when the process is certainly dead; as often as it likes, while others go on.
    pub fn recover(&self, slot: Slot) {
        self.word.recover(slot, ABANDONED);
    }
}

/// The lock does not know the host's threads apart: what one of them has acquired, all of them own.
impl<B: Backend> Mutex<B> for Lock<B> {
    fn owned_by(&self, party: &Party<B>) -> bool {
        self.owner() == Some(party.slot())
    }

    fn release_all(&self, party: &Party<B>) -> Result<u32, ReleaseError> {
        if !self.owned_by(party) {
            return Err(ReleaseError::NotOwner);
        }
        self.release(party).map(|()| 1)
    }

    fn acquire_again(&self, party: &Party<B>, _depth: u32) -> Result<Acquired, WaitError> {
        self.word.acquire_undisturbed(party, &self.patience)
    }
}

impl<B: Backend> fmt::Debug for Lock<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("owner", &self.owner()).finish()
    }
}
