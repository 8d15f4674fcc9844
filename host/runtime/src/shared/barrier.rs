//! Barriers.

use std::time::Duration;

use wasmp_ipc::{BarrierPass, Limit};

use super::error::{BarrierError, SharedError};
use super::handle::{Handle, object, travels, with_party};
use super::within;
use crate::error::Result;
use crate::objects::Shape;

/// A meeting point: nobody passes before all have come, as often as they like.
///
/// Those who come are workers, and threads of the host. When one of them gives up, by its time or by its death, the barrier
/// breaks, and none of the others waits for ever.
///
/// CPython: `multiprocessing.Barrier`, except that the action and the time limit are those of each wait.
///
/// ```
/// use wasmp::Barrier;
///
/// # fn main() -> wasmp::Result<()> {
/// let barrier = Barrier::new(2)?;
/// std::thread::scope(|scope| {
///     let other = scope.spawn(|| barrier.wait());
///     let place = barrier.wait().unwrap();
///     assert_eq!(other.join().unwrap().unwrap(), 1 - place);
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Barrier {
    handle: Handle,
}

impl From<Handle> for Barrier {
    fn from(handle: Handle) -> Self {
        Self { handle }
    }
}

travels!(Barrier, Barrier);

impl Barrier {
    /// A new barrier for so many, from 1 to 1024.
    ///
    /// # Errors
    ///
    /// None, or too many; the system has no memory or no descriptor for it.
    pub fn new(parties: u32) -> Result<Self> {
        let parties = parties as usize;
        Handle::create(&Shape::Barrier { parties }).map(Self::from)
    }

    /// Waits until all have come. The result is a number from 0, another one for each of them: who gets 0 may do what is
    /// to be done once.
    ///
    /// # Errors
    ///
    /// The barrier is broken, or was reset meanwhile. Its memory was overwritten, or the wait was interrupted.
    pub fn wait(&self) -> Result<u32, BarrierError> {
        self.pass(None::<fn()>, Limit::Forever)
    }

    /// As [`wait`](Self::wait), but no longer than so long: then the barrier breaks.
    ///
    /// # Errors
    ///
    /// [`BarrierError::TimedOut`], and those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, BarrierError> {
        self.pass(None::<fn()>, within(timeout))
    }

    /// As [`wait`](Self::wait), but before anybody passes, one of them runs its action. An action that panics breaks the
    /// barrier.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<u32, BarrierError> {
        self.pass(Some(action), Limit::Forever)
    }

    /// As [`wait_with`](Self::wait_with), but no longer than so long: then the barrier breaks.
    ///
    /// # Errors
    ///
    /// As those of [`wait_timeout`](Self::wait_timeout).
    pub fn wait_with_timeout(&self, timeout: Duration, action: impl FnOnce()) -> Result<u32, BarrierError> {
        self.pass(Some(action), within(timeout))
    }

    fn pass(&self, action: Option<impl FnOnce()>, limit: Limit) -> Result<u32, BarrierError> {
        let barrier = object!(self.handle, Barrier);
        match with_party(|party| barrier.wait(party, action.is_some(), limit))? {
            BarrierPass::Passed(place) => Ok(place as u32),
            BarrierPass::Act => {
                let unfinished = Unfinished(barrier);
                action.into_iter().for_each(|action| action());
                std::mem::forget(unfinished);
                with_party(|party| barrier.acted(party))?;
                // Who acts came last.
                Ok(self.parties() - 1)
            }
        }
    }

    /// Breaks the barrier, for those who wait and for those who come.
    ///
    /// # Errors
    ///
    /// The barrier's memory was overwritten.
    pub fn abort(&self) -> Result<(), SharedError> {
        object!(self.handle, Barrier).abort().map_err(|_| SharedError::Corrupt)
    }

    /// Makes it as new. Those who wait get [`BarrierError::Broken`].
    ///
    /// # Errors
    ///
    /// The barrier's memory was overwritten.
    pub fn reset(&self) -> Result<(), SharedError> {
        object!(self.handle, Barrier).reset().map_err(|_| SharedError::Corrupt)
    }

    /// How many it is for.
    #[must_use]
    pub fn parties(&self) -> u32 {
        object!(self.handle, Barrier).parties() as u32
    }

    /// How many wait.
    #[must_use]
    pub fn n_waiting(&self) -> u32 {
        object!(self.handle, Barrier).n_waiting() as u32
    }

    /// Whether it is broken. CPython: `broken`.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        object!(self.handle, Barrier).is_broken()
    }
}

/// An action that has begun; dropped when it panics.
struct Unfinished<'b>(&'b wasmp_ipc::Barrier);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = self.0.abort();
    }
}
