//! The barrier: nobody passes before everyone has come; after a death it is broken, and somebody resets it.

use wasmp_ipc::{Barrier, BarrierError, BarrierPass, Limit};

use crate::common::Words;
use crate::workers::{Workers, memory, party, slot};

const WORKERS: usize = 3;

/// One word a worker: how often it has come, and whether it is there: twice the one plus the other.
fn is_there(word: u64) -> bool {
    word % 2 == 1
}

#[test]
fn barrier() {
    let barrier = Barrier::create(&memory(Barrier::bytes(WORKERS)), WORKERS).unwrap();
    let comings = Words::new(WORKERS);
    let passed = Words::new(1);
    let mut workers = Workers::start("barrier", WORKERS, |index, got_on| {
        let party = party(index);
        let mut trips = 0u64;
        loop {
            comings.set(index, comings.get(index) + 1);
            let before: Vec<u64> = (0..WORKERS).map(|other| comings.get(other)).collect();
            trips += 1;
            let pass = barrier.wait(&party, trips % 2 == 0, Limit::Forever);
            if pass.is_ok() {
                passed[0].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                for (other, before) in before.into_iter().enumerate() {
                    assert!(is_there(before) || comings.get(other) > before, "passed without {other}");
                }
            }
            comings.set(index, comings.get(index) + 1);
            match pass {
                Ok(BarrierPass::Act) => drop(barrier.acted(&party)),
                Ok(BarrierPass::Passed(_)) => {}
                Err(BarrierError::Broken) => barrier.reset().unwrap(),
                Err(why) => panic!("{why:?}"),
            }
            got_on();
        }
    });
    let recover = |index| {
        if is_there(comings.get(index)) {
            comings.set(index, comings.get(index) + 1);
        }
        barrier.recover(slot(index));
    };
    workers.torture(recover);
    workers.end(recover);
    assert!(passed.get(0) > 0);
    assert_eq!(barrier.reset(), Ok(()));
    assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
}
