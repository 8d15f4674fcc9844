//! The ring of messages under the model checker. A message is one number; its kind tells it apart from memory that was
//! never written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::thread::{self, JoinHandle};

use super::{Fifo, Flow, Header, Refusal, Room, Side};
use crate::gate::Gate;
use crate::lock::LockWord;
use crate::memory::Line;
use crate::model::{Checker, FutexWord, Model, Pieces, PlainWord, die_within, explore};
use crate::party::{Limit, Party, Slot, WaitError};

/// What a message of one number takes.
const MESSAGE: usize = 16;
const KIND: u8 = 7;
const MANY: u32 = u32::MAX;

/// A ring that has room for so many messages at first, and may get room for `largest`.
pub(crate) fn ring<C: Checker>(first: usize, largest: usize) -> Fifo<Model<C>> {
    let [ring, _] = rings(first, largest);
    ring
}

/// Two handles on one ring.
pub(crate) fn rings<C: Checker>(first: usize, largest: usize) -> [Fifo<Model<C>>; 2] {
    let side = || Side {
        lock: LockWord(FutexWord::default()),
        seen: PlainWord::default(),
    };
    let gate = || Gate(FutexWord::default());
    let header = Header {
        producers: side(),
        tail: Line(PlainWord::default()),
        consumers: side(),
        head: Line(PlainWord::default()),
        doublings: Line(FutexWord::default()),
        not_empty: Line(gate()),
        not_full: Room {
            items: gate(),
            bytes: gate(),
        },
    };
    let (header, bytes) = (Arc::new(header), Pieces::<C>::new(largest * MESSAGE));
    [(); 2].map(|()| Fifo::new(Arc::clone(&header), bytes.clone(), first * MESSAGE, first * MESSAGE))
}

fn fifo(first: usize, largest: usize) -> Arc<Fifo<Model>> {
    Arc::new(ring(first, largest))
}

fn party(slot: Slot) -> Party<Model> {
    Party::worker(slot, None)
}

fn slot(number: usize) -> Slot {
    Slot::new(number).expect("a slot")
}

fn put(fifo: &Fifo<Model>, slot: Slot, value: u64, at_most: u32) -> Result<(), Refusal> {
    let bytes = value.to_ne_bytes();
    fifo.put(&party(slot), (KIND, &[&bytes]), at_most, Limit::Forever, || Flow::Open)
}

fn get(fifo: &Fifo<Model>, slot: Slot, limit: Limit) -> Result<u64, Refusal> {
    fifo.get(
        &party(slot),
        limit,
        || Flow::Open,
        |message| {
            assert_eq!((message.kind(), message.len()), (KIND, 8));
            let mut value = [0; 8];
            message.read(0, &mut value);
            u64::from_ne_bytes(value)
        },
    )
}

fn getter(fifo: &Arc<Fifo<Model>>, number: usize) -> JoinHandle<u64> {
    let fifo = Arc::clone(fifo);
    thread::spawn(move || get(&fifo, slot(number), Limit::Forever).expect("a value"))
}

fn putter(fifo: &Arc<Fifo<Model>>, number: usize, values: &'static [u64], at_most: u32) -> JoinHandle<()> {
    let fifo = Arc::clone(fifo);
    thread::spawn(move || {
        for &value in values {
            put(&fifo, slot(number), value, at_most).expect("room");
        }
    })
}

/// The values that are left, in order.
fn rest(fifo: &Fifo<Model>) -> Vec<u64> {
    std::iter::from_fn(|| get(fifo, Slot::HOST, Limit::Poll).ok()).collect()
}

/// The model interrupts whoever sleeps towards this, at the moment of the wake-up.
fn interrupted() -> Limit {
    Limit::Until(Instant::now() + Duration::from_secs(3600))
}

