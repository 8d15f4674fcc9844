//! The semaphore under the model checker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use loom::thread::{self, JoinHandle};

use super::{Column, Header, OPEN, Semaphore, count};
use crate::backend::Word;
use crate::lock::ReleaseError;
use crate::memory::Line;
use crate::model::{Checker, FutexWord, Loom, Model, PlainWord, die_within, explore};
use crate::party::{Limit, Party, Slot, WaitError};

type Shared<C = Loom> = Arc<Semaphore<Model<C>>>;

/// So many permits among the host and as many slots as a test needs.
fn semaphore(value: u64, bound: Option<u32>) -> Shared {
    semaphore_among(4, value, bound)
}

pub(super) fn semaphore_among<C: Checker>(slots: usize, value: u64, bound: Option<u32>) -> Shared<C> {
    let header = Header::<Model<C>> {
        state: Line(PlainWord::default()),
        bell: FutexWord::default(),
        bound: FutexWord::default(),
    };
    header.state.0.store(value, Ordering::Relaxed);
    header
        .bound
        .store(bound.map_or(0, |bound| bound + 1), Ordering::Relaxed);
    let columns = (0..slots).map(|_| Column {
        word: PlainWord::default(),
        before: FutexWord::default(),
        settled: FutexWord::default(),
    });
    Arc::new(Semaphore::over(Arc::new(header), columns.collect()).expect("a possible bound"))
}

fn slot(number: usize) -> Slot {
    Slot::new(number).expect("a slot")
}

fn party(number: usize) -> Party<Model> {
    Party::worker(slot(number), None)
}

fn spawn<R: 'static>(semaphore: &Shared, body: impl FnOnce(&Semaphore<Model>) -> R + 'static) -> JoinHandle<R> {
    let semaphore = Arc::clone(semaphore);
    thread::spawn(move || body(&semaphore))
}

/// What a slot holds, when nobody is at it.
fn held(semaphore: &Semaphore<Model>, number: usize) -> u32 {
    let word = semaphore.columns[number].word.load(Ordering::Relaxed);
    assert_eq!(word & OPEN, 0);
    count(word)
}

fn acquire(semaphore: &Semaphore<Model>, number: usize) {
    semaphore.acquire(&party(number), Limit::Forever).expect("a permit");
}

fn acquire_held(semaphore: &Semaphore<Model>, number: usize) {
    semaphore
        .acquire_held(&party(number), Limit::Forever)
        .expect("a permit");
}

fn release_held(semaphore: &Semaphore<Model>, number: usize) {
    semaphore.release_held(&party(number), 1).expect("it fits");
}

#[test]
fn permits_given_one_by_one_wake_one_sleeper_each() {
    explore(2, || {
        let semaphore = semaphore(0, None);
        let sleepers = [1, 2].map(|number| spawn(&semaphore, move |semaphore| acquire(semaphore, number)));
        for _ in 0..2 {
            semaphore.release(&party(3), 1).unwrap();
        }
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
        assert_eq!(semaphore.value(), 0);
    });
}

#[test]
fn permits_given_together_wake_as_many_sleepers() {
    explore(3, || {
        let semaphore = semaphore(0, None);
        let sleepers = [1, 2].map(|number| spawn(&semaphore, move |semaphore| acquire_held(semaphore, number)));
        semaphore.release(&party(3), 2).unwrap();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
        assert_eq!((semaphore.value(), held(&semaphore, 1), held(&semaphore, 2)), (0, 1, 1));
    });
}

#[test]
fn one_permit_goes_from_sleeper_to_sleeper() {
    explore(2, || {
        let semaphore = semaphore(0, None);
        let sleepers = [1, 2].map(|number| {
            spawn(&semaphore, move |semaphore| {
                acquire_held(semaphore, number);
                release_held(semaphore, number);
            })
        });
        semaphore.release(&party(3), 1).unwrap();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
        assert_eq!((semaphore.value(), held(&semaphore, 1), held(&semaphore, 2)), (1, 0, 0));
    });
}

#[test]
fn who_is_interrupted_when_it_was_woken_leaves_the_wake_up_to_another() {
    explore(3, || {
        let semaphore = semaphore(0, None);
        let leaver = spawn(&semaphore, |semaphore| {
            // A deadline in the model: interrupted as soon as woken.
            let deadline = Limit::Until(Instant::now() + Duration::from_secs(1000));
            match semaphore.acquire(&party(1), deadline) {
                Ok(()) => semaphore.release(&party(1), 1).unwrap(),
                Err(why) => assert_eq!(why, WaitError::Interrupted),
            }
        });
        let sleeper = spawn(&semaphore, |semaphore| {
            acquire_held(semaphore, 2);
            release_held(semaphore, 2);
        });
        semaphore.release(&party(3), 1).unwrap();
        leaver.join().unwrap();
        sleeper.join().unwrap();
        assert_eq!(semaphore.value(), 1);
    });
}

#[test]
fn transfers_of_several_processes_add_up() {
    explore(3, || {
        let semaphore = semaphore(2, Some(2));
        let other = spawn(&semaphore, |semaphore| {
            acquire(semaphore, 1);
            semaphore.release(&party(1), 1).unwrap();
            acquire(semaphore, 1);
        });
        acquire(&semaphore, 2);
        release_held(&semaphore, 2);
        acquire(&semaphore, 2);
        other.join().unwrap();
        assert_eq!((semaphore.value(), held(&semaphore, 1), held(&semaphore, 2)), (0, 1, 1));
    });
}

