//! Results that come as they are asked for.

use std::{
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    PoolError,
    call::write_item,
    job::{Job, Outcome, deadline},
    result::read,
};

/// The results of [`Pool::imap`](super::Pool::imap): pulls inputs as it is pulled itself.
///
/// It goes on after an item that failed. An input that cannot be serialized is the last: its error comes after the
/// results of the inputs before it.
pub struct IMap<I, R> {
    inputs: Option<I>,
    job: Rc<Job>,
    /// How many inputs may be ahead of the results.
    ahead: u64,
    ordered: bool,
    submitted: u64,
    taken: u64,
    /// Results that have come before their turn.
    early: BTreeMap<u64, Outcome>,
    failed: Option<PoolError>,
    result: PhantomData<fn() -> R>,
}

impl<I, R> fmt::Debug for IMap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IMap").field("job", &self.job).finish_non_exhaustive()
    }
}

impl<I, R> IMap<I, R> {
    pub(super) fn new(inputs: I, job: Rc<Job>, ahead: u64, ordered: bool) -> Self {
        Self {
            inputs: Some(inputs),
            job,
            ahead,
            ordered,
            submitted: 0,
            taken: 0,
            early: BTreeMap::new(),
            failed: None,
            result: PhantomData,
        }
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned> IMap<I, R> {
    /// Submits inputs for as long as there is room.
    fn pull(&mut self) -> Result<(), PoolError> {
        let mut block = Vec::new();
        let mut ended = Ok(());
        while let Some(inputs) = &mut self.inputs {
            if self.submitted - self.taken >= self.ahead {
                break;
            }
            let next = inputs.next().map(|input| write_item(&input, false, &mut block));
            match next {
                Some(Ok(())) => self.submitted += 1,
                Some(Err(error)) => {
                    self.failed = Some(error);
                    self.inputs = None;
                }
                None => self.inputs = None,
            }
            if self.inputs.is_none() {
                ended = Err(());
            }
        }
        if !block.is_empty() {
            self.job.submit(&block)?;
        }
        if ended.is_err() {
            self.job.seal()?;
        }
        Ok(())
    }

    /// The next outcome, if it is there.
    fn ready(&mut self) -> Option<Outcome> {
        let mut outcomes = self.job.outcomes.borrow_mut();
        let next = if self.ordered {
            self.early.extend(outcomes.drain(..));
            self.early.remove(&self.taken)
        } else {
            outcomes.pop_front().map(|(_, outcome)| outcome)
        };
        self.taken += u64::from(next.is_some());
        next
    }

    /// The outer error: the time was up.
    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<Result<R, PoolError>>, ()> {
        loop {
            if let Some(outcome) = self.ready() {
                return Ok(Some(read(&outcome)));
            }
            if let Err(error) = self.pull() {
                self.inputs = None;
                self.failed.get_or_insert(error);
            }
            let done = self.inputs.is_none() && self.taken == self.submitted;
            let over = self.job.over.borrow().clone();
            match over {
                Some(Err(error)) => return Ok(self.end(error)),
                _ if done => return Ok(self.failed.take().map(Err)),
                _ => {}
            }
            match self.job.pool.hear(deadline) {
                Ok(true) => {}
                Ok(false) => return Err(()),
                Err(error) => return Ok(self.end(error)),
            }
        }
    }

    /// The rest of the inputs has no outcome: each gets this error.
    fn end(&mut self, error: PoolError) -> Option<Result<R, PoolError>> {
        self.inputs = None;
        if self.taken < self.submitted {
            self.taken += 1;
            return Some(Err(error));
        }
        None
    }

    /// The next result, `None` after the last. Waits no longer than `timeout` for it (CPython: `IMapIterator.next`).
    ///
    /// # Errors
    ///
    /// [`PoolError::WaitTimeout`] if the result is not there by then; it can be asked for again. Or the error of that item,
    /// after which the next can be asked for.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<R>, PoolError> {
        match self.next_until(deadline(timeout)) {
            Ok(next) => next.transpose(),
            Err(()) => Err(PoolError::WaitTimeout(timeout)),
        }
    }
}

impl<I: Iterator<Item: Serialize>, R: DeserializeOwned> Iterator for IMap<I, R> {
    type Item = Result<R, PoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Without a deadline there is no timeout.
        self.next_until(None).ok().flatten()
    }
}
