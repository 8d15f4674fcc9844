//! Supervision: one thread that waits for everything that can happen to any pool, and the pools' shared state.
//!
//! ```text
//! caller ── submit ──► Core ── task ring ──► worker          one Core a pool, behind its lock
//! caller ◄─ channel ── Core ◄─ reply ring ── worker
//!                       ▲
//!      epoll: doorbells, pidfds, control sockets of zygotes and keepers, timers
//! ```
//!
//! The path of a task: [`dispatch`] takes it from the backlog of its [`core`] and puts it into a [`slot`]'s ring, as far
//! ahead as the slot's [`pace`] allows; the worker replies; [`slot`] files the outcome with its [`job`]; the job hands it to
//! whoever waits. [`flow`] tells how closely to look for replies, [`deadlines`] are what the time brings. [`life`] is birth
//! and death of workers, [`source`] where they come from ([`nursery`] or [`threads`]), [`body`] what they run in, [`size`]
//! how many there are; [`oom`] tells who killed one. [`solo`] is a pool that is a process, and [`sentinel`] how its end is
//! waited for. [`requests`] is what workers ask for beside their work: objects, and what they have [`owned`] since: pools of
//! their own, whose [`customer`] is a guest, and processes. Pools of one [`family`] lock themselves only from the top: a pool acts on those of its workers, never the
//! other way round.

mod body;
pub(crate) mod core;
mod customer;
mod deadlines;
mod dispatch;
pub(crate) mod errands;
mod events;
pub(crate) mod family;
pub(crate) mod feed;
mod flow;
pub(crate) mod job;
mod life;
pub(crate) mod managers;
pub(crate) mod nursery;
mod oom;
mod owned;
mod pace;
mod requests;
pub(crate) mod sentinel;
pub(crate) mod shot;
pub(crate) mod size;
pub(crate) mod slot;
pub(crate) mod solo;
pub(crate) mod source;
mod spawn;
pub(crate) mod threads;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmp_ipc::Spinner;

use self::core::Core;
use self::errands::Errands;
use self::family::Family;
pub(crate) use self::watch::{Supervisor, Watched};

/// How often a pool that brings a steady stream of replies is looked at, instead of being rung for.
const POLL_INTERVAL: Duration = Duration::from_micros(100);

/// So many replies in one turn are a steady stream.
const STREAM: usize = 8;

/// A pool as its callers and the supervisor thread share it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: u32,
    /// The pools that it is below, the one whose worker it belongs to first: each of them may wait for the last process of it.
    ancestors: Vec<u32>,
    supervisor: &'static Supervisor,
    core: Mutex<Core>,
    /// The pool is over and its processes are gone, or a process has been started.
    changed: Condvar,
    /// When the supervisor has to take a turn even if nobody rings, on the supervisor's clock.
    timer: AtomicU64,
    /// Replies come in a steady stream: the supervisor looks for them at intervals.
    streaming: AtomicBool,
    /// Held by the caller that looks for replies at the moment.
    looking: Mutex<Spinner>,
    family: Arc<Family>,
    /// Nobody has it any more, and it is to finish its work.
    alone: AtomicBool,
    /// The supervisor was told that it is gone.
    reported: AtomicBool,
    /// It is a process.
    process: bool,
}

impl Shared {
    pub(crate) fn new(id: u32, family: Arc<Family>, core: Core, ancestors: Vec<u32>) -> Self {
        let process = core.solo().is_some();
        Self {
            id,
            ancestors,
            supervisor: family.supervisor,
            core: Mutex::new(core),
            changed: Condvar::new(),
            timer: AtomicU64::new(u64::MAX),
            streaming: AtomicBool::new(false),
            looking: Mutex::new(Spinner::new()),
            family,
            alone: AtomicBool::new(false),
            reported: AtomicBool::new(false),
            process,
        }
    }

    fn is_process(&self) -> bool {
        self.process
    }

