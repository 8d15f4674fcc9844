//! Values and arrays in shared memory, with a lock and without.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmp_abi::{Integer, Plain, store_all, with_bytes};
use wasmp_ipc::{AccessError, SharedBytes, Width};

use super::error::{MemoryError, SharedError};
use super::lock::{AnyLock, LockGuard, RLock};
use super::memory::SharedMemory;
use crate::error::Result;

/// The memory of a value has been looked at when it was made or received, and never changes its size.
const HAS_ROOM: &str = "the value is in its memory";

/// One value in shared memory, without a lock.
///
/// [`get`](Self::get) and [`set`](Self::set) are atomic for numbers only. The operations of an integer that say what it was
/// before are atomic as well, and sequentially consistent.
///
/// CPython: `multiprocessing.RawValue`, which has no atomic operations.
///
/// ```no_run
/// use wasmp::{Pool, RawValue};
///
/// # fn main() -> wasmp::Result<()> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let calls = RawValue::new(0_u64)?;
/// let _: Vec<u64> = pool.starmap("count", (0..1000).map(|_| (&calls,)))?;
/// assert_eq!(calls.get(), 1000);
/// # Ok(())
/// # }
/// ```
#[derive(Deserialize, Serialize)]
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
    /// The system has no memory or no descriptor for it.
    pub fn new(value: T) -> Result<Self> {
        let new = Self {
            memory: SharedMemory::create(T::SIZE as u64)?,
            value: PhantomData,
        };
        new.set(value);
        Ok(new)
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> T {
        with_bytes::<T, _>(|bytes| {
            self.memory.bytes().read(0, bytes).expect(HAS_ROOM);
            T::load(bytes)
        })
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        with_bytes::<T, _>(|bytes| {
            value.store(bytes);
            self.memory.bytes().write(0, bytes).expect(HAS_ROOM);
        });
    }
}

impl<T: Integer> RawValue<T> {
    /// The value.
    #[must_use]
    pub fn load(&self) -> T {
        self.atomic(|memory, width| memory.load(width, 0))
    }

    /// Replaces the value.
    pub fn store(&self, value: T) {
        self.swap(value);
    }

    /// Replaces the value, and says what it was.
    pub fn swap(&self, value: T) -> T {
        self.atomic(|memory, width| memory.swap(width, 0, value.to_bits()))
    }

    /// Replaces the value if it is `current`, and says what it was: as `Ok` if it was replaced, as `Err` if not.
    ///
    /// # Errors
    ///
    /// The value was another one, which is the error.
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        let mut replaced = false;
        let old = self.atomic(|memory, width| {
            let exchanged = memory.compare_exchange(width, 0, current.to_bits(), new.to_bits())?;
            replaced = exchanged.is_ok();
            Ok(exchanged.unwrap_or_else(|other| other))
        });
        if replaced { Ok(old) } else { Err(old) }
    }

    /// Adds to the value, wrapping around, and says what it was.
    pub fn fetch_add(&self, value: T) -> T {
        self.atomic(|memory, width| memory.add(width, 0, value.to_bits()))
    }

    /// Subtracts from the value, wrapping around, and says what it was.
    pub fn fetch_sub(&self, value: T) -> T {
        self.atomic(|memory, width| memory.sub(width, 0, value.to_bits()))
    }

    /// Keeps only these bits of the value, and says what it was.
    pub fn fetch_and(&self, value: T) -> T {
        self.atomic(|memory, width| memory.and(width, 0, value.to_bits()))
    }

    /// Sets these bits of the value, and says what it was.
    pub fn fetch_or(&self, value: T) -> T {
        self.atomic(|memory, width| memory.or(width, 0, value.to_bits()))
    }

    /// Flips these bits of the value, and says what it was.
    pub fn fetch_xor(&self, value: T) -> T {
        self.atomic(|memory, width| memory.xor(width, 0, value.to_bits()))
    }

    #[inline]
    fn atomic(&self, act: impl FnOnce(&SharedBytes, Width) -> Result<u64, AccessError>) -> T {
        let width = Width::new(T::SIZE).expect("integers have a width");
        T::from_bits(act(self.memory.bytes(), width).expect(HAS_ROOM))
    }
}

