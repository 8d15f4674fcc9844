//! Gates under the model checker: what is waited for is a number of items that anyone may take.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use loom::thread;

use super::{Gate, Stay};
use crate::backend::{Backend, Word};
use crate::model::{FutexWord, Model, die_within, explore};
use crate::party::{Limit, Party, Slot, WaitError};
use crate::spin::Patience;

struct Items {
    number: FutexWord,
    gate: Gate<Model>,
}

impl Items {
    fn none() -> Arc<Items> {
        Arc::new(Items {
            number: FutexWord::default(),
            gate: Gate(FutexWord::default()),
        })
    }

    fn add(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
        <Model>::fence();
        self.gate.wake_one();
    }

    fn are_there(&self) -> bool {
        self.number.load(Ordering::Relaxed) > 0
    }

    fn take(&self, limit: Limit) -> Result<(), WaitError> {
        let party = Party::worker(Slot::HOST, None);
        let patience = Patience::default();
        let mut stay = Stay::new(&self.gate, || self.are_there());
        loop {
            let number = self.number.load(Ordering::Relaxed);
            let Some(less) = number.checked_sub(1) else {
                stay.wait(&party, &patience, limit)?;
                continue;
            };
            let taken = self
                .number
                .compare_exchange(number, less, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() {
                return Ok(());
            }
        }
    }
}

/// The model interrupts whoever sleeps towards this, at the moment of the wake-up.
fn interrupted() -> Limit {
    Limit::Until(Instant::now() + Duration::from_secs(3600))
}

#[test]
fn every_sleeper_is_woken_though_each_item_wakes_one() {
    explore(3, || {
        let items = Items::none();
        let takers = [(); 2].map(|()| {
            let items = Arc::clone(&items);
            thread::spawn(move || items.take(Limit::Forever))
        });
        items.add();
        items.add();
        for taker in takers {
            assert_eq!(taker.join().unwrap(), Ok(()));
        }
    });
}

#[test]
fn two_items_at_once_wake_both_sleepers_through_the_first_one() {
    explore(3, || {
        let items = Items::none();
        let takers = [(); 2].map(|()| {
            let items = Arc::clone(&items);
            thread::spawn(move || items.take(Limit::Forever))
        });
        items.number.fetch_add(1, Ordering::Relaxed);
        items.add();
        for taker in takers {
            assert_eq!(taker.join().unwrap(), Ok(()));
        }
    });
}

#[test]
fn who_is_interrupted_when_it_is_woken_passes_the_wake_up_on() {
    explore(3, || {
        let items = Items::none();
        let [leaver, taker] = [interrupted(), Limit::Forever].map(|limit| {
            let items = Arc::clone(&items);
            thread::spawn(move || items.take(limit))
        });
        items.add();
        items.add();
        let left = leaver.join().unwrap();
        assert!([Ok(()), Err(WaitError::Interrupted)].contains(&left));
        assert_eq!(taker.join().unwrap(), Ok(()));
    });
}

#[test]
fn who_only_looks_passes_the_wake_up_on() {
    explore(3, || {
        let items = Items::none();
        let looker = thread::spawn({
            let items = Arc::clone(&items);
            move || {
                let party = Party::worker(Slot::HOST, None);
                let mut stay = Stay::new(&items.gate, || items.are_there());
                // The taker may have been faster.
                stay.wait(&party, &Patience::default(), Limit::Forever)
            }
        });
        let taker = thread::spawn({
            let items = Arc::clone(&items);
            move || items.take(Limit::Forever)
        });
        items.add();
        assert_eq!(taker.join().unwrap(), Ok(()));
        items.add();
        assert_eq!(looker.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_wake_up_that_the_dead_got_reaches_the_living_by_recovery() {
    for effects in 0..8 {
        explore(2, move || {
            let items = Items::none();
            let [dying, taker] = [true, false].map(|dies| {
                let items = Arc::clone(&items);
                thread::spawn(move || match dies {
                    true => die_within(effects, || items.take(Limit::Forever)),
                    false => Some(items.take(Limit::Forever)),
                })
            });
            items.add();
            items.add();
            let _ = dying.join().unwrap();
            items.gate.recover();
            assert_eq!(taker.join().unwrap(), Some(Ok(())));
        });
    }
}
