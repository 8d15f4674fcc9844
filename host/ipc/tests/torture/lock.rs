//! Locks: two counters that only their holder changes, one after the other.

use std::sync::atomic::Ordering;

use wasmp_ipc::{Acquired, Limit, Lock, RLock};

use crate::common::{Random, Words};
use crate::workers::{Workers, kills, memory, party, slot};

const WORKERS: usize = 4;

/// What the lock guards: the holder counts in one and then in the other.
const FIRST: usize = 0;
const SECOND: usize = 1;
/// How often the lock was said to be abandoned.
const ABANDONED: usize = 2;
/// From here on, how often each worker has been done with it.
const DONE: usize = 3;

/// By the holder.
fn change(words: &Words, index: usize, acquired: Acquired, random: &mut Random) {
    let count = words.get(FIRST);
    if acquired.abandoned {
        words.increment_alone(ABANDONED);
        words[SECOND].store(count, Ordering::Relaxed);
    }
    assert_eq!(words.get(SECOND), count, "somebody else is in, or died in here unheard");
    words.increment_alone(FIRST);
    // The others get the time to fall asleep.
    for _ in 0..random.below(100) {
        std::hint::spin_loop();
    }
    assert_eq!(words.get(FIRST), count + 1, "somebody else is in");
    words.increment_alone(SECOND);
    words.increment_alone(DONE + index);
}

/// When everyone is dead, and the lock was acquired once more.
fn check(words: &Words, last: Acquired) {
    let (first, second) = (words.get(FIRST), words.get(SECOND));
    assert!(first == second || last.abandoned && first == second + 1);
    let done: u64 = (0..WORKERS).map(|index| words.get(DONE + index)).sum();
    let deaths = kills() + WORKERS as u64;
    assert!(done <= first && first - done <= deaths, "{done} of {first}");
    assert!(words.get(ABANDONED) > 0, "nobody was killed with the lock");
    assert!(words.get(ABANDONED) <= deaths);
}

#[test]
fn lock() {
    let lock = Lock::create(&memory(Lock::BYTES)).unwrap();
    let words = Words::new(DONE + WORKERS);
    let mut workers = Workers::start("lock", WORKERS, |index, got_on| {
        let (party, mut random) = (party(index), Random(words.get(FIRST)));
        loop {
            let acquired = lock.acquire(&party, Limit::Forever).unwrap();
            change(&words, index, acquired, &mut random);
            lock.release(&party).unwrap();
            got_on();
        }
    });
    let recover = |index| lock.recover(slot(index));
    workers.torture(recover);
    workers.end(recover);
    assert!(!lock.is_locked());
    check(&words, lock.acquire(&party(0), Limit::Poll).unwrap());
}

#[test]
fn recursive_lock() {
    let lock = RLock::create(&memory(RLock::BYTES)).unwrap();
    let words = Words::new(DONE + WORKERS);
    let mut workers = Workers::start("recursive lock", WORKERS, |index, got_on| {
        let (party, mut random) = (party(index), Random(words.get(FIRST)));
        loop {
            let acquired = lock.acquire(&party, Limit::Forever).unwrap();
            let depth = 1 + random.below(3) as u32;
            for _ in 1..depth {
                let again = lock.acquire(&party, Limit::Poll);
                assert_eq!(again, Ok(Acquired { abandoned: false }));
            }
            assert_eq!(lock.count(), depth);
            change(&words, index, acquired, &mut random);
            for _ in 0..depth {
                lock.release(&party).unwrap();
            }
            assert!(!lock.is_mine(&party));
            got_on();
        }
    });
    let recover = |index| lock.recover(slot(index));
    workers.torture(recover);
    workers.end(recover);
    assert_eq!((lock.owner(), lock.count()), (None, 0));
    check(&words, lock.acquire(&party(0), Limit::Poll).unwrap());
    assert_eq!(lock.count(), 1);
}
