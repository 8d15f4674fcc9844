//! What becomes of an item or a job that has no result: as the supervisor notes it down, and as callers read it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Cause, ErrorKind, TaskError};
use crate::wire::Fault;

/// An item that has no result, and whose fault that was.
#[derive(Deserialize, Serialize, Debug)]
pub(crate) struct Failure {
    pub(crate) what: What,
    pub(crate) runner: Runner,
}

/// Who ran an item that failed.
#[derive(Deserialize, Serialize, Clone, Copy, Debug)]
pub(crate) struct Runner {
    pub(crate) worker: u32,
    pub(crate) pid: u32,
    pub(crate) attempt: u32,
    /// Bytes of memory that it had, as far as is known of one that cannot tell any more.
    pub(crate) memory: u64,
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
    Signaled {
        signal: i32,
        /// Whether the system has killed processes meanwhile as it was out of memory; `None`: it does not say.
        out_of_memory: Option<bool>,
    },
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
    let Failure { what, runner } = failure;
    let Runner {
        worker,
        pid,
        attempt,
        memory,
    } = *runner;
    let mut error = TaskError {
        worker,
        pid,
        attempt,
        peak_memory: memory,
        ..TaskError::new(ErrorKind::WorkerLost, String::new(), task, index)
    };
    match what {
        What::Reported(bytes) => {
            let fault = Fault::from_bytes(bytes);
            error.kind = fault.kind();
            error.message = fault.message;
            error.cause = Cause::chain(fault.causes);
            error.peak_memory = fault.memory;
            error.backtrace = fault.backtrace;
            error.exit_code = fault.exit_code;
        }
        What::Timeout(limit) => {
            error.kind = ErrorKind::Timeout;
            error.message = format!("ran longer than {limit:?} and was killed");
        }
        What::Lost(loss) => {
            let how = match loss {
                Loss::Signaled { signal, out_of_memory } => {
                    error.signal = Some(*signal);
                    let cause = match signal {
                        &libc::SIGKILL => describe_kill(*out_of_memory),
                        other => describe_signal(*other),
                    };
                    format!("was killed by signal {signal}{cause}")
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

/// What lies behind a SIGKILL that was not the pool's.
fn describe_kill(out_of_memory: Option<bool>) -> &'static str {
    match out_of_memory {
        Some(true) => {
            " (SIGKILL: memory ran out, that of the system or of a control group, and the system killed processes; fewer \
             workers or a smaller memory limit for each may help)"
        }
        Some(false) => " (SIGKILL: somebody killed it; the system was not out of memory)",
        None => " (SIGKILL: somebody killed it, or the system was out of memory)",
    }
}

/// The signal's name, and what may lie behind it.
fn describe_signal(signal: i32) -> &'static str {
    match signal {
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

    const RUNNER: Runner = Runner {
        worker: 2,
        pid: 123,
        attempt: 1,
        memory: 70_000,
    };

    fn killed(out_of_memory: Option<bool>) -> TaskError {
        let loss = Loss::Signaled {
            signal: 9,
            out_of_memory,
        };
        let failure = Failure {
            what: What::Lost(loss),
            runner: RUNNER,
        };
        task_error("square", 4, &failure)
    }

    #[test]
    fn a_killed_worker_is_reported_with_its_signal() {
        let error = killed(Some(false));
        assert_eq!(
            (error.kind, error.signal, error.index, error.peak_memory),
            (ErrorKind::WorkerLost, Some(9), 4, 70_000)
        );
        assert_eq!(
            error.message,
            "worker 2 (pid 123) was killed by signal 9 (SIGKILL: somebody killed it; the system was not out of memory) \
             while it ran this item"
        );
    }

    #[test]
    fn a_kill_of_a_system_without_memory_says_so() {
        let message = killed(Some(true)).message;
        assert!(message.contains("memory ran out"), "{message}");
        let message = killed(None).message;
        assert!(message.contains("or the system was out of memory"), "{message}");
    }

    #[test]
    fn causes_are_a_chain() {
        let fault = Fault {
            causes: vec!["cannot open it".into(), "no such file".into()],
            memory: 65_536,
            ..Fault::new(ErrorKind::Error, "cannot read it")
        };
        let failure = Failure {
            what: What::Reported(fault.to_bytes()),
            runner: RUNNER,
        };
        let error = task_error("read", 0, &failure);
        assert_eq!(error.to_string(), "cannot read it");
        assert_eq!(format!("{error:#}"), "cannot read it: cannot open it: no such file");
        assert_eq!(error.peak_memory, 65_536);
        let sources = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        assert_eq!(
            sources.map(ToString::to_string).collect::<Vec<_>>(),
            ["cannot open it", "no such file"]
        );
    }
}
