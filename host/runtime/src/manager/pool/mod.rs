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
mod job;
mod ledger;
mod pace;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmp_ipc::MOST_WAITABLES;
use wasmp_manager::protocol::{FOREVER, Fields, Id, Op, POOL, Status, Writer};

use self::block::Block;
use self::job::{Job, Over, Terms};
pub(super) use self::ledger::Ledger;
use self::pace::Pace;
use super::MAX_CLIENTS;
use super::store::{Budget, Caller, Content, Late, OBJECT_BYTES, Object, Served, Store, malformed, new_id, refuse};
use crate::outcome::End;
use crate::process::message::encode;
use crate::retry::Retry;
use crate::wire::ITEM_PREFIX;
use crate::wire::pools::{Head, JobOptions, News, Word, order};

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
    /// Crews for which there is no use any more.
    fired: Vec<u32>,
}

#[derive(Debug)]
struct Pool {
    /// Who works for it, by the server's number.
    crew: u32,
    state: State,
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

/// Items as they are in a request, which is how a crew takes them: how many, and all of them.
fn items<'r>(fields: &mut Fields<'r>) -> Option<(u64, &'r [u8])> {
    let count = fields.count()?;
    let all = fields.0;
    for _ in 0..count {
        fields.item()?;
    }
    Some((count as u64, &all[..all.len() - fields.0.len()]))
}

const _: () = assert!(ITEM_PREFIX == size_of::<u32>());

impl Store {
    /// Finds the pool of a name, or says that one is to be made: how many processes it needs.
    pub(super) fn want_pool(
        &mut self,
        op: Op,
        mut fields: Fields<'_>,
        answer: &mut Writer<'_>,
    ) -> Result<Served, Status> {
        let (name, processes) = malformed(wanted(op, &mut fields))?;
        if let Some(id) = name.and_then(|name| self.names.get(name)) {
            return match self.objects[id].content {
                Content::Pool => {
                    answer.id(*id);
                    Ok(Served::Answered)
                }
                _ => Err(Status::WrongType),
            };
        }
        if self.pools.max_block.is_none() {
            return Err(Status::NoTasks);
        }
        if self.pools.crews.len() >= MAX_POOLS {
            return Err(Status::ProcessLimit);
        }
        self.budget
            .has_room(OBJECT_BYTES + name.map_or(0, <[u8]>::len) as u64)?;
        Ok(Served::Hire(processes))
    }

    /// Makes the pool that a request wanted, now that there is a crew for it, or not.
    pub(crate) fn hired(&mut self, caller: Caller, request: &[u8], crew: Result<u32, Status>, answer: &mut Vec<u8>) {
        let mut fields = Fields(request);
        let sequence = fields.u32().unwrap_or_default();
        answer.clear();
        let mut writer = Writer(answer);
        writer.u32(sequence);
        writer.u8(Status::Done as u8);
        let made = crew.and_then(|crew| {
            let made = self.make_pool(caller, fields, crew);
            made.inspect_err(|_| self.pools.fired.push(crew))
        });
        match made {
            Ok(id) => writer.id(id),
            Err(status) => refuse(sequence, status, answer),
        }
    }

    fn make_pool(&mut self, caller: Caller, mut fields: Fields<'_>, crew: u32) -> Result<Id, Status> {
        let head = fields.u8().zip(fields.id()).and_then(|(op, _)| Op::from_code(op));
        let (name, processes) = malformed(head.and_then(|op| wanted(op, &mut fields)))?;
        let id = new_id()?;
        self.budget
            .exchange(0, OBJECT_BYTES + name.map_or(0, <[u8]>::len) as u64)?;
        let owner = name.is_none().then_some(caller.client);
        let content = Content::Pool;
        self.objects.insert(id, Object { content, owner });
        if let Some(name) = name {
            self.names.insert(name.into(), id);
        }
        self.pools.crews.insert(crew, id);
        self.pools.pools.insert(id, Pool::new(crew, processes));
        Ok(id)
    }

