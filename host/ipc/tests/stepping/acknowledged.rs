//! The queue with acknowledgement: what a dead process had not acknowledged comes back, once.

use wasmp_ipc::{GetError, Limit, Party, PutError, QueueOptions};

use crate::deaths::{Moment, kill_everywhere, kill_everywhere_and_asleep};
use crate::queue::{Content, LAST, ONE, OTHER, THREE, TWO, World, consume, get, join, produce, shut_down, task_done};
use crate::{dead, patiently, peer, victim};

fn with(contents: &[Content]) -> World {
    let options = QueueOptions {
        acknowledged: true,
        maxsize: 3,
    };
    World::new(4096, options, contents)
}

impl World {
    /// That party has got the next message.
    fn got_by(self, party: &Party) -> World {
        self.get(party, Limit::Poll).unwrap();
        self
    }

    /// That party has died; nobody has settled it yet.
    fn without(self, party: &Party) -> World {
        self.queue.recover(party.slot());
        self
    }

    /// That is what can be got; when it is done, and what that party still has, everything is.
    fn check(&self, living: &Party, possible: &[&[Content]]) {
        let rest = self.rest();
        assert!(possible.contains(&&rest[..]), "{rest:?}");
        for party in [living, &Party::host()] {
            while self.queue.task_done(party).is_ok() {}
        }
        assert_eq!(
            self.queue.join(&peer(), Limit::Poll),
            Ok(()),
            "something is left that nobody has"
        );
        for content in [ONE, TWO, THREE] {
            self.put(content);
        }
        assert!(self.queue.is_full());
    }
}

#[test]
fn get_one() {
    kill_everywhere(
        "acknowledged: get",
        || with(&[ONE, TWO]),
        get,
        |world, _| {
            world.recover();
            world.check(&peer(), &[&[ONE, TWO]]);
        },
    );
}

#[test]
fn get_one_behind_another() {
    let one_is_held = || with(&[ONE, TWO, THREE]).got_by(&peer());
    kill_everywhere("acknowledged: get the second", one_is_held, get, |world, _| {
        world.recover();
        world.check(&peer(), &[&[TWO, THREE]]);
    });
}

#[test]
fn get_what_a_dead_one_had() {
    for held in [1, 2] {
        let returned = || {
            let world = (0..held).fold(with(&[ONE, TWO, THREE]), |world, _| world.got_by(&dead()));
            world.got_by(&peer()).without(&dead())
        };
        kill_everywhere(&format!("acknowledged: get {held} back"), returned, get, |world, _| {
            world.recover();
            let rest = [ONE, TWO, THREE];
            let expected: Vec<Content> = (0..3).filter(|place| *place != held).map(|place| rest[place]).collect();
            world.check(&peer(), &[&expected]);
        });
    }
}

#[test]
fn get_several() {
    kill_everywhere(
        "acknowledged: get several",
        || with(&[ONE, TWO, THREE]),
        |world, stage| stage.perform(|| world.queue.get_many(&victim(), 2, Limit::Forever, |_| true)),
        |world, _| {
            world.recover();
            world.check(&peer(), &[&[ONE, TWO, THREE]]);
        },
    );
}

#[test]
fn get_when_something_comes() {
    let rouse = |world: &World| {
        world.add_peer(consume);
        world.put(ONE);
    };
    kill_everywhere_and_asleep(
        "acknowledged: get, empty",
        || with(&[]),
        get,
        rouse,
        |world, _| {
            let roused = !world.peers.borrow().is_empty();
            world.recover();
            if roused {
                world.join_peers();
                assert_eq!(world.got.get(0), u64::from(ONE.0), "lost with the dead");
            }
            world.check(&peer(), &[&[]]);
        },
    );
}

#[test]
fn the_oldest_is_done() {
    let oldest = || with(&[ONE, TWO, THREE]).got_by(&victim()).with_peer(produce);
    kill_everywhere(
        "acknowledged: the oldest is done",
        oldest,
        task_done,
        |world, moment| {
            world.recover();
            if world.peer_sleeps() {
                assert!(world.queue.is_full() && moment != Moment::After, "asleep beside room");
                assert_eq!(world.get(&Party::host(), Limit::Poll), Ok(ONE));
                world.queue.task_done(&Party::host()).unwrap();
            }
            world.join_peers();
            world.check(&peer(), &[&[TWO, THREE, OTHER]]);
        },
    );
}

#[test]
fn a_later_one_is_done() {
    let later = || with(&[ONE, TWO, THREE]).got_by(&peer()).got_by(&victim());
    kill_everywhere(
        "acknowledged: a later one is done",
        later,
        task_done,
        |world, moment| {
            world.recover();
            match moment {
                Moment::After => world.check(&peer(), &[&[THREE]]),
                _ => world.check(&peer(), &[&[THREE], &[TWO, THREE]]),
            }
        },
    );
}

#[test]
fn the_last_is_done() {
    let last = || with(&[ONE]).got_by(&victim()).with_peer(join);
    kill_everywhere("acknowledged: the last is done", last, task_done, |world, moment| {
        world.recover();
        if world.peer_sleeps() {
            assert_ne!(moment, Moment::After);
            world.get(&Party::host(), Limit::Poll).unwrap();
            world.queue.task_done(&Party::host()).unwrap();
        }
        world.check(&peer(), &[&[]]);
    });
}

#[test]
fn shut_down_at_once() {
    let held = || with(&[ONE, TWO]).got_by(&victim());
    kill_everywhere("acknowledged: shut down", held, shut_down(true), |world, moment| {
        world.recover();
        let open = world.try_put(&Party::host(), LAST, Limit::Poll);
        if open.is_ok() {
            assert_ne!(moment, Moment::After);
            world.check(&peer(), &[&[ONE, TWO, LAST]]);
        } else {
            assert_eq!(open, Err(PutError::ShutDown));
            assert_eq!(world.get(&peer(), Limit::Poll), Err(GetError::ShutDown));
            // What the dead one had is dropped as well.
            assert_eq!(world.queue.join(&Party::host(), patiently()), Ok(()));
        }
    });
}
