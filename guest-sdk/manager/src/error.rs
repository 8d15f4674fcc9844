//! What can go wrong with what a manager has.

use std::fmt;

use crate::protocol::Status;

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
    /// The wait was ended from outside.
    Interrupted,
    /// This is not a wasmp worker, or one that cannot do this.
    Unsupported,
    /// No manager can be started, or reached: why.
    Start(String),
    /// The manager, or this program, has another key (CPython: `AuthenticationError`).
    Authentication,
    /// A value could not be written: why.
    Encode(String),
    /// What came back is not of the type that was asked for: why.
    Decode(String),
    /// The manager's answer makes no sense, or it says so of what it was asked.
    Protocol,
}

impl ManagerError {
    /// What an answer says; `Ok` if it was done, or the time was up.
    pub(crate) fn of(status: Status) -> Result<Status, Self> {
        match status {
            Status::Done | Status::TimedOut => Ok(status),
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
            Self::Interrupted => "the wait was ended",
            Self::Unsupported => "not in a wasmp worker, or not supported by it",
            Self::Start(why) => return write!(f, "the manager cannot be reached: {why}"),
            Self::Authentication => "the manager has another key",
            Self::Encode(why) => return write!(f, "the value cannot be written: {why}"),
            Self::Decode(why) => return write!(f, "what is there is of another type: {why}"),
            Self::Protocol => "the manager and its client do not understand each other",
        })
    }
}

impl std::error::Error for ManagerError {}
