//! Every interleaving of a few threads.

use std::sync::atomic::Ordering;
use std::time::Instant;

use loom::cell;
use loom::sync::{Condvar, Mutex, atomic};

use super::{Checker, Life, Model};
use crate::backend::{Woken, Word, atomic_word};

/// The checker.
#[derive(Debug, Default)]
pub(crate) struct Loom;

/// The mutex is the kernel's lock.
#[derive(Debug, Default)]
pub(crate) struct Sleepers {
    lock: Mutex<()>,
    woken: Condvar,
}

atomic_word!(atomic::AtomicU32, u32);
atomic_word!(atomic::AtomicU64, u64);

loom::thread_local! {
    static LIFE: Life = Life::default();
}

impl Checker for Loom {
    type U32 = atomic::AtomicU32;
    type U64 = atomic::AtomicU64;
    type Cell = cell::Cell<u64>;
    type Sleepers = Sleepers;

    fn set(cell: &cell::Cell<u64>, value: u64) {
        cell.set(value);
    }

    fn get(cell: &cell::Cell<u64>) -> u64 {
        cell.get()
    }

    fn fence() {
        atomic::fence(Ordering::SeqCst);
    }

    fn sleep(sleepers: &Sleepers, may_sleep: impl FnOnce() -> bool, deadline: Option<Instant>) -> Woken {
        let guard = sleepers.lock.lock().unwrap();
        if may_sleep() {
            drop(sleepers.woken.wait(guard).unwrap());
        }
        match deadline {
            None => Woken::Perhaps,
            // It is an interruption that comes just when the sleeper was woken: the worst moment for those who count on
            // the one who was.
            Some(_) => Woken::Interrupted,
        }
    }

    fn wake(sleepers: &Sleepers, count: u32) {
        let _guard = sleepers.lock.lock().unwrap();
        match count {
            1 => sleepers.woken.notify_one(),
            _ => sleepers.woken.notify_all(),
        }
    }

    fn with_life<R>(look: impl FnOnce(&Life) -> R) -> R {
        LIFE.with(look)
    }
}

/// See [`Model::die_after`].
pub(crate) fn die_after(effects: usize) {
    Model::<Loom>::die_after(effects);
}

/// See [`Model::die_within`].
pub(crate) fn die_within<R>(effects: usize, body: impl FnOnce() -> R) -> Option<R> {
    Model::<Loom>::die_within(effects, body)
}

/// Every interleaving with up to `preemptions` switches away from a thread that could go on.
pub(crate) fn explore(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}
