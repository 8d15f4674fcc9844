//! Barriers between processes and threads.

mod common;

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE, Random, Words, number_from_env};
use proptest::prelude::*;
use rustix::process::{Signal, kill_process};
use wasmp_ipc::{
    Barrier, BarrierError, BarrierPass, Interrupt, Limit, Mapping, Party, SLOTS, SharedBytes, Slot, Width,
};

/// As in CPython's tests.
const N: usize = 5;

fn barrier(parties: usize) -> Barrier {
    let (_fd, mapping) = Mapping::create("test", Barrier::bytes(parties)).unwrap();
    Barrier::create(&Arc::new(mapping), parties).unwrap()
}

fn soon() -> Limit {
    Limit::after(Some(PATIENCE))
}

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn worker(number: usize) -> Party {
    Party::worker(slot(number), None)
}

fn wait(barrier: &Barrier, party: &Party) -> Result<usize, BarrierError> {
    barrier.wait(party, false, soon()).map(|pass| match pass {
        BarrierPass::Passed(place) => place,
        BarrierPass::Act => panic!("nobody asked for an action"),
    })
}

/// Runs `body` in processes 1 to `count`.
fn run(count: usize, body: impl Fn(usize)) -> Vec<Child> {
    (1..=count).map(|number| Child::run(|| body(number))).collect()
}

fn join(children: Vec<Child>) {
    children.into_iter().for_each(Child::join);
}

/// Waits until so many are waiting.
fn until_waiting(barrier: &Barrier, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while barrier.n_waiting() != count {
        assert!(Instant::now() < deadline, "they do not come: {barrier:?}");
        thread::yield_now();
    }
}

/// Stops it, until it is told to continue.
fn stop(child: &Child) {
    kill_process(child.pid(), Signal::STOP).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while common::state(child.pid()) != 'T' {
        assert!(Instant::now() < deadline, "a process that does not stop");
        thread::yield_now();
    }
}

fn assert_idle(barrier: &Barrier) {
    assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
}

/// All parties go through it that often, and nobody is ever ahead of anyone.
fn lockstep(trips: u64) {
    let barrier = barrier(N);
    let arrived = Words::new(1);
    join(run(N, |number| {
        let party = worker(number);
        for trip in 1..=trips {
            arrived[0].fetch_add(1, Ordering::Relaxed);
            wait(&barrier, &party).unwrap();
            assert_eq!(arrived.get(0), trip * N as u64);
            wait(&barrier, &party).unwrap();
        }
    }));
    assert_idle(&barrier);
}

#[test]
fn b_01_nobody_passes_before_all_have_arrived() {
    lockstep(1);
}

#[test]
fn b_02_ten_trips() {
    lockstep(10);
}

#[test]
fn b_02_thousands_of_trips() {
    lockstep(3000);
}

#[test]
fn b_03_everyone_has_a_place_of_its_own_and_one_is_0() {
    const TRIPS: u64 = 500;
    let barrier = barrier(N);
    let places = Words::new(N);
    join(run(N, |number| {
        for _ in 0..TRIPS {
            let place = wait(&barrier, &worker(number)).unwrap();
            places[place].fetch_add(1, Ordering::Relaxed);
        }
    }));
    assert!((0..N).all(|place| places.get(place) == TRIPS));
}

#[test]
fn b_04_the_action_runs_once_a_trip_and_before_anyone_continues() {
    const TRIPS: u64 = 200;
    let barrier = barrier(N);
    let acted = Words::new(1);
    join(run(N, |number| {
        let party = worker(number);
        for trip in 1..=TRIPS {
            if barrier.wait(&party, true, soon()).unwrap() == BarrierPass::Act {
                assert_eq!(barrier.n_waiting(), N);
                acted.increment_alone(0);
                barrier.acted(&party).unwrap();
            }
            assert_eq!(acted.get(0), trip);
            wait(&barrier, &party).unwrap();
        }
    }));
    assert_idle(&barrier);
}

#[test]
fn b_05_an_abort_breaks_it_for_those_who_wait_and_those_who_come() {
    let barrier = barrier(N);
    let children = run(N - 1, |number| {
        assert_eq!(wait(&barrier, &worker(number)), Err(BarrierError::Broken));
        assert_eq!(wait(&barrier, &worker(number)), Err(BarrierError::Broken));
    });
    until_waiting(&barrier, N - 1);
    barrier.abort().unwrap();
    join(children);
    assert!(barrier.is_broken());
    assert_eq!(barrier.n_waiting(), 0);
    assert_eq!(wait(&barrier, &Party::host()), Err(BarrierError::Broken));
}

