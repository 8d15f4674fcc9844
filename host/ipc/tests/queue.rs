//! What a queue promises to several processes.

mod common;

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE, Random, Words, fill, number_from_env};
use proptest::prelude::*;
use wasmp_ipc::{
    GetError, Interrupt, Limit, Mapping, Party, PutError, Queue, QueueOptions, Slot, TaskDoneError, WaitError,
};

/// A queue, and its memory as a hostile process has it.
fn hostile_queue(quota: usize, options: QueueOptions) -> (File, Queue) {
    let (fd, mapping) = Mapping::create("test", Queue::bytes(quota)).unwrap();
    (fd.into(), Queue::create(&Arc::new(mapping), options).unwrap())
}

fn queue(quota: usize, options: QueueOptions) -> Queue {
    hostile_queue(quota, options).1
}

fn unbounded() -> Queue {
    queue(1 << 20, QueueOptions::default())
}

fn bounded(maxsize: u32) -> Queue {
    let acknowledged = false;
    queue(1 << 20, QueueOptions { maxsize, acknowledged })
}

fn acknowledged(maxsize: u32) -> Queue {
    let acknowledged = true;
    queue(1 << 20, QueueOptions { maxsize, acknowledged })
}

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn party(number: usize) -> Party {
    Party::worker(slot(number), None)
}

fn soon() -> Limit {
    Limit::after(Some(PATIENCE))
}

fn short() -> Limit {
    Limit::after(Some(Duration::from_millis(30)))
}

fn put(queue: &Queue, payload: &[u8], limit: Limit) -> Result<(), PutError> {
    queue.put(&party(1), 0, &[payload], limit)
}

fn get(queue: &Queue, limit: Limit) -> Result<Vec<u8>, GetError> {
    get_as(queue, 1, limit)
}

fn get_as(queue: &Queue, number: usize, limit: Limit) -> Result<Vec<u8>, GetError> {
    queue.get(&party(number), limit, |message| message.to_vec())
}

/// A process that has fallen asleep over `body`.
fn sleeper(body: impl FnOnce()) -> Child {
    let child = Child::run(body);
    assert!(child.falls_asleep());
    child
}

// What CPython's queues do

#[test]
fn q_01_a_queue_is_full_when_it_holds_as_many_as_it_may() {
    let queue = bounded(6);
    assert!(queue.is_empty() && !queue.is_full());
    for (limit, value) in [Limit::Forever, soon(), Limit::Poll].into_iter().cycle().zip(0..6) {
        assert_eq!(put(&queue, &[value], limit), Ok(()));
    }
    assert!(!queue.is_empty() && queue.is_full());
    assert_eq!(put(&queue, &[6], Limit::Poll), Err(PutError::Full));
    let started = Instant::now();
    assert_eq!(put(&queue, &[6], short()), Err(PutError::Full));
    assert!(started.elapsed() >= Duration::from_millis(30));
    assert_eq!(queue.len(), 6);
}

#[test]
fn q_03_a_process_that_takes_everything_leaves_it_empty() {
    let queue = bounded(6);
    for value in 0..6 {
        put(&queue, &[value], Limit::Poll).unwrap();
    }
    Child::run(|| (0..6).for_each(|value| assert_eq!(get(&queue, soon()), Ok(vec![value])))).join();
    assert!(queue.is_empty() && !queue.is_full());
}

#[test]
fn q_04_first_in_first_out_however_one_waits() {
    let queue = unbounded();
    let producer = Child::run(|| (1..=4).for_each(|value| put(&queue, &[value], Limit::Poll).unwrap()));
    producer.join();
    for (value, limit) in (1..=4).zip([Limit::Forever, soon(), Limit::after(None), Limit::Poll]) {
        assert_eq!(get(&queue, limit), Ok(vec![value]));
    }
    assert!(queue.is_empty());
}

#[test]
fn q_05_nothing_to_get_is_said_at_once_or_when_the_time_is_up() {
    let queue = unbounded();
    assert_eq!(get(&queue, Limit::Poll), Err(GetError::Empty));
    assert_eq!(get(&queue, Limit::Until(Instant::now())), Err(GetError::Empty));
}

#[test]
fn q_07_the_size_is_exact() {
    let queue = unbounded();
    let mut sizes = vec![queue.len()];
    put(&queue, b"1", Limit::Poll).unwrap();
    sizes.push(queue.len());
    put(&queue, b"", Limit::Poll).unwrap();
    sizes.push(queue.len());
    get(&queue, Limit::Poll).unwrap();
    sizes.push(queue.len());
    get(&queue, Limit::Poll).unwrap();
    sizes.push(queue.len());
    assert_eq!(sizes, [0, 1, 2, 1, 0]);
}