#[test]
fn messages_arrive_in_order_through_a_ring_that_is_full_again_and_again() {
    explore(2, || {
        let fifo = fifo(2, 2);
        let producer = putter(&fifo, 1, &[1, 2, 3, 4], MANY);
        for value in 1..=4 {
            assert_eq!(get(&fifo, slot(2), Limit::Forever), Ok(value));
        }
        producer.join().unwrap();
    });
}

#[test]
fn two_producers_lose_nothing() {
    explore(2, || {
        let fifo = fifo(2, 2);
        let producers = [putter(&fifo, 1, &[1], MANY), putter(&fifo, 2, &[2], MANY)];
        let mut got = [(); 2].map(|()| get(&fifo, slot(3), Limit::Forever).expect("a value"));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn two_consumers_get_one_each_and_none_sleeps_on() {
    explore(2, || {
        let fifo = fifo(2, 2);
        let consumers = [getter(&fifo, 1), getter(&fifo, 2)];
        for value in 1..=2 {
            put(&fifo, slot(3), value, MANY).expect("room");
        }
        let mut got = consumers.map(|consumer| consumer.join().unwrap());
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn a_consumer_that_is_interrupted_when_it_is_woken_leaves_the_message_to_the_other() {
    explore(2, || {
        let fifo = fifo(2, 2);
        let leaver = thread::spawn({
            let fifo = Arc::clone(&fifo);
            move || get(&fifo, slot(1), interrupted())
        });
        let stayer = getter(&fifo, 2);
        for value in 1..=2 {
            put(&fifo, slot(3), value, MANY).expect("room");
        }
        let mut got = vec![stayer.join().unwrap()];
        match leaver.join().unwrap() {
            Ok(value) => got.push(value),
            Err(why) => assert_eq!(why, Refusal::Wait(WaitError::Interrupted)),
        }
        got.extend(rest(&fifo));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn producers_that_wait_for_a_message_to_go_are_woken_one_by_one() {
    explore(2, || {
        let fifo = fifo(4, 4);
        put(&fifo, slot(3), 0, 1).expect("room");
        let producers = [putter(&fifo, 1, &[1], 1), putter(&fifo, 2, &[2], 1)];
        assert_eq!(get(&fifo, slot(3), Limit::Forever), Ok(0));
        let mut got = [(); 2].map(|()| get(&fifo, slot(3), Limit::Forever).expect("a value"));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

#[test]
fn a_producer_that_waits_for_bytes_does_not_keep_the_room_from_a_shorter_message() {
    // With a limit, all of them wait for a message to go at first, and the wake-up is for one.
    for at_most in [MANY, 2] {
        explore(2, move || {
            let fifo = fifo(2, 2);
            for value in 1..=2 {
                put(&fifo, slot(3), value, MANY).expect("room");
            }
            let long = thread::spawn({
                let fifo = Arc::clone(&fifo);
                move || {
                    let piece = [0; 8];
                    let message = (KIND, &[&piece[..]; 3][..]);
                    fifo.put(&party(slot(1)), message, at_most, Limit::Forever, || Flow::Open)
                }
            });
            let short = putter(&fifo, 2, &[3], at_most);
            assert_eq!(get(&fifo, slot(3), Limit::Forever), Ok(1));
            short.join().unwrap();
            assert_eq!(get(&fifo, slot(3), Limit::Forever), Ok(2));
            assert_eq!(get(&fifo, slot(3), Limit::Forever), Ok(3));
            assert_eq!(long.join().unwrap(), Ok(()));
        });
    }
}

#[test]
fn the_ring_grows_under_a_consumer() {
    explore(2, || {
        let fifo = fifo(2, 8);
        // Where the first ring is torn: its second half first.
        put(&fifo, slot(1), 0, MANY).expect("room");
        assert_eq!(get(&fifo, slot(2), Limit::Forever), Ok(0));
        let producer = putter(&fifo, 1, &[1, 2, 3], MANY);
        for value in 1..=3 {
            assert_eq!(get(&fifo, slot(2), Limit::Forever), Ok(value));
        }
        producer.join().unwrap();
    });
}

#[test]
fn memory_is_given_back_under_a_producer() {
    explore(2, || {
        let fifo = fifo(1, 2);
        for value in 1..=2 {
            put(&fifo, slot(1), value, MANY).expect("room");
        }
        let producer = putter(&fifo, 1, &[3], MANY);
        for value in 1..=3 {
            assert_eq!(get(&fifo, slot(2), Limit::Forever), Ok(value));
        }
        producer.join().unwrap();
        assert_eq!(
            get(&fifo, slot(2), Limit::Poll),
            Err(Refusal::Wait(WaitError::TimedOut))
        );
        assert_eq!(fifo.capacity(), Ok(2), "of two units");
    });
}

#[test]
fn a_dead_producer_leaves_whole_messages_and_a_ring_that_works() {
    // Two puts, of which the second one grows the ring.
    for effects in 0..22 {
        explore(2, move || {
            let fifo = fifo(1, 2);
            // The next message is in the other half of a larger ring.
            put(&fifo, slot(3), 0, MANY).expect("room");
            assert_eq!(get(&fifo, slot(3), Limit::Poll), Ok(0));
            let dying = thread::spawn({
                let fifo = Arc::clone(&fifo);
                move || {
                    die_within(effects, || {
                        for value in 1..=2 {
                            put(&fifo, slot(1), value, MANY).expect("room");
                        }
                    });
                }
            });
            let consumer = getter(&fifo, 2);
            dying.join().unwrap();
            fifo.recover(slot(1));
            put(&fifo, slot(3), 3, MANY).expect("room");
            let mut got = vec![consumer.join().unwrap()];
            got.extend(rest(&fifo));
            assert!([&[1, 2, 3][..], &[1, 3], &[3]].contains(&&got[..]), "{got:?}");
        });
    }
}

#[test]
fn a_dead_consumer_has_got_its_messages_or_has_not() {
    // Two gets, and one that finds the ring empty, gives memory back, and may sleep.
    for effects in 0..24 {
        explore(2, move || {
            let fifo = fifo(1, 4);
            for value in 1..=2 {
                put(&fifo, slot(3), value, MANY).expect("room");
            }
            let dying = dying_getter(&fifo, 1, 3, effects);
            dying.join().unwrap();
            fifo.recover(slot(1));
            put(&fifo, slot(3), 3, MANY).expect("room");
            let got = rest(&fifo);
            assert!([&[1, 2, 3][..], &[2, 3], &[3]].contains(&&got[..]), "{got:?}");
        });
    }
}

#[test]
fn a_producer_that_waits_for_the_dead_is_woken() {
    // Full of messages, and full of bytes.
    for (room, at_most) in [(2, 1), (1, MANY)] {
        for effects in 0..10 {
            explore(2, move || {
                let fifo = fifo(room, room);
                put(&fifo, slot(3), 0, at_most).expect("room");
                let dying = dying_getter(&fifo, 1, 1, effects);
                let producer = putter(&fifo, 2, &[1], at_most);
                dying.join().unwrap();
                fifo.recover(slot(1));
                // The message that the dead one has not got, or the one that waits for its place.
                let mut value = get(&fifo, slot(3), Limit::Forever);
                if value == Ok(0) {
                    value = get(&fifo, slot(3), Limit::Forever);
                }
                assert_eq!(value, Ok(1));
                producer.join().unwrap();
            });
        }
    }
}

/// Gets so many values and dies over it.
fn dying_getter(fifo: &Arc<Fifo<Model>>, number: usize, gets: usize, effects: usize) -> JoinHandle<()> {
    let fifo = Arc::clone(fifo);
    thread::spawn(move || {
        die_within(effects, || {
            for _ in 0..gets {
                let _ = get(&fifo, slot(number), Limit::Poll);
            }
        });
    })
}
