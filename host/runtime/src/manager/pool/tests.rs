//! Pools, without processes: who is served when, what is kept, and what becomes of it when somebody goes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use wasmp_abi::ErrorKind;
use wasmp_manager::protocol::{BROKEN, CANCELLED, COMPLETE, FOREVER, Fields, Id, OPEN, OVERFULL, Op, Status, Writer};

use crate::error::TaskError;
use crate::fuzz::fuzz_with;
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
    task: String,
    waiting: VecDeque<u64>,
    items: u64,
    sealed: bool,
}

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

fn write_wanted(writer: &mut Writer<'_>, processes: u32, max_tasks: u32, initializer: Option<(&[u8], &[u8])>) {
    writer.u32(processes);
    writer.u32(max_tasks);
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
            writer.item(b"task");
            writer.u32(0);
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
                        job.or_default().task = options.task;
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

#[test]
fn outcomes_are_told_once_asked_for_and_kept_until_they_are_read() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let before = scene.used();
    let job = scene.submit(1, pool, 3);
    assert_eq!(
        scene.outcomes(1, job, 0, false, 0),
        Some((Status::TimedOut, Vec::new()))
    );
    scene.give_out();
    assert_eq!(scene.crews[&1].jobs[&0].task, "task");
    assert_eq!(scene.outcomes(1, job, 0, false, FOREVER), None);
    scene.work(1, 0, 5);
    let late = scene.late();
    assert_eq!((late.len(), late[0].0, late[0].1), (1, 1, Status::Done));
    let first = told(&late[0].2);
    assert_eq!((first.over, &first.outcomes[..]), (OPEN, &[(0, true, vec![0; 5])][..]));
    // It has not said that it has read it.
    assert_eq!(scene.look(1, job, 0), first);
    assert_eq!(scene.outcomes(1, job, 1, true, FOREVER), None);
    scene.work(1, 0, 13);
    assert!(scene.late().is_empty(), "it wants all of it");
    // Another thread of theirs, that does not know that one was read.
    let (status, _) = scene.outcomes(2, job, 0, true, FOREVER).expect("an answer");
    assert_eq!(status, Status::Done);
    scene.work(1, 0, 7);
    let late = scene.late();
    let rest = told(&late[0].2);
    assert_eq!((rest.over, rest.outcomes.len()), (COMPLETE, 2));
    let (index, done, error) = &rest.outcomes[0];
    let error: TaskError = decode(error).unwrap();
    assert_eq!(
        (*index, *done, error.kind, error.index),
        (1, false, ErrorKind::WorkerLost, 1)
    );
    assert_eq!(
        scene.outcomes(1, job, 4, false, 0),
        Some((Status::Malformed, Vec::new()))
    );
    let nothing = scene.look(1, job, 3);
    assert_eq!((nothing.over, nothing.outcomes.len()), (COMPLETE, 0));
    assert_eq!(scene.ask(1, Op::Release, job, |_| ()), None);
    scene.give_out();
    assert_eq!(scene.used(), before);
}

#[test]
fn a_crew_takes_from_everybody_in_turn_and_no_more_than_it_can_do() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    for _ in 0..20 {
        scene.submit(1, pool, 1000);
    }
    scene.give_out();
    let at_work = |scene: &Scene| -> usize { scene.crews[&1].jobs.values().map(|work| work.waiting.len()).sum() };
    assert_eq!(at_work(&scene), 8, "four for each process");
    let other = scene.submit(2, pool, 1);
    scene.give_out();
    assert_eq!(at_work(&scene), 8);
    // Who came last stands behind those alone that the crew has, and what was taken with them.
    for _ in 0..4 {
        scene.work(1, 0, 1);
        scene.give_out();
    }
    assert_eq!(scene.crews[&1].jobs[&20].items, 1);
    scene.work(1, 20, 1);
    assert_eq!(scene.look(2, other, 0).over, COMPLETE);
    scene.work_off(1);
    assert_eq!(
        scene.store.pools.bytes(&scene.store.ledger),
        65 * 20_001,
        "nothing but outcomes is left"
    );
}

