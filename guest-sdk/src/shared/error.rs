//! What can go wrong: [`SharedError`] for any object, and a type for each operation that has troubles of its own.
//!
//! A time that is up is no error where Python returns `False` (then it is `false` or `None`), and one where Python
//! raises.

use std::{error::Error, fmt};

use wasmp_abi::Status;

/// What can go wrong with a shared object, whichever it is.
///
/// ```
/// use wasmp_guest::{Lock, SharedError};
///
/// // This is not a wasmp worker.
/// assert_eq!(Lock::new().unwrap_err(), SharedError::Unsupported);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SharedError {
    /// This is not a wasmp worker, or one that cannot do this.
    Unsupported,
    /// The host ended the wait.
    Interrupted,
    /// The object is broken for everybody: its memory was overwritten.
    Corrupt,
    /// There is no object of this name, or it no longer exists.
    NotFound,
    /// The name is taken.
    Exists,
    /// The name belongs to an object of another kind.
    WrongKind,
    /// The pool may have no more objects, or this worker no more handles.
    ObjectLimit,
    /// The pool may share no more bytes.
    ByteLimit,
    /// A number or a name is outside of what is possible.
    Invalid,
    /// What the host has answered does not belong to what it was asked.
    Unexpected(&'static str),
}

impl SharedError {
    pub(crate) fn new(status: Status) -> Self {
        match status {
            Status::Unsupported => Self::Unsupported,
            Status::Interrupted => Self::Interrupted,
            Status::Corrupt => Self::Corrupt,
            Status::NotFound => Self::NotFound,
            Status::Exists => Self::Exists,
            Status::WrongKind => Self::WrongKind,
            Status::ObjectLimit => Self::ObjectLimit,
            Status::ByteLimit => Self::ByteLimit,
            Status::Invalid => Self::Invalid,
            other => Self::Unexpected(other.name()),
        }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "not in a wasmp worker, or not supported by it",
            Self::Interrupted => "the host ended the wait",
            Self::Corrupt => "the object is broken: its memory was overwritten",
            Self::NotFound => "there is no such object",
            Self::Exists => "the name is taken",
            Self::WrongKind => "the name belongs to an object of another kind",
            Self::ObjectLimit => "the pool may have no more objects, or this worker no more handles",
            Self::ByteLimit => "the pool may share no more bytes",
            Self::Invalid => "a number or a name is outside of what is possible",
            Self::Unexpected(status) => return write!(f, "the host has answered {status}, which does not belong here"),
        })
    }
}

impl Error for SharedError {}

/// The last case of every other error, [`Shared`](ReleaseError::Shared).
macro_rules! others {
    ($($error:ident)*) => {$(
        impl From<SharedError> for $error {
            fn from(error: SharedError) -> Self {
                Self::Shared(error)
            }
        }

        impl Error for $error {}
    )*};
}

others!(ReleaseError ConditionError BarrierError GetError TaskDoneError SendError RecvError MemoryError ListError);

