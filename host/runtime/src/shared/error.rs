//! What can go wrong: [`SharedError`] for any object, and a type for each operation that has troubles of its own.
//!
//! A time that is up is no error where Python returns `False` (then it is `false` or `None`), and one where Python raises.

use std::error::Error;
use std::fmt;

use wasmp_ipc as ipc;

/// What can go wrong with a shared object, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SharedError {
    /// The wait was interrupted.
    Interrupted,
    /// The object is broken for everybody: its memory was overwritten.
    Corrupt,
    /// There is no such object any more: it was unlinked.
    NotFound,
    /// So many cannot wait for a condition.
    ObjectLimit,
    /// A number is outside of what is possible, or a memory is too small for what it should hold.
    Invalid,
}

impl SharedError {
    /// What has become of a wait, `None` if its time was up.
    pub(super) fn in_time<T>(waited: Result<T, ipc::WaitError>) -> Result<Option<T>, Self> {
        match waited {
            Ok(value) => Ok(Some(value)),
            Err(ipc::WaitError::TimedOut) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<ipc::WaitError> for SharedError {
    fn from(error: ipc::WaitError) -> Self {
        match error {
            // A time that can be up is looked after by `in_time`.
            ipc::WaitError::TimedOut | ipc::WaitError::Interrupted => Self::Interrupted,
            ipc::WaitError::Broken => Self::Corrupt,
        }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupted => "the wait was interrupted",
            Self::Corrupt => "the object is broken: its memory was overwritten",
            Self::NotFound => "there is no such object any more",
            Self::ObjectLimit => "so many cannot wait for a condition",
            Self::Invalid => "a number is outside of what is possible, or a memory is too small",
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
    /// Another thread or process holds it, or nobody does. CPython: `AssertionError`.
    NotOwner,
    /// It was released more often than acquired. CPython: `ValueError`.
    TooMany,
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl From<ipc::ReleaseError> for ReleaseError {
    fn from(error: ipc::ReleaseError) -> Self {
        match error {
            ipc::ReleaseError::NotOwner => Self::NotOwner,
            ipc::ReleaseError::NotLocked | ipc::ReleaseError::TooMany => Self::TooMany,
            _ => Self::Shared(SharedError::Corrupt),
        }
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwner => f.write_str("the lock is held by somebody else, or by nobody"),
            Self::TooMany => f.write_str("released more often than acquired"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why a condition cannot be waited for or notified about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConditionError {
    /// Another thread or process holds the condition's lock, or nobody does. CPython: `AssertionError`.
    NotOwner,
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl From<ipc::ConditionError> for ConditionError {
    fn from(error: ipc::ConditionError) -> Self {
        match error {
            ipc::ConditionError::NotOwner => Self::NotOwner,
            ipc::ConditionError::Interrupted { .. } => Self::Shared(SharedError::Interrupted),
            ipc::ConditionError::TooManyWaiters => Self::Shared(SharedError::ObjectLimit),
            ipc::ConditionError::Broken => Self::Shared(SharedError::Corrupt),
        }
    }
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwner => f.write_str("the condition's lock is held by somebody else, or by nobody"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why the parties of a barrier did not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BarrierError {
    /// The time was up. This has broken the barrier for the others.
    TimedOut,
    /// The barrier is broken, or was reset meanwhile. CPython: `BrokenBarrierError`, which also stands for a time that is
    /// up.
    Broken,
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl BarrierError {
    /// Whether the time was up.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut)
    }
}

impl From<ipc::BarrierError> for BarrierError {
    fn from(error: ipc::BarrierError) -> Self {
        match error {
            ipc::BarrierError::TimedOut => Self::TimedOut,
            ipc::BarrierError::Broken => Self::Broken,
            ipc::BarrierError::Interrupted => Self::Shared(SharedError::Interrupted),
            ipc::BarrierError::Corrupt => Self::Shared(SharedError::Corrupt),
        }
    }
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("not everybody came to the barrier in time"),
            Self::Broken => f.write_str("the barrier is broken"),
            Self::Shared(error) => error.fmt(f),
        }
    }
}

/// Why a value was not put into a queue. The value is still there.
///
/// ```
/// use wasmp::{PutError, Queue};
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
    /// The queue was shut down. CPython 3.13: `queue.ShutDown`.
    ShutDown(T),
    /// The message is larger than a message may be, or could never fit into the queue.
    TooLarge(T),
    /// Serde cannot carry the value, for this reason.
    Encode(T, String),
    /// Something that can happen to any object.
    Shared(T, SharedError),
}

impl<T> PutError<T> {
    pub(super) fn new(error: ipc::PutError, value: T) -> Self {
        match error {
            ipc::PutError::Full => Self::Full(value),
            ipc::PutError::ShutDown => Self::ShutDown(value),
            ipc::PutError::TooLarge => Self::TooLarge(value),
            ipc::PutError::Interrupted => Self::Shared(value, SharedError::Interrupted),
            _ => Self::Shared(value, SharedError::Corrupt),
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
    /// The queue was shut down, and nothing is left in it. CPython 3.13: `queue.ShutDown`.
    ShutDown,
    /// The message is of another type, for this reason. It has left the queue.
    Decode(String),
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl From<ipc::GetError> for GetError {
    fn from(error: ipc::GetError) -> Self {
        match error {
            ipc::GetError::Empty => Self::Empty,
            ipc::GetError::ShutDown => Self::ShutDown,
            ipc::GetError::Interrupted => Self::Shared(SharedError::Interrupted),
            _ => Self::Shared(SharedError::Corrupt),
        }
    }
}

impl GetError {
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

impl From<ipc::TaskDoneError> for TaskDoneError {
    fn from(error: ipc::TaskDoneError) -> Self {
        match error {
            ipc::TaskDoneError::TooMany => Self::TooMany,
            ipc::TaskDoneError::Interrupted => Self::Shared(SharedError::Interrupted),
            _ => Self::Shared(SharedError::Corrupt),
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

impl From<ipc::SendError> for SendError {
    fn from(error: ipc::SendError) -> Self {
        match error {
            ipc::SendError::TimedOut => Self::TimedOut,
            ipc::SendError::BrokenPipe => Self::BrokenPipe,
            ipc::SendError::ReadOnly => Self::Direction,
            ipc::SendError::TooLarge => Self::TooLarge,
            ipc::SendError::Interrupted => Self::Shared(SharedError::Interrupted),
            _ => Self::Shared(SharedError::Corrupt),
        }
    }
}

impl SendError {
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
    /// The message is of another type, for this reason. It was received.
    Decode(String),
    /// Something that can happen to any object.
    Shared(SharedError),
}

impl From<ipc::RecvError> for RecvError {
    fn from(error: ipc::RecvError) -> Self {
        match error {
            ipc::RecvError::TimedOut => Self::TimedOut,
            ipc::RecvError::End => Self::EndOfFile,
            ipc::RecvError::WriteOnly => Self::Direction,
            ipc::RecvError::Interrupted => Self::Shared(SharedError::Interrupted),
            _ => Self::Shared(SharedError::Corrupt),
        }
    }
}

impl RecvError {
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

impl From<ipc::AccessError> for MemoryError {
    fn from(error: ipc::AccessError) -> Self {
        match error {
            ipc::AccessError::OutOfRange | ipc::AccessError::Misaligned => Self::OutOfRange,
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