/// Values in shared memory, without a lock. None of its operations is atomic.
///
/// CPython: `multiprocessing.RawArray`.
///
/// ```no_run
/// use wasmp::{Pool, RawArray};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let numbers = RawArray::from_slice(&Vec::from_iter(0..1000_i64))?;
/// let _: Vec<()> = pool.starmap("square_all", [(&numbers, 0, 500), (&numbers, 500, 1000)])?;
/// assert_eq!(numbers.get(30)?, 900);
/// # Ok(())
/// # }
/// ```
#[derive(Deserialize, Serialize)]
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
    /// The length is 0, or too large; the system has no memory or no descriptor for it.
    pub fn new(len: usize) -> Result<Self> {
        let size = len.saturating_mul(T::SIZE);
        let memory = SharedMemory::create(size as u64)?;
        Ok(Self {
            memory,
            values: PhantomData,
        })
    }

    /// A new array with these values.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn from_slice(values: &[T]) -> Result<Self> {
        let new = Self::new(values.len())?;
        new.write(0, values).expect("an array is as long as it was made");
        Ok(new)
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.bytes().size() / T::SIZE
    }

    /// Whether it has no values: it was made of memory that is too small for one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at this place.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfRange`]: the array is not so long.
    pub fn get(&self, index: usize) -> Result<T, MemoryError> {
        with_bytes::<T, _>(|bytes| {
            self.memory.bytes().read(offset::<T>(index)?, bytes)?;
            Ok(T::load(bytes))
        })
    }

    /// Replaces the value at this place.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfRange`]: the array is not so long.
    pub fn set(&self, index: usize, value: T) -> Result<(), MemoryError> {
        with_bytes::<T, _>(|bytes| {
            value.store(bytes);
            Ok(self.memory.bytes().write(offset::<T>(index)?, bytes)?)
        })
    }

    /// The values in this range.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfRange`]: the array is not so long, or the range ends before it starts.
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
        self.memory.bytes().read(offset::<T>(start)?, &mut bytes)?;
        Ok(bytes.chunks_exact(T::SIZE).map(T::load).collect())
    }

    /// Replaces the values from this place on.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfRange`]: the array is not so long. Nothing was replaced.
    pub fn write(&self, index: usize, values: &[T]) -> Result<(), MemoryError> {
        let mut bytes = vec![0; values.len() * T::SIZE];
        store_all(values, &mut bytes);
        Ok(self.memory.bytes().write(offset::<T>(index)?, &bytes)?)
    }
}

fn offset<T: Plain>(index: usize) -> Result<usize, MemoryError> {
    index.checked_mul(T::SIZE).ok_or(MemoryError::OutOfRange)
}

impl<T: Plain> TryFrom<SharedMemory> for RawValue<T> {
    type Error = SharedError;

    /// The value at the start of the memory, which must be large enough.
    fn try_from(memory: SharedMemory) -> Result<Self, SharedError> {
        if memory.bytes().size() < T::SIZE {
            return Err(SharedError::Invalid);
        }
        Ok(Self {
            memory,
            value: PhantomData,
        })
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

macro_rules! in_memory {
    ($($raw:ident: $field:ident;)*) => {$(
        impl<T> From<$raw<T>> for SharedMemory {
            fn from(raw: $raw<T>) -> Self {
                raw.memory
            }
        }

        /// Another handle to the same memory.
        impl<T> Clone for $raw<T> {
            fn clone(&self) -> Self {
                Self {
                    memory: self.memory.clone(),
                    $field: PhantomData,
                }
            }
        }

        impl<T> fmt::Debug for $raw<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($raw)).field(&self.memory).finish()
            }
        }
    )*};
}

in_memory! {
    RawValue: value;
    RawArray: values;
}

/// Something in shared memory, and its lock: a [`Value`] or an [`Array`].
///
/// It derefs to the raw one, whose operations take no lock.
///
/// CPython: `multiprocessing.sharedctypes.Synchronized`.
///
/// ```
/// use wasmp::{SharedError, Value};
///
/// /// The next number of the series, which nobody else gets.
/// fn double(last: &Value<u64>) -> Result<u64, SharedError> {
///     let last = last.lock()?;
///     let next = last.get() * 2;
///     last.set(next);
///     Ok(next)
/// }
/// # assert_eq!(double(&Value::new(4).unwrap()), Ok(8));
/// ```
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Synchronized<R>(R, AnyLock);

impl<R> Synchronized<R> {
    /// Waits for the lock, and holds it until the result is dropped. CPython: `with value.get_lock():`.
    ///
    /// # Errors
    ///
    /// The lock's memory was overwritten, or the wait was interrupted.
    pub fn lock(&self) -> Result<Locked<'_, R>, SharedError> {
        self.1.lock().map(|guard| self.locked(guard))
    }

    /// As [`lock`](Self::lock), but no longer than so long: then `None`.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<Locked<'_, R>>, SharedError> {
        Ok(self.1.lock_timeout(timeout)?.map(|guard| self.locked(guard)))
    }

    /// As [`lock`](Self::lock), but only if it need not be waited for.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<Locked<'_, R>>, SharedError> {
        Ok(self.1.try_lock()?.map(|guard| self.locked(guard)))
    }

    fn locked<'l>(&'l self, guard: LockGuard<'l>) -> Locked<'l, R> {
        Locked { raw: &self.0, guard }
    }

    /// The lock.
    #[must_use]
    pub fn get_lock(&self) -> &AnyLock {
        &self.1
    }
}

