//! A slot whose worker is played by the test.

use super::*;
use crate::insight::Insight;
use crate::output::{self, Framing, OutputSender};
use crate::retry::Retry;
use crate::supervisor::job::{ChunkRule, Job, Jobs, Sink, Terms};
use crate::wire::{ReplyHead, ReplyKind, Stamp};

const LIMITS: Limits = Limits {
    result: 1 << 20,
    tasks: u64::MAX,
    soft_timeout: None,
};

struct Stage {
    slot: Slot,
    jobs: Jobs,
    key: JobKey,
    output: OutputSender,
    /// The worker's ends.
    tasks: Consumer,
    replies: Producer,
}

impl Stage {
    /// An idle worker, and a job without a receiver.
    fn new() -> Self {
        let now = Instant::now();
        let (link, [memory, ..]) = Link::new().unwrap();
        let mapping = Arc::new(Mapping::open(memory.as_fd(), LINK_BYTES).unwrap());
        let mut slot = Slot::new(1, LIMITS, now);
        slot.link = Some(link);
        slot.writer = Some(Arc::new(Writer {
            worker: 1,
            name: "PoolWorker-1".to_owned(),
            pid: 1,
        }));
        let mut jobs = Jobs::default();
        let terms = Terms {
            task: 0,
            chunk: ChunkRule::Adaptive,
            timeout: None,
            retry: Retry::default(),
        };
        let mut job = Job::new(Arc::new(terms), Sink::Nobody, None);
        job.outstanding = 1000;
        let key = jobs.insert(job);
        Self {
            slot,
            jobs,
            key,
            output: output::start(Box::new(|_| ()), None, Framing::Raw, None, || ()).unwrap(),
            tasks: Consumer::new(&mapping, 0, RING_CAPACITY).unwrap(),
            replies: Producer::new(&mapping, REPLIES_AT, RING_CAPACITY).unwrap(),
        }
    }

    /// Gives the worker one call with `count` items of `len` bytes each.
    fn give(&mut self, count: usize, len: usize) -> bool {
        let mut block = Block::new(0);
        for _ in 0..count {
            block
                .push(|bytes| {
                    bytes.resize(bytes.len() + len, 0);
                    Ok::<_, crate::supervisor::job::TooLarge>(())
                })
                .unwrap();
        }
        let mut pending = Pending {
            job: self.key,
            end: u32::try_from(block.len()).unwrap(),
            block: Arc::new(block),
            first: 0,
            attempts: 0,
        };
        let given = self.slot.dispatch(&mut pending, 0, count, Instant::now()).unwrap();
        self.slot.publish();
        given
    }

    fn reply(&mut self, kind: ReplyKind, more: bool, seq: u64, body: &[u8]) {
        let head = ReplyHead {
            kind,
            more,
            stamped: false,
            seq,
        };
        assert!(self.replies.try_write(&[&head.bytes(), body]).unwrap().is_some());
        self.replies.publish();
    }

    fn drain(&mut self) -> Result<usize, String> {
        let Self { slot, jobs, output, .. } = self;
        slot.drain(jobs, &mut Vec::new(), output, Instant::now())
            .map(|drained| drained.items)
            .map_err(|violation| violation.0)
    }
}

#[test]
fn replies_are_taken_in_the_order_of_dispatch_only() {
    let mut stage = Stage::new();
    assert!(stage.give(2, 8));
    assert_eq!(stage.slot.under_way, 2);
    stage.reply(ReplyKind::Done, false, 0, b"x");
    assert_eq!(stage.drain(), Ok(1));
    stage.reply(ReplyKind::Done, false, 0, b"x");
    assert!(stage.drain().is_err(), "item 0 has had its outcome");
    assert_eq!(stage.slot.under_way, 1);
}

#[test]
fn a_worker_is_ready_once() {
    let mut stage = Stage::new();
    stage.reply(ReplyKind::Ready, false, 0, b"");
    assert_eq!(stage.drain(), Ok(0));
    assert!(stage.slot.ready);
    stage.reply(ReplyKind::Ready, false, 0, b"");
    assert!(stage.drain().is_err());
}

