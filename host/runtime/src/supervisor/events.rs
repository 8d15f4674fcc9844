//! What an operator is told: events of `tracing`, at births, deaths and ends alone. None is on the way of an item.

use std::time::Duration;

use super::core::Core;
use super::slot::Cause;
use crate::outcome::End;

impl Core {
    /// A worker runs.
    pub(super) fn tell_start(&self, at: usize) {
        let slot = &self.slots[at];
        let name = slot.writer.as_ref().map(|writer| writer.name.as_str());
        tracing::debug!(
            pool = self.pool,
            worker = slot.number,
            pid = slot.pid(),
            process = name,
            "a worker has started"
        );
    }

    /// A worker has ended, for this reason. One that nobody had told to, and that had not said so, has died.
    pub(super) fn tell_end(&self, at: usize, cause: Option<&Cause>, reason: &str) {
        let slot = &self.slots[at];
        let (pool, worker, pid) = (self.pool, slot.number, slot.pid());
        let told = match cause {
            Some(Cause::Timeout { .. } | Cause::Stopped | Cause::Dismissed) => true,
            Some(Cause::Disobedient | Cause::Violation(_) | Cause::Unprepared { .. }) => false,
            None => slot.exit.is_some() || self.is_sentenced(),
        };
        if told {
            tracing::debug!(pool, worker, pid, reason, "a worker has ended");
        } else {
            tracing::warn!(pool, worker, pid, reason, "a worker died");
        }
    }

    /// An item has run longer than it may. With no limit at all, it was cancelled.
    pub(super) fn tell_overdue(&self, at: usize, limit: Duration) {
        let slot = &self.slots[at];
        if !limit.is_zero() {
            tracing::warn!(
                pool = self.pool,
                worker = slot.number,
                pid = slot.pid(),
                ?limit,
                "an item runs longer than it may"
            );
        }
    }

    /// It takes no more work.
    pub(super) fn tell_close(&self) {
        if self.solo().is_none() {
            tracing::debug!(pool = self.pool, "a pool was closed");
        }
    }

    /// It is over, for this reason.
    pub(super) fn tell_over(&self, end: &End) {
        match end {
            End::Broken(why) => tracing::error!(pool = self.pool, why, "a pool gave up"),
            _ if self.solo().is_none() => tracing::debug!(pool = self.pool, "a pool was ended"),
            _ => {}
        }
    }
}
