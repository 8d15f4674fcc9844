//! Where CPython fails, as far as queues and pipes are concerned: messages on their way when a worker ends or is killed.

#![allow(clippy::print_stderr, reason = "a seed that is not told cannot be tried again")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde::{Serialize, Serializer};
use wasmp::{
    Error, ErrorKind, GetError, JoinableQueue, Pool, PutError, Queue, RawArray, RecvError, Result, pipe_one_way,
};
use wasmp_tests::{Process, isolated};

use crate::common::{builder, call, error, pool, start};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn g_12_a_pool_can_be_joined_before_its_messages_are_gotten() {
    isolated(|| {
        const SIZE: usize = 1 << 20;
        let pool = pool(1);
        let queue = Queue::<Vec<u8>>::new(0).unwrap();
        // Far beyond what a pipe of the system would hold.
        call::<()>(&pool, "pump", (&queue, 3, SIZE));
        pool.close();
        assert!(pool.join_timeout(PATIENCE).unwrap());
        drop(pool);
        for number in 0..3 {
            assert!(queue.try_get().unwrap() == vec![number; SIZE]);
        }
        assert_eq!(queue.try_get(), Err(GetError::Empty));
    });
}

#[test]
fn g_12_what_a_killed_worker_has_put_is_there() {
    isolated(|| {
        let pool = pool(1);
        let queue = Queue::<Vec<u8>>::new(0).unwrap();
        call::<()>(&pool, "pump", (&queue, 2, 1 << 20));
        Process::open(pool.worker_pids()[0]).expect("the worker runs").kill();
        assert_eq!(queue.get_many(9).unwrap().len(), 2);
    });
}

/// A value that serde cannot carry when it is negative.
#[derive(Debug, PartialEq)]
struct Touchy(i64);

impl Serialize for Touchy {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            ..0 => Err(serde::ser::Error::custom("it is negative")),
            value => serializer.serialize_i64(value),
        }
    }
}

