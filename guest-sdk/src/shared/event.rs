use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    SharedError,
    handle::{self, EVENT, Handle},
    in_time,
};
use crate::host::objects::{Timeout, check, event_clear, event_is_set, event_new, event_set, event_wait};

/// A flag to wait for.
///
/// Whoever waits when it is set goes on, even if it is cleared at once.
///
/// CPython: `multiprocessing.Event`.
///
/// ```
/// use wasmp_guest::{Event, Result, task};
///
/// /// Works once everybody is told to.
/// #[task]
/// fn start_together(start: Event) -> Result<()> {
///     start.wait()?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Event(Handle<EVENT>);

impl Event {
    /// A new event, not set.
    ///
    /// # Errors
    ///
    /// The pool may have no more objects, or this is not a wasmp worker.
    pub fn new() -> Result<Self, SharedError> {
        Handle::made(event_new()).map(Self)
    }

    /// The event of this name, from the command line.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn named(name: &str) -> Result<Self, SharedError> {
        Handle::find(name).map(Self)
    }

    /// Sets it, and wakes everyone who waits.
    ///
    /// # Errors
    ///
    /// The event's memory was overwritten.
    pub fn set(&self) -> Result<(), SharedError> {
        check(event_set(self.0.number())).map(drop).map_err(SharedError::new)
    }

    /// Clears it.
    ///
    /// # Errors
    ///
    /// The event's memory was overwritten.
    pub fn clear(&self) -> Result<(), SharedError> {
        check(event_clear(self.0.number())).map(drop).map_err(SharedError::new)
    }

    /// Whether it is set.
    ///
    /// # Errors
    ///
    /// The event's memory was overwritten.
    pub fn is_set(&self) -> Result<bool, SharedError> {
        check(event_is_set(self.0.number()))
            .map(|set| set != 0)
            .map_err(SharedError::new)
    }

    /// Waits until it is set.
    ///
    /// # Errors
    ///
    /// As any wait, it can be interrupted, and the event's memory may have been overwritten.
    pub fn wait(&self) -> Result<(), SharedError> {
        check(event_wait(self.0.number(), Timeout::FOREVER))
            .map(drop)
            .map_err(SharedError::new)
    }

    /// As [`wait`](Self::wait), but no longer than so long; the result is whether it is set.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, SharedError> {
        Ok(in_time(check(event_wait(self.0.number(), timeout.into())))?.is_some())
    }
}

/// With whether it is set.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.is_set().map(|set| if set { "set" } else { "not set" });
        handle::debug(f, "Event", state)
    }
}
