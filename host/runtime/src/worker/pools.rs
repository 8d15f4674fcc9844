//! The worker's side of the pools that its guest makes: orders go out, news come in and wait for whoever asks for them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use wasmp_abi::Status;
use wasmp_ipc::ring::{Consumer, Corrupt, Producer};
use wasmp_ipc::{Mapping, Spinner};

use super::interruption;
use super::link::Link;
use super::objects::{Objects, OpenError};
use crate::objects::message::{Answer, Ask, PoolRequest};
use crate::outcome::End;
use crate::process::message::encode;
use crate::wire::pools::{Garbled, Head, JobOptions, News, Prepare, Reader, Word, Writing, order};
use crate::wire::{LINK_BYTES, REPLIES_AT, RING_CAPACITY};

/// A pool of this guest's.
#[derive(Debug)]
pub(super) struct Pool {
    id: u32,
    orders: Producer,
    news: Consumer,
    reader: Reader,
    spinner: Spinner,
    /// The tasks of the jobs that are not over, and not forgotten.
    jobs: HashMap<u32, String>,
    next_job: u32,
    /// What has come and was not asked for: of which job and task.
    told: VecDeque<(u32, String, News)>,
    /// None of its processes is left.
    gone: bool,
    /// Of a process: its id, and how it ended.
    pid: Option<u32>,
    exit: Option<i32>,
}

/// The pools of an instance, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Pools(Numbered<Pool>);

/// Things that a guest knows by numbers, from 1. In a copy of a guest they begin after those that the parent has given out.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    places: Vec<Option<T>>,
    /// Up to this number, they are the parent's.
    before: u32,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            before: 0,
        }
    }
}

impl<T> Numbered<T> {
    /// The number of something new.
    pub(super) fn add(&mut self, thing: T) -> u32 {
        let at = self
            .places
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.places.len());
        if at == self.places.len() {
            self.places.push(None);
        }
        self.places[at] = Some(thing);
        self.before + at as u32 + 1
    }

    pub(super) fn place(&mut self, number: u32) -> Option<&mut Option<T>> {
        let at = number.checked_sub(self.before)?.checked_sub(1)?;
        self.places.get_mut(at as usize)
    }

    /// All there are.
    pub(super) fn places(&mut self) -> &mut Vec<Option<T>> {
        &mut self.places
    }

    /// Whether a number is one of the parent's.
    pub(super) fn is_the_parents(&self, number: u32) -> bool {
        (1..=self.before).contains(&number)
    }

    /// How many numbers have been given out.
    pub(super) fn numbers(&self) -> u32 {
        self.before + self.places.len() as u32
    }

    /// Up to this number, they are the parent's.
    pub(super) fn begin_after(&mut self, numbers: u32) {
        self.before = numbers.min(MAX_OF_PARENTS);
    }
}

/// Numbers that a parent can have given out: more than it can have processes, and far from the last number.
const MAX_OF_PARENTS: u32 = 1 << 24;

/// What there is for whoever asks.
#[derive(Debug)]
pub(super) enum Asked {
    /// Of a job, which calls this task.
    News(u32, String, News),
    /// Nothing will come any more.
    Over,
}

impl Pools {
    /// Makes a pool; the number by which the guest knows it, from 1.
    pub(super) fn create(
        &mut self,
        objects: &Objects,
        link: &Link,
        request: &Ask,
        prepare: Option<&Prepare>,
    ) -> Result<u32, OpenError> {
        let (Answer::Pool { pool: id }, Some(memory)) = objects.ask(request)? else {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        };
        let mut pool = Pool::open(id, memory.as_fd())?;
        pool.order(link, Head::new(order::START, 0, 0), &encode(&prepare))?;
        Ok(self.0.add(pool))
    }

    pub(super) fn numbered(&mut self) -> &mut Numbered<Pool> {
        &mut self.0
    }

    /// How many numbers have been given out.
    pub(super) fn numbers(&self) -> u32 {
        self.0.numbers()
    }

    pub(super) fn get(&mut self, number: u32) -> Option<&mut Pool> {
        self.0.place(number)?.as_mut()
    }

    /// The guest has no use for this pool any more. False: there is none of this number.
    pub(super) fn remove(&mut self, objects: &Objects, number: u32) -> bool {
        if self.0.is_the_parents(number) {
            return true;
        }
        let Some(pool) = self.0.place(number).and_then(Option::take) else {
            return false;
        };
        // If the host is gone, this process is about to be.
        let _ = objects.tell(&Ask::Pool(PoolRequest::Drop { pool: pool.id }));
        true
    }

    /// The instance is gone.
    pub(super) fn abandon(&mut self, objects: &Objects) {
        for pool in self.0.places().drain(..).flatten() {
            // As in `remove`.
            let _ = objects.tell(&Ask::Pool(PoolRequest::Drop { pool: pool.id }));
        }
    }
}

fn nonsense(garbled: &impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, garbled.to_string())
}

fn corrupt(corrupt: Corrupt) -> io::Error {
    nonsense(&corrupt)
}

