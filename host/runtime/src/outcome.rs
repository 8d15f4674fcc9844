//! What becomes of an item or a job that has no result: as the supervisor notes it down, and as callers read it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, TaskError};
use crate::wire::Fault;

/// An item that has no result, and whose fault that was.
#[derive(Deserialize, Serialize, Debug)]
pub(crate) struct Failure {
    pub(crate) what: What,
    pub(crate) worker: u32,
    pub(crate) pid: u32,
    pub(crate) attempt: u32,
}

/// Why there is no result.
#[derive(Deserialize, Serialize, Debug)]
pub(crate) enum What {
    /// The worker says so; the bytes are a `Fault`, not yet looked at.
    Reported(Vec<u8>),
    /// It ran longer than this.
    Timeout(Duration),
    /// The worker is gone.
    Lost(Loss),
}

/// How a worker went.
#[derive(Deserialize, Serialize, Clone, Debug)]
pub(crate) enum Loss {
    Signaled(i32),
    Exited(i32),
    /// It broke the protocol and was killed for it.
    Violation(String),
    /// Nobody could tell.
    Unknown,
}

/// Why a job ends before all of its items have an outcome.
#[derive(Deserialize, Serialize, Clone, Debug)]
pub(crate) enum End {
    /// Whoever wanted it wants it no more.
    Cancelled,
    /// The pool was terminated.
    Terminated,
    /// It cannot begin, for this reason.
    Refused(String),
    /// The pool cannot go on, for this reason.
    Broken(String),
}

impl End {
    /// Why a job ended.
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Cancelled => "it was cancelled before it was done",
            Self::Terminated => "the pool was terminated before this item was done",
            Self::Refused(why) | Self::Broken(why) => why,
        }
    }
}

/// What became of item `index` of a call of `task`, in words.
pub(crate) fn task_error(task: &str, index: u64, failure: &Failure) -> TaskError {
    let Failure {
        what,
        worker,
        pid,
        attempt,
    } = failure;
    let mut error = TaskError {
        kind: ErrorKind::WorkerLost,
        message: String::new(),
        backtrace: None,
        task: task.to_owned(),
        index,
        worker: *worker,
        pid: *pid,
        attempt: *attempt,
        exit_code: None,
        signal: None,
    };
    match what {
        What::Reported(bytes) => {
            let fault = Fault::from_bytes(bytes);
            error.kind = fault.kind();
            error.message = fault.message;
            error.backtrace = fault.backtrace;
            error.exit_code = fault.exit_code;
        }
        What::Timeout(limit) => {
            error.kind = ErrorKind::Timeout;
            error.message = format!("ran longer than {limit:?} and was killed");
        }
        What::Lost(loss) => {
            let how = match loss {
                Loss::Signaled(signal) => {
                    error.signal = Some(*signal);
                    format!("was killed by signal {signal}{}", describe_signal(*signal))
                }
                Loss::Exited(code) => {
                    error.exit_code = Some(*code);
                    format!("ended with exit code {code}")
                }
                Loss::Violation(why) => format!("broke the protocol ({why}) and was killed"),
                Loss::Unknown => "died, nobody knows how".to_owned(),
            };
            error.message = format!("worker {worker} (pid {pid}) {how} while it ran this item");
        }
    }
    error
}

/// The signal's name, and what may lie behind it.
fn describe_signal(signal: i32) -> &'static str {
    match signal {
        libc::SIGKILL => " (SIGKILL: somebody killed it, or the system was out of memory)",
        libc::SIGTERM => " (SIGTERM)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGSYS => " (SIGSYS: a system call that the sandbox forbids)",
        libc::SIGXFSZ => " (SIGXFSZ: a file grew beyond its limit)",
        libc::SIGXCPU => " (SIGXCPU)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_worker_is_reported_with_its_signal() {
        let failure = Failure {
            what: What::Lost(Loss::Signaled(9)),
            worker: 2,
            pid: 123,
            attempt: 1,
        };
        let error = task_error("square", 4, &failure);
        assert_eq!(
            (error.kind, error.signal, error.index),
            (ErrorKind::WorkerLost, Some(9), 4)
        );
        assert!(
            error.message.contains("worker 2 (pid 123) was killed by signal 9"),
            "{}",
            error.message
        );
    }
}