#[test]
fn held_and_bare_permits_mix() {
    explore(3, || {
        let semaphore = semaphore(1, None);
        let other = spawn(&semaphore, |semaphore| {
            acquire_held(semaphore, 1);
            release_held(semaphore, 1);
        });
        acquire(&semaphore, 2);
        semaphore.release(&party(2), 2).unwrap();
        other.join().unwrap();
        assert_eq!((semaphore.value(), held(&semaphore, 1)), (2, 0));
    });
}

#[test]
fn no_more_than_the_bound_whoever_gives() {
    explore(3, || {
        let semaphore = semaphore(1, Some(2));
        let give = |number| move |semaphore: &Semaphore<Model>| semaphore.release(&party(number), 1);
        let other = spawn(&semaphore, give(1));
        let given = [give(2)(&semaphore), other.join().unwrap()];
        assert!(given.contains(&Ok(())) && given.contains(&Err(ReleaseError::TooMany)));
        assert_eq!(semaphore.value(), 2);
    });
}

/// Every kind of transfer.
fn live(semaphore: &Semaphore<Model>) {
    acquire_held(semaphore, 1);
    acquire_held(semaphore, 1);
    semaphore.release_held(&party(1), 2).expect("it fits");
    acquire_held(semaphore, 1);
}

/// Puts its name in the place of the one before, twice.
fn pass(semaphore: &Semaphore<Model>) {
    acquire_held(semaphore, 2);
    release_held(semaphore, 2);
}

#[test]
fn a_process_dies_and_nothing_is_lost_or_made_up() {
    for effects in 0..20 {
        explore(1, move || {
            let semaphore = semaphore(3, None);
            let mortal = spawn(&semaphore, move |semaphore| die_within(effects, || live(semaphore)));
            let other = spawn(&semaphore, pass);
            mortal.join().unwrap();
            for _ in 0..2 {
                semaphore.recover(slot(1));
            }
            other.join().unwrap();
            assert_eq!((semaphore.value(), held(&semaphore, 1), held(&semaphore, 2)), (3, 0, 0));
        });
    }
}

/// Both settle for the dead one, and one of them may be late: for a transfer before the last.
#[test]
fn a_process_dies_in_the_middle_of_two_others() {
    for effects in 0..8 {
        explore(2, move || {
            let semaphore = semaphore(4, None);
            let mortal = spawn(&semaphore, move |semaphore| {
                die_within(effects, || {
                    acquire_held(semaphore, 1);
                    acquire_held(semaphore, 1);
                })
            });
            let other = spawn(&semaphore, |semaphore| acquire_held(semaphore, 2));
            acquire_held(&semaphore, 3);
            mortal.join().unwrap();
            semaphore.recover(slot(1));
            other.join().unwrap();
            assert_eq!((semaphore.value(), held(&semaphore, 1)), (2, 0));
        });
    }
}

#[test]
fn the_next_life_of_a_slot_goes_on_where_the_last_one_ended() {
    for effects in 0..20 {
        explore(1, move || {
            let semaphore = semaphore(3, None);
            let mortal = spawn(&semaphore, move |semaphore| die_within(effects, || live(semaphore)));
            mortal.join().unwrap();
            semaphore.recover(slot(1));
            let other = spawn(&semaphore, pass);
            let again = spawn(&semaphore, |semaphore| die_within(3, || live(semaphore)));
            again.join().unwrap();
            semaphore.recover(slot(1));
            other.join().unwrap();
            assert_eq!((semaphore.value(), held(&semaphore, 1), held(&semaphore, 2)), (3, 0, 0));
        });
    }
}

#[test]
fn two_recoveries_give_back_once() {
    for effects in [4, 5, 8] {
        explore(3, move || {
            let semaphore = semaphore(3, None);
            let mortal = spawn(&semaphore, move |semaphore| die_within(effects, || live(semaphore)));
            mortal.join().unwrap();
            let other = spawn(&semaphore, |semaphore| semaphore.recover(slot(1)));
            semaphore.recover(slot(1));
            other.join().unwrap();
            assert_eq!((semaphore.value(), held(&semaphore, 1)), (3, 0));
        });
    }
}

#[test]
fn a_sleeper_dies_with_a_wake_up_and_another_gets_it() {
    for effects in 0..8 {
        explore(2, move || {
            let semaphore = semaphore(0, None);
            let mortal = spawn(&semaphore, move |semaphore| {
                die_within(effects, || acquire_held(semaphore, 1));
            });
            let sleeper = spawn(&semaphore, |semaphore| {
                acquire_held(semaphore, 2);
                release_held(semaphore, 2);
            });
            semaphore.release(&party(3), 1).unwrap();
            mortal.join().unwrap();
            semaphore.recover(slot(1));
            sleeper.join().unwrap();
            assert_eq!((semaphore.value(), held(&semaphore, 2)), (1, 0));
        });
    }
}

#[test]
fn a_giver_dies_before_it_rings_and_the_permit_is_found() {
    for effects in 0..8 {
        explore(3, move || {
            let semaphore = semaphore(1, None);
            acquire_held(&semaphore, 1);
            let mortal = spawn(&semaphore, move |semaphore| {
                die_within(effects, || release_held(semaphore, 1))
            });
            let sleeper = spawn(&semaphore, |semaphore| acquire(semaphore, 2));
            mortal.join().unwrap();
            semaphore.recover(slot(1));
            sleeper.join().unwrap();
            assert_eq!(semaphore.value(), 0);
        });
    }
}
