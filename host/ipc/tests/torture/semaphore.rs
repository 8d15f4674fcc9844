//! The semaphore: never more inside than there are permits, and in the end all permits are back.

use std::sync::atomic::Ordering;

use wasmp_ipc::{Limit, Semaphore};

use crate::common::{Random, Words};
use crate::workers::{Workers, memory, party, slot};

const WORKERS: usize = 4;
const PERMITS: u32 = 2;

#[test]
fn semaphore() {
    let semaphore = Semaphore::create(&memory(Semaphore::BYTES), PERMITS, None).unwrap();
    torture("semaphore", &semaphore);
}

#[test]
fn bounded_semaphore() {
    let semaphore = Semaphore::create(&memory(Semaphore::BYTES), PERMITS, Some(PERMITS)).unwrap();
    torture("bounded semaphore", &semaphore);
}

/// How many permits a worker uses, in a word that has eight bits for each.
fn used_by(index: usize, permits: u64) -> u64 {
    permits << (8 * index)
}

fn torture(name: &str, semaphore: &Semaphore) {
    let used = Words::new(1);
    let mut workers = Workers::start(name, WORKERS, |index, got_on| {
        let (party, mut random) = (party(index), Random(index as u64));
        loop {
            semaphore.acquire_held(&party, Limit::Forever).unwrap();
            let mut held = 1;
            if random.below(2) == 0 && semaphore.acquire_held(&party, Limit::Poll).is_ok() {
                held = 2;
            }
            let mine = used_by(index, held);
            let all = used[0].fetch_add(mine, Ordering::Relaxed) + mine;
            let sum: u64 = all.to_ne_bytes().into_iter().map(u64::from).sum();
            assert!(sum <= u64::from(PERMITS), "{sum} permits are used");
            used[0].fetch_sub(mine, Ordering::Relaxed);
            semaphore.release_held(&party, held as u32).unwrap();
            got_on();
        }
    });
    let recover = |index| {
        used[0].fetch_and(!used_by(index, 0xff), Ordering::Relaxed);
        semaphore.recover(slot(index));
    };
    workers.torture(recover);
    workers.end(recover);
    assert_eq!(semaphore.value(), PERMITS);
}
