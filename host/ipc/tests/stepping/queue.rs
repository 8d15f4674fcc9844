//! The queue: a message is put as a whole or not at all, and it is got or still there; who sleeps beside it goes on.

use std::cell::RefCell;
use std::iter;

use wasmp_ipc::{GetError, Limit, Message, Party, PutError, Queue, QueueOptions, TaskDoneError, Waitable, wait_any};

use crate::common::{Child, Words};
use crate::deaths::{Moment, kill_everywhere, kill_everywhere_and_asleep};
use crate::traced::Stage;
use crate::{memory, patiently, peer, sleeper, victim, victim_slot};

/// So many bytes of one value.
pub(crate) type Content = (u8, usize);

/// What the victim puts.
pub(crate) const NEW: Content = (100, 5);
/// What a peer puts.
pub(crate) const OTHER: Content = (101, 9);
/// What the host puts.
pub(crate) const LAST: Content = (102, 1);

pub(crate) const ONE: Content = (1, 3);
pub(crate) const TWO: Content = (2, 8);
pub(crate) const THREE: Content = (3, 0);

fn content(message: &Message<'_>) -> Content {
    let bytes = message.to_vec();
    assert!(bytes.iter().all(|byte| *byte == message.kind()), "a torn message");
    (message.kind(), bytes.len())
}

pub(crate) struct World {
    pub(crate) queue: Queue,
    /// Who waits, and gets its message or puts it.
    pub(crate) peers: RefCell<Vec<Child>>,
    /// What the peers got: kinds.
    pub(crate) got: Words,
}

impl World {
    pub(crate) fn new(quota: usize, options: QueueOptions, contents: &[Content]) -> World {
        let world = World {
            queue: Queue::create(&memory(Queue::bytes(quota)), options).unwrap(),
            peers: RefCell::default(),
            got: Words::new(1),
        };
        contents.iter().for_each(|content| world.put(*content));
        world
    }

    fn with(contents: &[Content]) -> World {
        World::new(4096, QueueOptions::default(), contents)
    }

    /// With no room for another message.
    fn full(contents: &[Content]) -> World {
        let maxsize = contents.len() as u32;
        let options = QueueOptions {
            maxsize,
            ..QueueOptions::default()
        };
        World::new(4096, options, contents)
    }

    /// With no room for the bytes of another message.
    fn crammed() -> World {
        World::with(&crammed())
    }

    /// With so many units of eight bytes behind it.
    fn after_units(self, units: usize) -> World {
        self.put((0, (units - 1) * 8));
        self.get(&Party::host(), Limit::Poll).unwrap();
        self
    }

    pub(crate) fn put(&self, content: Content) {
        self.try_put(&Party::host(), content, Limit::Poll).unwrap();
    }

    pub(crate) fn try_put(&self, party: &Party, (kind, len): Content, limit: Limit) -> Result<(), PutError> {
        self.queue.put(party, kind, &[&[kind; 70_000][..len]], limit)
    }

    pub(crate) fn get(&self, party: &Party, limit: Limit) -> Result<Content, GetError> {
        self.queue.get(party, limit, |message| content(&message))
    }

    pub(crate) fn with_peer(self, body: impl FnOnce(&World)) -> World {
        self.add_peer(body);
        self
    }

    pub(crate) fn add_peer(&self, body: impl FnOnce(&World)) {
        let child = sleeper(|| body(self));
        self.peers.borrow_mut().push(child);
    }

    pub(crate) fn recover(&self) {
        for _ in 0..2 {
            self.queue.recover(victim_slot());
        }
    }

    /// Whether a peer has nothing to do yet.
    pub(crate) fn peer_sleeps(&self) -> bool {
        self.peers.borrow().iter().any(Child::falls_asleep)
    }

    pub(crate) fn join_peers(&self) {
        self.peers.take().into_iter().for_each(Child::join);
    }

    /// Takes everything out: what is there, and what the peers put then.
    pub(crate) fn rest(&self) -> Vec<Content> {
        let take_out = || {
            iter::from_fn(|| match self.get(&Party::host(), Limit::Poll) {
                Ok(content) => Some(content),
                Err(GetError::Empty | GetError::ShutDown) => None,
                Err(why) => panic!("{why:?}"),
            })
        };
        let mut rest: Vec<Content> = take_out().collect();
        self.join_peers();
        rest.extend(take_out());
        assert!(self.queue.is_empty());
        rest
    }

