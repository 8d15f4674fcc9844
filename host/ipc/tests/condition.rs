//! Conditions between processes and threads, with both kinds of locks.

mod common;

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE, Random, Words, number_from_env};
use proptest::prelude::*;
use rustix::process::{Signal, kill_process};
use wasmp_ipc::{
    Condition, ConditionError, Interrupt, Limit, Lock, Mapping, Party, RLock, SharedBytes, Slot, Waited, Width,
};

const NOTIFIED: Waited = Waited {
    notified: true,
    abandoned: false,
};
const TIMED_OUT: Waited = Waited {
    notified: false,
    abandoned: false,
};

fn memory(len: usize) -> (OwnedFd, Arc<Mapping>) {
    let (fd, mapping) = Mapping::create("test", len).unwrap();
    (fd, Arc::new(mapping))
}

fn condition() -> Condition {
    Condition::create(&memory(Condition::BYTES).1).unwrap()
}

fn lock() -> Lock {
    Lock::create(&memory(Lock::BYTES).1).unwrap()
}

fn rlock() -> RLock {
    RLock::create(&memory(RLock::BYTES).1).unwrap()
}

fn soon() -> Limit {
    Limit::after(Some(PATIENCE))
}

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn worker(number: usize) -> Party {
    Party::worker(slot(number), None)
}

fn locked<R>(lock: &RLock, party: &Party, body: impl FnOnce() -> R) -> R {
    lock.acquire(party, soon()).unwrap();
    let result = body();
    lock.release(party).unwrap();
    result
}

/// One wait, with the lock acquired and released around it.
fn wait(condition: &Condition, lock: &RLock, party: &Party, limit: Limit) -> Result<Waited, ConditionError> {
    locked(lock, party, || condition.wait(party, lock, limit))
}

/// One notification, likewise.
fn notify(condition: &Condition, lock: &RLock, party: &Party, count: usize) -> usize {
    locked(lock, party, || condition.notify(party, lock, count).unwrap())
}

/// Waits until so many are waiting.
fn until_waiting(condition: &Condition, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while condition.n_waiting() != count {
        assert!(Instant::now() < deadline, "they do not come: {condition:?}");
        thread::yield_now();
    }
}

#[test]
fn c_01_a_notification_wakes_so_many_and_the_others_sleep_on() {
    let (condition, lock) = (condition(), rlock());
    let woken = Words::new(1);
    let body = |party: &Party| {
        assert_eq!(wait(&condition, &lock, party, soon()), Ok(NOTIFIED));
        woken[0].fetch_add(1, Ordering::Relaxed);
    };
    thread::scope(|scope| {
        let children: Vec<Child> = (1..=3).map(|number| Child::run(|| body(&worker(number)))).collect();
        (0..3).for_each(|_| {
            scope.spawn(|| body(&Party::host()));
        });
        until_waiting(&condition, 6);
        assert_eq!(woken.get(0), 0);
        for count in [0, 1, 2] {
            let before = woken.get(0);
            assert_eq!(notify(&condition, &lock, &Party::host(), count), count);
            let deadline = Instant::now() + PATIENCE;
            while woken.get(0) < before + count as u64 {
                assert!(Instant::now() < deadline, "they do not wake up");
                thread::yield_now();
            }
        }
        assert_eq!((woken.get(0), condition.n_waiting()), (3, 3));
        assert_eq!(notify(&condition, &lock, &Party::host(), usize::MAX), 3);
        children.into_iter().for_each(Child::join);
    });
    assert_eq!(condition.n_waiting(), 0);
}

#[test]
fn c_02_six_time_out_and_then_six_wake_on_one_notification() {
    let (condition, lock) = (condition(), rlock());
    for (limit, expected) in [(Duration::from_millis(30), TIMED_OUT), (PATIENCE, NOTIFIED)] {
        let body = |party: &Party| {
            let waited = wait(&condition, &lock, party, Limit::after(Some(limit)));
            assert_eq!(waited, Ok(expected));
        };
        thread::scope(|scope| {
            let children: Vec<Child> = (1..=3).map(|number| Child::run(|| body(&worker(number)))).collect();
            (0..3).for_each(|_| {
                scope.spawn(|| body(&Party::host()));
            });
            if expected.notified {
                until_waiting(&condition, 6);
                assert_eq!(notify(&condition, &lock, &worker(4), usize::MAX), 6);
            }
            children.into_iter().for_each(Child::join);
        });
        assert_eq!(condition.n_waiting(), 0);
    }
}