    pub(crate) fn supervisor(&self) -> &'static Supervisor {
        self.supervisor
    }

    /// The way to the thread for callers' code.
    pub(crate) fn errands(&self) -> &Errands {
        &self.family.errands
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // Whoever panicked held no promise that the next turn does not keep: each store in Core is complete by itself.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the pool, then takes a turn.
    pub(crate) fn act<T>(&self, change: impl FnOnce(&mut Core, Instant) -> T) -> T {
        self.act_and(Core::turn, change)
    }

    /// The same on behalf of the pool whose worker's this one is. It is no use to go further down: who is there has rung for
    /// itself, and a chain of pools would be gone through for each event in it.
    fn act_apart<T>(&self, change: impl FnOnce(&mut Core, Instant) -> T) -> T {
        self.act_and(Core::turn_apart, change)
    }

    fn act_and<T>(
        &self,
        turn: impl FnOnce(&mut Core, Instant) -> usize,
        change: impl FnOnce(&mut Core, Instant) -> T,
    ) -> T {
        let mut core = self.lock();
        let now = Instant::now();
        let changed = change(&mut core, now);
        let collected = turn(&mut core, now);
        self.leave(&mut core, now, collected);
        changed
    }

    /// Reads something of the pool.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&self.lock())
    }

    /// Makes sure that the next reply will be noticed: the worker rings, or the supervisor looks soon.
    fn leave(&self, core: &mut Core, now: Instant, mut collected: usize) {
        // Counted together, so that a worker that never falls silent cannot keep anyone here, whatever it says.
        while collected < STREAM && !core.arm() {
            collected += core.turn_apart(now).max(1);
        }
        let streaming = core.streams(now, collected);
        self.streaming.store(streaming, Ordering::Relaxed);
        let poll = streaming.then(|| now + POLL_INTERVAL);
        let gone = core.is_gone();
        // Once, by whoever's turn was its last, on whatever thread: nothing else need ever happen for which the supervisor would
        // let go of it, or have those above look whether that was what they wait for.
        let report = (gone && !self.reported.swap(true, Ordering::Relaxed)).then_some(now);
        let timer = [core.next_timer(), poll, report].into_iter().flatten().min();
        let timer = timer.map_or(u64::MAX, |at| self.supervisor.clock(at));
        // Before the look at the alarm, as the supervisor sets its alarm before it looks at the timers.
        self.timer.store(timer, Ordering::SeqCst);
        self.supervisor.wake_before(timer);
        if core.solo().is_some() || gone {
            self.changed.notify_all();
        }
    }

    /// Looks for what `ready` finds, for as long as looking has lately paid off; `None` means that it is time to sleep.
    ///
    /// Whoever looks takes the supervisor's turns meanwhile, so that a result goes from the worker to its caller
    /// without a third process in between. One caller at a time does that; the others sleep at once.
    pub(crate) fn attend<T>(&self, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
        let mut found = ready();
        if found.is_some() {
            return found;
        }
        if self.streaming.load(Ordering::Relaxed) {
            // The supervisor looks soon, and brings many at once: sleeping costs less than looking for the first.
            return None;
        }
        let Ok(mut spinner) = self.looking.try_lock() else {
            return None;
        };
        self.lock().disarm();
        spinner.spin(|| {
            if let Ok(mut core) = self.core.try_lock()
                && core.has_replies()
            {
                core.turn(Instant::now());
            }
            found = ready();
            found.is_some()
        });
        drop(spinner);
        let mut core = self.lock();
        let now = Instant::now();
        self.leave(&mut core, now, 0);
        drop(core);
        found.or_else(ready)
    }

    /// A turn of the supervisor thread.
    fn tick(&self) {
        self.act(Core::enforce_deadlines);
    }

    /// Lives on without its owner until its work is done, if it is a pool.
    pub(crate) fn finish_alone(self: &Arc<Self>) {
        self.alone.store(true, Ordering::Relaxed);
        self.supervisor.adopt(self);
    }

    /// Whether it lives on without its owner.
    pub(crate) fn finishes_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    fn is_gone(&self) -> bool {
        self.read(Core::is_gone)
    }

    /// Waits until the pool is over and all of its processes are gone. False: not by `deadline`.
    pub(crate) fn wait_until_gone(&self, deadline: Option<Instant>) -> bool {
        self.wait_until(deadline, Core::is_gone)
    }

    /// Waits until the pool is gone, or a process has come so far. False: not by `deadline`.
    pub(crate) fn wait_until(&self, deadline: Option<Instant>, so_far: impl Fn(&Core) -> bool) -> bool {
        let mut core = self.lock();
        while !so_far(&core) {
            core = match deadline {
                None => self.changed.wait(core).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.changed
                        .wait_timeout(core, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        true
    }
}
