//! Waiting for the first of many.

use std::time::Duration;

use wasmp_ipc::{Limit, MOST_WAITABLES, wait_any};

use super::connection::Connection;
use super::error::SharedError;
use super::handle::with_party;
use super::queue::{JoinableQueue, Queue, SimpleQueue};
use super::within;
use sealed::Source;

/// What [`wait`] can wait for: connections and queues.
///
/// It cannot be implemented elsewhere.
pub trait Waitable: Source {}

mod sealed {
    pub trait Source {
        #[doc(hidden)]
        fn source(&self) -> wasmp_ipc::Waitable<'_>;
    }
}

impl Source for Connection {
    fn source(&self) -> wasmp_ipc::Waitable<'_> {
        wasmp_ipc::Waitable::Connection(self.object())
    }
}

impl<T> Source for Queue<T> {
    fn source(&self) -> wasmp_ipc::Waitable<'_> {
        wasmp_ipc::Waitable::Queue(self.object())
    }
}

impl<T> Source for JoinableQueue<T> {
    fn source(&self) -> wasmp_ipc::Waitable<'_> {
        self.queue().source()
    }
}

impl<T> Source for SimpleQueue<T> {
    fn source(&self) -> wasmp_ipc::Waitable<'_> {
        self.queue().source()
    }
}

impl Waitable for Connection {}
impl<T> Waitable for Queue<T> {}
impl<T> Waitable for JoinableQueue<T> {}
impl<T> Waitable for SimpleQueue<T> {}

/// Waits until something can be gotten or received from any of these, be it the end or a shutdown, and says which are
/// ready by their places in the list: of none, none is, at once. Somebody else may still be faster. An end that only sends
/// is always ready.
///
/// CPython: `multiprocessing.connection.wait`.
///
/// # Errors
///
/// The wait was interrupted, or there are more than 127 of them.
///
/// ```
/// use wasmp::{Queue, pipe, wait};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let orders = Queue::<String>::new(0)?;
/// let (phone, caller) = pipe()?;
/// caller.send("hello")?;
/// assert_eq!(wait(&[&orders, &phone])?, [1]);
/// # Ok(())
/// # }
/// ```
pub fn wait(objects: &[&dyn Waitable]) -> Result<Vec<usize>, SharedError> {
    wait_within(objects, Limit::Forever)
}

/// As [`wait`], but no longer than so long: then none is ready.
///
/// # Errors
///
/// As those of [`wait`].
pub fn wait_timeout(objects: &[&dyn Waitable], timeout: Duration) -> Result<Vec<usize>, SharedError> {
    wait_within(objects, within(timeout))
}

/// Which of these are ready now; see [`wait`].
///
/// # Errors
///
/// As those of [`wait`].
pub fn try_wait(objects: &[&dyn Waitable]) -> Result<Vec<usize>, SharedError> {
    wait_within(objects, Limit::Poll)
}

fn wait_within(objects: &[&dyn Waitable], limit: Limit) -> Result<Vec<usize>, SharedError> {
    if objects.len() > MOST_WAITABLES {
        return Err(SharedError::Invalid);
    }
    let sources = Vec::from_iter(objects.iter().map(|object| object.source()));
    let ready = SharedError::in_time(with_party(|party| wait_any(party, &sources, limit)))?;
    Ok(ready.unwrap_or_default())
}