#[test]
fn c_04_a_wait_ends_at_its_limit_with_the_lock_held() {
    let (condition, lock) = (condition(), rlock());
    let party = Party::host();
    lock.acquire(&party, Limit::Poll).unwrap();
    let short = Duration::from_millis(30);
    let started = Instant::now();
    let limit = Limit::after(Some(short));
    assert_eq!(condition.wait(&party, &lock, limit), Ok(TIMED_OUT));
    assert!(started.elapsed() >= short);
    assert_eq!(condition.wait(&party, &lock, Limit::Poll), Ok(TIMED_OUT));
    assert!(lock.is_mine(&party));
    assert_eq!(condition.notify(&party, &lock, 1), Ok(0), "nobody waits any more");
}

#[test]
fn c_05_a_predicate_becomes_true_in_another_process() {
    let (condition, lock) = (condition(), rlock());
    let state = Words::new(1);
    let child = Child::run(|| {
        let party = worker(1);
        locked(&lock, &party, || {
            state.set(0, 1);
            condition.notify(&party, &lock, 1).unwrap();
            let waited = condition.wait_for(&party, &lock, soon(), || state.get(0) == 4);
            assert_eq!(waited, Ok(NOTIFIED));
        });
    });
    let party = Party::host();
    locked(&lock, &party, || {
        let waited = condition.wait_for(&party, &lock, soon(), || state.get(0) == 1);
        assert_eq!(waited, Ok(NOTIFIED));
    });
    for value in 2..=4 {
        until_waiting(&condition, 1);
        locked(&lock, &party, || {
            state.set(0, value);
            condition.notify(&party, &lock, 1).unwrap();
        });
    }
    child.join();
}

#[test]
fn c_06_a_predicate_that_stays_false_is_waited_for_until_the_limit() {
    let (condition, lock) = (condition(), rlock());
    let party = Party::host();
    let stop = Words::new(1);
    // Notifications do not make the time longer.
    let child = Child::run(|| {
        while stop.get(0) == 0 {
            notify(&condition, &lock, &worker(1), 1);
        }
    });
    let short = Duration::from_millis(50);
    let started = Instant::now();
    let mut asked = 0;
    let waited = locked(&lock, &party, || {
        condition.wait_for(&party, &lock, Limit::after(Some(short)), || {
            asked += 1;
            false
        })
    });
    assert!(started.elapsed() >= short);
    assert_eq!(waited, Ok(TIMED_OUT));
    assert!(asked > 1);
    stop.set(0, 1);
    child.join();
    // As in CPython, one that is true already is not waited for, and does not take the lock.
    assert_eq!(condition.wait_for(&party, &lock, Limit::Poll, || true), Ok(NOTIFIED));
    let waited = locked(&lock, &party, || {
        condition.wait_for(&party, &lock, Limit::Poll, || false)
    });
    assert_eq!(waited, Ok(TIMED_OUT));
}

#[test]
fn c_09_waiting_and_notifying_take_the_lock() {
    let (condition, lock, plain) = (condition(), rlock(), lock());
    let (party, other) = (worker(1), worker(2));
    let is_refused = |by: &Party| {
        assert_eq!(condition.wait(by, &lock, soon()), Err(ConditionError::NotOwner));
        assert_eq!(condition.notify(by, &lock, 1), Err(ConditionError::NotOwner));
        assert_eq!(condition.wait(by, &plain, soon()), Err(ConditionError::NotOwner));
        assert_eq!(condition.notify(by, &plain, 1), Err(ConditionError::NotOwner));
    };
    is_refused(&party);
    lock.acquire(&other, Limit::Poll).unwrap();
    plain.acquire(&other, Limit::Poll).unwrap();
    is_refused(&party);
    assert_eq!(condition.n_waiting(), 0);
}