#[test]
fn b_06_a_reset_breaks_off_those_who_wait_and_it_is_usable_again() {
    let barrier = barrier(N);
    let children = run(N - 1, |number| {
        assert_eq!(wait(&barrier, &worker(number)), Err(BarrierError::Broken));
        wait(&barrier, &worker(number)).unwrap();
    });
    until_waiting(&barrier, N - 1);
    barrier.reset().unwrap();
    wait(&barrier, &Party::host()).unwrap();
    join(children);
    assert_idle(&barrier);
}

#[test]
fn b_07_after_an_abort_and_a_reset_all_pass() {
    let barrier = barrier(N);
    let aborted = Words::new(1);
    let children = run(N - 1, |number| {
        assert_eq!(wait(&barrier, &worker(number)), Err(BarrierError::Broken));
        aborted[0].fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        while barrier.is_broken() {
            assert!(Instant::now() < deadline, "nobody resets it");
            thread::yield_now();
        }
        wait(&barrier, &worker(number)).unwrap();
    });
    until_waiting(&barrier, N - 1);
    barrier.abort().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while aborted.get(0) < N as u64 - 1 {
        assert!(Instant::now() < deadline, "somebody still waits");
        thread::yield_now();
    }
    barrier.reset().unwrap();
    wait(&barrier, &Party::host()).unwrap();
    join(children);
    assert_idle(&barrier);
}

#[test]
fn b_08_a_limit_that_is_reached_breaks_it_for_all() {
    let barrier = barrier(N);
    let children = run(N - 2, |number| {
        assert_eq!(wait(&barrier, &worker(number)), Err(BarrierError::Broken));
    });
    until_waiting(&barrier, N - 2);
    let short = Duration::from_millis(30);
    let started = Instant::now();
    let late = barrier.wait(&Party::host(), false, Limit::after(Some(short)));
    assert_eq!(late, Err(BarrierError::TimedOut));
    assert!(started.elapsed() >= short);
    join(children);
    assert!(barrier.is_broken());
}

#[test]
fn b_10_one_party_never_waits() {
    let barrier = barrier(1);
    let party = Party::host();
    for _ in 0..100 {
        assert_eq!(barrier.wait(&party, false, Limit::Poll), Ok(BarrierPass::Passed(0)));
        assert_eq!(barrier.wait(&party, true, Limit::Poll), Ok(BarrierPass::Act));
        barrier.acted(&party).unwrap();
    }
    assert_idle(&barrier);
}

#[test]
fn threads_of_the_host_are_parties_like_processes() {
    const TRIPS: usize = 1000;
    let barrier = barrier(4);
    let children = run(2, |number| {
        for _ in 0..TRIPS {
            wait(&barrier, &worker(number)).unwrap();
        }
    });
    thread::scope(|scope| {
        (0..2).for_each(|_| {
            scope.spawn(|| {
                for _ in 0..TRIPS {
                    wait(&barrier, &Party::host()).unwrap();
                }
            });
        });
    });
    join(children);
    assert_idle(&barrier);
}

#[test]
fn more_processes_than_parties_pass_in_pairs() {
    const TRIPS: u64 = 1000;
    let barrier = barrier(2);
    let places = Words::new(2);
    let children = run(4, |number| {
        let party = worker(number);
        while let Ok(place) = wait(&barrier, &party) {
            places[place].fetch_add(1, Ordering::Relaxed);
        }
    });
    let deadline = Instant::now() + PATIENCE;
    while places.get(0) < TRIPS {
        assert!(Instant::now() < deadline, "they do not pass: {barrier:?}");
        thread::yield_now();
    }
    barrier.abort().unwrap();
    join(children);
    assert_eq!(places.get(0), places.get(1));
    barrier.reset().unwrap();
    assert_idle(&barrier);
}

#[test]
fn a_limit_of_one_that_comes_while_others_leave_breaks_the_barrier_but_not_their_passage() {
    for is_reset_meanwhile in [false, true] {
        let barrier = barrier(2);
        let slow = Child::run(|| {
            wait(&barrier, &worker(1)).unwrap();
        });
        until_waiting(&barrier, 1);
        stop(&slow);
        wait(&barrier, &Party::host()).unwrap();
        let short = Duration::from_millis(30);
        let started = Instant::now();
        let early = barrier.wait(&Party::host(), false, Limit::after(Some(short)));
        assert_eq!(early, Err(BarrierError::TimedOut));
        assert!(started.elapsed() >= short);
        assert!(barrier.is_broken());
        if is_reset_meanwhile {
            barrier.reset().unwrap();
            assert!(!barrier.is_broken());
        }
        kill_process(slow.pid(), Signal::CONT).unwrap();
        slow.join();
        assert_eq!(barrier.is_broken(), !is_reset_meanwhile);
        barrier.reset().unwrap();
        assert_idle(&barrier);
    }
}