#[test]
fn q_10_a_timed_get_takes_its_time() {
    let queue = unbounded();
    let started = Instant::now();
    let limit = Limit::after(Some(Duration::from_millis(200)));
    assert_eq!(get(&queue, limit), Err(GetError::Empty));
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[test]
fn q_15_another_process_sees_whether_it_is_empty() {
    let queue = unbounded();
    let (tell, told) = (bounded(0), bounded(0));
    let child = Child::run(|| {
        for _ in 0..2 {
            get(&tell, soon()).unwrap();
            put(&told, &[queue.is_empty().into()], Limit::Poll).unwrap();
        }
    });
    let ask = || {
        put(&tell, b"", Limit::Poll).unwrap();
        get(&told, soon()).unwrap() == [1]
    };
    assert!(ask());
    put(&queue, b"x", Limit::Poll).unwrap();
    assert!(!ask());
    get(&queue, Limit::Poll).unwrap();
    assert!(queue.is_empty());
    child.join();
}

#[test]
fn g_12_a_process_may_end_with_what_it_has_put_not_got_yet() {
    let queue = unbounded();
    let payload = vec![7; 300_000];
    Child::run(|| put(&queue, &payload, Limit::Forever).unwrap()).join();
    assert_eq!(get(&queue, Limit::Poll), Ok(payload));
}

#[test]
fn qs_01_the_end_of_an_empty_queue_is_heard_by_everyone() {
    for queue in [unbounded(), acknowledged(0)] {
        let getters =
            [2, 3].map(|number| sleeper(|| assert_eq!(get_as(&queue, number, soon()), Err(GetError::ShutDown))));
        queue.shutdown(&Party::host(), false).unwrap();
        getters.into_iter().for_each(Child::join);
        queue.join(&party(1), Limit::Poll).unwrap();
        Child::run(|| {
            for limit in [Limit::Poll, soon(), Limit::Forever] {
                assert_eq!(put(&queue, b"x", limit), Err(PutError::ShutDown));
                assert_eq!(get(&queue, limit), Err(GetError::ShutDown));
            }
        })
        .join();
    }
}

#[test]
fn what_is_there_can_be_got_after_the_end() {
    for acknowledged in [false, true] {
        let queue = queue(
            4096,
            QueueOptions {
                maxsize: 2,
                acknowledged,
            },
        );
        for value in 0..2 {
            put(&queue, &[value], Limit::Poll).unwrap();
        }
        let putter = sleeper(|| assert_eq!(put(&queue, b"x", soon()), Err(PutError::ShutDown)));
        queue.shutdown(&Party::host(), false).unwrap();
        putter.join();
        assert_eq!(queue.len(), 2);
        for value in 0..2 {
            assert_eq!(get(&queue, soon()), Ok(vec![value]));
        }
        assert_eq!(get(&queue, soon()), Err(GetError::ShutDown));
        queue.task_done(&party(1)).unwrap();
        queue.task_done(&party(1)).unwrap();
        queue.join(&party(1), Limit::Poll).unwrap();
    }
}

#[test]
fn qs_03_an_immediate_end_drops_what_is_there() {
    for acknowledged in [false, true] {
        let queue = queue(
            4096,
            QueueOptions {
                maxsize: 3,
                acknowledged,
            },
        );
        for value in 0..3 {
            put(&queue, &[value], Limit::Poll).unwrap();
        }
        get(&queue, Limit::Poll).unwrap();
        let joiner = sleeper(|| queue.join(&party(2), soon()).unwrap());
        for _ in 0..2 {
            queue.shutdown(&Party::host(), true).unwrap();
            assert_eq!(queue.len(), 0);
            assert!(!queue.is_full());
        }
        queue.shutdown(&Party::host(), false).unwrap();
        assert_eq!(get(&queue, soon()), Err(GetError::ShutDown));
        assert_eq!(queue.join(&party(1), Limit::Poll), Err(WaitError::TimedOut));
        queue.task_done(&party(1)).unwrap();
        joiner.join();
        assert_eq!(queue.task_done(&party(1)), Err(TaskDoneError::TooMany));
    }
}

#[test]
fn tasks_done_before_they_were_got_count_as_in_python() {
    let queue = unbounded();
    for value in 0..3 {
        put(&queue, &[value], Limit::Poll).unwrap();
    }
    for _ in 0..2 {
        queue.task_done(&party(1)).unwrap();
    }
    assert_eq!(queue.join(&party(1), Limit::Poll), Err(WaitError::TimedOut));
    queue.shutdown(&Party::host(), true).unwrap();
    assert_eq!(queue.join(&party(1), Limit::Poll), Ok(()));
    assert_eq!(queue.task_done(&party(1)), Err(TaskDoneError::TooMany));
}

#[test]
fn joining_waits_for_every_task() {
    for queue in [unbounded(), acknowledged(0)] {
        assert_eq!(queue.join(&party(9), Limit::Poll), Ok(()));
        assert_eq!(queue.task_done(&party(9)), Err(TaskDoneError::TooMany));
        for value in 0..100 {
            put(&queue, &[value], Limit::Poll).unwrap();
        }
        let joiners = [8, 9].map(|number| sleeper(|| queue.join(&party(number), soon()).unwrap()));
        let workers = [1, 2].map(|number| {
            Child::run(|| {
                while get_as(&queue, number, Limit::Poll).is_ok() {
                    queue.task_done(&party(number)).unwrap();
                }
            })
        });
        workers.into_iter().chain(joiners).for_each(Child::join);
        assert_eq!(queue.task_done(&party(9)), Err(TaskDoneError::TooMany));
        put(&queue, b"one more", Limit::Poll).unwrap();
        assert_eq!(queue.join(&party(9), short()), Err(WaitError::TimedOut));
    }
}

// Messages

#[test]
fn the_kind_and_the_parts_of_a_message_arrive() {
    let queue = unbounded();
    for kind in [0, 1, 255] {
        queue
            .put(&party(1), kind, &[b"one, ", b"", b"two"], Limit::Poll)
            .unwrap();
        let read = |message: wasmp_ipc::Message<'_>| {
            let mut two = [0; 3];
            message.read(5, &mut two);
            message.read(message.len(), &mut []);
            (message.kind(), message.len(), two)
        };
        assert_eq!(queue.get(&party(1), Limit::Poll, read), Ok((kind, 8, *b"two")));
    }
}

