//! The recursive lock in long schedules.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use super::RLock;
use super::model::lock;
use crate::backend::Word;
use crate::model::shuttle::{Model, PlainWord, any, any_limit, live, party, slot, spawn, try_schedules};
use crate::party::{Limit, Party};

const VISITS: u32 = 8;

struct World {
    lock: std::sync::Arc<RLock<Model>>,
    /// Who is inside, by number.
    visitor: PlainWord,
}

impl World {
    /// Is inside for a moment, up to three levels deep.
    fn visit(&self, number: u64, party: &Party<Model>, limit: Limit) -> Option<()> {
        assert!(!self.lock.is_mine(party));
        let acquired = self.lock.acquire(party, limit).ok()?;
        assert!(self.visitor.load(Relaxed) == 0 || acquired.abandoned);
        self.visitor.store(number, Relaxed);
        let levels = any(3);
        for _ in 0..levels {
            self.lock.acquire(party, Limit::Poll).expect("it is mine");
        }
        assert_eq!(self.lock.count(), levels as u32 + 1);
        for _ in 0..levels {
            self.lock.release(party).expect("it is mine");
        }
        assert_eq!(self.visitor.load(Relaxed), number);
        self.visitor.store(0, Relaxed);
        self.lock.release(party).expect("it is mine");
        Some(())
    }
}

#[test]
fn workers_that_die_and_threads_of_the_host_own_it_one_after_the_other() {
    try_schedules(800, || {
        let world = std::sync::Arc::new(World {
            lock: lock(),
            visitor: PlainWord::default(),
        });
        let workers = [1, 2, 3].map(|number| {
            spawn(&world, move |world| {
                let visits = Cell::new(0);
                let work = || {
                    while visits.get() < VISITS {
                        visits.set(visits.get() + 1);
                        world.visit(number as u64, &party(number), any_limit());
                    }
                };
                live(3, 80, work, || world.lock.recover(slot(number)));
            })
        });
        let threads = [1, 2].map(|thread| {
            spawn(&world, move |world| {
                for _ in 0..VISITS {
                    world.visit(10 + u64::from(thread), &Party::thread_of_host(thread), any_limit());
                }
            })
        });
        for thread in workers.into_iter().chain(threads) {
            thread.join().unwrap();
        }
        assert_eq!(world.lock.count(), 0);
        world.visit(4, &party(4), Limit::Poll).expect("it is free");
    });
}