#[test]
fn an_interrupted_wait_breaks_it() {
    let (_fd, mapping) = Mapping::create("test", Interrupt::BYTES).unwrap();
    let mapping = Arc::new(mapping);
    let interrupt = || Interrupt::open(&mapping, 0).unwrap();
    let barrier = barrier(3);
    let interrupted = Child::run(|| {
        let party = Party::worker(slot(1), Some(interrupt()));
        assert_eq!(wait(&barrier, &party), Err(BarrierError::Interrupted));
    });
    let other = Child::run(|| assert_eq!(wait(&barrier, &worker(2)), Err(BarrierError::Broken)));
    until_waiting(&barrier, 2);
    interrupt().raise();
    interrupted.join();
    other.join();
    assert!(barrier.is_broken());
}

#[test]
fn a_party_that_dies_waiting_breaks_it_and_it_is_usable_again_after_a_reset() {
    let barrier = barrier(3);
    let children = run(2, |number| {
        assert_eq!(wait(&barrier, &worker(number)), Err(BarrierError::Broken));
    });
    until_waiting(&barrier, 2);
    let [victim, other] = children.try_into().unwrap();
    victim.kill();
    assert!(!barrier.is_broken());
    barrier.recover(slot(1));
    assert!(barrier.is_broken());
    other.join();
    barrier.recover(slot(1));
    barrier.reset().unwrap();
    assert_idle(&barrier);
    let children = run(2, |number| {
        wait(&barrier, &worker(number)).unwrap();
    });
    wait(&barrier, &Party::host()).unwrap();
    join(children);
}

#[test]
fn a_party_that_dies_acting_breaks_it() {
    let barrier = barrier(2);
    let waiting = Child::run(|| assert_eq!(wait(&barrier, &worker(1)), Err(BarrierError::Broken)));
    until_waiting(&barrier, 1);
    let acting = Child::run(|| {
        assert_eq!(barrier.wait(&worker(2), true, soon()), Ok(BarrierPass::Act));
        loop {
            thread::park();
        }
    });
    until_waiting(&barrier, 2);
    assert!(acting.falls_asleep());
    acting.kill();
    barrier.recover(slot(2));
    waiting.join();
    assert!(barrier.is_broken());
    barrier.reset().unwrap();
    assert_idle(&barrier);
}

#[test]
fn a_party_that_dies_elsewhere_is_not_missed() {
    let barrier = barrier(2);
    let child = Child::run(|| {
        wait(&barrier, &worker(1)).unwrap();
        loop {
            thread::park();
        }
    });
    wait(&barrier, &Party::host()).unwrap();
    assert!(child.falls_asleep());
    child.kill();
    barrier.recover(slot(1));
    assert_idle(&barrier);
    let child = Child::run(|| {
        wait(&barrier, &worker(1)).unwrap();
    });
    wait(&barrier, &Party::host()).unwrap();
    child.join();
}

#[test]
fn one_that_acts_while_the_barrier_is_broken_or_reset_learns_it_in_the_end() {
    let party = Party::host();
    for breaks in [Barrier::abort, Barrier::reset] {
        let barrier = barrier(2);
        let child = Child::run(|| assert_eq!(wait(&barrier, &worker(1)), Err(BarrierError::Broken)));
        until_waiting(&barrier, 1);
        assert_eq!(barrier.wait(&party, true, soon()), Ok(BarrierPass::Act));
        breaks(&barrier).unwrap();
        child.join();
        assert_eq!(barrier.acted(&party), Err(BarrierError::Broken));
        barrier.reset().unwrap();
        assert_idle(&barrier);
    }
    let barrier = barrier(2);
    assert_eq!(barrier.acted(&party), Err(BarrierError::Broken), "was not told to act");
}

