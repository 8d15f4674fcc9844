//! What the two ends of a ring promise to each other. Each end has a mapping of its own, as in two processes.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmp_ipc::{Consumer, Corrupt, Mapping, Producer, ring_bytes};

fn ring(capacity: usize) -> (Producer, Consumer) {
    let (fd, mapping) = Mapping::create("test", ring_bytes(capacity)).unwrap();
    let other = Mapping::open(fd.as_fd(), ring_bytes(capacity)).unwrap();
    (
        Producer::new(&Arc::new(mapping), 0, capacity).unwrap(),
        Consumer::new(&Arc::new(other), 0, capacity).unwrap(),
    )
}

fn send(producer: &mut Producer, payload: &[u8]) {
    producer.try_write(&[payload]).unwrap().expect("room");
    producer.publish();
}

/// The next record, still to be released.
fn receive(consumer: &mut Consumer) -> Option<Vec<u8>> {
    let mut payload = vec![0; consumer.peek().unwrap()?.len()];
    consumer.read(0, &mut payload).unwrap();
    consumer.advance();
    Some(payload)
}

#[test]
fn records_arrive_whole_and_in_order_whatever_their_length_and_wherever_they_wrap() {
    let (mut producer, mut consumer) = ring(256);
    let payload: Vec<u8> = (0..64).collect();
    for round in 0..1000 {
        let length = round % 65;
        let (first, second) = payload[..length].split_at(length / 3);
        producer.try_write(&[first, &[], second]).unwrap().expect("room");
        producer.publish();
        assert_eq!(receive(&mut consumer).as_deref(), Some(&payload[..length]));
        assert_eq!(receive(&mut consumer), None);
        consumer.release();
    }
}

#[test]
fn parts_of_a_record_are_read_on_their_own() {
    let (mut producer, mut consumer) = ring(256);
    for _ in 0..100 {
        send(&mut producer, b"a head, a body");
        let mut body = [0; 4];
        assert_eq!(consumer.peek().unwrap().unwrap().len(), 14);
        consumer.read(10, &mut body).unwrap();
        assert_eq!(&body, b"body");
        consumer.advance();
        consumer.release();
    }
}

#[test]
fn reading_past_the_end_of_a_record_is_an_error() {
    let (mut producer, mut consumer) = ring(256);
    assert_eq!(consumer.read(0, &mut [0]), Err(Corrupt::Truncated));
    send(&mut producer, b"1234");
    send(&mut producer, b"the next one");
    consumer.peek().unwrap();
    consumer.read(4, &mut []).unwrap();
    for (at, length) in [(0, 5), (4, 1), (5, 0), (usize::MAX, 1), (1, 200)] {
        assert_eq!(consumer.read(at, &mut vec![0; length]), Err(Corrupt::Truncated));
    }
}

#[test]
fn what_is_not_published_is_not_seen() {
    let (mut producer, mut consumer) = ring(256);
    producer.try_write(&[b"one"]).unwrap().unwrap();
    producer.try_write(&[b"two"]).unwrap().unwrap();
    assert!(consumer.is_empty());
    assert_eq!(receive(&mut consumer), None);
    producer.publish();
    assert!(!consumer.is_empty());
    assert_eq!(receive(&mut consumer).unwrap(), b"one");
    assert!(!consumer.is_empty());
    assert_eq!(receive(&mut consumer).unwrap(), b"two");
    assert!(consumer.is_empty());
}

#[test]
fn peeking_again_shows_the_same_record() {
    let (mut producer, mut consumer) = ring(256);
    send(&mut producer, b"first");
    send(&mut producer, b"second one");
    assert_eq!(consumer.peek().unwrap().unwrap().len(), 5);
    assert!(consumer.take());
    assert_eq!(consumer.peek().unwrap().unwrap().len(), 5);
    assert_eq!(receive(&mut consumer).unwrap(), b"first");
    assert_eq!(receive(&mut consumer).unwrap(), b"second one");
}

