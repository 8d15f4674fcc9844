//! What can go wrong with what a manager has.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Deserializer};
use wasmp_abi::ErrorKind;

use crate::protocol::Status;
use crate::tls::TlsError;

/// Why a manager, or what it manages, did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager has ended: it was shut down or killed, or it ran out of memory. What it managed is gone
    /// (CPython: `BrokenPipeError`, `EOFError` or `ConnectionRefusedError`). Whether the last request was served is not
    /// known.
    Gone,
    /// The manager has no such object: nobody kept it.
    NoSuchObject,
    /// The object is of another type than this handle.
    WrongType,
    /// There is no such place in the list (CPython: `IndexError`).
    OutOfRange,
    /// What is to be added to is no whole number, or the sum would not fit into 64 bits.
    NoNumber,
    /// There would be more in the manager than it may hold.
    Full,
    /// A request or an answer is longer than a message may be.
    TooLarge,
    /// The lock is held by somebody else, or by nobody (CPython: `AssertionError`).
    NotOwner,
    /// A lock or a semaphore was released, or an item of a queue reported as done, more often than acquired (CPython:
    /// `ValueError`).
    TooMany,
    /// The barrier is broken: somebody did not come in time, is gone or gave up, or it was reset (CPython:
    /// `BrokenBarrierError`).
    BrokenBarrier,
    /// The queue has been empty for all the time there was (CPython: `queue.Empty`).
    QueueEmpty,
    /// The queue has been full for all the time there was (CPython: `queue.Full`).
    QueueFull,
    /// The queue is shut down, and, for who gets, empty (CPython: `queue.ShutDown`).
    QueueShutDown,
    /// There is nothing of that size: a barrier for nobody, a semaphore with more than 2³¹ - 1 permits, a semaphore of which
    /// none are released (CPython: `ValueError`).
    Invalid,
    /// The pool was closed or terminated, and takes no more work (CPython: `ValueError("Pool not running")`).
    PoolNotRunning,
    /// The pool was neither closed nor terminated, and cannot be joined (CPython: `ValueError("Pool is still running")`).
    PoolStillRunning,
    /// The manager and its pools may have no more processes.
    ProcessLimit,
    /// The manager has no module, and so no tasks that a pool could run.
    NoTasks,
    /// The wait was ended from outside.
    Interrupted,
    /// This is not a wasmp worker, or one that cannot do this.
    Unsupported,
    /// No manager can be started, or reached: why.
    Start(String),
    /// The manager, or this program, has another key (CPython: `AuthenticationError`).
    Authentication,
    /// The manager speaks TLS and this program does not, or the other way round, or it is not whom it should be.
    Tls(TlsError),
    /// A value could not be written: why.
    Encode(String),
    /// What came back is not of the type that was asked for: why.
    Decode(String),
    /// The manager's answer makes no sense, or it says so of what it was asked.
    Protocol,
    /// The constructor or the method of an [`Object`](crate::Object) has failed. An error that it has returned, and arguments
    /// that do not fit, leave the object as it is; anything else spoils it.
    Call(Box<CallError>),
    /// The object was spoiled by an earlier call, and this is how that has failed.
    Spoiled(Box<CallError>),
    /// The manager's module has no such type.
    NoSuchType {
        /// The type that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The type has no such method, or does not expose it (CPython: `AttributeError`, or `RemoteError`).
    NoSuchMethod {
        /// The method that was asked for.
        name: String,
        /// Those that there are.
        exposed: Vec<String>,
    },
}

/// How the constructor or a method of an [`Object`](crate::Object) has failed. CPython: the exception that the server passes on.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CallError {
    /// What kind of failure it was.
    #[serde(deserialize_with = "kind")]
    pub kind: ErrorKind,
    /// The failure in words: those of the error or the panic, where there are any.
    pub message: String,
    /// What caused the error that was returned, then what caused that, in words.
    pub causes: Vec<String>,
    /// The stack when it failed, innermost call first, one frame a line; for traps and panics.
    pub backtrace: Option<String>,
    /// The exit code, for [`ErrorKind::Exit`].
    pub exit_code: Option<i32>,
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ErrorKind, D::Error> {
    // A kind that this version does not know is one that the caller had no part in.
    Ok(ErrorKind::from_code(u16::deserialize(deserializer)?).unwrap_or(ErrorKind::Trap))
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::Error => f.write_str(&self.message)?,
            kind => write!(f, "{}: {}", kind.name(), self.message)?,
        }
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl Error for CallError {}