    /// Puts and gets as if it were new.
    fn check_usable(&self) {
        self.put(LAST);
        assert_eq!(self.get(&peer(), Limit::Poll), Ok(LAST));
    }
}

fn crammed() -> [Content; 8] {
    std::array::from_fn(|index| (index as u8, 504))
}

pub(crate) fn consume(world: &World) {
    let (kind, _) = world.get(&peer(), patiently()).unwrap();
    world.got.set(0, u64::from(kind));
}

pub(crate) fn produce(world: &World) {
    world.try_put(&peer(), OTHER, patiently()).unwrap();
}

fn put(world: &World, stage: &Stage) {
    stage.perform(|| {
        let message: &[u8] = &[NEW.0; NEW.1];
        world.queue.put(&victim(), NEW.0, &[message], Limit::Forever).unwrap();
    });
}

pub(crate) fn get(world: &World, stage: &Stage) {
    stage.perform(|| {
        let mut start = [0; 4];
        world.queue.get(&victim(), Limit::Forever, |message| {
            message.read(0, &mut start[..message.len().min(4)]);
        })
    });
}

/// `after` is there if the operation has happened, and `before` otherwise.
fn check_rest(world: &World, moment: Moment, before: &[Content], after: &[Content]) {
    world.recover();
    let rest = world.rest();
    assert!(rest == after || rest == before && moment != Moment::After, "{rest:?}");
    world.check_usable();
}

fn joined(parts: &[&[Content]]) -> Vec<Content> {
    parts.concat()
}

#[test]
fn put_one() {
    kill_everywhere(
        "queue: put",
        || World::with(&[ONE]),
        put,
        |world, moment| {
            check_rest(&world, moment, &[ONE], &[ONE, NEW]);
        },
    );
}

#[test]
fn put_one_around_the_end() {
    let near_the_end = || {
        let world = World::with(&[]).after_units(509);
        // Two of the three units that are left; the word of the next message is the last one.
        world.put(ONE);
        world
    };
    kill_everywhere("queue: put around the end", near_the_end, put, |world, moment| {
        check_rest(&world, moment, &[ONE], &[ONE, NEW]);
    });
}

#[test]
fn put_one_for_a_sleeper() {
    let waited_for = || World::with(&[]).with_peer(consume);
    kill_everywhere("queue: put for a sleeper", waited_for, put, |world, moment| {
        world.recover();
        let in_vain = world.peer_sleeps();
        if in_vain {
            assert!(world.queue.is_empty() && moment != Moment::After);
            world.put(LAST);
        }
        world.join_peers();
        assert_eq!(world.rest(), []);
        assert_eq!(world.got.get(0), u64::from(if in_vain { LAST.0 } else { NEW.0 }));
        world.check_usable();
    });
}

#[test]
fn put_several() {
    kill_everywhere(
        "queue: put several",
        || World::with(&[ONE]),
        |world, stage| {
            stage.perform(|| {
                world
                    .queue
                    .put_many(&victim(), &[(2, &[2; 8]), (3, &[])], Limit::Forever)
            });
        },
        |world, moment| check_rest(&world, moment, &[ONE], &[ONE, TWO, THREE]),
    );
}

#[test]
fn put_in_vain() {
    kill_everywhere(
        "queue: put, full",
        || World::full(&[ONE]),
        |world, stage| {
            stage.perform(|| world.queue.put(&victim(), 1, &[], Limit::Poll).unwrap_err());
        },
        |world, moment| check_rest(&world, moment, &[ONE], &[ONE]),
    );
}

#[test]
fn put_when_a_message_has_gone() {
    let rouse = |world: &World| {
        world.add_peer(produce);
        world.get(&Party::host(), Limit::Poll).unwrap();
    };
    kill_everywhere_and_asleep(
        "queue: put, full",
        || World::full(&[ONE, TWO]),
        put,
        rouse,
        |world, moment| {
            world.recover();
            assert!(!world.peer_sleeps() || world.queue.is_full(), "asleep beside room");
            let rest = world.rest();
            // Before and after it was roused, and in which order the peer came.
            let possible: [&[Content]; 4] = [&[ONE, TWO], &[TWO, OTHER], &[TWO, NEW, OTHER], &[TWO, OTHER, NEW]];
            assert!(possible.contains(&&rest[..]), "{rest:?}");
            assert!(rest.contains(&NEW) || moment != Moment::After);
            world.check_usable();
        },
    );
}

