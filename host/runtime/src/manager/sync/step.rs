//! One step of an object: whose request it is, and what comes of it for others.

use std::time::{Duration, Instant};

use wasmp_manager::protocol::{FOREVER, Id, Status, Writer};

use super::{Given, Grant, Waiter, Waiters, Want};
use crate::manager::store::{Budget, Caller, Late, Served};

/// Everything beside the object itself that a step can change.
pub(in crate::manager) struct Step<'s> {
    pub(in crate::manager) object: Id,
    /// Whose request it is, and which; for what follows from somebody's absence, theirs.
    pub(in crate::manager) caller: Caller,
    pub(in crate::manager) sequence: u32,
    pub(in crate::manager) waiters: &'s mut Waiters,
    pub(in crate::manager) budget: &'s mut Budget,
    pub(in crate::manager) late: &'s mut Vec<Late>,
    pub(in crate::manager) now: &'s dyn Fn() -> Instant,
}

impl Step<'_> {
    /// The request waits, at most so many nanoseconds.
    pub(super) fn wait(&mut self, want: Want, time: u64) -> Result<Served, Status> {
        if time == 0 {
            return Err(Status::TimedOut);
        }
        self.wait_even_so(want, time)
    }

    /// The same, where no time is as good as some: what is done when the time is up is done next.
    pub(super) fn wait_even_so(&mut self, want: Want, time: u64) -> Result<Served, Status> {
        let until = (time != FOREVER).then(|| (self.now)().checked_add(Duration::from_nanos(time)));
        let waiter = Waiter {
            caller: self.caller,
            sequence: self.sequence,
            object: self.object,
            want,
            until: until.flatten(),
        };
        self.budget.exchange(0, waiter.bytes())?;
        self.waiters.waiting.push(waiter);
        Ok(Served::Silent)
    }

    /// Somebody who has waited for one thing now waits for another, behind all others: no more room is needed for that.
    pub(super) fn stand(&mut self, caller: Caller, sequence: u32, want: Want) {
        let waiter = Waiter {
            caller,
            sequence,
            object: self.object,
            want,
            until: None,
        };
        // They have left their place just now.
        let _ = self.budget.exchange(0, waiter.bytes());
        self.waiters.waiting.push(waiter);
    }

    /// How many wait for this.
    pub(super) fn count(&self, wanted: impl Fn(&Want) -> bool) -> u32 {
        let waiting = self.waiters.waiting.iter();
        waiting
            .filter(|waiter| waiter.object == self.object && wanted(&waiter.want))
            .count() as u32
    }

    /// Who has waited for this longest, taken out.
    pub(super) fn first(&mut self, wanted: impl Fn(&Want) -> bool) -> Option<(Caller, u32, Want)> {
        let is_it = |waiter: &Waiter| waiter.object == self.object && wanted(&waiter.want);
        let at = self.waiters.waiting.iter().position(is_it)?;
        let waiter = self.waiters.waiting.remove(at);
        self.budget.give_back(waiter.bytes());
        Some((waiter.caller, waiter.sequence, waiter.want))
    }

    /// Answers who has waited for this longest; `write` writes the fields. False: nobody has.
    pub(super) fn answer_first(&mut self, wanted: impl Fn(&Want) -> bool, write: impl FnOnce(&mut Writer<'_>)) -> bool {
        let Some((caller, sequence, _)) = self.first(wanted) else {
            return false;
        };
        self.answer(caller, sequence, write);
        true
    }

    /// Answers somebody who has waited.
    pub(super) fn answer(&mut self, caller: Caller, sequence: u32, write: impl FnOnce(&mut Writer<'_>)) {
        let mut fields = Vec::new();
        write(&mut Writer(&mut fields));
        self.late.push(Late::answer(caller.connection, sequence, fields));
    }

    pub(super) fn refuse(&mut self, caller: Caller, sequence: u32, status: Status) {
        self.late.push(Late::refusal(caller.connection, sequence, status));
    }

    /// Remembers what the answer to this request gives.
    pub(super) fn grant(&mut self, caller: Caller, sequence: u32, given: Given) {
        let grant = Grant {
            sequence,
            object: self.object,
            given,
        };
        // An item takes the room that it had in its queue.
        if self.budget.exchange(0, grant.bytes()).is_ok()
            && let Some(before) = self.waiters.grants.insert(caller.connection, grant)
        {
            self.budget.give_back(before.bytes());
        }
    }
}
