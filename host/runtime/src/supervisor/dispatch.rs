//! Who gets what: items go from the backlog to the workers that have room for them, and from a busy one to an idle one.

use std::time::{Duration, Instant};

use super::core::Core;
use super::customer::Customer;
use super::job::{ChunkRule, Pending, Sink};
use super::slot::Slot;

/// How long callers may go on collecting items for a block while a worker is idle.
const ASK_INTERVAL: Duration = Duration::from_micros(100);

impl Core {
    /// Gives every worker what it has room for.
    pub(super) fn dispatch(&mut self, now: Instant) {
        if !self.customer.as_ref().is_some_and(Customer::is_sated) {
            self.give_out(now);
        }
        // Also what goes on with a large item that was given out before.
        for slot in &mut self.slots {
            slot.publish();
        }
    }

    fn give_out(&mut self, now: Instant) {
        self.top_up();
        // Few items are spread thinly, many in handfuls.
        let share = self.waiting.div_ceil(self.size.max * 2).max(1);
        while let Some(pending) = self.backlog.front_mut() {
            let Some(job) = self.jobs.get(pending.job) else {
                self.waiting -= pending.len();
                self.backlog.pop_front();
                continue;
            };
            let (task, rule) = (job.terms.task, job.terms.chunk);
            let Some((at, slot)) = self
                .slots
                .iter_mut()
                .enumerate()
                .filter(|(_, slot)| slot.room() > 0)
                .min_by_key(|(_, slot)| slot.under_way)
            else {
                break;
            };
            let mut budget = slot.room().min(share);
            let mut broken = None;
            while budget > 0 && pending.len() > 0 {
                let count = match rule {
                    ChunkRule::Adaptive => slot.pace.chunk().min(budget),
                    ChunkRule::Exact(items) => items as usize,
                }
                .min(pending.len())
                .min(slot.tasks_left());
                let before = pending.len();
                let dispatched = slot.dispatch(pending, task, count, now);
                // Also when it failed: the items may be with the worker by then, and come back when it is buried.
                self.waiting -= before - pending.len();
                match dispatched {
                    Ok(true) => budget = budget.saturating_sub(count),
                    // Its ring is full: the next one, then.
                    Ok(false) => break,
                    Err(violation) => {
                        broken = Some(violation);
                        break;
                    }
                }
            }
            if pending.len() == 0 {
                self.backlog.pop_front();
            }
            if let Some(violation) = broken {
                self.punish(at, violation);
            }
        }
        if self.waiting == 0 {
            while self.rebalance(now) {}
        }
        let starving = self.waiting == 0 && self.slots.iter().any(Slot::is_idle) && self.has_sated_feed();
        self.ask_at = starving.then(|| now + ASK_INTERVAL);
    }

    /// Whether callers may be collecting items for a block, and not know that a worker is idle.
    fn has_sated_feed(&mut self) -> bool {
        self.fed.iter().any(|key| {
            let feed = self.jobs.get(*key).and_then(|job| job.feed.as_ref());
            feed.is_some_and(|feed| !feed.is_hungry())
        })
    }

    /// When the backlog runs low, takes what callers have collected but not yet submitted.
    fn top_up(&mut self) {
        if self.waiting > 0 {
            return;
        }
        for key in self.fed.clone() {
            let Some(feed) = self.jobs.get(key).and_then(|job| job.feed.clone()) else {
                continue;
            };
            if let Some(block) = feed.take() {
                self.submit(key, block);
            }
        }
    }

    /// Gives an idle worker what a busy one has not begun: without this, items would wait behind a slow neighbour.
    /// Returns whether it did.
    fn rebalance(&mut self, now: Instant) -> bool {
        let Some(idle) = self
            .slots
            .iter()
            .position(|slot| slot.is_idle() && slot.ready && slot.room() > 0)
        else {
            return false;
        };
        // One that is not up yet may be long in coming, and can spare even its first call.
        let spare = |slot: &Slot| slot.flights.len().saturating_sub(usize::from(slot.ready));
        let busiest = self.slots.iter().enumerate().max_by_key(|(_, slot)| spare(slot));
        let Some((from, _)) = busiest.filter(|(_, slot)| spare(slot) > 0) else {
            return false;
        };
        let Some(mut pending) = self.slots[from].revoke_last() else {
            return false;
        };
        let Some(job) = self.jobs.get(pending.job) else {
            return false;
        };
        let (task, count) = (job.terms.task, pending.len().min(self.slots[idle].tasks_left()));
        match self.slots[idle].dispatch(&mut pending, task, count, now) {
            Ok(true) => {
                self.put_back(pending);
                true
            }
            Ok(false) => {
                self.put_back(pending);
                false
            }
            Err(violation) => {
                self.put_back(pending);
                self.punish(idle, violation);
                false
            }
        }
    }

    /// Items that come back from a worker are the next to be given out.
    pub(super) fn put_back(&mut self, pending: Pending) {
        let items = pending.len();
        let Some(job) = self.jobs.get(pending.job).filter(|_| items > 0) else {
            return;
        };
        if let Sink::Nobody = job.sink {
            job.outstanding -= items as u64;
            self.touched.push(pending.job);
        } else {
            self.waiting += items;
            self.backlog.push_front(pending);
        }
    }
}
