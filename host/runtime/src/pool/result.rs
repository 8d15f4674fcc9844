//! The result of one item that somebody will ask for.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::codec::{ended, task_error};
use crate::cbor::Decoder;
use crate::error::{Error, Result};
use crate::supervisor::Shared;
use crate::supervisor::job::{OneShot, Reply};

/// The result of a task that was started with [`Pool::apply_async`](super::Pool::apply_async) (CPython:
/// `multiprocessing.pool.AsyncResult`).
///
/// Dropping it does not stop the task. When the pool is terminated, it resolves with
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled); it never waits for ever.
pub struct AsyncResult<R> {
    pool: Arc<Shared>,
    task: Arc<str>,
    shot: Arc<OneShot>,
    result: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("task", &self.task)
            .field("ready", &self.ready())
            .finish_non_exhaustive()
    }
}

impl<R: DeserializeOwned> AsyncResult<R> {
    pub(super) fn new(pool: Arc<Shared>, task: Arc<str>, shot: Arc<OneShot>) -> Self {
        Self {
            pool,
            task,
            shot,
            result: PhantomData,
        }
    }

    /// Waits for the result and returns it. May be called again.
    ///
    /// # Errors
    ///
    /// [`Error::Task`] if the item failed, [`Error::Decode`] if its result is not an `R`, [`Error::Broken`] if the
    /// pool gave up.
    pub fn get(&self) -> Result<R> {
        match self.reply(None) {
            Some(reply) => self.open(&reply),
            // Without a deadline the wait ends with a reply only.
            None => Err(Error::NotRunning),
        }
    }

    /// [`get`](Self::get), but waits no longer than `timeout`. The task goes on after that, and can be waited for again.
    ///
    /// # Errors
    ///
    /// Those of `get`, and [`Error::WaitTimeout`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<R> {
        match self.reply(Instant::now().checked_add(timeout)) {
            Some(reply) => self.open(&reply),
            None => Err(Error::WaitTimeout(timeout)),
        }
    }

    fn open(&self, reply: &Reply) -> Result<R> {
        match reply {
            Reply::Done(bytes) => Decoder::new().read(bytes).map_err(Error::Decode),
            Reply::Failed(failure) => Err(task_error(&self.task, 0, failure).into()),
            Reply::Ended(end) => Err(ended(&self.task, 0, end)),
        }
    }
}

impl<R> AsyncResult<R> {
    fn reply(&self, deadline: Option<Instant>) -> Option<Arc<Reply>> {
        self.pool
            .attend(|| self.shot.get())
            .or_else(|| self.shot.wait(deadline))
    }

    /// Waits until the result is there.
    pub fn wait(&self) {
        self.reply(None);
    }

    /// Waits until the result is there, but no longer than `timeout`. Returns whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.reply(Instant::now().checked_add(timeout)).is_some()
    }

    /// Whether the result is there.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.shot.get().is_some()
    }

    /// Whether the task has returned a value; `None` while that is open (CPython raises `ValueError` then).
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        Some(matches!(*self.shot.get()?, Reply::Done(_)))
    }
}
