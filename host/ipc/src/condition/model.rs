//! The condition under the model checker, with a lock that is not recursive.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread;

use super::{Condition, ConditionError, FREE, Header, WaitCell, Waited};
use crate::backend::Word;
use crate::lock::{Lock, LockWord};
use crate::model::{Checker, FutexWord, Model, PlainWord, die_after, die_within, explore};
use crate::party::{Limit, Party, Slot};

/// A condition, its lock, and what the lock guards.
struct World {
    condition: Condition<Model>,
    lock: Lock<Model>,
    /// Written and read with the lock held, and so without any order of its own.
    items: PlainWord,
}

/// For so many who wait.
pub(super) fn condition<C: Checker>(cells: usize) -> Condition<Model<C>> {
    let header = Header::<Model<C>> {
        tickets: PlainWord::default(),
        reach: FutexWord::default(),
    };
    let cells: Arc<[WaitCell<Model<C>>]> = (0..cells)
        .map(|_| WaitCell {
            state: PlainWord::default(),
            bell: FutexWord::default(),
        })
        .collect();
    Condition::over(Arc::new(header), cells)
}

fn world(cells: usize) -> Arc<World> {
    Arc::new(World {
        condition: condition(cells),
        lock: Lock::over(Arc::new(LockWord(FutexWord::default()))),
        items: PlainWord::default(),
    })
}

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn party(number: usize) -> Party<Model> {
    Party::worker(slot(number), None)
}

impl World {
    fn locked<R>(&self, number: usize, body: impl FnOnce(&Party<Model>) -> R) -> R {
        let party = party(number);
        self.lock.acquire(&party, Limit::Forever).unwrap();
        let result = body(&party);
        self.lock.release(&party).unwrap();
        result
    }

    fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    /// Waits for an item and takes it.
    fn take(&self, number: usize) {
        self.look_and_take(number, || {});
    }

    /// As [`take`](Self::take); `look` is called before each look for an item.
    fn look_and_take(&self, number: usize, mut look: impl FnMut()) {
        self.locked(number, |party| {
            let is_there = || {
                look();
                self.items() > 0
            };
            let waited = self.condition.wait_for(party, &self.lock, Limit::Forever, is_there);
            assert!(waited.unwrap().notified);
            self.items.store(self.items() - 1, Ordering::Relaxed);
        });
    }

    fn put(&self, number: usize, count: u64) {
        self.locked(number, |party| {
            self.items.store(self.items() + count, Ordering::Relaxed);
            self.condition.notify(party, &self.lock, count as usize).unwrap();
        });
    }

    /// Waits once, whatever for.
    fn wait(&self, number: usize, limit: Limit) -> Result<Waited, ConditionError> {
        self.locked(number, |party| self.condition.wait(party, &self.lock, limit))
    }

    fn notify(&self, number: usize, count: usize) -> usize {
        self.locked(number, |party| self.condition.notify(party, &self.lock, count).unwrap())
    }

    fn recover(&self, number: usize) {
        self.lock.recover(slot(number));
        self.condition.recover(slot(number));
    }

    fn nobody_waits(&self) -> bool {
        let cells = &self.condition.cells;
        cells.iter().all(|cell| cell.state.load(Ordering::Relaxed) == FREE)
    }
}

fn in_thread<R: 'static>(world: &Arc<World>, body: impl FnOnce(&World) -> R + 'static) -> thread::JoinHandle<R> {
    let world = Arc::clone(world);
    thread::spawn(move || body(&world))
}

#[test]
fn no_notification_is_lost_between_the_look_and_the_sleep() {
    explore(3, || {
        let world = world(2);
        let taker = in_thread(&world, |world| world.take(1));
        world.put(2, 1);
        taker.join().unwrap();
        assert!(world.nobody_waits());
    });
}

#[test]
fn each_of_two_gets_one_of_two_items() {
    explore(2, || {
        let world = world(2);
        let takers = [1, 2].map(|number| in_thread(&world, move |world| world.take(number)));
        world.put(3, 1);
        world.put(3, 1);
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(world.items(), 0);
    });
}

#[test]
fn all_are_notified_at_once() {
    explore(2, || {
        let world = world(2);
        let takers = [1, 2].map(|number| in_thread(&world, move |world| world.take(number)));
        world.put(3, 2);
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(world.items(), 0);
    });
}

