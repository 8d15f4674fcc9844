//! What a semaphore promises to several processes.

mod common;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE, Words};
use proptest::prelude::*;
use wasmp_ipc::{Interrupt, Limit, Mapping, Party, ReleaseError, Semaphore, Slot, WaitError};

/// CPython's `SEM_VALUE_MAX`.
const MOST: u32 = i32::MAX as u32;

fn semaphore(value: u32, bound: Option<u32>) -> Semaphore {
    hostile_semaphore(value, bound).1
}

/// A semaphore, and its memory as a hostile process has it.
fn hostile_semaphore(value: u32, bound: Option<u32>) -> (File, Semaphore) {
    let (fd, mapping) = Mapping::create("test", Semaphore::BYTES).unwrap();
    (fd.into(), Semaphore::create(&Arc::new(mapping), value, bound).unwrap())
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

/// A process that has fallen asleep for a permit, and keeps it.
fn sleeper(semaphore: &Semaphore, number: usize) -> Child {
    let child = Child::run(|| semaphore.acquire_held(&party(number), soon()).unwrap());
    assert!(child.falls_asleep());
    child
}

#[test]
fn s_01_the_value_goes_down_to_zero_and_up_again() {
    let party = party(1);
    for bound in [None, Some(2)] {
        let semaphore = semaphore(2, bound);
        let acquire = |left| {
            assert_eq!(semaphore.acquire(&party, Limit::Poll), Ok(()));
            assert_eq!(semaphore.value(), left);
        };
        acquire(1);
        acquire(0);
        assert_eq!(semaphore.acquire(&party, Limit::Poll), Err(WaitError::TimedOut));
        assert_eq!(semaphore.value(), 0);
        for value in [1, 2] {
            assert_eq!(semaphore.release(&party, 1), Ok(()));
            assert_eq!(semaphore.value(), value);
        }
    }
}

#[test]
fn s_04_waiting_in_vain_takes_as_long_as_it_may() {
    for held in [false, true] {
        let semaphore = semaphore(0, None);
        let acquire = |limit| match held {
            true => semaphore.acquire_held(&party(1), limit),
            false => semaphore.acquire(&party(1), limit),
        };
        assert_eq!(acquire(Limit::Poll), Err(WaitError::TimedOut));
        let (started, short) = (Instant::now(), Duration::from_millis(30));
        assert_eq!(acquire(Limit::Until(started + short)), Err(WaitError::TimedOut));
        assert!(started.elapsed() >= short);
    }
}

#[test]
fn one_without_a_bound_may_get_more_permits_than_it_began_with() {
    let semaphore = semaphore(1, None);
    assert_eq!(semaphore.release(&party(1), 5), Ok(()));
    assert_eq!(semaphore.value(), 6);
    assert_eq!(semaphore.release(&party(1), MOST - 6), Ok(()));
    for permits in [1, MOST, u32::MAX] {
        assert_eq!(semaphore.release(&party(1), permits), Err(ReleaseError::TooMany));
    }
    assert_eq!(semaphore.value(), MOST);
}

#[test]
fn one_with_a_bound_may_not() {
    let semaphore = semaphore(2, Some(2));
    assert_eq!(semaphore.release(&party(1), 1), Err(ReleaseError::TooMany));
    semaphore.acquire(&party(1), Limit::Poll).unwrap();
    for party in [party(1), party(2), Party::host()] {
        assert_eq!(semaphore.release(&party, 2), Err(ReleaseError::TooMany));
    }
    assert_eq!(semaphore.value(), 1);
    assert_eq!(semaphore.release(&party(1), 1), Ok(()));
    assert_eq!(semaphore.release(&party(1), 1), Err(ReleaseError::TooMany));
    assert_eq!(semaphore.value(), 2);
}

#[test]
fn it_is_opened_with_the_bound_it_was_created_with() {
    for bound in [None, Some(0), Some(3), Some(MOST)] {
        let mapping = Arc::new(Mapping::create("test", Semaphore::BYTES).unwrap().1);
        let created = Semaphore::create(&mapping, 0, bound).unwrap();
        let opened = Semaphore::open(&mapping).unwrap();
        assert_eq!((created.bound(), opened.bound()), (bound, bound));
        let given = opened.release(&party(1), 4);
        assert_eq!(given.is_ok(), bound.is_none_or(|bound| bound >= 4));
    }
}

#[test]
fn impossible_numbers_of_permits_are_refused() {
    let mapping = Arc::new(Mapping::create("test", Semaphore::BYTES).unwrap().1);
    for (value, bound) in [
        (MOST + 1, None),
        (3, Some(2)),
        (0, Some(MOST + 1)),
        (u32::MAX, Some(u32::MAX)),
    ] {
        let error = Semaphore::create(&mapping, value, bound).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let small = Arc::new(Mapping::create("test", Semaphore::BYTES - 1).unwrap().1);
    assert_eq!(Semaphore::open(&small).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn what_a_dead_process_held_comes_back_and_what_it_took_for_good_does_not() {
    let semaphore = semaphore(5, None);
    Child::run(|| {
        let party = party(1);
        semaphore.acquire(&party, Limit::Poll).unwrap();
        for _ in 0..3 {
            semaphore.acquire_held(&party, Limit::Poll).unwrap();
        }
        semaphore.release_held(&party, 1).unwrap();
    })
    .join();
    semaphore.acquire_held(&party(2), Limit::Poll).unwrap();
    assert_eq!(semaphore.value(), 1);
    for _ in 0..2 {
        semaphore.recover(slot(1));
        assert_eq!(semaphore.value(), 3);
    }
}

#[test]
fn all_permits_of_a_bounded_one_come_back() {
    let semaphore = semaphore(3, Some(3));
    for number in [1, 2, 1] {
        semaphore.acquire(&party(number), Limit::Poll).unwrap();
    }
    let waiter = sleeper(&semaphore, 3);
    semaphore.recover(slot(1));
    waiter.join();
    assert_eq!(semaphore.value(), 1);
    semaphore.recover(slot(2));
    semaphore.recover(slot(3));
    assert_eq!(semaphore.value(), 3);
}

#[test]
fn several_held_ones_are_released_at_once() {
    let semaphore = semaphore(3, None);
    for _ in 0..3 {
        semaphore.acquire_held(&party(1), Limit::Poll).unwrap();
    }
    assert_eq!(semaphore.release_held(&party(1), 2), Ok(()));
    semaphore.recover(slot(1));
    assert_eq!(semaphore.value(), 3);
    // More than it holds: it gives them all the same.
    semaphore.acquire_held(&party(1), Limit::Poll).unwrap();
    assert_eq!(semaphore.release_held(&party(1), 3), Ok(()));
    semaphore.recover(slot(1));
    assert_eq!(semaphore.value(), 5);
}

#[test]
fn one_that_changed_hands_may_come_back_twice_but_never_above_the_bound() {
    let semaphore = semaphore(2, Some(2));
    // Acquired by one and released by another, more often than there are permits.
    for _ in 0..5 {
        semaphore.acquire(&party(1), Limit::Poll).unwrap();
        assert_eq!(semaphore.release(&party(2), 1), Ok(()));
    }
    semaphore.acquire(&party(2), Limit::Poll).unwrap();
    semaphore.recover(slot(1));
    assert_eq!(semaphore.value(), 2);
    assert_eq!(semaphore.release(&party(2), 1), Err(ReleaseError::TooMany));
    semaphore.recover(slot(2));
    assert_eq!(semaphore.value(), 2);
}

#[test]
fn permits_wake_as_many_processes() {
    let semaphore = semaphore(0, None);
    let sleepers = [1, 2, 3].map(|number| sleeper(&semaphore, number));
    semaphore.release(&Party::host(), 2).unwrap();
    let through = |sleepers: &[Child]| sleepers.iter().filter(|child| !child.falls_asleep()).count();
    let deadline = Instant::now() + PATIENCE;
    while through(&sleepers) < 2 {
        assert!(Instant::now() < deadline, "permits, and nobody takes them");
    }
    assert_eq!((through(&sleepers), semaphore.value()), (2, 0));
    semaphore.release(&Party::host(), 1).unwrap();
    sleepers.into_iter().for_each(Child::join);
}

#[test]
fn an_interruption_ends_a_wait() {
    let semaphore = semaphore(0, None);
    let mapping = Arc::new(Mapping::create("test", Interrupt::BYTES).unwrap().1);
    let interrupt = || Interrupt::open(&mapping, 0).unwrap();
    let interrupted = Party::worker(slot(1), Some(interrupt()));
    let child = Child::run(|| assert_eq!(semaphore.acquire(&interrupted, soon()), Err(WaitError::Interrupted)));
    assert!(child.falls_asleep());
    interrupt().raise();
    child.join();
    semaphore.release(&party(2), 1).unwrap();
    assert_eq!(semaphore.acquire(&interrupted, soon()), Ok(()));
}

#[test]
fn no_more_are_inside_than_there_are_permits() {
    const TIMES: u64 = 20_000;
    const PERMITS: u32 = 2;
    const INSIDE: usize = 0;
    const VISITS: usize = 1;
    for bound in [None, Some(PERMITS)] {
        let (semaphore, words) = (semaphore(PERMITS, bound), Words::new(2));
        let visit = |party: &Party| {
            for _ in 0..TIMES {
                semaphore.acquire_held(party, soon()).unwrap();
                assert!(words[INSIDE].fetch_add(1, Ordering::Relaxed) < u64::from(PERMITS));
                words[VISITS].fetch_add(1, Ordering::Relaxed);
                words[INSIDE].fetch_sub(1, Ordering::Relaxed);
                semaphore.release_held(party, 1).unwrap();
            }
        };
        let children = [1, 2, 3].map(|number| Child::run(|| visit(&party(number))));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| visit(&Party::host()));
            }
        });
        children.into_iter().for_each(Child::join);
        assert_eq!((words.get(VISITS), semaphore.value()), (5 * TIMES, PERMITS));
        for number in 1..4 {
            semaphore.recover(slot(number));
        }
        assert_eq!(semaphore.value(), PERMITS, "somebody still holds one");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire { who: usize, held: bool },
    Release { who: usize, held: bool, permits: u32 },
    Recover { who: usize },
}

/// Of the host and the slots 1 to 3.
fn step() -> impl Strategy<Value = Step> {
    let permits = prop_oneof![8 => 0..4u32, 1 => Just(MOST), 1 => any::<u32>()];
    prop_oneof![
        4 => (0..4usize, any::<bool>()).prop_map(|(who, held)| Step::Acquire { who, held }),
        3 => (0..4usize, any::<bool>(), permits)
            .prop_map(|(who, held, permits)| Step::Release { who, held, permits }),
        1 => (1..4usize).prop_map(|who| Step::Recover { who }),
    ]
}

fn parties() -> [Party; 4] {
    [Party::host(), party(1), party(2), party(3)]
}

fn bound() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), (3..6u32).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_variables_do(
        value in 0..4u32,
        bound in bound(),
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let (semaphore, parties) = (semaphore(value, bound), parties());
        let (mut value, mut holds, most) = (value, [0u32; 4], bound.unwrap_or(MOST));
        for step in steps {
            match step {
                Step::Acquire { who, held } => {
                    let acquired = match held {
                        true => semaphore.acquire_held(&parties[who], Limit::Poll),
                        false => semaphore.acquire(&parties[who], Limit::Poll),
                    };
                    prop_assert_eq!(acquired, if value > 0 { Ok(()) } else { Err(WaitError::TimedOut) });
                    if value > 0 {
                        value -= 1;
                        let counted = held || bound.is_some();
                        holds[who] = (holds[who] + u32::from(counted)).min(most);
                    }
                }
                Step::Release { who, held, permits } => {
                    let released = match held {
                        true => semaphore.release_held(&parties[who], permits),
                        false => semaphore.release(&parties[who], permits),
                    };
                    let fits = permits <= most - value;
                    prop_assert_eq!(released, if fits { Ok(()) } else { Err(ReleaseError::TooMany) });
                    if fits {
                        value += permits;
                        let counted = held || bound.is_some();
                        holds[who] -= holds[who].min(if counted { permits } else { 0 });
                    }
                }
                Step::Recover { who } => {
                    semaphore.recover(parties[who].slot());
                    value = value.saturating_add(std::mem::take(&mut holds[who])).min(most);
                }
            }
            prop_assert_eq!(semaphore.value(), value);
        }
    }

    #[test]
    fn whatever_is_written_into_it_every_operation_returns(
        bound in bound(),
        steps in prop::collection::vec((0..40u64, word(), step()), 1..20),
    ) {
        let (memory, semaphore) = hostile_semaphore(1, bound);
        let parties = parties();
        for (at, word, step) in steps {
            // The header, and the columns of the host and the slots 1 to 3.
            memory.write_all_at(&word.to_ne_bytes(), 8 * at).unwrap();
            let soon = Limit::Until(Instant::now() + Duration::from_micros(50));
            match step {
                Step::Acquire { who, held: true } => {
                    let _ = semaphore.acquire_held(&parties[who], soon);
                }
                Step::Acquire { who, held: false } => {
                    let _ = semaphore.acquire(&parties[who], soon);
                }
                Step::Release { who, held: true, permits } => {
                    let _ = semaphore.release_held(&parties[who], permits);
                }
                Step::Release { who, held: false, permits } => {
                    let _ = semaphore.release(&parties[who], permits);
                }
                Step::Recover { who } => semaphore.recover(parties[who].slot()),
            }
            prop_assert!(semaphore.value() <= MOST);
        }
    }

    #[test]
    fn a_bound_that_was_overwritten_is_noticed_when_it_is_opened(bound in any::<u32>()) {
        let (fd, mapping) = Mapping::create("test", Semaphore::BYTES).unwrap();
        let mapping = Arc::new(mapping);
        Semaphore::create(&mapping, 0, None).unwrap();
        File::from(fd).write_all_at(&bound.to_ne_bytes(), 132).unwrap();
        match Semaphore::open(&mapping) {
            Ok(semaphore) => prop_assert_eq!(semaphore.bound(), bound.checked_sub(1)),
            Err(error) => {
                prop_assert!(bound > MOST + 1);
                prop_assert_eq!(error.kind(), ErrorKind::InvalidData);
            }
        }
    }
}

/// What might be in a word of it: small halves, flags, and anything.
fn word() -> impl Strategy<Value = u64> {
    let half = || prop_oneof![0..4u32, Just(1 << 31), (1 << 31..(1u32 << 31) + 4), any::<u32>()];
    (half(), half()).prop_map(|(low, high)| u64::from(high) << 32 | u64::from(low))
}
