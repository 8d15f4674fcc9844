//! The semaphore: after every death there are as many permits as before, or one is gone that was taken for good.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use wasmp_ipc::{Limit, Mapping, Party, ReleaseError, Semaphore, WaitError};

use crate::common::Child;
use crate::deaths::{Moment, kill_after, kill_everywhere, kill_everywhere_and_asleep, turning_points};
use crate::traced::Stage;
use crate::{contents, dead, in_turn, memory, patiently, peer, sleeper, victim, victim_slot};

struct World {
    memory: Arc<Mapping>,
    semaphore: Semaphore,
    /// Each takes a permit and gives it back.
    sleepers: RefCell<Vec<Child>>,
    /// Permits that the host has given since.
    given: Cell<u32>,
}

impl World {
    fn new(value: u32) -> World {
        World::bounded(value, None)
    }

    fn bounded(value: u32, bound: Option<u32>) -> World {
        let memory = memory(Semaphore::BYTES);
        World {
            semaphore: Semaphore::create(&memory, value, bound).unwrap(),
            memory,
            sleepers: RefCell::default(),
            given: Cell::default(),
        }
    }

    /// With so many permits held by the victim, and none left.
    fn held(held: u32) -> World {
        let world = World::new(held);
        for _ in 0..held {
            world.semaphore.acquire_held(&victim(), Limit::Poll).unwrap();
        }
        world
    }

    /// With another one's transfer as the last one.
    fn used_by_peer(self) -> World {
        self.semaphore.acquire_held(&peer(), Limit::Poll).unwrap();
        self.semaphore.release_held(&peer(), 1).unwrap();
        self
    }

    fn with_sleepers(self, count: usize) -> World {
        for _ in 0..count {
            self.add_sleeper();
        }
        self
    }

    fn add_sleeper(&self) {
        let child = sleeper(|| {
            self.semaphore.acquire_held(&peer(), patiently()).unwrap();
            self.semaphore.release_held(&peer(), 1).unwrap();
        });
        self.sleepers.borrow_mut().push(child);
    }

    fn give(&self, permits: u32) {
        self.semaphore.release(&Party::host(), permits).unwrap();
        self.given.set(self.given.get() + permits);
    }

    fn recover(&self) {
        for _ in 0..2 {
            self.semaphore.recover(victim_slot());
        }
    }

    /// Whether nobody sleeps any more. Whoever does has nothing to wake up for.
    fn all_are_through(&self) -> bool {
        let asleep = self
            .sleepers
            .borrow()
            .iter()
            .filter(|child| child.falls_asleep())
            .count();
        assert!(asleep == 0 || self.semaphore.value() == 0, "asleep beside a permit");
        asleep == 0
    }

    /// Everyone is through, and there are so many permits, which can all be taken and given back.
    fn check(&self, permits: u32) {
        self.sleepers.take().into_iter().for_each(Child::join);
        assert_eq!(self.semaphore.value(), permits);
        for _ in 0..permits {
            self.semaphore.acquire_held(&peer(), Limit::Poll).unwrap();
        }
        let none_left = self.semaphore.acquire(&peer(), Limit::Poll);
        assert_eq!(none_left, Err(WaitError::TimedOut));
        self.semaphore.recover(peer().slot());
        assert_eq!(self.semaphore.value(), permits);
    }
}

fn acquire_held(world: &World, stage: &Stage) {
    stage.perform(|| world.semaphore.acquire_held(&victim(), Limit::Forever).unwrap());
}

fn release_held(world: &World, stage: &Stage) {
    stage.perform(|| world.semaphore.release_held(&victim(), 1).unwrap());
}

#[test]
fn acquire_for_good() {
    kill_everywhere(
        "semaphore: acquire",
        || World::new(2),
        |world, stage| stage.perform(|| world.semaphore.acquire(&victim(), Limit::Forever).unwrap()),
        |world, moment| {
            let left = world.semaphore.value();
            world.recover();
            assert!(left == 1 || left == 2 && moment != Moment::After);
            world.check(left);
        },
    );
}

#[test]
fn acquire_in_vain() {
    kill_everywhere(
        "semaphore: acquire in vain",
        || World::new(0).with_sleepers(1),
        |world, stage| stage.perform(|| world.semaphore.acquire_held(&victim(), Limit::Poll).unwrap_err()),
        |world, _| {
            world.recover();
            world.give(1);
            world.check(1);
        },
    );
}

