//! Pools, without processes: who is served when, what is kept, and what becomes of it when somebody goes.

mod books;
mod ends;
mod settings;
mod shares;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use wasmp_abi::{ErrorKind, Retry};
use wasmp_manager::protocol::{
    BROKEN, CANCELLED, COMPLETE, FOREVER, Fields, Id, OPEN, OVERFULL, Op, Policy, Status, Writer,
};

use crate::error::TaskError;
use crate::fuzz::fuzz_with;
use crate::manager::Resizing;
use crate::manager::store::{Caller, Served, Store};
use crate::outcome::{End, Failure, Loss, Runner, What};
use crate::process::message::decode;
use crate::wire::pools::{JobOptions, News, Prepare, Word, order};

/// A crew that does what it is told when a test wants it to.
#[derive(Default)]
struct Crew {
    /// Items that have no outcome, by their jobs: how many were begun, and whether there will be more.
    jobs: BTreeMap<u32, Work>,
    closed: bool,
    terminated: bool,
}

#[derive(Default)]
struct Work {
    /// Its task, and how that is treated.
    task: String,
    timeout: u64,
    retry: Retry,
    waiting: VecDeque<u64>,
    items: u64,
    sealed: bool,
}

/// So many processes a crew may have.
const MOST: u32 = 64;

/// A store, its crews, and how many requests there were.
struct Scene {
    store: Store,
    crews: BTreeMap<u32, Crew>,
    hired: u32,
    sequence: u32,
    now: Instant,
}

/// A client with one connection.
fn client(number: u32) -> Caller {
    Caller {
        connection: number,
        client: number,
    }
}

fn parts(answer: &[u8]) -> (Status, Vec<u8>) {
    let mut fields = Fields(answer);
    fields.u32().unwrap();
    (Status::from_code(fields.u8().unwrap()).unwrap(), fields.0.to_vec())
}

fn write_items(writer: &mut Writer<'_>, items: u32, len: usize, last: bool) {
    writer.u32(items);
    for _ in 0..items {
        writer.item(&vec![0x80; len]);
    }
    writer.u8(last.into());
}

fn write_call(writer: &mut Writer<'_>, task: &[u8], chunk: u32) {
    writer.item(task);
    writer.u32(chunk);
    Policy::default().write(writer);
}

fn write_wanted(writer: &mut Writer<'_>, processes: u32, max_tasks: u32, initializer: Option<(&[u8], &[u8])>) {
    writer.u32(processes);
    writer.u32(max_tasks);
    Policy::default().write(writer);
    writer.option(initializer.map(|(task, _)| task));
    if let Some((_, args)) = initializer {
        writer.item(args);
    }
}

/// What an answer says of a job: how it is over, and the outcomes.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    over: u8,
    words: Vec<u8>,
    outcomes: Vec<(u64, bool, Vec<u8>)>,
}

fn told(fields: &[u8]) -> Told {
    let mut fields = Fields(fields);
    let (over, words) = (fields.u8().unwrap(), fields.item().unwrap().to_vec());
    let count = fields.u32().unwrap();
    let mut next = || {
        let (index, done) = (fields.u64().unwrap(), fields.u8().unwrap());
        (index, done != 0, fields.item().unwrap().to_vec())
    };
    let outcomes = (0..count).map(|_| next()).collect();
    Told { over, words, outcomes }
}

impl Scene {
    fn new(max_bytes: u64) -> Self {
        Self {
            store: Store::new(max_bytes).with_pools(1 << 20, 2),
            crews: BTreeMap::new(),
            hired: 0,
            sequence: 0,
            now: Instant::now(),
        }
    }

