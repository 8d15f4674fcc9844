//! The ring: one of its ends dies, and the host, which has the other, finds whole publications, and each record either taken
//! or to be revoked. There is nothing to recover.

use std::sync::{Mutex, MutexGuard};

use wasmp_ipc::{Consumer, Producer, Ticket};

use crate::common::rings::{publish, read, release, two_rings};
use crate::deaths::{Moment, kill_everywhere, kill_everywhere_and_asleep};
use crate::traced::Stage;

const FIRST: [u8; 8] = [1; 8];
const SECOND: [u8; 8] = [2; 8];

/// Both ends: the victim works on its copy of one, the host on the other.
struct World {
    producer: Mutex<Producer>,
    consumer: Mutex<Consumer>,
    tickets: Vec<Ticket>,
}

impl World {
    /// With these records published, in a ring that has room for eight.
    fn with(records: &[[u8; 8]]) -> World {
        let ((mut producer, consumer), _) = two_rings(128);
        let write = |record: &[u8; 8]| producer.try_write(&[record]).unwrap().unwrap();
        let tickets = records.iter().map(write).collect();
        publish(&mut producer);
        World {
            producer: Mutex::new(producer),
            consumer: Mutex::new(consumer),
            tickets,
        }
    }

    fn producer(&self) -> MutexGuard<'_, Producer> {
        self.producer.lock().unwrap()
    }

    fn consumer(&self) -> MutexGuard<'_, Consumer> {
        self.consumer.lock().unwrap()
    }

    /// What the host reads when the producer is dead. It skips what was revoked.
    fn rest(&self) -> Vec<[u8; 8]> {
        let (mut consumer, mut payload, mut rest) = (self.consumer(), Vec::new(), Vec::new());
        while consumer.peek().unwrap().is_some() {
            let taken = consumer.take();
            read(&mut consumer, &mut payload);
            if taken {
                rest.push(payload[..].try_into().unwrap());
            }
        }
        release(&mut consumer);
        rest
    }
}

/// Takes one record, and is done with it.
fn consume(world: &World) {
    let mut consumer = world.consumer();
    let mut payload = Vec::with_capacity(8);
    assert!(consumer.peek().unwrap().is_some() && consumer.take());
    read(&mut consumer, &mut payload);
    release(&mut consumer);
}

#[test]
fn publish_records() {
    let write_both = |world: &World, stage: &Stage| {
        stage.perform(|| {
            let mut producer = world.producer();
            for record in [FIRST, SECOND] {
                producer.try_write(&[&record]).unwrap().unwrap();
            }
            publish(&mut producer);
        });
    };
    kill_everywhere(
        "ring: publish 2",
        || World::with(&[]),
        write_both,
        |world, moment| {
            let rest = world.rest();
            assert!(rest == [FIRST, SECOND] || rest.is_empty() && moment != Moment::After);
        },
    );
}

#[test]
fn publish_for_a_sleeper() {
    let waited_for = || {
        let world = World::with(&[]);
        assert!(world.consumer().prepare_park());
        world
    };
    let write = |world: &World, stage: &Stage| {
        stage.perform(|| {
            let mut producer = world.producer();
            producer.try_write(&[&FIRST]).unwrap().unwrap();
            publish(&mut producer);
        });
    };
    kill_everywhere("ring: publish for a sleeper", waited_for, write, |world, moment| {
        // The host, which sleeps there, has heard of the death.
        world.consumer().cancel_park();
        let rest = world.rest();
        assert!(rest == [FIRST] || rest.is_empty() && moment != Moment::After);
    });
}

#[test]
fn wait_for_room() {
    let full = || World::with(&[FIRST; 8]);
    let write = |world: &World, stage: &Stage| {
        stage.perform(|| {
            let mut producer = world.producer();
            assert!(producer.park_for_space(8, None).unwrap());
            producer.try_write(&[&SECOND]).unwrap().unwrap();
            publish(&mut producer);
        });
    };
    let read_all = |world: &World| assert_eq!(world.rest(), [FIRST; 8]);
    kill_everywhere_and_asleep("ring: wait for room", full, write, read_all, |world, moment| {
        let mut rest = world.rest();
        rest.retain(|record| *record != FIRST);
        assert!(rest == [SECOND] || rest.is_empty() && moment != Moment::After);
    });
}

#[test]
fn revoke_a_record() {
    let revoke = |world: &World, stage: &Stage| {
        stage.perform(|| assert!(world.producer().revoke(&world.tickets[0])));
    };
    let two = || World::with(&[FIRST, SECOND]);
    kill_everywhere("ring: revoke", two, revoke, |world, moment| {
        let rest = world.rest();
        assert!(rest == [SECOND] || rest == [FIRST, SECOND] && moment != Moment::After);
    });
}

#[test]
fn consume_a_record() {
    let two = || World::with(&[FIRST, SECOND]);
    let consume = |world: &World, stage: &Stage| stage.perform(|| consume(world));
    kill_everywhere("ring: consume", two, consume, |world, moment| {
        let mut producer = world.producer();
        let free = producer.free().unwrap();
        assert!(free == 112 || free == 96 && moment != Moment::After);
        let back = world
            .tickets
            .iter()
            .map(|ticket| producer.revoke(ticket))
            .collect::<Vec<_>>();
        assert!(back == [false, true] || back == [true, true] && free == 96, "{back:?}");
    });
}

#[test]
fn consume_for_one_who_waits_for_room() {
    let full = || {
        let world = World::with(&[FIRST; 8]);
        assert_eq!(world.producer().ask_for_space(), Ok(false));
        world
    };
    let consume_half = |world: &World, stage: &Stage| stage.perform(|| (0..4).for_each(|_| consume(world)));
    kill_everywhere("ring: consume for a sleeper", full, consume_half, |world, moment| {
        let mut producer = world.producer();
        let free = producer.free().unwrap();
        assert!(free == 64 || free < 64 && moment != Moment::After);
        let back = world.tickets.iter().filter(|ticket| producer.revoke(ticket)).count();
        let consumed = free / 16;
        assert!(back == 8 - consumed || back == 7 - consumed, "more than one in doubt");
        assert_eq!(producer.try_write(&[&SECOND]).unwrap().is_some(), free > 0);
    });
}

#[test]
fn wait_for_a_record() {
    let wait = |world: &World, stage: &Stage| {
        stage.perform(|| {
            if world.consumer().prepare_park() {
                world.consumer().park(None);
            }
            consume(world);
        });
    };
    let write = |world: &World| {
        let mut producer = world.producer();
        producer.try_write(&[&FIRST]).unwrap().unwrap();
        publish(&mut producer);
    };
    kill_everywhere_and_asleep(
        "ring: wait for a record",
        || World::with(&[]),
        wait,
        write,
        |world, moment| {
            let mut producer = world.producer();
            let free = producer.free().unwrap();
            assert!(free == 128 || free == 112 && moment != Moment::After);
            producer.try_write(&[&SECOND]).unwrap().unwrap();
        },
    );
}
