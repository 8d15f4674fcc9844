//! The semaphore: never more inside than there are permits, and in the end all permits are back.

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

fn torture(name: &str, semaphore: &Semaphore) {
    // How many permits each worker uses just now.
    let inside = Words::new(WORKERS);
    let mut workers = Workers::start(name, WORKERS, |index, got_on| {
        let (party, mut random) = (party(index), Random(index as u64));
        loop {
            let permits = 1 + random.below(u64::from(PERMITS)) as u32;
            let mut held = 0;
            // Two workers with one permit each would wait for each other.
            while held < permits && (held == 0 || semaphore.acquire_held(&party, Limit::Poll).is_ok()) {
                if held == 0 {
                    semaphore.acquire_held(&party, Limit::Forever).unwrap();
                }
                held += 1;
                inside.set(index, u64::from(held));
            }
            let used: u64 = (0..WORKERS).map(|index| inside.get(index)).sum();
            assert!(used <= u64::from(PERMITS), "{used} inside");
            inside.set(index, 0);
            semaphore.release_held(&party, held).unwrap();
            got_on();
        }
    });
    let recover = |index| {
        inside.set(index, 0);
        semaphore.recover(slot(index));
    };
    workers.torture(recover);
    workers.end(recover);
    assert_eq!(semaphore.value(), PERMITS);
}
