use std::{fmt, ops::Deref, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Queue, SharedError, TaskDoneError, in_time};
use crate::host::objects::{Timeout, check, queue_join, queue_task_done};

/// A [`Queue`] that knows what has been dealt with, and what has only been taken.
///
/// CPython: `multiprocessing.JoinableQueue`.
///
/// ```
/// use wasmp_guest::{JoinableQueue, Result, task};
///
/// #[task]
/// fn worker(jobs: JoinableQueue<String>) -> Result<()> {
///     while let Ok(job) = jobs.get() {
///         println!("{job}");
///         jobs.task_done()?;
///     }
///     Ok(())
/// }
///
/// /// Returns when the workers are done with all jobs.
/// #[task]
/// fn master(jobs: JoinableQueue<String>) -> Result<()> {
///     jobs.put_many(["one", "two"].map(String::from))?;
///     jobs.join()?;
///     Ok(jobs.shutdown()?)
/// }
/// # fn main() {}
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct JoinableQueue<T>(Queue<T>);

impl<T> JoinableQueue<T> {
    /// A new queue, as [`Queue::new`] makes one.
    ///
    /// # Errors
    ///
    /// As those of [`Queue::new`].
    pub fn new(maxsize: u32) -> Result<Self, SharedError> {
        Queue::new(maxsize).map(Self)
    }

    /// A new queue that loses nothing: what a worker has taken when it dies, without having called
    /// [`task_done`](Self::task_done) for it, is there again for another one.
    ///
    /// # Errors
    ///
    /// As those of [`Queue::new`].
    pub fn acknowledged(maxsize: u32) -> Result<Self, SharedError> {
        Queue::make(maxsize, true).map(Self)
    }

    /// The queue of this name, from the command line: `--queue name`.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn named(name: &str) -> Result<Self, SharedError> {
        Queue::named(name).map(Self)
    }

    /// One value that was taken has been dealt with.
    ///
    /// # Errors
    ///
    /// So many have not been taken.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        check(queue_task_done(self.number()))
            .map(drop)
            .map_err(TaskDoneError::new)
    }

    /// Waits until every value that was put has been dealt with.
    ///
    /// # Errors
    ///
    /// As any wait, it can be interrupted, and the queue's memory may have been overwritten.
    pub fn join(&self) -> Result<(), SharedError> {
        check(queue_join(self.number(), Timeout::FOREVER))
            .map(drop)
            .map_err(SharedError::new)
    }

    /// As [`join`](Self::join), but no longer than so long; the result is whether everything has been dealt with.
    ///
    /// # Errors
    ///
    /// As those of [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, SharedError> {
        Ok(in_time(check(queue_join(self.number(), timeout.into())))?.is_some())
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.number()
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

/// Another handle to the same queue.
impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinableQueue").field(&self.0.handle).finish()
    }
}
