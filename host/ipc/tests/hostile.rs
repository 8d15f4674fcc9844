//! A peer that writes anything anywhere into a ring: it gets errors, never a panic, a hang or a look outside.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use wasmp_ipc::{Consumer, Corrupt, Mapping, Producer, ring_bytes};

const CAPACITY: usize = 256;
const LINE: u64 = 128;
const TAIL: u64 = 0;
const HEAD: u64 = LINE;
const DATA: u64 = 4 * LINE;

const READY: u32 = 1;

/// The memory of a ring as the peer has it.
struct Peer(File);

impl Peer {
    fn write(&self, at: u64, value: u64) {
        self.0.write_all_at(&value.to_ne_bytes(), at).unwrap();
    }

    fn write_record(&self, at: u64, length: u32, state: u32) {
        self.write(DATA + at, u64::from(state) << 32 | u64::from(length));
    }
}

fn ring() -> (Peer, Producer, Consumer) {
    let (fd, mapping) = Mapping::create("test", ring_bytes(CAPACITY)).unwrap();
    let mapping = Arc::new(mapping);
    let producer = Producer::new(&mapping, 0, CAPACITY).unwrap();
    (Peer(fd.into()), producer, Consumer::new(&mapping, 0, CAPACITY).unwrap())
}

#[test]
fn a_tail_where_no_producer_can_be_is_an_error() {
    for tail in [1, 7, 12, CAPACITY as u64 + 8, 1 << 40, u64::MAX - 7, u64::MAX] {
        let (peer, _, mut consumer) = ring();
        peer.write(TAIL, tail);
        assert_eq!(consumer.peek(), Err(Corrupt::Position(tail)));
    }
}

#[test]
fn a_tail_that_goes_back_is_an_error() {
    let (peer, mut producer, mut consumer) = ring();
    producer.try_write(&[b"12345678"]).unwrap().unwrap();
    producer.publish();
    consumer.peek().unwrap().unwrap();
    consumer.advance();
    for tail in [0, 8] {
        peer.write(TAIL, tail);
        assert_eq!(consumer.peek(), Err(Corrupt::Position(tail)));
        // Not even when the space has been given back.
        consumer.release();
        assert_eq!(consumer.peek(), Err(Corrupt::Position(tail)));
    }
}

#[test]
fn a_record_longer_than_what_was_published_is_an_error() {
    for (tail, length) in [(8, 1), (16, 9), (24, 17), (24, u32::MAX), (24, u32::MAX - 7)] {
        let (peer, _, mut consumer) = ring();
        peer.write_record(0, length, READY);
        peer.write(TAIL, tail);
        assert_eq!(consumer.peek(), Err(Corrupt::Length(length)));
    }
}

#[test]
fn a_record_longer_than_records_are_is_an_error() {
    let (peer, producer, mut consumer) = ring();
    let length = producer.max_record() as u32 + 1;
    peer.write_record(0, length, READY);
    peer.write(TAIL, CAPACITY as u64);
    assert_eq!(consumer.peek(), Err(Corrupt::Length(length)));
}

#[test]
fn a_record_in_an_unknown_state_is_an_error() {
    // 2 is taken: a record that the consumer has not looked at cannot be.
    for state in [0, 2, 4, u32::MAX] {
        let (peer, _, mut consumer) = ring();
        peer.write_record(0, 8, state);
        peer.write(TAIL, 16);
        assert_eq!(consumer.peek(), Err(Corrupt::State(state)));
    }
}

#[test]
fn a_record_that_changes_while_it_is_read_keeps_the_length_it_had() {
    let (peer, mut producer, mut consumer) = ring();
    producer.try_write(&[b"12345678"]).unwrap().unwrap();
    producer.try_write(&[b"next"]).unwrap().unwrap();
    producer.publish();
    consumer.peek().unwrap().unwrap();
    peer.write_record(0, 200, READY);
    assert_eq!(consumer.peek().unwrap().unwrap().len(), 8);
    assert!(!consumer.take(), "not the record that was looked at");
    assert_eq!(consumer.read(0, &mut [0; 9]), Err(Corrupt::Truncated));
    consumer.advance();
    assert_eq!(consumer.peek().unwrap().unwrap().len(), 4);
}

