//! What can go wrong with a process.

use std::{error, fmt};

use wasmp_abi::Status;

/// Why a process cannot be started, or asked something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program may have no more processes at a time.
    Limit,
    /// The function that was given is no task, as this says.
    NotATask(String),
    /// There is no task of this name.
    NoSuchTask(String),
    /// There is no start method of this name (CPython: `ValueError`).
    NoSuchMethod(String),
    /// The start method was set before (CPython: `RuntimeError`).
    MethodIsSet,
    /// This module, or this process as it is, cannot be forked.
    CannotFork,
    /// The arguments cannot be serialized.
    Encode(String),
    /// It was started by the process that this one is a copy of (CPython: `AssertionError("can only join a child process")`).
    NotAChild,
    /// It is still running: `join` it first (CPython: `ValueError`).
    StillRunning,
    /// The wait was interrupted, as by Ctrl-C (CPython: `KeyboardInterrupt`).
    Interrupted,
    /// This is not a wasmp worker.
    Unsupported,
    /// The host has refused, for this reason.
    Refused(&'static str),
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit => f.write_str(
                "no more processes: this program already has as many as it may have (see `--max-processes`)",
            ),
            Self::NotATask(why) => f.write_str(why),
            Self::NoSuchTask(name) => write!(f, "there is no task `{name}` in this module"),
            Self::NoSuchMethod(name) => write!(f, "there is no start method `{name}`"),
            Self::MethodIsSet => f.write_str("the start method has been set before"),
            Self::CannotFork => f.write_str(
                "it cannot be forked: the module keeps state elsewhere than in its memory, or something is mapped to which there \
                 is no handle any more",
            ),
            Self::Encode(why) => write!(f, "the arguments cannot be serialized: {why}"),
            Self::NotAChild => f.write_str("it is no child of this process, but of the one that this is a copy of"),
            Self::StillRunning => f.write_str("the process is still running: join it, or terminate it first"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Unsupported => f.write_str("there are no processes outside of a wasmp worker"),
            Self::Refused(why) => write!(f, "the host has refused: {why}"),
        }
    }
}

impl error::Error for ProcessError {}

impl From<Status> for ProcessError {
    fn from(status: Status) -> Self {
        match status {
            Status::ProcessLimit => Self::Limit,
            Status::TooLarge => Self::Encode("they are larger than a message may be".to_owned()),
            Status::Interrupted => Self::Interrupted,
            Status::NotFound => Self::NotAChild,
            Status::Unsupported => Self::Unsupported,
            other => Self::Refused(other.name()),
        }
    }
}
