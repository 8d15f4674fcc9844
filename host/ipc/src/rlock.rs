//! A lock that its owner may acquire again.
//!
//! # Memory
//!
//! | word | written by | what |
//! | --- | --- | --- |
//! | `lock` | everyone | which process holds it: see [`lock`](crate::lock) |
//! | `thread` | the holder | which of its threads; 0 while nobody holds it, and in a worker, which has one |
//! | `depth` | the holder | how often it has acquired it; means nothing while nobody holds it |
//!
//! # Whose it is
//!
//! A thread owns the lock if `lock` names its process and `thread` names it. Other threads of that process may look while
//! these words change. They are never misled: a thread alone writes its own number, and clears it before it releases, so
//! whoever finds its number there has the lock.
//!
//! # What commits
//!
//! What commits to `lock`. A process that dies in between leaves a `thread` of 0, because processes that die are workers,
//! and a `depth` that the next holder overwrites.
//!
//! # Trust
//!
//! As with [`lock`](crate::lock). A depth that cannot be is `Broken`.

#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Backend, Native, Word};
use crate::lock::{ABANDONED, Acquired, LockWord, Mutex, ReleaseError};
use crate::memory::Mapping;
use crate::party::{Limit, Party, Slot, WaitError};
use crate::spin::Patience;

/// All zero is free.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header<B: Backend> {
    lock: LockWord<B>,
    thread: B::U32,
    depth: B::U32,
}

/// What `thread` says while no thread of the host has the lock.
const NO_THREAD: u32 = 0;

/// A lock between processes that its owner may acquire again. CPython: `multiprocessing.RLock`.
///
/// It belongs to one thread of one process, and is free when that has released it as often as acquired it. When a process
/// dies that holds it, the lock is free, and the next one to acquire it is told so; CPython's stays locked for ever.
pub struct RLock<B: Backend = Native> {
    header: B::Shared<Header<B>>,
    patience: Patience,
}

impl RLock {
    /// How many bytes it takes.
    pub const BYTES: usize = size_of::<Header<Native>>();

    /// A new lock in zeroed memory. By the host, once.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping is smaller than a lock.
    pub fn create(mapping: &Arc<Mapping>) -> io::Result<RLock> {
        RLock::open(mapping)
    }

    /// The lock that somebody has created there.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping is smaller than a lock.
    pub fn open(mapping: &Arc<Mapping>) -> io::Result<RLock> {
        let header = mapping
            .view(0)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no room for a recursive lock"))?;
        Ok(RLock::over(header))
    }
}

impl<B: Backend> RLock<B> {
    fn over(header: B::Shared<Header<B>>) -> RLock<B> {
        RLock {
            header,
            patience: Patience::default(),
        }
    }

    /// Acquires it once more, at once if the caller owns it. CPython: `acquire`, where [`Limit::Poll`] is `block=False` or
    /// a timeout of zero or less.
    ///
    /// # Errors
    ///
    /// The ends of a wait: see [`WaitError`].
    #[inline]
    pub fn acquire(&self, party: &Party<B>, limit: Limit) -> Result<Acquired, WaitError> {
        if self.is_mine(party) {
            let deeper = self.depth().checked_add(1).ok_or(WaitError::Broken)?;
            self.header.depth.store(deeper, Ordering::Relaxed);
            return Ok(Acquired { abandoned: false });
        }
        let acquired = self.header.lock.acquire(party, &self.patience, limit)?;
        self.own(party, 1);
        Ok(acquired)
    }

    /// Releases it once. CPython: `release`.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::NotOwner`], also if nobody owns it. CPython: `AssertionError("attempt to release recursive lock not
    /// owned by thread")`.
    #[inline]
    pub fn release(&self, party: &Party<B>) -> Result<(), ReleaseError> {
        match self.depth_of(party)? {
            1 => self.free(),
            depth => self.header.depth.store(depth - 1, Ordering::Relaxed),
        }
        Ok(())
    }

    /// How often its owner has acquired it; 0 if nobody owns it.
    pub fn count(&self) -> u32 {
        match self.header.lock.is_held() {
            true => self.depth(),
            false => 0,
        }
    }

    /// Whether the calling thread owns it.
    #[inline]
    pub fn is_mine(&self, party: &Party<B>) -> bool {
        self.owner() == Some(party.slot()) && self.header.thread.load(Ordering::Relaxed) == party.thread()
    }

    /// The process that owns it.
    #[inline]
    pub fn owner(&self) -> Option<Slot> {
        self.header.lock.owner()
    }

    /// Abandons the lock if a dead process owns it.
    ///
    /// By the host, when the process is certainly dead; as often as it likes, while others go on.
    pub fn recover(&self, slot: Slot) {
        self.header.lock.recover(slot, ABANDONED);
    }

    /// The party has just acquired `lock`.
    #[inline]
    fn own(&self, party: &Party<B>, depth: u32) {
        self.header.thread.store(party.thread(), Ordering::Relaxed);
        self.header.depth.store(depth, Ordering::Relaxed);
    }

    fn depth(&self) -> u32 {
        self.header.depth.load(Ordering::Relaxed)
    }

    /// How often the party has acquired it.
    fn depth_of(&self, party: &Party<B>) -> Result<u32, ReleaseError> {
        if !self.is_mine(party) {
            return Err(ReleaseError::NotOwner);
        }
        match self.depth() {
            0 => Err(ReleaseError::Broken),
            depth => Ok(depth),
        }
    }

    /// By its owner.
    fn free(&self) {
        self.header.thread.store(NO_THREAD, Ordering::Relaxed);
        self.header.lock.release();
    }
}

impl<B: Backend> Mutex<B> for RLock<B> {
    fn owned_by(&self, party: &Party<B>) -> bool {
        self.is_mine(party)
    }

    fn release_all(&self, party: &Party<B>) -> Result<u32, ReleaseError> {
        let depth = self.depth_of(party)?;
        self.free();
        Ok(depth)
    }

    fn acquire_again(&self, party: &Party<B>, depth: u32) -> Result<Acquired, WaitError> {
        let acquired = self.header.lock.acquire_undisturbed(party, &self.patience)?;
        self.own(party, depth);
        Ok(acquired)
    }
}

impl<B: Backend> fmt::Debug for RLock<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock")
            .field("owner", &self.owner())
            .field("count", &self.count())
            .finish()
    }
}
