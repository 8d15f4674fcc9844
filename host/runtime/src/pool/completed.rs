//! Results in the order in which they come.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};

use super::result::AsyncResult;
use crate::error::{Error, Result};

/// Yields each of these results when it is there, the first that is there first (CPython:
/// `concurrent.futures.as_completed`). They may be of several pools.
///
/// ```no_run
/// use wasmp::{Pool, as_completed};
///
/// # fn main() -> wasmp::Result<()> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let results = ["a.txt", "b.txt"].map(|file| pool.apply_async::<_, u64>("count_words", (file,)));
/// for result in as_completed(results.into_iter().collect::<wasmp::Result<Vec<_>>>()?) {
///     println!("{}", result.get()?);
/// }
/// # Ok(())
/// # }
/// ```
pub fn as_completed<R>(results: impl IntoIterator<Item = AsyncResult<R>>) -> AsCompleted<R> {
    let results: Vec<_> = results.into_iter().map(Some).collect();
    let (sender, completed) = unbounded();
    for (number, result) in results.iter().enumerate() {
        if let Some(result) = result {
            result.notify(&sender, number);
        }
    }
    AsCompleted { results, completed }
}

/// See [`as_completed`].
#[derive(Debug)]
pub struct AsCompleted<R> {
    results: Vec<Option<AsyncResult<R>>>,
    /// The numbers of those that are there. Each result sends its own once, so that none is sent after the last.
    completed: Receiver<usize>,
}

impl<R> AsCompleted<R> {
    /// The next result that is there, `None` after the last. Waits no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::WaitTimeout`] if none is there by then; the iterator can go on.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<AsyncResult<R>>> {
        let number = match Instant::now().checked_add(timeout) {
            Some(deadline) => self.completed.recv_deadline(deadline),
            None => self.completed.recv().map_err(Into::into),
        };
        match number {
            Ok(number) => Ok(self.results[number].take()),
            Err(error) if error.is_timeout() => Err(Error::WaitTimeout(timeout)),
            Err(_) => Ok(None),
        }
    }
}

impl<R> Iterator for AsCompleted<R> {
    type Item = AsyncResult<R>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.completed.recv().ok()?;
        self.results[number].take()
    }
}
