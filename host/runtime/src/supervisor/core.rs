//! A pool's state, and what changes it: submit, collect, end. The rest of that is in the files beside this one.
//!
//! It is behind one lock. Whoever holds that lock is the supervisor for the moment: usually the supervisor thread, but
//! a caller that waits for a result may take a turn itself ([`Shared::attend`]), which
//! saves two context switches of the three that a round trip would cost. Nothing in here blocks, calls into user code,
//! or serializes.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::customer::Customer;
use super::family::{Family, Preparation, Processes};
use super::flow::Flow;
use super::job::{Block, ChunkRule, Job, JobKey, Jobs, Pending, Sink};
use super::size::Size;
use super::slot::{Cause, Drained, Limits, Process, Slot, Violation};
use super::solo::{Owner, Solo};
use super::source::Source;
use super::{STREAM, Shared, Supervisor};
use crate::identity::StartMethod;
use crate::insight::{Insight, Slow, WorkerStats, rank};
use crate::objects::Entry;
use crate::outcome::{End, Runner};
use crate::process::message::Status;

/// Longest pause before another attempt. A longer one is as good as none to come, and may be beyond what clocks can say.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Whether a pool takes work.
#[derive(Clone, Debug)]
pub(super) enum State {
    Running,
    /// Finishes what it has.
    Closing,
    /// Is over: every job has ended, no worker is needed.
    Over(End),
}

/// An item whose worker died, until it is known how.
#[derive(Debug)]
pub(super) struct Mourned {
    pub(super) birth: u64,
    pub(super) job: JobKey,
    pub(super) index: u64,
    pub(super) runner: Runner,
    /// When to stop waiting for the exit status.
    pub(super) until: Instant,
    /// What the worker came from, if from nowhere else: it is what tells how it ended.
    pub(super) origin: Option<Source>,
}

/// What a pool promises its callers about its workers.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) size: Size,
    pub(crate) limits: Limits,
    /// How workers are started.
    pub(crate) method: StartMethod,
    /// How long a worker may take until it is ready, if that is up to the guest.
    pub(crate) patience: Option<Duration>,
    /// What it is to tell about its work.
    pub(crate) insight: Insight,
}

