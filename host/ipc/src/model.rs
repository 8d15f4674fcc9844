//! The model checker's memory: loom's atomics as a [`Backend`], so that the source that runs is what is explored.
//!
//! A thread can be made to die after a number of effects: from then on nothing that it writes arrives, as with a process
//! that was killed there.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use loom::sync::{Condvar, Mutex, atomic};

use crate::backend::{Backend, Bytes, Woken, Word};
use crate::party::Interrupt;
use crate::spin::Patience;

/// The backend.
#[derive(Debug)]
pub(crate) struct Model;

/// A futex word: the mutex is the kernel's lock on its sleepers.
#[derive(Debug, Default)]
pub(crate) struct FutexWord {
    value: atomic::AtomicU32,
    lock: Mutex<()>,
    sleepers: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct PlainWord(atomic::AtomicU64);

loom::thread_local! {
    /// How many more effects this thread lives for.
    static LIFE: Cell<usize> = Cell::new(usize::MAX);
    /// Whether it unwinds when it dies.
    static STOPS: Cell<bool> = Cell::new(false);
}

/// From its `effects + 1`st effect on, nothing that this thread writes arrives.
pub(crate) fn die_after(effects: usize) {
    LIFE.with(|life| life.set(effects));
}

/// As [`die_after`], and the thread stops there: for what would otherwise try again for ever. `None`: it has died.
pub(crate) fn die_within<R>(effects: usize, body: impl FnOnce() -> R) -> Option<R> {
    STOPS.with(|stops| stops.set(true));
    die_after(effects);
    panic::catch_unwind(AssertUnwindSafe(body)).ok()
}

/// Whether what runs are destructors of a thread that died: the model checker must not see them.
fn is_unwinding() -> bool {
    thread::panicking()
}

/// Whether an effect of this thread still happens.
fn alive() -> bool {
    let alive = LIFE.with(|life| {
        let left = life.get();
        life.set(left.saturating_sub(usize::from(left != usize::MAX)));
        left > 0
    });
    if !alive && STOPS.with(Cell::get) && !is_unwinding() {
        panic::resume_unwind(Box::new("died"));
    }
    alive
}

macro_rules! model_word {
    ($word:ty, $int:ty, $value:tt) => {
        impl Word<$int> for $word {
            fn load(&self, order: Ordering) -> $int {
                match is_unwinding() {
                    true => 0,
                    false => self.$value.load(order),
                }
            }

            fn store(&self, value: $int, order: Ordering) {
                if alive() {
                    self.$value.store(value, order);
                }
            }

            fn swap(&self, value: $int, order: Ordering) -> $int {
                if alive() {
                    self.$value.swap(value, order)
                } else {
                    Word::load(self, Ordering::Relaxed)
                }
            }

            fn compare_exchange(&self, old: $int, new: $int, ok: Ordering, err: Ordering) -> Result<$int, $int> {
                if alive() {
                    self.$value.compare_exchange(old, new, ok, err)
                } else {
                    Err(Word::load(self, err))
                }
            }

            fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                if alive() {
                    self.$value.fetch_add(value, order)
                } else {
                    Word::load(self, Ordering::Relaxed)
                }
            }

            fn fetch_or(&self, bits: $int, order: Ordering) -> $int {
                if alive() {
                    self.$value.fetch_or(bits, order)
                } else {
                    Word::load(self, Ordering::Relaxed)
                }
            }

            fn fetch_and(&self, bits: $int, order: Ordering) -> $int {
                if alive() {
                    self.$value.fetch_and(bits, order)
                } else {
                    Word::load(self, Ordering::Relaxed)
                }
            }
        }
    };
}

model_word!(FutexWord, u32, value);
model_word!(PlainWord, u64, 0);

/// Memory in pieces of eight bytes: each with a word, in case a record begins there, and a cell, in case payload is
/// there. The model checker reports every access to a cell that another thread's write does not come before.
#[derive(Clone, Debug)]
pub(crate) struct Pieces(Arc<[(PlainWord, loom::cell::Cell<u64>)]>);

// SAFETY: the model runs all its threads on one thread of the system; a race between them is what it reports.
unsafe impl Send for Pieces {}
// SAFETY: as for `Send`.
unsafe impl Sync for Pieces {}

impl Bytes<PlainWord> for Pieces {
    fn len(&self) -> usize {
        self.0.len() * 8
    }

    fn word(&self, at: usize) -> &PlainWord {
        &self.0[at / 8].0
    }

    fn write(&self, at: usize, source: &[u8]) {
        if alive() {
            let value = source.try_into().expect("the model's records have eight bytes");
            self.0[at / 8].1.set(u64::from_ne_bytes(value));
        }
    }

    fn read(&self, at: usize, target: &mut [u8]) {
        target.copy_from_slice(&self.0[at / 8].1.get().to_ne_bytes());
    }

    fn copy(&self, from: usize, to: usize, len: usize) {
        for piece in 0..len / 8 {
            let ((word, cell), (word_to, cell_to)) = (&self.0[from / 8 + piece], &self.0[to / 8 + piece]);
            word_to.store(word.load(Ordering::Relaxed), Ordering::Relaxed);
            if alive() {
                cell_to.set(cell.get());
            }
        }
    }

    fn discard(&self, _at: usize, _len: usize) {}
}

impl Backend for Model {
    type U32 = FutexWord;
    type U64 = PlainWord;
    type Shared<T: ?Sized + Send + Sync + 'static> = Arc<T>;
    type Bytes = Pieces;

    fn fence() {
        if !is_unwinding() {
            atomic::fence(Ordering::SeqCst);
        }
    }

    fn wait(word: &FutexWord, expected: u32, deadline: Option<Instant>) -> bool {
        if !alive() {
            return false;
        }
        let guard = word.lock.lock().unwrap();
        if word.value.load(Ordering::Relaxed) == expected {
            drop(word.sleepers.wait(guard).unwrap());
        }
        // The model has no clock. A deadline is an interruption that comes just when the sleeper was woken: the worst
        // moment for those who count on the one who was.
        deadline.is_none()
    }

    fn wait_or_hear(
        word: &FutexWord,
        expected: u32,
        deadline: Option<Instant>,
        interrupt: Option<&Interrupt<Self>>,
    ) -> Woken {
        assert!(interrupt.is_none(), "interrupts are tried between real processes");
        if Self::wait(word, expected, deadline) {
            Woken::Perhaps
        } else {
            // Or dead: whatever it does next is not seen.
            Woken::Interrupted
        }
    }

    fn spin(_: &Patience, mut ready: impl FnMut() -> bool) -> bool {
        ready()
    }

    fn wake(word: &FutexWord, count: u32) {
        if alive() {
            let _guard = word.lock.lock().unwrap();
            match count {
                1 => word.sleepers.notify_one(),
                _ => word.sleepers.notify_all(),
            }
        }
    }
}

impl Pieces {
    /// So many bytes, a multiple of eight.
    pub(crate) fn new(bytes: usize) -> Self {
        Self((0..bytes / 8).map(|_| Default::default()).collect())
    }
}

/// Every interleaving with up to `preemptions` switches away from a thread that could go on.
pub(crate) fn explore(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}
