use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{GetError, PutError, Queue, SharedError};

/// A queue that can put and get, and nothing else.
///
/// CPython: `multiprocessing.SimpleQueue`.
///
/// ```
/// use wasmp_guest::{Result, SimpleQueue, task};
///
/// #[task]
/// fn double(numbers: SimpleQueue<i64>, doubled: SimpleQueue<i64>) -> Result<()> {
///     Ok(doubled.put(numbers.get()? * 2)?)
/// }
/// # fn main() {}
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct SimpleQueue<T>(Queue<T>);

impl<T> SimpleQueue<T> {
    /// A new queue for as many values as there is memory for.
    ///
    /// # Errors
    ///
    /// As those of [`Queue::new`].
    pub fn new() -> Result<Self, SharedError> {
        Queue::new(0).map(Self)
    }

    /// Whether nothing is in it. CPython: `empty()`.
    ///
    /// # Errors
    ///
    /// As those of [`Queue::is_empty`].
    pub fn is_empty(&self) -> Result<bool, SharedError> {
        self.0.is_empty()
    }

    /// Puts a value, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// As those of [`Queue::put`].
    pub fn put(&self, value: T) -> Result<(), PutError<T>>
    where
        T: Serialize + 'static,
    {
        self.0.put(value)
    }

    /// Takes the next value, and waits for it if there is none.
    ///
    /// # Errors
    ///
    /// As those of [`Queue::get`].
    pub fn get(&self) -> Result<T, GetError>
    where
        T: DeserializeOwned + 'static,
    {
        self.0.get()
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.number()
    }
}

/// Another handle to the same queue.
impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for SimpleQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimpleQueue").field(&self.0.handle).finish()
    }
}