pub(crate) struct Core {
    pub(super) state: State,
    pub(super) slots: Vec<Slot>,
    pub(super) jobs: Jobs,
    /// Jobs that more items may come from.
    pub(super) fed: Vec<JobKey>,
    /// When to ask them for items again, as a worker is idle.
    pub(super) ask_at: Option<Instant>,
    /// Jobs with outcomes to hand on at the end of the turn.
    pub(super) touched: Vec<JobKey>,
    pub(super) backlog: VecDeque<Pending>,
    /// Items in `backlog`.
    pub(super) waiting: usize,
    /// Items that failed and are tried again, each not before its time. The next to come is the last.
    pub(super) delayed: Vec<(Instant, Pending)>,
    pub(super) mourned: Vec<Mourned>,
    /// Exit statuses that came before the death they belong to was seen.
    pub(super) statuses: HashMap<u64, Status>,
    /// Deaths in a row that no finished or charged item lies between.
    pub(super) barren_deaths: u32,
    /// Initializers in a row that failed.
    pub(super) unprepared: u32,
    /// How many workers there are to be.
    pub(super) size: Size,
    pub(super) limits: Limits,
    /// How workers are started.
    pub(super) method: StartMethod,
    /// How long a worker may take until it is ready, if there is an initializer.
    pub(super) patience: Option<Duration>,
    pub(super) family: Arc<Family>,
    pub(super) supervisor: &'static Supervisor,
    pub(super) pool: u32,
    /// Given to every worker as the guest's standard input.
    pub(super) stdin: Option<OwnedFd>,
    /// What every worker is prepared with.
    pub(super) preparation: Option<Preparation>,
    /// Who made it; `None`: it is the first process of a program.
    pub(super) owner: Option<Owner>,
    /// What it is if it is a process.
    pub(super) solo: Option<Solo>,
    /// The guest that this pool belongs to, if it is not the host's.
    pub(super) customer: Option<Customer>,
    /// The manager for whose clients it works, if that guest is the server of one.
    pub(super) home: Weak<Entry>,
    /// What it takes of the processes that guests may have.
    pub(super) claim: Option<Processes>,
    /// What that guest has done wrong.
    pub(super) grudge: Option<Violation>,
    /// Pools of workers that were ended, and have processes left.
    pub(super) ending: Vec<Arc<Shared>>,
    /// What it is to tell about its work.
    pub(super) insight: Insight,
    /// How dense its replies come.
    flow: Flow,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("state", &self.state)
            .field("slots", &self.slots)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// Its workers are killed, and may have left something in objects that outlive it.
impl Drop for Core {
    fn drop(&mut self) {
        if let Some(life) = self.owner.as_ref().and_then(|owner| owner.life.as_ref()) {
            life.forget(self.pool);
        }
        for slot in &mut self.slots {
            let process = std::mem::replace(
                &mut slot.process,
                Process::Absent {
                    retry_at: slot.ordered_at,
                },
            );
            match (process, slot.seat.take()) {
                (Process::Running { body, .. }, seat) => {
                    // Not all of them are killed by their lifeline: a hostile one may have closed it.
                    body.kill();
                    if let Some(seat) = seat {
                        self.supervisor.bury(body, seat);
                    }
                }
                // It has had nothing, or is dead.
                (_, seat) => drop(seat),
            }
        }
    }
}

impl Core {
    /// A pool without jobs, whose workers are ordered by the first turn.
    pub(crate) fn new(
        pool: u32,
        family: &Arc<Family>,
        terms: Terms,
        stdin: Option<OwnedFd>,
        preparation: Option<Preparation>,
    ) -> Self {
        let Terms {
            size,
            limits,
            method,
            patience,
            insight,
        } = terms;
        let mut core = Self {
            state: State::Running,
            slots: Vec::new(),
            jobs: Jobs::default(),
            fed: Vec::new(),
            ask_at: None,
            touched: Vec::new(),
            backlog: VecDeque::new(),
            waiting: 0,
            delayed: Vec::new(),
            mourned: Vec::new(),
            statuses: HashMap::new(),
            barren_deaths: 0,
            unprepared: 0,
            size,
            limits,
            method,
            patience,
            supervisor: family.supervisor,
            family: Arc::clone(family),
            pool,
            stdin,
            preparation,
            owner: Some(Owner::host()),
            solo: None,
            customer: None,
            home: Weak::new(),
            claim: None,
            grudge: None,
            ending: Vec::new(),
            insight,
            flow: Flow::new(Instant::now()),
        };
        core.resize(size.max);
        core
    }

    /// The pool of a guest. It begins when that says so.
    pub(super) fn of_guest(pool: u32, family: &Arc<Family>, terms: Terms, owner: Owner, customer: Customer) -> Self {
        let mut core = Self::new(pool, family, terms, None, None);
        core.owner = Some(owner);
        core.customer = Some(customer);
        core
    }

    /// Whether replies come in such a stream that they are better looked for at intervals: many at once, or dense while there
    /// is much to come. Who waits for a single one is not to wait longer for that.
    pub(super) fn streams(&mut self, now: Instant, collected: usize) -> bool {
        let dense = self.flow.note(now, collected);
        collected >= STREAM
            || dense && self.waiting + self.slots.iter().map(|slot| slot.under_way).sum::<usize>() >= STREAM
    }

    /// Adds a job. Its items follow.
    pub(crate) fn open_job(&mut self, job: Job) -> Result<JobKey, End> {
        match &self.state {
            State::Running => {
                let fed = job.feed.is_some();
                let key = self.jobs.insert(job);
                if fed {
                    self.fed.push(key);
                }
                Ok(key)
            }
            State::Closing => Err(End::Terminated),
            State::Over(end) => Err(end.clone()),
        }
    }

    /// Adds items to a job.
    pub(crate) fn submit(&mut self, key: JobKey, block: Block) {
        let items = block.len();
        let Some(job) = self.jobs.get(key) else { return };
        if items == 0 {
            return;
        }
        job.outstanding += items as u64;
        self.waiting += items;
        let end =
            u32::try_from(items).expect("a block has at most as many items as bytes, which are counted in 32 bits");
        self.backlog.push_back(Pending {
            job: key,
            block: Arc::new(block),
            first: 0,
            end,
            attempts: 0,
        });
    }

