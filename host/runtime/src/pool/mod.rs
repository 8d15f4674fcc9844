//! Pools of workers, as callers see them.

mod builder;
mod call;
mod codec;
mod completed;
mod exec;
mod map;
mod result;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::builder::PoolBuilder;
pub(crate) use self::builder::{Founded, Settings};
pub use self::call::{Call, Chunksize};
pub(crate) use self::codec::Spread;
pub use self::completed::{AsCompleted, as_completed};
pub use self::result::AsyncResult;
pub use self::stream::{IMap, Order, Results, Submitter};
use crate::error::{Error, Result};
use crate::insight::trace::TraceSender;
use crate::insight::{PoolStats, SlowItem};
use crate::module::{Module, ModuleSource};
use crate::outcome::End;
use crate::output::OutputSender;
use crate::supervisor::Shared;
use crate::supervisor::core::Core;

/// A pool of worker processes that run the tasks of one module (CPython: `multiprocessing.Pool`).
///
/// All methods take `&self`: a pool can be used by many threads at once. Dropping it terminates it: what is not done
/// then resolves with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
///
/// ```no_run
/// use wasmp::Pool;
///
/// # fn main() -> wasmp::Result<()> {
/// let pool = Pool::builder("tasks.wasm").processes(4).build()?;
/// let nine: i64 = pool.apply("square", (3,))?;
/// let squares: Vec<i64> = pool.map("square", 0..1000)?;
/// # assert_eq!(nine, squares[3]);
/// # Ok(())
/// # }
/// ```
pub struct Pool {
    shared: Arc<Shared>,
    module: Module,
    settings: Settings,
    output: OutputSender,
    trace: Option<TraceSender>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("module", &self.module)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool to be set up, for the tasks of this module: a path to a `.wasm` or `.wat` file, the bytes of one, or a
    /// [`Module`].
    pub fn builder(module: impl Into<ModuleSource>) -> PoolBuilder {
        PoolBuilder::new(module.into())
    }

