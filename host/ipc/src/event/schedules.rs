//! The event in long schedules.

use std::cell::Cell;
use std::sync::Arc;

use super::{Event, Header};
use crate::model::shuttle::{FutexWord, Model, any_wait, live, party, slot, spawn, try_schedules};
use crate::party::WaitError;

const PULSES: u32 = 10;
const WAITS: u32 = 10;

#[test]
fn whoever_waits_is_let_through_by_setters_that_die() {
    try_schedules(3000, || {
        let event: Arc<Event<Model>> = Arc::new(Event::over(Arc::new(Header(FutexWord::default()))));
        let setters = [1, 2].map(|number| {
            spawn(&event, move |event| {
                let pulses = Cell::new(0);
                let work = || {
                    while pulses.get() < PULSES {
                        pulses.set(pulses.get() + 1);
                        event.set();
                        event.clear();
                    }
                };
                live(5, 12, work, || event.recover(slot(number)));
            })
        });
        let waiters = [3, 4, 5].map(|number| {
            spawn(&event, move |event| {
                let waits = Cell::new(0);
                let work = || {
                    while waits.get() < WAITS {
                        waits.set(waits.get() + 1);
                        assert_ne!(event.wait(&party(number), any_wait()), Err(WaitError::Broken));
                    }
                };
                live(2, 20, work, || event.recover(slot(number)));
            })
        });
        for setter in setters {
            setter.join().unwrap();
        }
        // For those who began to wait after the last pulse. It wakes nobody whom a pulse should have woken.
        event.set();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert!(event.is_set());
    });
}