#[test]
fn what_is_taken_in_parts_is_what_was_submitted() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    let mut items = Vec::new();
    for number in 0..200 {
        Writer(&mut items).item(&vec![number; usize::from(number % 7)]);
    }
    scene.done(1, Op::PoolSubmit, pool, |writer| {
        writer.item(b"task");
        writer.u32(0);
        writer.u32(200);
        writer.0.extend_from_slice(&items);
        writer.u8(1);
    });
    let (mut taken, mut parts) = (Vec::new(), 0);
    while taken.len() < items.len() {
        for (head, body) in scene.store.orders_for(1, scene.now) {
            if head.kind == order::ITEMS {
                taken.extend(body);
                parts += 1;
                for index in 0..head.number {
                    let result = Vec::new();
                    scene.hear(1, Word::Of(0, News::Done { index, result }));
                }
            }
        }
    }
    assert_eq!((taken, parts), (items, 100));
}

#[test]
fn of_items_that_take_no_time_a_crew_has_many() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    scene.submit(1, pool, 2500);
    let at_work = |scene: &Scene| scene.crews[&1].jobs[&0].waiting.len();
    for _ in 0..1000 {
        scene.give_out();
        scene.work(1, 0, 1);
    }
    scene.now += Duration::from_millis(100);
    scene.give_out();
    assert!(
        (375..=500).contains(&at_work(&scene)),
        "what it did in half of that: {}",
        at_work(&scene)
    );
    // They take long.
    scene.now += Duration::from_secs(1);
    while at_work(&scene) > 8 {
        scene.work(1, 0, 1);
    }
    for _ in 0..20 {
        scene.work(1, 0, 1);
        scene.now += Duration::from_secs(1);
        scene.give_out();
    }
    assert!(at_work(&scene) <= 40, "{}", at_work(&scene));
    for _ in 0..100 {
        scene.work(1, 0, 1);
        scene.now += Duration::from_secs(1);
        scene.give_out();
    }
    assert_eq!(at_work(&scene), 8);
    scene.work_off(1);
    assert_eq!(scene.crews[&1].jobs.len(), 0);
}

#[test]
fn a_client_has_so_many_jobs_that_more_may_come_for_and_others_have_theirs() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    let open = |scene: &mut Scene, number| {
        let answer = scene.ask(number, Op::PoolSubmit, pool, |writer| {
            writer.item(b"task");
            writer.u32(0);
            write_items(writer, 1, 1, false);
        });
        let (status, fields) = answer.expect("an answer");
        (status, Fields(&fields).id())
    };
    let jobs: Vec<Id> = (0..512).map(|_| open(&mut scene, 1).1.expect("one more")).collect();
    assert_eq!(open(&mut scene, 1), (Status::Full, None));
    assert_eq!(open(&mut scene, 2).0, Status::Done);
    scene.submit(1, pool, 1);
    // What there will be no more of is not one of them, however that came.
    scene.done(1, Op::JobCancel, jobs[0], |_| ());
    assert_eq!(scene.ask(1, Op::Release, jobs[1], |_| ()), None);
    scene.done(1, Op::JobSubmit, jobs[2], |writer| write_items(writer, 0, 0, true));
    scene.work_off(1);
    for _ in 0..3 {
        assert_eq!(open(&mut scene, 1).0, Status::Done);
    }
    assert_eq!(open(&mut scene, 1).0, Status::Full);
    scene.leave(1);
    assert_eq!(open(&mut scene, 1).0, Status::Done);
}

