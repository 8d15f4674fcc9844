//! The semaphore in long schedules.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::model::semaphore_among;
use super::{Semaphore, count};
use crate::backend::Word;
use crate::model::shuttle::{Model, any, any_limit, live, party, slot, spawn, try_schedules};
use crate::party::Limit;

const PERMITS: u32 = 2;
const EACH_GIVES: u32 = 13;
const EACH_TAKES: u32 = 8;

#[test]
fn no_permit_is_lost_or_doubled_by_holders_that_die() {
    try_schedules(1500, || {
        let semaphore = semaphore_among(4, PERMITS.into(), Some(PERMITS));
        // Permits that are in somebody's hands, or fewer.
        let taken = Arc::new(AtomicU32::new(0));
        let holders = [1, 2, 3].map(|number| {
            let taken = Arc::clone(&taken);
            spawn(&semaphore, move |semaphore: &Semaphore<Model>| {
                let (visits, mine) = (Cell::new(0), Cell::new(0));
                let put_down = || {
                    let mine = mine.replace(0);
                    taken.fetch_sub(mine, Relaxed);
                    mine
                };
                let work = || {
                    while visits.get() < 8 {
                        visits.set(visits.get() + 1);
                        for _ in 0..=any(2) {
                            // The second one not at any price: each of two may have one and wait for another.
                            let limit = if mine.get() == 0 { any_limit() } else { Limit::Poll };
                            if semaphore.acquire(&party(number), limit).is_ok() {
                                mine.set(mine.get() + 1);
                                assert!(taken.fetch_add(1, Relaxed) < PERMITS);
                            }
                        }
                        match put_down() {
                            0 => {}
                            mine => semaphore.release(&party(number), mine).expect("it fits"),
                        }
                    }
                };
                live(4, 70, work, || {
                    put_down();
                    semaphore.recover(slot(number));
                });
            })
        });
        for holder in holders {
            holder.join().unwrap();
        }
        assert_eq!(semaphore.value(), PERMITS);
        let held = |number: usize| count(semaphore.columns[number].word.load(Relaxed));
        assert_eq!([1, 2, 3].map(held), [0; 3]);
    });
}

#[test]
fn every_permit_that_is_given_wakes_somebody_whoever_dies() {
    try_schedules(1500, || {
        let semaphore = semaphore_among(7, 0, None);
        let givers = [1, 2].map(|number| {
            spawn(&semaphore, move |semaphore: &Semaphore<Model>| {
                let given = Cell::new(0);
                let work = || {
                    while given.get() < EACH_GIVES {
                        let permits = (1 + any(3) as u32).min(EACH_GIVES - given.get());
                        semaphore.release(&party(number), permits).expect("it fits");
                        given.set(given.get() + permits);
                    }
                };
                live(3, 20, work, || semaphore.recover(slot(number)))
            })
        });
        let takers = [3, 4, 5].map(|number| {
            spawn(&semaphore, move |semaphore: &Semaphore<Model>| {
                for _ in 0..EACH_TAKES {
                    while semaphore.acquire(&party(number), any_limit()).is_err() {}
                }
            })
        });
        // It only borrows.
        let borrower = spawn(&semaphore, |semaphore: &Semaphore<Model>| {
            let work = || {
                for _ in 0..4 {
                    if semaphore.acquire_held(&party(6), any_limit()).is_ok() {
                        semaphore.release_held(&party(6), 1).expect("it fits");
                    }
                }
            };
            live(3, 40, work, || semaphore.recover(slot(6)));
        });
        let deaths: usize = givers.into_iter().map(|giver| giver.join().unwrap()).sum();
        for taker in takers {
            taker.join().unwrap();
        }
        borrower.join().unwrap();
        // A giver that died may have given.
        let left = 2 * EACH_GIVES - 3 * EACH_TAKES;
        assert!((left..=left + 3 * deaths as u32).contains(&semaphore.value()));
    });
}