    pub(super) fn serve_pool(
        &mut self,
        caller: Caller,
        (op, id): (Op, Id),
        (sequence, mut fields): (u32, Fields<'_>),
        answer: &mut Writer<'_>,
        now: &impl Fn() -> Instant,
    ) -> Result<Served, Status> {
        let max_block = self.pools.max_block.unwrap_or_default();
        let pool = self.pools.pools.get_mut(&id).ok_or(Status::NoSuchObject)?;
        match op {
            Op::PoolSubmit => {
                let (task, chunk) = malformed(fields.item().zip(fields.u32()))?;
                let task = malformed(std::str::from_utf8(task).ok())?;
                let ((items, bytes), last) = malformed(items(&mut fields).zip(fields.u8()))?;
                if pool.state != State::Running {
                    return Err(Status::NotRunning);
                }
                if bytes.len() > max_block || task.len() > MAX_NAME {
                    return Err(Status::TooLarge);
                }
                let open = (last == 0).then(|| pool.open_one(caller.client)).transpose()?;
                let job = new_id()?;
                let number = pool.number();
                let block = Block {
                    client: caller.client,
                    waiting: None,
                    job: number,
                    new: Some(job),
                    items,
                    last: last != 0,
                    is_part: false,
                    bytes: bytes.into(),
                };
                let content = Content::Job(JobKey { pool: id, number }, task.len() as u64);
                self.budget
                    .exchange(0, OBJECT_BYTES + content.bytes() + block.counts())?;
                let terms = Terms {
                    task: task.into(),
                    chunk,
                };
                pool.jobs.insert(number, Job::new(caller.client, job, terms, open));
                let owner = Some(caller.client);
                self.objects.insert(job, Object { content, owner });
                answer.id(job);
                let books = (&self.budget, &mut self.ledger);
                Ok(self.pools.line_up(id, block, (caller, sequence), books))
            }
            Op::PoolClose => {
                if pool.state == State::Running {
                    pool.state = State::Closing;
                }
                Ok(Served::Answered)
            }
            Op::PoolTerminate if matches!(pool.state, State::Terminated | State::Gone) => Ok(Served::Answered),
            Op::PoolTerminate => {
                let mut books = Books {
                    budget: &mut self.budget,
                    late: &mut self.late,
                    ledger: &mut self.ledger,
                };
                self.pools.terminate(id, &mut books);
                Ok(Served::Answered)
            }
            Op::PoolJoin => {
                let time = malformed(fields.u64())?;
                match pool.state {
                    State::Gone => Ok(Served::Answered),
                    State::Running => Err(Status::StillRunning),
                    _ => self
                        .pools
                        .wait((caller, sequence), What::Gone(id), time, &mut self.budget, now),
                }
            }
            _ => Err(Status::WrongType),
        }
    }

    pub(super) fn serve_job(
        &mut self,
        caller: Caller,
        (op, of): (Op, JobKey),
        (sequence, mut fields): (u32, Fields<'_>),
        answer: &mut Writer<'_>,
        now: &impl Fn() -> Instant,
    ) -> Result<Served, Status> {
        let max_block = self.pools.max_block.unwrap_or_default();
        let Pools { pools, owed, .. } = &mut self.pools;
        let pool = pools.get_mut(&of.pool).ok_or(Status::NoSuchObject)?;
        let job = pool.jobs.get_mut(&of.number).ok_or(Status::NoSuchObject)?;
        match op {
            Op::JobSubmit => {
                let ((items, bytes), last) = malformed(items(&mut fields).zip(fields.u8()))?;
                if bytes.len() > max_block {
                    return Err(Status::TooLarge);
                }
                // Who submits hears of its end with the outcomes.
                if job.over().is_some() {
                    return Ok(Served::Answered);
                }
                let block = Block {
                    client: caller.client,
                    waiting: None,
                    job: of.number,
                    new: None,
                    items,
                    last: last != 0,
                    is_part: false,
                    bytes: bytes.into(),
                };
                self.budget.exchange(0, block.counts())?;
                let books = (&self.budget, &mut self.ledger);
                Ok(self.pools.line_up(of.pool, block, (caller, sequence), books))
            }
            Op::JobOutcomes => {
                let ((seen, all), time) = malformed(fields.u64().zip(fields.u8()).zip(fields.u64()))?;
                let all = all != 0;
                // Another thread of theirs may have read more meanwhile, and this one is to hear of that.
                let is_behind = job.has_read_more_than(seen);
                let read = job.forget_read(seen)?;
                self.budget.give_back(read);
                pay(owed, job.client(), read);
                if is_behind || job.is_ready(all) {
                    job.write(answer);
                    return Ok(Served::Answered);
                }
                let what = What::Outcomes { of, all };
                self.pools.wait((caller, sequence), what, time, &mut self.budget, now)
            }
            Op::JobCancel => {
                let ended = job.over().is_none();
                answer.u8(ended.into());
                if ended {
                    let over = Over::of(&End::Cancelled, job.task());
                    pool.end_job(of.number, over);
                    let mut books = Books {
                        budget: &mut self.budget,
                        late: &mut self.late,
                        ledger: &mut self.ledger,
                    };
                    self.pools.settle(of, &mut books);
                }
                Ok(Served::Answered)
            }
            _ => Err(Status::WrongType),
        }
    }

    /// What the crew is to do next, when it has passed on all that it was told before.
    pub(crate) fn orders_for(&mut self, crew: u32, now: Instant) -> Vec<(Head, Vec<u8>)> {
        let mut books = Books {
            budget: &mut self.budget,
            late: &mut self.late,
            ledger: &mut self.ledger,
        };
        let Some((id, pool)) = self.pools.by_crew(crew) else {
            return Vec::new();
        };
        let completed = pool.give_out(&mut books, now);
        let orders = std::mem::take(&mut pool.orders);
        for number in completed {
            self.pools.settle(JobKey { pool: id, number }, &mut books);
            self.pools.tidy(id, number);
        }
        orders
    }

    /// What a crew has to say.
    pub(crate) fn hear(&mut self, crew: u32, word: Word) {
        let mut books = Books {
            budget: &mut self.budget,
            late: &mut self.late,
            ledger: &mut self.ledger,
        };
        let most_owed = books.budget.half();
        let Some((id, _)) = self.pools.by_crew(crew) else {
            return;
        };
        match word {
            Word::Of(number, news) => {
                self.pools
                    .hear_of(JobKey { pool: id, number }, news, most_owed, &mut books);
            }
            Word::Gone(_) => self.pools.is_gone(id, &mut books),
            // Of processes alone.
            Word::Started(_) => {}
        }
    }

    /// Crews for which there is no use any more.
    pub(crate) fn take_fired(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.pools.fired)
    }
}

/// The name that a pool is to have, if any, and how many processes.
fn wanted<'r>(op: Op, fields: &mut Fields<'r>) -> Option<(Option<&'r [u8]>, u32)> {
    let name = match op {
        Op::NamedPool => Some(fields.item()?),
        _ => None,
    };
    Some((name, fields.u32()?))
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
            fired: Vec::new(),
        }
    }

    pub(super) fn allow(&mut self, max_block: usize) {
        self.max_block = Some(max_block);
    }

    /// The kind of a pool, among [`Op::Names`].
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
                let over = Over::of(&End::Terminated, job.task());
                pool.end_job(number, over);
            }
            self.settle(JobKey { pool: id, number }, books);
            self.tidy(id, number);
        }
    }

    /// None of its processes is left.
    fn is_gone(&mut self, id: Id, books: &mut Books<'_>) {
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

impl Pool {
    fn new(crew: u32, processes: u32) -> Self {
        Self {
            crew,
            state: State::Running,
            unwanted: false,
            jobs: HashMap::new(),
            next_job: 0,
            open: HashMap::new(),
            lines: VecDeque::new(),
            unbegun: 0,
            taken: 0,
            at_work: AtWork::default(),
            pace: Pace::new(processes),
            orders: Vec::new(),
        }
    }

    /// The number of a new job.
    fn number(&mut self) -> u32 {
        loop {
            let number = self.next_job;
            self.next_job = number.wrapping_add(1);
            if !self.jobs.contains_key(&number) {
                return number;
            }
        }
    }

    /// What a job has as long as more items may come for it.
    fn open_one(&mut self, client: u32) -> Result<Arc<()>, Status> {
        let open = self.open.entry(client).or_default();
        if Arc::strong_count(open) > MAX_OPEN {
            return Err(Status::Full);
        }
        Ok(Arc::clone(open))
    }

    /// Nothing more will come of this job.
    fn end_job(&mut self, number: u32, over: Over) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let by_crew = matches!(over, Over::Complete | Over::Refused(_) | Over::Broken(_));
        if job.has_begun() && !by_crew {
            self.orders.push((Head::new(order::CANCEL, number, 0), Vec::new()));
        }
        let (items, bytes) = job.end(over);
        self.at_work.items = self.at_work.items.saturating_sub(items);
        self.at_work.bytes = self.at_work.bytes.saturating_sub(bytes);
    }

    /// Has the crew take what it can. Returns the jobs that are over thereby.
    fn give_out(&mut self, books: &mut Books<'_>, now: Instant) -> Vec<u32> {
        // What it took before is out of this process.
        books.budget.give_back(std::mem::take(&mut self.taken));
        self.pace.keep(now);
        let mut completed = Vec::new();
        while self.taken < MAX_TAKEN
            && let Some(block) = self.next_block()
        {
            self.taken += block.counts();
            books.ledger.leaves(&block);
            block.answer(books.late);
            self.unbegun -= usize::from(block.new.is_some());
            let Some(job) = self.jobs.get_mut(&block.job) else {
                continue;
            };
            if !block.is_part {
                job.block_leaves();
            }
            if job.over().is_some() {
                continue;
            }
            if block.items > 0 {
                if job.begin() {
                    let options = JobOptions {
                        task: job.task().into(),
                        chunk: job.chunk(),
                        timeout: 0,
                        retry: Retry::default(),
                    };
                    self.orders
                        .push((Head::new(order::JOB, block.job, 0), encode(&options)));
                }
                let bytes = block.bytes.rest().len() as u64;
                job.put_to_work(block.items, bytes);
                self.at_work.items += block.items;
                self.at_work.bytes += bytes;
                self.orders
                    .push((Head::new(order::ITEMS, block.job, block.items), block.bytes.into_vec()));
            }
            let is_last = block.last || (!job.is_wanted() && !job.has_waiting());
            if is_last && job.seal() {
                if job.has_begun() {
                    self.orders.push((Head::new(order::SEAL, block.job, 0), Vec::new()));
                } else {
                    job.end(Over::Complete);
                    completed.push(block.job);
                }
            }
        }
        if self.state == State::Closing && self.unbegun == 0 {
            self.state = State::Closed;
            self.orders.push((Head::new(order::CLOSE, 0, 0), Vec::new()));
        }
        completed
    }

    /// The next block, or the first part of it, if the crew has room for that.
    fn next_block(&mut self) -> Option<Block> {
        let block = self.lines.front_mut()?.blocks.front_mut()?;
        let chunk = self.jobs.get(&block.job).map_or(1, Job::chunk);
        let most = self.pace.part(chunk).min(block.items);
        let AtWork { items, bytes } = self.at_work;
        let has_room =
            items == 0 || (items + most <= self.pace.most() && bytes + block.first(most) as u64 <= MAX_BYTES_AT_WORK);
        if !has_room {
            return None;
        }
        let part = block.split(most);
        let mut line = self.lines.pop_front()?;
        let block = part.or_else(|| line.blocks.pop_front());
        if !line.blocks.is_empty() {
            self.lines.push_back(line);
        }
        block
    }

    /// The block of this client's with which that connection waits: it is one of the last.
    fn take_stalled(&mut self, connection: u32, client: u32) -> Option<Block> {
        let at = self.lines.iter().position(|line| line.client == client)?;
        let blocks = &mut self.lines[at].blocks;
        let theirs = |block: &Block| block.waiting.is_some_and(|(caller, _)| caller.connection == connection);
        let block = blocks.remove(blocks.iter().rposition(theirs)?)?;
        if blocks.is_empty() {
            self.lines.remove(at);
        }
        self.unbegun -= usize::from(block.new.is_some());
        if let Some(job) = self.jobs.get_mut(&block.job) {
            job.block_leaves();
        }
        Some(block)
    }
}