#[test]
fn whoever_is_notified_is_told_so_though_the_time_is_up() {
    explore(4, || {
        let world = world(2);
        let waiter = in_thread(&world, |world| world.wait(1, Limit::Poll).unwrap());
        let notified = world.notify(2, 1);
        assert_eq!(usize::from(waiter.join().unwrap().notified), notified);
        assert!(world.nobody_waits());
    });
}

#[test]
fn one_without_the_lock_takes_no_notification() {
    explore(4, || {
        let world = world(2);
        let without = in_thread(&world, |world| {
            world.condition.wait(&party(1), &world.lock, Limit::Poll)
        });
        assert_eq!(world.notify(2, 1), 0);
        assert_eq!(without.join().unwrap(), Err(ConditionError::NotOwner));
    });
}

#[test]
fn one_whose_lock_somebody_else_releases_leaves_nothing_behind() {
    explore(4, || {
        let world = world(2);
        world.lock.acquire(&party(1), Limit::Forever).unwrap();
        // As whoever likes may do with this kind of lock.
        let other = in_thread(&world, |world| world.lock.release(&party(2)));
        let waited = world.condition.wait(&party(1), &world.lock, Limit::Poll);
        assert!(waited.is_ok() || waited == Err(ConditionError::NotOwner));
        let _ = other.join().unwrap();
        assert!(world.nobody_waits());
    });
}

#[test]
fn the_oldest_is_notified() {
    explore(2, || {
        let world = world(2);
        let old = world.condition.begin(slot(1)).unwrap();
        let young = in_thread(&world, |world| world.wait(2, Limit::Poll).unwrap().notified);
        assert_eq!(world.notify(3, 1), 1);
        assert!(!young.join().unwrap());
        assert!(!super::is_waiting(old.state.load(Ordering::Relaxed)));
    });
}

#[test]
fn a_waiter_that_dies_holds_up_nobody_and_its_notification_goes_to_the_next() {
    for effects in 0..16 {
        explore(1, move || {
            let world = world(2);
            // One item for two: the other one leaves it to the victim, should that live on.
            let other = in_thread(&world, |world| {
                world.take(1);
                world.put(1, 1);
            });
            let putter = in_thread(&world, |world| world.put(3, 1));
            let looks = Cell::new(0);
            die_within(effects, || world.look_and_take(2, || looks.set(looks.get() + 1)));
            // From here on this thread is the host.
            die_after(usize::MAX);
            world.recover(2);
            world.recover(2);
            putter.join().unwrap();
            // It had the lock again, and with it the notification, or has even taken the item.
            if looks.get() > 1 || world.items() == 0 {
                world.put(4, 1);
            }
            other.join().unwrap();
            assert!(world.nobody_waits());
        });
    }
}

#[test]
fn one_that_dies_notifying_has_woken_whom_it_notified() {
    for effects in 0..10 {
        explore(3, move || {
            let world = world(2);
            let other = in_thread(&world, |world| world.take(1));
            die_within(effects, || world.put(2, 1));
            die_after(usize::MAX);
            world.recover(2);
            world.put(3, 1);
            other.join().unwrap();
            assert!(world.nobody_waits());
        });
    }
}

#[test]
fn a_dead_waiter_that_is_notified_just_then_leaves_nothing_behind() {
    explore(2, || {
        let world = world(1);
        // It waits, and has released the lock.
        die_within(5, || world.wait(2, Limit::Forever));
        die_after(usize::MAX);
        assert_eq!((world.condition.n_waiting(), world.lock.owner()), (1, None));
        let notifier = in_thread(&world, |world| world.notify(3, 1));
        // Once: a second time would make up for what the first one missed.
        world.recover(2);
        notifier.join().unwrap();
        assert!(world.nobody_waits());
    });
}

#[test]
fn a_recovery_wakes_nobody_who_was_not_notified() {
    explore(1, || {
        let world = world(2);
        die_within(5, || world.wait(1, Limit::Forever));
        die_after(usize::MAX);
        assert_eq!(world.condition.n_waiting(), 1);
        world.recover(2);
        assert_eq!(world.condition.cells[0].bell.load(Ordering::Relaxed), 0);
    });
}