#[test]
fn a_head_where_no_consumer_can_be_is_an_error() {
    let (peer, mut producer, mut consumer) = ring();
    for _ in 0..2 {
        producer.try_write(&[b"12345678"]).unwrap().unwrap();
        producer.publish();
    }
    // Written but not published: no consumer can have seen it.
    producer.try_write(&[b"12345678"]).unwrap().unwrap();
    consumer.peek().unwrap().unwrap();
    consumer.advance();
    consumer.release();
    assert_eq!(producer.free(), Ok(CAPACITY - 2 * 16));
    for head in [0, 8, 17, 31, 40, 48, CAPACITY as u64, 1 << 40, u64::MAX] {
        peer.write(HEAD, head);
        assert_eq!(producer.free(), Err(Corrupt::Position(head)));
        assert_eq!(producer.ask_for_space(), Err(Corrupt::Position(head)));
        assert_eq!(producer.park_for_space(8, None), Err(Corrupt::Position(head)));
        while producer.try_write(&[&[0; 8]]).is_ok_and(|ticket| ticket.is_some()) {}
        assert_eq!(producer.try_write(&[&[0; 64]]), Err(Corrupt::Position(head)));
    }
}

/// One step of either side.
#[derive(Clone, Debug)]
enum Step {
    /// The peer writes a word.
    Poke {
        at: u64,
        value: u64,
    },
    Write {
        length: usize,
    },
    Publish,
    Revoke {
        ticket: usize,
    },
    Ask,
    Read,
    Take,
    Release,
    Sleep,
}

fn step() -> impl Strategy<Value = Step> {
    let near = |scale: u64| (0..64u64).prop_map(move |steps| steps * scale);
    let value = prop_oneof![
        near(8),
        near(1),
        any::<u64>(),
        (0..300u64, 0..5u64).prop_map(|(length, state)| state << 32 | length),
        near(8).prop_map(|value| value.wrapping_neg()),
    ];
    let at = prop_oneof![
        Just(TAIL),
        Just(HEAD),
        Just(2 * LINE),
        Just(3 * LINE),
        (0..32u64).prop_map(|word| DATA + 8 * word)
    ];
    prop_oneof![
        3 => (at, value).prop_map(|(at, value)| Step::Poke { at, value }),
        3 => (0..80usize).prop_map(|length| Step::Write { length: length.min(CAPACITY / 4) }),
        2 => Just(Step::Publish),
        1 => (0..8usize).prop_map(|ticket| Step::Revoke { ticket }),
        1 => Just(Step::Ask),
        4 => Just(Step::Read),
        1 => Just(Step::Take),
        1 => Just(Step::Release),
        1 => Just(Step::Sleep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn anything_in_the_header_and_the_records_leads_to_errors_at_most(steps in prop::collection::vec(step(), 1..60)) {
        let (peer, mut producer, mut consumer) = ring();
        let mut tickets = Vec::new();
        for step in steps {
            match step {
                Step::Poke { at, value } => peer.write(at, value),
                Step::Write { length } => tickets.extend(producer.try_write(&[&vec![1; length]]).ok().flatten()),
                Step::Publish => {
                    producer.publish();
                    producer.consumer_parked();
                }
                Step::Revoke { ticket } => {
                    tickets.get(ticket).map(|ticket| producer.revoke(ticket));
                }
                Step::Ask => {
                    let _ = producer.ask_for_space();
                    let _ = producer.park_for_space(8, Some(Instant::now()));
                    prop_assert!(producer.free().unwrap_or(0) <= CAPACITY);
                }
                Step::Read => if let Ok(Some(record)) = consumer.peek() {
                    prop_assert!(record.len() <= producer.max_record());
                    let mut payload = vec![0; record.len()];
                    prop_assert_eq!(consumer.read(0, &mut payload), Ok(()));
                    consumer.advance();
                },
                Step::Take => {
                    consumer.take();
                }
                Step::Release => {
                    consumer.release();
                    consumer.producer_parked();
                }
                Step::Sleep => {
                    consumer.release();
                    consumer.prepare_park();
                    consumer.park(Some(Instant::now() + Duration::from_micros(50)));
                }
            }
        }
    }

    #[test]
    fn random_bytes_are_read_to_an_end_or_to_an_error(
        bytes in prop::collection::vec(any::<u8>(), ring_bytes(CAPACITY)),
        tail in 0..=32u64,
    ) {
        let (peer, mut producer, mut consumer) = ring();
        peer.0.write_all_at(&bytes, 0).unwrap();
        prop_assert!(producer.free().is_err());
        prop_assert!(consumer.peek().is_err());
        peer.write(TAIL, tail * 8);
        let mut records = 0;
        while let Ok(Some(record)) = consumer.peek() {
            prop_assert_eq!(consumer.read(0, &mut vec![0; record.len()]), Ok(()));
            consumer.advance();
            records += 1;
        }
        prop_assert!(records <= tail);
    }
}
