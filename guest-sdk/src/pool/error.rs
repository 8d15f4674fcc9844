//! What can go wrong with a pool.

use std::{error, fmt, iter, time::Duration};

use serde::{Deserialize, Deserializer};
use wasmp_abi::{ErrorKind, Status};

/// Why a call on a [`Pool`](super::Pool) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// An item failed.
    Task(Box<TaskError>),
    /// The arguments cannot be serialized.
    Encode(String),
    /// The result is not of the type that was asked for.
    Decode(String),
    /// A setting makes no sense, or there is no such task.
    Invalid(String),
    /// The pool was closed or terminated and takes no more work (CPython: `ValueError("Pool not running")`).
    NotRunning,
    /// `join` before `close` or `terminate` (CPython: `ValueError("Pool is still running")`).
    StillRunning,
    /// A wait ended before its result came; the item goes on.
    WaitTimeout(Duration),
    /// The guests of the host's pool may have no more processes.
    ProcessLimit,
    /// The pool gave up: its workers cannot run, and this is why.
    Broken(String),
    /// The wait was interrupted, as by Ctrl-C (CPython: `KeyboardInterrupt`).
    Interrupted,
    /// This is not a wasmp worker.
    Unsupported,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(error) => error.fmt(f),
            Self::Encode(why) => write!(f, "the arguments cannot be serialized: {why}"),
            Self::Decode(why) => write!(f, "the result is not of the expected type: {why}"),
            Self::Invalid(why) => f.write_str(why),
            Self::NotRunning => f.write_str("the pool is not running: it was closed or terminated"),
            Self::StillRunning => f.write_str("the pool is still running: close or terminate it before join"),
            Self::WaitTimeout(limit) => write!(f, "no result within {limit:?}"),
            Self::ProcessLimit => f.write_str("tasks may start no more processes: the limit of their pool is reached"),
            Self::Broken(why) => write!(f, "the pool gave up: {why}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Unsupported => f.write_str("there are no pools outside of a wasmp worker"),
        }
    }
}

impl error::Error for PoolError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            // Its words are this error's words.
            Self::Task(error) => error.source(),
            _ => None,
        }
    }
}

impl From<Status> for PoolError {
    fn from(status: Status) -> Self {
        match status {
            Status::ProcessLimit => Self::ProcessLimit,
            Status::Unsupported => Self::Unsupported,
            Status::Interrupted => Self::Interrupted,
            Status::ShutDown => Self::NotRunning,
            Status::TooLarge => Self::Encode("they are larger than a message may be".to_owned()),
            Status::ObjectLimit => Self::Broken("the host has no room for another pool".to_owned()),
            other => Self::Invalid(format!("the host has refused: {}", other.name())),
        }
    }
}

/// What became of an item that has no result.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskError {
    /// What kind of failure it was.
    #[serde(deserialize_with = "kind")]
    pub kind: ErrorKind,
    /// The failure in words: the task's own message where there is one.
    pub message: String,
    /// What caused the error that the task returned, if it knows: also its [`source`](error::Error::source).
    pub cause: Option<Box<Cause>>,
    /// The stack when it failed, innermost call first, one frame a line; for traps and panics.
    pub backtrace: Option<String>,
    /// The task's name.
    pub task: String,
    /// The item's place among the inputs of its call, from 0.
    pub index: u64,
    /// The number of the worker that ran it; 0 if it never ran.
    pub worker: u32,
    /// The process id of that worker, as the host sees it; 0 if it never ran.
    pub pid: u32,
    /// Which attempt this was, from 1.
    pub attempt: u32,
    /// The exit code, for [`ErrorKind::Exit`], or the worker's own, when it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that killed the worker, for [`ErrorKind::WorkerLost`].
    pub signal: Option<i32>,
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ErrorKind, D::Error> {
    // A kind that this version does not know is one that the item had no part in.
    Ok(ErrorKind::from_code(u16::deserialize(deserializer)?).unwrap_or(ErrorKind::WorkerLost))
}

impl TaskError {
    /// An item that never had its outcome.
    pub(super) fn cancelled(task: &str, message: String) -> Self {
        Self {
            kind: ErrorKind::Cancelled,
            message,
            cause: None,
            backtrace: None,
            task: task.to_owned(),
            index: 0,
            worker: 0,
            pid: 0,
            attempt: 0,
            exit_code: None,
            signal: None,
        }
    }
}

impl fmt::Display for TaskError {
    /// The message; with `{:#}` also what caused it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !f.alternate() {
            return Ok(());
        }
        iter::successors(self.cause.as_deref(), |cause| cause.cause.as_deref())
            .try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl error::Error for TaskError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// An error that caused another, as its words.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// The error in words.
    pub message: String,
    /// What caused it in turn.
    pub cause: Option<Box<Self>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for Cause {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