#[test]
fn c_10_all_levels_of_a_recursive_lock_are_released_and_restored() {
    let (condition, lock) = (condition(), rlock());
    let child = Child::run(|| {
        let party = worker(1);
        (0..3).for_each(|_| {
            lock.acquire(&party, soon()).unwrap();
        });
        assert_eq!(condition.wait(&party, &lock, soon()), Ok(NOTIFIED));
        assert_eq!(lock.count(), 3);
        assert!(lock.is_mine(&party));
        (0..3).for_each(|_| lock.release(&party).unwrap());
    });
    until_waiting(&condition, 1);
    assert_eq!(notify(&condition, &lock, &Party::host(), 1), 1);
    child.join();
    assert_eq!(lock.count(), 0);
}

#[test]
fn it_goes_with_a_lock_that_is_not_recursive() {
    let (condition, lock) = (condition(), lock());
    let child = Child::run(|| {
        let party = worker(1);
        lock.acquire(&party, soon()).unwrap();
        assert_eq!(condition.wait(&party, &lock, soon()), Ok(NOTIFIED));
        assert_eq!(lock.owner(), Some(slot(1)));
        lock.release(&party).unwrap();
    });
    until_waiting(&condition, 1);
    let party = Party::host();
    lock.acquire(&party, soon()).unwrap();
    assert_eq!(condition.notify(&party, &lock, 1), Ok(1));
    lock.release(&party).unwrap();
    child.join();
}

#[test]
fn a_notification_does_not_wait_for_the_woken() {
    let (condition, lock) = (condition(), rlock());
    let party = Party::host();
    let child = Child::run(|| {
        assert_eq!(wait(&condition, &lock, &worker(1), soon()), Ok(NOTIFIED));
    });
    until_waiting(&condition, 1);
    locked(&lock, &party, || {
        assert_eq!(condition.notify(&party, &lock, 1), Ok(1));
        // It cannot even return before the lock is released.
        assert_eq!(condition.notify(&party, &lock, 1), Ok(0), "it has been notified");
        assert!(child.falls_asleep());
    });
    child.join();
}

#[test]
fn a_notification_that_comes_after_the_limit_but_before_the_lock_counts() {
    let (condition, lock) = (condition(), rlock());
    let party = Party::host();
    let over = Instant::now() + Duration::from_millis(100);
    let child = Child::run(|| {
        assert_eq!(wait(&condition, &lock, &worker(1), Limit::Until(over)), Ok(NOTIFIED));
    });
    until_waiting(&condition, 1);
    locked(&lock, &party, || {
        while Instant::now() < over + Duration::from_millis(1) {
            thread::yield_now();
        }
        assert_eq!(condition.notify(&party, &lock, 1), Ok(1));
    });
    child.join();
}

#[test]
fn an_interrupted_wait_ends_with_the_lock_held() {
    let (_fd, mapping) = memory(Interrupt::BYTES);
    let interrupt = || Interrupt::open(&mapping, 0).unwrap();
    let (condition, lock) = (condition(), rlock());
    let child = Child::run(|| {
        let party = Party::worker(slot(1), Some(interrupt()));
        lock.acquire(&party, soon()).unwrap();
        lock.acquire(&party, soon()).unwrap();
        let waited = condition.wait(&party, &lock, soon());
        assert_eq!(waited, Err(ConditionError::Interrupted { abandoned: false }));
        assert!(lock.is_mine(&party));
        assert_eq!(lock.count(), 2);
        let waited = condition.wait_for(&party, &lock, soon(), || false);
        assert_eq!(waited, Err(ConditionError::Interrupted { abandoned: false }));
        interrupt().clear();
        assert_eq!(condition.wait(&party, &lock, Limit::Poll), Ok(TIMED_OUT));
        lock.release(&party).unwrap();
        lock.release(&party).unwrap();
    });
    until_waiting(&condition, 1);
    // It takes the lock again, however long that takes.
    locked(&lock, &Party::host(), || {
        interrupt().raise();
        assert!(child.falls_asleep());
    });
    child.join();
    assert_eq!(condition.n_waiting(), 0);
}

