use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use wasmp_abi::BARRIER_ACT;

use super::{
    BarrierError, SharedError,
    handle::{self, BARRIER, Handle},
};
use crate::host::objects::{
    Timeout, barrier_abort, barrier_is_broken, barrier_new, barrier_open, barrier_parties, barrier_reset, barrier_wait,
    barrier_waiting, check,
};

/// A meeting point: nobody passes before all have come, as often as they like.
///
/// When one of them gives up, by its time or by its death, the barrier breaks, and none of the others waits for ever.
///
/// CPython: `multiprocessing.Barrier`, except that the action and the time limit are those of each wait.
///
/// ```
/// use wasmp_guest::{Barrier, Result, task};
///
/// /// One of several workers that go from step to step together.
/// #[task]
/// fn simulate(steps: u32, barrier: Barrier) -> Result<()> {
///     for step in 0..steps {
///         // … this worker's part of the step …
///         barrier.wait_with(|| println!("step {step} is done"))?;
///     }
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Barrier(Handle<BARRIER>);

impl Barrier {
    /// A new barrier for so many.
    ///
    /// # Errors
    ///
    /// None, or too many; the pool may have no more objects, or this is not a wasmp worker.
    pub fn new(parties: u32) -> Result<Self, SharedError> {
        Handle::made(barrier_new(parties)).map(Self)
    }

    /// The barrier of this name, from the command line.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn named(name: &str) -> Result<Self, SharedError> {
        Handle::find(name).map(Self)
    }

    /// Waits until all have come. The result is a number from 0, another one for each of them: who gets 0 may do what
    /// is to be done once.
    ///
    /// # Errors
    ///
    /// The barrier is broken or was reset. As any wait, it can be interrupted, and the barrier's memory may have
    /// been overwritten.
    pub fn wait(&self) -> Result<u32, BarrierError> {
        self.pass(false, Timeout::FOREVER)
    }

    /// As [`wait`](Self::wait), but no longer than so long: then the barrier breaks, for this one and for all others.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, BarrierError> {
        self.pass(false, timeout.into())
    }

    /// As [`wait`](Self::wait), but before anybody passes, one of them runs its action. An action that panics breaks
    /// the barrier.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<u32, BarrierError> {
        self.act(action, Timeout::FOREVER)
    }

    /// As [`wait_with`](Self::wait_with), but no longer than so long: then the barrier breaks.
    ///
    /// # Errors
    ///
    /// As those of [`wait`](Self::wait).
    pub fn wait_with_timeout(&self, timeout: Duration, action: impl FnOnce()) -> Result<u32, BarrierError> {
        self.act(action, timeout.into())
    }

    fn act(&self, action: impl FnOnce(), timeout: Timeout) -> Result<u32, BarrierError> {
        let place = self.pass(true, timeout)?;
        if place != BARRIER_ACT.cast_unsigned() {
            return Ok(place);
        }
        action();
        check(barrier_open(self.0.number())).map_err(BarrierError::new)?;
        // Who acts is the last to come.
        Ok(self.parties()? - 1)
    }

    fn pass(&self, action: bool, timeout: Timeout) -> Result<u32, BarrierError> {
        check(barrier_wait(self.0.number(), action, timeout)).map_err(BarrierError::new)
    }

    /// Breaks the barrier, for those who wait and for those who come.
    ///
    /// # Errors
    ///
    /// The barrier's memory was overwritten.
    pub fn abort(&self) -> Result<(), SharedError> {
        check(barrier_abort(self.0.number()))
            .map(drop)
            .map_err(SharedError::new)
    }

    /// Makes it as new. Those who wait get [`BarrierError::Broken`].
    ///
    /// # Errors
    ///
    /// The barrier's memory was overwritten.
    pub fn reset(&self) -> Result<(), SharedError> {
        check(barrier_reset(self.0.number()))
            .map(drop)
            .map_err(SharedError::new)
    }

    /// How many it is for.
    ///
    /// # Errors
    ///
    /// The barrier's memory was overwritten.
    pub fn parties(&self) -> Result<u32, SharedError> {
        check(barrier_parties(self.0.number())).map_err(SharedError::new)
    }

    /// How many wait.
    ///
    /// # Errors
    ///
    /// The barrier's memory was overwritten.
    pub fn n_waiting(&self) -> Result<u32, SharedError> {
        check(barrier_waiting(self.0.number())).map_err(SharedError::new)
    }

    /// Whether it is broken. CPython: `broken`.
    ///
    /// # Errors
    ///
    /// The barrier's memory was overwritten.
    pub fn is_broken(&self) -> Result<bool, SharedError> {
        check(barrier_is_broken(self.0.number()))
            .map(|broken| broken != 0)
            .map_err(SharedError::new)
    }
}

/// With how many wait, or that it is broken.
impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.is_broken().and_then(|broken| {
            if broken {
                return Ok("broken".to_owned());
            }
            Ok(format!("{} of {}", self.n_waiting()?, self.parties()?))
        });
        handle::debug(f, "Barrier", state)
    }
}
