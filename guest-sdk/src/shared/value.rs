use wasmp_abi::Plain;

use super::{AnyLock, RLock, RawValue, SharedError, Synchronized};

/// One value in shared memory, with a lock.
///
/// `get` and `set` take the lock, each for itself. What belongs together needs it for longer:
/// [`update`](Value::update), or [`lock`](Synchronized::lock). The [atomic operations](RawValue::fetch_add) of an
/// integer take no lock and need none; use either them or the lock.
///
/// CPython: `multiprocessing.Value`.
///
/// ```
/// use wasmp_guest::{Result, Value, task};
///
/// /// Adds to a sum that all workers have in common.
/// #[task]
/// fn add(sum: Value<f64>, numbers: Vec<f64>) -> Result<f64> {
///     let part = numbers.iter().sum::<f64>();
///     Ok(sum.update(|sum| sum + part)?)
/// }
/// # fn main() {}
/// ```
pub type Value<T> = Synchronized<RawValue<T>>;

/// What a [`Value`] can do.
impl<T: Plain> Value<T> {
    /// A new value with an [`RLock`] of its own.
    ///
    /// # Errors
    ///
    /// The pool may have no more objects or share no more bytes, or this is not a wasmp worker.
    pub fn new(value: T) -> Result<Self, SharedError> {
        Self::with_lock(value, &RLock::new()?)
    }

    /// A new value that goes with this lock.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn with_lock(value: T, lock: impl Into<AnyLock>) -> Result<Self, SharedError> {
        Ok(Self::new_with(RawValue::new(value)?, lock.into()))
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn get(&self) -> Result<T, SharedError> {
        self.lock()?.get()
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn set(&self, value: T) -> Result<(), SharedError> {
        self.lock()?.set(value)
    }

    /// Replaces the value by what `change` makes of it, and says what that is. Nobody comes between.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn update(&self, change: impl FnOnce(T) -> T) -> Result<T, SharedError> {
        let locked = self.lock()?;
        let value = change(locked.get()?);
        locked.set(value)?;
        Ok(value)
    }
}