#[test]
fn nothing_is_heard_after_the_last_word() {
    let mut stage = Stage::new();
    stage.reply(ReplyKind::Ready, false, 0, b"");
    stage.reply(ReplyKind::Ending, false, 3, b"");
    stage.reply(ReplyKind::Ready, false, 0, b"");
    assert_eq!(stage.drain(), Ok(0));
    assert_eq!(stage.slot.exit, Some(3));
    assert_eq!(stage.drain(), Ok(0), "it does not say twice that it is ready");
}

#[test]
fn only_the_outcome_of_the_running_item_may_be_long() {
    for (kind, seq) in [(ReplyKind::Stdout, 0), (ReplyKind::Done, 1), (ReplyKind::Ready, 0)] {
        let mut stage = Stage::new();
        assert!(stage.give(1, 8));
        stage.reply(kind, true, seq, b"beginning");
        assert!(stage.drain().is_err(), "{kind:?} {seq}");
    }
    let mut stage = Stage::new();
    assert!(stage.give(1, 8));
    stage.reply(ReplyKind::Done, true, 0, b"beginning");
    assert_eq!(stage.drain(), Ok(0));
    stage.reply(ReplyKind::More, false, 0, b"end");
    assert_eq!(stage.drain(), Ok(1));
}

#[test]
fn a_full_ring_leaves_no_room_until_the_next_look() {
    let mut stage = Stage::new();
    for _ in 0..8 {
        stage.slot.pace.delivered(64, false, Instant::now());
    }
    while stage.give(1, 30_000) {}
    assert_eq!(stage.slot.flights.len(), RING_CAPACITY / 30_100);
    assert_eq!(stage.slot.room(), 0);
    assert_eq!(stage.drain(), Ok(0));
    assert_ne!(stage.slot.room(), 0);
}

#[test]
fn a_worker_without_news_sleeps_on() {
    let mut stage = Stage::new();
    assert!(stage.tasks.prepare_park());
    stage.slot.publish();
    let link = stage.slot.link.as_mut().unwrap();
    assert!(link.tasks.consumer_parked(), "it was not rung");
}

#[test]
fn only_what_was_not_begun_is_taken_back() {
    let mut stage = Stage::new();
    assert!(stage.give(1, 8) && stage.give(2, 8));
    stage.tasks.peek().unwrap();
    assert!(stage.tasks.take());
    assert!(stage.slot.head_has_begun());
    assert_eq!(stage.slot.revoke_last().map(|pending| pending.len()), Some(2));
    assert!(stage.slot.revoke_last().is_none());
    assert_eq!(stage.slot.under_way, 1);
}

/// The worker's reply to item `seq`, with the time that it says it took.
fn stamped(stage: &mut Stage, kind: ReplyKind, seq: u64, stamp: &[u8]) {
    let head = ReplyHead {
        kind,
        more: false,
        stamped: true,
        seq,
    };
    assert!(stage.replies.try_write(&[&head.bytes(), stamp]).unwrap().is_some());
    stage.replies.publish();
}

impl Stage {
    /// The same, in a pool that wants to know times.
    fn timed() -> Self {
        let mut stage = Self::new();
        let insight = Insight {
            timed: true,
            ..Insight::default()
        };
        stage.slot.log = Log::new(1, &insight);
        stage.slot.log.ordered();
        stage
    }
}

#[test]
fn the_time_of_an_item_is_taken_from_its_outcome_only_when_asked_for() {
    let stamp = Stamp {
        began: u64::MAX,
        ended: 7,
        memory: 0,
    };
    let mut stage = Stage::timed();
    assert!(stage.give(3, 8));
    stamped(
        &mut stage,
        ReplyKind::Done,
        0,
        &[&stamp.bytes()[..], b"result"].concat(),
    );
    stamped(&mut stage, ReplyKind::Failed, 1, &stamp.bytes());
    stage.reply(ReplyKind::Done, false, 2, b"without");
    assert_eq!(stage.drain(), Ok(3));
    let report = stage.slot.report(Instant::now());
    assert_eq!((report.done, report.failed), (2, 1));
    assert_eq!(stage.slot.log.slowest().len(), 2);
    let job = stage.jobs.get(stage.key).unwrap();
    assert_eq!(job.batch().bytes, b"resultwithout");

    let mut stage = Stage::new();
    assert!(stage.give(1, 8));
    stamped(&mut stage, ReplyKind::Done, 0, &stamp.bytes());
    assert!(stage.drain().is_err(), "nobody asked");
}

