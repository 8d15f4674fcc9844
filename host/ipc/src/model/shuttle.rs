//! Random interleavings of several threads that do many things each.
//!
//! Memory is sequentially consistent here. What this finds are wake-ups that are lost, and deaths that leave something
//! behind, in states that only many operations lead to: a schedule in which everyone is asleep is a failure.
//!
//! The seed is fixed. A failure prints its schedule, with which [`shuttle::replay`] in the place of [`try_schedules`]
//! comes back to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::atomic;
use shuttle::thread::{self, JoinHandle, Thread};
use shuttle::{Config, Runner};

use super::{Checker, Life};
use crate::backend::{Woken, Word, atomic_word};
use crate::party::{Limit, Party, Slot};

const SEED: u64 = 0x0077_6173_6d70;
/// How often the schedules by priority change their mind.
const CHANGES: usize = 4;
/// Looks for a wake-up before the time is up.
const LONGEST_SLEEP: usize = 40;

/// The checker.
#[derive(Debug, Default)]
pub(crate) struct Shuttle;

pub(crate) type Model = super::Model<Shuttle>;
pub(crate) type FutexWord = super::FutexWord<Shuttle>;
pub(crate) type PlainWord = super::PlainWord<Shuttle>;

/// Nobody is switched away from while it is at the list: there is no operation of shuttle's in between.
#[derive(Debug, Default)]
pub(crate) struct Sleepers(Mutex<Vec<Arc<Sleeper>>>);

#[derive(Debug)]
struct Sleeper {
    thread: Thread,
    woken: AtomicBool,
}

atomic_word!(atomic::AtomicU32, u32);
atomic_word!(atomic::AtomicU64, u64);

shuttle::thread_local! {
    static LIFE: Life = Life::default();
}

impl Sleeper {
    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }
}

impl Sleepers {
    fn with<R>(&self, change: impl FnOnce(&mut Vec<Arc<Sleeper>>) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Checker for Shuttle {
    type U32 = atomic::AtomicU32;
    type U64 = atomic::AtomicU64;
    type Cell = atomic::AtomicU64;
    type Sleepers = Sleepers;

    fn set(cell: &atomic::AtomicU64, value: u64) {
        cell.store(value, Ordering::Relaxed);
    }

    fn get(cell: &atomic::AtomicU64) -> u64 {
        cell.load(Ordering::Relaxed)
    }

    fn fence() {}

    fn sleep(sleepers: &Sleepers, may_sleep: impl FnOnce() -> bool, deadline: Option<Instant>) -> Woken {
        let me = Arc::new(Sleeper {
            thread: thread::current(),
            woken: AtomicBool::new(false),
        });
        if !may_sleep() {
            return Woken::Perhaps;
        }
        sleepers.with(|sleepers| sleepers.push(Arc::clone(&me)));
        if deadline.is_none() {
            while !me.is_woken() {
                thread::park();
            }
            return Woken::Perhaps;
        }
        for _ in 0..thread_rng().gen_range(0..LONGEST_SLEEP) {
            if me.is_woken() {
                break;
            }
            thread::yield_now();
        }
        sleepers.with(|sleepers| sleepers.retain(|sleeper| !Arc::ptr_eq(sleeper, &me)));
        match (me.is_woken(), thread_rng().r#gen()) {
            (true, false) => Woken::Perhaps,
            (false, false) => Woken::TimedOut,
            // Also of one that was woken: the worst moment for those who count on it.
            (_, true) => Woken::Interrupted,
        }
    }

    fn wake(sleepers: &Sleepers, count: u32) {
        thread::yield_now();
        for _ in 0..count {
            let woken = sleepers.with(|sleepers| {
                let any = thread_rng().gen_range(0..sleepers.len().max(1));
                (any < sleepers.len()).then(|| sleepers.swap_remove(any))
            });
            let Some(woken) = woken else { break };
            woken.woken.store(true, Ordering::Relaxed);
            woken.thread.unpark();
        }
    }

    fn with_life<R>(look: impl FnOnce(&Life) -> R) -> R {
        LIFE.with(look)
    }
}

/// So many schedules in which each step is anyone's, and as many in which whoever comes first in a random order of
/// priority runs, with a few changes to that order: these find what takes a long detour.
pub(crate) fn try_schedules(count: usize, test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    run(RandomScheduler::new_from_seed(SEED, count), &test);
    run(PctScheduler::new_from_seed(SEED, CHANGES, count), &test);
}

fn run(scheduler: impl Scheduler + 'static, test: &Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    // It says that memory is sequentially consistent: see the head of this file.
    config.silence_warnings = true;
    config.stack_size = 256 << 10;
    let test = Arc::clone(test);
    Runner::new(scheduler, config).run(move || test());
}

/// A number below `end`, any.
pub(crate) fn any(end: usize) -> usize {
    thread_rng().gen_range(0..end)
}

/// For ever, or until something comes between.
pub(crate) fn any_wait() -> Limit {
    match any(3) {
        0 => Limit::Until(Instant::now() + Duration::from_secs(3600)),
        _ => Limit::Forever,
    }
}

/// As [`any_wait`], or not at all.
pub(crate) fn any_limit() -> Limit {
    match any(4) {
        0 => Limit::Poll,
        _ => any_wait(),
    }
}

pub(crate) fn slot(number: usize) -> Slot {
    Slot::new(number).expect("a slot")
}

pub(crate) fn party(number: usize) -> Party<Model> {
    Party::worker(slot(number), None)
}

/// A thread that does something with what is shared.
pub(crate) fn spawn<S: Send + Sync + 'static, R: Send + 'static>(
    shared: &Arc<S>,
    body: impl FnOnce(&S) -> R + Send + 'static,
) -> JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || body(&shared))
}

/// Processes in one slot, one after the other, until one of them lives to the end. Those that do not are killed at any
/// moment of their first `longest` effects, and recovered before the next one begins; there are at most `deaths` of them.
/// How many there were.
pub(crate) fn live(deaths: usize, longest: usize, body: impl Fn(), recover: impl Fn()) -> usize {
    for died in 0..deaths {
        let survived = Model::die_within(any(longest), &body);
        // From here on this thread is the host.
        Model::die_after(usize::MAX);
        if survived.is_some() {
            return died;
        }
        for _ in 0..=any(2) {
            recover();
        }
    }
    body();
    deaths
}
