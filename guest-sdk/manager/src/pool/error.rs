//! What can go wrong with a call on a pool.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::ManagerError;

/// Why a call on a [`Pool`](super::Pool) has no result. `E` is what an item has failed with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError<E> {
    /// An item failed.
    Task(Box<E>),
    /// There is no such task.
    Invalid(String),
    /// A wait ended before its result came; the item goes on.
    WaitTimeout(Duration),
    /// The pool gave up: its workers cannot run, and this is why.
    Broken(String),
    /// The manager did not do what it was asked, or is gone.
    Manager(ManagerError),
}

impl<E> From<ManagerError> for PoolError<E> {
    fn from(error: ManagerError) -> Self {
        Self::Manager(error)
    }
}

impl<E: fmt::Display> fmt::Display for PoolError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(error) => error.fmt(f),
            Self::Invalid(why) => f.write_str(why),
            Self::WaitTimeout(limit) => write!(f, "no result within {limit:?}"),
            Self::Broken(why) => write!(f, "the pool gave up: {why}"),
            Self::Manager(error) => error.fmt(f),
        }
    }
}

impl<E: Error> Error for PoolError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Their words are this error's words.
            Self::Task(error) => error.source(),
            Self::Manager(error) => error.source(),
            _ => None,
        }
    }
}
