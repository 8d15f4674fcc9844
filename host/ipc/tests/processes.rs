//! Rings between real processes: streams, sleeps, and kills at any moment.
//!
//! Children are forked. They touch their rings, exit by `_exit`, and report by exit status; the parent waits for each
//! of them with a deadline, so that a lost wake-up fails a test instead of hanging it.

use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use wasmp_ipc::{Consumer, Doorbell, Mapping, Producer, Ticket, ring_bytes};

/// Longer than any sleep here should take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many processes each of the kill tests kills.
fn kills() -> u64 {
    std::env::var("WASMP_KILLS").map_or(2500, |kills| kills.parse().expect("WASMP_KILLS is a number"))
}

/// A forked process, killed when dropped.
struct Child(Pid);

impl Child {
    fn run(body: impl FnOnce()) -> Child {
        // SAFETY: the child has one thread and a copy of the memory. Of what other threads may have held locked at the
        // fork it uses the allocator alone, which glibc keeps usable.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let outcome = panic::catch_unwind(AssertUnwindSafe(body));
            // SAFETY: ends the process without running the parent's exit handlers.
            unsafe { libc::_exit(i32::from(outcome.is_err())) };
        }
        Child(Pid::from_raw(pid).expect("fork"))
    }

    fn kill(self) {
        kill_process(self.0, Signal::KILL).unwrap();
        let (_, status) = waitpid(Some(self.0), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(
            status.terminating_signal(),
            Some(Signal::KILL.as_raw()),
            "the child failed before it was killed"
        );
        std::mem::forget(self);
    }

    fn join(self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match waitpid(Some(self.0), WaitOptions::NOHANG).unwrap() {
                Some((_, status)) => break assert_eq!(WaitStatus::exit_status(status), Some(0)),
                None => assert!(Instant::now() < deadline, "a child that does not end"),
            }
            thread::sleep(Duration::from_millis(1));
        }
        std::mem::forget(self);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
        let _ = waitpid(Some(self.0), WaitOptions::empty());
    }
}

/// Both ends of two rings that go opposite ways.
fn two_rings(capacity: usize) -> ((Producer, Consumer), (Producer, Consumer)) {
    let (fd, here) = Mapping::create("test", 2 * ring_bytes(capacity)).unwrap();
    let there = Arc::new(Mapping::open(fd.as_fd(), here.len()).unwrap());
    let here = Arc::new(here);
    let second = ring_bytes(capacity);
    (
        (
            Producer::new(&here, 0, capacity).unwrap(),
            Consumer::new(&there, 0, capacity).unwrap(),
        ),
        (
            Producer::new(&there, second, capacity).unwrap(),
            Consumer::new(&here, second, capacity).unwrap(),
        ),
    )
}

/// Numbers without a pattern (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The payload of record `number`: the number, and a length and bytes that follow from it.
fn fill(number: u64, longest: usize, payload: &mut Vec<u8>) {
    let mut random = Random(number);
    let length = 8 + random.below(longest as u64 - 7) as usize;
    payload.clear();
    payload.extend_from_slice(&number.to_ne_bytes());
    while payload.len() < length {
        payload.extend_from_slice(&random.next().to_ne_bytes());
    }
    payload.truncate(length);
}

fn write_or_sleep(producer: &mut Producer, payload: &[u8]) -> Ticket {
    loop {
        if let Some(ticket) = producer.try_write(&[payload]).unwrap() {
            return ticket;
        }
        publish(producer);
        assert!(
            producer
                .park_for_space(payload.len(), Some(Instant::now() + PATIENCE))
                .unwrap(),
            "nobody makes room"
        );
    }
}

fn publish(producer: &mut Producer) {
    producer.publish();
    if producer.consumer_parked() {
        producer.wake_consumer();
    }
}

fn release(consumer: &mut Consumer) {
    consumer.release();
    if consumer.producer_parked() {
        consumer.wake_producer();
    }
}

/// Copies the next record, if one is there.
fn read(consumer: &mut Consumer, payload: &mut Vec<u8>) -> bool {
    let Some(record) = consumer.peek().unwrap() else {
        return false;
    };
    payload.resize(record.len(), 0);
    consumer.read(0, payload).unwrap();
    consumer.advance();
    true
}

fn read_or_sleep(consumer: &mut Consumer, payload: &mut Vec<u8>) {
    let deadline = Instant::now() + PATIENCE;
    while !read(consumer, payload) {
        release(consumer);
        if consumer.prepare_park() {
            consumer.park(Some(deadline));
        }
        assert!(Instant::now() < deadline, "nothing comes");
    }
}

#[test]
fn millions_of_records_cross_a_small_ring_intact() {
    const RECORDS: u64 = 2_000_000;
    let ((mut producer, mut consumer), _) = two_rings(4096);
    let longest = 200;
    let child = Child::run(|| {
        let mut random = Random(1);
        let mut payload = Vec::new();
        for number in 0..RECORDS {
            fill(number, longest, &mut payload);
            write_or_sleep(&mut producer, &payload);
            if random.below(8) == 0 {
                publish(&mut producer);
            }
        }
        publish(&mut producer);
    });
    let mut random = Random(2);
    let (mut payload, mut expected) = (Vec::new(), Vec::new());
    for number in 0..RECORDS {
        read_or_sleep(&mut consumer, &mut payload);
        fill(number, longest, &mut expected);
        assert_eq!(payload, expected);
        if random.below(8) == 0 {
            release(&mut consumer);
        }
    }
    child.join();
}

