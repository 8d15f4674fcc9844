use std::time::Duration;

use super::{Connection, JoinableQueue, Queue, SharedError, SimpleQueue};
use crate::host::objects::{Timeout, wait_any};

/// What [`wait`] can wait for: connections and queues.
///
/// It cannot be implemented elsewhere.
pub trait Waitable: sealed::Numbered {}

mod sealed {
    pub trait Numbered {
        /// The number of the handle.
        fn number(&self) -> u32;
    }
}

macro_rules! waitable {
    ($($name:ident $(<$value:ident>)?)*) => {$(
        impl $(<$value>)? sealed::Numbered for $name $(<$value>)? {
            fn number(&self) -> u32 {
                $name::number(self)
            }
        }

        impl $(<$value>)? Waitable for $name $(<$value>)? {}
    )*};
}

waitable!(Connection Queue<T> JoinableQueue<T> SimpleQueue<T>);

/// Waits until something can be gotten or received from any of these, be it the end or a shutdown, and says which are
/// ready by their places in the list.
///
/// CPython: `multiprocessing.connection.wait`.
///
/// # Errors
///
/// As any wait, it can be interrupted, and the memory of an object may have been overwritten.
///
/// ```
/// use wasmp_guest::{Connection, Queue, Result, task, wait};
///
/// /// Whatever comes first.
/// #[task]
/// fn first(orders: Queue<String>, phone: Connection) -> Result<String> {
///     match wait(&[&orders, &phone])?[..] {
///         [0, ..] => Ok(orders.get()?),
///         _ => Ok(phone.recv()?),
///     }
/// }
/// # fn main() {}
/// ```
pub fn wait(objects: &[&dyn Waitable]) -> Result<Vec<usize>, SharedError> {
    wait_within(objects, Timeout::FOREVER)
}

/// As [`wait`], but no longer than so long: then none is ready.
///
/// # Errors
///
/// As those of [`wait`].
pub fn wait_timeout(objects: &[&dyn Waitable], timeout: Duration) -> Result<Vec<usize>, SharedError> {
    wait_within(objects, timeout.into())
}

/// Which of these are ready now; see [`wait`].
///
/// # Errors
///
/// As those of [`wait`].
pub fn try_wait(objects: &[&dyn Waitable]) -> Result<Vec<usize>, SharedError> {
    wait_within(objects, Timeout::POLL)
}

fn wait_within(objects: &[&dyn Waitable], timeout: Timeout) -> Result<Vec<usize>, SharedError> {
    let numbers = Vec::from_iter(objects.iter().map(|object| object.number()));
    let ready = super::in_time(wait_any(&numbers, timeout))?.unwrap_or_default();
    Ok((0..)
        .zip(ready)
        .filter_map(|(place, ready)| ready.then_some(place))
        .collect())
}
