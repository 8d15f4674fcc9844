//! What the algorithms stand on: atomic words, bytes, and waiting.
//!
//! [`Native`] is the shared memory of real processes. The model checker brings its own implementation, so that what is
//! proved is the source that runs.

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::time::Instant;

use crate::memory::{Line, Region, SharedLayout, View};
use crate::party::{self, Interrupt, WaitError};
use crate::spin::Patience;
use crate::{barrier, condition, event, fifo, futex, lock, pipe, queue, ring, rlock, semaphore};

/// Where an algorithm runs.
pub trait Backend: Debug + Sized + Send + 'static {
    /// A word that one can wait on.
    type U32: Word<u32>;
    /// A position, or the header of a record.
    type U64: Word<u64>;
    /// A shared header of type `T`, or an array.
    type Shared<T: ?Sized + Send + Sync + 'static>: Deref<Target = T> + Send + Sync;
    /// The bytes of a ring.
    type Bytes: Bytes<Self::U64> + Send + Sync;

    /// A `SeqCst` fence: a store before it and a load after it stay in this order for everyone.
    fn fence();
    /// Sleeps while `word` is `expected`; false if the deadline passed. May return early.
    fn wait(word: &Self::U32, expected: u32, deadline: Option<Instant>) -> bool;
    /// As [`wait`](Self::wait), and an interruption ends it as well.
    fn wait_or_hear(
        word: &Self::U32,
        expected: u32,
        deadline: Option<Instant>,
        interrupt: Option<&Interrupt<Self>>,
    ) -> Woken;
    /// Wakes up to `count` sleepers.
    fn wake(word: &Self::U32, count: u32);
    /// Looks for something for as long as that has lately paid off; false: go to sleep.
    fn spin(patience: &Patience, ready: impl FnMut() -> bool) -> bool;
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// By a wake-up, or for no reason: look again.
    Perhaps,
    /// The deadline passed.
    TimedOut,
    /// This party was interrupted.
    Interrupted,
}

impl Woken {
    pub(crate) fn into_result(self) -> Result<(), WaitError> {
        match self {
            Woken::Perhaps => Ok(()),
            Woken::TimedOut => Err(WaitError::TimedOut),
            Woken::Interrupted => Err(WaitError::Interrupted),
        }
    }
}

/// An atomic integer.
pub trait Word<T>: Debug + Send + Sync + 'static {
    /// Reads it.
    fn load(&self, order: Ordering) -> T;
    /// Writes it.
    fn store(&self, value: T, order: Ordering);
    /// Writes it and returns what it was.
    fn swap(&self, value: T, order: Ordering) -> T;
    /// Changes it from `current` to `new`; the error is what it was instead.
    fn compare_exchange(&self, current: T, new: T, success: Ordering, failure: Ordering) -> Result<T, T>;
    /// Adds to it, wrapping around, and returns what it was.
    fn fetch_add(&self, value: T, order: Ordering) -> T;
    /// Sets these bits and returns what it was.
    fn fetch_or(&self, bits: T, order: Ordering) -> T;
    /// Keeps only these bits and returns what it was.
    fn fetch_and(&self, bits: T, order: Ordering) -> T;
}

/// Bytes of which some places are also used as words. Positions are below [`len`](Self::len), and ranges end there.
pub trait Bytes<W> {
    /// How many bytes.
    fn len(&self) -> usize;
    /// The word at a position that is a multiple of eight.
    fn word(&self, at: usize) -> &W;
    /// Copies in.
    fn write(&self, at: usize, source: &[u8]);
    /// Copies out.
    fn read(&self, at: usize, target: &mut [u8]);
    /// Copies `len` bytes to another place, which they do not reach into.
    fn copy(&self, from: usize, to: usize, len: usize);
    /// Gives back the memory of a range whose contents nobody needs.
    fn discard(&self, at: usize, len: usize);
}

/// Shared memory and futexes.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Backend for Native {
    type U32 = AtomicU32;
    type U64 = AtomicU64;
    type Shared<T: ?Sized + Send + Sync + 'static> = View<T>;
    type Bytes = Region;

    #[inline]
    fn fence() {
        fence(Ordering::SeqCst);
    }

    #[inline]
    fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
        futex::wait(word, expected, deadline)
    }

    fn wait_or_hear(
        word: &AtomicU32,
        expected: u32,
        deadline: Option<Instant>,
        interrupt: Option<&Interrupt>,
    ) -> Woken {
        match interrupt {
            Some(interrupt) => interrupt.wait(&[(word, expected)], deadline),
            None if futex::wait(word, expected, deadline) => Woken::Perhaps,
            None => Woken::TimedOut,
        }
    }

    #[inline]
    fn wake(word: &AtomicU32, count: u32) {
        futex::wake(word, count);
    }

    #[inline]
    fn spin(patience: &Patience, ready: impl FnMut() -> bool) -> bool {
        patience.spin(ready)
    }
}

