//! The condition: a notification reaches someone who waits, or was reached for; and whoever waits can be notified.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use wasmp_ipc::{Condition, Limit, Lock, Party, RLock, Waited};

use crate::common::Child;
use crate::deaths::{Moment, kill_everywhere, kill_everywhere_and_asleep};
use crate::traced::Stage;
use crate::{in_turn, memory, patiently, peer, sleeper, victim, victim_slot};

#[derive(Clone, Copy)]
enum Part {
    Lock,
    Condition,
}

struct World {
    lock: Lock,
    condition: Condition,
    /// Wait to be notified, each once.
    sleepers: RefCell<Vec<Child>>,
    /// Whether the host has notified the victim.
    notified: Cell<bool>,
}

impl World {
    /// The victim has the lock; so many wait for a notification.
    fn with_sleepers(count: usize) -> World {
        let world = World {
            lock: Lock::create(&memory(Lock::BYTES)).unwrap(),
            condition: Condition::create(&memory(Condition::BYTES)).unwrap(),
            sleepers: RefCell::default(),
            notified: Cell::new(false),
        };
        (0..count).for_each(|_| world.add_sleeper());
        world.lock.acquire(&victim(), Limit::Poll).unwrap();
        world
    }

    fn add_sleeper(&self) {
        let child = sleeper(|| {
            self.lock.acquire(&peer(), patiently()).unwrap();
            let waited = self.condition.wait(&peer(), &self.lock, patiently()).unwrap();
            assert!(waited.notified);
            self.lock.release(&peer()).unwrap();
        });
        self.sleepers.borrow_mut().push(child);
    }

    /// How many still wait, the others having ended.
    fn asleep(&self) -> usize {
        self.sleepers
            .borrow()
            .iter()
            .filter(|child| child.falls_asleep())
            .count()
    }

    /// In one order or the other.
    fn recover(&self, [first, second]: [Part; 2]) {
        for part in [first, second, first, second] {
            match part {
                Part::Lock => self.lock.recover(victim_slot()),
                Part::Condition => self.condition.recover(victim_slot()),
            }
        }
    }

    /// Whoever still waits can be notified, and nobody else is.
    fn check(&self) {
        let host = Party::host();
        let asleep = self.asleep();
        self.lock.acquire(&host, Limit::Poll).unwrap();
        let notified = self.condition.notify(&host, &self.lock, usize::MAX).unwrap();
        self.lock.release(&host).unwrap();
        assert_eq!(notified, asleep);
        self.sleepers.take().into_iter().for_each(Child::join);
        assert!(!self.lock.is_locked());
        assert!(format!("{:?}", self.condition).contains("waiting: 0"));
    }
}

#[test]
fn wait_to_be_notified() {
    let host = Party::host();
    let in_turn = in_turn();
    kill_everywhere_and_asleep(
        "condition: wait in front of another",
        || World::with_sleepers(0),
        |world, stage| stage.perform(|| world.condition.wait(&victim(), &world.lock, Limit::Forever).unwrap()),
        |world| match world.notified.replace(true) {
            // It wakes up, and waits for the lock.
            false => {
                world.add_sleeper();
                world.lock.acquire(&host, Limit::Poll).unwrap();
                let notified = world.condition.notify(&host, &world.lock, 1);
                assert_eq!(notified, Ok(1));
            }
            true => world.lock.release(&host).unwrap(),
        },
        |world, _| {
            let returned = world.lock.owner() == Some(victim_slot()) && world.notified.get();
            world.recover(in_turn([Part::Lock, Part::Condition]));
            if world.lock.owner() == Some(host.slot()) {
                world.lock.release(&host).unwrap();
            }
            // If it did not come so far as to have the lock, the notification is the other one's.
            assert!(
                !world.notified.get() || returned || world.asleep() == 0,
                "a notification is lost"
            );
            world.check();
        },
    );
}

#[test]
fn wait_until_the_time_is_up() {
    let in_turn = in_turn();
    kill_everywhere(
        "condition: wait until the time is up",
        || World::with_sleepers(1),
        |world, stage| {
            let limit = Limit::Until(Instant::now());
            stage.perform(|| {
                let waited = world.condition.wait(&victim(), &world.lock, limit);
                let timed_out = Waited {
                    notified: false,
                    abandoned: false,
                };
                assert_eq!(waited, Ok(timed_out));
            });
        },
        |world, _| {
            world.recover(in_turn([Part::Lock, Part::Condition]));
            assert_eq!(world.asleep(), 1);
            world.check();
        },
    );
}

#[test]
fn wait_with_a_recursive_lock() {
    struct Recursive {
        lock: RLock,
        condition: Condition,
    }
    let host = Party::host();
    kill_everywhere_and_asleep(
        "condition: wait, twice locked",
        || {
            let lock = RLock::create(&memory(RLock::BYTES)).unwrap();
            let condition = Condition::create(&memory(Condition::BYTES)).unwrap();
            for _ in 0..2 {
                lock.acquire(&victim(), Limit::Poll).unwrap();
            }
            Recursive { lock, condition }
        },
        |world, stage| stage.perform(|| world.condition.wait(&victim(), &world.lock, Limit::Forever).unwrap()),
        |world| {
            world.lock.acquire(&host, Limit::Poll).unwrap();
            assert_eq!(world.condition.notify(&host, &world.lock, 1), Ok(1));
            world.lock.release(&host).unwrap();
        },
        |world, moment| {
            let owned = world.lock.is_mine(&victim());
            assert!(moment != Moment::After || owned && world.lock.count() == 2);
            for _ in 0..2 {
                world.condition.recover(victim_slot());
                world.lock.recover(victim_slot());
            }
            assert_eq!(world.lock.acquire(&host, Limit::Poll).unwrap().abandoned, owned);
            assert_eq!(world.lock.count(), 1);
            assert_eq!(world.condition.notify(&host, &world.lock, 1), Ok(0));
        },
    );
}

#[test]
fn notify() {
    for count in [1, 2] {
        let in_turn = in_turn();
        kill_everywhere(
            &format!("condition: notify {count} of 2"),
            || World::with_sleepers(2),
            |world: &World, stage: &Stage| {
                stage.perform(|| world.condition.notify(&victim(), &world.lock, count).unwrap());
            },
            |world, moment| {
                world.recover(in_turn([Part::Lock, Part::Condition]));
                let through = 2 - world.asleep();
                assert!(through == count || through < count && moment != Moment::After);
                world.check();
            },
        );
    }
}