    /// No more items will be added to this job.
    pub(crate) fn seal_job(&mut self, key: JobKey) {
        self.fed.retain(|fed| *fed != key);
        if let Some(job) = self.jobs.get(key) {
            job.feed = None;
            job.open = false;
            if job.is_complete() {
                job.complete();
                self.jobs.remove(key);
            }
        }
    }

    /// Nobody wants what this job has not delivered: its items that wait for a worker are dropped.
    pub(crate) fn cancel_job(&mut self, key: JobKey) {
        let Some(job) = self.jobs.get(key) else { return };
        job.sink = Sink::Nobody;
        let waiting = &mut self.waiting;
        self.backlog.retain(|pending| {
            if pending.job == key {
                *waiting -= pending.len();
                job.outstanding -= pending.len() as u64;
            }
            pending.job != key
        });
        self.delayed.retain(|(_, pending)| {
            if pending.job == key {
                job.outstanding -= pending.len() as u64;
            }
            pending.job != key
        });
        self.seal_job(key);
    }

    /// Ends a job whose outcome is not there yet: it is `Cancelled`, and so that it also ends where it runs, its items have
    /// no time left. False: its outcome is there.
    pub(crate) fn cancel(&mut self, key: JobKey, now: Instant) -> bool {
        let Some(job) = self.jobs.get(key) else { return false };
        if matches!(job.sink, Sink::Nobody) {
            return false;
        }
        job.end(End::Cancelled);
        self.insight.cancelled(job.terms.task);
        job.cancelled = true;
        self.cancel_job(key);
        self.enforce_deadlines(now);
        true
    }

    /// Has an item tried again that failed, after this long.
    pub(super) fn try_again(&mut self, pending: Pending, pause: Duration, now: Instant) {
        let due = now + pause.min(LONGEST_PAUSE);
        let unwanted = self
            .jobs
            .get(pending.job)
            .is_none_or(|job| matches!(job.sink, Sink::Nobody));
        if pause.is_zero() || unwanted {
            return self.put_back(pending);
        }
        let place = self.delayed.partition_point(|(other, _)| *other > due);
        self.delayed.insert(place, (due, pending));
    }

    /// Puts back what has waited long enough to be tried again.
    fn wake_delayed(&mut self, now: Instant) {
        while let Some((_, pending)) = self.delayed.pop_if(|(due, _)| *due <= now) {
            self.put_back(pending);
        }
    }

    /// One turn: collects what the workers have done, and gives them more. Returns how many replies were collected.
    pub(crate) fn turn(&mut self, now: Instant) -> usize {
        self.attend_pools();
        self.turn_apart(now)
    }

    /// The same, but leaves the pools of workers alone.
    pub(super) fn turn_apart(&mut self, now: Instant) -> usize {
        self.attend_orphans();
        // Orders count as replies do: nobody may be kept here by a guest that never falls silent.
        let mut collected = self.take_orders();
        for at in 0..self.slots.len() {
            collected += self.collect(at, now).records;
            self.release(at, now);
        }
        self.settle_mourned(now);
        self.settle_solo(now);
        self.raise_absent(now);
        self.wake_delayed(now);
        self.dispatch(now);
        self.hand_on();
        self.stop_unneeded(now);
        self.tell_customer();
        self.end_life();
        collected
    }

    /// Takes what one worker has to say.
    pub(super) fn collect(&mut self, at: usize, now: Instant) -> Drained {
        let slot = &mut self.slots[at];
        if slot.condemned || !slot.is_known() {
            return Drained::default();
        }
        let is_process = self.solo.is_some();
        let collected = slot
            .drain(&mut self.jobs, &mut self.touched, &self.family.output, now)
            .and_then(|drained| slot.send_more().map(|()| drained))
            .and_then(|drained| match slot.exit {
                Some(_) if !is_process => Err(Violation("it ends, and is no process".into())),
                _ => Ok(drained),
            });
        match collected {
            Ok(mut drained) => {
                let again = std::mem::take(&mut drained.again);
                if drained.items > 0 {
                    self.barren_deaths = 0;
                }
                if drained.ready {
                    self.unprepared = 0;
                }
                if drained.records > 0 && matches!(slot.cause, Some(Cause::Stopped)) {
                    slot.expect(now);
                }
                for (pending, pause) in again {
                    self.try_again(pending, pause, now);
                }
                drained
            }
            Err(violation) => {
                self.punish(at, violation);
                Drained::default()
            }
        }
    }

