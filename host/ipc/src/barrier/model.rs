//! The barrier under the model checker.

use std::rc::Rc;
use std::sync::Arc;

use loom::cell::Cell;
use loom::thread;

use super::{Barrier, BarrierError, BarrierPass, FIRST_GENERATION, Header, Phase};
use crate::gate::Gate;
use crate::memory::Line;
use crate::model::{Checker, FutexWord, Model, PlainWord, die_after, die_within, explore};
use crate::party::{Limit, Party, Slot};

pub(super) fn barrier<C: Checker>(parties: usize) -> Arc<Barrier<Model<C>>> {
    let header = Header::<Model<C>> {
        state: Line(PlainWord::default()),
        gate: Line(Gate(FutexWord::default())),
        parties: Line(FutexWord::default()),
    };
    let cells: Arc<[PlainWord<C>]> = (0..parties).map(|_| PlainWord::default()).collect();
    let barrier = Barrier::over(Arc::new(header), cells);
    barrier.begin();
    Arc::new(barrier)
}

fn slot(number: usize) -> Slot {
    Slot::new(number).unwrap()
}

fn party(number: usize) -> Party<Model> {
    Party::worker(slot(number), None)
}

fn wait(barrier: &Barrier<Model>, number: usize) -> Result<usize, BarrierError> {
    match barrier.wait(&party(number), false, Limit::Forever)? {
        BarrierPass::Passed(place) => Ok(place),
        BarrierPass::Act => panic!("nobody asked for an action"),
    }
}

/// As [`wait`] with an action.
fn wait_and_act(barrier: &Barrier<Model>, number: usize, act: impl Fn()) -> Result<usize, BarrierError> {
    match barrier.wait(&party(number), true, Limit::Forever)? {
        BarrierPass::Passed(place) => Ok(place),
        BarrierPass::Act => {
            act();
            barrier.acted(&party(number))?;
            Ok(barrier.parties() - 1)
        }
    }
}

#[test]
fn everyone_passes_every_trip_and_has_a_place_of_its_own() {
    explore(3, || {
        let barrier = barrier(2);
        let other = thread::spawn({
            let barrier = Arc::clone(&barrier);
            move || [(); 2].map(|()| wait(&barrier, 1).unwrap())
        });
        let here = [(); 2].map(|()| wait(&barrier, 2).unwrap());
        let there = other.join().unwrap();
        assert_eq!([here[0] + there[0], here[1] + there[1]], [1, 1]);
        assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn three_parties_pass_together() {
    explore(1, || {
        let barrier = barrier(3);
        let others = [1, 2].map(|number| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || wait(&barrier, number).unwrap())
        });
        let mut places = vec![wait(&barrier, 3).unwrap()];
        places.extend(others.map(|other| other.join().unwrap()));
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2]);
    });
}

#[test]
fn those_who_come_while_others_leave_wait_for_the_next_trip() {
    explore(2, || {
        let barrier = barrier(1);
        let other = thread::spawn({
            let barrier = Arc::clone(&barrier);
            move || wait(&barrier, 1)
        });
        assert_eq!(wait(&barrier, 2), Ok(0));
        assert_eq!(other.join().unwrap(), Ok(0));
    });
}

#[test]
fn what_was_done_before_is_seen_after_and_by_the_action() {
    explore(3, || {
        let barrier = barrier(2);
        // The model reports reads that no write comes before.
        let cells = Rc::new([(); 3].map(|()| Cell::new(0)));
        let run = |number: usize| {
            let (barrier, cells) = (Arc::clone(&barrier), Rc::clone(&cells));
            move || {
                cells[number].set(number + 1);
                let act = || cells[2].set(cells[0].get() + cells[1].get());
                wait_and_act(&barrier, number, act).unwrap();
                assert_eq!(cells[2].get(), 3);
                assert_eq!(cells[1 - number].get(), 2 - number);
            }
        };
        let other = thread::spawn(run(0));
        run(1)();
        other.join().unwrap();
    });
}

