//! The ring under the model checker: every interleaving of two threads, with everything that weak memory allows.

use std::sync::Arc;

use loom::sync::Notify;
use loom::thread;

use super::{Consumer, Header, Producer, Shared, Ticket};
use crate::memory::Line;
use crate::model::{FutexWord, Model, Pieces, PlainWord, die_after, explore};

/// A ring of so many records of one word.
fn ring(records: usize) -> (Producer<Model>, Consumer<Model>) {
    let header = Arc::new(Header::<Model> {
        tail: Line(PlainWord::default()),
        head: Line(PlainWord::default()),
        consumer_parked: Line(FutexWord::default()),
        producer_parked: Line(FutexWord::default()),
    });
    let bytes = Pieces::new(16 * records);
    let shared = || Shared {
        header: Arc::clone(&header),
        bytes: bytes.clone(),
    };
    (Producer::over(shared()), Consumer::over(shared()))
}

fn write(producer: &mut Producer<Model>, value: u64) -> Option<Ticket> {
    producer.try_write(&[&value.to_ne_bytes()]).expect("an honest consumer")
}

fn publish_and_ring(producer: &mut Producer<Model>) {
    producer.publish();
    if producer.consumer_parked() {
        producer.wake_consumer();
    }
}

/// The next value, if one is there; not released yet.
fn next(consumer: &mut Consumer<Model>) -> Option<u64> {
    let record = consumer.peek().expect("an honest producer")?;
    let mut value = [0; 8];
    assert_eq!(record.len(), value.len());
    consumer.read(0, &mut value).expect("eight bytes");
    consumer.advance();
    Some(u64::from_ne_bytes(value))
}

fn release_and_ring(consumer: &mut Consumer<Model>) {
    consumer.release();
    if consumer.producer_parked() {
        consumer.wake_producer();
    }
}

/// The next value, asleep until it comes.
fn next_or_sleep(consumer: &mut Consumer<Model>) -> u64 {
    loop {
        if let Some(value) = next(consumer) {
            return value;
        }
        release_and_ring(consumer);
        if consumer.prepare_park() {
            consumer.park(None);
        }
    }
}

#[test]
fn a_sleeping_consumer_is_woken_for_every_publication() {
    explore(4, || {
        let (mut producer, mut consumer) = ring(4);
        let writer = thread::spawn(move || {
            for value in 1..=2 {
                write(&mut producer, value).expect("room");
                publish_and_ring(&mut producer);
            }
        });
        assert_eq!(next_or_sleep(&mut consumer), 1);
        assert_eq!(next_or_sleep(&mut consumer), 2);
        writer.join().unwrap();
    });
}

#[test]
fn a_producer_asleep_for_room_is_woken_and_overwrites_nothing_unread() {
    explore(3, || {
        let (mut producer, mut consumer) = ring(2);
        let writer = thread::spawn(move || {
            for value in 1..=4 {
                while write(&mut producer, value).is_none() {
                    assert_eq!(producer.park_for_space(8, None), Ok(true));
                }
                publish_and_ring(&mut producer);
            }
        });
        for value in 1..=4 {
            assert_eq!(next_or_sleep(&mut consumer), value);
            release_and_ring(&mut consumer);
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_producer_that_asked_for_room_is_told_when_half_is_free() {
    explore(3, || {
        let (mut producer, mut consumer) = ring(4);
        let doorbell = Arc::new(Notify::new());
        for value in 1..=4 {
            write(&mut producer, value).expect("room");
        }
        producer.publish();
        let reader = thread::spawn({
            let doorbell = Arc::clone(&doorbell);
            move || {
                for value in 1..=4 {
                    assert_eq!(next(&mut consumer), Some(value));
                    consumer.release();
                    if consumer.producer_parked() {
                        doorbell.notify();
                    }
                }
                consumer
            }
        });
        while !producer.ask_for_space().expect("an honest consumer") {
            doorbell.wait();
        }
        write(&mut producer, 5).expect("half the ring is free");
        producer.publish();
        let mut consumer = reader.join().unwrap();
        assert_eq!(next(&mut consumer), Some(5));
    });
}

#[test]
fn a_record_is_taken_or_revoked_and_never_both() {
    explore(4, || {
        let (mut producer, mut consumer) = ring(4);
        let tickets: Vec<Ticket> = (1..=2)
            .map(|value| write(&mut producer, value).expect("room"))
            .collect();
        producer.publish();
        let reader = thread::spawn(move || take_all(&mut consumer));
        let revoked = revoke_all(&mut producer, &tickets);
        let taken = reader.join().unwrap();
        assert_eq!(sorted([revoked, taken].concat()), [1, 2]);
    });
}

#[test]
fn a_dead_producer_leaves_whole_publications_only() {
    // Written in publications of one, two and one record.
    for effects in 0..20 {
        explore(2, move || {
            let (mut producer, mut consumer) = ring(4);
            let writer = thread::spawn(move || {
                die_after(effects);
                for publication in [&[1][..], &[2, 3], &[4]] {
                    for &value in publication {
                        write(&mut producer, value).expect("room");
                    }
                    publish_and_ring(&mut producer);
                }
            });
            let mut seen: Vec<u64> = std::iter::from_fn(|| next(&mut consumer)).collect();
            consumer.release();
            consumer.prepare_park();
            writer.join().unwrap();
            // What the supervisor does when a worker is gone: it does not wait for the bell.
            seen.extend(std::iter::from_fn(|| next(&mut consumer)));
            let whole: [&[u64]; 4] = [&[], &[1], &[1, 2, 3], &[1, 2, 3, 4]];
            assert!(whole.contains(&&seen[..]), "{seen:?}");
        });
    }
}

#[test]
fn a_dead_consumers_records_were_taken_or_can_be_revoked() {
    for effects in 0..8 {
        explore(3, move || {
            let (mut producer, mut consumer) = ring(4);
            let tickets: Vec<Ticket> = (1..=3)
                .map(|value| write(&mut producer, value).expect("room"))
                .collect();
            producer.publish();
            let reader = thread::spawn(move || {
                die_after(effects);
                take_all(&mut consumer)
            });
            let mut revoked = revoke_all(&mut producer, &tickets[2..]);
            let taken = reader.join().unwrap();
            revoked.extend(revoke_all(&mut producer, &tickets[..2]));
            assert_eq!(sorted([revoked, taken].concat()), [1, 2, 3]);
        });
    }
}

/// Takes and releases one by one; what was taken. A dead consumer gets no further than its death.
fn take_all(consumer: &mut Consumer<Model>) -> Vec<u64> {
    let mut taken = Vec::new();
    while consumer.peek().expect("an honest producer").is_some() {
        let took = consumer.take();
        let value = next(consumer).expect("what was peeked at");
        if took {
            taken.push(value);
        }
        consumer.release();
    }
    taken
}

/// Which of the values 1, 2, … the tickets got back: a ticket's value is its number.
fn revoke_all(producer: &mut Producer<Model>, tickets: &[Ticket]) -> Vec<u64> {
    let revoked = tickets.iter().filter(|ticket| producer.revoke(ticket));
    revoked.map(|ticket| ticket.position / 16 + 1).collect()
}

fn sorted(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    values
}
