//! Queues and pipes: producers that number their messages, and consumers that cross them off. Nothing comes twice, nothing
//! is lost but what a dead consumer had just taken, and each producer's messages stay in order.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use wasmp_ipc::{Connection, GetError, Limit, Party, Queue, QueueOptions, RecvError};

use crate::common::{Random, Words, fill};
use crate::workers::{Workers, kills, memory, party, slot};

const WORKERS: usize = 4;
const PRODUCERS: usize = 2;
/// A producer that has sent so many goes on as another one, and so does the one that replaces a dead one.
const SERIES: u64 = 1 << 13;
/// So many messages are put or got at once, at most.
const BATCH: usize = 3;
/// Up to how many bytes a message has.
const SHORT: usize = 200;
const LONG: usize = 20_000;
/// Small enough to be full often.
const QUOTA: usize = 4096;
const MAXSIZE: u32 = 16;

type Payload = Vec<u8>;

/// What is tortured.
trait Channel {
    /// Puts all of these.
    fn put(&self, party: &Party, messages: &[Payload]);
    /// Gets at least one message, or none if it is not to wait.
    fn get(&self, party: &Party, limit: Limit) -> Vec<Payload>;
    /// So many messages have been dealt with.
    fn done(&self, party: &Party, count: usize);
    fn recover(&self, index: usize);
}

impl Channel for Queue {
    fn put(&self, party: &Party, messages: &[Payload]) {
        let messages: Vec<(u8, &[u8])> = messages.iter().map(|payload| (7, &payload[..])).collect();
        let mut rest = &messages[..];
        while !rest.is_empty() {
            rest = &rest[self.put_many(party, rest, Limit::Forever).unwrap()..];
        }
    }

    fn get(&self, party: &Party, limit: Limit) -> Vec<Payload> {
        let mut messages = Vec::new();
        let got = self.get_many(party, BATCH, limit, |message| {
            assert_eq!(message.kind(), 7);
            messages.push(message.to_vec());
            true
        });
        assert_eq!(
            got.or_else(|why| (why == GetError::Empty).then_some(0).ok_or(why)),
            Ok(messages.len())
        );
        messages
    }

    fn done(&self, party: &Party, count: usize) {
        (0..count).for_each(|_| self.task_done(party).unwrap());
    }

    fn recover(&self, index: usize) {
        Queue::recover(self, slot(index));
    }
}

/// From the second end to the first.
impl Channel for (Connection, Connection) {
    fn put(&self, party: &Party, messages: &[Payload]) {
        for payload in messages {
            self.1.send(party, 7, &[payload], Limit::Forever).unwrap();
        }
    }

    fn get(&self, party: &Party, limit: Limit) -> Vec<Payload> {
        match self.0.recv(party, limit, |message| message.to_vec()) {
            Ok(payload) => vec![payload],
            Err(RecvError::TimedOut) => Vec::new(),
            Err(why) => panic!("{why:?}"),
        }
    }

    fn done(&self, _: &Party, _: usize) {}

    fn recover(&self, index: usize) {
        self.0.recover(slot(index));
    }
}

/// What is known of the messages.
struct Book {
    /// How many series have begun.
    series: Words,
    /// How many messages of each have been put.
    put: Words,
    /// A bit for each message: it was got.
    got: Words,
    /// How many were got again.
    again: Words,
}

impl Book {
    fn new() -> Book {
        let series = 2 * kills() as usize + 2000;
        Book {
            series: Words::new(1),
            put: Words::new(series),
            got: Words::new(series * SERIES as usize / 64),
            again: Words::new(1),
        }
    }

