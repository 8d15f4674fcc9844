//! A result that somebody will ask for.

use std::fmt;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use serde::de::DeserializeOwned;

use super::codec::ended;
use crate::cbor::Decoder;
use crate::error::{Error, Result};
use crate::outcome::task_error;
use crate::supervisor::Shared;
use crate::supervisor::job::JobKey;
use crate::supervisor::shot::{Callback, OneShot, Reply};

/// The result of a task that was started with [`Pool::apply_async`](super::Pool::apply_async), or of many, from
/// [`Pool::map_async`](super::Pool::map_async) (CPython: `multiprocessing.pool.AsyncResult`).
///
/// It can be waited for with [`get`](Self::get), and awaited: it is a [`Future`], of no particular runtime. Dropping it
/// does not stop the task; [`cancel`](Self::cancel) does. When the pool is terminated, it resolves with
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled); it never waits for ever.
#[must_use = "a result that nobody asks for is lost, and its error, too"]
pub struct AsyncResult<R> {
    origin: Arc<Origin>,
    job: JobKey,
    shot: Arc<OneShot>,
    /// Makes a result of the outcome of this task.
    open: fn(&str, &Reply) -> Result<R>,
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("task", &self.origin.task)
            .field("ready", &self.ready())
            .finish_non_exhaustive()
    }
}

/// Where results come from.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) pool: Arc<Shared>,
    /// The name of the task.
    pub(super) task: Arc<str>,
}

/// The result of a single item.
pub(super) fn open<R: DeserializeOwned>(task: &str, reply: &Reply) -> Result<R> {
    match reply {
        Reply::Done(bytes) => Decoder::new().read(bytes).map_err(Error::Decode),
        Reply::Failed(failure) => Err(task_error(task, 0, failure).into()),
        Reply::Ended(end) => Err(ended(task, 0, end)),
        Reply::Callback(panic) => Err(Error::Callback(panic.clone())),
        Reply::All(_) => Err(Error::Decode("many results came where one was expected".into())),
    }
}

impl<R> AsyncResult<R> {
    pub(super) fn new(
        origin: Arc<Origin>,
        job: JobKey,
        shot: Arc<OneShot>,
        open: fn(&str, &Reply) -> Result<R>,
    ) -> Self {
        Self {
            origin,
            job,
            shot,
            open,
        }
    }

    fn reply(&self, deadline: Option<Instant>) -> Option<Arc<Reply>> {
        self.origin
            .pool
            .attend(|| self.shot.get())
            .or_else(|| self.shot.wait(deadline))
    }

    /// Waits for the result and returns it. May be called again.
    ///
    /// # Errors
    ///
    /// [`Error::Task`] if the item failed, [`Error::Decode`] if its result is not an `R`, [`Error::Broken`] if the
    /// pool gave up, [`Error::Callback`] if a callback panicked. Of many items, the error is that of the first that
    /// failed, when all have run.
    pub fn get(&self) -> Result<R> {
        match self.reply(None) {
            Some(reply) => (self.open)(&self.origin.task, &reply),
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
            Some(reply) => (self.open)(&self.origin.task, &reply),
            None => Err(Error::WaitTimeout(timeout)),
        }
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

    /// Whether all went well; `None` while that is open (CPython raises `ValueError` then).
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        let failed = |outcome: &crate::supervisor::job::Item| outcome.outcome.is_failure();
        Some(match &*self.shot.get()? {
            Reply::Done(_) => true,
            Reply::All(batches) => !batches.iter().flat_map(|batch| &batch.items).any(failed),
            Reply::Failed(_) | Reply::Ended(_) | Reply::Callback(_) => false,
        })
    }

    /// Stops the task: what waits for a worker is dropped, and what runs is killed together with its worker, which is
    /// replaced. The result is then [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). False: it was there already
    /// (CPython: `Future.cancel`, which can do this only to what has not begun).
    pub fn cancel(&self) -> bool {
        self.origin.pool.act(|core, now| core.cancel(self.job, now))
    }

    /// Has this called with the result, if all goes well (CPython: `callback`).
    ///
    /// Callbacks of a pool are called one at a time on a thread of their own, before the result is seen by anybody else.
    /// One that panics makes [`Error::Callback`] of it. Each is called once, in the order in which they were added.
    pub fn callback(self, callback: impl FnOnce(R) + Send + 'static) -> Self
    where
        R: 'static,
    {
        self.add_callback(|result| {
            if let Ok(result) = result {
                callback(result);
            }
        })
    }

    /// Has this called with the error, if there is one (CPython: `error_callback`). See [`callback`](Self::callback).
    pub fn error_callback(self, callback: impl FnOnce(Error) + Send + 'static) -> Self
    where
        R: 'static,
    {
        self.add_callback(|result| {
            if let Err(error) = result {
                callback(error);
            }
        })
    }

    fn add_callback(self, callback: impl FnOnce(Result<R>) + Send + 'static) -> Self
    where
        R: 'static,
    {
        let (open, task) = (self.open, Arc::clone(&self.origin.task));
        let callback: Callback = Box::new(move |reply| {
            let call = || callback(open(&task, reply));
            panic::catch_unwind(AssertUnwindSafe(call)).map_err(|panic| words(&*panic))
        });
        self.shot.call_back(self.origin.pool.errands(), callback);
        self
    }

    /// Sends this number when the result is there.
    pub(super) fn notify(&self, sender: &Sender<usize>, number: usize) {
        self.shot.notify(sender, number);
    }
}

/// What a panic says.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(words), _) => (*words).to_owned(),
        (_, Some(words)) => words.clone(),
        _ => "it does not say why".to_owned(),
    }
}

/// Resolves to what [`get`](AsyncResult::get) returns. The waker is woken on the thread of the callbacks.
impl<R> Future for AsyncResult<R> {
    type Output = Result<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.shot.poll(self.origin.pool.errands(), context.waker()) {
            Some(reply) => Poll::Ready((self.open)(&self.origin.task, &reply)),
            None => Poll::Pending,
        }
    }
}