#[test]
fn who_submits_more_than_its_share_waits_and_others_do_not() {
    let mut scene = Scene::new(400_000);
    let pool = scene.pool(1, b"pool");
    let submit = |scene: &mut Scene, number, bytes| {
        scene.ask(number, Op::PoolSubmit, pool, |writer| {
            writer.item(b"task");
            writer.u32(1);
            write_items(writer, 1, bytes, true);
        })
    };
    assert!(submit(&mut scene, 1, 90_000).is_some());
    assert_eq!(submit(&mut scene, 1, 20_000), None, "that is more than a quarter");
    assert!(submit(&mut scene, 2, 90_000).is_some());
    assert_eq!(submit(&mut scene, 3, 400_000).unwrap().0, Status::Full);
    assert_eq!(submit(&mut scene, 3, 2_000_000).unwrap().0, Status::TooLarge);
    scene.give_out();
    let late = scene.late();
    assert_eq!((late.len(), late[0].0, late[0].1), (1, 1, Status::Done));
    // Who is gone before that has submitted nothing.
    assert!(submit(&mut scene, 1, 90_000).is_some());
    assert_eq!(submit(&mut scene, 1, 20_000), None);
    let objects = scene.done(1, Op::Usage, Id::NONE, |_| ());
    assert_eq!(
        Fields(&objects).u64(),
        Some(1 + 4),
        "the pool, and the jobs that are known"
    );
    assert!(scene.late().is_empty());
}

#[test]
fn more_outcomes_than_may_be_kept_end_their_job_alone() {
    let mut scene = Scene::new(100_000);
    let pool = scene.pool(1, b"pool");
    let (greedy, modest) = (scene.submit(1, pool, 3), scene.submit(2, pool, 1));
    scene.give_out();
    scene.work(1, 0, 30_000);
    scene.work(1, 0, 30_000);
    let told = scene.look(1, greedy, 0);
    assert_eq!((told.over, told.outcomes.len()), (OVERFULL, 0));
    scene.give_out();
    assert!(!scene.crews[&1].jobs.contains_key(&0), "the crew does not go on");
    scene.work(1, 1, 30_000);
    assert_eq!(scene.look(2, modest, 0).over, COMPLETE);
}

#[test]
fn what_a_client_has_called_ends_with_it_and_what_it_let_go_of_does_not() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let before = scene.used();
    let let_go = scene.submit(2, pool, 2);
    // Who keeps what it has made keeps no calls by that.
    let kept = scene.submit(2, pool, 0);
    scene.done(2, Op::Keep, kept, |_| ());
    assert_eq!(scene.ask(2, Op::KeepAll, Id::NONE, |_| ()), None);
    assert_eq!(scene.ask(2, Op::Release, let_go, |_| ()), None);
    scene.give_out();
    let (going, waiting) = (scene.submit(2, pool, 2), scene.submit(3, pool, 2));
    scene.give_out();
    scene.submit(2, pool, 2);
    scene.work(1, 0, 5);
    assert_eq!(scene.crews[&1].jobs.len(), 3);
    scene.leave(2);
    scene.give_out();
    assert_eq!(
        scene.crews[&1].jobs.keys().collect::<Vec<_>>(),
        [&3],
        "the other client's"
    );
    assert_eq!(
        scene.outcomes(1, going, 0, false, 0),
        Some((Status::NoSuchObject, Vec::new()))
    );
    scene.work_off(1);
    assert_eq!(scene.look(3, waiting, 0).outcomes.len(), 2);
    scene.leave(3);
    assert_eq!(scene.used(), before);
}

#[test]
fn a_job_that_more_was_to_come_for_ends_with_what_was_submitted_when_it_is_let_go_of() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let before = scene.used();
    let open = |scene: &mut Scene| {
        let fields = scene.done(1, Op::PoolSubmit, pool, |writer| {
            writer.item(b"task");
            writer.u32(0);
            write_items(writer, 2, 1, false);
        });
        Fields(&fields).id().unwrap()
    };
    let (begun, waiting) = (open(&mut scene), {
        scene.give_out();
        open(&mut scene)
    });
    // Over whichever of their connections.
    for (number, job) in [(1, begun), (2, waiting)] {
        assert_eq!(scene.ask(number, Op::Release, job, |_| ()), None);
    }
    scene.give_out();
    for job in [0, 1] {
        let Work { items, sealed, .. } = &scene.crews[&1].jobs[&job];
        assert_eq!((*items, *sealed), (2, true));
    }
    scene.work_off(1);
    assert_eq!(scene.used(), before);
}

