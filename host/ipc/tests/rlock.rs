//! What a recursive lock promises to several threads and processes.

mod common;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE, Words};
use proptest::prelude::*;
use wasmp_ipc::{Acquired, Limit, Mapping, Party, RLock, ReleaseError, Slot, WaitError};

const CLEAN: Acquired = Acquired { abandoned: false };
const ABANDONED: Acquired = Acquired { abandoned: true };

/// Where the words are.
const THREAD: u64 = 4;
const DEPTH: u64 = 8;

fn lock() -> RLock {
    hostile_lock().1
}

/// A lock, and its memory as a hostile process has it.
fn hostile_lock() -> (File, RLock) {
    let (fd, mapping) = Mapping::create("test", RLock::BYTES).unwrap();
    (fd.into(), RLock::create(&Arc::new(mapping)).unwrap())
}

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn party(number: usize) -> Party {
    Party::worker(slot(number), None)
}

/// A thread of the host that is not this one.
fn other_thread() -> Party {
    thread::spawn(Party::host).join().unwrap()
}

fn soon() -> Limit {
    Limit::after(Some(PATIENCE))
}

#[test]
fn its_owner_acquires_it_again_and_releases_it_as_often() {
    for owner in [party(1), Party::host()] {
        let lock = lock();
        for depth in 1..=3 {
            assert_eq!(lock.acquire(&owner, Limit::Poll), Ok(CLEAN));
            assert_eq!(lock.count(), depth);
        }
        for depth in (0..3).rev() {
            assert!(lock.is_mine(&owner));
            assert_eq!(lock.acquire(&party(2), Limit::Poll), Err(WaitError::TimedOut));
            assert_eq!(lock.release(&owner), Ok(()));
            assert_eq!(lock.count(), depth);
        }
        assert!(!lock.is_mine(&owner));
        assert_eq!(lock.release(&owner), Err(ReleaseError::NotOwner));
        assert_eq!(lock.acquire(&party(2), Limit::Poll), Ok(CLEAN));
    }
}

#[test]
fn nobody_else_can_release_it_not_even_another_thread_of_the_same_process() {
    let lock = lock();
    lock.acquire(&Party::host(), Limit::Poll).unwrap();
    for other in [party(1), other_thread()] {
        assert!(!lock.is_mine(&other));
        assert_eq!(lock.release(&other), Err(ReleaseError::NotOwner));
        assert_eq!(lock.acquire(&other, Limit::Poll), Err(WaitError::TimedOut));
    }
    assert_eq!(lock.release(&Party::host()), Ok(()));
    let other = other_thread();
    assert_eq!(lock.acquire(&other, Limit::Poll), Ok(CLEAN));
    assert!(lock.is_mine(&other) && !lock.is_mine(&Party::host()));
}

#[test]
fn l_04_it_says_who_owns_it_and_how_often() {
    let lock = lock();
    assert_eq!(format!("{lock:?}"), "RLock { owner: None, count: 0 }");
    for _ in 0..2 {
        lock.acquire(&party(7), Limit::Poll).unwrap();
    }
    assert_eq!(format!("{lock:?}"), "RLock { owner: Some(Slot(7)), count: 2 }");
}

#[test]
fn l_06_one_that_was_acquired_in_a_child_reads_locked() {
    let lock = lock();
    Child::run(|| {
        lock.acquire(&party(1), Limit::Poll).unwrap();
    })
    .join();
    assert_eq!((lock.owner(), lock.count()), (Some(slot(1)), 1));
    assert_eq!(lock.release(&party(2)), Err(ReleaseError::NotOwner));
}

#[test]
fn one_whose_owner_died_deep_inside_is_free_and_the_next_owner_is_told_once() {
    let lock = lock();
    Child::run(|| {
        for _ in 0..5 {
            lock.acquire(&party(1), Limit::Poll).unwrap();
        }
    })
    .join();
    let waiter = Child::run(|| {
        assert_eq!(lock.acquire(&party(2), soon()), Ok(ABANDONED));
        assert_eq!(lock.count(), 1);
        lock.release(&party(2)).unwrap();
    });
    assert!(waiter.falls_asleep());
    for _ in 0..2 {
        lock.recover(slot(1));
    }
    waiter.join();
    assert_eq!((lock.owner(), lock.count()), (None, 0));
    assert_eq!(lock.acquire(&party(3), Limit::Poll), Ok(CLEAN));
}

#[test]
fn waiting_ends_at_the_deadline_and_not_before() {
    let lock = lock();
    lock.acquire(&party(1), Limit::Poll).unwrap();
    let (started, short) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(
        lock.acquire(&party(2), Limit::Until(started + short)),
        Err(WaitError::TimedOut)
    );
    assert!(started.elapsed() >= short);
}

