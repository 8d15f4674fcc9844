//! The memory of model checkers: their atomics as a [`Backend`], so that the source that runs is what is explored.
//!
//! [`loom`] tries every interleaving of two or three threads, with everything that weak memory allows; [`shuttle`] tries
//! random ones of more threads that do more, one operation after the other.
//!
//! A thread can be made to die after a number of effects: from then on nothing that it writes arrives, as with a process
//! that was killed there.

mod loom;
pub(crate) mod shuttle;

use std::cell::Cell;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use crate::backend::{Backend, Bytes, Woken, Word};
use crate::party::Interrupt;
use crate::spin::Patience;

pub(crate) use self::loom::{Loom, die_after, die_within, explore};

/// A model checker.
pub(crate) trait Checker: Debug + Default + Send + Sync + 'static {
    type U32: Word<u32> + Default;
    type U64: Word<u64> + Default;
    /// Eight bytes of payload.
    type Cell: Debug + Default;
    /// The kernel's list of those who sleep on a word.
    type Sleepers: Debug + Default + Send + Sync;

    fn set(cell: &Self::Cell, value: u64);
    fn get(cell: &Self::Cell) -> u64;
    fn fence();
    /// Sleeps if `may_sleep` at a moment at which nobody is woken. No checker has a clock: when the deadline passes is its
    /// own choice.
    fn sleep(sleepers: &Self::Sleepers, may_sleep: impl FnOnce() -> bool, deadline: Option<Instant>) -> Woken;
    fn wake(sleepers: &Self::Sleepers, count: u32);
    /// The life of the calling thread.
    fn with_life<R>(look: impl FnOnce(&Life) -> R) -> R;
}

/// The backend.
#[derive(Debug)]
pub(crate) struct Model<C: Checker = Loom>(PhantomData<C>);

#[derive(Debug, Default)]
pub(crate) struct FutexWord<C: Checker = Loom> {
    value: C::U32,
    sleepers: C::Sleepers,
}

#[derive(Debug, Default)]
pub(crate) struct PlainWord<C: Checker = Loom>(C::U64);

/// What is left of a thread's life.
#[derive(Debug)]
pub(crate) struct Life {
    /// How many more effects it has.
    effects: Cell<usize>,
    /// Whether the thread unwinds when it dies.
    stops: Cell<bool>,
}

/// What a thread that has died unwinds with.
struct Died;

impl Default for Life {
    fn default() -> Life {
        Life {
            effects: Cell::new(usize::MAX),
            stops: Cell::new(false),
        }
    }
}

impl<C: Checker> Model<C> {
    /// From its `effects + 1`st effect on, nothing that this thread writes arrives.
    pub(crate) fn die_after(effects: usize) {
        C::with_life(|life| life.effects.set(effects));
    }

    /// As [`die_after`](Self::die_after), and the thread stops there: for what would otherwise try again for ever. `None`:
    /// it has died.
    pub(crate) fn die_within<R>(effects: usize, body: impl FnOnce() -> R) -> Option<R> {
        C::with_life(|life| life.stops.set(true));
        Self::die_after(effects);
        match panic::catch_unwind(AssertUnwindSafe(body)) {
            Ok(result) => Some(result),
            Err(died) if died.is::<Died>() => None,
            Err(failure) => panic::resume_unwind(failure),
        }
    }
}

/// Whether what runs are destructors of a thread that died: the model checker must not see them.
fn is_unwinding() -> bool {
    thread::panicking()
}

/// Whether an effect of this thread still happens.
fn alive<C: Checker>() -> bool {
    let (alive, stops) = C::with_life(|life| {
        let left = life.effects.get();
        life.effects.set(left.saturating_sub(usize::from(left != usize::MAX)));
        (left > 0, life.stops.get())
    });
    if !alive && stops && !is_unwinding() {
        panic::resume_unwind(Box::new(Died));
    }
    alive
}