#[test]
fn a_full_ring_has_room_again_only_after_release() {
    let (mut producer, mut consumer) = ring(64);
    for value in 0..4 {
        send(&mut producer, &[value; 8]);
    }
    assert_eq!(producer.free(), Ok(0));
    assert_eq!(producer.try_write(&[&[4; 8]]), Ok(None));
    assert_eq!(producer.try_write(&[]), Ok(None));
    receive(&mut consumer).unwrap();
    assert_eq!(producer.try_write(&[&[4; 8]]), Ok(None));
    consumer.release();
    assert_eq!(producer.free(), Ok(16));
    send(&mut producer, &[4; 8]);
    for value in 1..5 {
        assert_eq!(receive(&mut consumer).unwrap(), [value; 8]);
    }
}

#[test]
fn the_longest_record_is_a_quarter_of_the_ring() {
    let (mut producer, mut consumer) = ring(4096);
    assert_eq!(producer.max_record(), 1024);
    for _ in 0..100 {
        for _ in 0..3 {
            send(&mut producer, &[7; 1024]);
        }
        assert_eq!(producer.try_write(&[&[7; 1024]]), Ok(None));
        for _ in 0..3 {
            assert_eq!(receive(&mut consumer).unwrap(), [7; 1024]);
        }
        consumer.release();
    }
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "never fits"))]
fn a_record_longer_than_the_longest_is_not_written() {
    let (mut producer, _consumer) = ring(4096);
    assert_eq!(producer.try_write(&[&[7; 1024], &[7]]), Ok(None));
}

#[test]
fn a_revoked_record_cannot_be_taken_and_the_others_still_come() {
    let (mut producer, mut consumer) = ring(256);
    let tickets = [b"a", b"b", b"c"].map(|payload| producer.try_write(&[payload]).unwrap().unwrap());
    producer.publish();
    assert!(producer.revoke(&tickets[1]));
    assert!(!producer.revoke(&tickets[1]));
    let mut seen = Vec::new();
    while consumer.peek().unwrap().is_some() {
        let taken = consumer.take();
        let payload = receive(&mut consumer).unwrap();
        if taken {
            seen.push(payload);
        }
    }
    assert_eq!(seen, [b"a", b"c"]);
}

#[test]
fn a_taken_record_cannot_be_revoked() {
    let (mut producer, mut consumer) = ring(256);
    let ticket = producer.try_write(&[b"task"]).unwrap().unwrap();
    producer.publish();
    assert!(!consumer.take(), "nothing peeked at");
    consumer.peek().unwrap();
    assert!(consumer.take());
    assert!(!producer.revoke(&ticket));
    consumer.advance();
    consumer.release();
    assert!(!producer.revoke(&ticket));
}

#[test]
fn asking_whether_a_record_is_taken_leaves_it_to_the_consumer() {
    let (mut producer, mut consumer) = ring(64);
    let ticket = producer.try_write(&[b"task"]).unwrap().unwrap();
    producer.publish();
    assert!(!producer.is_taken(&ticket));
    consumer.peek().unwrap();
    assert!(!producer.is_taken(&ticket));
    assert!(consumer.take());
    assert!(producer.is_taken(&ticket));
    consumer.advance();
    consumer.release();
    assert_eq!(producer.free(), Ok(64));
    assert!(producer.is_taken(&ticket), "gone");
    let revoked = producer.try_write(&[b"task"]).unwrap().unwrap();
    assert!(producer.revoke(&revoked));
    assert!(!producer.is_taken(&revoked));
}

#[test]
fn a_record_can_be_revoked_before_it_is_published() {
    let (mut producer, mut consumer) = ring(256);
    let ticket = producer.try_write(&[b"task"]).unwrap().unwrap();
    assert!(producer.revoke(&ticket));
    producer.publish();
    consumer.peek().unwrap().unwrap();
    assert!(!consumer.take());
}