#[test]
fn a_closed_pool_does_what_was_submitted_and_a_terminated_one_ends_it() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    assert_eq!(
        scene
            .ask(1, Op::PoolJoin, pool, |writer| writer.u64(FOREVER))
            .unwrap()
            .0,
        Status::StillRunning
    );
    let job = scene.submit(1, pool, 2);
    scene.done(1, Op::PoolClose, pool, |_| ());
    let refused = scene.ask(1, Op::PoolSubmit, pool, |writer| {
        writer.item(b"task");
        writer.u32(0);
        write_items(writer, 1, 1, true);
    });
    assert_eq!(refused.unwrap().0, Status::NotRunning);
    scene.work_off(1);
    assert!(scene.crews[&1].closed);
    assert_eq!(scene.look(1, job, 0).over, COMPLETE);
    assert_eq!(scene.ask(1, Op::PoolJoin, pool, |writer| writer.u64(FOREVER)), None);
    scene.end(1);
    assert_eq!(scene.late(), [(1, Status::Done, Vec::new())]);

    let pool = scene.pool(1, b"other");
    let (begun, waits) = (scene.submit(1, pool, 2), scene.submit(2, pool, 0));
    scene.give_out();
    let unknown = scene.submit(2, pool, 3);
    assert_eq!(scene.outcomes(3, unknown, 0, true, 1), None);
    scene.done(1, Op::PoolTerminate, pool, |_| ());
    assert_eq!(scene.late().len(), 1);
    let ended = scene.look(2, unknown, 0);
    let error: TaskError = decode(&ended.words).unwrap();
    assert_eq!((ended.over, error.kind), (CANCELLED, ErrorKind::Cancelled));
    assert_eq!(scene.look(2, waits, 0).over, COMPLETE, "it had no items");
    scene.give_out();
    assert!(scene.crews[&2].terminated);
    scene.end(2);
    assert_eq!(scene.look(1, begun, 0).over, CANCELLED);
}

#[test]
fn what_a_crew_is_prepared_with_is_counted_until_it_has_it() {
    let mut scene = Scene::new(1 << 20);
    let before = scene.used();
    let args = vec![7; 100_000];
    let id = scene.done(1, Op::NewPool, Id::NONE, |writer| {
        write_wanted(writer, 0, 3, Some((b"prepare", &args)));
    });
    let mut request = Vec::new();
    let mut writer = Writer(&mut request);
    writer.request(Op::NewPool, Id::NONE);
    write_wanted(&mut writer, 0, 3, Some((b"prepare", &args)));
    let wish = scene.store.wish(&request).unwrap();
    assert_eq!((wish.processes, wish.max_tasks), (2, 3), "one for each CPU");
    let prepare: Option<Prepare> = decode(&wish.start).unwrap();
    let prepare = prepare.unwrap();
    assert_eq!((prepare.task.as_str(), prepare.args.len()), ("prepare", 100_000));
    assert!(scene.used() > before + 100_000);
    scene.give_out();
    assert!(scene.used() < before + 1000);
    assert_eq!(scene.ask(1, Op::Release, Fields(&id).id().unwrap(), |_| ()), None);
    scene.give_out();
    scene.end(1);
    assert_eq!(scene.used(), before);
}

