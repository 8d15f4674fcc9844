//! What a lock promises to several processes.

mod common;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE, Words};
use proptest::prelude::*;
use wasmp_ipc::{Acquired, Interrupt, Limit, Lock, Mapping, Party, ReleaseError, SLOTS, Slot, WaitError};

const CLEAN: Acquired = Acquired { abandoned: false };
const ABANDONED: Acquired = Acquired { abandoned: true };

fn lock() -> Lock {
    hostile_lock().1
}

/// A lock, and its memory as a hostile process has it.
fn hostile_lock() -> (File, Lock) {
    let (fd, mapping) = Mapping::create("test", Lock::BYTES).unwrap();
    (fd.into(), Lock::create(&Arc::new(mapping)).unwrap())
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

#[test]
fn l_02_one_holds_it_until_it_is_released() {
    let (lock, party) = (lock(), party(1));
    assert!(!lock.is_locked());
    assert_eq!(lock.acquire(&party, Limit::Forever), Ok(CLEAN));
    assert!(lock.is_locked());
    assert_eq!(lock.acquire(&party, Limit::Poll), Err(WaitError::TimedOut));
    assert_eq!(lock.release(&party), Ok(()));
    assert!(!lock.is_locked());
    assert_eq!(lock.release(&party), Err(ReleaseError::NotLocked));
    assert!(!lock.is_locked());
}

#[test]
fn l_01_it_says_who_holds_it() {
    let lock = lock();
    assert_eq!(format!("{lock:?}"), "Lock { owner: None }");
    lock.acquire(&Party::host(), Limit::Poll).unwrap();
    assert_eq!(lock.owner(), Some(Slot::HOST));
    lock.release(&Party::host()).unwrap();
    lock.acquire(&party(SLOTS - 1), Limit::Poll).unwrap();
    assert_eq!(lock.owner(), Some(slot(SLOTS - 1)));
    assert_eq!(format!("{lock:?}"), "Lock { owner: Some(Slot(1023)) }");
}

#[test]
fn l_03_one_that_was_acquired_in_a_child_reads_locked_and_anyone_may_release_it() {
    let lock = lock();
    Child::run(|| {
        lock.acquire(&party(1), Limit::Poll).unwrap();
    })
    .join();
    assert!(lock.is_locked());
    assert_eq!(lock.owner(), Some(slot(1)));
    assert_eq!(lock.release(&party(2)), Ok(()));
    assert!(!lock.is_locked());
}

#[test]
fn l_11_a_timeout_of_zero_or_a_moment_that_has_passed_is_a_poll() {
    let lock = lock();
    for limit in [Limit::after(Some(Duration::ZERO)), Limit::Until(Instant::now())] {
        assert_eq!(lock.acquire(&party(1), limit), Ok(CLEAN));
        assert_eq!(lock.acquire(&party(2), limit), Err(WaitError::TimedOut));
        lock.release(&party(1)).unwrap();
    }
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
    lock.release(&party(1)).unwrap();
    assert_eq!(lock.acquire(&party(2), Limit::Poll), Ok(CLEAN));
}

#[test]
fn an_interruption_ends_a_wait_and_does_not_hinder_what_need_not_wait() {
    let lock = lock();
    let mapping = Arc::new(Mapping::create("test", Interrupt::BYTES).unwrap().1);
    let interrupt = || Interrupt::open(&mapping, 0).unwrap();
    let interrupted = Party::worker(slot(2), Some(interrupt()));
    lock.acquire(&party(1), Limit::Poll).unwrap();
    let child = Child::run(|| {
        assert_eq!(lock.acquire(&interrupted, soon()), Err(WaitError::Interrupted));
    });
    assert!(child.falls_asleep());
    interrupt().raise();
    child.join();
    assert_eq!(lock.acquire(&interrupted, soon()), Err(WaitError::Interrupted));
    lock.release(&party(1)).unwrap();
    assert_eq!(lock.acquire(&interrupted, soon()), Ok(CLEAN));
}

#[test]
fn g_07_one_whose_holder_died_is_free_and_the_next_holder_is_told_once() {
    let lock = lock();
    let holder = Child::run(|| {
        lock.acquire(&party(1), Limit::Poll).unwrap();
        let _ = lock.acquire(&party(1), Limit::Forever);
    });
    assert!(holder.falls_asleep());
    let waiter = Child::run(|| {
        assert_eq!(lock.acquire(&party(2), soon()), Ok(ABANDONED));
        lock.release(&party(2)).unwrap();
    });
    assert!(waiter.falls_asleep());
    holder.kill();
    assert!(lock.is_locked());
    for _ in 0..2 {
        lock.recover(slot(1));
    }
    waiter.join();
    assert_eq!(lock.acquire(&party(3), Limit::Poll), Ok(CLEAN));
}

#[test]
fn an_abandoned_one_counts_as_unlocked_and_a_release_does_not_hide_it() {
    let lock = lock();
    lock.acquire(&party(1), Limit::Poll).unwrap();
    lock.recover(slot(1));
    assert!(!lock.is_locked());
    assert_eq!(lock.owner(), None);
    assert_eq!(lock.release(&party(2)), Err(ReleaseError::NotLocked));
    assert_eq!(lock.acquire(&party(2), Limit::Poll), Ok(ABANDONED));
}

#[test]
fn a_mapping_too_small_for_it_is_refused() {
    let (_, mapping) = Mapping::create("test", Lock::BYTES - 1).unwrap();
    let error = Lock::open(&Arc::new(mapping)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn threads_and_processes_hold_it_one_at_a_time() {
    const TIMES: u64 = 50_000;
    let (lock, words) = (lock(), Words::new(1));
    let count = |party: &Party| {
        for _ in 0..TIMES {
            lock.acquire(party, soon()).unwrap();
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
    assert_eq!(words.get(0), 4 * TIMES);
    assert!(!lock.is_locked());
}

/// One step of one of the slots 1 to 3.
#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire(usize),
    Release(usize),
    Recover(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..4usize).prop_map(Step::Acquire),
        2 => (1..4usize).prop_map(Step::Release),
        1 => (1..4usize).prop_map(Step::Recover),
    ]
}

/// What is in the word, and what is done then.
fn poke() -> impl Strategy<Value = u32> {
    let held = (0..SLOTS as u32 + 3, 0..2u32).prop_map(|(number, waiters)| number << 1 | waiters);
    prop_oneof![
        Just(0),
        Just(1 << 31),
        held.clone(),
        held.prop_map(|word| word | 1 << 31),
        any::<u32>()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_variable_does(steps in prop::collection::vec(step(), 1..100)) {
        let lock = lock();
        let (mut owner, mut abandoned) = (None, false);
        for step in steps {
            match step {
                Step::Acquire(number) => {
                    let expected = match owner {
                        None => Ok(Acquired { abandoned: std::mem::take(&mut abandoned) }),
                        Some(_) => Err(WaitError::TimedOut),
                    };
                    prop_assert_eq!(lock.acquire(&party(number), Limit::Poll), expected);
                    owner = owner.or(Some(number));
                }
                Step::Release(number) => {
                    let expected = owner.take().map(|_| ()).ok_or(ReleaseError::NotLocked);
                    prop_assert_eq!(lock.release(&party(number)), expected);
                }
                Step::Recover(number) => {
                    lock.recover(slot(number));
                    abandoned |= owner == Some(number);
                    owner = owner.filter(|&owner| owner != number);
                }
            }
            prop_assert_eq!(lock.owner(), owner.map(slot));
            prop_assert_eq!(lock.is_locked(), owner.is_some());
        }
    }

    #[test]
    fn whatever_is_written_into_it_every_operation_returns(
        pokes in prop::collection::vec((poke(), step()), 1..10)
    ) {
        let (memory, lock) = hostile_lock();
        for (word, step) in pokes {
            memory.write_all_at(&word.to_ne_bytes(), 0).unwrap();
            let number = word >> 1 & 0x3FFF_FFFF;
            match step {
                Step::Acquire(party_number) => {
                    let soon = Limit::Until(Instant::now() + Duration::from_micros(50));
                    let acquired = lock.acquire(&party(party_number), soon);
                    match number as usize {
                        0 => prop_assert_eq!(acquired, Ok(Acquired { abandoned: word >> 31 == 1 })),
                        1..=SLOTS => prop_assert_eq!(acquired, Err(WaitError::TimedOut)),
                        _ => prop_assert_eq!(acquired, Err(WaitError::Broken)),
                    }
                }
                Step::Release(party_number) => {
                    let released = lock.release(&party(party_number));
                    prop_assert_eq!(released.is_ok(), number != 0);
                    prop_assert!(!lock.is_locked());
                }
                Step::Recover(party_number) => {
                    lock.recover(slot(party_number));
                    prop_assert_ne!(lock.owner(), Some(slot(party_number)));
                }
            }
        }
    }
}
