//! Results that come as they are asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::job::{Inputs, Job, Outcome};
use super::{Error, PoolError};
use crate::ManagerError;
use crate::client::Client;
use crate::protocol::FOREVER;
use crate::sync::nanoseconds;

/// The results of [`Pool::imap`](super::Pool::imap): pulls inputs as it is pulled itself.
///
/// It goes on after an item that failed. An input that cannot be serialized is the last: its error comes after the results of
/// the inputs before it. Dropping it has no more inputs pulled, and does not stop what was submitted.
pub struct IMap<I, R, C: Client> {
    inputs: Inputs<I>,
    job: Job<C>,
    /// How many inputs may be ahead of the results.
    ahead: u64,
    ordered: bool,
    taken: u64,
    /// Outcomes that nobody has taken, by their turn.
    early: BTreeMap<u64, Outcome>,
    failed: Option<ManagerError>,
    result: PhantomData<fn() -> R>,
}

impl<I, R, C: Client> fmt::Debug for IMap<I, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IMap").field("job", &self.job).finish_non_exhaustive()
    }
}

impl<I: Iterator<Item: Serialize>, R, C: Client> IMap<I, R, C> {
    pub(super) fn new(inputs: Inputs<I>, job: Job<C>, ahead: u64, ordered: bool) -> Self {
        Self {
            inputs,
            job,
            ahead,
            ordered,
            taken: 0,
            early: BTreeMap::new(),
            failed: None,
            result: PhantomData,
        }
    }

    /// The next outcome, if it is there.
    fn ready(&mut self) -> Option<Outcome> {
        let heard = std::mem::take(&mut self.job.heard().outcomes);
        self.early
            .extend(heard.into_iter().map(|outcome| (outcome.index, outcome)));
        let next = if self.ordered {
            self.early.remove(&self.taken)
        } else {
            self.early.pop_first().map(|(_, outcome)| outcome)
        };
        self.taken += u64::from(next.is_some());
        next
    }

    /// Submits inputs when there is room for many.
    fn pull(&mut self) -> Result<(), ManagerError> {
        let ahead = self.inputs.written() - self.taken;
        if self.inputs.ended() || ahead > self.ahead / 2 {
            return Ok(());
        }
        self.job.submit(&mut self.inputs, self.ahead - ahead)
    }

    /// Nothing more will come: each input that has no outcome gets this error.
    fn end(&mut self, error: Error<C>) -> Option<Result<R, Error<C>>> {
        self.inputs.end();
        if self.taken < self.inputs.written() {
            self.taken += 1;
            return Some(Err(error));
        }
        self.failed.take().map(|error| Err(error.into()))
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned, C: Client> IMap<I, R, C> {
    /// The outer error: the time was up.
    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<Result<R, Error<C>>>, ()> {
        loop {
            if let Some(outcome) = self.ready() {
                return Ok(Some(self.job.open(&outcome)));
            }
            let over = self.job.heard().over.clone();
            if let Some(Err(error)) = over {
                return Ok(self.end(error));
            }
            let pulled = self.pull();
            self.failed = self.failed.take().or_else(|| self.inputs.take_failure());
            if let Err(error) = pulled {
                return Ok(self.end(error.into()));
            }
            if self.inputs.ended() && self.taken == self.inputs.written() {
                return Ok(self.failed.take().map(|error| Err(error.into())));
            }
            let time = deadline.map_or(FOREVER, |deadline| {
                nanoseconds(deadline.saturating_duration_since(Instant::now()))
            });
            match self.job.hear(false, time) {
                Ok(true) => {}
                Ok(false) => return Err(()),
                Err(error) => return Ok(self.end(error.into())),
            }
        }
    }

    /// The next result, `None` after the last. Waits no longer than `timeout` for it (CPython: `IMapIterator.next`).
    ///
    /// # Errors
    ///
    /// [`PoolError::WaitTimeout`] if the result is not there by then; it can be asked for again. Or the error of that item,
    /// after which the next can be asked for.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<R>, Error<C>> {
        match self.next_until(Instant::now().checked_add(timeout)) {
            Ok(next) => next.transpose(),
            Err(()) => Err(PoolError::WaitTimeout(timeout)),
        }
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned, C: Client> Iterator for IMap<I, R, C> {
    type Item = Result<R, Error<C>>;

    fn next(&mut self) -> Option<Self::Item> {
        // Without a deadline there is no timeout.
        self.next_until(None).ok().flatten()
    }
}
