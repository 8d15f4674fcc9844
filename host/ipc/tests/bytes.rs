//! Plain shared memory: copies, atomic operations, and sleeping on a word of it.

mod common;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE, Words};
use proptest::prelude::*;
use wasmp_ipc::{AccessError, Interrupt, Limit, Mapping, Party, SharedBytes, Slot, Width, WordWaitError};

const SIZE: usize = 64;
const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];

fn shared(size: usize) -> (SharedBytes, SharedBytes) {
    let (fd, here) = Mapping::create("test", size).unwrap();
    let there = Mapping::open(fd.as_fd(), size).unwrap();
    {
        let size = here.len();
        (
            SharedBytes::open(&Arc::new(here), size),
            SharedBytes::open(&Arc::new(there), size),
        )
    }
}

fn soon() -> Limit {
    Limit::after(Some(PATIENCE))
}

fn bytes_of(width: Width) -> usize {
    (1..=8)
        .find(|&bytes| Width::new(bytes) == Some(width))
        .expect("a width")
}

/// One operation on memory, as on a plain array.
#[derive(Clone, Debug)]
enum Step {
    Read(usize, usize),
    Write(usize, Vec<u8>),
    Atomic(Operation, Width, usize, u64, u64),
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Load,
    Store,
    Swap,
    Add,
    Sub,
    And,
    Or,
    Xor,
    CompareExchange,
}

const OPERATIONS: [Operation; 9] = [
    Operation::Load,
    Operation::Store,
    Operation::Swap,
    Operation::Add,
    Operation::Sub,
    Operation::And,
    Operation::Or,
    Operation::Xor,
    Operation::CompareExchange,
];

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![8 => 0..SIZE + 2, 1 => Just(usize::MAX), 1 => Just(usize::MAX - 7)];
    // Of few bits, so that the expected value of an exchange is often there.
    let value = || prop_oneof![0..4u64, any::<u64>(), any::<i8>().prop_map(|value| value as u64)];
    let atomic = (
        prop::sample::select(&OPERATIONS[..]),
        prop::sample::select(&WIDTHS[..]),
        offset(),
        value(),
        value(),
    );
    prop_oneof![
        (offset(), 0..SIZE + 2).prop_map(|(offset, length)| Step::Read(offset, length)),
        (offset(), prop::collection::vec(any::<u8>(), 0..SIZE))
            .prop_map(|(offset, source)| Step::Write(offset, source)),
        atomic.prop_map(|(operation, width, offset, value, current)| {
            Step::Atomic(operation, width, offset, value, current)
        }),
    ]
}

/// The result of an atomic operation: what was there, or what was there instead.
type Was = Result<Result<u64, u64>, AccessError>;

fn on_memory(bytes: &SharedBytes, operation: Operation, width: Width, at: usize, value: u64, current: u64) -> Was {
    match operation {
        Operation::Load => bytes.load(width, at),
        Operation::Store => bytes
            .load(width, at)
            .and_then(|was| bytes.store(width, at, value).map(|()| was)),
        Operation::Swap => bytes.swap(width, at, value),
        Operation::Add => bytes.add(width, at, value),
        Operation::Sub => bytes.sub(width, at, value),
        Operation::And => bytes.and(width, at, value),
        Operation::Or => bytes.or(width, at, value),
        Operation::Xor => bytes.xor(width, at, value),
        Operation::CompareExchange => return bytes.compare_exchange(width, at, current, value),
    }
    .map(Ok)
}

fn on_array(array: &mut [u8], operation: Operation, width: Width, at: usize, value: u64, current: u64) -> Was {
    let width = bytes_of(width);
    if !at.is_multiple_of(width) {
        return Err(AccessError::Misaligned);
    }
    let place = array
        .get_mut(at..at.saturating_add(width))
        .ok_or(AccessError::OutOfRange)?;
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(place);
    let was = u64::from_le_bytes(wide);
    let mask = u64::MAX >> (64 - 8 * width);
    let becomes = match operation {
        Operation::Load => was,
        Operation::Store | Operation::Swap => value,
        Operation::Add => was.wrapping_add(value),
        Operation::Sub => was.wrapping_sub(value),
        Operation::And => was & value,
        Operation::Or => was | value,
        Operation::Xor => was ^ value,
        Operation::CompareExchange if was == current & mask => value,
        Operation::CompareExchange => return Ok(Err(was)),
    };
    place.copy_from_slice(&becomes.to_le_bytes()[..width]);
    Ok(Ok(was))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn it_behaves_like_an_array(steps in prop::collection::vec(step(), 1..40)) {
        let (here, there) = shared(SIZE);
        let mut array = [0; SIZE];
        for step in steps {
            match step {
                Step::Read(offset, length) => {
                    let mut target = vec![0xAA; length];
                    let range = array.get(offset..offset.saturating_add(length));
                    match (here.read(offset, &mut target), range) {
                        (Ok(()), Some(range)) => prop_assert_eq!(&target, range),
                        (read, range) => prop_assert_eq!((read, range), (Err(AccessError::OutOfRange), None)),
                    }
                }
                Step::Write(offset, source) => {
                    let range = array.get_mut(offset..offset.saturating_add(source.len()));
                    prop_assert_eq!(here.write(offset, &source), match range {
                        Some(range) => { range.copy_from_slice(&source); Ok(()) }
                        None => Err(AccessError::OutOfRange),
                    });
                }
                Step::Atomic(operation, width, at, value, current) => prop_assert_eq!(
                    on_memory(&here, operation, width, at, value, current),
                    on_array(&mut array, operation, width, at, value, current)
                ),
            }
            let mut all = [0; SIZE];
            there.read(0, &mut all).unwrap();
            prop_assert_eq!(all, array);
        }
    }
}

