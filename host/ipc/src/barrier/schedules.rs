//! The barrier in long schedules.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::model::barrier;
use super::{Barrier, BarrierError, BarrierPass};
use crate::model::shuttle::{Model, any, any_wait, live, party, slot, spawn, try_schedules};
use crate::party::Limit;

const PARTIES: usize = 3;
const TRIPS: u32 = 10;
/// Of a party that others keep from passing.
const TRIES: u32 = 60;

/// One trip: the place of this party.
fn pass(barrier: &Barrier<Model>, number: usize, action: bool, limit: Limit) -> Result<usize, BarrierError> {
    match barrier.wait(&party(number), action, limit)? {
        BarrierPass::Passed(place) => Ok(place),
        BarrierPass::Act => {
            barrier.acted(&party(number))?;
            Ok(barrier.parties() - 1)
        }
    }
}

#[test]
fn nobody_waits_for_the_dead_and_every_place_is_taken_once() {
    try_schedules(1500, || {
        let barrier = barrier(PARTIES);
        // How often somebody had this place.
        let passes = Arc::new([const { AtomicU32::new(0) }; PARTIES]);
        let over = Arc::new(AtomicU32::new(0));
        let action = any(2) == 0;
        let parties = [1, 2, 3].map(|number| {
            let (passes, over) = (Arc::clone(&passes), Arc::clone(&over));
            spawn(&barrier, move |barrier: &Barrier<Model>| {
                let (trips, tries) = (Cell::new(0), Cell::new(0));
                let work = || {
                    while trips.get() < TRIPS && tries.get() < TRIES && over.load(Relaxed) == 0 {
                        tries.set(tries.get() + 1);
                        let limit = if any(8) == 0 { any_wait() } else { Limit::Forever };
                        match pass(barrier, number, action, limit) {
                            Ok(place) => {
                                trips.set(trips.get() + 1);
                                passes[place].fetch_add(1, Relaxed);
                            }
                            Err(BarrierError::Corrupt) => panic!("honest parties only"),
                            // For all of them, or some would wait for those who have gone.
                            Err(_) if over.load(Relaxed) != 0 => {}
                            Err(_) if barrier.is_broken() => barrier.reset().expect("honest parties only"),
                            Err(_) => {}
                        }
                    }
                };
                let deaths = live(2, 60, work, || barrier.recover(slot(number)));
                over.store(1, Relaxed);
                barrier.abort().expect("honest parties only");
                deaths as u32
            })
        });
        let deaths: u32 = parties.into_iter().map(|party| party.join().unwrap()).sum();
        // Everyone who passes has a place of its own. Who died may have passed.
        let passes = passes.each_ref().map(|passes| passes.load(Relaxed));
        let (fewest, most) = (passes.iter().min().unwrap(), passes.iter().max().unwrap());
        assert!(most - fewest <= deaths, "{passes:?}, {deaths} deaths");
    });
}
