//! Pools of a task's own.
//!
//! `job.rs` is what all calls have in common: a job of the host's, and the loop that hears what comes of it. `call.rs` makes
//! jobs, `result.rs` and `imap.rs` are what callers get of them.

mod call;
mod error;
mod imap;
mod job;
mod result;

use std::{fmt, rc::Rc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use wasmp_abi::{Retry, Status};

use self::job::{Inner, deadline};
pub use self::{
    call::Call,
    error::{Cause, PoolError, TaskError},
    imap::IMap,
    result::{AsyncResult, as_completed},
};
use crate::{
    cbor,
    host::{objects::Timeout, pools::PoolNumber},
    process::{StartMethod, method},
    task::{Gives, Named, Task},
};

/// A pool of worker processes that run the tasks of this module (CPython: `multiprocessing.Pool`).
///
/// Its workers have the grants and limits of the worker that made it, and count against the limit that the host sets to
/// what tasks start. Dropping it terminates it: what is not done then resolves with
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). It belongs to the instance: when that ends, so does the pool.
///
/// ```
/// use wasmp_guest::{Pool, Result, task};
///
/// #[task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// /// The sum of the squares of the numbers below `n`, by four workers.
/// #[task]
/// fn sum_of_squares(n: i64) -> Result<i64> {
///     let pool = Pool::new(4)?;
///     let squares: Vec<i64> = pool.map(square, 0..n)?;
///     Ok(squares.into_iter().sum())
/// }
/// # fn main() {}
/// ```
pub struct Pool {
    inner: Rc<Inner>,
    timeout: Duration,
    retry: Retry,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// What each instance runs before anything else, or what is wrong with it.
#[derive(Debug)]
struct Initializer {
    task: Result<String, String>,
    args: Result<Vec<u8>, String>,
}

/// Sets up a [`Pool`]; from [`Pool::builder`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    processes: Option<u32>,
    max_tasks: Option<u32>,
    initializer: Option<Initializer>,
    method: Option<StartMethod>,
    timeout: Duration,
    retry: Retry,
}

/// So many processes, for the host, which has no more than it can count in 32 bits anyway.
fn count(processes: usize) -> u32 {
    u32::try_from(processes).unwrap_or(u32::MAX)
}

impl PoolBuilder {
    /// How many workers. Default: as many as the host has CPUs.
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = Some(count(processes));
        self
    }

    /// Replaces a worker process after this many tasks (CPython: `maxtasksperchild`, which counts chunks). Default: never.
    pub fn max_tasks_per_child(mut self, tasks: u32) -> Self {
        self.max_tasks = Some(tasks);
        self
    }

    /// A task that each instance runs before any other, with these arguments, a tuple (CPython: `initializer` and
    /// `initargs`). When three in a row fail, the pool gives up with [`PoolError::Broken`].
    #[expect(clippy::needless_pass_by_value, reason = "a task is named like a value")]
    pub fn initializer<A: Serialize, M>(mut self, task: impl Task<A, M>, args: A) -> Self {
        let mut bytes = Vec::new();
        self.initializer = Some(Initializer {
            task: task.task_name().map(Into::into),
            args: cbor::encode(&args, &mut bytes).map(|()| bytes),
        });
        self
    }

    /// How its workers are started, also those that replace others (CPython: `get_context(method).Pool`). `Fork` is
    /// `Forkserver`: a worker that takes the place of another has nobody to be a copy of. Default:
    /// [`get_start_method`](crate::get_start_method).
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = Some(method);
        self
    }

    /// Kills an item that runs longer than this, and an initializer. Default: no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// When an item that failed is tried again. Default: never.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Orders the workers.
    ///
    /// # Errors
    ///
    /// [`PoolError::ProcessLimit`], [`PoolError::Encode`] if the initializer's arguments cannot be serialized,
    /// [`PoolError::Invalid`] if it is no task, or for a pool without workers or workers without tasks, and
    /// [`PoolError::Unsupported`] outside of a wasmp worker.
    pub fn build(self) -> Result<Pool, PoolError> {
        for (setting, what) in [
            (self.processes, "a pool of 0 processes"),
            (self.max_tasks, "a worker that runs 0 tasks"),
        ] {
            if setting == Some(0) {
                return Err(PoolError::Invalid(format!(
                    "{what} makes no sense: it must be 1 or more"
                )));
            }
        }
        let (name, args) = match self.initializer {
            Some(Initializer { task, args }) => (task.map_err(PoolError::Invalid)?, args.map_err(PoolError::Encode)?),
            None => (String::new(), Vec::new()),
        };
        let patience = u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("memory has 32 bits");
        let mut options = Vec::new();
        options.extend_from_slice(&self.processes.unwrap_or(0).to_le_bytes());
        options.extend_from_slice(&self.max_tasks.unwrap_or(0).to_le_bytes());
        options.extend_from_slice(&patience.to_le_bytes());
        options.extend_from_slice(&length(name.as_bytes()).to_le_bytes());
        options.extend_from_slice(&length(&args).to_le_bytes());
        options.extend_from_slice(name.as_bytes());
        options.extend_from_slice(&args);
        let method = self.method.or_else(method::chosen).map_or(0, StartMethod::number);
        options.extend_from_slice(&method.to_le_bytes());
        Ok(Pool {
            inner: Inner::new(PoolNumber::make(&options)?),
            timeout: self.timeout,
            retry: self.retry,
        })
    }
}

