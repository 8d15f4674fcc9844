//! What is done because of the time alone: deadlines of items, and of workers that do not come on.

use std::time::{Duration, Instant};

use super::core::Core;
use super::job::Jobs;
use super::slot::{Cause, Flight, Slot};
use super::solo::Solo;

/// How long a worker may leave an order untouched, to run a call or to stop. An honest one obeys at once; one whose guest
/// goes on after its last outcome never would.
const OBEY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an item may go on that was told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is told. The first time may be too early: the worker counts from when it has really begun.
const WARN_INTERVAL: Duration = Duration::from_millis(20);

impl Core {
    /// When something will have to be done without anybody ringing.
    pub(super) fn next_timer(&mut self) -> Option<Instant> {
        let size = self.next_change_of_size();
        let (jobs, patience) = (&mut self.jobs, self.patience);
        let slots = self
            .slots
            .iter()
            .filter_map(|slot| ultimatum(slot, jobs, patience).map(|(at, _)| at));
        let mourned = self.mourned.iter().map(|mourned| mourned.until);
        let delayed = self.delayed.last().map(|(due, _)| *due);
        let solo = self.solo.as_ref().and_then(Solo::timer);
        slots
            .chain(mourned)
            .chain(self.ask_at)
            .chain(delayed)
            .chain(size)
            .chain(solo)
            .min()
    }

    /// Kills the workers whose item has used up its time.
    pub(super) fn enforce_deadlines(&mut self, now: Instant) {
        for at in 0..self.slots.len() {
            let overdue = |core: &mut Self| {
                let (deadline, verdict) = ultimatum(&core.slots[at], &mut core.jobs, core.patience)?;
                (deadline <= now).then_some(verdict)
            };
            if overdue(self).is_none() {
                continue;
            }
            // A reply may have come in the meantime.
            self.collect(at, now);
            match overdue(self) {
                Some(Ultimatum::Kill(cause)) => {
                    if let Cause::Timeout { limit, .. } = cause {
                        self.tell_overdue(at, limit);
                    }
                    self.kill(at, cause);
                }
                Some(Ultimatum::Warn) => {
                    let slot = &self.slots[at];
                    let told = slot.warned.map(|(seq, _)| seq) == slot.flights.front().map(Flight::next_seq);
                    if let (false, Some(limit)) = (told, slot.soft_timeout()) {
                        self.tell_overdue(at, limit);
                    }
                    self.slots[at].warn(now);
                }
                // What has not begun until now has run for no time at all.
                Some(Ultimatum::Look) => self.slots[at].head_since = now,
                None => {}
            }
        }
    }
}

/// What is to be done with a worker that has not come on by some time.
enum Ultimatum {
    /// See whether it has begun by now.
    Look,
    /// Tell it that the item has had its time.
    Warn,
    Kill(Cause),
}

/// When to look whether this worker has come on with what it has, and what it is killed for if not.
fn ultimatum(slot: &Slot, jobs: &mut Jobs, to_prepare: Option<Duration>) -> Option<(Instant, Ultimatum)> {
    if !slot.ready {
        let limit = to_prepare.filter(|_| slot.pid() != 0 && slot.cause.is_none())?;
        return Some((
            slot.ordered_at.checked_add(limit)?,
            Ultimatum::Kill(Cause::Unprepared { limit }),
        ));
    }
    // While nobody takes its output, it waits for us.
    let patience = slot.is_heard().then(|| slot.silent_since + OBEY_TIMEOUT);
    match (&slot.cause, slot.flights.front()) {
        (None, Some(flight)) => {
            let limit = jobs.get(flight.job)?.timeout();
            let hard = limit.and_then(|limit| slot.head_since.checked_add(limit));
            let soft = slot.soft_timeout().and_then(|soft| slot.head_since.checked_add(soft));
            if !slot.head_has_begun() {
                let obedience = patience.map(|at| (at, Ultimatum::Kill(Cause::Disobedient)));
                let again = hard.into_iter().chain(soft).map(|at| (at, Ultimatum::Look));
                return obedience.into_iter().chain(again).min_by_key(|(at, _)| *at);
            }
            let seq = flight.next_seq();
            let kill = |at, limit| (at, Ultimatum::Kill(Cause::Timeout { limit, seq }));
            let hard = hard.zip(limit).map(|(at, limit)| kill(at, limit));
            let stop = soft.zip(slot.soft_timeout()).map(|(at, limit)| match slot.warned {
                Some((warned, last)) if warned == seq => {
                    let last_word = at.checked_add(STOP_TIMEOUT).unwrap_or(at);
                    let next = last + WARN_INTERVAL;
                    if next < last_word {
                        (next, Ultimatum::Warn)
                    } else {
                        kill(last_word, limit)
                    }
                }
                _ => (at, Ultimatum::Warn),
            });
            hard.into_iter().chain(stop).min_by_key(|(at, _)| *at)
        }
        (Some(Cause::Stopped), _) => Some((patience?, Ultimatum::Kill(Cause::Dismissed))),
        _ => None,
    }
}
