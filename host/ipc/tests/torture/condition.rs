//! The condition: tokens that producers make and consumers take, under a lock.

use wasmp_ipc::{Condition, Limit, Lock};

use crate::common::{Random, Words};
use crate::workers::{Workers, memory, party, slot};

const WORKERS: usize = 4;
const PRODUCERS: usize = 2;
/// Producers wait when there are so many.
const MOST: u64 = 2;

/// How many tokens have been made, and how many of them taken.
const MADE: usize = 0;
const TAKEN: usize = 1;

#[test]
fn condition() {
    let lock = Lock::create(&memory(Lock::BYTES)).unwrap();
    let [not_empty, not_full] = [(); 2].map(|()| Condition::create(&memory(Condition::BYTES)).unwrap());
    let words = Words::new(2);
    let mut workers = Workers::start("condition", WORKERS, |index, got_on| {
        let (party, mut random) = (party(index), Random(index as u64));
        let (mine, theirs, counter) = match index < PRODUCERS {
            true => (&not_full, &not_empty, MADE),
            false => (&not_empty, &not_full, TAKEN),
        };
        let possible = || match (counter, words.get(MADE) - words.get(TAKEN)) {
            (MADE, tokens) => tokens < MOST,
            (_, tokens) => tokens > 0,
        };
        loop {
            let mut abandoned = lock.acquire(&party, Limit::Forever).unwrap().abandoned;
            loop {
                if abandoned {
                    // The dead one may have counted, and not notified.
                    for condition in [mine, theirs] {
                        condition.notify(&party, &lock, usize::MAX).unwrap();
                    }
                }
                if possible() {
                    break;
                }
                let waited = mine.wait(&party, &lock, Limit::Forever).unwrap();
                assert!(waited.notified);
                abandoned = waited.abandoned;
            }
            words.increment_alone(counter);
            let count = if random.below(4) == 0 { usize::MAX } else { 1 };
            theirs.notify(&party, &lock, count).unwrap();
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