#[test]
fn a_request_for_a_pool_that_makes_no_sense_makes_none() {
    let mut scene = Scene::new(1 << 30);
    let before = scene.used();
    let (long, longer) = (vec![b'x'; 1025], vec![0; 1 << 20]);
    let asked: [(&[u8], &[u8], Status); 4] = [
        (b"\xff\xfe", b"", Status::Malformed),
        (&long, b"", Status::TooLarge),
        (b"task", &longer, Status::TooLarge),
        (b"task", &longer[..(1 << 20) - 4 - 64], Status::Done),
    ];
    for (task, args, told) in asked {
        let answer = scene.ask(1, Op::NewPool, Id::NONE, |writer| {
            write_wanted(writer, 1, 0, Some((task, args)));
        });
        assert_eq!(answer.unwrap().0, told);
    }
    let cut = [
        scene.ask(1, Op::NewPool, Id::NONE, |writer| writer.u32(1)),
        scene.ask(1, Op::NewPool, Id::NONE, |writer| {
            writer.u32(1);
            writer.u32(1);
            writer.item(b"task");
        }),
    ];
    assert!(cut.iter().all(|answer| answer.as_ref().unwrap().0 == Status::Malformed));
    scene.leave(1);
    scene.give_out();
    scene.end(1);
    assert_eq!(scene.used(), before);
    let mut full = Scene::new(10_000);
    let answer = full.ask(1, Op::NewPool, Id::NONE, |writer| {
        write_wanted(writer, 1, 0, Some((b"task", &longer[..20_000])));
    });
    assert_eq!(answer.unwrap().0, Status::Full);
}

#[test]
fn a_pool_that_gave_up_says_why_to_everybody_and_for_ever() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let (begun, waiting) = (scene.submit(1, pool, 20), {
        scene.give_out();
        scene.submit(2, pool, 20)
    });
    assert_eq!(scene.outcomes(2, waiting, 0, true, FOREVER), None);
    scene.hear(1, Word::Gone(0, "it is so".into()));
    let (_, status, fields) = scene.late().remove(0);
    assert_eq!((status, told(&fields).over), (Status::Done, BROKEN));
    let later = scene.submit(3, pool, 5);
    for (number, job) in [(1, begun), (2, waiting), (3, later)] {
        let told = scene.look(number, job, 0);
        assert_eq!((told.over, told.words.as_slice()), (BROKEN, &b"it is so"[..]));
        assert_eq!(scene.ask(number, Op::Release, job, |_| ()), None);
    }
    assert_eq!(scene.store.pools.bytes(&scene.store.ledger), 0);
}

#[test]
fn chunks_stay_together_and_each_process_has_two() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    let submit = |scene: &mut Scene, chunk: u32| {
        scene.done(1, Op::PoolSubmit, pool, |writer| {
            writer.item(b"task");
            writer.u32(chunk);
            write_items(writer, 10_000, 1, true);
        });
    };
    for (job, chunk, whole) in [(0, 30, 30), (1, u32::MAX, 2048)] {
        submit(&mut scene, chunk);
        let mut blocks = Vec::new();
        for (head, _) in scene.store.orders_for(1, scene.now) {
            if head.kind == order::ITEMS {
                blocks.push((head.job, head.number));
            }
        }
        assert_eq!(blocks, [(job, whole); 4]);
        for (_, items) in blocks {
            for index in 0..items {
                let result = Vec::new();
                scene.hear(1, Word::Of(job, News::Done { index, result }));
            }
        }
        scene.hear(1, Word::Of(job, News::Complete));
    }
}

#[test]
fn a_wait_ends_in_time() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let job = scene.submit(1, pool, 1);
    assert_eq!(scene.outcomes(1, job, 0, true, 1_000_000), None);
    let until = scene.store.next_deadline().unwrap();
    scene.store.expire(until.checked_sub(Duration::from_micros(1)).unwrap());
    assert!(scene.late().is_empty());
    scene.store.expire(until);
    scene.store.audit();
    assert_eq!(scene.late(), [(1, Status::TimedOut, Vec::new())]);
    // Who asks for something else has given up.
    assert_eq!(scene.outcomes(1, job, 0, true, 1_000_000), None);
    scene.used();
    assert_eq!(scene.outcomes(1, job, 0, true, 1_000_000), None);
    scene.leave(1);
    assert_eq!(scene.store.next_deadline(), None);
}

