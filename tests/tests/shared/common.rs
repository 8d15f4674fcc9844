//! What several files of tests need.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmp::{AsyncResult, Error, ErrorKind, Pool, PoolBuilder, TaskError};
use wasmp_tests::{Process, eventually, objects};

/// A pool of the tasks of `guests/objects`, to be set up.
pub(crate) fn builder(processes: usize) -> PoolBuilder {
    Pool::builder(objects()).processes(processes)
}

/// A pool of the tasks of `guests/objects`.
pub(crate) fn pool(processes: usize) -> Pool {
    builder(processes).build().expect("a pool")
}

/// Calls a task that succeeds.
#[track_caller]
pub(crate) fn call<R: DeserializeOwned + Debug>(pool: &Pool, task: &str, args: impl Serialize) -> R {
    pool.apply(task, args).unwrap_or_else(|error| panic!("{task}: {error}"))
}

/// Starts a task.
#[track_caller]
pub(crate) fn start<R: DeserializeOwned>(pool: &Pool, task: &str, args: impl Serialize) -> AsyncResult<R> {
    pool.apply_async(task, args)
        .unwrap_or_else(|error| panic!("{task}: {error}"))
}

/// What a task fails with.
#[track_caller]
pub(crate) fn failure(pool: &Pool, task: &str, args: impl Serialize) -> TaskError {
    match pool.apply::<_, serde_json::Value>(task, args) {
        Err(Error::Task(error)) => *error,
        other => panic!("{task}: {other:?}"),
    }
}

/// The words of the error that a task returns.
#[track_caller]
pub(crate) fn error(pool: &Pool, task: &str, args: impl Serialize) -> String {
    let failure = failure(pool, task, args);
    assert_eq!(failure.kind, ErrorKind::Error, "{failure}");
    failure.message
}

/// Kills the worker with this pid.
#[track_caller]
pub(crate) fn kill(pid: u32) {
    Process::open(pid).expect("the worker runs").kill();
}

/// How long something takes.
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let begin = Instant::now();
    let result = work();
    (result, begin.elapsed())
}

/// Waits until the one worker of a pool sleeps, in the task that it has begun.
#[track_caller]
pub(crate) fn asleep(pool: &Pool) -> Process {
    let worker = Process::open(pool.worker_pids()[0]).expect("the worker runs");
    eventually("the worker sleeps", || {
        worker.status("State").starts_with('S').then_some(())
    });
    worker
}