    /// Has somebody ask; the status and fields, if there is an answer at once.
    fn ask(&mut self, number: u32, op: Op, id: Id, write: impl FnOnce(&mut Writer<'_>)) -> Option<(Status, Vec<u8>)> {
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        let mut writer = Writer(&mut request);
        writer.request(op, id);
        write(&mut writer);
        self.sequence += 1;
        request[..4].copy_from_slice(&self.sequence.to_le_bytes());
        let served = self.store.serve(client(number), &request, &mut answer, Instant::now);
        if served == Served::Hire {
            self.hired += 1;
            self.crews.insert(self.hired, Crew::default());
            self.store.hired(client(number), &request, Ok(self.hired), &mut answer);
        }
        if let Served::Resize(resizing) = served {
            let Resizing { crew, processes } = resizing;
            assert!(self.crews.contains_key(&crew));
            let done = if processes > MOST {
                Err(Status::ProcessLimit)
            } else {
                Ok(())
            };
            self.store.resized(&request, resizing, done, &mut answer);
        }
        self.store.audit();
        (served != Served::Silent).then(|| parts(&answer))
    }

    #[track_caller]
    fn done(&mut self, number: u32, op: Op, id: Id, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let (status, fields) = self.ask(number, op, id, write).expect("an answer");
        assert_eq!(status, Status::Done);
        fields
    }

    fn pool(&mut self, number: u32, name: &[u8]) -> Id {
        let fields = self.done(number, Op::NamedPool, Id::NONE, |writer| {
            writer.item(name);
            write_wanted(writer, 2, 0, None);
        });
        Fields(&fields).id().unwrap()
    }

    /// Submits so many items as a job, which waits for nothing.
    #[track_caller]
    fn submit(&mut self, number: u32, pool: Id, items: u32) -> Id {
        let fields = self.done(number, Op::PoolSubmit, pool, |writer| {
            write_call(writer, b"task", 0);
            write_items(writer, items, 1, true);
        });
        Fields(&fields).id().unwrap()
    }

    fn outcomes(&mut self, number: u32, job: Id, seen: u64, all: bool, time: u64) -> Option<(Status, Vec<u8>)> {
        self.ask(number, Op::JobOutcomes, job, |writer| {
            writer.u64(seen);
            writer.u8(all.into());
            writer.u64(time);
        })
    }

    /// What is there of a job.
    #[track_caller]
    fn look(&mut self, number: u32, job: Id, seen: u64) -> Told {
        let (status, fields) = self.outcomes(number, job, seen, false, 0).expect("an answer");
        assert_eq!(status, Status::Done);
        told(&fields)
    }

    /// Has the crews take what they are to do.
    fn give_out(&mut self) {
        for (number, crew) in &mut self.crews {
            for (head, body) in self.store.orders_for(*number, self.now) {
                let job = crew.jobs.entry(head.job);
                match head.kind {
                    order::JOB => {
                        let options: JobOptions = decode(&body).unwrap();
                        let work = job.or_default();
                        (work.task, work.timeout, work.retry) = (options.task, options.timeout, options.retry);
                    }
                    order::ITEMS => {
                        let work = job.or_default();
                        work.waiting.extend(work.items..work.items + head.number);
                        work.items += head.number;
                    }
                    order::SEAL => job.or_default().sealed = true,
                    order::CANCEL => {
                        crew.jobs.remove(&head.job);
                    }
                    order::CLOSE => crew.closed = true,
                    order::TERMINATE => crew.terminated = true,
                    kind => panic!("order {kind}"),
                }
            }
        }
        self.store.audit();
    }

    fn hear(&mut self, crew: u32, word: Word) {
        self.store.hear(crew, word);
        self.store.audit();
    }

    /// Has a crew do one item of a job; the result has so many bytes.
    fn work(&mut self, crew: u32, job: u32, bytes: usize) {
        let Some(work) = self.crews.get_mut(&crew).and_then(|crew| crew.jobs.get_mut(&job)) else {
            return;
        };
        let next = work.waiting.pop_front();
        let over = work.sealed && work.waiting.is_empty();
        if let Some(index) = next {
            let news = if bytes == 13 {
                failure(index)
            } else {
                News::Done {
                    index,
                    result: vec![0; bytes],
                }
            };
            self.hear(crew, Word::Of(job, news));
        }
        // It may have been ended because of that.
        if over && self.crews.get_mut(&crew).unwrap().jobs.remove(&job).is_some() {
            self.hear(crew, Word::Of(job, News::Complete));
        }
    }

    /// Has a crew do all that it has.
    fn work_off(&mut self, crew: u32) {
        loop {
            self.give_out();
            let jobs = &self.crews[&crew].jobs;
            let busy = jobs.iter().find(|(_, work)| work.sealed || !work.waiting.is_empty());
            let Some((job, _)) = busy else { return };
            self.work(crew, *job, 1);
        }
    }

    /// What a crew does that has ended.
    fn end(&mut self, crew: u32) {
        for job in std::mem::take(&mut self.crews.get_mut(&crew).unwrap().jobs).into_keys() {
            self.hear(crew, Word::Of(job, News::Ended(End::Terminated)));
        }
        self.hear(crew, Word::Gone(0, String::new()));
        assert_eq!(self.store.take_fired(), [crew]);
        self.crews.remove(&crew);
    }

    /// What was answered since: to whom, and what.
    fn late(&mut self) -> Vec<(u32, Status, Vec<u8>)> {
        let late = self.store.take_late();
        let said = late.iter().map(|late| {
            let mut answer = Vec::new();
            late.write(&mut answer);
            let (status, fields) = parts(&answer);
            (late.connection, status, fields)
        });
        said.collect()
    }

    fn leave(&mut self, number: u32) {
        self.store.leave(client(number), false);
        self.store.forget(number);
        self.store.audit();
    }

    fn used(&mut self) -> u64 {
        let fields = self.done(0, Op::Usage, Id::NONE, |_| ());
        Fields(&fields[8..]).u64().unwrap()
    }
}

fn failure(index: u64) -> News {
    let failure = Failure {
        what: What::Lost(Loss::Unknown),
        runner: Runner {
            worker: 1,
            pid: 2,
            attempt: 1,
            memory: 0,
        },
    };
    News::Failed {
        index,
        failure: Box::new(failure),
    }
}
