//! Queues in long schedules. A message is a number: who put it, and which of his it is.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use super::model::queue_over;
use super::{GetError, PutError, Queue, QueueOptions};
use crate::fifo::Message;
use crate::fifo::model::ring;
use crate::model::shuttle::{Model, Shuttle, any, any_limit, live, party, slot, spawn, try_schedules};
use crate::party::Limit;

const PRODUCERS: [usize; 2] = [1, 2];
const CONSUMERS: [usize; 3] = [3, 4, 5];
/// For each producer.
const MESSAGES: u64 = 20;
const MOST_AT_ONCE: usize = 3;

/// What happened to the messages.
#[derive(Debug, Default)]
struct Log {
    /// Those whose put has returned.
    put: BTreeSet<u64>,
    /// As they were seen inside of the queue, by one after the other.
    seen: Vec<u64>,
    /// Those whose get has returned, and which were acknowledged if that is asked for.
    done: Vec<u64>,
    /// Those that somebody had in hand when he died.
    in_hand: Vec<u64>,
}

#[derive(Clone)]
struct World {
    queue: Arc<Queue<Model>>,
    log: Arc<Mutex<Log>>,
}

impl World {
    fn new(acknowledged: bool) -> World {
        let maxsize = [0, 0, 1, 3][any(4)];
        World {
            // It grows, and shrinks when it is found empty.
            queue: queue_over::<Shuttle>(ring(1 << any(3), 8), QueueOptions { maxsize, acknowledged }),
            log: Arc::default(),
        }
    }

    /// No operation of the queue happens inside.
    fn log<R>(&self, change: impl FnOnce(&mut Log) -> R) -> R {
        change(&mut self.log.lock().expect("no failure before"))
    }

    /// Puts all that are left of a producer's messages; one that died has left out what it had in hand.
    fn produce(&self, number: usize, begun: &Cell<u64>) {
        while begun.get() < MESSAGES {
            let some = (1 + any(MOST_AT_ONCE) as u64).min(MESSAGES - begun.get());
            let values: Vec<u64> = (0..some)
                .map(|more| number as u64 * 1000 + begun.get() + more)
                .collect();
            begun.set(begun.get() + some);
            let mut left = &values[..];
            while !left.is_empty() {
                match self.put(number, left) {
                    Ok(put) => {
                        self.log(|log| log.put.extend(&left[..put]));
                        left = &left[put..];
                    }
                    Err(PutError::Full | PutError::Interrupted) => {}
                    Err(why) => panic!("{why}"),
                }
            }
        }
    }

    fn put(&self, number: usize, values: &[u64]) -> Result<usize, PutError> {
        let bytes: Vec<[u8; 8]> = values.iter().map(|value| value.to_ne_bytes()).collect();
        match &bytes[..] {
            [one] => {
                let padding = &[0; 16][..8 * any(3)];
                let put = self.queue.put(&party(number), 0, &[one, padding], any_limit());
                put.map(|()| 1)
            }
            many => {
                let messages: Vec<(u8, &[u8])> = many.iter().map(|bytes| (0, &bytes[..])).collect();
                self.queue.put_many(&party(number), &messages, any_limit())
            }
        }
    }

    /// Gets, and acknowledges, until the queue is shut down and empty.
    fn consume(&self, number: usize, acknowledge: bool, in_hand: &RefCell<Vec<u64>>) {
        loop {
            let limit = any_limit();
            let see = |message: &Message<'_, Model>| {
                let value = value(message);
                self.log(|log| log.seen.push(value));
                in_hand.borrow_mut().push(value);
            };
            let got = match any(2) {
                0 => self.queue.get(&party(number), limit, |message| see(&message)),
                _ => {
                    let most = 1 + any(MOST_AT_ONCE);
                    let got = self.queue.get_many(&party(number), most, limit, |message| {
                        see(&message);
                        true
                    });
                    got.map(|_| ())
                }
            };
            match got {
                Ok(()) => {}
                Err(GetError::Empty | GetError::Interrupted) => continue,
                Err(GetError::ShutDown) => return,
                Err(GetError::Broken) => panic!("honest parties only"),
            }
            // The oldest first: this is the order in which they are acknowledged.
            while !in_hand.borrow().is_empty() {
                if acknowledge {
                    self.queue.task_done(&party(number)).expect("it was got");
                }
                let done = in_hand.borrow_mut().remove(0);
                self.log(|log| log.done.push(done));
            }
        }
    }

    /// Producers and consumers, most of which die; when the producers are through, `end`. How many consumers died.
    fn run(&self, acknowledge: bool, end: impl FnOnce()) -> usize {
        let shared = Arc::new(self.clone());
        let producers = PRODUCERS.map(|number| {
            spawn(&shared, move |world| {
                let begun = Cell::new(0);
                live(
                    3,
                    90,
                    || world.produce(number, &begun),
                    || world.queue.recover(slot(number)),
                );
            })
        });
        let consumers = CONSUMERS.map(|number| {
            spawn(&shared, move |world| {
                let in_hand = RefCell::default();
                let recover = || {
                    world.log(|log| log.in_hand.append(&mut in_hand.borrow_mut()));
                    world.queue.recover(slot(number));
                };
                live(3, 120, || world.consume(number, acknowledge, &in_hand), recover)
            })
        });
        for producer in producers {
            producer.join().unwrap();
        }
        end();
        self.queue.shutdown(&party(6), false).expect("nobody else dies");
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum()
    }
}

fn value(message: &Message<'_, Model>) -> u64 {
    let mut bytes = [0; 8];
    message.read(0, &mut bytes);
    u64::from_ne_bytes(bytes)
}

fn assert_none_twice(values: &[u64]) {
    let different: BTreeSet<&u64> = values.iter().collect();
    assert_eq!(different.len(), values.len(), "{values:?}");
}

#[test]
fn nothing_is_lost_or_doubled_but_what_the_dead_had_in_hand() {
    try_schedules(600, || {
        let world = World::new(false);
        let deaths = world.run(false, || {});
        assert_eq!(world.queue.len(), 0);
        world.log(|log| {
            assert_none_twice(&log.done);
            let done: BTreeSet<u64> = log.done.iter().chain(&log.in_hand).copied().collect();
            assert!(log.put.is_subset(&done), "{log:?}");
            // In the order of each producer, though one that died inside of the queue leaves what it saw to the next.
            let mut last = HashMap::new();
            let mut again = 0;
            for value in &log.seen {
                let before = last.insert(value / 1000, *value);
                again += usize::from(before >= Some(*value));
            }
            assert!(again <= 2 * deaths, "{log:?}, {deaths} deaths");
        });
    });
}

#[test]
fn every_task_is_done_once_whoever_dies_over_it() {
    try_schedules(600, || {
        let world = World::new(true);
        let deaths = world.run(true, || {
            let joined = world.queue.join(&party(6), Limit::Forever);
            joined.expect("everything gets done");
        });
        assert_eq!(world.queue.len(), 0);
        assert_eq!(world.queue.fifo.items(), Ok(0));
        world.log(|log| {
            assert_none_twice(&log.done);
            // Who died acknowledging may have done so.
            let lost: Vec<_> = log.put.iter().filter(|value| !log.done.contains(value)).collect();
            assert!(lost.len() <= deaths, "{lost:?} {log:?}");
            assert!(lost.iter().all(|value| log.in_hand.contains(value)), "{log:?}");
        });
    });
}
