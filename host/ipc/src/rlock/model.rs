//! The recursive lock under the model checker.

use std::sync::Arc;

use loom::thread::{self, JoinHandle};

use super::{Header, RLock};
use crate::lock::{LockWord, Mutex, ReleaseError};
use crate::model::{Checker, FutexWord, Model, die_within, explore};
use crate::party::{Limit, Party, Slot};

pub(super) fn lock<C: Checker>() -> Arc<RLock<Model<C>>> {
    Arc::new(RLock::over(Arc::new(Header {
        lock: LockWord(FutexWord::default()),
        thread: FutexWord::default(),
        depth: FutexWord::default(),
    })))
}

fn worker(number: usize) -> Party<Model> {
    Party::worker(Slot::new(number).expect("a slot"), None)
}

fn spawn<R: 'static>(lock: &Arc<RLock<Model>>, body: impl FnOnce(&RLock<Model>) -> R + 'static) -> JoinHandle<R> {
    let lock = Arc::clone(lock);
    thread::spawn(move || body(&lock))
}

/// Acquires it twice and releases it twice. Whether it was abandoned.
fn visit(lock: &RLock<Model>, party: &Party<Model>) -> bool {
    assert!(!lock.is_mine(party));
    let outer = lock.acquire(party, Limit::Forever).expect("it is released");
    let inner = lock.acquire(party, Limit::Poll).expect("it is mine");
    assert!(!inner.abandoned);
    assert_eq!(lock.count(), 2);
    lock.release(party).expect("it is mine");
    assert!(lock.is_mine(party));
    lock.release(party).expect("it is mine");
    assert!(!lock.is_mine(party));
    assert_eq!(lock.release(party), Err(ReleaseError::NotOwner));
    outer.abandoned
}

#[test]
fn workers_own_it_one_after_the_other() {
    explore(3, || {
        let lock = lock();
        let other = spawn(&lock, |lock| visit(lock, &worker(2)));
        assert!(!visit(&lock, &worker(1)));
        assert!(!other.join().unwrap());
        assert_eq!(lock.count(), 0);
    });
}

#[test]
fn threads_of_the_host_own_it_one_after_the_other() {
    explore(3, || {
        let lock = lock();
        let other = spawn(&lock, |lock| visit(lock, &Party::thread_of_host(2)));
        visit(&lock, &Party::thread_of_host(1));
        other.join().unwrap();
    });
}

#[test]
fn all_levels_are_released_at_once_and_come_back_together() {
    explore(3, || {
        let lock = lock();
        let party = worker(1);
        for _ in 0..3 {
            lock.acquire(&party, Limit::Forever).unwrap();
        }
        let other = spawn(&lock, |lock| visit(lock, &worker(2)));
        let depth = lock.release_all(&party).unwrap();
        assert_eq!(lock.release_all(&party), Err(ReleaseError::NotOwner));
        lock.acquire_again(&party, depth).unwrap();
        assert_eq!(lock.count(), 3);
        for _ in 0..3 {
            lock.release(&party).unwrap();
        }
        other.join().unwrap();
    });
}

#[test]
fn an_owner_dies_and_the_next_one_is_told_and_owns_it_once() {
    for effects in 0..10 {
        explore(2, move || {
            let lock = lock();
            let mortal = spawn(&lock, move |lock| die_within(effects, || visit(lock, &worker(1))));
            let other = spawn(&lock, |lock| visit(lock, &worker(2)));
            mortal.join().unwrap();
            let held = lock.owner() == Slot::new(1);
            for _ in 0..2 {
                lock.recover(Slot::new(1).expect("a slot"));
            }
            let told = [other.join().unwrap(), visit(&lock, &worker(3))];
            assert_eq!(told.contains(&true), held);
        });
    }
}