#[test]
fn the_longest_message_fills_the_memory_and_a_longer_one_never_fits() {
    for quota in [1, 4096, 1 << 20] {
        let queue = queue(quota, QueueOptions::default());
        let longest = quota.max(4096) - 8;
        for _ in 0..3 {
            put(&queue, &vec![1; longest], Limit::Poll).unwrap();
            assert_eq!(put(&queue, b"", Limit::Poll), Err(PutError::Full));
            assert_eq!(get(&queue, Limit::Poll).unwrap().len(), longest);
        }
        assert_eq!(
            put(&queue, &vec![1; longest + 1], Limit::Forever),
            Err(PutError::TooLarge)
        );
        let parts = [&[0; 4096][..]; 300];
        assert_eq!(queue.put(&party(1), 0, &parts, Limit::Forever), Err(PutError::TooLarge));
    }
}

#[test]
fn many_are_put_and_got_at_once() {
    let queue = bounded(3);
    let messages = [(1, &b"a"[..]), (2, b"bb"), (3, b""), (4, b"d")];
    assert_eq!(queue.put_many(&party(1), &messages, Limit::Poll), Ok(3));
    assert_eq!(queue.put_many(&party(1), &messages, Limit::Poll), Err(PutError::Full));
    assert_eq!(queue.put_many(&party(1), &[], Limit::Poll), Ok(0));
    let mut got = Vec::new();
    let mut get_many = |most, refused: &[u8]| {
        let count = queue.get_many(&party(1), most, Limit::Poll, |message| {
            let accepted = message.to_vec() != refused;
            if accepted {
                got.push((message.kind(), message.to_vec()));
            }
            accepted
        });
        (count, std::mem::take(&mut got))
    };
    assert_eq!(get_many(0, b"none"), (Ok(0), vec![]));
    assert_eq!(get_many(9, b"a"), (Ok(0), vec![]));
    assert_eq!(get_many(1, b"none"), (Ok(1), vec![(1, b"a".to_vec())]));
    assert_eq!(get_many(9, b""), (Ok(1), vec![(2, b"bb".to_vec())]));
    assert_eq!(get_many(9, b"none"), (Ok(1), vec![(3, b"".to_vec())]));
    assert_eq!(get_many(9, b"none"), (Err(GetError::Empty), vec![]));
}

#[test]
fn many_are_put_as_far_as_their_bytes_fit() {
    let queue = queue(4096, QueueOptions::default());
    let message = [5; 1016];
    let too_large = vec![5; 5000];
    let messages = [(0, &message[..]); 6];
    assert_eq!(queue.put_many(&party(1), &messages, Limit::Poll), Ok(4));
    get(&queue, Limit::Poll).unwrap();
    assert_eq!(queue.put_many(&party(1), &messages, Limit::Poll), Ok(1));
    while get(&queue, Limit::Poll).is_ok() {}
    let messages = [(0, &message[..]), (0, &too_large)];
    assert_eq!(queue.put_many(&party(1), &messages, Limit::Poll), Ok(1));
    assert_eq!(
        queue.put_many(&party(1), &messages[1..], Limit::Poll),
        Err(PutError::TooLarge)
    );
    // Far more than a new queue has memory for.
    let queue = unbounded();
    let messages = vec![(0, &message[..]); 1000];
    assert_eq!(queue.put_many(&party(1), &messages, Limit::Poll), Ok(1000));
    assert_eq!(queue.len(), 1000);
}

// Memory

#[test]
fn a_queue_that_has_been_large_gives_its_memory_back() {
    let (file, queue) = hostile_queue(256 << 20, QueueOptions::default());
    let used = || file.metadata().unwrap().blocks() as usize * 512;
    assert!(used() <= 8192, "{}", used());
    let payload = vec![9; 100_000];
    for round in 0..3 {
        for _ in 0..300 {
            put(&queue, &payload, Limit::Poll).unwrap();
        }
        assert!(used() > 30_000_000, "round {round}: {}", used());
        for _ in 0..300 {
            assert!(get(&queue, Limit::Poll).unwrap() == payload);
        }
        assert_eq!(get(&queue, Limit::Poll), Err(GetError::Empty));
        assert!(used() <= 5 << 20, "round {round}: {}", used());
    }
}

#[test]
fn a_bounded_queue_uses_little_memory() {
    let (file, queue) = hostile_queue(256 << 20, QueueOptions::default());
    for _ in 0..100_000 {
        put(&queue, &[1; 100], Limit::Poll).unwrap();
        get(&queue, Limit::Poll).unwrap();
    }
    let used = file.metadata().unwrap().blocks() * 512;
    assert!(used <= 80 << 10, "{used}");
}

#[test]
fn what_is_not_the_memory_of_a_queue_is_refused() {
    let size = Queue::bytes(4096);
    for len in [1, 4096, size - 8, size + 8, 4 * 4096] {
        let mapping = Arc::new(Mapping::create("test", len).unwrap().1);
        let refusals = [Queue::create(&mapping, QueueOptions::default()), Queue::open(&mapping)];
        for refusal in refusals {
            assert_eq!(refusal.unwrap_err().kind(), ErrorKind::InvalidData, "{len}");
        }
    }
    assert_eq!(Queue::bytes(0), size);
    assert_eq!(Queue::bytes(4097), Queue::bytes(8192));
    assert_eq!(Queue::bytes(usize::MAX), Queue::bytes(8 << 30));
}

#[test]
fn another_process_opens_it_as_it_was_created() {
    let (fd, mapping) = Mapping::create("test", Queue::bytes(4096)).unwrap();
    let options = QueueOptions {
        maxsize: 1,
        acknowledged: true,
    };
    let here = Queue::create(&Arc::new(mapping), options).unwrap();
    let there = Mapping::open(std::os::fd::AsFd::as_fd(&fd), Queue::bytes(4096)).unwrap();
    let there = Queue::open(&Arc::new(there)).unwrap();
    put(&here, b"x", Limit::Poll).unwrap();
    assert!(there.is_full());
    assert_eq!(get_as(&there, 2, Limit::Poll), Ok(b"x".to_vec()));
    assert!(here.is_full(), "not acknowledged");
    assert_eq!(here.task_done(&party(1)), Err(TaskDoneError::TooMany));
    there.task_done(&party(2)).unwrap();
    assert!(!here.is_full());
}

