//! A result that somebody will ask for.

use std::{
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;

use super::{
    PoolError,
    job::{Job, Outcome, deadline},
};
use crate::cbor;

/// The result of a task that was started with [`Pool::apply_async`](super::Pool::apply_async), or of many, from
/// [`Pool::map_async`](super::Pool::map_async) (CPython: `multiprocessing.pool.AsyncResult`).
///
/// Dropping it does not stop the task; [`cancel`](Self::cancel) does. Callbacks are called inside of calls on the pool,
/// this one or any other: there is nobody else who could.
pub struct AsyncResult<R> {
    pub(super) job: Rc<Job>,
    /// Makes a result of what came of the job.
    open: fn(&Job) -> Result<R, PoolError>,
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

/// The result of one item.
pub(super) fn read<R: DeserializeOwned>(outcome: &Outcome) -> Result<R, PoolError> {
    match outcome {
        Ok(bytes) => cbor::decode(&mut &bytes[..], &mut Vec::new()).map_err(PoolError::Decode),
        Err(error) => Err(PoolError::Task(error.clone())),
    }
}

/// The result of a job of one item.
pub(super) fn open_one<R: DeserializeOwned>(job: &Job) -> Result<R, PoolError> {
    if let Some((_, outcome)) = job.outcomes.borrow().front() {
        return read(outcome);
    }
    Err(ended(job))
}

/// All results of a job, or the failure of the first item that failed.
pub(super) fn open_all<R: DeserializeOwned>(job: &Job) -> Result<Vec<R>, PoolError> {
    if let Some(Err(error)) = &*job.over.borrow() {
        return Err(error.clone());
    }
    let outcomes = job.outcomes.borrow();
    let mut sorted: Vec<_> = outcomes.iter().collect();
    sorted.sort_unstable_by_key(|(index, _)| *index);
    sorted.into_iter().map(|(_, outcome)| read(outcome)).collect()
}

/// Why there is no outcome.
fn ended(job: &Job) -> PoolError {
    match &*job.over.borrow() {
        Some(Err(error)) => error.clone(),
        _ => PoolError::NotRunning,
    }
}

impl<R> AsyncResult<R> {
    pub(super) fn new(job: Rc<Job>, open: fn(&Job) -> Result<R, PoolError>) -> Self {
        Self { job, open }
    }

    /// Waits for the result and returns it. May be called again.
    ///
    /// # Errors
    ///
    /// [`PoolError::Task`] if the item failed, [`PoolError::Decode`] if its result is not an `R`, [`PoolError::Broken`] if
    /// the pool gave up. Of many items, the error is that of the first that failed, when all have run.
    pub fn get(&self) -> Result<R, PoolError> {
        self.job.wait(None)?;
        (self.open)(&self.job)
    }

    /// [`get`](Self::get), but waits no longer than `timeout`. The task goes on after that, and can be waited for again.
    ///
    /// # Errors
    ///
    /// Those of `get`, and [`PoolError::WaitTimeout`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, PoolError> {
        match self.job.wait(deadline(timeout))? {
            true => (self.open)(&self.job),
            false => Err(PoolError::WaitTimeout(timeout)),
        }
    }

    /// Waits until the result is there.
    pub fn wait(&self) {
        // What goes wrong is what `get` says.
        let _ = self.job.wait(None);
    }

    /// Waits until the result is there, but no longer than `timeout`. Returns whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.job.wait(deadline(timeout)).unwrap_or(false)
    }

    /// Whether the result is there.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.job.is_over() || self.job.wait(Some(Instant::now())).unwrap_or(false)
    }

    /// Whether all went well; `None` while that is open (CPython raises `ValueError` then).
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        let over = self.job.over.borrow();
        let complete = over.as_ref()?.is_ok();
        Some(complete && self.job.outcomes.borrow().iter().all(|(_, outcome)| outcome.is_ok()))
    }

    /// Stops the task: what waits for a worker is dropped, and what runs is killed together with its worker, which is
    /// replaced. The result is then [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). False: it was there already.
    pub fn cancel(&self) -> bool {
        if self.job.is_over() || self.job.cancel().is_err() {
            return false;
        }
        // The host tells at once how it ended.
        self.wait();
        matches!(&*self.job.over.borrow(), Some(Err(_)))
    }

    /// Has this called with the result, if all goes well (CPython: `callback`).
    #[must_use = "without its handle, a job goes on for its callbacks alone: drop it if that is meant"]
    pub fn callback(self, callback: impl FnOnce(R) + 'static) -> Self
    where
        R: 'static,
    {
        let open = self.open;
        self.job.when_over(Box::new(move |job| {
            if let Ok(result) = open(job) {
                callback(result);
            }
        }));
        self
    }

    /// Has this called with the error, if there is one (CPython: `error_callback`).
    #[must_use = "without its handle, a job goes on for its callbacks alone: drop it if that is meant"]
    pub fn error_callback(self, callback: impl FnOnce(PoolError) + 'static) -> Self
    where
        R: 'static,
    {
        let open = self.open;
        self.job.when_over(Box::new(move |job| {
            if let Err(error) = open(job) {
                callback(error);
            }
        }));
        self
    }
}

/// Yields each of these results when it is there, the first that is there first (CPython:
/// `concurrent.futures.as_completed`). They are all of one pool.
///
/// # Panics
///
/// If they are of different pools.
pub fn as_completed<R>(results: impl IntoIterator<Item = AsyncResult<R>>) -> impl Iterator<Item = AsyncResult<R>> {
    let mut open: Vec<_> = results.into_iter().collect();
    let pool = open.first().map(|result| Rc::clone(&result.job.pool));
    if let Some(pool) = &pool {
        let same = open.iter().all(|result| Rc::ptr_eq(&result.job.pool, pool));
        assert!(same, "results of different pools cannot be waited for together");
    }
    std::iter::from_fn(move || {
        let pool = pool.as_ref()?;
        loop {
            if let Some(at) = open.iter().position(|result| result.job.is_over()) {
                return Some(open.remove(at));
            }
            if open.is_empty() {
                return None;
            }
            if !pool.hear(None).unwrap_or(false) {
                // The pool is gone; what is still open says so.
                return open.pop();
            }
        }
    })
}