#[test]
fn whatever_is_asked_and_done_the_books_are_right_and_nothing_is_left() {
    fuzz_with(|random| {
        let mut scene = Scene::new(20_000);
        let mut ids = vec![Id::NONE];
        let mut crews = Vec::new();
        for _ in 0..3000 {
            let (number, id) = (1 + random.below(3) as u32, ids[random.below(ids.len())]);
            match random.below(12) {
                0 if crews.len() < 10 => {
                    let answer = scene.ask(number, Op::NewPool, Id::NONE, |writer| {
                        let args = vec![0; random.below(5000)];
                        let initializer = (random.below(2) > 0).then_some((&b"task"[..], &args[..]));
                        write_wanted(writer, 1, 0, initializer);
                    });
                    if let Some((Status::Done, fields)) = answer {
                        ids.extend(Fields(&fields).id());
                        crews.push(scene.hired);
                    }
                }
                1..=3 => {
                    let (items, len, last) = (random.below(8) as u32, random.below(1500), random.below(3) > 0);
                    let submitted = scene.ask(number, Op::PoolSubmit, id, |writer| {
                        writer.item(b"task");
                        writer.u32(0);
                        write_items(writer, items, len, last);
                    });
                    if let Some((Status::Done, fields)) = submitted {
                        ids.extend(Fields(&fields).id());
                    }
                }
                4 => {
                    let (items, last) = (random.below(4) as u32, random.below(2) > 0);
                    scene.ask(number, Op::JobSubmit, id, |writer| write_items(writer, items, 10, last));
                }
                5 => {
                    let (seen, all) = (random.below(4) as u64, random.below(2) > 0);
                    let time = [0, 1, FOREVER][random.below(3)];
                    scene.outcomes(number, id, seen, all, time);
                }
                6 => {
                    let op = [Op::JobCancel, Op::PoolClose, Op::Release, Op::Keep, Op::KeepAll][random.below(5)];
                    scene.ask(number, op, id, |_| ());
                }
                7 if random.below(20) == 0 => {
                    scene.ask(number, Op::PoolTerminate, id, |_| ());
                }
                7 => {
                    scene.ask(number, Op::PoolJoin, id, |writer| writer.u64(FOREVER));
                }
                8 if random.below(10) == 0 => scene.leave(number),
                8 => scene.store.expire(Instant::now()),
                9 => {
                    scene.now += Duration::from_millis(random.below(30) as u64);
                    scene.give_out();
                }
                _ if !crews.is_empty() => {
                    let at = random.below(crews.len());
                    let (crew, bytes) = (crews[at], random.below(3000));
                    let Crew {
                        jobs,
                        closed,
                        terminated,
                    } = &scene.crews[&crew];
                    if *terminated || (*closed && jobs.is_empty()) {
                        scene.end(crew);
                        crews.remove(at);
                    } else if let Some(job) = jobs.keys().nth(random.below(jobs.len().max(1))) {
                        scene.work(crew, *job, bytes);
                    }
                }
                _ => {}
            }
            for (_, status, fields) in scene.late() {
                if status == Status::Done && fields.len() == Id::LEN {
                    ids.extend(Fields(&fields).id());
                }
            }
            if ids.len() > 30 {
                ids.drain(..10);
            }
        }
        for number in 0..4 {
            scene.leave(number);
        }
        scene.give_out();
        for crew in crews {
            if scene.crews[&crew].terminated {
                scene.end(crew);
            }
        }
        scene.store.audit();
        assert_eq!(scene.store.pools.bytes(&scene.store.ledger), 0);
    });
}
