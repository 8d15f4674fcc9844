//! The recursive lock: as the lock, and however deep its dead owner was in it.

use std::cell::RefCell;

use wasmp_ipc::{Acquired, Limit, Party, RLock, WaitError};

use crate::common::Child;
use crate::deaths::{Moment, kill_everywhere, kill_everywhere_and_asleep};
use crate::traced::Stage;
use crate::{memory, patiently, peer, sleeper, victim, victim_slot};

struct World {
    lock: RLock,
    /// Acquires the lock twice and releases it.
    peer: RefCell<Option<Child>>,
}

impl World {
    fn new() -> World {
        World {
            lock: RLock::create(&memory(RLock::BYTES)).unwrap(),
            peer: RefCell::default(),
        }
    }

    /// With the lock held by that party, so many times.
    fn held_by(party: &Party, depth: usize) -> World {
        let world = World::new();
        for _ in 0..depth {
            world.lock.acquire(party, Limit::Poll).unwrap();
        }
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
            self.lock.acquire(&peer(), Limit::Poll).unwrap();
            assert_eq!(self.lock.count(), 2);
            self.lock.release(&peer()).unwrap();
            self.lock.release(&peer()).unwrap();
        });
        self.peer.replace(Some(child));
    }

    fn recover(&self) {
        for _ in 0..2 {
            self.lock.recover(victim_slot());
        }
        assert_ne!(self.lock.owner(), Some(victim_slot()));
    }

    /// The sleeper gets it, and after that everyone, each for the first time; whether someone was told that it was abandoned.
    fn check_free(&self) -> bool {
        if let Some(peer) = self.peer.take() {
            peer.join();
        }
        assert_eq!((self.lock.owner(), self.lock.count()), (None, 0));
        let host = Party::host();
        let Acquired { abandoned } = self.lock.acquire(&host, Limit::Poll).unwrap();
        assert!(self.lock.is_mine(&host));
        assert_eq!(self.lock.count(), 1);
        assert_eq!(self.lock.acquire(&peer(), Limit::Poll), Err(WaitError::TimedOut));
        self.lock.release(&host).unwrap();
        let unchanged = Ok(Acquired { abandoned: false });
        assert_eq!(self.lock.acquire(&peer(), Limit::Poll), unchanged);
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
    kill_everywhere("rlock: acquire", World::new, acquire, |world, moment| {
        let taken = world.lock.owner().is_some();
        world.recover();
        assert_eq!(world.check_free(), taken);
        assert!(taken || moment != Moment::After);
    });
}

#[test]
fn acquire_it_again() {
    let held = || World::held_by(&victim(), 1).with_sleeper();
    kill_everywhere("rlock: acquire again", held, acquire, |world, _| {
        world.recover();
        world.check_free();
    });
}

#[test]
fn wait_for_it() {
    let held = || World::held_by(&Party::host(), 1);
    let rouse = |world: &World| {
        world.add_sleeper();
        world.lock.release(&Party::host()).unwrap();
    };
    kill_everywhere_and_asleep("rlock: wait in front of another", held, acquire, rouse, |world, _| {
        world.recover();
        let _ = world.lock.release(&Party::host());
        world.check_free();
    });
}

#[test]
fn release_it_once_of_twice() {
    let held = || World::held_by(&victim(), 2).with_sleeper();
    kill_everywhere("rlock: release once of twice", held, release, |world, _| {
        assert_eq!(world.lock.owner(), Some(victim_slot()));
        world.recover();
        world.check_free();
    });
}

#[test]
fn release_it() {
    let held = || World::held_by(&victim(), 1);
    kill_everywhere("rlock: release", held, release, |world, moment| {
        let still_held = world.lock.owner().is_some();
        world.recover();
        assert_eq!(world.check_free(), still_held);
        assert!(!still_held || moment != Moment::After);
    });
}

#[test]
fn release_it_for_a_sleeper() {
    let held = || World::held_by(&victim(), 1).with_sleeper();
    kill_everywhere("rlock: release for a sleeper", held, release, |world, _| {
        world.recover();
        world.check_free();
    });
}