/// Without the lock. CPython: `get_obj()`.
impl<R> Deref for Synchronized<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0
    }
}

/// A raw value or array whose lock is held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Locked<'l, R> {
    raw: &'l R,
    guard: LockGuard<'l>,
}

impl<R> Locked<'_, R> {
    /// Whether the worker that held the lock before has died with it: the value may be half written.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        self.guard.abandoned()
    }
}

impl<R> Deref for Locked<'_, R> {
    type Target = R;

    fn deref(&self) -> &R {
        self.raw
    }
}

/// One value in shared memory, with a lock.
///
/// `get` and `set` take the lock, each for itself. What belongs together needs it for longer: [`update`](Value::update), or
/// [`lock`](Synchronized::lock). The [atomic operations](RawValue::fetch_add) of an integer take no lock and need none; use
/// either them or the lock.
///
/// CPython: `multiprocessing.Value`.
///
/// ```no_run
/// use wasmp::{Pool, Value};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let sum = Value::new(0.0)?;
/// let _: Vec<f64> = pool.starmap("add", [(&sum, [1.0, 2.0]), (&sum, [3.0, 4.0])])?;
/// assert_eq!(sum.update(|sum| sum / 2.0)?, 5.0);
/// # Ok(())
/// # }
/// ```
pub type Value<T> = Synchronized<RawValue<T>>;

/// What a [`Value`] can do.
impl<T: Plain> Value<T> {
    /// A new value with an [`RLock`] of its own.
    ///
    /// # Errors
    ///
    /// The system has no memory or no descriptor for it.
    pub fn new(value: T) -> Result<Self> {
        Self::with_lock(value, &RLock::new()?)
    }

    /// A new value that goes with this lock.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    pub fn with_lock(value: T, lock: impl Into<AnyLock>) -> Result<Self> {
        Ok(Self(RawValue::new(value)?, lock.into()))
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn get(&self) -> Result<T, SharedError> {
        Ok(self.lock()?.get())
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn set(&self, value: T) -> Result<(), SharedError> {
        self.lock()?.set(value);
        Ok(())
    }

    /// Replaces the value by what `change` makes of it, and says what that is. Nobody comes between.
    ///
    /// # Errors
    ///
    /// As those of [`lock`](Self::lock).
    pub fn update(&self, change: impl FnOnce(T) -> T) -> Result<T, SharedError> {
        let locked = self.lock()?;
        let value = change(locked.get());
        locked.set(value);
        Ok(value)
    }
}

/// Values in shared memory, with a lock.
///
/// `get`, `set`, `read` and `write` take the lock, each for itself. What belongs together needs it for longer:
/// [`lock`](Synchronized::lock). [`len`](RawArray::len) takes no lock.
///
/// CPython: `multiprocessing.Array`.
///
/// ```
/// use wasmp::Array;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let accounts = Array::from_slice(&[100_i64, 0])?;
/// // Money that at no time is in both accounts or in none.
/// let locked = accounts.lock()?;
/// locked.set(0, locked.get(0)? - 30)?;
/// locked.set(1, locked.get(1)? + 30)?;
/// # drop(locked);
/// # assert_eq!(accounts.read(..)?, [70, 30]);
/// # Ok(())
/// # }
/// ```
pub type Array<T> = Synchronized<RawArray<T>>;

/// What an [`Array`] can do.
impl<T: Plain> Array<T> {
    /// A new array of so many values, all of whose bytes are zero, with an [`RLock`] of its own.
    ///
    /// # Errors
    ///
    /// As those of [`RawArray::new`].
    pub fn new(len: usize) -> Result<Self> {
        Self::with_lock(len, &RLock::new()?)
    }

    /// A new array of so many values, all of whose bytes are zero, that goes with this lock.
    ///
    /// # Errors
    ///
    /// As those of [`RawArray::new`].
    pub fn with_lock(len: usize, lock: impl Into<AnyLock>) -> Result<Self> {
        Ok(Self(RawArray::new(len)?, lock.into()))
    }

    /// A new array with these values and an [`RLock`] of its own.
    ///
    /// # Errors
    ///
    /// As those of [`RawArray::new`].
    pub fn from_slice(values: &[T]) -> Result<Self> {
        Ok(Self(RawArray::from_slice(values)?, AnyLock::RLock(RLock::new()?)))
    }

    /// The value at this place.
    ///
    /// # Errors
    ///
    /// [`MemoryError::OutOfRange`]: the array is not so long; and those of [`lock`](Self::lock).
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