#[test]
fn put_when_bytes_have_gone() {
    let rouse = |world: &World| {
        world.add_peer(produce);
        world.get(&Party::host(), Limit::Poll).unwrap();
    };
    kill_everywhere_and_asleep("queue: put, crammed", World::crammed, put, rouse, |world, moment| {
        world.recover();
        let all = crammed();
        let rest = world.rest();
        let (new, other): (&[Content], &[Content]) = (&[NEW], &[OTHER]);
        let possible = [
            all.to_vec(),
            joined(&[&all[1..], other]),
            joined(&[&all[1..], new, other]),
            joined(&[&all[1..], other, new]),
        ];
        assert!(possible.contains(&rest), "{rest:?}");
        assert!(rest.contains(&NEW) || moment != Moment::After);
        world.check_usable();
    });
}

fn put_large(world: &World, stage: &Stage) {
    stage.perform(|| {
        let message: &[u8] = &[NEW.0; 16];
        world.queue.put(&victim(), NEW.0, &[message], Limit::Forever).unwrap();
    });
}

#[test]
fn put_makes_the_ring_larger() {
    // Of 8192 units two are left, and two messages wrap around the end.
    let (large, small) = ((7, 8187 * 8), (8, 8));
    let nearly_full = || {
        let world = World::new(1 << 20, QueueOptions::default(), &[]).after_units(6);
        world.put(large);
        world.put(small);
        world
    };
    kill_everywhere("queue: put, growing", nearly_full, put_large, |world, moment| {
        check_rest(&world, moment, &[large, small], &[large, small, (NEW.0, 16)]);
    });
}

#[test]
fn get_one() {
    kill_everywhere(
        "queue: get",
        || World::with(&[ONE, TWO]),
        get,
        |world, moment| {
            check_rest(&world, moment, &[ONE, TWO], &[TWO]);
        },
    );
}

#[test]
fn get_several() {
    kill_everywhere(
        "queue: get several",
        || World::with(&[ONE, TWO, THREE]),
        |world, stage| stage.perform(|| world.queue.get_many(&victim(), 2, Limit::Forever, |_| true)),
        |world, moment| check_rest(&world, moment, &[ONE, TWO, THREE], &[THREE]),
    );
}

#[test]
fn get_makes_room_for_a_message() {
    let waited_for = || World::full(&[ONE, TWO]).with_peer(produce);
    kill_everywhere(
        "queue: get for one who waits for a place",
        waited_for,
        get,
        |world, moment| {
            world.recover();
            assert!(!world.peer_sleeps() || world.queue.is_full(), "asleep beside room");
            check_rest(&world, moment, &[ONE, TWO, OTHER], &[TWO, OTHER]);
        },
    );
}