#[test]
fn two_processes_wake_each_other_for_every_message() {
    const ROUND_TRIPS: u64 = 30_000;
    let ((mut tasks, mut their_tasks), (mut their_results, mut results)) = two_rings(1024);
    let child = Child::run(|| {
        let mut payload = Vec::new();
        for _ in 0..ROUND_TRIPS {
            read_or_sleep(&mut their_tasks, &mut payload);
            write_or_sleep(&mut their_results, &payload);
            publish(&mut their_results);
        }
    });
    let mut payload = Vec::new();
    for number in 0..ROUND_TRIPS {
        write_or_sleep(&mut tasks, &number.to_ne_bytes());
        publish(&mut tasks);
        read_or_sleep(&mut results, &mut payload);
        assert_eq!(payload, number.to_ne_bytes());
    }
    child.join();
}

#[test]
fn a_process_asleep_in_epoll_is_woken_by_the_doorbell() {
    const MESSAGES: u64 = 30_000;
    let (_, (mut producer, mut consumer)) = two_rings(1024);
    let doorbell = Doorbell::create().unwrap();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let once_per_ring = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, &doorbell, epoll::EventData::new_u64(0), once_per_ring).unwrap();
    let child = Child::run(|| {
        let mut random = Random(3);
        for number in 0..MESSAGES {
            write_or_sleep(&mut producer, &number.to_ne_bytes());
            if random.below(4) == 0 {
                producer.publish();
                if producer.consumer_parked() {
                    doorbell.ring();
                }
                // The other side gets the time to fall asleep.
                thread::yield_now();
            }
        }
        producer.publish();
        doorbell.ring();
    });
    let (mut payload, mut number) = (Vec::new(), 0u64);
    while number < MESSAGES {
        while read(&mut consumer, &mut payload) {
            assert_eq!(payload, number.to_ne_bytes());
            number += 1;
        }
        release(&mut consumer);
        if number < MESSAGES && consumer.prepare_park() {
            let mut events = Vec::with_capacity(1);
            let timeout = PATIENCE.try_into().unwrap();
            epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)).unwrap();
            assert!(!events.is_empty(), "the doorbell did not ring");
            consumer.cancel_park();
        }
    }
    child.join();
}

#[test]
fn a_killed_producer_leaves_whole_publications_only() {
    /// Records in a publication.
    const TOGETHER: u64 = 3;
    let longest = 300;
    let mut random = Random(u64::from(std::process::id()));
    let (mut payload, mut expected) = (Vec::new(), Vec::new());
    let mut records = 0;
    for kill in 0..kills() {
        let ((mut producer, mut consumer), _) = two_rings(4096);
        let child = Child::run(|| {
            let mut payload = Vec::new();
            for publication in 0.. {
                // Room for all, so that nothing of it is published early.
                assert!(producer.park_for_space(1000, Some(Instant::now() + PATIENCE)).unwrap());
                for number in 0..TOGETHER {
                    fill(publication * TOGETHER + number, longest, &mut payload);
                    producer.try_write(&[&payload]).unwrap().unwrap();
                }
                publish(&mut producer);
            }
        });
        let mut number = 0;
        let mut check_all = || {
            while read(&mut consumer, &mut payload) {
                fill(number, longest, &mut expected);
                assert_eq!(payload, expected, "kill {kill}");
                number += 1;
            }
            release(&mut consumer);
        };
        let alive_until = Instant::now() + Duration::from_micros(random.below(800));
        while Instant::now() < alive_until {
            check_all();
        }
        child.kill();
        check_all();
        assert_eq!(number % TOGETHER, 0, "kill {kill}: a part of a publication");
        records += number;
    }
    assert!(records > 0, "killed before they did anything");
}

#[test]
fn a_killed_consumer_leaves_at_most_one_task_in_doubt() {
    const TASKS: u64 = 3000;
    let mut random = Random(u64::from(std::process::id()));
    let mut partly_done = 0;
    for kill in 0..kills() {
        let ((mut tasks, mut their_tasks), (mut their_results, mut results)) = two_rings(1 << 16);
        let tickets: Vec<Ticket> = (0..TASKS)
            .map(|number| tasks.try_write(&[&number.to_ne_bytes()]).unwrap().expect("room"))
            .collect();
        publish(&mut tasks);
        let child = Child::run(|| {
            let mut payload = Vec::new();
            loop {
                while their_tasks.peek().unwrap().is_some() {
                    let taken = their_tasks.take();
                    read(&mut their_tasks, &mut payload);
                    if taken {
                        write_or_sleep(&mut their_results, &payload);
                        publish(&mut their_results);
                    }
                }
                release(&mut their_tasks);
                if their_tasks.prepare_park() {
                    their_tasks.park(None);
                }
            }
        });
        let alive_until = Instant::now() + Duration::from_micros(random.below(800));
        let mut done = vec![false; tickets.len()];
        let mut payload = Vec::new();
        let mut note_done = || {
            while read(&mut results, &mut payload) {
                let number = u64::from_ne_bytes(payload[..].try_into().unwrap());
                assert!(
                    !std::mem::replace(&mut done[number as usize], true),
                    "kill {kill}: done twice"
                );
            }
            release(&mut results);
        };
        while Instant::now() < alive_until {
            note_done();
        }
        child.kill();
        note_done();
        let mut lost = 0;
        for (done, ticket) in done.iter().zip(&tickets) {
            let came_back = tasks.revoke(ticket);
            assert!(!(*done && came_back), "kill {kill}: a task that was done came back");
            lost += u64::from(!done && !came_back);
        }
        assert!(lost <= 1, "kill {kill}: {lost} tasks neither done nor back");
        partly_done += u64::from(done.contains(&true) && done.contains(&false));
    }
    assert!(partly_done > 0, "no kill came in the middle");
}
