//! The event: round by round one worker sets it and the others wait for it. Nobody is left behind.

use std::thread;

use wasmp_ipc::{Event, Limit};

use crate::common::Words;
use crate::workers::{Workers, memory, party, slot};

const WORKERS: usize = 3;

/// Which round it is; the setter of the round begins the next one when everybody is through.
const ROUND: usize = 0;
/// From here on, the last round that each worker is through.
const THROUGH: usize = 1;

#[test]
fn event() {
    // One for even rounds and one for odd ones, so that nobody clears what another still waits for.
    let events = [(); 2].map(|()| Event::create(&memory(Event::BYTES)).unwrap());
    let words = Words::new(THROUGH + WORKERS);
    words.set(ROUND, 1);
    let mut workers = Workers::start("event", WORKERS, |index, got_on| {
        let party = party(index);
        loop {
            let round = words.get(ROUND);
            let event = &events[round as usize % 2];
            let sets = round as usize % WORKERS == index;
            if sets {
                event.set();
            } else if words.get(THROUGH + index) != round {
                event.wait(&party, Limit::Forever).unwrap();
            }
            words.set(THROUGH + index, round);
            got_on();
            if sets {
                while (0..WORKERS).any(|other| words.get(THROUGH + other) != round) {
                    thread::yield_now();
                }
                event.clear();
                words.set(ROUND, round + 1);
            }
            while words.get(ROUND) == round {
                thread::yield_now();
            }
        }
    });
    let recover = |index| events.iter().for_each(|event| event.recover(slot(index)));
    workers.torture(recover);
    workers.end(recover);
}
