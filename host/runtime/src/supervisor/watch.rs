//! The supervisor thread: one `epoll` over everything that can happen to any pool of this process.

mod births;

use std::collections::HashMap;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wasmp_ipc::Doorbell;

use self::births::{Births, Correspondent};
use super::Shared;
use super::body::Body;
use super::core::Core;
use super::family::Family;
use super::oom::OomKills;
use super::slot::Process;
use crate::objects::registry::Seat;
use crate::process::message::MAX_MESSAGE;

/// What a descriptor in the `epoll` set is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Watched {
    /// Somebody wants the supervisor to look at its timers.
    Wake,
    /// A worker of this pool has rung.
    Doorbell { pool: u32 },
    /// The process in this slot has ended.
    Death { pool: u32, slot: usize },
    /// The control socket with this number.
    Control { id: u32 },
    /// The worker in this slot asks about an object.
    Request { pool: u32, slot: usize },
    /// A worker has ended that its pool has buried before, or whose pool is no more.
    Grave { id: u32 },
}

impl Watched {
    /// Fits the 64 bits that `epoll` keeps: kind, pool, slot.
    fn token(self) -> u64 {
        let (kind, pool, slot) = match self {
            Self::Wake => (0, 0, 0),
            Self::Doorbell { pool } => (1, pool, 0),
            Self::Death { pool, slot } => (2, pool, slot as u64),
            Self::Control { id } => (3, id, 0),
            Self::Request { pool, slot } => (4, pool, slot as u64),
            Self::Grave { id } => (5, id, 0),
        };
        kind << 60 | u64::from(pool) << 24 | slot
    }

    fn from_token(token: u64) -> Self {
        let pool = (token >> 24) as u32;
        let slot = (token & 0xff_ffff) as usize;
        match token >> 60 {
            1 => Self::Doorbell { pool },
            2 => Self::Death { pool, slot },
            3 => Self::Control { id: pool },
            4 => Self::Request { pool, slot },
            5 => Self::Grave { id: pool },
            _ => Self::Wake,
        }
    }
}

/// What the supervisor thread watches over.
#[derive(Debug)]
pub(crate) struct Supervisor {
    epoll: OwnedFd,
    bell: Doorbell,
    /// Zero of the clock that timers are kept on.
    origin: Instant,
    /// When the thread wakes up by itself.
    alarm: AtomicU64,
    next_pool: AtomicU32,
    next_control: AtomicU32,
    next_birth: AtomicU64,
    pools: Mutex<HashMap<u32, Weak<Shared>>>,
    /// Pools that finish their work without an owner.
    orphans: Mutex<Vec<Arc<Shared>>>,
    correspondents: Mutex<HashMap<u32, Correspondent>>,
    births: Mutex<Births>,
    graves: Mutex<HashMap<u32, Grave>>,
    oom_kills: OomKills,
}

/// What is left of a worker that has to be dead before its seat may be cleared.
#[derive(Debug)]
struct Grave {
    _body: Body,
    _seat: Seat,
}