#[test]
fn a_stamp_that_is_cut_short_or_on_something_else_is_a_violation() {
    for (kind, stamp) in [(ReplyKind::Done, 23), (ReplyKind::Stdout, 24), (ReplyKind::Ready, 24)] {
        let mut stage = Stage::timed();
        assert!(stage.give(1, 8));
        stamped(&mut stage, kind, 0, &vec![0; stamp]);
        assert!(stage.drain().is_err(), "{kind:?} {stamp}");
    }
}

#[test]
fn a_long_outcome_has_its_time_in_its_first_record() {
    let mut stage = Stage::timed();
    assert!(stage.give(1, 8));
    let head = ReplyHead {
        kind: ReplyKind::Done,
        more: true,
        stamped: true,
        seq: 0,
    };
    assert!(
        stage
            .replies
            .try_write(&[&head.bytes(), &[0; Stamp::LEN], b"begin"])
            .unwrap()
            .is_some()
    );
    stage.reply(ReplyKind::More, false, 0, b"end");
    assert_eq!(stage.drain(), Ok(1));
    assert_eq!(stage.jobs.get(stage.key).unwrap().batch().bytes, b"beginend");
    assert_eq!(stage.slot.log.slowest().len(), 1);
}

/// A process that is busy, and ends with this.
struct Busy(std::process::Child);

impl Busy {
    fn start() -> Self {
        let mut command = std::process::Command::new("sh");
        Self(command.args(["-c", "while :; do :; done"]).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// The CPU that it is on.
    fn cpu(&self) -> u32 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let behind_its_name = stat.rsplit_once(')').unwrap().1;
        behind_its_name.split_whitespace().nth(36).unwrap().parse().unwrap()
    }
}

impl Stage {
    /// The same, whose worker is this process.
    fn of(busy: &Busy) -> Self {
        let mut stage = Self::new();
        let pidfd = rustix::process::pidfd_open(busy.pid(), rustix::process::PidfdFlags::empty()).unwrap();
        stage.slot.process = Process::Running {
            pid: busy.0.id(),
            body: Body::Process(pidfd),
        };
        stage
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_worker_goes_on_on_another_cpu_and_may_use_the_same_ones_as_before() {
    let busy = Busy::start();
    let mut stage = Stage::of(&busy);
    let all = sched_getaffinity(Some(busy.pid())).unwrap();
    let now = Instant::now();
    // The system may put it back at any time.
    let moves = |at: u32| {
        let before = busy.cpu();
        stage.slot.change_cpu(before, now + at * cpu::INTERVAL);
        assert_eq!(sched_getaffinity(Some(busy.pid())).unwrap(), all);
        busy.cpu() != before
    };
    assert!(all.count() == 1 || (0..100).any(moves));
    stage.slot.change_cpu(u32::MAX, now + 101 * cpu::INTERVAL);
    assert_eq!(
        sched_getaffinity(Some(busy.pid())).unwrap(),
        all,
        "there is no such CPU"
    );

    let mut one = CpuSet::new();
    one.set(busy.cpu() as usize);
    sched_setaffinity(Some(busy.pid()), &one).unwrap();
    stage.slot.change_cpu(busy.cpu(), now + 102 * cpu::INTERVAL);
    assert_eq!(sched_getaffinity(Some(busy.pid())).unwrap(), one, "it has no other");
}

#[test]
fn a_worker_that_asks_for_another_cpu_again_and_again_gets_one_now_and_then() {
    let busy = Busy::start();
    let mut stage = Stage::of(&busy);
    let now = Instant::now();
    for at in 0..100 {
        stage.slot.change_cpu(0, now + at * cpu::INTERVAL / 100);
    }
    assert_eq!(stage.slot.moved, Some(now + cpu::INTERVAL / 2));
}
