//! The condition in long schedules.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::model::condition;
use super::{Condition, ConditionError, FREE};
use crate::backend::Word;
use crate::lock::{Lock, LockWord};
use crate::model::shuttle::{FutexWord, Model, PlainWord, any, any_wait, live, party, slot, spawn, try_schedules};
use crate::party::{Limit, Party};

const TAKERS: [usize; 3] = [1, 2, 3];
const PUTTERS: [usize; 2] = [4, 5];
const GUEST: usize = 6;
/// For each taker.
const MOST_TAKES: u64 = 8;

struct World {
    condition: Condition<Model>,
    lock: Lock<Model>,
    items: PlainWord,
    over: PlainWord,
}

impl World {
    fn locked<R>(&self, number: usize, body: impl FnOnce(&Party<Model>) -> R) -> R {
        let party = party(number);
        self.lock.acquire(&party, Limit::Forever).expect("it is released");
        let result = body(&party);
        self.lock.release(&party).expect("it is locked");
        result
    }

    fn put(&self, number: usize, count: u64) {
        self.locked(number, |party| {
            self.items.store(self.items.load(Relaxed) + count, Relaxed);
            // More may be told than there is something for.
            let told = if any(8) == 0 { usize::MAX } else { count as usize };
            self.condition.notify(party, &self.lock, told).expect("it is locked");
        });
    }

    /// Takes an item. `owing`: whoever dies now has had a notification, or an item, that nobody else gets.
    fn take(&self, number: usize, patient: bool, owing: &Cell<bool>) {
        self.locked(number, |party| {
            while self.items.load(Relaxed) == 0 {
                owing.set(false);
                let limit = if patient { Limit::Forever } else { any_wait() };
                match self.condition.wait(party, &self.lock, limit) {
                    Ok(_) | Err(ConditionError::Interrupted { .. }) => owing.set(true),
                    Err(why) => panic!("{why}"),
                }
            }
            owing.set(true);
            self.items.store(self.items.load(Relaxed) - 1, Relaxed);
        });
        owing.set(false);
    }

    /// Waits again and again, takes nothing, and tells another one whenever it was told. `owing`: as in
    /// [`take`](Self::take).
    fn pass_on(&self, number: usize, owing: &Cell<bool>) {
        self.locked(number, |party| {
            while self.over.load(Relaxed) == 0 {
                let waited = self.condition.wait(party, &self.lock, Limit::Forever);
                owing.set(waited.expect("nobody interrupts").notified);
                self.condition.notify(party, &self.lock, 1).expect("it is locked");
                owing.set(false);
            }
        });
    }

    fn recover(&self, number: usize) {
        self.lock.recover(slot(number));
        self.condition.recover(slot(number));
    }
}

#[test]
fn whoever_is_owed_an_item_gets_one_whoever_dies() {
    try_schedules(1500, || {
        let world = Arc::new(World {
            condition: condition(TAKERS.len() + 1),
            lock: Lock::over(Arc::new(LockWord(FutexWord::default()))),
            items: PlainWord::default(),
            over: PlainWord::default(),
        });
        // A notification that is lost shows at the end: then no other one, and no end of a wait, makes up for it.
        let patient = any(2) == 0;
        let takes = 1 + any(MOST_TAKES as usize) as u64;
        // As many as are taken.
        let puts = [takes, 2 * takes];
        let takers = TAKERS.map(|number| {
            spawn(&world, move |world| {
                let (taken, owing) = (Cell::new(0), Cell::new(false));
                let work = || {
                    while taken.get() < takes {
                        world.take(number, patient, &owing);
                        taken.set(taken.get() + 1);
                    }
                };
                live(3, 60, work, || {
                    world.recover(number);
                    if owing.take() {
                        world.put(number, 1);
                    }
                });
            })
        });
        let guest = spawn(&world, move |world| {
            let (owing, died) = (Cell::new(false), Cell::new(false));
            let work = || {
                if !died.get() {
                    world.pass_on(GUEST, &owing);
                }
            };
            // Nobody comes in its place who would look for what the dead one was told of.
            live(1, 150, work, || {
                died.set(true);
                world.recover(GUEST);
                if owing.take() {
                    world.put(GUEST, 1);
                }
            });
        });
        let putters = [0, 1].map(|index| {
            let (number, puts) = (PUTTERS[index], puts[index]);
            spawn(&world, move |world| {
                let put = Cell::new(0);
                let work = || {
                    while put.get() < puts {
                        let count = (1 + any(2) as u64).min(puts - put.get());
                        // One that dies here does it again: what it may have put already is left over.
                        world.put(number, count);
                        put.set(put.get() + count);
                    }
                };
                live(3, 40, work, || world.recover(number));
            })
        });
        for thread in takers.into_iter().chain(putters) {
            thread.join().unwrap();
        }
        world.locked(PUTTERS[0], |party| {
            world.over.store(1, Relaxed);
            let told = world.condition.notify(party, &world.lock, usize::MAX);
            told.expect("it is locked");
        });
        guest.join().unwrap();
        let mut cells = world.condition.cells.iter();
        assert!(cells.all(|cell| cell.state.load(Relaxed) == FREE));
        assert!(!world.lock.is_locked());
    });
}
