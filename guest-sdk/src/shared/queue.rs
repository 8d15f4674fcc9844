use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wasmp_abi::Status;

use super::{
    GetError, PutError, SharedError,
    handle::{Handle, QUEUE},
    message,
};
use crate::host::objects::{self, Timeout, check, check_long, queue_is_full, queue_length, queue_new, queue_shutdown};

/// Values in order, from any number of workers to any number of workers.
///
/// A value is encoded when it is put, as a task's result is, so that one that cannot travel is an error of its `put`,
/// and it is in the queue when `put` returns. What one worker has put comes in the same order. Handles of shared
/// objects are values like others.
///
/// CPython: `multiprocessing.Queue`; [`shutdown`](Self::shutdown) is that of `queue.Queue`.
///
/// ```
/// use wasmp_guest::{GetError, Queue, Result, task};
///
/// #[task]
/// fn producer(numbers: Vec<i64>, queue: Queue<i64>) -> Result<()> {
///     for number in numbers {
///         queue.put(number)?;
///     }
///     Ok(())
/// }
///
/// /// The sum of what comes until the queue is shut down.
/// #[task]
/// fn consumer(queue: Queue<i64>) -> Result<i64> {
///     let mut sum = 0;
///     loop {
///         match queue.get() {
///             Ok(number) => sum += number,
///             Err(GetError::ShutDown) => return Ok(sum),
///             Err(error) => return Err(error.into()),
///         }
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Queue<T> {
    pub(super) handle: Handle<QUEUE>,
    #[serde(skip)]
    values: PhantomData<fn(T) -> T>,
}

impl<T> Queue<T> {
    /// A new queue for so many values; with 0, for as many as there is memory for.
    ///
    /// # Errors
    ///
    /// The pool may have no more objects or share no more bytes, or this is not a wasmp worker.
    pub fn new(maxsize: u32) -> Result<Self, SharedError> {
        Self::make(maxsize, false)
    }

    pub(crate) fn make(maxsize: u32, acknowledged: bool) -> Result<Self, SharedError> {
        Handle::made(queue_new(maxsize, acknowledged)).map(Self::from)
    }

    /// The queue of this name, from the command line: `--queue name`.
    ///
    /// # Errors
    ///
    /// There is none, or it is something else.
    pub fn named(name: &str) -> Result<Self, SharedError> {
        Handle::find(name).map(Self::from)
    }

    /// How many values are in it. CPython: `qsize()`.
    ///
    /// # Errors
    ///
    /// The queue's memory was overwritten.
    pub fn len(&self) -> Result<u64, SharedError> {
        check_long(queue_length(self.number())).map_err(SharedError::new)
    }

    /// Whether nothing is in it.
    ///
    /// # Errors
    ///
    /// The queue's memory was overwritten.
    pub fn is_empty(&self) -> Result<bool, SharedError> {
        self.len().map(|len| len == 0)
    }

    /// Whether a put would wait.
    ///
    /// # Errors
    ///
    /// The queue's memory was overwritten.
    pub fn is_full(&self) -> Result<bool, SharedError> {
        check(queue_is_full(self.number()))
            .map(|full| full != 0)
            .map_err(SharedError::new)
    }

    /// Lets nobody put anything any more, and everybody get what is there.
    ///
    /// # Errors
    ///
    /// The queue's memory was overwritten.
    pub fn shutdown(&self) -> Result<(), SharedError> {
        self.shut(false)
    }

    /// As [`shutdown`](Self::shutdown), and drops what is there. CPython: `shutdown(immediate=True)`.
    ///
    /// # Errors
    ///
    /// The queue's memory was overwritten.
    pub fn shutdown_immediately(&self) -> Result<(), SharedError> {
        self.shut(true)
    }

    fn shut(&self, immediate: bool) -> Result<(), SharedError> {
        check(queue_shutdown(self.number(), immediate))
            .map(drop)
            .map_err(SharedError::new)
    }

    /// Puts a message as it is, whatever it is to those who get it with [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    ///
    /// As those of [`put`](Self::put).
    pub fn put_bytes(&self, message: &[u8]) -> Result<(), PutError<()>> {
        self.put_message(message, Timeout::FOREVER)
    }

    /// As [`put_bytes`](Self::put_bytes), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put`](Self::put).
    pub fn put_bytes_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), PutError<()>> {
        self.put_message(message, timeout.into())
    }

    /// As [`put_bytes`](Self::put_bytes), but only if there is room.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put`](Self::put).
    pub fn try_put_bytes(&self, message: &[u8]) -> Result<(), PutError<()>> {
        self.put_message(message, Timeout::POLL)
    }

    fn put_message(&self, message: &[u8], timeout: Timeout) -> Result<(), PutError<()>> {
        objects::put(self.number(), message, timeout).map_err(|status| PutError::new(status, ()))
    }

    /// Takes the next message as it is.
    ///
    /// # Errors
    ///
    /// As those of [`get`](Self::get).
    pub fn get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_message(Timeout::FOREVER)
    }

    /// As [`get_bytes`](Self::get_bytes), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get`](Self::get).
    pub fn get_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, GetError> {
        self.get_message(timeout.into())
    }

    /// As [`get_bytes`](Self::get_bytes), but only if there is one.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get`](Self::get).
    pub fn try_get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_message(Timeout::POLL)
    }

    fn get_message(&self, timeout: Timeout) -> Result<Vec<u8>, GetError> {
        message::bytes(|buffer| objects::get(self.number(), buffer, timeout)).map_err(GetError::new)
    }

    pub(crate) fn number(&self) -> u32 {
        self.handle.number()
    }
}