/// Why a lock or a semaphore was not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Another worker holds it, or nobody does. CPython: `AssertionError`.
    NotOwner,
    /// It was released more often than acquired. CPython: `ValueError`.
    TooMany,
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl ReleaseError {
    pub(crate) fn new(status: Status) -> Self {
        match status {
            Status::NotOwner => Self::NotOwner,
            Status::TooMany => Self::TooMany,
            other => Self::Shared(SharedError::new(other)),
        }
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwner => f.write_str("the lock is held by another worker, or by nobody"),
            Self::TooMany => f.write_str("released more often than acquired"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why a condition cannot be waited for or notified about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConditionError {
    /// Another worker holds the condition's lock, or nobody does. CPython: `AssertionError`.
    NotOwner,
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl ConditionError {
    pub(crate) fn new(status: Status) -> Self {
        match status {
            Status::NotOwner => Self::NotOwner,
            other => Self::Shared(SharedError::new(other)),
        }
    }
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwner => f.write_str("the condition's lock is held by another worker, or by nobody"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why the parties of a barrier did not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BarrierError {
    /// Somebody did not come in time, has died or gave up, or the barrier was reset. CPython: `BrokenBarrierError`.
    Broken,
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl BarrierError {
    pub(crate) fn new(status: Status) -> Self {
        match status {
            Status::Broken => Self::Broken,
            other => Self::Shared(SharedError::new(other)),
        }
    }
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("the barrier is broken"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why a value was not put into a queue. The value is still there.
///
/// ```
/// use wasmp_guest::{PutError, Queue};
///
/// fn put_or_count(queue: &Queue<String>, value: String, lost: &mut u64) -> Result<(), PutError<String>> {
///     match queue.try_put(value) {
///         Err(PutError::Full(_)) => *lost += 1,
///         other => other?,
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutError<T> {
    /// No room was made in time. CPython: `queue.Full`.
    Full(T),
    /// The queue was shut down.
    ShutDown(T),
    /// The message is larger than a message may be, or could never fit into the queue.
    TooLarge(T),
    /// Serde cannot carry the value, for this reason.
    Encode(T, String),
    /// Something that can happen to any object.
    Shared(T, SharedError),
}

impl<T> PutError<T> {
    pub(crate) fn new(status: Status, value: T) -> Self {
        match status {
            Status::TimedOut => Self::Full(value),
            Status::ShutDown => Self::ShutDown(value),
            Status::TooLarge => Self::TooLarge(value),
            other => Self::Shared(value, SharedError::new(other)),
        }
    }

    /// The value that is not in the queue.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value)
            | Self::ShutDown(value)
            | Self::TooLarge(value)
            | Self::Encode(value, _)
            | Self::Shared(value, _) => value,
        }
    }

    /// Whether the queue was full for all the time there was.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the queue was shut down.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        matches!(self, Self::ShutDown(_))
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the queue is full"),
            Self::ShutDown(_) => f.write_str("the queue was shut down"),
            Self::TooLarge(_) => f.write_str("the message is too large for the queue"),
            Self::Encode(_, problem) => write!(f, "the value cannot be encoded: {problem}"),
            Self::Shared(_, error) => error.fmt(f),
        }
    }
}

/// The error without the value, which need not be something that can be shown.
impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutError({self})")
    }
}

impl<T> Error for PutError<T> {}

/// Why nothing was gotten from a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetError {
    /// Nothing came in time. CPython: `queue.Empty`.
    Empty,
    /// The queue was shut down, and nothing is left in it.
    ShutDown,
    /// This worker has no memory for the message. It has left the queue.
    TooLarge,
    /// The message is of another type, for this reason. It has left the queue.
    Decode(String),
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl GetError {
    pub(crate) fn new(status: Status) -> Self {
        match status {
            Status::TimedOut => Self::Empty,
            Status::ShutDown => Self::ShutDown,
            Status::TooLarge => Self::TooLarge,
            other => Self::Shared(SharedError::new(other)),
        }
    }

    /// Whether the queue was empty for all the time there was.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the queue was shut down.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        matches!(self, Self::ShutDown)
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the queue is empty"),
            Self::ShutDown => f.write_str("the queue was shut down"),
            Self::TooLarge => f.write_str("this worker has no memory for the message"),
            Self::Decode(problem) => write!(f, "the message cannot be decoded: {problem}"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why a message of a queue was not marked as dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskDoneError {
    /// More messages were reported as done than gotten. CPython: `ValueError`.
    TooMany,
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl TaskDoneError {
    pub(crate) fn new(status: Status) -> Self {
        match status {
            Status::TooMany => Self::TooMany,
            other => Self::Shared(SharedError::new(other)),
        }
    }
}

impl fmt::Display for TaskDoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("more messages were reported as done than gotten"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// No room was made in time.
    TimedOut,
    /// The other end is gone. CPython: `BrokenPipeError`.
    BrokenPipe,
    /// This end only receives. CPython: `OSError`.
    Direction,
    /// The message is larger than a message may be.
    TooLarge,
    /// Serde cannot carry the value, for this reason.
    Encode(String),
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl SendError {
    pub(crate) fn new(status: Status) -> Self {
        match status {
            Status::TimedOut => Self::TimedOut,
            Status::Broken => Self::BrokenPipe,
            Status::Direction => Self::Direction,
            Status::TooLarge => Self::TooLarge,
            other => Self::Shared(SharedError::new(other)),
        }
    }

    /// Whether there was no room for all the time there was.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the connection had no room in time"),
            Self::BrokenPipe => f.write_str("the other end of the connection is gone"),
            Self::Direction => f.write_str("this end of the connection only receives"),
            Self::TooLarge => f.write_str("the message is too large"),
            Self::Encode(problem) => write!(f, "the value cannot be encoded: {problem}"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why nothing was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing came in time.
    TimedOut,
    /// The other end is gone, and everything it had sent has been received. CPython: `EOFError`.
    EndOfFile,
    /// This end only sends. CPython: `OSError`.
    Direction,
    /// The message, which is here, is longer than the buffer. CPython: `BufferTooShort`.
    BufferTooShort(Vec<u8>),
    /// This worker has no memory for the message. It was received.
    TooLarge,
    /// The message is of another type, for this reason. It was received.
    Decode(String),
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl RecvError {
    pub(crate) fn new(status: Status) -> Self {
        match status {
            Status::TimedOut => Self::TimedOut,
            Status::End => Self::EndOfFile,
            Status::Direction => Self::Direction,
            Status::TooLarge => Self::TooLarge,
            other => Self::Shared(SharedError::new(other)),
        }
    }

    /// Whether nothing came for all the time there was.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("nothing was received in time"),
            Self::EndOfFile => f.write_str("the other end of the connection is gone, and nothing is left to receive"),
            Self::Direction => f.write_str("this end of the connection only sends"),
            Self::TooLarge => f.write_str("this worker has no memory for the message"),
            Self::BufferTooShort(message) => {
                write!(f, "the buffer is too short for a message of {} bytes", message.len())
            }
            Self::Decode(problem) => write!(f, "the message cannot be decoded: {problem}"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why shared memory was not read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryError {
    /// That would be beyond the end. CPython: `IndexError`.
    OutOfRange,
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl MemoryError {
    pub(crate) fn new(status: Status) -> Self {
        match status {
            Status::Invalid => Self::OutOfRange,
            other => Self::Shared(SharedError::new(other)),
        }
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("out of range"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// What is wrong with a shareable list, or with what was asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListError {
    /// The list is not so long. CPython: `IndexError`.
    OutOfRange,
    /// The text or the bytes are longer than the place for them. CPython: `ValueError`, "exceeds available storage".
    TooLong,
    /// This memory holds no list, or two have written to the same place at once.
    Malformed,
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("the index is out of range"),
            Self::TooLong => f.write_str("the item exceeds the available storage"),
            Self::Malformed => f.write_str("the memory holds no shareable list, or one that is being written"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

impl From<MemoryError> for ListError {
    fn from(error: MemoryError) -> Self {
        match error {
            // All offsets come from the list.
            MemoryError::OutOfRange => Self::Malformed,
            MemoryError::Shared(error) => Self::Shared(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_fits_the_one_for_all() {
        fn put(value: i64) -> crate::Result<()> {
            Err(PutError::Full(value))?
        }
        fn get() -> crate::Result<()> {
            Err(GetError::new(Status::ShutDown))?
        }
        assert_eq!(put(1).unwrap_err().to_string(), "the queue is full");
        assert_eq!(get().unwrap_err().to_string(), "the queue was shut down");
    }

    #[test]
    fn each_operation_knows_its_own_conditions() {
        assert_eq!(ReleaseError::new(Status::TooMany), ReleaseError::TooMany);
        assert_eq!(ConditionError::new(Status::NotOwner), ConditionError::NotOwner);
        assert_eq!(BarrierError::new(Status::Broken), BarrierError::Broken);
        assert!(GetError::new(Status::TimedOut).is_timeout());
        assert_eq!(TaskDoneError::new(Status::TooMany), TaskDoneError::TooMany);
        assert_eq!(SendError::new(Status::Broken), SendError::BrokenPipe);
        assert_eq!(RecvError::new(Status::End), RecvError::EndOfFile);
        assert_eq!(MemoryError::new(Status::Invalid), MemoryError::OutOfRange);

        let full = PutError::new(Status::TimedOut, "value");
        assert!(full.is_timeout() && !full.is_shut_down());
        assert_eq!(full.into_inner(), "value");
    }

    #[test]
    fn what_belongs_elsewhere_is_told_as_it_is() {
        assert_eq!(SharedError::new(Status::End), SharedError::Unexpected("end"));
        assert_eq!(
            GetError::new(Status::NotOwner).to_string(),
            "the host has answered not_owner, which does not belong here"
        );
    }
}