impl ManagerError {
    /// What an answer says; `Ok` if it was done, or has more to say of why not.
    pub(crate) fn of(status: Status) -> Result<Status, Self> {
        match status {
            Status::Done
            | Status::TimedOut
            | Status::Failed
            | Status::Spoiled
            | Status::NoSuchType
            | Status::NoSuchMethod => Ok(status),
            Status::NoSuchObject => Err(Self::NoSuchObject),
            Status::WrongType => Err(Self::WrongType),
            Status::OutOfRange => Err(Self::OutOfRange),
            Status::NoNumber => Err(Self::NoNumber),
            Status::Full => Err(Self::Full),
            Status::TooLarge => Err(Self::TooLarge),
            Status::Malformed => Err(Self::Protocol),
            Status::NotOwner => Err(Self::NotOwner),
            Status::TooMany => Err(Self::TooMany),
            Status::Broken => Err(Self::BrokenBarrier),
            Status::ShutDown => Err(Self::QueueShutDown),
            Status::Invalid => Err(Self::Invalid),
            Status::NotRunning => Err(Self::PoolNotRunning),
            Status::StillRunning => Err(Self::PoolStillRunning),
            Status::ProcessLimit => Err(Self::ProcessLimit),
            Status::NoTasks => Err(Self::NoTasks),
        }
    }
}

impl fmt::Display for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the manager has ended, and what it managed is gone",
            Self::NoSuchObject => {
                "the manager has no such object: it was released by who made it, and nobody was given it"
            }
            Self::WrongType => "the managed object is of another type",
            Self::OutOfRange => "there is no such place in the list",
            Self::NoNumber => "what is to be added to is no whole number, or the sum would not fit into 64 bits",
            Self::Full => "the manager would hold more than it may",
            Self::TooLarge => "the request or its answer is longer than a message may be",
            Self::NotOwner => "the lock is held by somebody else, or by nobody",
            Self::TooMany => "released, or reported as done, more often than acquired",
            Self::BrokenBarrier => "the barrier is broken",
            Self::QueueEmpty => "the queue is empty",
            Self::QueueFull => "the queue is full",
            Self::QueueShutDown => "the queue was shut down",
            Self::Invalid => "there is nothing of that size",
            Self::PoolNotRunning => "the pool is not running: it was closed or terminated",
            Self::PoolStillRunning => "the pool is still running: close or terminate it before join",
            Self::ProcessLimit => "the manager may have no more processes: the limit is reached",
            Self::NoTasks => {
                "the manager has no module, and so no tasks for a pool: give it one (`ManagerBuilder::module`, or \
                 `wasmp manager --module`)"
            }
            Self::Interrupted => "the wait was ended",
            Self::Unsupported => "not in a wasmp worker, or not supported by it",
            Self::Start(why) => return write!(f, "the manager cannot be reached: {why}"),
            Self::Authentication => "the manager has another key",
            Self::Tls(why) => return write!(f, "the manager cannot be reached: {why}"),
            Self::Encode(why) => return write!(f, "the value cannot be written: {why}"),
            Self::Decode(why) => return write!(f, "what is there is of another type: {why}"),
            Self::Protocol => "the manager and its client do not understand each other",
            Self::Call(error) => return error.fmt(f),
            Self::Spoiled(error) => return write!(f, "the object was spoiled by an earlier call: {error}"),
            Self::NoSuchType { name, known } => {
                let none = "the manager's module has no types: mark an `impl` with `#[managed]`, and give the module to the manager";
                return list(f, format_args!("no type `{name}`"), "the manager's module has", known, none);
            }
            Self::NoSuchMethod { name, exposed } => {
                let none = "its type exposes none";
                return list(f, format_args!("no method `{name}`"), "the type exposes", exposed, none);
            }
        })
    }
}

/// Says that there is no such thing, and which there are.
fn list(f: &mut fmt::Formatter<'_>, no: fmt::Arguments<'_>, has: &str, there: &[String], none: &str) -> fmt::Result {
    match there {
        [] => write!(f, "{no}: {none}"),
        there => write!(f, "{no}: {has} {}", there.join(", ")),
    }
}

impl Error for ManagerError {}