macro_rules! model_word {
    ($word:ident, $int:ty, $value:tt) => {
        impl<C: Checker> Word<$int> for $word<C> {
            fn load(&self, order: Ordering) -> $int {
                match is_unwinding() {
                    true => 0,
                    false => self.$value.load(order),
                }
            }

            fn store(&self, value: $int, order: Ordering) {
                if alive::<C>() {
                    self.$value.store(value, order);
                }
            }

            fn swap(&self, value: $int, order: Ordering) -> $int {
                match alive::<C>() {
                    true => self.$value.swap(value, order),
                    false => self.load(Ordering::Relaxed),
                }
            }

            fn compare_exchange(&self, old: $int, new: $int, ok: Ordering, err: Ordering) -> Result<$int, $int> {
                match alive::<C>() {
                    true => self.$value.compare_exchange(old, new, ok, err),
                    false => Err(self.load(err)),
                }
            }

            fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                match alive::<C>() {
                    true => self.$value.fetch_add(value, order),
                    false => self.load(Ordering::Relaxed),
                }
            }

            fn fetch_or(&self, bits: $int, order: Ordering) -> $int {
                match alive::<C>() {
                    true => self.$value.fetch_or(bits, order),
                    false => self.load(Ordering::Relaxed),
                }
            }

            fn fetch_and(&self, bits: $int, order: Ordering) -> $int {
                match alive::<C>() {
                    true => self.$value.fetch_and(bits, order),
                    false => self.load(Ordering::Relaxed),
                }
            }
        }
    };
}

model_word!(FutexWord, u32, value);
model_word!(PlainWord, u64, 0);

/// Memory in pieces of eight bytes: each with a word, in case a record begins there, and a cell, in case payload is
/// there. Loom reports every access to a cell that another thread's write does not come before.
#[derive(Debug)]
pub(crate) struct Pieces<C: Checker = Loom>(Arc<[(PlainWord<C>, C::Cell)]>);

// SAFETY: a model runs all its threads on one thread of the system; a race between them is what it reports.
unsafe impl<C: Checker> Send for Pieces<C> {}
// SAFETY: as for `Send`.
unsafe impl<C: Checker> Sync for Pieces<C> {}

impl<C: Checker> Clone for Pieces<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Checker> Pieces<C> {
    /// So many bytes, a multiple of eight.
    pub(crate) fn new(bytes: usize) -> Self {
        Self((0..bytes / 8).map(|_| Default::default()).collect())
    }
}

impl<C: Checker> Bytes<PlainWord<C>> for Pieces<C> {
    fn len(&self) -> usize {
        self.0.len() * 8
    }

    fn word(&self, at: usize) -> &PlainWord<C> {
        &self.0[at / 8].0
    }

    fn write(&self, at: usize, source: &[u8]) {
        let (values, []) = source.as_chunks() else {
            panic!("payload in a model comes in pieces of eight bytes");
        };
        for (piece, value) in values.iter().enumerate() {
            if alive::<C>() {
                C::set(&self.0[at / 8 + piece].1, u64::from_ne_bytes(*value));
            }
        }
    }

    fn read(&self, at: usize, target: &mut [u8]) {
        for (piece, value) in target.chunks_exact_mut(8).enumerate() {
            value.copy_from_slice(&C::get(&self.0[at / 8 + piece].1).to_ne_bytes());
        }
    }

    fn copy(&self, from: usize, to: usize, len: usize) {
        for piece in 0..len / 8 {
            let ((word, cell), (word_to, cell_to)) = (&self.0[from / 8 + piece], &self.0[to / 8 + piece]);
            word_to.store(word.load(Ordering::Relaxed), Ordering::Relaxed);
            if alive::<C>() {
                C::set(cell_to, C::get(cell));
            }
        }
    }

    fn discard(&self, _at: usize, _len: usize) {}
}

impl<C: Checker> Backend for Model<C> {
    type U32 = FutexWord<C>;
    type U64 = PlainWord<C>;
    type Shared<T: ?Sized + Send + Sync + 'static> = Arc<T>;
    type Bytes = Pieces<C>;

    fn fence() {
        if !is_unwinding() {
            C::fence();
        }
    }

    fn wait(word: &FutexWord<C>, expected: u32, deadline: Option<Instant>) -> bool {
        Self::wait_or_hear(word, expected, deadline, None) == Woken::Perhaps
    }

    fn wait_or_hear(
        word: &FutexWord<C>,
        expected: u32,
        deadline: Option<Instant>,
        interrupt: Option<&Interrupt<Self>>,
    ) -> Woken {
        assert!(interrupt.is_none(), "interrupts are tried between real processes");
        if !alive::<C>() {
            // Whatever it does next is not seen.
            return Woken::Interrupted;
        }
        let may_sleep = || word.value.load(Ordering::Relaxed) == expected;
        C::sleep(&word.sleepers, may_sleep, deadline)
    }

    fn spin(_: &Patience, mut ready: impl FnMut() -> bool) -> bool {
        ready()
    }

    fn wake(word: &FutexWord<C>, count: u32) {
        if alive::<C>() {
            C::wake(&word.sleepers, count);
        }
    }
}
