//! The vocabulary of conditions.

/// What a call on a shared object can run into. A function reports it as a negative number: `-(status as i32)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Status {
    /// The time was up: nothing came, no room was made, nobody released.
    TimedOut = 1,
    /// The queue was shut down, and has nothing left to get.
    ShutDown = 2,
    /// The other end of the connection is gone, or the barrier is broken.
    Broken = 3,
    /// The other end of the connection is gone, and everything it had sent has been received.
    End = 4,
    /// No such name, or the token is not that of an object that still exists.
    NotFound = 5,
    /// The name is taken.
    Exists = 6,
    /// The message is larger than a message may be, or could never fit.
    TooLarge = 7,
    /// The lock is held by another worker, or by nobody.
    NotOwner = 8,
    /// Released, or reported as done, more often than acquired or gotten.
    TooMany = 9,
    /// This host, or this kind of instance, cannot do that.
    Unsupported = 10,
    /// The host ended the wait.
    Interrupted = 11,
    /// The pool may have no more objects, or this worker no more handles.
    ObjectLimit = 12,
    /// The pool may share no more bytes.
    ByteLimit = 13,
    /// The object's memory was overwritten: nobody can use it any more.
    Corrupt = 14,
    /// The token or the name belongs to an object of another kind.
    WrongKind = 15,
    /// A number is outside of what the function takes.
    Invalid = 16,
    /// The connection goes the other way.
    Direction = 17,
    /// The guests of this pool may have no more processes.
    ProcessLimit = 18,
}

impl Status {
    /// Every status, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::TimedOut,
        Self::ShutDown,
        Self::Broken,
        Self::End,
        Self::NotFound,
        Self::Exists,
        Self::TooLarge,
        Self::NotOwner,
        Self::TooMany,
        Self::Unsupported,
        Self::Interrupted,
        Self::ObjectLimit,
        Self::ByteLimit,
        Self::Corrupt,
        Self::WrongKind,
        Self::Invalid,
        Self::Direction,
        Self::ProcessLimit,
    ];

    /// The status that a function has reported by this result; `None` for one that is not negative, or unknown.
    #[must_use]
    pub fn from_result(result: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.result() == result)
    }

    /// The result by which a function reports it.
    #[must_use]
    pub const fn result(self) -> i64 {
        -(self as i64)
    }

    /// One lower-case word, words joined by `_`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::ShutDown => "shut_down",
            Self::Broken => "broken",
            Self::End => "end",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::TooLarge => "too_large",
            Self::NotOwner => "not_owner",
            Self::TooMany => "too_many",
            Self::Unsupported => "unsupported",
            Self::Interrupted => "interrupted",
            Self::ObjectLimit => "object_limit",
            Self::ByteLimit => "byte_limit",
            Self::Corrupt => "corrupt",
            Self::WrongKind => "wrong_kind",
            Self::Invalid => "invalid",
            Self::Direction => "direction",
            Self::ProcessLimit => "process_limit",
        }
    }
}
