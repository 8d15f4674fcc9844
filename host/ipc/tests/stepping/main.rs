//! A process that is killed after every single instruction of every operation.
//!
//! For each operation in each state that makes a difference, a victim is forked, stopped in front of the operation, led
//! through its first `k` instructions by `ptrace`, and killed; then the object is recovered, twice, and whoever is left must
//! be able to go on with it, with nothing lost and nothing doubled. `k` counts from 0 until the operation has returned. A
//! system call is one instruction; if the victim falls asleep in it, that is a point to be killed at, the test then wakes
//! it, and being awake but not yet back from the kernel is the next one.
//!
//! Payloads are short, so that this is no more than some hundred deaths for each. Of loops over many bytes or slots the first
//! 64 rounds are done so; from then on there is a death for each 61 instructions of the loop.

mod acknowledged;
mod barrier;
#[path = "../common/mod.rs"]
mod common;
mod condition;
mod deaths;
mod event;
mod lock;
mod pipe;
mod queue;
mod ring;
mod rlock;
mod semaphore;
mod traced;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use common::{Child, PATIENCE};
use wasmp_ipc::{Limit, Mapping, Party, SharedBytes, Slot};

/// The slot of the victim. Before it is forked, the test acts for it, to put an object into a state.
fn victim_slot() -> Slot {
    Slot::new(3).unwrap()
}

fn victim() -> Party {
    Party::worker(victim_slot(), None)
}

/// The one who waits for what the victim does.
fn peer() -> Party {
    Party::worker(Slot::new(4).unwrap(), None)
}

/// One who has died before, and is not always recovered yet.
fn dead() -> Party {
    Party::worker(Slot::new(40).unwrap(), None)
}

/// Two things in this order and in the other, alternately.
fn in_turn<T>() -> impl Fn([T; 2]) -> [T; 2] {
    let reversed = Cell::new(false);
    move |mut two| {
        if reversed.replace(!reversed.get()) {
            two.reverse();
        }
        two
    }
}

fn memory(bytes: usize) -> Arc<Mapping> {
    Arc::new(Mapping::create("test", bytes).unwrap().1)
}

/// What is in it.
fn contents(memory: &Arc<Mapping>) -> Vec<u8> {
    let mut contents = vec![0; memory.len()];
    SharedBytes::open(memory, memory.len()).read(0, &mut contents).unwrap();
    contents
}

/// Longer than anything takes that still happens.
fn patiently() -> Limit {
    Limit::Until(Instant::now() + PATIENCE)
}

/// A process that has fallen asleep over `body`.
fn sleeper(body: impl FnOnce()) -> Child {
    let child = Child::run(body);
    assert!(child.falls_asleep(), "there was nothing to wait for");
    child
}
