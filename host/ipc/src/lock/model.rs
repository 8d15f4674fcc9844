//! The lock under the model checker.

use std::sync::Arc;
use std::time::Instant;

use loom::cell::Cell;
use loom::thread::{self, JoinHandle};

use super::{Acquired, Lock, LockWord};
use crate::model::{FutexWord, Model, die_within, explore};
use crate::party::{Limit, Party, Slot, WaitError};

/// What the lock guards: the model checker reports two who are here at the same time.
struct Guarded(Cell<u32>);

// SAFETY: the model runs all its threads on one thread of the system; a race between them is what it reports.
unsafe impl Send for Guarded {}
// SAFETY: as for `Send`.
unsafe impl Sync for Guarded {}

struct World {
    lock: Lock<Model>,
    visits: Guarded,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            lock: Lock::over(Arc::new(LockWord(FutexWord::default()))),
            visits: Guarded(Cell::new(0)),
        })
    }

    fn acquire(&self, slot: usize) -> Acquired {
        self.lock.acquire(&party(slot), Limit::Forever).expect("it is released")
    }

    /// Acquires it, changes what it guards, releases it.
    fn visit(&self, slot: usize) -> Acquired {
        let acquired = self.acquire(slot);
        self.visits.0.set(self.visits.0.get() + 1);
        self.lock.release(&party(slot)).expect("it is locked");
        acquired
    }
}

fn slot(number: usize) -> Slot {
    Slot::new(number).expect("a slot")
}

fn party(number: usize) -> Party<Model> {
    Party::worker(slot(number), None)
}

fn spawn<R: 'static>(world: &Arc<World>, body: impl FnOnce(&World) -> R + 'static) -> JoinHandle<R> {
    let world = Arc::clone(world);
    thread::spawn(move || body(&world))
}

#[test]
fn one_at_a_time_and_nobody_sleeps_on() {
    explore(3, || {
        let world = World::new();
        let others = [2, 3].map(|number| spawn(&world, move |world| world.visit(number)));
        world.visit(1);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(world.visits.0.get(), 3);
        assert!(!world.lock.is_locked());
    });
}

#[test]
fn one_release_wakes_all_sleepers_one_by_one() {
    explore(3, || {
        let world = World::new();
        world.acquire(1);
        let sleepers = [2, 3].map(|number| spawn(&world, move |world| world.visit(number)));
        world.lock.release(&party(1)).unwrap();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
    });
}

#[test]
fn who_is_interrupted_when_it_was_woken_leaves_the_wake_up_to_another() {
    explore(3, || {
        let world = World::new();
        world.acquire(1);
        let leaver = spawn(&world, |world| {
            // A deadline in the model: interrupted as soon as woken.
            let deadline = Limit::Until(Instant::now() + std::time::Duration::from_secs(1000));
            match world.lock.acquire(&party(2), deadline) {
                Ok(_) => world.lock.release(&party(2)).unwrap(),
                Err(why) => assert_eq!(why, WaitError::Interrupted),
            }
        });
        let sleeper = spawn(&world, |world| world.visit(3));
        world.lock.release(&party(1)).unwrap();
        leaver.join().unwrap();
        sleeper.join().unwrap();
    });
}

#[test]
fn a_holder_dies_and_the_next_one_is_told() {
    for effects in 0..6 {
        explore(3, move || {
            let world = World::new();
            let mortal = spawn(&world, move |world| die_within(effects, || world.visit(1)));
            let others = spawn(&world, |world| [world.visit(2), world.visit(2)]);
            let survived = mortal.join().unwrap();
            let held = world.lock.owner() == Some(slot(1));
            assert!(!held || survived.is_none());
            for _ in 0..2 {
                world.lock.recover(slot(1));
            }
            let told = others.join().unwrap().into_iter().chain([world.visit(3)]);
            assert_eq!(told.filter(|acquired| acquired.abandoned).count(), usize::from(held));
        });
    }
}

#[test]
fn a_sleeper_dies_with_a_wake_up_and_another_gets_it() {
    for effects in 0..6 {
        explore(3, move || {
            let world = World::new();
            world.acquire(1);
            let mortal = spawn(&world, move |world| {
                die_within(effects, || world.visit(2));
            });
            let sleeper = spawn(&world, |world| world.visit(3));
            world.lock.release(&party(1)).unwrap();
            mortal.join().unwrap();
            world.lock.recover(slot(2));
            sleeper.join().unwrap();
            assert!(!world.lock.is_locked());
        });
    }
}

#[test]
fn a_recovery_frees_nothing_but_what_the_dead_held() {
    explore(3, || {
        let world = World::new();
        let other = spawn(&world, |world| world.visit(2));
        world.lock.recover(slot(1));
        world.visit(3);
        assert_eq!(other.join().unwrap(), Acquired { abandoned: false });
    });
}