    /// Hands on the outcomes of this turn, and forgets the jobs that have all of theirs.
    fn hand_on(&mut self) {
        for key in std::mem::take(&mut self.touched) {
            let Some(job) = self.jobs.get(key) else { continue };
            job.flush();
            if job.is_complete() {
                job.complete();
                self.jobs.remove(key);
            }
        }
    }

    /// Asks every busy worker to ring for its next reply. False: there is one already.
    pub(super) fn arm(&mut self) -> bool {
        let mut quiet = self.arm_customer();
        for slot in self.slots.iter_mut().filter(|slot| slot.link.is_some()) {
            quiet &= slot.arm();
        }
        quiet
    }

    /// Asks the workers not to ring, as somebody keeps looking.
    pub(super) fn disarm(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.link.is_some()) {
            slot.disarm();
        }
    }

    /// Whether any worker has something to say.
    pub(super) fn has_replies(&self) -> bool {
        self.slots.iter().any(Slot::has_replies)
    }

    /// How many items callers should keep submitted, so that no worker has to wait for them, nor goes with less than a
    /// chunk.
    pub(crate) fn appetite(&self, chunk: ChunkRule) -> usize {
        let windows: usize = self.slots.iter().map(|slot| slot.pace.window()).sum();
        windows
            .max(self.size.max.saturating_mul(chunk.multiple()))
            .saturating_mul(2)
    }

    /// Takes no more jobs; what there is will be finished.
    pub(crate) fn close(&mut self) {
        if let State::Running = self.state {
            self.state = State::Closing;
            self.tell_close();
        }
    }

    /// Ends every job, and every worker.
    pub(crate) fn end(&mut self, end: &End) {
        if let State::Over(_) = self.state {
            return;
        }
        self.state = State::Over(end.clone());
        self.tell_over(end);
        for key in self.jobs.keys() {
            if let Some(job) = self.jobs.get(key) {
                job.end(end.clone());
                if let Some(feed) = &job.feed {
                    feed.close();
                }
            }
            self.jobs.remove(key);
        }
        self.fed.clear();
        self.backlog.clear();
        self.waiting = 0;
        self.delayed.clear();
        self.mourned.clear();
        for at in 0..self.slots.len() {
            self.kill(at, Cause::Dismissed);
        }
    }

    /// Whether the pool is over and none of its processes is left.
    pub(crate) fn is_gone(&self) -> bool {
        let done = match self.state {
            State::Running => false,
            State::Closing => self.jobs.is_empty(),
            State::Over(_) => true,
        };
        let told = self
            .solo
            .as_ref()
            .is_none_or(|solo| solo.timer().is_none() && !solo.spawning);
        done && told && self.ending.is_empty() && !self.slots.iter().any(Slot::is_present)
    }

    /// Whether it was closed or has ended.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running)
    }

    /// How many workers there are to be.
    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Process ids of the workers that run.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        self.slots.iter().map(Slot::pid).filter(|pid| *pid != 0).collect()
    }

    /// What each worker has done, and the slowest items of all.
    pub(crate) fn stats(&self, now: Instant) -> (Vec<WorkerStats>, Vec<Slow>) {
        let workers = self.slots.iter().map(|slot| slot.report(now)).collect();
        let mut slowest = Vec::new();
        for slow in self.slots.iter().flat_map(|slot| slot.log.slowest()) {
            rank(&mut slowest, *slow);
        }
        (workers, slowest)
    }

    /// A worker that broke the protocol is killed; what it ran is its own loss.
    pub(super) fn punish(&mut self, at: usize, violation: Violation) {
        tracing::warn!(worker = self.slots[at].number, %violation, "a worker broke the protocol and is killed");
        self.slots[at].condemned = true;
        self.kill(at, Cause::Violation(violation.0));
    }
}