#[test]
fn only_the_party_that_acts_lets_the_others_pass() {
    let barrier = barrier(2);
    let child = Child::run(|| {
        wait(&barrier, &worker(1)).unwrap();
    });
    until_waiting(&barrier, 1);
    assert_eq!(barrier.wait(&Party::host(), true, soon()), Ok(BarrierPass::Act));
    assert_eq!(barrier.acted(&worker(1)), Err(BarrierError::Broken));
    assert_eq!(barrier.n_waiting(), 2);
    barrier.acted(&Party::host()).unwrap();
    child.join();
}

#[test]
fn survivors_of_a_kill_at_any_moment_have_made_the_same_trips() {
    const PARTIES: usize = 3;
    let mut random = Random(u64::from(std::process::id()));
    let (mut broken, mut trips) = (0, 0);
    for kill in 0..number_from_env("WASMP_KILLS").unwrap_or(1000) {
        let barrier = barrier(PARTIES);
        let passed = Words::new(PARTIES + 1);
        let mut children = run(PARTIES, |number| {
            let party = worker(number);
            loop {
                match barrier.wait(&party, number == 1, soon()) {
                    Ok(BarrierPass::Act) => {
                        if barrier.acted(&party).is_err() {
                            break;
                        }
                    }
                    Ok(BarrierPass::Passed(_)) => {}
                    Err(_) => break,
                }
                passed.increment_alone(number);
            }
        });
        let alive_until = Instant::now() + Duration::from_micros(random.below(800));
        while Instant::now() < alive_until {
            thread::yield_now();
        }
        let victim = 1 + random.below(PARTIES as u64) as usize;
        children.remove(victim - 1).kill();
        barrier.recover(slot(victim));
        broken += u64::from(barrier.is_broken());
        barrier.abort().unwrap();
        join(children);
        let survivors: Vec<u64> = (1..=PARTIES)
            .filter(|number| *number != victim)
            .map(|number| passed.get(number))
            .collect();
        assert_eq!(survivors[0], survivors[1], "kill {kill}");
        trips += survivors[0];
        barrier.reset().unwrap();
        assert_idle(&barrier);
    }
    assert!(broken > 0 && trips > 0, "{broken} {trips}");
}

#[test]
fn it_is_opened_as_it_was_created() {
    let (fd, mapping) = Mapping::create("test", Barrier::bytes(3)).unwrap();
    let created = Barrier::create(&Arc::new(mapping), 3).unwrap();
    let there = Arc::new(Mapping::open(fd.as_fd(), Barrier::bytes(3)).unwrap());
    let opened = Barrier::open(&there).unwrap();
    assert_eq!((created.parties(), opened.parties()), (3, 3));
    opened.abort().unwrap();
    assert!(created.is_broken());
}

#[test]
fn impossible_numbers_of_parties_and_memory_without_room_for_them_are_refused() {
    let (fd, mapping) = Mapping::create("test", Barrier::bytes(3)).unwrap();
    let mapping = Arc::new(mapping);
    let kind = |result: std::io::Result<Barrier>| result.unwrap_err().kind();
    assert_eq!(kind(Barrier::open(&mapping)), ErrorKind::InvalidData, "not created");
    for parties in [0, SLOTS + 1, usize::MAX] {
        assert_eq!(kind(Barrier::create(&mapping, parties)), ErrorKind::InvalidInput);
    }
    assert_eq!(kind(Barrier::create(&mapping, 4)), ErrorKind::InvalidData);
    Barrier::create(&mapping, 3).unwrap();
    let file = File::from(fd);
    for parties in [0, 4, SLOTS as u32 + 1, u32::MAX] {
        file.write_all_at(&parties.to_ne_bytes(), PARTIES_AT).unwrap();
        assert_eq!(kind(Barrier::open(&mapping)), ErrorKind::InvalidData, "{parties}");
    }
    let (_fd, small) = Mapping::create("test", Barrier::bytes(0) - 1).unwrap();
    let small = Arc::new(small);
    assert_eq!(kind(Barrier::create(&small, 1)), ErrorKind::InvalidData);
    assert_eq!(kind(Barrier::open(&small)), ErrorKind::InvalidData);
}

const LINE: u64 = 128;
const STATE_AT: u64 = 0;
const GATE_AT: u64 = LINE;
const PARTIES_AT: u64 = 2 * LINE;
const CELLS_AT: u64 = 3 * LINE;

