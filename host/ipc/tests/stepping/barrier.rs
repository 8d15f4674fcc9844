//! The barrier: whoever waits passes with all the others, or learns that it is broken; and it is broken by no death but
//! that of a party of the trip.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use wasmp_ipc::{Barrier, BarrierError, BarrierPass, Limit, Mapping, Party};

use crate::common::{Child, Words};
use crate::deaths::{Moment, kill_after, kill_everywhere, kill_everywhere_and_asleep, turning_points};
use crate::traced::Stage;
use crate::{contents, dead, in_turn, memory, patiently, peer, sleeper, victim};

/// How a peer's wait ended.
const PASSED: u64 = 1;
const BROKEN: u64 = 2;

struct World {
    memory: Arc<Mapping>,
    barrier: Barrier,
    peers: RefCell<Vec<Child>>,
    /// One word a peer.
    ends: Words,
}

impl World {
    fn new(parties: usize) -> World {
        let memory = memory(Barrier::bytes(parties));
        World {
            barrier: Barrier::create(&memory, parties).unwrap(),
            memory,
            peers: RefCell::default(),
            ends: Words::new(8),
        }
    }

    fn broken(parties: usize) -> World {
        let world = World::new(parties);
        world.barrier.abort().unwrap();
        world
    }

    /// Has another party wait; `start` runs it.
    fn add_peer(&self, start: impl FnOnce(&mut dyn FnMut()) -> Child) {
        let mut peers = self.peers.borrow_mut();
        let end = &self.ends[peers.len()];
        peers.push(start(&mut || {
            let how = match self.barrier.wait(&peer(), false, patiently()) {
                Ok(BarrierPass::Passed(_)) => PASSED,
                Err(BarrierError::Broken) => BROKEN,
                end => panic!("{end:?}"),
            };
            end.store(how, Ordering::SeqCst);
        }));
    }

    fn with_sleepers(self, count: usize) -> World {
        for _ in 0..count {
            self.add_peer(|body| sleeper(body));
        }
        self
    }

    fn check(self) {
        self.check_without(&[victim()]);
    }

    /// These are dead.
    fn check_without(self, dead: &[Party]) {
        let waited = self.peers.borrow().len();
        // Of the others, whoever was not woken yet is in the trip.
        let was_broken = self.barrier.is_broken();
        let in_trip = self.barrier.n_waiting() > self.peers.borrow().iter().filter(|child| child.is_asleep()).count();
        for party in dead.iter().chain(dead) {
            self.barrier.recover(party.slot());
        }
        let asleep = self.peers.borrow().iter().filter(|child| child.falls_asleep()).count();
        if self.barrier.is_broken() {
            assert!(in_trip || was_broken, "broken by one that nobody waited for");
            assert_eq!(asleep, 0, "asleep at a broken barrier");
            self.barrier.reset().unwrap();
        } else {
            assert!(!in_trip && !was_broken, "waiting for the dead");
            assert_eq!(self.barrier.n_waiting(), asleep);
            if asleep > 0 {
                for _ in asleep..self.barrier.parties() {
                    self.add_peer(|body| Child::run(body));
                }
            }
        }
        self.peers.take().into_iter().for_each(Child::join);
        let ends: Vec<u64> = (0..waited).map(|index| self.ends.get(index)).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "some passed and some did not");
        self.trip();
    }

    /// It is as good as new.
    fn trip(&self) {
        let places = Words::new(self.barrier.parties());
        let parties: Vec<Child> = (0..self.barrier.parties())
            .map(|_| {
                Child::run(|| match self.barrier.wait(&peer(), false, patiently()) {
                    Ok(BarrierPass::Passed(place)) => places.increment_alone(place),
                    end => panic!("{end:?}"),
                })
            })
            .collect();
        parties.into_iter().for_each(Child::join);
        assert!(
            (0..places.len()).all(|place| places.get(place) == 1),
            "not one in each place"
        );
    }
}

fn wait(world: &World, stage: &Stage) {
    stage.perform(|| world.barrier.wait(&victim(), false, Limit::Forever));
}

