//! Both ends of rings, and how to use them as a loop would that has nothing else to do.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use wasmp_ipc::{Consumer, Mapping, Producer, Ticket, ring_bytes};

use super::PATIENCE;

/// Both ends of two rings that go opposite ways.
pub(crate) fn two_rings(capacity: usize) -> ((Producer, Consumer), (Producer, Consumer)) {
    let (fd, here) = Mapping::create("test", 2 * ring_bytes(capacity)).unwrap();
    let there = Arc::new(Mapping::open(fd.as_fd(), here.len()).unwrap());
    let here = Arc::new(here);
    let second = ring_bytes(capacity);
    (
        (
            Producer::new(&here, 0, capacity).unwrap(),
            Consumer::new(&there, 0, capacity).unwrap(),
        ),
        (
            Producer::new(&there, second, capacity).unwrap(),
            Consumer::new(&here, second, capacity).unwrap(),
        ),
    )
}

pub(crate) fn write_or_sleep(producer: &mut Producer, payload: &[u8]) -> Ticket {
    write_or(publish, producer, payload)
}

/// The same for a consumer that `publish` wakes in its own way.
pub(crate) fn write_or(publish: impl Fn(&mut Producer), producer: &mut Producer, payload: &[u8]) -> Ticket {
    loop {
        if let Some(ticket) = producer.try_write(&[payload]).unwrap() {
            return ticket;
        }
        publish(producer);
        assert!(
            producer
                .park_for_space(payload.len(), Some(Instant::now() + PATIENCE))
                .unwrap(),
            "nobody makes room"
        );
    }
}

pub(crate) fn publish(producer: &mut Producer) {
    producer.publish();
    if producer.consumer_parked() {
        producer.wake_consumer();
    }
}

pub(crate) fn release(consumer: &mut Consumer) {
    consumer.release();
    if consumer.producer_parked() {
        consumer.wake_producer();
    }
}

/// Copies the next record, if one is there.
pub(crate) fn read(consumer: &mut Consumer, payload: &mut Vec<u8>) -> bool {
    let Some(record) = consumer.peek().unwrap() else {
        return false;
    };
    payload.resize(record.len(), 0);
    consumer.read(0, payload).unwrap();
    consumer.advance();
    true
}

pub(crate) fn read_or_sleep(consumer: &mut Consumer, payload: &mut Vec<u8>) {
    let deadline = Instant::now() + PATIENCE;
    while !read(consumer, payload) {
        release(consumer);
        if consumer.prepare_park() {
            consumer.park(Some(deadline));
        }
        assert!(Instant::now() < deadline, "nothing comes");
    }
}
