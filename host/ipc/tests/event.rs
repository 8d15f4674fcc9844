//! What an event promises to several processes.

mod common;

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Child, PATIENCE};
use proptest::prelude::*;
use wasmp_ipc::{Event, Interrupt, Limit, Mapping, Party, Slot, WaitError};

fn event() -> Event {
    hostile_event().1
}

/// An event, and its memory as a hostile process has it.
fn hostile_event() -> (File, Event) {
    let (fd, mapping) = Mapping::create("test", Event::BYTES).unwrap();
    (fd.into(), Event::create(&Arc::new(mapping)).unwrap())
}

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn party(number: usize) -> Party {
    Party::worker(slot(number), None)
}

fn soon() -> Limit {
    Limit::after(Some(PATIENCE))
}

/// A process that has fallen asleep waiting for the event, and ends when it is through.
fn waiter(event: &Event, number: usize) -> Child {
    let child = Child::run(|| event.wait(&party(number), soon()).unwrap());
    assert!(child.falls_asleep());
    child
}

#[test]
fn e_01_waiting_for_one_that_is_not_set_takes_as_long_as_it_may() {
    let event = event();
    assert!(!event.is_set());
    assert_eq!(event.wait(&party(1), Limit::Poll), Err(WaitError::TimedOut));
    let (started, short) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(
        event.wait(&party(1), Limit::Until(started + short)),
        Err(WaitError::TimedOut)
    );
    assert!(started.elapsed() >= short);
}

#[test]
fn e_02_every_wait_is_over_at_once_while_it_is_set() {
    let event = event();
    event.set();
    event.set();
    assert!(event.is_set());
    for limit in [Limit::Poll, Limit::Until(Instant::now()), Limit::Forever] {
        assert_eq!(event.wait(&party(1), limit), Ok(()));
    }
    event.clear();
    event.clear();
    assert!(!event.is_set());
    assert_eq!(event.wait(&party(1), Limit::Poll), Err(WaitError::TimedOut));
}

#[test]
fn e_04_it_says_whether_it_is_set() {
    let event = event();
    assert_eq!(format!("{event:?}"), "Event { set: false }");
    event.set();
    assert_eq!(format!("{event:?}"), "Event { set: true }");
}

#[test]
fn setting_it_wakes_every_process_that_waits() {
    let event = event();
    let waiters = [1, 2, 3].map(|number| waiter(&event, number));
    event.set();
    waiters.into_iter().for_each(Child::join);
}

#[test]
fn a_set_that_is_cleared_at_once_wakes_every_process_that_waits() {
    let event = event();
    for _ in 0..20 {
        let waiters = [1, 2, 3].map(|number| waiter(&event, number));
        event.set();
        event.clear();
        waiters.into_iter().for_each(Child::join);
        assert!(!event.is_set());
    }
}

#[test]
fn g_09_setting_it_returns_though_one_who_waited_was_killed() {
    let event = event();
    let (dead, alive) = (waiter(&event, 1), waiter(&event, 2));
    dead.kill();
    event.set();
    alive.join();
    event.recover(slot(1));
    assert!(event.is_set());
}

#[test]
fn an_interruption_ends_a_wait() {
    let event = event();
    let mapping = Arc::new(Mapping::create("test", Interrupt::BYTES).unwrap().1);
    let interrupt = || Interrupt::open(&mapping, 0).unwrap();
    let interrupted = Party::worker(slot(1), Some(interrupt()));
    let child = Child::run(|| assert_eq!(event.wait(&interrupted, soon()), Err(WaitError::Interrupted)));
    assert!(child.falls_asleep());
    interrupt().raise();
    child.join();
    event.set();
    assert_eq!(event.wait(&interrupted, soon()), Ok(()));
}

#[test]
fn two_who_take_turns_never_miss_each_other() {
    const TURNS: u32 = 5_000;
    let (ping, pong) = (event(), event());
    let child = Child::run(|| {
        for _ in 0..TURNS {
            ping.wait(&party(1), soon()).unwrap();
            ping.clear();
            pong.set();
        }
    });
    for _ in 0..TURNS {
        ping.set();
        pong.wait(&Party::host(), soon()).unwrap();
        pong.clear();
    }
    child.join();
}

#[test]
fn threads_that_set_and_clear_it_leave_nobody_asleep() {
    let event = event();
    thread::scope(|scope| {
        for number in [1, 2] {
            let event = &event;
            scope.spawn(move || {
                for _ in 0..2_000 {
                    event.wait(&party(number), soon()).unwrap();
                }
            });
        }
        let setter = scope.spawn(|| {
            for _ in 0..20_000 {
                event.set();
                event.clear();
            }
            event.set();
        });
        setter.join().unwrap();
    });
}

#[test]
fn a_mapping_too_small_for_it_is_refused() {
    let (_, mapping) = Mapping::create("test", Event::BYTES - 1).unwrap();
    let error = Event::open(&Arc::new(mapping)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_into_it_every_operation_returns(words in prop::collection::vec(any::<u32>(), 1..10)) {
        let (memory, event) = hostile_event();
        for word in words {
            memory.write_all_at(&word.to_ne_bytes(), 0).unwrap();
            let set = word & 1 == 1;
            prop_assert_eq!(event.is_set(), set);
            let soon = Limit::Until(Instant::now() + Duration::from_micros(50));
            prop_assert_eq!(event.wait(&party(1), soon), if set { Ok(()) } else { Err(WaitError::TimedOut) });
            event.recover(slot(1));
            event.set();
            prop_assert!(event.is_set());
            event.clear();
            prop_assert!(!event.is_set());
        }
    }
}