impl Pool {
    /// The pool that has this number with the host, by its rings.
    pub(super) fn open(id: u32, memory: BorrowedFd<'_>) -> io::Result<Self> {
        let mapping = Arc::new(Mapping::of_host(memory, LINK_BYTES)?);
        Ok(Self {
            id,
            orders: Producer::new(&mapping, 0, RING_CAPACITY)?,
            news: Consumer::new(&mapping, REPLIES_AT, RING_CAPACITY)?,
            reader: Reader::default(),
            spinner: Spinner::new(),
            jobs: HashMap::new(),
            next_job: 0,
            told: VecDeque::new(),
            gone: false,
            pid: None,
            exit: None,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Begins a job; its number.
    pub(super) fn begin(&mut self, link: &Link, options: &JobOptions) -> io::Result<u32> {
        let number = self.next_job;
        self.next_job = self.next_job.wrapping_add(1);
        self.order(link, Head::new(order::JOB, number, 0), &encode(options))?;
        self.jobs.insert(number, options.task.clone());
        Ok(number)
    }

    /// Whether the job is not over.
    pub(super) fn is_open(&self, job: u32) -> bool {
        self.jobs.contains_key(&job)
    }

    /// What comes of a job is not wanted.
    pub(super) fn forget(&mut self, job: u32) {
        self.jobs.remove(&job);
        self.told.retain(|(other, ..)| *other != job);
    }

    /// Writes an order, and waits until there is room for all of it, or nobody is left to read it. Meanwhile it takes the news, so
    /// that the host, which may be waiting for that, goes on.
    pub(super) fn order(&mut self, link: &Link, head: Head, body: &[u8]) -> io::Result<()> {
        let mut writing = Writing::new(head, body);
        loop {
            let whole = writing.write(&mut self.orders).map_err(corrupt)?;
            self.orders.publish();
            if self.orders.consumer_parked() {
                link.ring();
            }
            if whole {
                return Ok(());
            }
            interruption::check()?;
            self.collect(link)?;
            // What has ended takes no orders, and whoever gives them learns of that next.
            if self.gone {
                return Ok(());
            }
            // The host rings for room as it rings for news. It is asked after the bell is set up, so that its answer is heard.
            if self.news.prepare_park() && !self.orders.ask_for_space().map_err(corrupt)? {
                self.news.park(None);
            }
            self.news.cancel_park();
        }
    }

    /// Takes the news that are there.
    fn collect(&mut self, link: &Link) -> io::Result<()> {
        loop {
            let next = self.reader.next(&mut self.news, usize::MAX);
            self.news.release();
            if self.news.producer_parked() {
                link.ring();
            }
            let Some((head, body)) = next.map_err(|garbled: Garbled| nonsense(&garbled))? else {
                return Ok(());
            };
            let (job, news) = match Word::read(head, body)? {
                Word::Of(job, news) => (job, news),
                Word::Gone(exit, _) => {
                    self.gone = true;
                    self.exit = Some(exit);
                    continue;
                }
                Word::Started(pid) => {
                    self.pid = Some(pid);
                    continue;
                }
            };
            // What nobody waits for is forgotten.
            let Some(task) = self.jobs.get(&job).cloned() else {
                continue;
            };
            if news.is_last() {
                self.jobs.remove(&job);
            }
            self.told.push_back((job, task, news));
        }
    }

    /// Waits for the next news, until `deadline` at most.
    pub(super) fn next(&mut self, link: &Link, deadline: Option<Instant>) -> io::Result<Result<Asked, Status>> {
        self.wait(link, deadline, |pool| match pool.told.pop_front() {
            Some((job, task, news)) => Some(Asked::News(job, task, news)),
            None => pool.gone.then_some(Asked::Over),
        })
    }

    /// Waits until none of its processes is left.
    pub(super) fn join(&mut self, link: &Link, deadline: Option<Instant>) -> io::Result<Result<(), Status>> {
        self.wait(link, deadline, |pool| pool.gone.then_some(()))
    }

    /// Waits until the process runs: its id, or why it does not.
    pub(super) fn wait_for_start(&mut self, link: &Link) -> io::Result<Result<u32, End>> {
        let mut interrupted = false;
        loop {
            let started = self.wait(link, None, |pool| match (pool.told.pop_front(), pool.pid) {
                // It may run already, and is told to end, as it will not be called.
                (Some((_, _, News::Ended(end @ End::Refused(_)))), _) => Some(Err(end)),
                (_, Some(pid)) => Some(Ok(pid)),
                (Some((_, _, News::Ended(end))), None) => Some(Err(end)),
                _ => pool.gone.then_some(Err(End::Terminated)),
            })?;
            match started {
                Ok(started) => {
                    // A start is short. Who was interrupted meanwhile hears of it in the next wait.
                    if interrupted {
                        interruption::again();
                    }
                    return Ok(started);
                }
                Err(_) => interrupted = true,
            }
        }
    }

    /// How the process ended, if it has.
    pub(super) fn exit(&mut self, link: &Link) -> io::Result<Option<i32>> {
        self.collect(link)?;
        Ok(self.exit.filter(|_| self.gone))
    }

    fn wait<T>(
        &mut self,
        link: &Link,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut Self) -> Option<T>,
    ) -> io::Result<Result<T, Status>> {
        loop {
            interruption::check()?;
            self.collect(link)?;
            if let Some(found) = look(self) {
                return Ok(Ok(found));
            }
            if interruption::take() {
                return Ok(Err(Status::Interrupted));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Err(Status::TimedOut));
            }
            let news = &self.news;
            if self.spinner.spin(|| !news.is_empty()) {
                continue;
            }
            if self.news.prepare_park() {
                self.news
                    .park(deadline.into_iter().chain(interruption::next_look()).min());
            }
            self.news.cancel_park();
        }
    }
}
