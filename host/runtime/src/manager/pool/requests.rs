//! What clients ask of pools, and what crews say: the store's part of it.

use std::sync::Arc;
use std::time::Instant;

use wasmp_manager::protocol::{Fields, Id, Op, Policy, Status, Writer};

use super::block::Block;
use super::job::{Job, Over, Terms};
use super::wanted::{Wish, requested, wanted};
use super::{Books, JobKey, MAX_NAME, MAX_POOLS, Pool, Pools, State, What, pay};
use crate::manager::store::{Caller, Content, OBJECT_BYTES, Object, Served, Store, malformed, new_id, refuse};
use crate::outcome::End;
use crate::wire::ITEM_PREFIX;
use crate::wire::pools::{Head, Word};

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

/// What a pool is to be from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resizing {
    pub(crate) crew: u32,
    pub(crate) processes: u32,
}

impl Store {
    /// Finds the pool of a name, or says that one is to be made.
    pub(in crate::manager) fn want_pool(
        &mut self,
        op: Op,
        mut fields: Fields<'_>,
        answer: &mut Writer<'_>,
    ) -> Result<Served, Status> {
        let (name, wanted) = malformed(wanted(op, &mut fields))?;
        if let Some(id) = name.and_then(|name| self.names.get(name)) {
            return match self.objects[id].content {
                Content::Pool => {
                    answer.id(*id);
                    Ok(Served::Answered)
                }
                _ => Err(Status::WrongType),
            };
        }
        let max_block = self.pools.max_block.ok_or(Status::NoTasks)?;
        if !wanted.fits(max_block) {
            return Err(Status::TooLarge);
        }
        if self.pools.crews.len() >= MAX_POOLS {
            return Err(Status::ProcessLimit);
        }
        let kept = name.map_or(0, <[u8]>::len) + wanted.ordered();
        self.budget.has_room(OBJECT_BYTES + kept as u64)?;
        Ok(Served::Hire)
    }

    /// The crew that a request needs for which one is to be hired.
    pub(crate) fn wish(&self, request: &[u8]) -> Result<Wish, Status> {
        let (_, wanted) = malformed(requested(request))?;
        Ok(Wish {
            processes: wanted.processes(self.pools.cpus),
            max_tasks: wanted.max_tasks,
            patience: wanted.policy.nanoseconds(),
            start: wanted.start(),
        })
    }

    /// Makes the pool that a request wanted, now that there is a crew for it, or not.
    pub(crate) fn hired(&mut self, caller: Caller, request: &[u8], crew: Result<u32, Status>, answer: &mut Vec<u8>) {
        let sequence = Fields(request).u32().unwrap_or_default();
        answer.clear();
        let mut writer = Writer(answer);
        writer.u32(sequence);
        writer.u8(Status::Done as u8);
        let made = crew.and_then(|crew| {
            let made = self.make_pool(caller, request, crew);
            made.inspect_err(|_| self.pools.fired.push(crew))
        });
        match made {
            Ok(id) => writer.id(id),
            Err(status) => refuse(sequence, status, answer),
        }
    }

    /// There are so many workers now in the crew of a pool, which was asked for; or not.
    pub(crate) fn resized(
        &mut self,
        request: &[u8],
        resizing: Resizing,
        done: Result<(), Status>,
        answer: &mut Vec<u8>,
    ) {
        match done {
            Ok(()) => {
                if let Some((_, pool)) = self.pools.by_crew(resizing.crew) {
                    pool.pace.resize(resizing.processes);
                }
            }
            Err(status) => refuse(Fields(request).u32().unwrap_or_default(), status, answer),
        }
    }

    fn make_pool(&mut self, caller: Caller, request: &[u8], crew: u32) -> Result<Id, Status> {
        let (name, wanted) = malformed(requested(request))?;
        let id = new_id()?;
        // The first order is in this process until the crew takes it.
        let ordered = wanted.ordered() as u64;
        self.budget
            .exchange(0, OBJECT_BYTES + name.map_or(0, <[u8]>::len) as u64 + ordered)?;
        let owner = name.is_none().then_some(caller.client);
        let content = Content::Pool;
        self.objects.insert(id, Object { content, owner });
        if let Some(name) = name {
            self.names.insert(name.into(), id);
        }
        self.pools.crews.insert(crew, id);
        let processes = wanted.processes(self.pools.cpus);
        let pool = Pool::new(crew, processes, wanted.policy, ordered);
        self.pools.pools.insert(id, pool);
        Ok(id)
    }

    pub(in crate::manager) fn serve_pool(
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
                let policy = malformed(Policy::read(&mut fields))?.or(pool.policy);
                let ((items, bytes), last) = malformed(items(&mut fields).zip(fields.u8()))?;
                if pool.state != State::Running && pool.broken.is_none() {
                    return Err(Status::NotRunning);
                }
                if bytes.len() > max_block || task.len() > MAX_NAME {
                    return Err(Status::TooLarge);
                }
                let terms = Terms {
                    task: task.into(),
                    chunk,
                    policy,
                };
                if let Some(why) = &pool.broken {
                    let (job, why) = (new_id()?, Arc::clone(why));
                    let number = pool.number();
                    let content = Content::Job(JobKey { pool: id, number }, task.len() as u64);
                    self.budget.exchange(0, OBJECT_BYTES + content.bytes())?;
                    let mut over = Job::new(caller.client, job, terms, None);
                    over.end(Over::Broken(why));
                    pool.jobs.insert(number, over);
                    let owner = Some(caller.client);
                    self.objects.insert(job, Object { content, owner });
                    answer.id(job);
                    return Ok(Served::Answered);
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
                pool.jobs.insert(number, Job::new(caller.client, job, terms, open));
                let owner = Some(caller.client);
                self.objects.insert(job, Object { content, owner });
                answer.id(job);
                let books = (&self.budget, &mut self.ledger);
                Ok(self.pools.line_up(id, block, (caller, sequence), books))
            }
            Op::PoolResize => {
                let processes = malformed(fields.u32())?;
                match pool.state {
                    _ if processes == 0 => Err(Status::Invalid),
                    State::Running => Ok(Served::Resize(Resizing {
                        crew: pool.crew,
                        processes,
                    })),
                    _ => Err(Status::NotRunning),
                }
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

    pub(in crate::manager) fn serve_job(
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
            Word::Gone(_, why) => self.pools.is_gone(id, &why, &mut books),
            // Of processes alone.
            Word::Started(_) => {}
        }
    }

    /// Crews for which there is no use any more.
    pub(crate) fn take_fired(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.pools.fired)
    }
}
