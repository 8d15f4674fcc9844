//! The barrier: nobody passes before everyone has come; after a death it is broken, and somebody resets it.

use wasmp_ipc::{Barrier, BarrierError, BarrierPass, Limit};

use crate::common::Words;
use crate::workers::{Workers, memory, party, slot};

const WORKERS: usize = 3;

/// By a worker's word, which it counts up when it comes and when it goes.
fn is_there(word: u64) -> bool {
    word % 2 == 1
}

#[test]
fn barrier() {
    let barrier = Barrier::create(&memory(Barrier::bytes(WORKERS)), WORKERS).unwrap();
    let comings = Words::new(WORKERS);
    let mut workers = Workers::start("barrier", WORKERS, |index, got_on| {
        let party = party(index);
        let mut acts = false;
        loop {
            comings.set(index, comings.get(index) + 1);
            let before: Vec<u64> = (0..WORKERS).map(|other| comings.get(other)).collect();
            acts = !acts;
            let pass = barrier.wait(&party, acts, Limit::Forever);
            if pass.is_ok() {
                for (other, before) in before.into_iter().enumerate() {
                    assert!(
                        is_there(before) || comings.get(other) > before,
                        "passed without {other}"
                    );
                }
            }
            comings.set(index, comings.get(index) + 1);
            match pass {
                // Broken by a death meanwhile, or not.
                Ok(BarrierPass::Act) => barrier.acted(&party).unwrap_or_default(),
                Ok(BarrierPass::Passed(_)) => {}
                Err(BarrierError::Broken) if barrier.is_broken() => barrier.reset().unwrap(),
                // Somebody else has reset it.
                Err(BarrierError::Broken) => {}
                Err(why) => panic!("{why:?}"),
            }
            if pass.is_ok() {
                got_on();
            }
        }
    });
    let recover = |index| {
        barrier.recover(slot(index));
        comings.set(index, comings.get(index).next_multiple_of(2));
    };
    workers.torture(recover);
    workers.end(recover);
    assert_eq!(barrier.reset(), Ok(()));
    assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
}