    /// Crosses a message off.
    fn cross_off(&self, number: u64) {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.got[word].fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            self.again[0].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn was_got(&self, number: u64) -> bool {
        self.got.get(number as usize / 64) & 1 << (number % 64) != 0
    }

    /// How many messages were put and never got.
    fn lost(&self) -> u64 {
        let series = self.series.get(0);
        (0..series)
            .map(|series| {
                let (first, put) = (series * SERIES, self.put.get(series as usize));
                // The producer may have been killed just before it noted the last ones.
                let noted_late = (put + BATCH as u64).min(SERIES);
                assert!(
                    (noted_late..SERIES).all(|number| !self.was_got(first + number)),
                    "a message out of nowhere"
                );
                (0..put).filter(|number| !self.was_got(first + number)).count() as u64
            })
            .sum()
    }
}

fn number(payload: &[u8]) -> u64 {
    u64::from_ne_bytes(payload[..8].try_into().unwrap())
}

fn produce(channel: &impl Channel, book: &Book, longest: usize, party: &Party, got_on: &mut dyn FnMut()) {
    let mut random = Random(0);
    loop {
        let series = book.series[0].fetch_add(1, Ordering::Relaxed);
        let mut put = 0;
        while put < SERIES {
            let count = (1 + random.below(BATCH as u64)).min(SERIES - put);
            let messages: Vec<Payload> = (put..put + count)
                .map(|number| {
                    let mut payload = Vec::new();
                    fill(series * SERIES + number, longest, &mut payload);
                    payload
                })
                .collect();
            channel.put(party, &messages);
            put += count;
            book.put.set(series as usize, put);
            got_on();
        }
    }
}

fn consume(
    channel: &impl Channel,
    book: &Book,
    longest: usize,
    party: &Party,
    ordered: bool,
    got_on: &mut dyn FnMut(),
) {
    let mut last = HashMap::new();
    let mut expected = Vec::new();
    loop {
        let messages = channel.get(party, Limit::Forever);
        for payload in &messages {
            let number = number(payload);
            fill(number, longest, &mut expected);
            assert_eq!(*payload, expected);
            let before = last.insert(number / SERIES, number);
            assert!(!ordered || before < Some(number), "{number} after {before:?}");
            book.cross_off(number);
        }
        channel.done(party, messages.len());
        got_on();
    }
}

/// `comes_again`: what a dead consumer had is got by another one.
fn torture(test: &str, channel: &impl Channel, comes_again: bool, longest: usize) {
    let book = Book::new();
    let consumers_killed = Words::new(1);
    let mut workers = Workers::start(test, WORKERS, |index, got_on| match index < PRODUCERS {
        true => produce(channel, &book, longest, &party(index), got_on),
        false => consume(channel, &book, longest, &party(index), !comes_again, got_on),
    });
    let recover = |index| {
        channel.recover(index);
        consumers_killed[0].fetch_add(u64::from(index >= PRODUCERS), Ordering::Relaxed);
    };
    workers.torture(recover);
    workers.end(recover);

    let host = Party::host();
    loop {
        let messages = channel.get(&host, Limit::Poll);
        if messages.is_empty() {
            break;
        }
        messages.iter().for_each(|payload| book.cross_off(number(payload)));
        channel.done(&host, messages.len());
    }
    let most = consumers_killed.get(0) * BATCH as u64;
    let (lost, again) = (book.lost(), book.again.get(0));
    match comes_again {
        true => assert!(lost == 0 && again <= most, "{lost} lost, {again} of {most} got again"),
        false => assert!(again == 0 && lost <= most, "{again} got again, {lost} of {most} lost"),
    }
}

#[test]
fn queue() {
    let options = QueueOptions {
        maxsize: MAXSIZE,
        acknowledged: false,
    };
    let queue = Queue::create(&memory(Queue::bytes(QUOTA)), options).unwrap();
    torture("queue", &queue, false, SHORT);
}

#[test]
fn queue_that_grows() {
    let queue = Queue::create(&memory(Queue::bytes(4 << 20)), QueueOptions::default()).unwrap();
    torture("queue that grows", &queue, false, LONG);
}

#[test]
fn queue_with_acknowledgement() {
    let options = QueueOptions {
        maxsize: MAXSIZE,
        acknowledged: true,
    };
    let queue = Queue::create(&memory(Queue::bytes(QUOTA)), options).unwrap();
    torture("queue with acknowledgement", &queue, true, SHORT);
    assert_eq!(queue.join(&Party::host(), Limit::Poll), Ok(()));
}

#[test]
fn pipe() {
    let pipe = Connection::create(&memory(Connection::bytes(false, QUOTA)), false).unwrap();
    torture("pipe", &pipe, false, SHORT);
}
