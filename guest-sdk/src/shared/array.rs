use std::ops::RangeBounds;

use wasmp_abi::Plain;

use super::{AnyLock, MemoryError, RLock, RawArray, SharedError, Synchronized};

/// Values in shared memory, with a lock.
///
/// `get`, `set`, `read` and `write` take the lock, each for itself. What belongs together needs it for longer:
/// [`lock`](Synchronized::lock). [`len`](RawArray::len) and [`map`](RawArray::map) take no lock.
///
/// CPython: `multiprocessing.Array`.
///
/// ```
/// use wasmp_guest::{Array, Result, task};
///
/// /// Moves money, which at no time is in both accounts or in none.
/// #[task]
/// fn transfer(accounts: Array<i64>, from: usize, to: usize, amount: i64) -> Result<()> {
///     let accounts = accounts.lock()?;
///     accounts.set(from, accounts.get(from)? - amount)?;
///     accounts.set(to, accounts.get(to)? + amount)?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
pub type Array<T> = Synchronized<RawArray<T>>;

/// What an [`Array`] can do.
impl<T: Plain> Array<T> {
    /// A new array of so many values, all of whose bytes are zero, with an [`RLock`] of its own.
    ///
    /// # Errors
    ///
    /// As those of [`RawArray::new`].
    pub fn new(len: usize) -> Result<Self, SharedError> {
        Self::with_lock(len, &RLock::new()?)
    }

    /// A new array of so many values, all of whose bytes are zero, that goes with this lock.
    ///
    /// # Errors
    ///
    /// As those of [`RawArray::new`].
    pub fn with_lock(len: usize, lock: impl Into<AnyLock>) -> Result<Self, SharedError> {
        Ok(Self::new_with(RawArray::new(len)?, lock.into()))
    }

    /// A new array with these values and an [`RLock`] of its own.
    ///
    /// # Errors
    ///
    /// As those of [`RawArray::new`].
    pub fn from_slice(values: &[T]) -> Result<Self, SharedError> {
        Ok(Self::new_with(RawArray::from_slice(values)?, (&RLock::new()?).into()))
    }

    /// The value at this place.
    ///
    /// # Errors
    ///
    /// The array is not so long, and those of [`lock`](Self::lock).
    pub fn get(&self, index: usize) -> Result<T, MemoryError> {
        self.lock()?.get(index)
    }

    /// Replaces the value at this place.
    ///
    /// # Errors
    ///
    /// As those of [`get`](Self::get).
    pub fn set(&self, index: usize, value: T) -> Result<(), MemoryError> {
        self.lock()?.set(index, value)
    }

    /// The values in this range.
    ///
    /// # Errors
    ///
    /// The range ends before it starts, and those of [`get`](Self::get).
    pub fn read(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, MemoryError> {
        self.lock()?.read(range)
    }

    /// Replaces the values from this place on.
    ///
    /// # Errors
    ///
    /// As those of [`get`](Self::get); then nothing was replaced.
    pub fn write(&self, index: usize, values: &[T]) -> Result<(), MemoryError> {
        self.lock()?.write(index, values)
    }
}
