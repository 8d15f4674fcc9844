use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Serialize};
use wasmp_abi::{Atomic, Integer, Plain, with_bytes};

use super::{SharedError, SharedMemory};
use crate::host::memory;

/// One value in shared memory, without a lock.
///
/// [`get`](Self::get) and [`set`](Self::set) are not atomic. The operations of an integer are.
///
/// CPython: `multiprocessing.RawValue`, which has no atomic operations.
///
/// ```
/// use wasmp_guest::{RawValue, Result, task};
///
/// /// Counts how often it was called, in all workers.
/// #[task]
/// fn count(calls: RawValue<u64>) -> Result<u64> {
///     Ok(calls.fetch_add(1)? + 1)
/// }
/// # fn main() {}
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "T: Plain", into = "SharedMemory", try_from = "SharedMemory")]
pub struct RawValue<T> {
    memory: SharedMemory,
    value: PhantomData<fn(T) -> T>,
}

impl<T: Plain> RawValue<T> {
    /// A new value.
    ///
    /// # Errors
    ///
    /// The pool may have no more objects or share no more bytes, or this is not a wasmp worker.
    pub fn new(value: T) -> Result<Self, SharedError> {
        let new = Self::try_from(SharedMemory::create(T::SIZE as u64)?)?;
        new.set(value)?;
        Ok(new)
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// The value's memory was overwritten.
    pub fn get(&self) -> Result<T, SharedError> {
        with_bytes::<T, _>(|bytes| {
            memory::read(self.memory.number(), 0, bytes).map_err(SharedError::new)?;
            Ok(T::load(bytes))
        })
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// The value's memory was overwritten.
    pub fn set(&self, value: T) -> Result<(), SharedError> {
        with_bytes::<T, _>(|bytes| {
            value.store(bytes);
            memory::write(self.memory.number(), 0, bytes).map_err(SharedError::new)
        })
    }
}

impl<T: Integer> RawValue<T> {
    /// The value.
    ///
    /// # Errors
    ///
    /// The value's memory was overwritten.
    pub fn load(&self) -> Result<T, SharedError> {
        self.atomic(Atomic::Load, T::from_bits(0), T::from_bits(0))
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// As those of [`load`](Self::load).
    pub fn store(&self, value: T) -> Result<(), SharedError> {
        self.swap(value).map(drop)
    }

    /// Replaces the value, and says what it was.
    ///
    /// # Errors
    ///
    /// As those of [`load`](Self::load).
    pub fn swap(&self, value: T) -> Result<T, SharedError> {
        self.atomic(Atomic::Store, value, T::from_bits(0))
    }

    /// Replaces the value if it is `current`, and says what it was: as `Ok` if it was replaced, as `Err` if not.
    ///
    /// # Errors
    ///
    /// As those of [`load`](Self::load).
    pub fn compare_exchange(&self, current: T, new: T) -> Result<Result<T, T>, SharedError> {
        let old = self.atomic(Atomic::CompareExchange, new, current)?;
        Ok(if old.to_bits() == current.to_bits() {
            Ok(old)
        } else {
            Err(old)
        })
    }

    /// Adds to the value, wrapping around, and says what it was.
    ///
    /// # Errors
    ///
    /// As those of [`load`](Self::load).
    pub fn fetch_add(&self, value: T) -> Result<T, SharedError> {
        self.atomic(Atomic::Add, value, T::from_bits(0))
    }

    /// Subtracts from the value, wrapping around, and says what it was.
    ///
    /// # Errors
    ///
    /// As those of [`load`](Self::load).
    pub fn fetch_sub(&self, value: T) -> Result<T, SharedError> {
        self.atomic(Atomic::Sub, value, T::from_bits(0))
    }

    /// Keeps only these bits of the value, and says what it was.
    ///
    /// # Errors
    ///
    /// As those of [`load`](Self::load).
    pub fn fetch_and(&self, value: T) -> Result<T, SharedError> {
        self.atomic(Atomic::And, value, T::from_bits(0))
    }

    /// Sets these bits of the value, and says what it was.
    ///
    /// # Errors
    ///
    /// As those of [`load`](Self::load).
    pub fn fetch_or(&self, value: T) -> Result<T, SharedError> {
        self.atomic(Atomic::Or, value, T::from_bits(0))
    }

    /// Flips these bits of the value, and says what it was.
    ///
    /// # Errors
    ///
    /// As those of [`load`](Self::load).
    pub fn fetch_xor(&self, value: T) -> Result<T, SharedError> {
        self.atomic(Atomic::Xor, value, T::from_bits(0))
    }

    fn atomic(&self, operation: Atomic, operand: T, expected: T) -> Result<T, SharedError> {
        memory::atomic(
            self.memory.number(),
            operation,
            T::SIZE,
            0,
            operand.to_bits(),
            expected.to_bits(),
        )
        .map(T::from_bits)
        .map_err(SharedError::new)
    }
}

impl<T: Plain> TryFrom<SharedMemory> for RawValue<T> {
    type Error = SharedError;

    /// The value at the start of the memory, which must be large enough.
    fn try_from(memory: SharedMemory) -> Result<Self, SharedError> {
        if memory.size() < T::SIZE as u64 {
            return Err(SharedError::Invalid);
        }
        Ok(Self {
            memory,
            value: PhantomData,
        })
    }
}

impl<T> From<RawValue<T>> for SharedMemory {
    fn from(value: RawValue<T>) -> Self {
        value.memory
    }
}

/// Another handle to the same value.
impl<T> Clone for RawValue<T> {
    fn clone(&self) -> Self {
        Self {
            memory: self.memory.clone(),
            value: PhantomData,
        }
    }
}

impl<T> fmt::Debug for RawValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawValue").field(&self.memory).finish()
    }
}
