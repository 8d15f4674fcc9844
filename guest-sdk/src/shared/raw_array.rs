use std::{
    fmt,
    marker::PhantomData,
    ops::{Bound, RangeBounds},
};

use serde::{Deserialize, Serialize};
use wasmp_abi::{Plain, store_all, with_bytes};

use super::{MappedMemory, MemoryError, SharedError, SharedMemory};

/// Values in shared memory, without a lock. None of its operations is atomic.
///
/// CPython: `multiprocessing.RawArray`.
///
/// ```
/// use wasmp_guest::{RawArray, Result, task};
///
/// /// Each task has a part of its own.
/// #[task]
/// fn square_all(numbers: RawArray<i64>, from: usize, to: usize) -> Result<()> {
///     let squares = Vec::from_iter(numbers.read(from..to)?.iter().map(|x| x * x));
///     Ok(numbers.write(from, &squares)?)
/// }
/// # fn main() {}
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Plain", into = "SharedMemory", try_from = "SharedMemory")]
pub struct RawArray<T> {
    memory: SharedMemory,
    values: PhantomData<fn(T) -> T>,
}

impl<T: Plain> RawArray<T> {
    /// A new array of so many values, all of whose bytes are zero.
    ///
    /// # Errors
    ///
    /// The length is 0, or too large; the pool may have no more objects or share no more bytes, or this is not a wasmp
    /// worker.
    pub fn new(len: usize) -> Result<Self, SharedError> {
        let size = (len as u64).checked_mul(T::SIZE as u64).ok_or(SharedError::Invalid)?;
        Self::try_from(SharedMemory::create(size)?)
    }

    /// A new array with these values.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn from_slice(values: &[T]) -> Result<Self, SharedError> {
        let new = Self::new(values.len())?;
        new.write(0, values).map_err(|error| match error {
            MemoryError::OutOfRange => SharedError::Invalid,
            MemoryError::Shared(error) => error,
        })?;
        Ok(new)
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.memory.size() / T::SIZE as u64).unwrap_or(usize::MAX)
    }

    /// Whether it has no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at this place.
    ///
    /// # Errors
    ///
    /// The array is not so long.
    pub fn get(&self, index: usize) -> Result<T, MemoryError> {
        with_bytes::<T, _>(|bytes| {
            self.memory.read(Self::offset(index)?, bytes)?;
            Ok(T::load(bytes))
        })
    }

    /// Replaces the value at this place.
    ///
    /// # Errors
    ///
    /// The array is not so long.
    pub fn set(&self, index: usize, value: T) -> Result<(), MemoryError> {
        with_bytes::<T, _>(|bytes| {
            value.store(bytes);
            self.memory.write(Self::offset(index)?, bytes)
        })
    }

    /// The values in this range.
    ///
    /// # Errors
    ///
    /// The array is not so long, or the range ends before it starts.
    pub fn read(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, MemoryError> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len(),
        };
        if start > end || end > self.len() {
            return Err(MemoryError::OutOfRange);
        }
        let mut bytes = vec![0; (end - start) * T::SIZE];
        self.memory.read(Self::offset(start)?, &mut bytes)?;
        Ok(bytes.chunks_exact(T::SIZE).map(T::load).collect())
    }

    /// Replaces the values from this place on.
    ///
    /// # Errors
    ///
    /// The array is not so long; then nothing was replaced.
    pub fn write(&self, index: usize, values: &[T]) -> Result<(), MemoryError> {
        let mut bytes = vec![0; values.len() * T::SIZE];
        store_all(values, &mut bytes);
        self.memory.write(Self::offset(index)?, &bytes)
    }

    /// The array as a part of this worker's own memory; see [`SharedMemory::map`].
    ///
    /// # Errors
    ///
    /// As those of [`SharedMemory::map`].
    pub fn map(&self) -> Result<MappedMemory, SharedError> {
        self.memory.map()
    }

    fn offset(index: usize) -> Result<u64, MemoryError> {
        (index as u64)
            .checked_mul(T::SIZE as u64)
            .ok_or(MemoryError::OutOfRange)
    }
}

impl<T: Plain> TryFrom<SharedMemory> for RawArray<T> {
    type Error = SharedError;

    /// As many values as the memory has room for.
    fn try_from(memory: SharedMemory) -> Result<Self, SharedError> {
        if T::SIZE == 0 {
            return Err(SharedError::Invalid);
        }
        Ok(Self {
            memory,
            values: PhantomData,
        })
    }
}

impl<T> From<RawArray<T>> for SharedMemory {
    fn from(array: RawArray<T>) -> Self {
        array.memory
    }
}

/// Another handle to the same array.
impl<T> Clone for RawArray<T> {
    fn clone(&self) -> Self {
        Self {
            memory: self.memory.clone(),
            values: PhantomData,
        }
    }
}

impl<T> fmt::Debug for RawArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawArray").field(&self.memory).finish()
    }
}
