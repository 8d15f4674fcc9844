//! How many workers there are: which are started, and which are told to stop.

use std::time::{Duration, Instant};

use super::core::{Core, State};
use super::slot::{Cause, Slot};
use crate::insight::Log;

/// How many workers a pool wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// So many are there even if there is nothing to do.
    pub(crate) min: usize,
    /// So many at most. Without [`idle`](Self::idle), this many.
    pub(crate) max: usize,
    /// Those beyond `min` stop when they have had nothing to do for so long.
    pub(crate) idle: Option<Duration>,
}

impl Core {
    /// Wants so many workers from now on. Those that are too many finish what they run.
    pub(crate) fn resize(&mut self, max: usize) {
        self.size.max = max;
        let now = Instant::now();
        while self.slots.len() < max {
            let number = self.family.next_number();
            let mut slot = Slot::new(number, self.limits, now);
            slot.log = Log::new(number, &self.insight);
            self.slots.push(slot);
        }
        for at in 0..self.slots.len() {
            self.slots[at].surplus = at >= max;
            while at >= max
                && let Some(pending) = self.slots[at].revoke_last()
            {
                self.put_back(pending);
            }
        }
    }

    /// Starts workers where there are none and it is time.
    pub(super) fn raise_absent(&mut self, now: Instant) {
        for at in 0..self.size.max {
            let due = self.slots[at].vacant_since().is_some_and(|retry_at| retry_at <= now);
            // Asked each time: a worker that cannot be started may be one too many, and the end of the pool.
            if due && self.shortage() > 0 {
                self.raise(at, now);
            }
        }
    }

    /// How many workers are missing.
    fn shortage(&self) -> usize {
        let needed = match self.state {
            _ if self.solo.as_ref().is_some_and(|solo| !solo.is_due()) => false,
            _ if self.customer.as_ref().is_some_and(|customer| !customer.has_started()) => false,
            State::Running => true,
            State::Closing => !self.jobs.is_empty(),
            State::Over(_) => false,
        };
        if !needed {
            return 0;
        }
        let Size { min, max, idle } = self.size;
        let present = self.slots[..max].iter().filter(|slot| slot.vacant_since().is_none());
        let (mut there, mut free) = (0, 0);
        for slot in present {
            there += 1;
            free += usize::from(slot.is_idle() && slot.cause.is_none());
        }
        let wanted = match idle {
            None => max,
            Some(_) => (there + self.waiting.saturating_sub(free)).clamp(min.min(max), max),
        };
        wanted.saturating_sub(there)
    }

    /// When a worker is to be started, or may have had nothing to do for long enough.
    pub(super) fn next_change_of_size(&self) -> Option<Instant> {
        let short = self.shortage() > 0;
        let starts = self.slots[..self.size.max]
            .iter()
            .filter_map(|slot| slot.vacant_since().filter(|_| short));
        let idle = self.size.idle.filter(|_| self.spare() > 0);
        let stops = self.slots.iter().filter_map(|slot| {
            let since = slot.is_free().then_some(slot.silent_since)?;
            since.checked_add(idle?)
        });
        starts.chain(stops).min()
    }

    /// How many there are beyond those that stay without work.
    fn spare(&self) -> usize {
        let there = self
            .slots
            .iter()
            .filter(|slot| slot.is_present() && slot.cause.is_none());
        there.count().saturating_sub(self.size.min)
    }

    /// Tells those workers to stop that nothing will be asked of any more: when a closed pool has done its work, when they
    /// are too many, or idle for too long, or have had as many tasks as they may.
    pub(super) fn stop_unneeded(&mut self, now: Instant) {
        let closed = matches!(self.state, State::Closing) && self.jobs.is_empty();
        let idle = |slot: &Slot, limit| slot.is_free() && now.saturating_duration_since(slot.silent_since) >= limit;
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            if slot.cause.is_some() || slot.link.is_none() {
                continue;
            }
            let spent = slot.is_idle() && (slot.surplus || slot.tasks_left() == 0);
            let needless = self
                .size
                .idle
                .is_some_and(|limit| idle(slot, limit) && self.spare() > 0);
            if !(closed || spent || needless) {
                continue;
            }
            let slot = &mut self.slots[at];
            match slot.send_stop() {
                Ok(true) => {
                    slot.cause = Some(Cause::Stopped);
                    slot.expect(now);
                    slot.publish();
                }
                Ok(false) => {}
                Err(violation) => self.punish(at, violation),
            }
        }
    }
}