#[test]
fn get_makes_room_for_bytes() {
    let waited_for = || World::crammed().with_peer(produce);
    kill_everywhere(
        "queue: get for one who waits for bytes",
        waited_for,
        get,
        |world, moment| {
            world.recover();
            let all = crammed();
            assert!(
                !world.peer_sleeps() || world.queue.len() == all.len(),
                "asleep beside room"
            );
            let after = joined(&[&all[1..], &[OTHER]]);
            check_rest(&world, moment, &joined(&[&all, &[OTHER]]), &after);
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
        "queue: get, empty",
        || World::with(&[]),
        get,
        rouse,
        |world, _| {
            world.recover();
            // For the peer, if there is one and the victim took what was there.
            if world.peer_sleeps() {
                assert!(world.queue.is_empty(), "asleep beside a message");
                world.put(LAST);
            }
            world.join_peers();
            world.rest();
            world.check_usable();
        },
    );
}

/// The victim takes nothing, so the peer gets what has come.
#[test]
fn wait_for_one_of_two() {
    let look = |world: &World, stage: &Stage| {
        let other = World::with(&[]);
        let both = [Waitable::Queue(&other.queue), Waitable::Queue(&world.queue)];
        stage.perform(|| assert_eq!(wait_any(&victim(), &both, Limit::Forever), Ok(vec![1])));
    };
    let rouse = |world: &World| {
        world.add_peer(consume);
        world.put(ONE);
    };
    kill_everywhere_and_asleep(
        "queue: wait for it or another",
        || World::with(&[]),
        look,
        rouse,
        |world, _| {
            let roused = !world.peers.borrow().is_empty();
            world.recover();
            world.join_peers();
            assert_eq!(world.got.get(0), if roused { ONE.0.into() } else { 0 });
            assert_eq!(world.rest(), []);
            world.check_usable();
        },
    );
}

#[test]
fn get_gives_memory_back() {
    let large = || {
        let world = World::new(4 << 20, QueueOptions::default(), &[]);
        let bytes = vec![0; 1 << 20];
        let messages: [(u8, &[u8]); 1] = [(0, &bytes)];
        world.queue.put_many(&Party::host(), &messages, Limit::Poll).unwrap();
        world.get(&Party::host(), Limit::Poll).unwrap();
        world
    };
    kill_everywhere(
        "queue: get, empty and large",
        large,
        |world, stage| stage.perform(|| world.queue.get(&victim(), Limit::Poll, |_| ()).unwrap_err()),
        |world, moment| check_rest(&world, moment, &[], &[]),
    );
}

pub(crate) fn shut_down(immediate: bool) -> impl Fn(&World, &Stage) {
    move |world, stage| stage.perform(|| world.queue.shutdown(&victim(), immediate).unwrap())
}

#[test]
fn shut_down_under_sleepers() {
    let consumers = || {
        World::with(&[]).with_peer(|world| {
            let end = world.get(&peer(), patiently());
            assert!(end == Err(GetError::ShutDown) || end == Ok(LAST));
        })
    };
    let producers = || {
        World::full(&[ONE]).with_peer(|world| {
            let end = world.try_put(&peer(), OTHER, patiently());
            assert!(end == Err(PutError::ShutDown) || end == Ok(()));
        })
    };
    for immediate in [false, true] {
        let shut_down = shut_down(immediate);
        kill_everywhere(
            "queue: shut down under a consumer",
            consumers,
            &shut_down,
            |world, moment| {
                world.recover();
                let open = world.try_put(&Party::host(), LAST, Limit::Poll).is_ok();
                assert!(!open || moment != Moment::After);
                world.join_peers();
                assert_eq!(world.rest(), []);
            },
        );
        kill_everywhere(
            "queue: shut down under a producer",
            producers,
            &shut_down,
            |world, moment| {
                world.recover();
                let rest = world.rest();
                let closed = world.try_put(&Party::host(), LAST, Limit::Poll) == Err(PutError::ShutDown);
                match closed {
                    true if immediate => assert_eq!(rest, []),
                    true => assert_eq!(rest, [ONE]),
                    false => assert_eq!(rest, [ONE, OTHER]),
                }
                assert!(closed || moment != Moment::After);
            },
        );
    }
}

pub(crate) fn task_done(world: &World, stage: &Stage) {
    stage.perform(|| world.queue.task_done(&victim()).unwrap());
}

pub(crate) fn join(world: &World) {
    world.queue.join(&peer(), patiently()).unwrap();
}

/// Done with the rest; so many tasks are not.
fn check_tasks(world: &World, tasks: usize) {
    for _ in 0..tasks {
        world.queue.task_done(&Party::host()).unwrap();
    }
    world.join_peers();
    assert_eq!(world.queue.task_done(&Party::host()), Err(TaskDoneError::TooMany));
}

#[test]
fn the_last_task_is_done() {
    let last_one = || {
        let world = World::with(&[ONE]);
        world.get(&victim(), Limit::Poll).unwrap();
        world.with_peer(join)
    };
    kill_everywhere("queue: task done", last_one, task_done, |world, moment| {
        world.recover();
        let not_done = world.peer_sleeps();
        assert!(!not_done || moment != Moment::After);
        check_tasks(&world, not_done.into());
    });
}

#[test]
fn join_until_all_is_done() {
    let one_task = || {
        let world = World::with(&[ONE]);
        world.get(&peer(), Limit::Poll).unwrap();
        world
    };
    kill_everywhere_and_asleep(
        "queue: join",
        one_task,
        |world, stage| stage.perform(|| world.queue.join(&victim(), Limit::Forever)),
        |world| {
            world.add_peer(join);
            world.queue.task_done(&peer()).unwrap();
        },
        |world, _| {
            world.recover();
            let _ = world.queue.task_done(&peer());
            check_tasks(&world, 0);
        },
    );
}
