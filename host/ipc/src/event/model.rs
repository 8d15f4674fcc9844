//! The event under the model checker.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread::{self, JoinHandle};

use super::{Event, Header};
use crate::backend::Word;
use crate::model::{FutexWord, Model, die_within, explore};
use crate::party::{Limit, Party, Slot};

fn event() -> Arc<Event<Model>> {
    Arc::new(Event::over(Arc::new(Header(FutexWord::default()))))
}

fn slot(number: usize) -> Slot {
    Slot::new(number).expect("a slot")
}

/// A thread that waits; it ends when the event has let it through.
fn waiter(event: &Arc<Event<Model>>, number: usize) -> JoinHandle<()> {
    let event = Arc::clone(event);
    thread::spawn(move || {
        let party = Party::worker(slot(number), None);
        event.wait(&party, Limit::Forever).expect("it is set");
    })
}

#[test]
fn setting_lets_everyone_through() {
    explore(3, || {
        let event = event();
        let waiters = [1, 2].map(|number| waiter(&event, number));
        event.set();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert!(event.is_set());
    });
}

#[test]
fn a_pulse_lets_those_through_who_were_waiting() {
    explore(3, || {
        let event = event();
        let began = event.word().load(Ordering::Relaxed);
        let waiter = thread::spawn({
            let event = Arc::clone(&event);
            move || event.sleep(&Party::worker(slot(1), None), Limit::Forever, began)
        });
        event.set();
        event.clear();
        waiter.join().unwrap().expect("it was set");
        assert!(!event.is_set());
    });
}

#[test]
fn what_was_done_before_setting_is_seen_after_waiting() {
    explore(3, || {
        let event = event();
        let written = Arc::new(loom::sync::atomic::AtomicU32::new(0));
        let reader = thread::spawn({
            let (event, written) = (Arc::clone(&event), Arc::clone(&written));
            move || {
                event.wait(&Party::worker(slot(1), None), Limit::Forever).unwrap();
                written.load(Ordering::Relaxed)
            }
        });
        written.store(1, Ordering::Relaxed);
        event.set();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn two_set_it_at_once_and_one_clears_it() {
    explore(3, || {
        let event = event();
        let waiter = waiter(&event, 1);
        let other = thread::spawn({
            let event = Arc::clone(&event);
            move || event.set()
        });
        event.set();
        other.join().unwrap();
        event.clear();
        assert!(!event.is_set());
        event.set();
        waiter.join().unwrap();
    });
}

#[test]
fn who_sets_it_dies_and_it_is_set_or_not_but_nobody_sleeps_on_a_set_one() {
    for effects in 0..4 {
        explore(2, move || {
            let event = event();
            let waiters = [2, 3].map(|number| waiter(&event, number));
            let mortal = thread::spawn({
                let event = Arc::clone(&event);
                move || die_within(effects, || event.set())
            });
            let survived = mortal.join().unwrap().is_some();
            assert!(event.is_set() || !survived);
            event.recover(slot(1));
            if !event.is_set() {
                event.set();
            }
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
    }
}

#[test]
fn who_waits_dies_and_the_others_are_let_through() {
    for effects in 0..4 {
        explore(3, move || {
            let event = event();
            let mortal = thread::spawn({
                let event = Arc::clone(&event);
                move || {
                    die_within(effects, || {
                        let _ = event.wait(&Party::worker(slot(1), None), Limit::Forever);
                    })
                }
            });
            let waiter = waiter(&event, 2);
            event.set();
            mortal.join().unwrap();
            waiter.join().unwrap();
        });
    }
}