#[test]
fn positions_may_wrap_around() {
    let (file, queue) = hostile_queue(4096, QueueOptions::default());
    let almost = u64::from(u32::MAX - 5) << 32 | u64::from(u32::MAX - 100);
    for mark in [SEEN_HEAD, TAIL, SEEN_TAIL, HEAD] {
        poke(&file, mark, almost);
    }
    poke(&file, DONE, (almost >> 32) << 32 | almost >> 32);
    let mut payload = Vec::new();
    for round in 0..100 {
        for number in 0..5 {
            fill(round + number, 300, &mut payload);
            put(&queue, &payload, Limit::Poll).unwrap();
            assert_eq!(queue.len() as u64, number + 1);
        }
        for number in 0..5 {
            fill(round + number, 300, &mut payload);
            assert_eq!(get(&queue, Limit::Poll).as_ref(), Ok(&payload));
            queue.task_done(&party(1)).unwrap();
        }
        assert_eq!(queue.join(&party(1), Limit::Poll), Ok(()));
    }
}

// Waiting

#[test]
fn whoever_waits_is_woken_by_what_it_waits_for() {
    let queue = bounded(1);
    let getter = sleeper(|| assert_eq!(get_as(&queue, 2, soon()), Ok(b"1".to_vec())));
    put(&queue, b"1", Limit::Poll).unwrap();
    getter.join();
    put(&queue, b"2", Limit::Poll).unwrap();
    let putter = sleeper(|| queue.put(&party(2), 0, &[b"3"], soon()).unwrap());
    assert_eq!(get(&queue, Limit::Poll), Ok(b"2".to_vec()));
    putter.join();
    assert_eq!(get(&queue, Limit::Poll), Ok(b"3".to_vec()));
}

#[test]
fn one_message_makes_room_for_the_bytes_of_many() {
    let queue = queue(4096, QueueOptions::default());
    put(&queue, &[0; 4088], Limit::Poll).unwrap();
    let putters = [2, 3, 4].map(|number| sleeper(|| queue.put(&party(number), 0, &[&[1; 900]], soon()).unwrap()));
    get(&queue, Limit::Poll).unwrap();
    putters.into_iter().for_each(Child::join);
    assert_eq!(queue.len(), 3);
}

#[test]
fn a_consumer_that_takes_one_message_lets_a_waiting_producer_on() {
    // It need not empty the queue for that: it may wait for that same producer.
    for maxsize in [2, 100] {
        let queue = bounded(maxsize);
        while put(&queue, b"x", Limit::Poll).is_ok() {}
        let putter = sleeper(|| queue.put(&party(2), 0, &[b"x"], soon()).unwrap());
        get(&queue, Limit::Poll).unwrap();
        putter.join();
    }
}

#[test]
fn every_wait_hears_an_interruption() {
    let memory = Arc::new(Mapping::create("test", Interrupt::BYTES).unwrap().1);
    let interrupt = Interrupt::open(&memory, 0).unwrap();
    let queue = bounded(1);
    let told = |number| Party::worker(slot(number), Some(Interrupt::open(&memory, 0).unwrap()));
    let getter = sleeper(|| {
        let result = queue.get(&told(1), soon(), |_| ());
        assert_eq!(result, Err(GetError::Interrupted));
    });
    interrupt.raise();
    getter.join();
    interrupt.clear();
    put(&queue, b"x", Limit::Poll).unwrap();
    let sleepers = [
        sleeper(|| {
            let result = queue.put(&told(2), 0, &[b"x"], soon());
            assert_eq!(result, Err(PutError::Interrupted));
        }),
        sleeper(|| assert_eq!(queue.join(&told(3), soon()), Err(WaitError::Interrupted))),
    ];
    interrupt.raise();
    sleepers.into_iter().for_each(Child::join);
    // What need not wait is done.
    assert_eq!(queue.get(&told(1), soon(), |message| message.len()), Ok(1));
}

