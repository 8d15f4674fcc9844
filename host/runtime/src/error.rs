//! What can go wrong, as typed, plain data.
//!
//! [`Error`] is what a call on the library returns; [`TaskError`] is what became of one item: every item that is not a
//! value is one of these, whatever its task or its worker did.

use std::time::Duration;
use std::{fmt, iter};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use wasmp_abi::ErrorKind;

use crate::module::ModuleError;

/// The result of a library call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call on the library failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The module cannot be used.
    Module(ModuleError),
    /// The module has no task of this name.
    NoSuchTask {
        /// The name that was asked for.
        name: String,
        /// The names that there are, in the module's order.
        tasks: Vec<String>,
    },
    /// An item failed.
    Task(Box<TaskError>),
    /// The arguments cannot be serialized.
    Encode(String),
    /// The result is not of the type that was asked for.
    Decode(String),
    /// A setting has a value that makes no sense.
    Invalid(String),
    /// A granted directory cannot be opened.
    Grant {
        /// The directory on the host.
        path: std::path::PathBuf,
        /// Why it cannot be opened.
        source: std::io::Error,
    },
    /// A file of [`Grants`](crate::Grants) cannot be used.
    Grants {
        /// The file.
        path: std::path::PathBuf,
        /// The line with the mistake, from 1, if it is in one.
        line: Option<usize>,
        /// What is wrong.
        why: String,
    },
    /// The directory for logs cannot be made or opened.
    LogDir {
        /// The directory on the host.
        path: std::path::PathBuf,
        /// Why it cannot be used.
        source: std::io::Error,
    },
    /// The sandbox is to be [`Strict`](crate::Sandbox::Strict), and this system lacks a part of it, which is named.
    Sandbox(String),
    /// The pool was closed or terminated and takes no more work (CPython: `ValueError("Pool not running")`).
    NotRunning,
    /// `join` before `close` or `terminate` (CPython: `ValueError("Pool is still running")`).
    StillRunning,
    /// A wait ended before its result came; the item goes on.
    WaitTimeout(Duration),
    /// A callback panicked; the item itself may have a result.
    Callback(String),
    /// The worker processes cannot be started.
    Start {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The compiled module cannot be written.
    Write(std::io::Error),
    /// The trace of a pool cannot be written; its work is not affected.
    Trace(std::io::Error),
    /// No executable is known that can act as a worker.
    NoWorkerExecutable(String),
    /// The pool gave up: its workers cannot run, and this is why.
    Broken(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(error) => error.fmt(f),
            Self::NoSuchTask { name, tasks } => {
                write!(f, "no task `{name}` in the module")?;
                match closest(name, tasks) {
                    Some(near) => write!(f, "; did you mean `{near}`?")?,
                    None if tasks.is_empty() => return write!(f, "; it has no tasks at all"),
                    None => {}
                }
                write!(f, " (its tasks are: {})", tasks.join(", "))
            }
            Self::Task(error) => error.fmt(f),
            Self::Encode(why) => write!(f, "the arguments cannot be serialized: {why}"),
            Self::Decode(why) => write!(f, "the result is not of the expected type: {why}"),
            Self::Invalid(why) => f.write_str(why),
            Self::Grant { path, source } => {
                write!(f, "the directory `{}` cannot be granted: {source}", path.display())
            }
            Self::Grants { path, line, why } => match line {
                Some(line) => write!(f, "{}:{line}: {why}", path.display()),
                None => write!(f, "{}: {why}", path.display()),
            },
            Self::LogDir { path, source } => {
                write!(f, "the directory `{}` cannot take logs: {source}", path.display())
            }
            Self::Sandbox(missing) => write!(
                f,
                "the sandbox is strict, and this system has no {missing}; `wasmp doctor` says more, and the level \
                 best-effort goes on without Landlock"
            ),
            Self::NotRunning => f.write_str("the pool is not running: it was closed or terminated"),
            Self::StillRunning => f.write_str("the pool is still running: close or terminate it before join"),
            Self::WaitTimeout(limit) => write!(f, "no result within {limit:?}"),
            Self::Callback(panic) => write!(f, "a callback panicked: {panic}"),
            Self::Start { what, source } => write!(f, "cannot {what}: {source}"),
            Self::Write(source) => write!(f, "the compiled module cannot be written: {source}"),
            Self::Trace(source) => write!(f, "the trace cannot be written: {source}"),
            Self::NoWorkerExecutable(why) => write!(f, "no worker executable: {why}"),
            Self::Broken(why) => write!(f, "the pool gave up: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Their words are this error's words.
            Self::Module(error) => error.source(),
            Self::Task(error) => error.source(),
            Self::Grant { source, .. } | Self::LogDir { source, .. } | Self::Start { source, .. } => Some(source),
            Self::Write(source) | Self::Trace(source) => Some(source),
            _ => None,
        }
    }
}