#[test]
fn a_killed_waiter_takes_no_notification() {
    let (condition, lock) = (condition(), rlock());
    let party = Party::host();
    let victim = Child::run(|| {
        let _ = wait(&condition, &lock, &worker(1), soon());
    });
    until_waiting(&condition, 1);
    let other = Child::run(|| assert_eq!(wait(&condition, &lock, &worker(2), soon()), Ok(NOTIFIED)));
    until_waiting(&condition, 2);
    victim.kill();
    // CPython's hangs here, until the victim answers (gh-75158).
    assert_eq!(notify(&condition, &lock, &party, 0), 0);
    condition.recover(slot(1));
    assert_eq!(condition.n_waiting(), 1);
    assert_eq!(notify(&condition, &lock, &party, 1), 1);
    other.join();
    assert_eq!(condition.n_waiting(), 0);
}

#[test]
fn the_notification_of_one_that_is_killed_before_it_could_act_goes_to_the_next_that_waited() {
    let (condition, lock) = (condition(), rlock());
    let party = Party::host();
    let waiter = |number| {
        let child = Child::run(|| assert_eq!(wait(&condition, &lock, &worker(number), soon()), Ok(NOTIFIED)));
        until_waiting(&condition, number);
        child
    };
    let [victim, next, last] = [1, 2, 3].map(waiter);
    lock.acquire(&party, soon()).unwrap();
    assert_eq!(condition.notify(&party, &lock, 1), Ok(1));
    victim.kill();
    assert_eq!(condition.n_waiting(), 2);
    condition.recover(slot(1));
    assert_eq!(condition.n_waiting(), 1);
    condition.recover(slot(1));
    assert_eq!(condition.n_waiting(), 1, "it is passed on once");
    lock.release(&party).unwrap();
    next.join();
    assert_eq!(notify(&condition, &lock, &party, 1), 1);
    last.join();
}

#[test]
fn a_notification_is_not_passed_on_to_one_that_came_after_it() {
    let (condition, lock) = (condition(), rlock());
    let victim = Child::run(|| {
        let _ = wait(&condition, &lock, &worker(1), soon());
    });
    until_waiting(&condition, 1);
    // Notifies, and then waits itself: the victim is woken and gets the lock, if it is not stopped.
    kill_process(victim.pid(), Signal::STOP).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while common::state(victim.pid()) != 'T' {
        assert!(Instant::now() < deadline, "a process that does not stop");
        thread::yield_now();
    }
    let other = Child::run(|| {
        let party = worker(2);
        locked(&lock, &party, || {
            assert_eq!(condition.notify(&party, &lock, 1), Ok(1));
            assert_eq!(condition.wait(&party, &lock, soon()), Ok(NOTIFIED));
        });
    });
    until_waiting(&condition, 1);
    assert!(other.falls_asleep());
    victim.kill();
    condition.recover(slot(1));
    assert_eq!(condition.n_waiting(), 1);
    assert_eq!(notify(&condition, &lock, &Party::host(), 1), 1);
    other.join();
}

#[test]
fn a_lock_abandoned_meanwhile_is_told_to_the_one_that_gets_it() {
    let (condition, lock) = (condition(), rlock());
    let holds = Words::new(1);
    for number in [1, 2] {
        let limit = Limit::after(Some(Duration::from_millis(50)));
        let waiter = Child::run(|| {
            let party = worker(1);
            let waited = match number {
                1 => wait(&condition, &lock, &party, limit),
                _ => locked(&lock, &party, || condition.wait_for(&party, &lock, limit, || false)),
            };
            let expected = Waited {
                notified: false,
                abandoned: true,
            };
            assert_eq!(waited, Ok(expected));
        });
        until_waiting(&condition, 1);
        let holder = Child::run(|| {
            lock.acquire(&worker(2), soon()).unwrap();
            holds.set(0, number);
            loop {
                thread::park();
            }
        });
        let deadline = Instant::now() + PATIENCE;
        while holds.get(0) != number {
            assert!(Instant::now() < deadline, "the lock is not free");
            thread::yield_now();
        }
        holder.kill();
        condition.recover(slot(2));
        lock.recover(slot(2));
        waiter.join();
    }
}

