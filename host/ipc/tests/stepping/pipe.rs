//! The pipe: messages as in the queue; and an end that only the dead had open is gone.

use std::cell::RefCell;

use wasmp_ipc::{Connection, End, Limit, Party, RecvError, SendError, Slot};

use crate::common::Child;
use crate::deaths::{Moment, kill_everywhere, kill_everywhere_and_asleep};
use crate::traced::Stage;
use crate::{memory, patiently, peer, sleeper, victim, victim_slot};

const QUOTA: usize = 4096;
/// What the victim sends.
const NEW: u8 = 100;

/// A duplex pipe: the victim has one end open, the host and a peer the other.
struct World {
    /// The victim's.
    theirs: Connection,
    ours: Connection,
    /// Waits for a message or for the end.
    sleeper: RefCell<Option<Child>>,
}

impl World {
    fn new() -> World {
        let (ours, theirs) = Connection::create(&memory(Connection::bytes(true, QUOTA)), true).unwrap();
        assert_eq!((ours.end(), theirs.end()), (End::First, End::Second));
        assert!(theirs.attach(victim_slot()));
        theirs.detach(Slot::HOST);
        World {
            theirs,
            ours,
            sleeper: RefCell::default(),
        }
    }

    /// With these messages on their way to the victim.
    fn with(messages: &[u8]) -> World {
        let world = World::new();
        messages.iter().for_each(|kind| world.send(*kind, Limit::Poll).unwrap());
        world
    }

    /// With as many messages from the victim as fit.
    fn crammed() -> World {
        let world = World::new();
        let full = || world.theirs.send(&victim(), 0, &[&[0; 504]], Limit::Poll);
        while full().is_ok() {}
        world
    }

    fn send(&self, kind: u8, limit: Limit) -> Result<(), SendError> {
        self.ours.send(&Party::host(), kind, &[&[kind; 4]], limit)
    }

    fn recv(&self, party: &Party, limit: Limit) -> Result<u8, RecvError> {
        self.ours.recv(party, limit, |message| {
            let bytes = message.to_vec();
            assert!(bytes.iter().all(|byte| *byte == message.kind()), "a torn message");
            message.kind()
        })
    }

    /// Somebody else at our end receives the message of the victim, or its end.
    fn with_receiver(self) -> World {
        let child = sleeper(|| {
            let received = self.recv(&peer(), patiently());
            assert!(received == Ok(NEW) || received == Err(RecvError::End));
        });
        self.sleeper.replace(Some(child));
        self
    }

    fn recover(&self) {
        for _ in 0..2 {
            self.ours.recover(victim_slot());
        }
    }

    /// What the victim has sent, and then the end; nothing more can be sent to it.
    fn rest(&self) -> Vec<u8> {
        let sleeper = self.sleeper.take();
        if let Some(sleeper) = sleeper {
            sleeper.join();
        }
        let mut rest = Vec::new();
        loop {
            match self.recv(&Party::host(), Limit::Poll) {
                Ok(kind) => rest.push(kind),
                end => break assert_eq!(end, Err(RecvError::End)),
            }
        }
        assert_eq!(self.send(1, Limit::Poll), Err(SendError::BrokenPipe));
        rest
    }
}

fn send(world: &World, stage: &Stage) {
    stage.perform(|| world.theirs.send(&victim(), NEW, &[&[NEW; 4]], Limit::Forever).unwrap());
}

fn recv(world: &World, stage: &Stage) {
    stage.perform(|| world.theirs.recv(&victim(), Limit::Forever, |message| message.len()));
}

#[test]
fn send_a_message() {
    kill_everywhere("pipe: send", World::new, send, |world, moment| {
        world.recover();
        let rest = world.rest();
        assert!(rest == [NEW] || rest.is_empty() && moment != Moment::After);
    });
}

#[test]
fn send_to_one_who_waits() {
    let waited_for = || World::new().with_receiver();
    kill_everywhere("pipe: send to a sleeper", waited_for, send, |world, _| {
        world.recover();
        assert_eq!(world.rest(), []);
    });
}

#[test]
fn send_when_there_is_room() {
    let receive = |world: &World| assert_eq!(world.recv(&Party::host(), Limit::Poll), Ok(0));
    kill_everywhere_and_asleep("pipe: send, full", World::crammed, send, receive, |world, moment| {
        world.recover();
        let new = world.rest().iter().filter(|kind| **kind == NEW).count();
        assert!(new == 1 || new == 0 && moment != Moment::After);
    });
}

#[test]
fn receive_a_message() {
    kill_everywhere(
        "pipe: receive",
        || World::with(&[1, 2]),
        recv,
        |world, _| {
            world.recover();
            assert_eq!(world.rest(), []);
        },
    );
}

#[test]
fn receive_when_a_message_comes() {
    let rouse = |world: &World| world.send(1, Limit::Poll).unwrap();
    kill_everywhere_and_asleep("pipe: receive, empty", World::new, recv, rouse, |world, _| {
        world.recover();
        assert_eq!(world.rest(), []);
    });
}

#[test]
fn poll_until_a_message_comes() {
    let poll = |world: &World, stage: &Stage| stage.perform(|| world.theirs.poll(&victim(), Limit::Forever));
    let rouse = |world: &World| world.send(1, Limit::Poll).unwrap();
    kill_everywhere_and_asleep("pipe: poll", World::new, poll, rouse, |world, _| {
        world.recover();
        assert_eq!(world.rest(), []);
    });
}

/// Another process has the end as well, or is going to get it: then it is not gone.
#[test]
fn open_and_close_an_end() {
    type Operation = fn(&Connection);
    let attach: Operation = |end| assert!(end.attach(victim_slot()));
    let detach: Operation = |end| end.detach(victim_slot());
    let export: Operation = |end| end.export(victim_slot());
    for (name, operation) in [("attach", attach), ("detach", detach), ("export", export)] {
        for other in [false, true] {
            kill_everywhere(
                &format!("pipe: {name}, another has it: {other}"),
                || {
                    let world = World::new().with_receiver();
                    if other {
                        assert!(world.theirs.attach(peer().slot()));
                    }
                    world
                },
                |world, stage| stage.perform(|| operation(&world.theirs)),
                |world, _| {
                    world.recover();
                    if other {
                        world.send(1, Limit::Poll).unwrap();
                        assert!(world.sleeper.borrow().as_ref().is_some_and(Child::falls_asleep));
                        world.theirs.detach(peer().slot());
                    }
                    assert_eq!(world.rest(), []);
                },
            );
        }
    }
}

#[test]
fn import_an_end() {
    let on_its_way = || {
        let world = World::new();
        world.theirs.export(Slot::HOST);
        world.theirs.detach(victim_slot());
        world.with_receiver()
    };
    let import = |world: &World, stage: &Stage| stage.perform(|| assert!(world.theirs.import(victim_slot())));
    kill_everywhere("pipe: import", on_its_way, import, |world, moment| {
        world.recover();
        // Still on its way: somebody else gets it.
        if world.send(1, Limit::Poll).is_ok() {
            assert_ne!(moment, Moment::After);
            assert!(world.theirs.import(peer().slot()));
            world.theirs.detach(peer().slot());
        }
        assert_eq!(world.rest(), []);
    });
}