#[test]
fn acquire_and_hold() {
    kill_everywhere(
        "semaphore: acquire, held",
        || World::new(2).used_by_peer(),
        acquire_held,
        |world, moment| {
            assert!(world.semaphore.value() == 1 || moment != Moment::After);
            world.recover();
            world.check(2);
        },
    );
}

#[test]
fn acquire_and_hold_one_more() {
    let held = || {
        let world = World::held(2);
        world.semaphore.release_held(&victim(), 1).unwrap();
        world
    };
    kill_everywhere("semaphore: acquire, held, once more", held, acquire_held, |world, _| {
        world.recover();
        world.check(2);
    });
}

#[test]
fn acquire_from_a_bounded_one() {
    kill_everywhere(
        "semaphore: acquire, bounded",
        || World::bounded(1, Some(1)),
        |world, stage| stage.perform(|| world.semaphore.acquire(&victim(), Limit::Forever).unwrap()),
        |world, _| {
            world.recover();
            let too_many = world.semaphore.release(&peer(), 1);
            assert_eq!(too_many, Err(ReleaseError::TooMany));
            world.check(1);
        },
    );
}

#[test]
fn wait_for_a_permit() {
    kill_everywhere_and_asleep(
        "semaphore: wait in front of another",
        || World::new(0),
        acquire_held,
        |world| {
            world.add_sleeper();
            world.give(1);
        },
        |world, _| {
            world.recover();
            if world.given.get() == 0 {
                world.give(1);
            }
            world.check(1);
        },
    );
}

#[test]
fn release_what_is_held() {
    for sleepers in [0, 2] {
        kill_everywhere(
            &format!("semaphore: release, held, with {sleepers} asleep"),
            || World::held(2).with_sleepers(sleepers),
            release_held,
            |world, _| {
                world.recover();
                world.check(2);
            },
        );
    }
}

#[test]
fn release_for_good() {
    for sleepers in [0, 1, 2] {
        kill_everywhere(
            &format!("semaphore: release 2 with {sleepers} asleep"),
            || World::new(0).with_sleepers(sleepers),
            |world, stage| stage.perform(|| world.semaphore.release(&victim(), 2).unwrap()),
            |world, moment| {
                world.recover();
                // Those who are through have given their permits back.
                let through = world.all_are_through() && world.semaphore.value() == 2;
                assert!(through || moment != Moment::After);
                if !through {
                    world.give(2);
                }
                world.check(2);
            },
        );
    }
}

#[test]
fn release_too_many() {
    kill_everywhere(
        "semaphore: release too many",
        || World::bounded(1, Some(1)).used_by_peer(),
        |world, stage| stage.perform(|| world.semaphore.release(&victim(), 1).unwrap_err()),
        |world, _| {
            world.recover();
            world.check(1);
        },
    );
}

/// The victim finds what another one has left half done who has died before it, and is yet to be recovered.
#[test]
fn two_deaths_before_a_recovery() {
    let made = || {
        let world = World::new(4);
        for party in [dead(), victim()] {
            world.semaphore.acquire_held(&party, Limit::Poll).unwrap();
        }
        world
    };
    let operations: [fn(&World, &Party); 2] = [
        |world, party| world.semaphore.acquire_held(party, Limit::Poll).unwrap(),
        |world, party| world.semaphore.release_held(party, 1).unwrap(),
    ];
    for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let (first, second) = (operations[first], operations[second]);
        let of_dead = |world: &World, stage: &Stage| stage.perform(|| first(world, &dead()));
        for steps in turning_points(made, of_dead, |world| contents(&world.memory)) {
            let half_done = || {
                let world = made();
                kill_after(steps, |stage| of_dead(&world, stage));
                world
            };
            let of_victim = |world: &World, stage: &Stage| stage.perform(|| second(world, &victim()));
            let name = format!("semaphore: another is dead after {steps} instructions");
            let in_turn = in_turn();
            kill_everywhere(&name, half_done, of_victim, |world, _| {
                for party in in_turn([dead(), victim()]) {
                    world.semaphore.recover(party.slot());
                }
                world.check(4);
            });
        }
    }
}