impl From<ModuleError> for Error {
    fn from(error: ModuleError) -> Self {
        Self::Module(error)
    }
}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        Self::Task(Box::new(error))
    }
}

/// What became of an item that has no result.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskError {
    /// What kind of failure it was.
    #[serde(serialize_with = "code", deserialize_with = "kind")]
    pub kind: ErrorKind,
    /// The failure in words: the guest's own message where there is one.
    pub message: String,
    /// What caused the error that the task returned, if it knows: also its [`source`](std::error::Error::source).
    pub cause: Option<Box<Cause>>,
    /// The guest's stack when it failed, innermost call first, one frame a line; for traps and panics.
    pub backtrace: Option<String>,
    /// The task's name.
    pub task: String,
    /// The item's place among the inputs of its call, from 0.
    pub index: u64,
    /// The slot of the worker that ran it, from 1; 0 if it never ran.
    pub worker: u32,
    /// The process id of that worker; 0 if it never ran.
    pub pid: u32,
    /// Which attempt this was, from 1.
    pub attempt: u32,
    /// The guest's exit code, for [`ErrorKind::Exit`], or the worker's own, when it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that killed the worker, for [`ErrorKind::WorkerLost`].
    pub signal: Option<i32>,
    /// The most bytes that the memory of an instance of this worker had until then; 0 if it never ran.
    pub peak_memory: u64,
}

impl TaskError {
    /// A failure about which no more is known than this.
    pub(crate) fn new(kind: ErrorKind, message: String, task: &str, index: u64) -> Self {
        Self {
            kind,
            message,
            cause: None,
            backtrace: None,
            task: task.to_owned(),
            index,
            worker: 0,
            pid: 0,
            attempt: 0,
            exit_code: None,
            signal: None,
            peak_memory: 0,
        }
    }

    /// What caused it, then what caused that.
    ///
    /// ```
    /// # fn show(error: &wasmp::TaskError) {
    /// println!("{}", error.message);
    /// for cause in error.causes() {
    ///     println!("  caused by: {}", cause.message);
    /// }
    /// # }
    /// ```
    pub fn causes(&self) -> impl Iterator<Item = &Cause> {
        iter::successors(self.cause.as_deref(), |cause| cause.cause.as_deref())
    }
}

/// A kind as the number by which guests know it.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn code<S: Serializer>(kind: &ErrorKind, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_u16(*kind as u16)
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<ErrorKind, D::Error> {
    // A kind that this version does not know is one that the item had no part in.
    Ok(ErrorKind::from_code(u16::deserialize(deserializer)?).unwrap_or(ErrorKind::WorkerLost))
}

impl fmt::Display for TaskError {
    /// The message; with `{:#}` also what caused it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !f.alternate() {
            return Ok(());
        }
        self.causes().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// An error of the guest's that caused another, as its words.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// The error in words.
    pub message: String,
    /// What caused it in turn.
    pub cause: Option<Box<Self>>,
}

impl Cause {
    /// The chain that these words are, the first of which is nearest to the failure.
    pub(crate) fn chain(words: Vec<String>) -> Option<Box<Self>> {
        words
            .into_iter()
            .rev()
            .fold(None, |cause, message| Some(Box::new(Self { message, cause })))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// The candidate that `name` is most likely a misspelling of: at most a third of its letters differ.
pub(crate) fn closest<'a>(name: &str, candidates: &'a [String]) -> Option<&'a str> {
    candidates
        .iter()
        .map(|candidate| (edit_distance(name, candidate), candidate.as_str()))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_task_is_suggested_and_a_stranger_is_not() {
        let tasks = ["count_words".to_owned(), "square".to_owned()];
        assert_eq!(closest("squre", &tasks), Some("square"));
        assert_eq!(closest("count_word", &tasks), Some("count_words"));
        assert_eq!(closest("reverse_all", &tasks), None);
    }

    #[test]
    fn an_unknown_task_is_reported_with_what_there_is() {
        let error = Error::NoSuchTask {
            name: "squre".into(),
            tasks: vec!["square".into(), "cube".into()],
        };
        assert_eq!(
            error.to_string(),
            "no task `squre` in the module; did you mean `square`? (its tasks are: square, cube)"
        );
    }
}