#[test]
fn nobody_sleeps_on_while_there_are_messages() {
    // Wake-ups are for one each. Those who leave early or are killed must not take them along.
    const MESSAGES: u64 = 3000;
    let queue = unbounded();
    let got = Words::new(1);
    let mut random = Random(1);
    let takers: Vec<Child> = (1..=4)
        .map(|number| {
            Child::run(|| {
                while get_as(&queue, number, soon()).unwrap() == b"message" {
                    got[0].fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let quitter = Child::run(|| {
        loop {
            let limit = Limit::after(Some(Duration::from_micros(random.below(100))));
            if get_as(&queue, 5, limit).is_ok() {
                got[0].fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let deadline = Instant::now() + PATIENCE;
    for message in 1..=MESSAGES {
        put(&queue, b"message", Limit::Poll).unwrap();
        while message % 3 == 0 && got.get(0) < message {
            assert!(Instant::now() < deadline, "message {message} is not taken");
            thread::yield_now();
        }
    }
    quitter.kill();
    queue.recover(slot(5));
    for _ in &takers {
        put(&queue, b"end", Limit::Poll).unwrap();
    }
    takers.into_iter().for_each(Child::join);
}

// Deaths

#[test]
fn a_killed_process_leaves_whole_messages_and_a_queue_that_works() {
    /// Enough to make the ring grow and wrap.
    const LONGEST: usize = 3000;
    const AT_ONCE: u64 = 3;
    let mut random = Random(u64::from(std::process::id()));
    let kills = number_from_env("WASMP_KILLS").unwrap_or(150);
    let (mut payload, mut expected, mut got_in_all) = (Vec::new(), Vec::new(), 0);
    for kill in 0..kills {
        let maxsize = random.below(3) as u32 * 4;
        let queue = queue(
            256 << 10,
            QueueOptions {
                maxsize,
                acknowledged: false,
            },
        );
        let producer = |number: usize| {
            let queue = &queue;
            Child::run(move || {
                let mut payloads = [const { Vec::new() }; AT_ONCE as usize];
                for batch in 0.. {
                    for (index, payload) in payloads.iter_mut().enumerate() {
                        fill(batch * AT_ONCE + index as u64, LONGEST, payload);
                    }
                    let messages = payloads.each_ref().map(|payload| (number as u8, &payload[..]));
                    let mut left = &messages[..];
                    while let Ok(count @ 1..) = queue.put_many(&party(number), left, Limit::Forever) {
                        left = &left[count..];
                    }
                }
            })
        };
        let mut producers = [producer(1), producer(2)].map(Some);
        let thief = Child::run(|| while queue.get(&party(3), Limit::Forever, |_| ()).is_ok() {});
        thread::sleep(Duration::from_micros(random.below(600)));
        thief.kill();
        queue.recover(slot(3));
        // What arrives from each is in order; what was stolen is missing.
        let mut next = [0, 0];
        let mut take = |limit, next: &mut [u64; 2]| {
            let taken = queue.get(&Party::host(), limit, |message| {
                payload.resize(message.len(), 0);
                message.read(0, &mut payload);
                usize::from(message.kind()) - 1
            });
            if let Ok(from) = taken {
                let number = u64::from_ne_bytes(payload[..8].try_into().unwrap());
                assert!(number >= next[from], "kill {kill}: {number} again");
                fill(number, LONGEST, &mut expected);
                assert!(payload == expected, "kill {kill}: a torn message");
                next[from] = number + 1;
            }
            taken
        };
        for victim in [0, 1] {
            for _ in 0..random.below(200) {
                take(soon(), &mut next).unwrap();
            }
            producers[victim].take().unwrap().kill();
            queue.recover(slot(victim + 1));
        }
        while take(Limit::Poll, &mut next).is_ok() {}
        assert_eq!(queue.len(), 0);
        put(&queue, b"still there", Limit::Poll).unwrap();
        assert_eq!(get(&queue, Limit::Poll).as_deref(), Ok(&b"still there"[..]));
        got_in_all += next[0] + next[1];
    }
    assert!(got_in_all > 0, "killed before they did anything");
}

#[test]
fn tasks_of_the_dead_are_done_by_others() {
    const TASKS: usize = 100;
    let kills = number_from_env("WASMP_KILLS").unwrap_or(150);
    let mut random = Random(u64::from(std::process::id()));
    let mut done_twice = 0;
    for _ in 0..kills {
        let queue = acknowledged(0);
        let done = Words::new(TASKS);
        let worker = |number: usize| {
            let (queue, done) = (&queue, &done);
            Child::run(move || {
                let do_next = |task: Result<Vec<u8>, GetError>| {
                    let number = usize::from(task.ok()?[0]);
                    done[number].fetch_add(1, Ordering::SeqCst);
                    Some(())
                };
                while do_next(get_as(queue, number, Limit::Forever)).is_some() {
                    queue.task_done(&party(number)).unwrap();
                }
            })
        };
        let mut workers = [1, 2, 3].map(|number| (number, Some(worker(number))));
        for task in 0..TASKS {
            put(&queue, &[task as u8], Limit::Poll).unwrap();
        }
        for (number, child) in &mut workers[..2] {
            thread::sleep(Duration::from_micros(random.below(200)));
            child.take().unwrap().kill();
            queue.recover(slot(*number));
        }
        // Its place is taken by another one.
        let successor = worker(1);
        queue.join(&Party::host(), soon()).unwrap();
        queue.shutdown(&Party::host(), false).unwrap();
        successor.join();
        workers[2].1.take().unwrap().join();
        for (task, times) in done.iter().enumerate() {
            let times = times.load(Ordering::SeqCst);
            // At most once more for each death.
            assert!((1..=3).contains(&times), "task {task} was done {times} times");
            done_twice += times - 1;
        }
    }
    assert!(done_twice <= 2 * kills, "{done_twice}");
}

#[test]
fn a_task_goes_back_to_its_place_when_its_holder_dies() {
    let queue = acknowledged(4);
    for value in 0..4 {
        put(&queue, &[value], Limit::Poll).unwrap();
    }
    for (number, value) in [(1, 0), (2, 1), (1, 2)] {
        assert_eq!(get_as(&queue, number, Limit::Poll), Ok(vec![value]));
    }
    assert_eq!((queue.len(), queue.is_full()), (1, true));
    queue.task_done(&party(2)).unwrap();
    assert!(queue.is_full(), "the first one is still there");
    for _ in 0..2 {
        queue.recover(slot(1));
    }
    for value in [0, 2, 3] {
        assert_eq!(get_as(&queue, 1, Limit::Poll), Ok(vec![value]), "by its successor");
    }
    assert_eq!(get_as(&queue, 2, Limit::Poll), Err(GetError::Empty));
    assert_eq!(queue.task_done(&party(2)), Err(TaskDoneError::TooMany));
    for _ in 0..3 {
        queue.task_done(&party(1)).unwrap();
    }
    assert_eq!(queue.join(&party(3), Limit::Poll), Ok(()));
    assert!(queue.is_empty() && !queue.is_full());
}

#[test]
fn the_size_of_an_acknowledged_queue_is_what_can_be_got() {
    let queue = acknowledged(0);
    let mut sizes = Vec::new();
    for value in 0..3 {
        put(&queue, &[value], Limit::Poll).unwrap();
    }
    sizes.push(queue.len());
    get_as(&queue, 1, Limit::Poll).unwrap();
    get_as(&queue, 2, Limit::Poll).unwrap();
    sizes.push(queue.len());
    queue.task_done(&party(2)).unwrap();
    sizes.push(queue.len());
    queue.recover(slot(1));
    get_as(&queue, 3, Limit::Poll).unwrap();
    sizes.push(queue.len());
    queue.recover(slot(3));
    put(&queue, &[3], Limit::Poll).unwrap();
    get_as(&queue, 2, Limit::Poll).unwrap();
    sizes.push(queue.len());
    assert_eq!(sizes, [3, 1, 1, 1, 2]);
}

#[test]
fn a_sleeper_gets_the_task_of_the_dead() {
    let queue = acknowledged(0);
    put(&queue, b"task", Limit::Poll).unwrap();
    get_as(&queue, 1, Limit::Poll).unwrap();
    let heirs = [2, 3].map(|number| {
        sleeper(|| match get_as(&queue, number, soon()) {
            Ok(_) => queue.task_done(&party(number)).unwrap(),
            Err(why) => assert_eq!(why, GetError::ShutDown),
        })
    });
    queue.recover(slot(1));
    queue.join(&Party::host(), soon()).unwrap();
    queue.shutdown(&Party::host(), false).unwrap();
    heirs.into_iter().for_each(Child::join);
}

// Many at once

#[test]
fn threads_of_the_host_share_a_queue() {
    const EACH: u64 = 20_000;
    for maxsize in [0, 1, 10] {
        let queue = bounded(maxsize);
        let (sum, left) = (AtomicU64::new(0), AtomicU64::new(3 * EACH));
        thread::scope(|scope| {
            for producer in 0..3 {
                let queue = &queue;
                scope.spawn(move || {
                    for number in 0..EACH {
                        let value = producer * EACH + number;
                        let payload = value.to_ne_bytes();
                        queue.put(&Party::host(), 0, &[&payload], soon()).unwrap();
                    }
                });
            }
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut last = [0; 3];
                    while left.fetch_sub(1, Ordering::SeqCst) as i64 > 0 {
                        let value = queue.get(&Party::host(), soon(), |message| {
                            let mut value = [0; 8];
                            message.read(0, &mut value);
                            u64::from_ne_bytes(value)
                        });
                        let value = value.unwrap();
                        let order = &mut last[(value / EACH) as usize];
                        assert!(value.is_multiple_of(EACH) || value > *order, "out of order");
                        *order = value;
                        sum.fetch_add(value, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), (0..3 * EACH).sum());
        assert!(queue.is_empty());
    }
}

// Against a model, and against a hostile process

// Where things are in the memory.
const SEEN_HEAD: u64 = 8;
const TAIL: u64 = 128;
const SEEN_TAIL: u64 = 256 + 8;
const HEAD: u64 = 3 * 128;
const SETTINGS: u64 = 7 * 128;
const DONE: u64 = 8 * 128;
const HEADER_END: u64 = 1536 + 128;
const DATA: u64 = 4096;
/// The locks: while one of them is taken, everyone waits.
const LOCKS: [u64; 2] = [0, 256];

fn poke(file: &File, at: u64, value: u64) {
    file.write_all_at(&value.to_ne_bytes(), at).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Put { len: usize },
    PutMany { lens: Vec<usize> },
    Get { slot: usize },
    GetMany { slot: usize, most: usize },
    TaskDone { slot: usize },
    Die { slot: usize },
    ShutDown { immediate: bool },
}

fn step(longest: usize) -> impl Strategy<Value = Step> {
    let slot = || 1..4usize;
    prop_oneof![
        8 => (0..longest).prop_map(|len| Step::Put { len }),
        2 => prop::collection::vec(0..longest, 0..5).prop_map(|lens| Step::PutMany { lens }),
        8 => slot().prop_map(|slot| Step::Get { slot }),
        2 => (slot(), 1..5usize).prop_map(|(slot, most)| Step::GetMany { slot, most }),
        5 => slot().prop_map(|slot| Step::TaskDone { slot }),
        1 => slot().prop_map(|slot| Step::Die { slot }),
        1 => any::<bool>().prop_map(|immediate| Step::ShutDown { immediate }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Slot(usize),
    Done,
}

/// What a queue should be.
struct Expected {
    options: QueueOptions,
    units: usize,
    messages: VecDeque<(Vec<u8>, Holder)>,
    unfinished: usize,
    closed: bool,
    dropped: bool,
    next: u8,
}

fn units(message: &[u8]) -> usize {
    1 + message.len().div_ceil(8)
}

impl Expected {
    fn new_message(&mut self, len: usize) -> Vec<u8> {
        self.next = self.next.wrapping_add(1);
        vec![self.next; len]
    }

    fn can_put(&self, message: &[u8]) -> Result<(), PutError> {
        let used: usize = self.messages.iter().map(|(message, _)| units(message)).sum();
        if units(message) > self.units {
            Err(PutError::TooLarge)
        } else if self.closed {
            Err(PutError::ShutDown)
        } else if self.options.maxsize != 0 && self.messages.len() >= self.options.maxsize as usize
            || used + units(message) > self.units
        {
            Err(PutError::Full)
        } else {
            Ok(())
        }
    }

    fn put(&mut self, message: Vec<u8>) {
        self.messages.push_back((message, Holder::Nobody));
        self.unfinished += 1;
    }

    fn get(&mut self, slot: usize) -> Result<Vec<u8>, GetError> {
        let nothing = if self.closed {
            GetError::ShutDown
        } else {
            GetError::Empty
        };
        if !self.options.acknowledged {
            return self.messages.pop_front().map(|(message, _)| message).ok_or(nothing);
        }
        let mut free = self.messages.iter_mut().filter(|(_, holder)| *holder == Holder::Nobody);
        let (message, holder) = free.next().ok_or(nothing)?;
        *holder = Holder::Slot(slot);
        Ok(message.clone())
    }

    fn task_done(&mut self, slot: usize) -> Result<(), TaskDoneError> {
        if self.options.acknowledged {
            let mut held = self
                .messages
                .iter_mut()
                .filter(|(_, holder)| *holder == Holder::Slot(slot));
            held.next().ok_or(TaskDoneError::TooMany)?.1 = Holder::Done;
            self.remove_done();
        } else {
            self.unfinished = self.unfinished.checked_sub(1).ok_or(TaskDoneError::TooMany)?;
        }
        Ok(())
    }

    fn remove_done(&mut self) {
        let done = |(_, holder): &(_, Holder)| *holder == Holder::Done || self.dropped && *holder == Holder::Nobody;
        while self.messages.front().is_some_and(done) {
            self.messages.pop_front();
        }
    }

    fn die(&mut self, slot: usize) {
        for (_, holder) in &mut self.messages {
            if *holder == Holder::Slot(slot) {
                *holder = Holder::Nobody;
            }
        }
    }

    fn shut_down(&mut self, immediate: bool) {
        self.closed = true;
        if immediate && !self.dropped {
            self.dropped = true;
            if self.options.acknowledged {
                self.remove_done();
            } else {
                self.unfinished = self.unfinished.saturating_sub(self.messages.len());
                self.messages.clear();
            }
        }
    }

    fn len(&self) -> usize {
        match self.dropped {
            true => 0,
            false => self
                .messages
                .iter()
                .filter(|(_, holder)| *holder == Holder::Nobody)
                .count(),
        }
    }

    fn is_full(&self) -> bool {
        let maxsize = self.options.maxsize as usize;
        !self.dropped && maxsize != 0 && self.messages.len() >= maxsize
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_queue_does_what_a_list_would(
        (quota, steps) in prop_oneof![Just((4096, 1200)), Just((256 << 10, 60_000))]
            .prop_flat_map(|(quota, longest)| (Just(quota), prop::collection::vec(step(longest), 1..80))),
        maxsize in 0..6u32,
        acknowledged in any::<bool>(),
    ) {
        let options = QueueOptions { maxsize, acknowledged };
        let queue = queue(quota, options);
        let mut expected = Expected {
            options,
            units: quota / 8,
            messages: VecDeque::new(),
            unfinished: 0,
            closed: false,
            dropped: false,
            next: 0,
        };
        for step in steps {
            match step {
                Step::Put { len } => {
                    let message = expected.new_message(len);
                    let possible = expected.can_put(&message);
                    prop_assert_eq!(put(&queue, &message, Limit::Poll), possible);
                    if possible.is_ok() {
                        expected.put(message);
                    }
                }
                Step::PutMany { lens } => {
                    let messages: Vec<Vec<u8>> = lens.iter().map(|&len| expected.new_message(len)).collect();
                    let slices: Vec<(u8, &[u8])> = messages.iter().map(|message| (0, &message[..])).collect();
                    let count = queue.put_many(&party(1), &slices, Limit::Poll);
                    let mut possible = Ok(0);
                    for message in messages {
                        match (expected.can_put(&message), &mut possible) {
                            (Ok(()), Ok(count)) => *count += 1,
                            (Err(why), Ok(0)) => {
                                possible = Err(why);
                                break;
                            }
                            _ => break,
                        }
                        expected.put(message);
                    }
                    prop_assert_eq!(count, possible);
                }
                Step::Get { slot } => {
                    let got = get_as(&queue, slot, Limit::Poll);
                    let possible = match expected.dropped {
                        true => Err(GetError::ShutDown),
                        false => expected.get(slot),
                    };
                    prop_assert_eq!(got, possible);
                }
                Step::GetMany { slot, most } => {
                    let mut got = Vec::new();
                    let count = queue.get_many(&party(slot), most, Limit::Poll, |message| {
                        got.push(message.to_vec());
                        true
                    });
                    let mut possible = Vec::new();
                    let mut end = GetError::ShutDown;
                    while !expected.dropped && possible.len() < most {
                        match expected.get(slot) {
                            Ok(message) => possible.push(message),
                            Err(why) => {
                                end = why;
                                break;
                            }
                        }
                    }
                    prop_assert_eq!(count, if possible.is_empty() { Err(end) } else { Ok(possible.len()) });
                    prop_assert_eq!(got, possible);
                }
                Step::TaskDone { slot } => {
                    prop_assert_eq!(queue.task_done(&party(slot)), expected.task_done(slot));
                }
                Step::Die { slot } => {
                    queue.recover(Slot::new(slot).unwrap());
                    expected.die(slot);
                    // What the dead had counts again as soon as somebody looks for a message.
                    let _ = queue.get_many(&party(9), 1, Limit::Poll, |_| false);
                    if expected.dropped {
                        expected.remove_done();
                    }
                }
                Step::ShutDown { immediate } => {
                    queue.shutdown(&party(1), immediate).unwrap();
                    expected.shut_down(immediate);
                }
            }
            prop_assert_eq!(queue.len(), expected.len());
            prop_assert_eq!(queue.is_full(), expected.is_full());
            let unfinished = if acknowledged { expected.messages.len() } else { expected.unfinished };
            prop_assert_eq!(queue.join(&party(1), Limit::Poll).is_ok(), unfinished == 0);
        }
    }
}

/// One step of an honest process, or a word of a hostile one.
#[derive(Clone, Debug)]
enum HostileStep {
    Poke { at: u64, value: u64 },
    Honest(Step),
    Join,
    PollInterrupted(Step),
}

fn hostile_step(lock_words: bool) -> impl Strategy<Value = HostileStep> {
    let near = |scale: u64| (0..64u64).prop_map(move |steps| steps * scale);
    let pair = |high: u64, low: u64| (0..high, 0..low).prop_map(|(high, low)| high << 32 | low);
    let value = prop_oneof![
        near(1),
        pair(8, 64),
        pair(3 << 8, 1200),
        any::<u64>(),
        near(1).prop_map(u64::wrapping_neg),
    ];
    let word = prop_oneof![
        3 => prop::sample::select(vec![SEEN_HEAD, TAIL, SEEN_TAIL, HEAD]),
        2 => (512 / 8..HEADER_END / 8).prop_map(|word| 8 * word),
        2 => (0..64u64).prop_map(|word| DATA + 8 * word),
    ];
    let at = match lock_words {
        true => prop_oneof![prop::sample::select(LOCKS.to_vec()), word].boxed(),
        false => word.boxed(),
    };
    prop_oneof![
        3 => (at, value).prop_map(|(at, value)| HostileStep::Poke { at, value }),
        6 => step(1200).prop_map(HostileStep::Honest),
        1 => Just(HostileStep::Join),
        1 => step(1200).prop_map(HostileStep::PollInterrupted),
    ]
}

/// Does a step as this party; whatever comes of it.
fn try_step(queue: &Queue, step: Step, number: usize, interrupted: Option<&Arc<Mapping>>) {
    let interrupt = || interrupted.map(|memory| Interrupt::open(memory, 0).unwrap());
    let party = Party::worker(slot(number), interrupt());
    let limit = Limit::after(Some(Duration::from_micros(100)));
    let read = |message: wasmp_ipc::Message<'_>| assert_eq!(message.to_vec().len(), message.len());
    match step {
        Step::Put { len } => drop(queue.put(&party, 0, &[&vec![1; len]], limit)),
        Step::PutMany { lens } => {
            let messages: Vec<(u8, &[u8])> = lens.iter().map(|&len| (0, &[1; 1200][..len])).collect();
            let _ = queue.put_many(&party, &messages, limit);
        }
        Step::Get { .. } => drop(queue.get(&party, limit, read)),
        Step::GetMany { most, .. } => {
            let _ = queue.get_many(&party, most, limit, |message| {
                read(message);
                true
            });
        }
        Step::TaskDone { .. } => drop(queue.task_done(&party)),
        Step::Die { slot } => queue.recover(Slot::new(slot).unwrap()),
        Step::ShutDown { immediate } => drop(queue.shutdown(&party, immediate)),
    }
}

fn withstand(steps: Vec<HostileStep>, maxsize: u32, acknowledged: bool, all_interrupted: bool) {
    let memory = Arc::new(Mapping::create("test", Interrupt::BYTES).unwrap().1);
    Interrupt::open(&memory, 0).unwrap().raise();
    let (file, queue) = hostile_queue(4096, QueueOptions { maxsize, acknowledged });
    for step in steps {
        match step {
            HostileStep::Poke { at, value } => poke(&file, at, value),
            HostileStep::Honest(step) => try_step(&queue, step, 1, all_interrupted.then_some(&memory)),
            HostileStep::PollInterrupted(step) => try_step(&queue, step, 2, Some(&memory)),
            HostileStep::Join => {
                let _ = queue.join(&party(1), Limit::after(Some(Duration::from_micros(100))));
            }
        }
        let _ = (queue.len(), queue.is_full(), format!("{queue:?}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn anything_in_its_memory_leads_to_errors_at_most(
        steps in prop::collection::vec(hostile_step(false), 1..60),
        maxsize in 0..3u32,
        acknowledged in any::<bool>(),
    ) {
        withstand(steps, maxsize, acknowledged, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn anything_in_its_locks_can_be_given_up(
        steps in prop::collection::vec(hostile_step(true), 1..60),
        maxsize in 0..3u32,
        acknowledged in any::<bool>(),
    ) {
        withstand(steps, maxsize, acknowledged, true);
    }
}

#[test]
fn a_process_that_rewrites_everything_all_the_time_cannot_hold_anybody() {
    let (file, queue) = hostile_queue(4096, QueueOptions::default());
    let attacker = Child::run(|| {
        let mut random = Random(1);
        loop {
            let at = random.below((HEADER_END - 8) / 8 + 64) * 8;
            let at = if at < HEADER_END { at } else { at - HEADER_END + DATA };
            if !LOCKS.contains(&at) && !(SETTINGS..DONE).contains(&at) {
                poke(
                    &file,
                    at,
                    [random.next(), random.below(100), 0][random.below(3) as usize],
                );
            }
        }
    });
    let mut random = Random(2);
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let limit = Limit::after(Some(Duration::from_micros(random.below(300))));
        let _ = queue.put(&party(1), 0, &[&[1; 100]], limit);
        let _ = queue.get(&party(1), limit, |message| message.to_vec());
        let _ = queue.join(&party(1), limit);
        let _ = queue.task_done(&party(1));
    }
    attacker.kill();
}