#[test]
fn the_oldest_are_notified_first() {
    let (condition, lock) = (condition(), rlock());
    let (told, hear) = mpsc::channel();
    thread::scope(|scope| {
        let mut random = Random(1);
        let mut waiting = VecDeque::new();
        for number in 0..300 {
            if random.below(2) == 0 {
                let told = told.clone();
                let (condition, lock) = (&condition, &lock);
                scope.spawn(move || {
                    assert_eq!(wait(condition, lock, &Party::host(), soon()), Ok(NOTIFIED));
                    told.send(number).unwrap();
                });
                waiting.push_back(number);
                until_waiting(condition, waiting.len());
            } else {
                let count = random.below(4) as usize;
                let expected = count.min(waiting.len());
                assert_eq!(notify(&condition, &lock, &Party::host(), count), expected);
                let mut woken: Vec<u32> = (0..expected).map(|_| hear.recv_timeout(PATIENCE).unwrap()).collect();
                woken.sort_unstable();
                assert!(waiting.drain(..expected).eq(woken));
            }
        }
        notify(&condition, &lock, &Party::host(), usize::MAX);
    });
    assert_eq!(condition.n_waiting(), 0);
}

#[test]
fn items_reach_consumers_of_which_one_is_killed_at_any_moment() {
    const CONSUMERS: usize = 3;
    const ITEMS: u64 = 50;
    let mut random = Random(u64::from(std::process::id()));
    // How many items there are, and how often somebody was told that the lock was abandoned.
    let words = Words::new(2);
    let [items, abandoned] = [0, 1];
    for kill in 0..number_from_env("WASMP_KILLS").unwrap_or(500) {
        let (condition, lock) = (condition(), rlock());
        // Of one that has the lock.
        let see_to_abandoned = |party: &Party, is_abandoned: bool| {
            if is_abandoned {
                words.increment_alone(abandoned);
                // The dead one had been notified, perhaps, and has not acted on it.
                condition.notify(party, &lock, usize::MAX).unwrap();
            }
        };
        let consume = |party: Party| {
            loop {
                let acquired = lock.acquire(&party, soon()).unwrap();
                let waited = condition.wait_for(&party, &lock, soon(), || words.get(items) > 0);
                let waited = waited.unwrap();
                see_to_abandoned(&party, acquired.abandoned || waited.abandoned);
                assert!(waited.notified);
                // For long enough to be killed meanwhile.
                let until = Instant::now() + Duration::from_micros(20);
                while Instant::now() < until {}
                words.set(items, words.get(items) - 1);
                lock.release(&party).unwrap();
            }
        };
        let put = |party: &Party| {
            let acquired = lock.acquire(party, soon()).unwrap();
            see_to_abandoned(party, acquired.abandoned);
            words.set(items, words.get(items) + 1);
            condition.notify(party, &lock, 1).unwrap();
            lock.release(party).unwrap();
        };
        let mut children: Vec<Child> = (1..=CONSUMERS)
            .map(|number| Child::run(|| consume(worker(number))))
            .collect();
        let killed_at = random.below(ITEMS);
        for item in 0..ITEMS {
            if item == killed_at {
                let alive_until = Instant::now() + Duration::from_micros(random.below(100));
                while Instant::now() < alive_until {}
                // The one that has the lock, if there is one.
                let any = 1 + random.below(CONSUMERS as u64) as usize;
                let victim = lock.owner().map_or(any, Slot::number);
                children.remove(victim - 1).kill();
                condition.recover(slot(victim));
                lock.recover(slot(victim));
            }
            put(&Party::host());
        }
        let deadline = Instant::now() + PATIENCE;
        while words.get(items) > 0 {
            assert!(
                Instant::now() < deadline,
                "kill {kill}: nobody takes {} items: {condition:?} {lock:?}, asleep: {:?}",
                words.get(items),
                children.iter().map(Child::is_asleep).collect::<Vec<_>>()
            );
            thread::yield_now();
        }
    }
    assert!(words.get(abandoned) > 0, "no kill came while the lock was held");
}

#[test]
fn more_than_there_is_room_for_are_refused_and_keep_the_lock() {
    let (fd, mapping) = memory(Condition::BYTES);
    let (condition, lock) = (Condition::create(&mapping).unwrap(), rlock());
    let file = File::from(fd);
    for cell in 0..CELLS {
        file.write_all_at(&state(0, 9, 0).to_ne_bytes(), CELLS_AT + 16 * cell)
            .unwrap();
    }
    let party = Party::host();
    lock.acquire(&party, Limit::Poll).unwrap();
    assert_eq!(
        condition.wait(&party, &lock, soon()),
        Err(ConditionError::TooManyWaiters)
    );
    assert!(lock.is_mine(&party));
    file.write_all_at(&0u64.to_ne_bytes(), CELLS_AT + 16 * (CELLS - 1))
        .unwrap();
    assert_eq!(condition.wait(&party, &lock, Limit::Poll), Ok(TIMED_OUT));
    assert_eq!(condition.notify(&party, &lock, usize::MAX), Ok(CELLS as usize - 1));
}

