//! The lock in long schedules.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{Lock, LockWord};
use crate::backend::Word;
use crate::model::shuttle::{FutexWord, Model, PlainWord, any_limit, live, party, slot, spawn, try_schedules};
use crate::party::Limit;

const WORKERS: usize = 4;
const VISITS: u32 = 12;

struct World {
    lock: Lock<Model>,
    /// Who is inside, by number.
    visitor: PlainWord,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            lock: Lock::over(Arc::new(LockWord(FutexWord::default()))),
            visitor: PlainWord::default(),
        })
    }

    /// Is inside for a moment, if that was possible within the limit; whether the one before died there.
    fn visit(&self, number: usize, limit: Limit) -> Option<bool> {
        let acquired = self.lock.acquire(&party(number), limit).ok()?;
        assert!(self.visitor.load(Relaxed) == 0 || acquired.abandoned);
        self.visitor.store(number as u64, Relaxed);
        assert_eq!(self.lock.owner(), Some(slot(number)));
        assert_eq!(self.visitor.load(Relaxed), number as u64);
        self.visitor.store(0, Relaxed);
        self.lock.release(&party(number)).expect("it is locked");
        Some(acquired.abandoned)
    }
}

#[test]
fn one_at_a_time_whoever_dies_and_nobody_sleeps_on() {
    try_schedules(1000, || {
        let world = World::new();
        let workers = (1..=WORKERS).map(|number| {
            spawn(&world, move |world| {
                let visits = std::cell::Cell::new(0);
                let told = std::cell::Cell::new(0);
                let work = || {
                    while visits.get() < VISITS {
                        visits.set(visits.get() + 1);
                        let abandoned = world.visit(number, any_limit());
                        told.set(told.get() + usize::from(abandoned == Some(true)));
                    }
                };
                let deaths = live(3, 60, work, || world.lock.recover(slot(number)));
                (deaths, told.get())
            })
        });
        let ends: Vec<(usize, usize)> = workers
            .collect::<Vec<_>>()
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect();
        let (deaths, told) = ends.iter().fold((0, 0), |sums, end| (sums.0 + end.0, sums.1 + end.1));
        assert!(told <= deaths);
        assert!(!world.lock.is_locked());
        world.visit(1, Limit::Poll).expect("it is free");
    });
}