/// The one supervisor of this process. Its thread starts with the first pool, and lives as long as the process.
static SUPERVISOR: Mutex<Option<&'static Supervisor>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Supervisor {
    /// The supervisor of this process.
    pub(crate) fn get() -> io::Result<&'static Self> {
        let mut current = lock(&SUPERVISOR);
        if let Some(supervisor) = *current {
            return Ok(supervisor);
        }
        let supervisor: &'static Self = Box::leak(Box::new(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            bell: Doorbell::create()?,
            origin: Instant::now(),
            alarm: AtomicU64::new(u64::MAX),
            next_pool: AtomicU32::new(1),
            next_control: AtomicU32::new(1),
            next_birth: AtomicU64::new(1),
            pools: Mutex::default(),
            orphans: Mutex::default(),
            correspondents: Mutex::default(),
            births: Mutex::default(),
            graves: Mutex::default(),
            oom_kills: OomKills::watch(),
        }));
        supervisor.watch(&supervisor.bell, Watched::Wake)?;
        std::thread::Builder::new()
            .name("wasmp-supervisor".into())
            .spawn(|| supervisor.run())?;
        *current = Some(supervisor);
        Ok(supervisor)
    }

    /// What may have killed a worker.
    pub(super) fn oom_kills(&self) -> &OomKills {
        &self.oom_kills
    }

    /// A number for a new pool.
    pub(crate) fn next_pool(&self) -> u32 {
        self.next_pool.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for a new worker.
    pub(super) fn next_birth(&self) -> u64 {
        self.next_birth.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn add_pool(&self, pool: &Arc<Shared>) {
        lock(&self.pools).insert(pool.id, Arc::downgrade(pool));
    }

    /// Keeps a pool until its work is done.
    pub(super) fn adopt(&self, pool: &Arc<Shared>) {
        self.keep(pool);
        // It may have been done before it came here.
        self.bell.ring();
    }

    /// Keeps a process until it has ended.
    pub(crate) fn keep(&self, process: &Arc<Shared>) {
        lock(&self.orphans).push(Arc::clone(process));
    }

    /// Gives up those pools of a family that have no owner, to the one that is its head.
    pub(super) fn orphans_of(&self, family: &Arc<Family>, head: u32) -> Vec<Arc<Shared>> {
        let mut orphans = lock(&self.orphans);
        let theirs = |pool: &mut Arc<Shared>| pool.id != head && Arc::ptr_eq(&pool.family, family);
        orphans.extract_if(.., theirs).collect()
    }

    /// Has every pool of a family take a turn: what its workers have written until now has been read then.
    pub(crate) fn attend_family(&self, id: u32) {
        for pool in self.all_pools() {
            if pool.family.id == id {
                pool.act(|_, _| ());
            }
        }
    }

    /// Does something to every pool of a family.
    pub(crate) fn act_on_family(&self, family: &Arc<Family>, change: impl Fn(&mut Core)) {
        for pool in self.all_pools() {
            if Arc::ptr_eq(&pool.family, family) {
                pool.act(|core, _| change(core));
            }
        }
    }

    /// Lets go of the pools whose work is done.
    fn release_orphans(&self) {
        // Nothing is asked of a pool while the list is locked: whoever has a pool locked may want the list.
        let all = lock(&self.orphans).clone();
        let done: Vec<_> = all.into_iter().filter(|pool| pool.is_gone()).collect();
        lock(&self.orphans).retain(|pool| !done.iter().any(|done| Arc::ptr_eq(pool, done)));
    }

    /// Reports when `fd` has something to say: edge-triggered, until it is closed.
    pub(super) fn watch(&self, fd: impl AsFd, what: Watched) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(what.token()), flags)?)
    }

    /// Reports for as long as `fd` has something to say, until it is closed.
    pub(super) fn watch_level(&self, fd: impl AsFd, what: Watched) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            EventData::new_u64(what.token()),
            EventFlags::IN,
        )?)
    }

    /// Reports nothing more of `fd`.
    pub(super) fn unwatch(&self, fd: impl AsFd) {
        // It can only fail if it is not watched.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Clears the seat of a worker that is none of its pool's any more, once it is dead.
    pub(super) fn bury(&self, body: Body, seat: Seat) {
        let id = self.next_control.fetch_add(1, Ordering::Relaxed);
        // Known before it can be reported. It was watched for its pool, which has nothing to do with it any more.
        let mut graves = lock(&self.graves);
        let watched = epoll::delete(&self.epoll, &body).and_then(|()| {
            let event = EventData::new_u64(Watched::Grave { id }.token());
            epoll::add(&self.epoll, &body, event, EventFlags::IN)
        });
        if watched.is_err() {
            // It was killed, but nobody will tell when it is gone: its number is never used again.
            std::mem::forget(seat);
            return;
        }
        graves.insert(
            id,
            Grave {
                _body: body,
                _seat: seat,
            },
        );
    }

    /// An instant on the clock of the timers.
    pub(super) fn clock(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Makes sure that the thread wakes up by then.
    pub(super) fn wake_before(&self, timer: u64) {
        if timer < self.alarm.load(Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    fn run(&self) -> ! {
        // The default slack of 50 µs would make half as much again of the interval at which busy pools are looked at.
        let _ = rustix::thread::set_current_timer_slack(NonZero::new(1));
        let mut events = Vec::with_capacity(64);
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            let timeout = self.set_alarm();
            events.clear();
            // An interruption is a wake-up like any other.
            let _ = epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            );
            // Nobody needs to ring while this thread is awake: it looks at the timers before it sleeps.
            self.alarm.store(0, Ordering::Release);
            for event in &events {
                match Watched::from_token(event.data.u64()) {
                    Watched::Wake => {}
                    Watched::Doorbell { pool } => {
                        if let Some(pool) = self.pool(pool) {
                            pool.act(|_, _| ());
                        }
                    }
                    Watched::Death { pool, slot } => self.on_death(pool, slot),
                    Watched::Control { id } => self.correspond(id, &mut buffer),
                    Watched::Request { pool, slot } => {
                        if let Some(pool) = self.pool(pool) {
                            pool.act(|core, _| core.answer(slot));
                        }
                    }
                    Watched::Grave { id } => {
                        let grave = lock(&self.graves).remove(&id);
                        drop(grave);
                    }
                }
            }
            if !lock(&self.orphans).is_empty() {
                self.release_orphans();
            }
            let now = self.clock(Instant::now());
            for pool in self.all_pools() {
                if pool.timer.load(Ordering::Acquire) <= now {
                    pool.tick();
                    self.nudge_ancestors(&pool);
                }
            }
        }
    }

    /// Announces until when this thread will sleep, and returns how long that is.
    fn set_alarm(&self) -> Option<Timespec> {
        loop {
            let earliest = self.earliest_timer();
            self.alarm.store(earliest, Ordering::SeqCst);
            // A timer that was set while nobody had to ring is seen here, one that is set from now on rings.
            if self.earliest_timer() >= earliest {
                let left = earliest.saturating_sub(self.clock(Instant::now()));
                return (earliest != u64::MAX)
                    .then(|| Timespec::try_from(Duration::from_nanos(left)).ok())
                    .flatten();
            }
        }
    }

    fn earliest_timer(&self) -> u64 {
        self.all_pools()
            .iter()
            .map(|pool| pool.timer.load(Ordering::SeqCst))
            .min()
            .unwrap_or(u64::MAX)
    }

    pub(super) fn pool(&self, id: u32) -> Option<Arc<Shared>> {
        lock(&self.pools).get(&id)?.upgrade()
    }

    /// The pools that there are; those that are gone are forgotten.
    fn all_pools(&self) -> Vec<Arc<Shared>> {
        let mut pools = lock(&self.pools);
        pools.retain(|_, pool| pool.strong_count() > 0);
        pools.values().filter_map(Weak::upgrade).collect()
    }

    fn on_death(&self, pool: u32, at: usize) {
        let Some(pool) = self.pool(pool) else { return };
        pool.act(|core, now| {
            // The event may be about the process before this one.
            if let Some(slot) = core.slots.get(at)
                && let Process::Running { body, .. } = &slot.process
                && poll(&mut [PollFd::new(body, PollFlags::IN)], Some(&Timespec::default()))
                    .is_ok_and(|ready| ready > 0)
            {
                core.on_death(at, now);
            }
        });
        self.nudge_ancestors(&pool);
    }

    /// Whoever has a worker that made this pool may wait for its last process, and is perhaps gone with it.
    pub(super) fn nudge_ancestors(&self, pool: &Arc<Shared>) {
        if !pool.is_gone() {
            return;
        }
        let head = pool.family.head();
        let between = pool.ancestors.iter().filter(|id| **id != head);
        // One of them may be no more, because another thread had the one above look at it: that one looks again.
        for above in between.filter_map(|id| self.pool(*id)) {
            above.act(|_, _| ());
            if !above.is_gone() {
                break;
            }
        }
        // It waits for all who have nobody else.
        if let Some(head) = self.pool(head).filter(|head| head.id != pool.id) {
            head.act(|_, _| ());
        }
    }
}