#[test]
fn its_size_is_what_was_asked_for_and_not_rounded_up() {
    let (bytes, _) = shared(4097);
    assert_eq!(bytes.size(), 4097);
    bytes.write(4096, &[1]).unwrap();
    assert_eq!(bytes.write(4096, &[1, 2]), Err(AccessError::OutOfRange));
    assert_eq!(bytes.read(4097, &mut []), Ok(()));
    assert_eq!(bytes.read(4098, &mut []), Err(AccessError::OutOfRange));
    // The last word lies half outside.
    assert_eq!(bytes.load(Width::Two, 4096), Err(AccessError::OutOfRange));
}

#[test]
fn widths_are_powers_of_two_up_to_eight() {
    let widths: Vec<usize> = (0..20).filter(|&bytes| Width::new(bytes).is_some()).collect();
    assert_eq!(widths, [1, 2, 4, 8]);
}

#[test]
fn additions_of_processes_and_threads_are_never_lost() {
    const EACH: u64 = 50_000;
    let (here, there) = shared(SIZE);
    let children: Vec<Child> = (0..2)
        .map(|_| {
            Child::run(|| {
                for _ in 0..EACH {
                    for (at, width) in WIDTHS.into_iter().enumerate() {
                        there.add(width, 8 * at, 1).unwrap();
                    }
                }
            })
        })
        .collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    for (at, width) in WIDTHS.into_iter().enumerate() {
                        here.sub(width, 8 * at, 3).unwrap();
                    }
                }
            });
        }
    });
    children.into_iter().for_each(Child::join);
    let sum = (2 * EACH).wrapping_sub(6 * EACH);
    for (at, width) in WIDTHS.into_iter().enumerate() {
        let mask = u64::MAX >> (64 - 8 * bytes_of(width));
        assert_eq!(here.load(width, 8 * at), Ok(sum & mask), "{width:?}");
    }
}

#[test]
fn aligned_values_arrive_whole_whatever_they_are_copied_with() {
    let (here, there) = shared(SIZE);
    let stop = Words::new(1);
    // Bytes 2 to 23: values of 2, 4, 8, 4 and 4 bytes. Each is always all zeroes or all ones.
    let values = [2..4, 4..8, 8..16, 16..20, 20..24];
    let child = Child::run(|| {
        let mut ones = false;
        while stop.get(0) == 0 {
            ones = !ones;
            there.write(2, &[if ones { 0xFF } else { 0 }; 22]).unwrap();
        }
    });
    let mut seen = [false; 2];
    let deadline = Instant::now() + PATIENCE;
    let mut reads = 0;
    while reads < 300_000 || seen != [true; 2] {
        assert!(Instant::now() < deadline, "the other one does not write");
        let mut all = [0; 23];
        here.read(1, &mut all).unwrap();
        for value in values.clone() {
            let value = &all[value.start - 1..value.end - 1];
            assert!(value.iter().all(|byte| *byte == value[0]), "{value:?}");
        }
        seen[usize::from(all[1] != 0)] = true;
        reads += 1;
    }
    stop.set(0, 1);
    child.join();
}

#[test]
fn a_sleeper_is_woken_across_processes() {
    let (here, there) = shared(SIZE);
    let child = Child::run(|| {
        let party = Party::worker(Slot::new(1).unwrap(), None);
        while there.load(Width::Four, 8).unwrap() == 0 {
            there.wait(&party, 8, 0, soon()).unwrap();
        }
    });
    assert!(child.falls_asleep());
    here.store(Width::Four, 8, 1).unwrap();
    assert!(child.is_asleep(), "nobody has woken it");
    here.wake(8, 1).unwrap();
    child.join();
}

#[test]
fn waiting_ends_when_the_value_is_another_at_the_limit_or_by_interruption() {
    let (bytes, _) = shared(SIZE);
    let party = Party::host();
    assert_eq!(bytes.wait(&party, 0, 1, Limit::Forever), Ok(()));
    assert_eq!(bytes.wait(&party, 0, 0, Limit::Poll), Err(WordWaitError::TimedOut));
    let short = Duration::from_millis(30);
    let started = Instant::now();
    assert_eq!(
        bytes.wait(&party, 0, 0, Limit::after(Some(short))),
        Err(WordWaitError::TimedOut)
    );
    assert!(started.elapsed() >= short);

    let (_fd, mapping) = Mapping::create("test", Interrupt::BYTES).unwrap();
    let mapping = Arc::new(mapping);
    let interrupt = || Interrupt::open(&mapping, 0).unwrap();
    let worker = Party::worker(Slot::new(1).unwrap(), Some(interrupt()));
    interrupt().raise();
    assert_eq!(bytes.wait(&worker, 0, 0, soon()), Err(WordWaitError::Interrupted));
}

#[test]
fn one_waits_on_whole_aligned_words_of_four_bytes() {
    let (bytes, _) = shared(SIZE);
    let party = Party::host();
    for (offset, why) in [
        (2, AccessError::Misaligned),
        (SIZE, AccessError::OutOfRange),
        (usize::MAX - 3, AccessError::OutOfRange),
    ] {
        assert_eq!(bytes.wait(&party, offset, 0, soon()), Err(WordWaitError::Access(why)));
        assert_eq!(bytes.wake(offset, 1), Err(why));
    }
}
