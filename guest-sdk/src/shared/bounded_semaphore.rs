use std::{fmt, ops::Deref};

use serde::{Deserialize, Serialize};

use super::{Semaphore, SharedError, handle};

/// A [`Semaphore`] that never has more permits than it had at first: to give one too many is an error.
///
/// CPython: `multiprocessing.BoundedSemaphore`.
///
/// ```
/// use wasmp_guest::{BoundedSemaphore, ReleaseError, Result};
///
/// fn give_too_many() -> Result<()> {
///     let semaphore = BoundedSemaphore::new(1)?;
///     assert_eq!(semaphore.release(), Err(ReleaseError::TooMany));
///     Ok(())
/// }
/// # assert!(give_too_many().is_err());
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BoundedSemaphore(Semaphore);

impl BoundedSemaphore {
    /// A new semaphore with so many permits, and never more.
    ///
    /// # Errors
    ///
    /// As those of [`Semaphore::new`].
    pub fn new(value: u32) -> Result<Self, SharedError> {
        Semaphore::make(value, true).map(Self)
    }

    /// The semaphore of this name, from the command line.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn named(name: &str) -> Result<Self, SharedError> {
        Semaphore::named(name).map(Self)
    }
}

impl Deref for BoundedSemaphore {
    type Target = Semaphore;

    fn deref(&self) -> &Semaphore {
        &self.0
    }
}

/// With how many permits there are.
impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        handle::debug(f, "BoundedSemaphore", self.value())
    }
}
