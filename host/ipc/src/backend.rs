//! What the algorithms stand on: atomic words, bytes, and waiting.
//!
//! [`Native`] is the shared memory of real processes. The model checker brings its own implementation, so that what is
//! proved is the source that runs.

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Instant;

use crate::memory::{Region, SharedLayout, View};
use crate::{futex, ring};

/// Where an algorithm runs.
pub trait Backend: Debug + Sized + Send + 'static {
    /// A word that one can wait on.
    type U32: Word<u32>;
    /// A position, or the header of a record.
    type U64: Word<u64>;
    /// A shared header of type `T`.
    type Shared<T: Send + Sync + 'static>: Deref<Target = T> + Send;
    /// The bytes of a ring.
    type Bytes: Bytes<Self::U64> + Send;

    /// A `SeqCst` fence: a store before it and a load after it stay in this order for everyone.
    fn fence();
    /// Sleeps while `word` is `expected`; false if the deadline passed. May return early.
    fn wait(word: &Self::U32, expected: u32, deadline: Option<Instant>) -> bool;
    /// Wakes up to `count` sleepers.
    fn wake(word: &Self::U32, count: u32);
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
}

/// Shared memory and futexes.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Backend for Native {
    type U32 = AtomicU32;
    type U64 = AtomicU64;
    type Shared<T: Send + Sync + 'static> = View<T>;
    type Bytes = Region;

    #[inline]
    fn fence() {
        fence(Ordering::SeqCst);
    }

    #[inline]
    fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
        futex::wait(word, expected, deadline)
    }

    #[inline]
    fn wake(word: &AtomicU32, count: u32) {
        futex::wake(word, count);
    }
}

macro_rules! native_word {
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
        }
    };
}

native_word!(AtomicU32, u32);
native_word!(AtomicU64, u64);

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
}

// Everything that is looked at in shared memory, in one list to review.

// SAFETY: an atomic.
unsafe impl SharedLayout for AtomicU64 {}
// SAFETY: `repr(C)`, atomics and alignment.
unsafe impl SharedLayout for ring::Header<Native> {}