macro_rules! atomic_word {
    ($atomic:ty, $int:ty) => {
        impl Word<$int> for $atomic {
            #[inline]
            fn load(&self, order: Ordering) -> $int {
                <$atomic>::load(self, order)
            }

            #[inline]
            fn store(&self, value: $int, order: Ordering) {
                <$atomic>::store(self, value, order);
            }

            #[inline]
            fn swap(&self, value: $int, order: Ordering) -> $int {
                <$atomic>::swap(self, value, order)
            }

            #[inline]
            fn compare_exchange(&self, old: $int, new: $int, ok: Ordering, err: Ordering) -> Result<$int, $int> {
                <$atomic>::compare_exchange(self, old, new, ok, err)
            }

            #[inline]
            fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                <$atomic>::fetch_add(self, value, order)
            }

            #[inline]
            fn fetch_or(&self, bits: $int, order: Ordering) -> $int {
                <$atomic>::fetch_or(self, bits, order)
            }

            #[inline]
            fn fetch_and(&self, bits: $int, order: Ordering) -> $int {
                <$atomic>::fetch_and(self, bits, order)
            }
        }
    };
}

#[cfg(test)]
pub(crate) use atomic_word;

atomic_word!(AtomicU32, u32);
atomic_word!(AtomicU64, u64);

impl Bytes<AtomicU64> for Region {
    #[inline]
    fn len(&self) -> usize {
        Region::len(self)
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        Region::word(self, at)
    }

    #[inline]
    fn write(&self, at: usize, source: &[u8]) {
        Region::write(self, at, source);
    }

    #[inline]
    fn read(&self, at: usize, target: &mut [u8]) {
        Region::read(self, at, target);
    }

    fn copy(&self, from: usize, to: usize, len: usize) {
        Region::copy(self, from, to, len);
    }

    fn discard(&self, at: usize, len: usize) {
        Region::discard(self, at, len);
    }
}

// Everything that is looked at in shared memory, in one list to review.

// SAFETY: an atomic.
unsafe impl SharedLayout for AtomicU64 {}
// SAFETY: an atomic.
unsafe impl SharedLayout for AtomicU32 {}
// SAFETY: an atomic.
unsafe impl SharedLayout for AtomicU16 {}
// SAFETY: an atomic.
unsafe impl SharedLayout for AtomicU8 {}
// SAFETY: `repr(C)`, one atomic.
unsafe impl SharedLayout for party::InterruptWord<Native> {}
// SAFETY: `repr(C)`, atomics and alignment.
unsafe impl SharedLayout for ring::Header<Native> {}
// SAFETY: `repr(C)`, one atomic.
unsafe impl SharedLayout for lock::LockWord<Native> {}
// SAFETY: `repr(C)`, atomics.
unsafe impl SharedLayout for rlock::Header<Native> {}
// SAFETY: `repr(C)`, one atomic.
unsafe impl SharedLayout for event::Header<Native> {}
// SAFETY: `repr(C)`, atomics and alignment.
unsafe impl SharedLayout for semaphore::Header<Native> {}
// SAFETY: `repr(C)`, atomics and padding.
unsafe impl SharedLayout for semaphore::Column<Native> {}
// SAFETY: `repr(C)`, atomics and alignment.
unsafe impl SharedLayout for fifo::Header<Native> {}
// SAFETY: `repr(C)`, atomics and alignment.
unsafe impl SharedLayout for queue::Header<Native> {}
// SAFETY: `repr(C)`, atomics and alignment.
unsafe impl SharedLayout for barrier::Header<Native> {}
// SAFETY: `repr(C)`, one atomic.
unsafe impl SharedLayout for pipe::Header<Native> {}
// SAFETY: `repr(C)`, one atomic and alignment.
unsafe impl SharedLayout for Line<AtomicU32> {}
// SAFETY: `repr(C)`, atomics and padding.
unsafe impl SharedLayout for condition::Header<Native> {}
// SAFETY: `repr(C)`, atomics and padding.
unsafe impl SharedLayout for condition::WaitCell<Native> {}