#[test]
fn it_is_opened_by_others_and_needs_its_room() {
    let (fd, mapping) = memory(Condition::BYTES);
    Condition::create(&mapping).unwrap();
    Condition::open(&Arc::new(Mapping::open(fd.as_fd(), Condition::BYTES).unwrap())).unwrap();
    for len in [1, Condition::BYTES - 1] {
        let refused = Condition::open(&memory(len).1).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
    }
}

const TICKETS_AT: u64 = 0;
const REACH_AT: u64 = 8;
const CELLS_AT: u64 = 16;
const CELLS: u64 = 1024;

fn state(ticket: u64, slot: u64, flags: u64) -> u64 {
    ticket << 13 | (slot + 1) << 2 | flags
}

/// One step of a party, or of a hostile one.
#[derive(Clone, Debug)]
enum Step {
    Poke { at: u64, value: u64 },
    Wait { slot: usize, limit: u64 },
    Notify { slot: usize, count: usize },
    Recover { slot: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let cell = || prop_oneof![8 => 0..4u64, 1 => Just(CELLS - 1)];
    let at = prop_oneof![
        Just(TICKETS_AT),
        Just(REACH_AT),
        cell().prop_map(|cell| CELLS_AT + 16 * cell),
        cell().prop_map(|cell| CELLS_AT + 16 * cell + 8),
    ];
    let value = prop_oneof![
        any::<u64>(),
        0..8u64,
        Just(u64::MAX),
        (0..5u64, 0..4u64, 0..4u64).prop_map(|(ticket, slot, flags)| state(ticket, slot, flags)),
    ];
    let slot = || 0..4usize;
    prop_oneof![
        3 => (at, value).prop_map(|(at, value)| Step::Poke { at, value }),
        3 => (slot(), 0..3u64).prop_map(|(slot, limit)| Step::Wait { slot, limit }),
        1 => (slot(), prop_oneof![0..3usize, Just(usize::MAX)]).prop_map(|(slot, count)| Step::Notify { slot, count }),
        1 => slot().prop_map(|slot| Step::Recover { slot }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn anything_in_the_memory_leads_to_errors_at_most(steps in prop::collection::vec(step(), 1..40)) {
        let (fd, mapping) = memory(Condition::BYTES);
        let (condition, lock) = (Condition::create(&mapping).unwrap(), rlock());
        let file = File::from(fd);
        for step in steps {
            match step {
                Step::Poke { at, value } => file.write_all_at(&value.to_ne_bytes(), at).unwrap(),
                Step::Wait { slot, limit } => {
                    let limit = Limit::after(Some(Duration::from_micros(50 * limit)));
                    let _ = wait(&condition, &lock, &worker(slot), limit);
                }
                Step::Notify { slot, count } => {
                    prop_assert!(notify(&condition, &lock, &worker(slot), count) <= CELLS as usize);
                }
                Step::Recover { slot: number } => condition.recover(slot(number)),
            }
            prop_assert!(condition.n_waiting() <= CELLS as usize);
        }
    }
}

#[test]
fn a_party_that_keeps_ringing_cannot_hold_others_beyond_their_limit() {
    let (_fd, mapping) = memory(Condition::BYTES);
    let (condition, lock) = (Condition::create(&mapping).unwrap(), rlock());
    let hostile = Child::run(|| {
        let bytes = SharedBytes::open(&mapping, mapping.len());
        loop {
            bytes.add(Width::Four, CELLS_AT as usize + 8, 1).unwrap();
        }
    });
    let other = Child::run(|| {
        let party = worker(1);
        for _ in 0..10 {
            let limit = Limit::after(Some(Duration::from_millis(5)));
            assert_eq!(wait(&condition, &lock, &party, limit), Ok(TIMED_OUT));
            notify(&condition, &lock, &party, usize::MAX);
            condition.recover(slot(1));
        }
    });
    other.join();
    hostile.kill();
}
