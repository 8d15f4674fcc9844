//! Pools that the clients of a manager share, as the store sees them.
//!
//! ```text
//! client ── items ──► Block, waits its turn ── orders ──► crew: a pool like any other of this family, made by the supervisor
//! client ◄─ outcomes ── Job ◄──────────────────── words ───┘
//! ```
//!
//! The workers are no children of the server: that is locked down, and cannot fork. It asks the supervisor for a pool as any
//! guest does, and is to it what a guest is to a pool of its own. Were the pool one of the program that has started the manager,
//! with the server as a name service, then calls from elsewhere and from guests would have to be passed on to that program, over
//! a second way with the same limits; one that a guest has started would need a pool of that guest's, which could not wait for
//! others while it computes.
//!
//! # What is waited for, and how much there is of it
//!
//! A client's items wait here until the crew takes them; those of a quarter of the budget are taken from the client at once,
//! and with more it waits, too. The crew takes some items of each client in turn, and no more than it can do soon, by its
//! [pace](Pace): so nobody's items stand behind all of another's, and it hears at once that something is to end. Outcomes are
//! kept until they are read. All of it counts in the budget, of which the outcomes of one client may take half.
//!
//! # Death
//!
//! What a client that is gone has called is ended, wherever it is. Who has only let go of a job's handle has its items run, and
//! nobody hears of the outcomes.

mod block;
mod giving;
mod job;
mod ledger;
mod pace;
mod requests;
#[cfg(test)]
mod tests;
mod wanted;

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmp_ipc::MOST_WAITABLES;
use wasmp_manager::protocol::{FOREVER, Id, POOL, Policy, Status, Writer};

use self::block::Block;
use self::job::{Job, Over};
pub(super) use self::ledger::Ledger;
use self::pace::Pace;
pub(crate) use self::requests::Resizing;
pub(crate) use self::wanted::Wish;
use super::MAX_CLIENTS;
use super::store::{Budget, Caller, Late, Served};
use crate::outcome::End;
use crate::wire::pools::{Head, News, order};

/// Pools with processes, at a time.
const MAX_POOLS: usize = 16;

// The server waits for all of them at once, and for the door.
const _: () = assert!(MAX_CLIENTS + MAX_POOLS < MOST_WAITABLES);

/// Bytes of items that a crew has before it takes no more. The supervisor goes on reading orders with twice as many.
const MAX_BYTES_AT_WORK: u64 = 16 << 20;

/// Bytes of blocks that a crew takes at once.
const MAX_TAKEN: u64 = 256 << 10;

/// Jobs of a client's that more items may come for, at a time. The supervisor takes 65 536 of a pool.
const MAX_OPEN: usize = 512;

const _: () = assert!(MAX_OPEN * MAX_CLIENTS <= 1 << 16);

/// Bytes of the name of a task.
const MAX_NAME: usize = 1024;

/// What a wait, or a block, takes beside its bytes.
const WAITING_BYTES: u64 = 128;

/// A job, by its pool and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobKey {
    pool: Id,
    number: u32,
}

/// The pools of a manager.
#[derive(Debug)]
pub(super) struct Pools {
    pools: HashMap<Id, Pool>,
    /// Those that have processes, by their crews.
    crews: HashMap<u32, Id>,
    /// Who waits for outcomes, or for a pool's end: each connection once.
    waiting: Vec<Waiting>,
    /// Bytes of outcomes that are kept for a client.
    owed: HashMap<u32, u64>,
    /// Most bytes of items that a crew takes as one; `None`: there are no tasks, and so no pools.
    max_block: Option<usize>,
    /// How many processes a pool has of which nobody says it.
    cpus: u32,
    /// Crews for which there is no use any more.
    fired: Vec<u32>,
}

#[derive(Debug)]
struct Pool {
    /// Who works for it, by the server's number.
    crew: u32,
    /// Of calls that say nothing else.
    policy: Policy,
    state: State,
    /// Why it gave up, if it did.
    broken: Option<Arc<str>>,
    /// Nobody has a handle to it any more.
    unwanted: bool,
    jobs: HashMap<u32, Job>,
    next_job: u32,
    /// What each client's jobs share that more items may come for: so many of them there are.
    open: HashMap<u32, Arc<()>>,
    /// What waits for the crew: that of each client in a line of its own.
    lines: VecDeque<Line>,
    /// How many jobs wait there whose first items have not been taken.
    unbegun: usize,
    /// What the blocks count that the crew has taken, and may still hold in this process.
    taken: u64,
    at_work: AtWork,
    pace: Pace,
    /// What the crew is to be told beside its items.
    orders: Vec<(Head, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// No more jobs; the crew does not know.
    Closing,
    Closed,
    /// Its processes are being ended.
    Terminated,
    /// None of its processes is left.
    Gone,
}

/// Items that a crew has, and that have no outcome.
#[derive(Clone, Copy, Debug, Default)]
struct AtWork {
    items: u64,
    bytes: u64,
}

/// The blocks of a client.
#[derive(Debug)]
struct Line {
    client: u32,
    blocks: VecDeque<Block>,
}

#[derive(Debug)]
struct Waiting {
    caller: Caller,
    sequence: u32,
    what: What,
    /// `None`: for ever.
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Outcomes {
        of: JobKey,
        /// The job is to be over.
        all: bool,
    },
    /// That none of its processes is left.
    Gone(Id),
}

/// What a step of a pool changes beside the pools.
pub(super) struct Books<'s> {
    pub(super) budget: &'s mut Budget,
    pub(super) late: &'s mut Vec<Late>,
    pub(super) ledger: &'s mut Ledger,
}