#[test]
fn a_limit_breaks_the_barrier_unless_the_other_came_in_time() {
    explore(4, || {
        let barrier = barrier(2);
        let other = thread::spawn({
            let barrier = Arc::clone(&barrier);
            move || wait(&barrier, 1)
        });
        let here = barrier.wait(&party(2), false, Limit::Poll);
        let there = other.join().unwrap();
        assert_eq!(here.is_ok(), there.is_ok());
        assert_eq!(barrier.is_broken(), here.is_err());
        barrier.reset().unwrap();
        assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn a_reset_frees_those_who_wait_and_the_barrier_is_as_new() {
    explore(2, || {
        let barrier = barrier(2);
        let other = thread::spawn({
            let barrier = Arc::clone(&barrier);
            // Broken off, or still to come.
            move || wait(&barrier, 1).unwrap_or_else(|_| wait(&barrier, 1).unwrap())
        });
        barrier.reset().unwrap();
        wait(&barrier, 2).unwrap();
        other.join().unwrap();
        assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn a_reset_beside_a_trip_lets_both_pass_or_neither() {
    explore(1, || {
        let barrier = barrier(2);
        let other = thread::spawn({
            let barrier = Arc::clone(&barrier);
            move || barrier.wait(&party(1), false, Limit::Forever)
        });
        let third = thread::spawn({
            let barrier = Arc::clone(&barrier);
            move || barrier.reset().and_then(|()| barrier.abort())
        });
        let (here, there) = (wait(&barrier, 2), other.join().unwrap());
        third.join().unwrap().unwrap();
        assert_eq!(here.is_ok(), there.is_ok());
        assert!(barrier.is_broken());
        barrier.reset().unwrap();
        assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn an_abort_does_not_take_back_a_passage() {
    explore(3, || {
        let barrier = barrier(2);
        let other = thread::spawn({
            let barrier = Arc::clone(&barrier);
            move || wait(&barrier, 1)
        });
        let here = wait(&barrier, 2);
        barrier.abort().unwrap();
        assert!(here.is_ok());
        assert!(other.join().unwrap().is_ok());
        assert!(barrier.is_broken());
    });
}

/// What a death at any moment of `victim`, in slot 2, leads to: another party waits in the meantime.
fn death(barrier: &Arc<Barrier<Model>>, effects: usize, victim: impl FnOnce() -> Result<usize, BarrierError>) {
    let other = thread::spawn({
        let barrier = Arc::clone(barrier);
        move || wait(&barrier, 1)
    });
    die_within(effects, victim);
    // From here on this thread is the host.
    die_after(usize::MAX);
    barrier.recover(slot(2));
    barrier.recover(slot(2));
    let state = barrier.look().unwrap();
    if state.generation > FIRST_GENERATION || state.phase == Phase::Passed {
        other.join().unwrap().unwrap();
    } else {
        // It had not arrived, and someone else can take its place; or it had, and nobody passes any more.
        let here = wait(barrier, 3);
        assert_eq!(here.is_ok(), other.join().unwrap().is_ok());
        assert_eq!(here.is_err(), barrier.is_broken());
    }
    barrier.reset().unwrap();
    assert_eq!(barrier.look().unwrap().phase, Phase::Filling, "everyone has left");
    assert_eq!(barrier.n_waiting(), 0);
}

#[test]
fn a_party_that_dies_passes_or_breaks_the_barrier() {
    for effects in 0..10 {
        explore(2, move || {
            let barrier = barrier(2);
            death(&barrier, effects, || wait(&barrier, 2));
        });
    }
}

#[test]
fn a_party_that_dies_acting_passes_or_breaks_the_barrier() {
    for effects in 0..12 {
        explore(2, move || {
            let barrier = barrier(2);
            death(&barrier, effects, || wait_and_act(&barrier, 2, || {}));
        });
    }
}

#[test]
fn one_that_dies_resetting_leaves_a_barrier_that_can_be_reset() {
    for effects in 0..6 {
        explore(3, move || {
            let barrier = barrier(2);
            let other = thread::spawn({
                let barrier = Arc::clone(&barrier);
                move || barrier.wait(&party(1), false, Limit::Poll)
            });
            die_within(effects, || barrier.reset());
            die_after(usize::MAX);
            barrier.recover(slot(2));
            other.join().unwrap().unwrap_err();
            barrier.reset().unwrap();
            assert_eq!(barrier.look().unwrap().phase, Phase::Filling);
        });
    }
}

#[test]
fn one_leaves_while_another_is_recovered_and_the_next_trip_begins() {
    for effects in 0..10 {
        explore(2, move || {
            let barrier = barrier(2);
            let other = thread::spawn({
                let barrier = Arc::clone(&barrier);
                move || wait(&barrier, 1)
            });
            die_within(effects, || wait(&barrier, 2));
            die_after(usize::MAX);
            // Once: a second time would make up for what the first one missed.
            barrier.recover(slot(2));
            let state = barrier.look().unwrap();
            if state.generation > FIRST_GENERATION || state.phase == Phase::Passed {
                other.join().unwrap().unwrap();
                assert_eq!(barrier.look().unwrap().phase, Phase::Filling, "everyone has left");
            } else {
                barrier.abort().unwrap();
                other.join().unwrap().unwrap_err();
            }
        });
    }
}

#[test]
fn a_dead_party_breaks_a_trip_whose_action_begins_just_then() {
    explore(2, || {
        let barrier = barrier(2);
        // It arrives.
        die_within(1, || wait(&barrier, 2));
        die_after(usize::MAX);
        assert_eq!(barrier.n_waiting(), 1);
        let other = thread::spawn({
            let barrier = Arc::clone(&barrier);
            move || barrier.wait(&party(1), true, Limit::Forever)
        });
        barrier.recover(slot(2));
        match other.join().unwrap() {
            Ok(pass) => {
                assert_eq!(pass, BarrierPass::Act);
                assert_eq!(barrier.acted(&party(1)), Err(BarrierError::Broken));
            }
            Err(why) => assert_eq!(why, BarrierError::Broken),
        }
        assert!(barrier.is_broken());
    });
}

#[test]
fn all_are_woken_whom_the_last_one_lets_pass_as_it_dies() {
    explore(1, || {
        let barrier = barrier(3);
        let others = [1, 3].map(|number| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || wait(&barrier, number))
        });
        while barrier.n_waiting() < 2 {
            thread::yield_now();
        }
        // It arrives, lets them pass, and wakes nobody.
        die_within(2, || wait(&barrier, 2));
        die_after(usize::MAX);
        barrier.recover(slot(2));
        let [one, other] = others.map(|other| other.join().unwrap().is_ok());
        assert_eq!(one, other);
    });
}
