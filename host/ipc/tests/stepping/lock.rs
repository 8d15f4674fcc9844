//! The lock: after every death it is as before, taken and abandoned, or free, and whoever sleeps on it gets it.

use std::cell::RefCell;
use std::time::Instant;

use wasmp_ipc::{Acquired, Interrupt, Limit, Lock, Party, WaitError};

use crate::common::Child;
use crate::deaths::{Moment, kill_everywhere, kill_everywhere_and_asleep};
use crate::traced::Stage;
use crate::{memory, patiently, peer, sleeper, victim, victim_slot};

struct World {
    lock: Lock,
    /// Acquires the lock and releases it.
    peer: RefCell<Option<Child>>,
}

impl World {
    fn new() -> World {
        World {
            lock: Lock::create(&memory(Lock::BYTES)).unwrap(),
            peer: RefCell::default(),
        }
    }

    /// With the lock held by that party.
    fn held_by(party: &Party) -> World {
        let world = World::new();
        world.lock.acquire(party, Limit::Poll).unwrap();
        world
    }

    /// With a lock that a dead process held.
    fn abandoned() -> World {
        let world = World::held_by(&peer());
        world.lock.recover(peer().slot());
        world
    }

    /// With somebody who waits for the lock.
    fn with_sleeper(self) -> World {
        self.add_sleeper();
        self
    }

    fn add_sleeper(&self) {
        let child = sleeper(|| {
            self.lock.acquire(&peer(), patiently()).unwrap();
            self.lock.release(&peer()).unwrap();
        });
        self.peer.replace(Some(child));
    }

    fn release(&self) {
        self.lock.release(&Party::host()).unwrap();
    }

    fn recover(&self) {
        for _ in 0..2 {
            self.lock.recover(victim_slot());
        }
        assert_ne!(self.lock.owner(), Some(victim_slot()));
    }

    /// The sleeper gets it, and after that everyone; whether someone was told that it was abandoned.
    fn check_free(&self) -> bool {
        if let Some(peer) = self.peer.take() {
            peer.join();
        }
        let Acquired { abandoned } = self.lock.acquire(&Party::host(), Limit::Poll).unwrap();
        assert_eq!(self.lock.acquire(&peer(), Limit::Poll), Err(WaitError::TimedOut));
        self.release();
        assert_eq!(
            self.lock.acquire(&peer(), Limit::Poll),
            Ok(Acquired { abandoned: false })
        );
        abandoned
    }
}

fn acquire(world: &World, stage: &Stage) {
    stage.perform(|| world.lock.acquire(&victim(), Limit::Forever).unwrap());
}

fn release(world: &World, stage: &Stage) {
    stage.perform(|| world.lock.release(&victim()).unwrap());
}

#[test]
fn acquire_a_free_lock() {
    kill_everywhere("lock: acquire a free lock", World::new, acquire, |world, moment| {
        let taken = world.lock.owner().is_some();
        world.recover();
        assert_eq!(world.check_free(), taken);
        assert!(taken || moment != Moment::After);
    });
}

#[test]
fn acquire_an_abandoned_lock() {
    kill_everywhere(
        "lock: acquire an abandoned lock",
        World::abandoned,
        acquire,
        |world, _| {
            world.recover();
            assert!(world.check_free());
        },
    );
}

#[test]
fn acquire_a_held_lock_without_waiting() {
    let held = || World::held_by(&Party::host());
    let try_acquire = |world: &World, stage: &Stage| {
        stage.perform(|| world.lock.acquire(&victim(), Limit::Poll).unwrap_err());
    };
    kill_everywhere("lock: try to acquire a held lock", held, try_acquire, |world, _| {
        world.recover();
        world.release();
        assert!(!world.check_free());
    });
}

#[test]
fn wait_for_a_lock() {
    let held = || World::held_by(&Party::host());
    kill_everywhere_and_asleep("lock: wait for a lock", held, acquire, World::release, |world, _| {
        let taken = world.lock.owner() == Some(victim_slot());
        world.recover();
        // Not if it was released for a victim that did not get so far.
        let _ = world.lock.release(&Party::host());
        assert_eq!(world.check_free(), taken);
    });
}

#[test]
fn wait_for_a_lock_in_front_of_another() {
    let held = || World::held_by(&Party::host());
    let rouse = |world: &World| {
        world.add_sleeper();
        world.release();
    };
    kill_everywhere_and_asleep("lock: wait in front of another", held, acquire, rouse, |world, _| {
        world.recover();
        let _ = world.lock.release(&Party::host());
        world.check_free();
    });
}

#[test]
fn wait_for_a_lock_until_the_time_is_up() {
    let held = || World::held_by(&Party::host()).with_sleeper();
    let acquire = |world: &World, stage: &Stage| {
        let limit = Limit::Until(Instant::now());
        stage.perform(|| world.lock.acquire(&victim(), limit).unwrap_err());
    };
    kill_everywhere("lock: wait until the time is up", held, acquire, |world, _| {
        world.recover();
        world.release();
        assert!(!world.check_free());
    });
}

#[test]
fn wait_for_a_lock_until_interrupted() {
    let interrupted = || {
        let interrupt = memory(Interrupt::BYTES);
        (World::held_by(&Party::host()).with_sleeper(), interrupt)
    };
    kill_everywhere_and_asleep(
        "lock: wait until interrupted",
        interrupted,
        |(world, interrupt), stage| {
            let victim = Party::worker(victim_slot(), Some(Interrupt::open(interrupt, 0).unwrap()));
            stage.perform(|| assert_eq!(world.lock.acquire(&victim, Limit::Forever), Err(WaitError::Interrupted)));
        },
        |(_, interrupt)| Interrupt::open(interrupt, 0).unwrap().raise(),
        |(world, _), _| {
            world.recover();
            world.release();
            assert!(!world.check_free());
        },
    );
}

#[test]
fn release_a_lock() {
    let held = || World::held_by(&victim());
    kill_everywhere("lock: release", held, release, |world, moment| {
        let still_held = world.lock.is_locked();
        world.recover();
        assert_eq!(world.check_free(), still_held);
        assert!(!still_held || moment != Moment::After);
    });
}

#[test]
fn release_a_lock_that_another_waits_for() {
    let waited_for = || World::held_by(&victim()).with_sleeper();
    kill_everywhere("lock: release for a sleeper", waited_for, release, |world, _| {
        world.recover();
        assert!(!world.check_free());
    });
}

#[test]
fn release_the_lock_of_another() {
    let waited_for = || World::held_by(&Party::host()).with_sleeper();
    kill_everywhere("lock: release the lock of another", waited_for, release, |world, _| {
        world.recover();
        let _ = world.lock.release(&Party::host());
        assert!(!world.check_free());
    });
}
