//! The condition: tokens that producers make and consumers take, under a lock.

use std::sync::atomic::Ordering;

use wasmp_ipc::{Condition, Limit, Lock};

use crate::common::{Random, Words};
use crate::workers::{Workers, memory, party, slot};

const WORKERS: usize = 4;
const PRODUCERS: usize = 2;
/// Producers wait when there are so many.
const MOST: u64 = 2;

/// Words: how many tokens there are; made; taken.
const TOKENS: usize = 0;
const MADE: usize = 1;
const TAKEN: usize = 2;

#[test]
fn condition() {
    let lock = Lock::create(&memory(Lock::BYTES)).unwrap();
    let [not_empty, not_full] = [(); 2].map(|()| Condition::create(&memory(Condition::BYTES)).unwrap());
    let words = Words::new(3);
    let mut workers = Workers::start("condition", WORKERS, |index, got_on| {
        let (party, mut random) = (party(index), Random(index as u64));
        let produces = index < PRODUCERS;
        loop {
            lock.acquire(&party, Limit::Forever).unwrap();
            // A dead one may have left it like this.
            words[TOKENS].store(words.get(MADE) - words.get(TAKEN), Ordering::Relaxed);
            let waited = match produces {
                true => not_full.wait_for(&party, &lock, Limit::Forever, || words.get(TOKENS) < MOST),
                false => not_empty.wait_for(&party, &lock, Limit::Forever, || words.get(TOKENS) > 0),
            };
            assert!(waited.unwrap().notified);
            words.increment_alone(if produces { MADE } else { TAKEN });
            words.set(TOKENS, words.get(MADE) - words.get(TAKEN));
            let count = if random.below(4) == 0 { usize::MAX } else { 1 };
            let condition = if produces { &not_empty } else { &not_full };
            condition.notify(&party, &lock, count).unwrap();
            lock.release(&party).unwrap();
            got_on();
        }
    });
    let recover = |index| {
        for condition in [&not_empty, &not_full] {
            condition.recover(slot(index));
        }
        lock.recover(slot(index));
    };
    workers.torture(recover);
    workers.end(recover);
    assert!(words.get(TAKEN) <= words.get(MADE) && words.get(MADE) - words.get(TAKEN) <= MOST);
}