/// So many bytes of outcomes are kept for this client no longer.
fn pay(owed: &mut HashMap<u32, u64>, client: u32, bytes: u64) {
    if let Some(owing) = owed.get_mut(&client) {
        *owing = owing.saturating_sub(bytes);
        if *owing == 0 {
            owed.remove(&client);
        }
    }
}

impl Pools {
    pub(super) fn new() -> Self {
        Self {
            pools: HashMap::new(),
            crews: HashMap::new(),
            waiting: Vec::new(),
            owed: HashMap::new(),
            max_block: None,
            cpus: 1,
            fired: Vec::new(),
        }
    }

    pub(super) fn allow(&mut self, max_block: usize, cpus: u32) {
        self.max_block = Some(max_block);
        self.cpus = cpus;
    }

    /// The kind of a pool, among [`Op::Names`](wasmp_manager::protocol::Op::Names).
    pub(super) const KIND: u8 = POOL;

    fn by_crew(&mut self, crew: u32) -> Option<(Id, &mut Pool)> {
        let id = *self.crews.get(&crew)?;
        Some((id, self.pools.get_mut(&id)?))
    }

    /// Has a block wait for its crew, and with it the request if the client has many.
    fn line_up(
        &mut self,
        id: Id,
        mut block: Block,
        (caller, sequence): (Caller, u32),
        (budget, ledger): (&Budget, &mut Ledger),
    ) -> Served {
        if ledger.of(caller.client) + block.counts() > budget.half() / 2 {
            block.waiting = Some((caller, sequence));
        }
        let served = match block.waiting {
            Some(_) => Served::Silent,
            None => Served::Answered,
        };
        ledger.joins(&block, id);
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.unbegun += usize::from(block.new.is_some());
            if let Some(job) = pool.jobs.get_mut(&block.job) {
                job.block_waits();
            }
            let client = caller.client;
            match pool.lines.iter_mut().find(|line| line.client == client) {
                Some(line) => line.blocks.push_back(block),
                None => pool.lines.push_back(Line {
                    client,
                    blocks: VecDeque::from([block]),
                }),
            }
        }
        served
    }

    fn wait(
        &mut self,
        (caller, sequence): (Caller, u32),
        what: What,
        time: u64,
        budget: &mut Budget,
        now: &impl Fn() -> Instant,
    ) -> Result<Served, Status> {
        if time == 0 {
            return Err(Status::TimedOut);
        }
        budget.exchange(0, WAITING_BYTES)?;
        let until = (time != FOREVER).then(|| now().checked_add(Duration::from_nanos(time)));
        self.waiting.push(Waiting {
            caller,
            sequence,
            what,
            until: until.flatten(),
        });
        Ok(Served::Silent)
    }

    /// Ends those waits for which `over` says how.
    fn end_waits(&mut self, books: &mut Books<'_>, over: impl Fn(&Self, &Waiting) -> Option<Late>) {
        if self.waiting.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|one| {
            let Some(late) = over(self, one) else { return true };
            books.budget.give_back(WAITING_BYTES);
            books.late.push(late);
            false
        });
        self.waiting = waiting;
    }

    /// Answers those who wait for what has become true of a job.
    fn settle(&mut self, of: JobKey, books: &mut Books<'_>) {
        // The same for all of them, and there once.
        let written = OnceCell::<Arc<[u8]>>::new();
        self.end_waits(books, |pools, one| match one.what {
            What::Outcomes { of: awaited, all } if awaited == of => {
                let (connection, sequence) = (one.caller.connection, one.sequence);
                let job = pools.pools.get(&of.pool).and_then(|pool| pool.jobs.get(&of.number));
                let Some(job) = job.filter(|job| job.is_wanted()) else {
                    return Some(Late::refusal(connection, sequence, Status::NoSuchObject));
                };
                let write = || {
                    let mut fields = Vec::new();
                    job.write(&mut Writer(&mut fields));
                    fields.into()
                };
                job.is_ready(all)
                    .then(|| Late::shared(connection, sequence, Arc::clone(written.get_or_init(write))))
            }
            _ => None,
        });
    }

    /// Nothing is kept of a job that is over, or without items, and that nobody asks about.
    fn tidy(&mut self, id: Id, number: u32) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let is_of_use = |job: &Job| job.is_wanted() || (job.over().is_none() && (job.has_begun() || job.has_waiting()));
        if pool.jobs.get(&number).is_some_and(|job| !is_of_use(job)) {
            pool.jobs.remove(&number);
        }
        self.tidy_pool(id);
    }

    /// Nor of a pool that has ended, and that nobody asks about.
    fn tidy_pool(&mut self, id: Id) {
        let is_of_use = |pool: &Pool| !pool.unwanted || pool.state != State::Gone || !pool.jobs.is_empty();
        if self.pools.get(&id).is_some_and(|pool| !is_of_use(pool)) {
            self.pools.remove(&id);
        }
    }

    fn hear_of(&mut self, of: JobKey, news: News, most_owed: u64, books: &mut Books<'_>) {
        let Some(pool) = self.pools.get_mut(&of.pool) else {
            return;
        };
        let Some(job) = pool.jobs.get_mut(&of.number) else {
            return;
        };
        if job.over().is_some() {
            return;
        }
        match news {
            News::Complete => pool.end_job(of.number, Over::Complete),
            News::Ended(end) => {
                let over = Over::of(&end, job.task());
                pool.end_job(of.number, over);
            }
            outcome => {
                let done = job.one_less_at_work();
                pool.at_work.items = pool.at_work.items.saturating_sub(1);
                pool.pace.one_is_done();
                pool.at_work.bytes = pool.at_work.bytes.saturating_sub(done);
                if !job.is_wanted() {
                    return;
                }
                let client = job.client();
                let bytes = job.note(outcome);
                let owing = self.owed.entry(client).or_default();
                if *owing + bytes > most_owed || books.budget.exchange(0, bytes).is_err() {
                    // Nothing of it is of use without the rest. What was noted just now has not been counted.
                    let kept = job.forget_all() - bytes;
                    books.budget.give_back(kept);
                    pay(&mut self.owed, client, kept);
                    pool.end_job(of.number, Over::Overfull);
                } else {
                    *owing += bytes;
                }
            }
        }
        self.settle(of, books);
        self.tidy(of.pool, of.number);
    }

    /// Has the processes of a pool ended. The crew says how the jobs end that it knows of.
    fn terminate(&mut self, id: Id, books: &mut Books<'_>) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        for block in pool.lines.drain(..).flat_map(|line| line.blocks) {
            block.leave(books);
        }
        pool.unbegun = 0;
        if !matches!(pool.state, State::Terminated | State::Gone) {
            pool.state = State::Terminated;
            pool.orders.push((Head::new(order::TERMINATE, 0, 0), Vec::new()));
        }
        self.end_jobs(id, |job| !job.has_begun(), books);
    }

    /// Ends those jobs of a pool, which is.
    fn end_jobs(&mut self, id: Id, which: impl Fn(&Job) -> bool, books: &mut Books<'_>) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let open = pool.jobs.iter().filter(|(_, job)| job.over().is_none() && which(job));
        let open: Vec<u32> = open.map(|(number, _)| *number).collect();
        for number in open {
            if let Some(pool) = self.pools.get_mut(&id)
                && let Some(job) = pool.jobs.get(&number)
            {
                let over = match &pool.broken {
                    Some(why) => Over::Broken(Arc::clone(why)),
                    None => Over::of(&End::Terminated, job.task()),
                };
                pool.end_job(number, over);
            }
            self.settle(JobKey { pool: id, number }, books);
            self.tidy(id, number);
        }
    }

    /// None of its processes is left; `why` it gave up, or nothing.
    fn is_gone(&mut self, id: Id, why: &str, books: &mut Books<'_>) {
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.broken = (!why.is_empty()).then(|| why.into());
        }
        self.terminate(id, books);
        self.end_jobs(id, |_| true, books);
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.state = State::Gone;
            pool.orders = Vec::new();
            books.budget.give_back(std::mem::take(&mut pool.taken));
            self.crews.remove(&pool.crew);
            self.fired.push(pool.crew);
        }
        self.end_waits(books, |_, one| match one.what {
            What::Gone(pool) if pool == id => {
                let (connection, sequence) = (one.caller.connection, one.sequence);
                Some(Late::answer(connection, sequence, Vec::new()))
            }
            _ => None,
        });
        self.tidy_pool(id);
    }

    /// Nobody has a handle to this pool any more.
    pub(super) fn pool_is_let_go(&mut self, id: Id, books: &mut Books<'_>) {
        self.terminate(id, books);
        self.end_waits(books, |_, one| match one.what {
            What::Gone(pool) if pool == id => {
                let (connection, sequence) = (one.caller.connection, one.sequence);
                Some(Late::refusal(connection, sequence, Status::NoSuchObject))
            }
            _ => None,
        });
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.unwanted = true;
        }
        self.tidy_pool(id);
    }

    /// Nobody has a handle to this job any more.
    pub(super) fn job_is_let_go(&mut self, of: JobKey, books: &mut Books<'_>) {
        let Some(pool) = self.pools.get_mut(&of.pool) else {
            return;
        };
        let Some(job) = pool.jobs.get_mut(&of.number) else {
            return;
        };
        let (client, kept) = (job.client(), job.forget_all());
        job.let_go();
        books.budget.give_back(kept);
        pay(&mut self.owed, client, kept);
        // There will be no more items than those that wait: the crew hears of that with the last of them.
        if !job.has_waiting() && job.over().is_none() && job.has_begun() && job.seal() {
            pool.orders.push((Head::new(order::SEAL, of.number, 0), Vec::new()));
        }
        self.settle(of, books);
        self.tidy(of.pool, of.number);
    }

    /// This client is gone: what it has called is to end.
    pub(super) fn forget(&mut self, client: u32, books: &mut Books<'_>) {
        for pool in self.pools.values_mut() {
            pool.open.remove(&client);
            if let Some(at) = pool.lines.iter().position(|line| line.client == client)
                && let Some(line) = pool.lines.remove(at)
            {
                for block in &line.blocks {
                    pool.unbegun -= usize::from(block.new.is_some());
                    if let Some(job) = pool.jobs.get_mut(&block.job) {
                        job.block_leaves();
                    }
                    block.leave(books);
                }
            }
            let theirs = |(number, job): (&u32, &Job)| {
                (job.client() == client && job.over().is_none()).then(|| (*number, job.task().to_owned()))
            };
            let theirs: Vec<_> = pool.jobs.iter().filter_map(theirs).collect();
            for (number, task) in theirs {
                pool.end_job(number, Over::of(&End::Cancelled, &task));
                // What it knew of is let go of next.
                if pool.jobs.get(&number).is_some_and(|job| !job.is_wanted()) {
                    pool.jobs.remove(&number);
                }
            }
        }
    }

    /// Nobody waits any more at the other end of this connection. Returns the objects of jobs that nobody has heard of.
    pub(super) fn give_up(&mut self, connection: u32, budget: &mut Budget, ledger: &mut Ledger) -> Option<Id> {
        self.waiting.retain(|one| {
            let stays = one.caller.connection != connection;
            if !stays {
                budget.give_back(WAITING_BYTES);
            }
            stays
        });
        let (id, client) = ledger.stalled(connection)?;
        let block = self.pools.get_mut(&id)?.take_stalled(connection, client)?;
        budget.give_back(block.counts());
        ledger.leaves(&block);
        block.new
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|one| one.until).min()
    }

    /// Answers those whose time is up.
    pub(super) fn expire(&mut self, now: Instant, books: &mut Books<'_>) {
        self.end_waits(books, |_, one| {
            let over = one.until.is_some_and(|until| until <= now);
            over.then(|| Late::refusal(one.caller.connection, one.sequence, Status::TimedOut))
        });
    }

    /// What all of it counts in the budget, beside the objects.
    #[cfg(test)]
    pub(super) fn bytes(&self, ledger: &Ledger) -> u64 {
        let lines = self.pools.values().flat_map(|pool| &pool.lines);
        assert_eq!(ledger.bytes(), lines.map(Line::counts).sum::<u64>());
        let unbegun = |pool: &Pool| {
            let waiting = pool.lines.iter().flat_map(|line| &line.blocks);
            waiting.filter(|block| block.new.is_some()).count()
        };
        assert!(self.pools.values().all(|pool| pool.unbegun == unbegun(pool)));
        let of_pool = |pool: &Pool| {
            let blocks: u64 = pool.lines.iter().map(Line::counts).sum();
            let kept: u64 = pool.jobs.values().map(Job::bytes).sum();
            pool.taken + blocks + kept
        };
        let owed: u64 = self.owed.values().sum();
        let kept: u64 = self
            .pools
            .values()
            .flat_map(|pool| pool.jobs.values())
            .map(Job::bytes)
            .sum();
        assert_eq!(owed, kept);
        self.pools.values().map(of_pool).sum::<u64>() + self.waiting.len() as u64 * WAITING_BYTES
    }
}

#[cfg(test)]
impl Line {
    fn counts(&self) -> u64 {
        self.blocks.iter().map(Block::counts).sum()
    }
}
