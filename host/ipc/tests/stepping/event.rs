//! The event: set or not, and then either all sleepers are through or none.

use std::cell::RefCell;

use wasmp_ipc::{Event, Limit, WaitError};

use crate::common::Child;
use crate::deaths::{Moment, kill_everywhere, kill_everywhere_and_asleep};
use crate::{memory, patiently, peer, sleeper, victim, victim_slot};

struct World {
    event: Event,
    /// Wait for it.
    sleepers: RefCell<Vec<Child>>,
}

impl World {
    fn new() -> World {
        World {
            event: Event::create(&memory(Event::BYTES)).unwrap(),
            sleepers: RefCell::default(),
        }
    }

    fn set() -> World {
        let world = World::new();
        world.event.set();
        world
    }

    fn with_sleepers(self, count: usize) -> World {
        for _ in 0..count {
            self.add_sleeper();
        }
        self
    }

    fn add_sleeper(&self) {
        let child = sleeper(|| self.event.wait(&peer(), patiently()).unwrap());
        self.sleepers.borrow_mut().push(child);
    }

    fn recover(&self) {
        for _ in 0..2 {
            self.event.recover(victim_slot());
        }
    }

    /// Waits end if the event is set and not before; it can be set and cleared.
    fn check(self, is_set: bool) {
        assert_eq!(self.event.is_set(), is_set);
        let sleepers = self.sleepers.take();
        if !is_set {
            assert_eq!(self.event.wait(&peer(), Limit::Poll), Err(WaitError::TimedOut));
            assert!(sleepers.iter().all(Child::falls_asleep), "woken before it was set");
            self.event.set();
        }
        sleepers.into_iter().for_each(Child::join);
        self.event.wait(&peer(), Limit::Poll).unwrap();
        self.event.clear();
        assert!(!self.event.is_set());
    }
}

#[test]
fn set_it() {
    for sleepers in [0, 2] {
        kill_everywhere(
            &format!("event: set with {sleepers} asleep"),
            || World::new().with_sleepers(sleepers),
            |world, stage| stage.perform(|| world.event.set()),
            |world, moment| {
                let is_set = world.event.is_set();
                world.recover();
                assert!(is_set || moment != Moment::After);
                world.check(is_set);
            },
        );
    }
}

#[test]
fn clear_it() {
    kill_everywhere(
        "event: clear",
        World::set,
        |world, stage| stage.perform(|| world.event.clear()),
        |world, moment| {
            let is_set = world.event.is_set();
            world.recover();
            assert!(!is_set || moment != Moment::After);
            world.check(is_set);
        },
    );
}

#[test]
fn wait_for_it() {
    kill_everywhere_and_asleep(
        "event: wait in front of another",
        World::new,
        |world, stage| stage.perform(|| world.event.wait(&victim(), Limit::Forever)),
        |world| {
            world.add_sleeper();
            world.event.set();
        },
        |world, _| {
            let is_set = world.event.is_set();
            world.recover();
            world.check(is_set);
        },
    );
}