impl<T: Serialize + 'static> Queue<T> {
    /// Puts a value, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded, or is too large; the queue was shut down. As any wait, it can be interrupted, and
    /// the queue's memory may have been overwritten.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_within(value, Timeout::FOREVER)
    }

    /// As [`put`](Self::put), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put`](Self::put).
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_within(value, timeout.into())
    }

    /// As [`put`](Self::put), but only if there is room. CPython: `put_nowait`.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put`](Self::put).
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_within(value, Timeout::POLL)
    }

    fn put_within(&self, value: T, timeout: Timeout) -> Result<(), PutError<T>> {
        match message::encode(
            |output| message::append(&value, output),
            |bytes| objects::put(self.number(), bytes, timeout),
        ) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => Err(PutError::new(status, value)),
            Err(problem) => Err(PutError::Encode(value, problem)),
        }
    }

    /// Puts values in their order, many at a time, and waits for room whenever there is none. Other workers' values may
    /// come between them.
    ///
    /// # Errors
    ///
    /// As those of [`put`](Self::put), with the values that are not in the queue. If one cannot be encoded, none is.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        self.put_all(values, || Timeout::FOREVER)
    }

    /// As [`put_many`](Self::put_many), but waits no longer than so long altogether.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put_many`](Self::put_many).
    pub fn put_many_timeout(
        &self,
        values: impl IntoIterator<Item = T>,
        timeout: Duration,
    ) -> Result<(), PutError<Vec<T>>> {
        let start = Instant::now();
        self.put_all(values, || timeout.saturating_sub(start.elapsed()).into())
    }

    /// As [`put_many`](Self::put_many), but only as many as there is room for.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put_many`](Self::put_many).
    pub fn try_put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        self.put_all(values, || Timeout::POLL)
    }

    fn put_all(
        &self,
        values: impl IntoIterator<Item = T>,
        timeout: impl Fn() -> Timeout,
    ) -> Result<(), PutError<Vec<T>>> {
        let mut values = Vec::from_iter(values);
        let mut put = 0;
        let write = |output: &mut Vec<u8>| message::append_frames(&values, output);
        let outcome = message::encode(write, |mut frames| {
            while !frames.is_empty() {
                let count = objects::put_many(self.number(), frames, timeout())? as usize;
                put += count;
                frames = &frames[message::length_of_frames(frames, count)..];
            }
            Ok::<_, Status>(())
        });
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => Err(PutError::new(status, values.split_off(put))),
            Err(problem) => Err(PutError::Encode(values, problem)),
        }
    }
}

impl<T: DeserializeOwned + 'static> Queue<T> {
    /// Takes the next value, and waits for it if there is none.
    ///
    /// # Errors
    ///
    /// The queue was shut down and is empty; what came is not a `T`. As any wait, it can be interrupted, and the
    /// queue's memory may have been overwritten.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_within(Timeout::FOREVER)
    }

    /// As [`get`](Self::get), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_within(timeout.into())
    }

    /// As [`get`](Self::get), but only if there is one. CPython: `get_nowait`.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get`](Self::get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_within(Timeout::POLL)
    }

    fn get_within(&self, timeout: Timeout) -> Result<T, GetError> {
        message::decode(
            |buffer| objects::get(self.number(), buffer, timeout),
            |(), message, scratch| message::take(message, scratch),
        )
        .map_err(GetError::new)?
        .map_err(GetError::Decode)
    }

    /// Takes up to `most` values, and waits if there is none.
    ///
    /// # Errors
    ///
    /// As those of [`get`](Self::get). If one of them is not a `T`, they are all lost.
    pub fn get_many(&self, most: u32) -> Result<Vec<T>, GetError> {
        self.get_several(most, Timeout::FOREVER)
    }

    /// As [`get_many`](Self::get_many), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get_many`](Self::get_many).
    pub fn get_many_timeout(&self, most: u32, timeout: Duration) -> Result<Vec<T>, GetError> {
        self.get_several(most, timeout.into())
    }

    /// As [`get_many`](Self::get_many), but only if there is any.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get_many`](Self::get_many).
    pub fn try_get_many(&self, most: u32) -> Result<Vec<T>, GetError> {
        self.get_several(most, Timeout::POLL)
    }

    fn get_several(&self, most: u32, timeout: Timeout) -> Result<Vec<T>, GetError> {
        message::decode(
            |buffer| objects::get_many(self.number(), buffer, most, timeout),
            message::take_frames,
        )
        .map_err(GetError::new)?
        .map_err(GetError::Decode)
    }
}

impl<T> From<Handle<QUEUE>> for Queue<T> {
    fn from(handle: Handle<QUEUE>) -> Self {
        Self {
            handle,
            values: PhantomData,
        }
    }
}

/// Another handle to the same queue.
impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self::from(self.handle.clone())
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.handle).finish()
    }
}