    /// The module whose tasks this pool runs.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// How many workers there are, or may be at most.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.shared.read(|core| core.size().max)
    }

    /// Has so many workers from now on, from 1 to 1000. Those that are too many stop when they have finished what they
    /// run; what only waits for them goes to the others.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there cannot be so many, [`Error::NotRunning`] after `close` or `terminate`.
    pub fn resize(&self, processes: usize) -> Result<()> {
        let processes = builder::check_processes(processes)?;
        let resized = self.shared.act(|core, _| {
            let running = core.is_running();
            if running {
                core.resize(processes);
            }
            running
        });
        if resized { Ok(()) } else { Err(Error::NotRunning) }
    }

    /// The process ids of the workers that run at the moment. A worker that died is missing until it is replaced.
    #[must_use]
    pub fn worker_pids(&self) -> Vec<u32> {
        self.shared.read(Core::worker_pids)
    }

    /// What the pool has done so far, worker by worker. Looking costs the workers nothing.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let (workers, slowest) = self.shared.read(|core| core.stats(Instant::now()));
        let tasks = self.module.tasks();
        let slowest = slowest.iter().map(|slow| SlowItem {
            task: tasks
                .get(slow.ran.task as usize)
                .map_or_else(String::new, |task| task.name.clone()),
            index: slow.ran.index,
            attempt: slow.ran.attempt,
            worker: slow.worker,
            took: Duration::from_nanos(slow.took),
            peak_memory: slow.memory,
        });
        PoolStats {
            done: workers.iter().map(|worker| worker.done).sum(),
            failed: workers.iter().map(|worker| worker.failed).sum(),
            retried: workers.iter().map(|worker| worker.retried).sum(),
            slowest: slowest.collect(),
            workers,
        }
    }

    /// A task and how to call it: for calls with options. Whether there is such a task is found out by the call.
    pub fn task(&self, name: &str) -> Call<'_> {
        Call::new(self, name, &self.settings)
    }

    /// Calls a task with these arguments, a tuple, and waits for its result (CPython: `Pool.apply`).
    ///
    /// # Errors
    ///
    /// [`Error::Task`] if the task failed in any way; see [`Call::apply`].
    pub fn apply<A: Serialize, R: DeserializeOwned>(&self, task: &str, args: A) -> Result<R> {
        self.task(task).apply(args)
    }

    /// Calls a task with these arguments, a tuple, and returns at once (CPython: `Pool.apply_async`).
    ///
    /// # Errors
    ///
    /// See [`Call::apply_async`].
    pub fn apply_async<A: Serialize, R: DeserializeOwned>(&self, task: &str, args: A) -> Result<AsyncResult<R>> {
        self.task(task).apply_async(args)
    }

    /// Calls a task once for each input; returns the results in the order of the inputs (CPython: `Pool.map`).
    ///
    /// # Errors
    ///
    /// See [`Call::map`].
    pub fn map<I, R>(&self, task: &str, inputs: I) -> Result<Vec<R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        self.task(task).map(inputs)
    }

    /// [`map`](Self::map), but each input is a tuple of all arguments (CPython: `Pool.starmap`).
    ///
    /// # Errors
    ///
    /// See [`Call::starmap`].
    pub fn starmap<I, R>(&self, task: &str, inputs: I) -> Result<Vec<R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        self.task(task).starmap(inputs)
    }

    /// [`map`](Self::map), but returns when all inputs are submitted; the one result is all results (CPython:
    /// `Pool.map_async`).
    ///
    /// # Errors
    ///
    /// See [`Call::map_async`].
    pub fn map_async<I, R>(&self, task: &str, inputs: I) -> Result<AsyncResult<Vec<R>>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        self.task(task).map_async(inputs)
    }

    /// [`map_async`](Self::map_async), but each input is a tuple of all arguments (CPython: `Pool.starmap_async`).
    ///
    /// # Errors
    ///
    /// See [`Call::starmap_async`].
    pub fn starmap_async<I, R>(&self, task: &str, inputs: I) -> Result<AsyncResult<Vec<R>>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        self.task(task).starmap_async(inputs)
    }

    /// [`map`](Self::map) without waiting for all; results come in the order of the inputs (CPython: `Pool.imap`).
    ///
    /// # Errors
    ///
    /// See [`Call::imap`].
    pub fn imap<I, R>(&self, task: &str, inputs: I) -> Result<IMap<I::IntoIter, R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        self.task(task).imap(inputs)
    }

    /// [`imap`](Self::imap), but results come as they are finished (CPython: `Pool.imap_unordered`).
    ///
    /// # Errors
    ///
    /// See [`Call::imap`].
    pub fn imap_unordered<I, R>(&self, task: &str, inputs: I) -> Result<IMap<I::IntoIter, R>>
    where
        I: IntoIterator<Item: Serialize>,
        R: DeserializeOwned,
    {
        self.task(task).imap_unordered(inputs)
    }

    /// Takes no more work, and lets the pool finish what was submitted, with or without waiting for that (CPython:
    /// `Executor.shutdown`). Results can be had as ever. Without waiting, the workers end when their work is done.
    pub fn shutdown(self, wait: bool) {
        self.close();
        if wait {
            // It is closed; whoever wants to know whether its trace is written calls `join`.
            let _ = self.join();
        } else {
            self.shared.finish_alone();
        }
    }

    /// Takes no more work; what was submitted is finished (CPython: `Pool.close`).
    pub fn close(&self) {
        self.shared.act(|core, _| core.close());
    }

    /// Kills the workers at once. Everything that is not done resolves with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) (CPython: `Pool.terminate`, which leaves it pending for
    /// ever).
    pub fn terminate(&self) {
        self.shared.act(|core, _| core.end(&End::Terminated));
    }

    /// Waits until every worker process has ended, all output is passed on, all callbacks have run and the trace, if any, is
    /// written (CPython: `Pool.join`).
    ///
    /// # Errors
    ///
    /// [`Error::StillRunning`] if the pool was neither closed nor terminated; [`Error::Trace`], once, if the trace could not
    /// be written.
    pub fn join(&self) -> Result<()> {
        self.join_until(None).map(|_| ())
    }

    /// [`join`](Self::join), but waits no longer than `timeout`. Returns whether that was enough.
    ///
    /// # Errors
    ///
    /// Those of `join`.
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        self.join_until(Instant::now().checked_add(timeout))
    }

    fn join_until(&self, deadline: Option<Instant>) -> Result<bool> {
        if self.shared.read(Core::is_running) {
            return Err(Error::StillRunning);
        }
        if !self.shared.wait_until_gone(deadline) {
            return Ok(false);
        }
        self.output.flush();
        if !self.shared.errands().flush(deadline) {
            return Ok(false);
        }
        match &self.trace {
            Some(trace) => trace.finish(deadline).map_err(Error::Trace),
            None => Ok(true),
        }
    }
}

/// The number of a task, by its name.
pub(crate) fn task_number(module: &Module, name: &str) -> Result<u32> {
    let tasks = module.tasks();
    match tasks.iter().position(|task| task.name == name) {
        Some(at) => Ok(u32::try_from(at).unwrap_or(u32::MAX)),
        None => Err(Error::NoSuchTask {
            name: name.to_owned(),
            tasks: tasks.iter().map(|task| task.name.clone()).collect(),
        }),
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.shared.finishes_alone() {
            self.terminate();
            if let Some(trace) = &self.trace {
                // Nobody is left to tell of an error.
                let _ = trace.finish(None);
            }
        }
    }
}
