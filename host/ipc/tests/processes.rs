//! Rings between real processes: streams and sleeps.

mod common;

use std::thread;

use rustix::event::epoll;
use wasmp_ipc::{Doorbell, Producer};

use common::rings::{publish, read, read_or_sleep, release, two_rings, write_or, write_or_sleep};
use common::{Child, PATIENCE, Random, fill};

#[test]
fn millions_of_records_cross_a_small_ring_intact() {
    const RECORDS: u64 = 2_000_000;
    let ((mut producer, mut consumer), _) = two_rings(4096);
    let longest = 200;
    let child = Child::run(|| {
        let mut random = Random(1);
        let mut payload = Vec::new();
        for number in 0..RECORDS {
            fill(number, longest, &mut payload);
            write_or_sleep(&mut producer, &payload);
            if random.below(8) == 0 {
                publish(&mut producer);
            }
        }
        publish(&mut producer);
    });
    let mut random = Random(2);
    let (mut payload, mut expected) = (Vec::new(), Vec::new());
    for number in 0..RECORDS {
        read_or_sleep(&mut consumer, &mut payload);
        fill(number, longest, &mut expected);
        assert_eq!(payload, expected);
        if random.below(8) == 0 {
            release(&mut consumer);
        }
    }
    child.join();
}

#[test]
fn two_processes_wake_each_other_for_every_message() {
    const ROUND_TRIPS: u64 = 30_000;
    let ((mut tasks, mut their_tasks), (mut their_results, mut results)) = two_rings(1024);
    let child = Child::run(|| {
        let mut payload = Vec::new();
        for _ in 0..ROUND_TRIPS {
            read_or_sleep(&mut their_tasks, &mut payload);
            write_or_sleep(&mut their_results, &payload);
            publish(&mut their_results);
        }
    });
    let mut payload = Vec::new();
    for number in 0..ROUND_TRIPS {
        write_or_sleep(&mut tasks, &number.to_ne_bytes());
        publish(&mut tasks);
        read_or_sleep(&mut results, &mut payload);
        assert_eq!(payload, number.to_ne_bytes());
    }
    child.join();
}

#[test]
fn a_process_asleep_in_epoll_is_woken_by_the_doorbell() {
    const MESSAGES: u64 = 30_000;
    let (_, (mut producer, mut consumer)) = two_rings(1024);
    let doorbell = Doorbell::create().unwrap();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let once_per_ring = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, &doorbell, epoll::EventData::new_u64(0), once_per_ring).unwrap();
    let child = Child::run(|| {
        let mut random = Random(3);
        let publish = |producer: &mut Producer| {
            producer.publish();
            if producer.consumer_parked() {
                doorbell.ring();
            }
        };
        for number in 0..MESSAGES {
            write_or(publish, &mut producer, &number.to_ne_bytes());
            if random.below(4) == 0 {
                publish(&mut producer);
                // The other side gets the time to fall asleep.
                thread::yield_now();
            }
        }
        producer.publish();
        doorbell.ring();
    });
    let (mut payload, mut number) = (Vec::new(), 0u64);
    while number < MESSAGES {
        while read(&mut consumer, &mut payload) {
            assert_eq!(payload, number.to_ne_bytes());
            number += 1;
        }
        release(&mut consumer);
        if number < MESSAGES && consumer.prepare_park() {
            let mut events = Vec::with_capacity(1);
            let timeout = PATIENCE.try_into().unwrap();
            epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)).unwrap();
            assert!(!events.is_empty(), "the doorbell did not ring");
            consumer.cancel_park();
        }
    }
    child.join();
}