impl Pool {
    /// A pool of so many workers.
    ///
    /// # Errors
    ///
    /// See [`PoolBuilder::build`].
    pub fn new(processes: usize) -> Result<Self, PoolError> {
        Self::builder().processes(processes).build()
    }

    /// A pool to be set up.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// A task, a function or its name, and how to call it: for calls with options. What it is called with is not checked
    /// here but by the task.
    #[expect(clippy::needless_pass_by_value, reason = "a task is named like a value")]
    pub fn task<M>(&self, task: impl Named<M>) -> Call<'_> {
        Call::new(self, task.task_name())
    }

    /// Calls a task, a function or its name, with these arguments, a tuple, and waits for its result (CPython:
    /// `Pool.apply`).
    ///
    /// # Errors
    ///
    /// See [`Call::apply`].
    pub fn apply<F, A, R, M, N>(&self, task: F, args: A) -> Result<R, PoolError>
    where
        F: Task<A, M, Returns: Gives<R, N>>,
        A: Serialize,
        R: DeserializeOwned,
    {
        self.task(task).apply(args)
    }

    /// Calls a task, a function or its name, with these arguments, a tuple, and returns at once (CPython:
    /// `Pool.apply_async`).
    ///
    /// # Errors
    ///
    /// See [`Call::apply_async`].
    pub fn apply_async<F, A, R, M, N>(&self, task: F, args: A) -> Result<AsyncResult<R>, PoolError>
    where
        F: Task<A, M, Returns: Gives<R, N>>,
        A: Serialize,
        R: DeserializeOwned,
    {
        self.task(task).apply_async(args)
    }

    /// Calls a task, a function or its name, once for each input; returns the results in the order of the inputs (CPython:
    /// `Pool.map`).
    ///
    /// # Errors
    ///
    /// See [`Call::map`].
    pub fn map<F, I, R, M, N>(&self, task: F, inputs: I) -> Result<Vec<R>, PoolError>
    where
        I: IntoIterator<Item: Serialize>,
        F: Task<(I::Item,), M, Returns: Gives<R, N>>,
        R: DeserializeOwned,
    {
        self.task(task).map(inputs)
    }

    /// [`map`](Self::map), but returns when all inputs are submitted; the one result is all results (CPython:
    /// `Pool.map_async`).
    ///
    /// # Errors
    ///
    /// See [`Call::map_async`].
    pub fn map_async<F, I, R, M, N>(&self, task: F, inputs: I) -> Result<AsyncResult<Vec<R>>, PoolError>
    where
        I: IntoIterator<Item: Serialize>,
        F: Task<(I::Item,), M, Returns: Gives<R, N>>,
        R: DeserializeOwned,
    {
        self.task(task).map_async(inputs)
    }

    /// [`map`](Self::map), but each input is a tuple of all arguments (CPython: `Pool.starmap`).
    ///
    /// # Errors
    ///
    /// See [`Call::starmap`].
    pub fn starmap<F, I, R, M, N>(&self, task: F, inputs: I) -> Result<Vec<R>, PoolError>
    where
        I: IntoIterator<Item: Serialize>,
        F: Task<I::Item, M, Returns: Gives<R, N>>,
        R: DeserializeOwned,
    {
        self.task(task).starmap(inputs)
    }

    /// [`map_async`](Self::map_async), but each input is a tuple of all arguments (CPython: `Pool.starmap_async`).
    ///
    /// # Errors
    ///
    /// See [`Call::starmap_async`].
    pub fn starmap_async<F, I, R, M, N>(&self, task: F, inputs: I) -> Result<AsyncResult<Vec<R>>, PoolError>
    where
        I: IntoIterator<Item: Serialize>,
        F: Task<I::Item, M, Returns: Gives<R, N>>,
        R: DeserializeOwned,
    {
        self.task(task).starmap_async(inputs)
    }

    /// [`map`](Self::map) without waiting for all; results come in the order of the inputs (CPython: `Pool.imap`).
    ///
    /// # Errors
    ///
    /// See [`Call::imap`].
    pub fn imap<F, I, R, M, N>(&self, task: F, inputs: I) -> Result<IMap<I::IntoIter, R>, PoolError>
    where
        I: IntoIterator<Item: Serialize>,
        F: Task<(I::Item,), M, Returns: Gives<R, N>>,
        R: DeserializeOwned,
    {
        self.task(task).imap(inputs)
    }

    /// [`imap`](Self::imap), but results come as they are finished (CPython: `Pool.imap_unordered`).
    ///
    /// # Errors
    ///
    /// See [`Call::imap_unordered`].
    pub fn imap_unordered<F, I, R, M, N>(&self, task: F, inputs: I) -> Result<IMap<I::IntoIter, R>, PoolError>
    where
        I: IntoIterator<Item: Serialize>,
        F: Task<(I::Item,), M, Returns: Gives<R, N>>,
        R: DeserializeOwned,
    {
        self.task(task).imap_unordered(inputs)
    }

    /// Has so many workers from now on. Those that are too many stop when they have finished what they run.
    ///
    /// # Errors
    ///
    /// [`PoolError::ProcessLimit`]; the pool is as it was then.
    pub fn resize(&self, processes: usize) -> Result<(), PoolError> {
        Ok(self.inner.number.resize(count(processes))?)
    }

    /// Takes no more work; what was submitted is finished (CPython: `Pool.close`).
    pub fn close(&self) {
        self.inner.running.set(false);
        // It can only fail if the host is gone, and then this process is about to be.
        let _ = self.inner.number.close();
    }

    /// Kills the workers at once. Everything that is not done resolves with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) (CPython: `Pool.terminate`).
    pub fn terminate(&self) {
        self.inner.running.set(false);
        // As in `close`.
        let _ = self.inner.number.terminate();
    }

    /// Waits until every worker process has ended and all callbacks have been called (CPython: `Pool.join`).
    ///
    /// # Errors
    ///
    /// [`PoolError::StillRunning`] if the pool was neither closed nor terminated.
    pub fn join(&self) -> Result<(), PoolError> {
        self.join_until(Timeout::FOREVER).map(drop)
    }

    /// [`join`](Self::join), but waits no longer than `timeout`. Returns whether that was enough.
    ///
    /// # Errors
    ///
    /// Those of `join`.
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, PoolError> {
        self.join_until(deadline(timeout).map_or(Timeout::FOREVER, |_| timeout.into()))
    }

    fn join_until(&self, timeout: Timeout) -> Result<bool, PoolError> {
        if self.inner.running.get() {
            return Err(PoolError::StillRunning);
        }
        match self.inner.number.join(timeout) {
            Ok(()) => {
                self.inner.catch_up()?;
                Ok(true)
            }
            Err(Status::TimedOut) => Ok(false),
            Err(status) => Err(status.into()),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.terminate();
        self.inner.forget_callbacks();
    }
}
