//! Events.

use std::time::Duration;

use wasmp_ipc::{Limit, WaitError as Why};

use super::error::SharedError;
use super::handle::{Handle, object, travels, with_party};
use super::within;
use crate::error::Result;
use crate::objects::Shape;

/// A flag that processes wait for (CPython: `multiprocessing.Event`).
///
/// Setting it never waits for anyone, also when a process that waits for it has been killed.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use wasmp::{Event, Pool};
///
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let stop = Event::new()?;
/// let worker = pool.apply_async::<_, u64>("count_until", (&stop,))?;
/// stop.set();
/// println!("{}", worker.get()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Event {
    handle: Handle,
}

impl From<Handle> for Event {
    fn from(handle: Handle) -> Self {
        Self { handle }
    }
}

travels!(Event, Event);

impl Event {
    /// A new one, not set.
    ///
    /// # Errors
    ///
    /// If the system has no memory or no descriptor for it.
    pub fn new() -> Result<Self> {
        Handle::create(&Shape::Event).map(Self::from)
    }

    /// Sets it, and wakes everyone who waits for it.
    pub fn set(&self) {
        object!(self.handle, Event).set();
    }

    /// Clears it.
    pub fn clear(&self) {
        object!(self.handle, Event).clear();
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        object!(self.handle, Event).is_set()
    }

    /// Waits until it is set, if only for a moment.
    ///
    /// # Errors
    ///
    /// [`SharedError`]: not because of time.
    pub fn wait(&self) -> Result<(), SharedError> {
        Ok(self.wait_until(Limit::Forever)?)
    }

    /// [`wait`](Self::wait), but no longer than `timeout`. False: the time was up (CPython: `wait(timeout)`).
    ///
    /// # Errors
    ///
    /// [`SharedError`]: not because of time.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, SharedError> {
        SharedError::in_time(self.wait_until(within(timeout))).map(|set| set.is_some())
    }

    fn wait_until(&self, limit: Limit) -> Result<(), Why> {
        with_party(|party| object!(self.handle, Event).wait(party, limit))
    }
}