#[test]
fn an_old_ticket_does_not_revoke_the_record_that_has_its_place_now() {
    let (mut producer, mut consumer) = ring(64);
    let old = producer.try_write(&[&[1; 8]]).unwrap().unwrap();
    for value in 2..=4 {
        send(&mut producer, &[value; 8]);
    }
    for _ in 0..4 {
        receive(&mut consumer).unwrap();
    }
    consumer.release();
    send(&mut producer, &[5; 8]);
    assert!(!producer.revoke(&old));
    consumer.peek().unwrap().unwrap();
    assert!(consumer.take());
}

#[test]
fn a_consumer_is_rung_once_per_sleep_and_only_when_it_sleeps() {
    let (mut producer, mut consumer) = ring(256);
    send(&mut producer, b"x");
    assert!(!producer.consumer_parked());
    assert!(receive(&mut consumer).is_some());
    consumer.release();
    assert!(consumer.prepare_park());
    send(&mut producer, b"x");
    assert!(producer.consumer_parked());
    send(&mut producer, b"x");
    assert!(!producer.consumer_parked());
}

#[test]
fn a_consumer_that_finds_something_before_it_sleeps_is_not_rung() {
    let (mut producer, mut consumer) = ring(256);
    send(&mut producer, b"x");
    assert!(!consumer.prepare_park());
    assert!(!producer.consumer_parked());
    receive(&mut consumer).unwrap();
    consumer.release();
    assert!(consumer.prepare_park());
    consumer.cancel_park();
    assert!(!producer.consumer_parked());
}

#[test]
fn a_producer_that_waits_for_room_is_rung_once_when_half_of_the_ring_is_free() {
    let (mut producer, mut consumer) = ring(128);
    for _ in 0..8 {
        send(&mut producer, &[0; 8]);
    }
    assert_eq!(producer.ask_for_space(), Ok(false));
    let mut rung = Vec::new();
    for _ in 0..8 {
        receive(&mut consumer).unwrap();
        consumer.release();
        rung.push(consumer.producer_parked());
    }
    assert_eq!(rung, [false, false, false, true, false, false, false, false]);
    assert_eq!(producer.ask_for_space(), Ok(true));
    assert!(!consumer.producer_parked());
}

#[test]
fn sleeping_ends_at_the_deadline() {
    let (mut producer, mut consumer) = ring(64);
    let started = Instant::now();
    let short = Duration::from_millis(30);
    assert!(consumer.prepare_park());
    consumer.park(Some(started + short));
    assert!(started.elapsed() >= short);
    assert!(!producer.consumer_parked(), "awake again");

    for _ in 0..4 {
        send(&mut producer, &[0; 8]);
    }
    let started = Instant::now();
    assert_eq!(producer.park_for_space(8, Some(started + short)), Ok(false));
    assert!(started.elapsed() >= short);
    while receive(&mut consumer).is_some() {}
    consumer.release();
    assert!(!consumer.producer_parked(), "no longer waiting");
    assert_eq!(producer.park_for_space(8, Some(Instant::now())), Ok(true));
}

#[test]
fn two_rings_share_one_mapping_without_touching_each_other() {
    let capacity = 256;
    let (_fd, mapping) = Mapping::create("test", 2 * ring_bytes(capacity)).unwrap();
    let mapping = Arc::new(mapping);
    let ends = |offset| {
        (
            Producer::new(&mapping, offset, capacity).unwrap(),
            Consumer::new(&mapping, offset, capacity).unwrap(),
        )
    };
    let ((mut down, mut tasks), (mut up, mut results)) = (ends(0), ends(ring_bytes(capacity)));
    for round in 0..100u8 {
        send(&mut down, &[round; 50]);
        send(&mut up, &[!round; 61]);
        assert_eq!(receive(&mut tasks).unwrap(), [round; 50]);
        assert_eq!(receive(&mut results).unwrap(), [!round; 61]);
        tasks.release();
        results.release();
    }
}
