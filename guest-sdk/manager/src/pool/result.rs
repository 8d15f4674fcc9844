//! A result that somebody will ask for.

use std::fmt;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::job::Job;
use super::{Error, PoolError};
use crate::client::Client;
use crate::protocol::FOREVER;
use crate::sync::nanoseconds;
use crate::{ManagerError, told};

/// The result of a call of [`Pool::apply_async`](super::Pool::apply_async), or of all calls of
/// [`Pool::map_async`](super::Pool::map_async). CPython: the proxy of `multiprocessing.pool.AsyncResult`.
///
/// Dropping it does not stop the task; [`cancel`](Self::cancel) does.
pub struct AsyncResult<R, C: Client> {
    job: Job<C>,
    /// Makes a result of what has come of the job.
    open: fn(&Job<C>) -> Result<R, Error<C>>,
}

impl<R, C: Client> fmt::Debug for AsyncResult<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

/// The result of a job of one item.
fn one<R: DeserializeOwned, C: Client>(job: &Job<C>) -> Result<R, Error<C>> {
    let heard = job.heard();
    match (heard.outcomes.first(), &heard.over) {
        (Some(outcome), _) => job.open(outcome),
        (None, Some(Err(error))) => Err(error.clone()),
        (None, _) => Err(ManagerError::Protocol.into()),
    }
}

/// All results of a job, or the failure of the first item that failed.
fn all<R: DeserializeOwned, C: Client>(job: &Job<C>) -> Result<Vec<R>, Error<C>> {
    let mut heard = job.heard();
    told(heard.over.clone())??;
    heard.outcomes.sort_unstable_by_key(|outcome| outcome.index);
    heard.outcomes.iter().map(|outcome| job.open(outcome)).collect()
}

impl<R: DeserializeOwned, C: Client> AsyncResult<R, C> {
    pub(super) fn one(job: Job<C>) -> Self {
        Self { job, open: one }
    }
}

impl<R: DeserializeOwned, C: Client> AsyncResult<Vec<R>, C> {
    pub(super) fn all(job: Job<C>) -> Self {
        Self { job, open: all }
    }
}

impl<R, C: Client> AsyncResult<R, C> {
    /// Waits for the result and returns it. May be called again.
    ///
    /// # Errors
    ///
    /// [`PoolError::Task`] if the item failed, of many the first, when all have run; [`PoolError::Invalid`] if there is no such
    /// task; [`ManagerError::Decode`] if its result is not an `R`; [`ManagerError::Gone`]; and the others.
    pub fn get(&self) -> Result<R, Error<C>> {
        self.wait()?;
        (self.open)(&self.job)
    }

    /// As [`get`](Self::get), but waits no longer than `timeout`. The task goes on after that, and can be waited for again.
    ///
    /// # Errors
    ///
    /// [`PoolError::WaitTimeout`], and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, Error<C>> {
        if self.wait_timeout(timeout)? {
            (self.open)(&self.job)
        } else {
            Err(PoolError::WaitTimeout(timeout))
        }
    }

    /// Waits until the result is there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn wait(&self) -> Result<(), ManagerError> {
        while !self.job.is_over() {
            // What has come is taken at once, so that the manager need not keep it.
            self.job.hear(false, FOREVER)?;
        }
        Ok(())
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`. Returns whether it is.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return self.wait().map(|()| true);
        };
        while !self.job.is_over() {
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.job.hear(false, nanoseconds(left))? {
                return Ok(self.job.is_over());
            }
        }
        Ok(true)
    }

    /// Whether the result is there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn ready(&self) -> Result<bool, ManagerError> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Whether all went well; `None` while that is open (CPython raises `ValueError` then).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn successful(&self) -> Result<Option<bool>, ManagerError> {
        let ready = self.ready()?;
        let heard = self.job.heard();
        let complete = matches!(heard.over, Some(Ok(())));
        Ok(ready.then(|| complete && heard.outcomes.iter().all(super::job::Outcome::is_done)))
    }

    /// Stops the task: what waits for a worker is dropped, and what runs is killed together with its worker, which is
    /// replaced. The result is then [`ErrorKind::Cancelled`](wasmp_abi::ErrorKind::Cancelled). False: it was there already.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn cancel(&self) -> Result<bool, ManagerError> {
        self.job.cancel()
    }
}