/// One step of a party, or of a hostile one.
#[derive(Clone, Debug)]
enum Step {
    Poke { at: u64, value: u64 },
    Wait { slot: usize, action: bool, limit: u64 },
    Acted { slot: usize },
    Abort,
    Reset,
    Recover { slot: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let at = prop_oneof![
        Just(STATE_AT),
        Just(GATE_AT),
        Just(PARTIES_AT),
        (0..3u64).prop_map(|cell| CELLS_AT + 8 * cell)
    ];
    let value = prop_oneof![
        any::<u64>(),
        0..64u64,
        (0..8u64).prop_map(u64::wrapping_neg),
        (0..5u64, 0..8u64).prop_map(|(generation, phase)| generation << 3 | phase),
        (0..5u64, 0..4u64, 0..2u64).prop_map(|(generation, slot, left)| generation << 12 | slot << 1 | left),
        (0..8u64).prop_map(|phase| (u64::MAX >> 12) << 3 | phase),
    ];
    let slot = || 0..4usize;
    prop_oneof![
        3 => (at, value).prop_map(|(at, value)| Step::Poke { at, value }),
        3 => (slot(), any::<bool>(), 0..3u64).prop_map(|(slot, action, limit)| Step::Wait { slot, action, limit }),
        1 => slot().prop_map(|slot| Step::Acted { slot }),
        1 => Just(Step::Abort),
        2 => Just(Step::Reset),
        1 => slot().prop_map(|slot| Step::Recover { slot }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn anything_in_the_memory_leads_to_errors_at_most(steps in prop::collection::vec(step(), 1..40)) {
        let (fd, mapping) = Mapping::create("test", Barrier::bytes(3)).unwrap();
        let barrier = Barrier::create(&Arc::new(mapping), 3).unwrap();
        let file = File::from(fd);
        for step in steps {
            match step {
                Step::Poke { at, value } => file.write_all_at(&value.to_ne_bytes(), at).unwrap(),
                Step::Wait { slot, action, limit } => {
                    let limit = Limit::after(Some(Duration::from_micros(50 * limit)));
                    if let Ok(BarrierPass::Passed(place)) = barrier.wait(&worker(slot), action, limit) {
                        prop_assert!(place < 3);
                    }
                }
                Step::Acted { slot } => {
                    let _ = barrier.acted(&worker(slot));
                }
                Step::Abort => {
                    let aborted = barrier.abort();
                    prop_assert!(aborted == Err(BarrierError::Corrupt) || barrier.is_broken());
                }
                Step::Reset => {
                    let _ = barrier.reset();
                }
                Step::Recover { slot: number } => barrier.recover(slot(number)),
            }
            prop_assert!(barrier.n_waiting() <= 3);
            prop_assert_eq!(barrier.parties(), 3);
        }
    }

    #[test]
    fn alone_it_passes_or_breaks_as_a_simple_one_does(
        parties in 1..4usize,
        steps in prop::collection::vec(0..3u8, 1..40),
    ) {
        let barrier = barrier(parties);
        let mut broken = false;
        for step in steps {
            match step {
                0 => {
                    let expected = match (broken, parties) {
                        (true, _) => Err(BarrierError::Broken),
                        (false, 1) => Ok(BarrierPass::Passed(0)),
                        (false, _) => Err(BarrierError::TimedOut),
                    };
                    prop_assert_eq!(barrier.wait(&worker(1), false, Limit::Poll), expected);
                    broken |= parties > 1;
                }
                1 => {
                    barrier.abort().unwrap();
                    broken = true;
                }
                _ => {
                    barrier.reset().unwrap();
                    broken = false;
                }
            }
            prop_assert_eq!((barrier.is_broken(), barrier.n_waiting()), (broken, 0));
        }
    }
}

#[test]
fn a_party_that_keeps_changing_the_memory_cannot_hold_others_beyond_their_limit() {
    let (_fd, mapping) = Mapping::create("test", Barrier::bytes(3)).unwrap();
    let mapping = Arc::new(mapping);
    let barrier = Barrier::create(&mapping, 3).unwrap();
    let hostile = Child::run(|| {
        let bytes = SharedBytes::open(&mapping, mapping.len());
        loop {
            // The first generation fills, or it acts.
            for state in [1 << 3, 1 << 3 | 1] {
                bytes.store(Width::Eight, STATE_AT as usize, state).unwrap();
            }
        }
    });
    let other = Child::run(|| {
        for _ in 0..10 {
            let _ = barrier.wait(&worker(1), false, Limit::after(Some(Duration::from_millis(5))));
            let _ = barrier.abort();
            let _ = barrier.reset();
            barrier.recover(slot(1));
        }
    });
    other.join();
    hostile.kill();
}