fn wait_and_act(world: &World, stage: &Stage) {
    stage.perform(|| match world.barrier.wait(&victim(), true, Limit::Forever) {
        Ok(BarrierPass::Act) => world.barrier.acted(&victim()),
        end => panic!("{end:?}"),
    });
}

#[test]
fn come_first() {
    let come_after = |world: &World| world.add_peer(|body| Child::run(body));
    kill_everywhere_and_asleep(
        "barrier: come first of 2",
        || World::new(2),
        wait,
        come_after,
        |world, _| {
            world.check();
        },
    );
}

#[test]
fn come_in_the_middle() {
    let one_waits = || World::new(3).with_sleepers(1);
    let come_after = |world: &World| world.add_peer(|body| Child::run(body));
    kill_everywhere_and_asleep("barrier: come second of 3", one_waits, wait, come_after, |world, _| {
        world.check();
    });
}

#[test]
fn come_and_run_out_of_time() {
    let one_waits = || World::new(3).with_sleepers(1);
    let wait = |world: &World, stage: &Stage| {
        let limit = Limit::Until(Instant::now());
        stage.perform(|| world.barrier.wait(&victim(), false, limit).unwrap_err());
    };
    kill_everywhere("barrier: come, time is up", one_waits, wait, |world, moment| {
        assert!(world.barrier.is_broken() || moment != Moment::After);
        world.check();
    });
}

#[test]
fn come_last() {
    let all_wait = || World::new(3).with_sleepers(2);
    kill_everywhere("barrier: come last of 3", all_wait, wait, |world, moment| {
        assert!(moment != Moment::After || world.barrier.n_waiting() == 0);
        world.check();
    });
}

#[test]
fn come_alone() {
    kill_everywhere("barrier: of 1", || World::new(1), wait, |world, _| world.check());
}

#[test]
fn come_last_and_act() {
    let one_waits = || World::new(2).with_sleepers(1);
    kill_everywhere("barrier: act", one_waits, wait_and_act, |world, moment| {
        assert!(moment != Moment::After || world.barrier.n_waiting() == 0);
        world.check();
    });
}

#[test]
fn come_to_a_broken_one() {
    kill_everywhere(
        "barrier: come, broken",
        || World::broken(2),
        wait,
        |world, _| world.check(),
    );
}

#[test]
fn abort() {
    kill_everywhere(
        "barrier: abort",
        || World::new(3).with_sleepers(2),
        |world, stage| stage.perform(|| world.barrier.abort()),
        |world, moment| {
            assert!(world.barrier.is_broken() || moment != Moment::After);
            world.check();
        },
    );
}

#[test]
fn reset() {
    for broken in [false, true] {
        kill_everywhere(
            &format!("barrier: reset, broken: {broken}"),
            || match broken {
                true => World::broken(2),
                false => World::new(3).with_sleepers(2),
            },
            |world, stage| stage.perform(|| world.barrier.reset()),
            |world, moment| {
                assert!(moment != Moment::After || !world.barrier.is_broken());
                assert!(moment != Moment::After || world.barrier.n_waiting() == 0);
                world.check();
            },
        );
    }
}

/// The victim finds another one in the trip who has died and is yet to be recovered.
#[test]
fn two_deaths_before_a_recovery() {
    let one_waits = || World::new(3).with_sleepers(1);
    let of_dead = |world: &World, stage: &Stage| stage.perform(|| world.barrier.wait(&dead(), false, Limit::Forever));
    for steps in turning_points(one_waits, of_dead, |world| contents(&world.memory)) {
        let half_done = || {
            let world = one_waits();
            kill_after(steps, |stage| of_dead(&world, stage));
            world
        };
        let name = format!("barrier: another is dead after {steps} instructions");
        let in_turn = in_turn();
        kill_everywhere_and_asleep(
            &name,
            half_done,
            wait,
            |world| world.barrier.abort().unwrap(),
            |world, _| {
                world.check_without(&in_turn([victim(), dead()]));
            },
        );
    }
}