#[test]
fn a_mapping_too_small_for_it_is_refused() {
    let (_, mapping) = Mapping::create("test", RLock::BYTES - 1).unwrap();
    let error = RLock::open(&Arc::new(mapping)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn threads_and_processes_own_it_one_at_a_time() {
    const TIMES: u64 = 20_000;
    let (lock, words) = (lock(), Words::new(1));
    let count = |party: &Party| {
        for _ in 0..TIMES {
            lock.acquire(party, soon()).unwrap();
            lock.acquire(party, Limit::Poll).unwrap();
            words.increment_alone(0);
            lock.release(party).unwrap();
            words.increment_alone(0);
            lock.release(party).unwrap();
        }
    };
    let children = [1, 2].map(|number| Child::run(|| count(&party(number))));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| count(&Party::host()));
        }
    });
    children.into_iter().for_each(Child::join);
    assert_eq!(words.get(0), 4 * 2 * TIMES);
}

#[test]
fn a_depth_that_cannot_be_is_broken() {
    let (memory, lock) = hostile_lock();
    lock.acquire(&party(1), Limit::Poll).unwrap();
    memory.write_all_at(&u32::MAX.to_ne_bytes(), DEPTH).unwrap();
    assert_eq!(lock.acquire(&party(1), Limit::Poll), Err(WaitError::Broken));
    memory.write_all_at(&0u32.to_ne_bytes(), DEPTH).unwrap();
    assert_eq!(lock.release(&party(1)), Err(ReleaseError::Broken));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire(usize),
    Release(usize),
    /// Of a worker.
    Recover(usize),
}

/// Of the parties 0 and 1, threads of the host, and 2 and 3, workers.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize).prop_map(Step::Acquire),
        4 => (0..4usize).prop_map(Step::Release),
        1 => (2..4usize).prop_map(Step::Recover),
    ]
}

fn parties() -> [Party; 4] {
    [Party::host(), other_thread(), party(2), party(3)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_variable_does(steps in prop::collection::vec(step(), 1..100)) {
        let (lock, parties) = (lock(), parties());
        // The owner and its depth.
        let (mut owned, mut abandoned) = (None, false);
        for step in steps {
            match step {
                Step::Acquire(number) => {
                    let (depth, expected) = match owned {
                        None => (1, Ok(Acquired { abandoned: std::mem::take(&mut abandoned) })),
                        Some((owner, depth)) if owner == number => (depth + 1, Ok(CLEAN)),
                        Some(_) => (0, Err(WaitError::TimedOut)),
                    };
                    prop_assert_eq!(lock.acquire(&parties[number], Limit::Poll), expected);
                    if expected.is_ok() {
                        owned = Some((number, depth));
                    }
                }
                Step::Release(number) => {
                    let released = lock.release(&parties[number]);
                    match owned {
                        Some((owner, depth)) if owner == number => {
                            prop_assert_eq!(released, Ok(()));
                            owned = (depth > 1).then_some((owner, depth - 1));
                        }
                        _ => prop_assert_eq!(released, Err(ReleaseError::NotOwner)),
                    }
                }
                Step::Recover(number) => {
                    lock.recover(parties[number].slot());
                    let dead = |(owner, _): &(usize, u32)| *owner == number;
                    abandoned |= owned.as_ref().is_some_and(dead);
                    owned = owned.filter(|owned| !dead(owned));
                }
            }
            for (number, party) in parties.iter().enumerate() {
                prop_assert_eq!(lock.is_mine(party), owned.is_some_and(|(owner, _)| owner == number));
            }
            prop_assert_eq!(lock.count(), owned.map_or(0, |(_, depth)| depth));
        }
    }

    #[test]
    fn whatever_is_written_into_it_every_operation_returns(
        steps in prop::collection::vec((0..3u64, prop_oneof![0..9u32, any::<u32>()], step()), 1..20)
    ) {
        let (memory, lock) = hostile_lock();
        let parties = parties();
        for (word, value, step) in steps {
            prop_assert!(4 * word <= DEPTH && THREAD == 4);
            memory.write_all_at(&value.to_ne_bytes(), 4 * word).unwrap();
            match step {
                Step::Acquire(number) => {
                    let soon = Limit::Until(Instant::now() + Duration::from_micros(50));
                    let _ = lock.acquire(&parties[number], soon);
                }
                Step::Release(number) => {
                    let _ = lock.release(&parties[number]);
                }
                Step::Recover(number) => {
                    lock.recover(parties[number].slot());
                    prop_assert_ne!(lock.owner(), Some(parties[number].slot()));
                }
            }
            let _ = (lock.count(), format!("{lock:?}"));
        }
    }
}