#[test]
fn g_16_a_put_that_cannot_be_encoded_fails_and_nothing_vanishes() {
    isolated(|| {
        let pool = pool(1);
        let queue = Queue::<Touchy>::new(1).unwrap();
        match queue.put(Touchy(-1)) {
            Err(PutError::Encode(value, problem)) => {
                assert_eq!((value, problem.as_str()), (Touchy(-1), "it is negative"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(queue.len(), 0);
        queue.try_put(Touchy(1)).unwrap();
        assert_eq!(call::<Vec<i64>>(&pool, "queue_get", (&queue, 1, 0)), [1]);
        // The same in a worker.
        let errors: Vec<String> = call(&pool, "queue_put_natural", (&queue, [-1, 2]));
        assert_eq!(errors, ["the value cannot be encoded: I will not"]);
        assert_eq!(call::<Vec<i64>>(&pool, "queue_get", (&queue, 1, 0)), [2]);
    });
}

/// Splits a seed into as many numbers as are needed.
struct Random(u64);

impl Random {
    /// From the clock; printed, so that a failure can be looked into.
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        eprintln!("seed {seed}");
        Self(seed)
    }

    /// SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What was killed in the middle of its work, and what ended by itself.
#[derive(Debug, Default)]
struct Fates {
    ended: Vec<u64>,
    killed: Vec<u64>,
}

impl Fates {
    fn note(&mut self, number: u64, fate: Result<()>) {
        match fate {
            Ok(()) => self.ended.push(number),
            Err(Error::Task(error)) if error.kind == ErrorKind::WorkerLost => self.killed.push(number),
            Err(error) => panic!("{error}"),
        }
    }

    fn join(mut self, other: Self) -> Self {
        self.ended.extend(other.ended);
        self.killed.extend(other.killed);
        self
    }
}

/// A consumer, a producer, and the number of its message.
type Passed = (u64, u64, u64);

/// What is killed, and how messages are taken.
struct Plan {
    kill_producers: bool,
    kill_consumers: bool,
    acknowledged: bool,
    /// How many messages are put at once.
    batch: u64,
    /// How many messages are taken at once.
    most: u64,
}

/// What has come of it.
struct Battle {
    passed: Vec<Passed>,
    producers: Fates,
    consumers: Fates,
    /// How many messages each producer has surely put.
    progress: Vec<u64>,
}

/// As many as will not be reached.
const PRODUCERS: usize = 1 << 15;

/// Messages of a producer that nobody kills.
const COUNT: u64 = 300;

/// How often somebody is killed.
const KILLS: u32 = 120;

/// Has messages go through a queue that is soon full and soon empty, while those at its ends are killed.
fn battle(plan: &Plan) -> Battle {
    let (producing, consuming) = (pool(3), pool(3));
    let queue = match plan.acknowledged {
        true => JoinableQueue::<(u64, u64)>::acknowledged(32),
        false => JoinableQueue::new(32),
    }
    .unwrap();
    let passed_on = Queue::<Passed>::new(0).unwrap();
    let progress = RawArray::<u64>::new(PRODUCERS).unwrap();
    let (stop, next_producer, next_consumer) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));

    let produce = || {
        let mut fates = Fates::default();
        while !stop.load(Relaxed) {
            let producer = next_producer.fetch_add(1, Relaxed);
            let args = (&queue, producer, COUNT, plan.batch, &progress);
            fates.note(producer, producing.apply("produce", args));
        }
        fates
    };
    let consume = || {
        let mut fates = Fates::default();
        // One that ends by itself has found the queue shut down.
        while fates.ended.is_empty() {
            let consumer = next_consumer.fetch_add(1, Relaxed);
            let fate = match plan.acknowledged {
                true => consuming.apply("consume_acknowledged", (&queue, consumer, &passed_on)),
                false => consuming.apply("consume", (&queue, consumer, plan.most, &passed_on)),
            };
            fates.note(consumer, fate);
        }
        fates
    };
    let kill = || {
        let mut random = Random::new();
        let pools: Vec<&Pool> = [(plan.kill_producers, &producing), (plan.kill_consumers, &consuming)]
            .into_iter()
            .filter_map(|(kill, pool)| kill.then_some(pool))
            .collect();
        let mut killed = 0;
        while killed < KILLS {
            thread::sleep(Duration::from_micros(random.below(25_000)));
            let pids = pools[random.below(pools.len() as u64) as usize].worker_pids();
            let Some(pid) = pids.get(random.below(pids.len().max(1) as u64) as usize) else {
                continue;
            };
            let victim = Process::open(*pid).filter(|process| process.name() == "wasmp-worker");
            killed += u32::from(victim.is_some_and(|victim| victim.signal(Signal::KILL)));
        }
    };
    thread::scope(|scope| {
        let producers = [(); 3].map(|()| scope.spawn(produce));
        let consumers = [(); 3].map(|()| scope.spawn(consume));
        let referee = scope.spawn(|| {
            kill();
            stop.store(true, Relaxed);
            let producers = producers.map(|thread| thread.join().unwrap());
            if plan.acknowledged {
                assert_eq!(queue.join_timeout(PATIENCE), Ok(true), "messages are left");
            }
            queue.shutdown().unwrap();
            let consumers = consumers.map(|thread| thread.join().unwrap());
            passed_on.shutdown().unwrap();
            (producers, consumers)
        });
        let mut passed = Vec::new();
        loop {
            match passed_on.get_many_timeout(1000, PATIENCE) {
                Ok(more) => passed.extend(more),
                Err(GetError::ShutDown) => break,
                Err(error) => panic!("after {} messages: {error}", passed.len()),
            }
        }
        let (producers, consumers) = referee.join().unwrap();
        let all = |fates: [Fates; 3]| fates.into_iter().fold(Fates::default(), Fates::join);
        let (producers, consumers) = (all(producers), all(consumers));
        let progress = progress.read(..next_producer.load(Relaxed) as usize).unwrap();
        eprintln!(
            "{} messages, {} and {} died, {} and {} did not",
            passed.len(),
            producers.killed.len(),
            consumers.killed.len(),
            producers.ended.len(),
            consumers.ended.len()
        );
        Battle {
            passed,
            producers,
            consumers,
            progress,
        }
    })
}

impl Battle {
    /// What has come from each producer, sorted.
    fn by_producer(&self) -> HashMap<u64, Vec<u64>> {
        let mut by_producer = HashMap::<u64, Vec<u64>>::new();
        for (_, producer, number) in &self.passed {
            by_producer.entry(*producer).or_default().push(*number);
        }
        by_producer.values_mut().for_each(|numbers| numbers.sort_unstable());
        by_producer
    }

    /// What each consumer got of each producer, it got in order.
    fn is_in_order(&self) {
        let mut last = HashMap::new();
        for (consumer, producer, number) in &self.passed {
            let before = last.insert((consumer, producer), number);
            assert!(
                before.is_none_or(|before| before < number),
                "{consumer} got {number} of {producer} after {before:?}"
            );
        }
    }

    /// All that was put has come, and maybe a batch of those of the dead that they could not write down any more.
    /// Returns how often a message came once more, and how many came never.
    fn tally(&self, batch: u64) -> (u64, u64) {
        let by_producer = self.by_producer();
        let (mut doubled, mut lost) = (0, 0);
        for producer in self.producers.ended.iter().chain(&self.producers.killed) {
            let sure = self.progress[*producer as usize];
            let mut numbers = by_producer.get(producer).cloned().unwrap_or_default();
            let came = numbers.len() as u64;
            numbers.dedup();
            doubled += came - numbers.len() as u64;
            let end = numbers.last().map_or(0, |last| last + 1).max(sure);
            assert!(
                end <= (sure + batch).min(COUNT),
                "{producer} has put {sure} or a few, not {end}"
            );
            lost += end - numbers.len() as u64;
        }
        for producer in &self.producers.ended {
            assert_eq!(self.progress[*producer as usize], COUNT);
        }
        (doubled, lost)
    }
}

#[test]
fn producers_are_killed_and_every_message_arrives_once_and_in_order() {
    isolated(|| {
        for batch in [1, 7] {
            let battle = battle(&Plan {
                kill_producers: true,
                kill_consumers: false,
                acknowledged: false,
                batch,
                most: batch,
            });
            battle.is_in_order();
            assert_eq!(battle.tally(batch), (0, 0));
            assert!(battle.producers.killed.len() > 30, "{:?}", battle.producers.killed);
            assert!(battle.consumers.killed.is_empty());
        }
    });
}

#[test]
fn consumers_are_killed_and_take_with_them_what_they_had_and_no_more() {
    isolated(|| {
        for most in [1, 5] {
            let battle = battle(&Plan {
                kill_producers: true,
                kill_consumers: true,
                acknowledged: false,
                batch: 3,
                most,
            });
            battle.is_in_order();
            let killed = battle.consumers.killed.len();
            let (doubled, lost) = battle.tally(3);
            assert_eq!(doubled, 0);
            assert!(
                lost <= most * killed as u64,
                "{lost} messages lost with {killed} consumers"
            );
            assert!(killed > 15, "only {killed}");
        }
    });
}

#[test]
fn consumers_are_killed_and_nothing_is_lost_that_they_had_to_acknowledge() {
    isolated(|| {
        let battle = battle(&Plan {
            kill_producers: true,
            kill_consumers: true,
            acknowledged: true,
            batch: 3,
            most: 1,
        });
        let killed = battle.consumers.killed.len();
        let (doubled, lost) = battle.tally(3);
        assert_eq!(lost, 0);
        assert!(
            doubled <= killed as u64,
            "{doubled} messages twice after {killed} deaths"
        );
        assert!(killed > 15, "only {killed}");
    });
}

#[test]
fn senders_are_killed_and_what_they_had_sent_arrives_before_the_end() {
    isolated(|| {
        let (pool, mut random) = (pool(2), Random::new());
        for _ in 0..60 {
            let (receiver, sender) = pipe_one_way().unwrap();
            let sends = start::<()>(&pool, "connection_count", (&sender,));
            drop(sender);
            let mut expected = 0;
            let kill_at = random.below(300);
            loop {
                match receiver.recv_timeout::<u64>(PATIENCE) {
                    Ok(number) => assert_eq!(number, expected),
                    Err(RecvError::EndOfFile) => break,
                    Err(error) => panic!("{error}"),
                }
                if expected == kill_at {
                    for worker in pool.worker_pids().into_iter().filter_map(Process::open) {
                        worker.signal(Signal::KILL);
                    }
                }
                expected += 1;
            }
            assert!(expected > kill_at);
            let Err(Error::Task(error)) = sends.get_timeout(PATIENCE) else {
                panic!("it was killed");
            };
            assert_eq!(error.kind, ErrorKind::WorkerLost);
        }
    });
}

#[test]
fn a_message_that_no_worker_has_memory_for_ends_none_of_them() {
    isolated(|| {
        let pool = builder(1).max_memory(32 << 20).build().unwrap();
        let queue = Queue::<i64>::new(0).unwrap();
        queue.put_bytes(&vec![1; 256 << 20]).unwrap();
        queue.put(7).unwrap();
        let pids = pool.worker_pids();
        let words = error(&pool, "queue_get_bytes", (&queue, 0));
        assert_eq!(words, "this worker has no memory for the message");
        assert_eq!(call::<Vec<i64>>(&pool, "queue_get", (&queue, 1, 0)), [7]);
        assert_eq!(pool.worker_pids(), pids, "it lives");
    });
}
