//! Queues.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasmp_ipc::{Limit, Message};

use super::error::{GetError, PutError, SharedError, TaskDoneError};
use super::handle::{Handle, Shareable, object, sealed, travels, with_party};
use super::message::{Incoming, KIND, Outgoing};
use super::within;
use crate::error::Result;
use crate::objects::Shape;

/// Values in order, from any number of workers and threads to any number of them.
///
/// A value is encoded when it is put, as a task's arguments are, so that one that cannot travel is an error of its `put`,
/// and it is in the queue when `put` returns: no thread has yet to write it, and nothing is lost when the process ends.
/// What one thread has put comes in the same order. Handles of shared objects are values like others; the objects live as
/// long as the queue. The values in it take up to 1 GiB.
///
/// CPython: `multiprocessing.Queue`; [`shutdown`](Self::shutdown) is that of `queue.Queue`.
///
/// ```no_run
/// use wasmp::{Pool, Queue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let numbers = Queue::<i64>::new(0)?;
/// let sum = pool.apply_async::<_, i64>("consumer", (&numbers,))?;
/// numbers.put_many(1..=10)?;
/// numbers.shutdown()?; // the consumer gets what is there, and then learns that this was all
/// assert_eq!(sum.get()?, 55);
/// # Ok(())
/// # }
/// ```
pub struct Queue<T> {
    handle: Handle,
    values: PhantomData<fn(T) -> T>,
}

impl<T> From<Handle> for Queue<T> {
    fn from(handle: Handle) -> Self {
        Self {
            handle,
            values: PhantomData,
        }
    }
}

travels!(Queue<T>, Queue);

/// Another handle to the same queue.
impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self::from(self.handle.clone())
    }
}

impl<T> Queue<T> {
    /// A new queue for so many values; with 0, for as many as there is memory for.
    ///
    /// # Errors
    ///
    /// The system has no memory or no descriptor for it.
    pub fn new(maxsize: u32) -> Result<Self> {
        Self::make(maxsize, false)
    }

    fn make(maxsize: u32, acknowledged: bool) -> Result<Self> {
        Handle::create(&Shape::Queue { maxsize, acknowledged }).map(Self::from)
    }

    pub(super) fn object(&self) -> &wasmp_ipc::Queue {
        object!(self.handle, Queue)
    }

    /// How many values are in it. CPython: `qsize()`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.object().len()
    }

    /// Whether nothing is in it. CPython: `empty()`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.object().is_empty()
    }

    /// Whether a put would wait. CPython: `full()`.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.object().is_full()
    }

    /// Lets nobody put anything any more, and everybody get what is there.
    ///
    /// # Errors
    ///
    /// The queue's memory was overwritten.
    pub fn shutdown(&self) -> Result<(), SharedError> {
        Ok(with_party(|party| self.object().shutdown(party, false))?)
    }

    /// As [`shutdown`](Self::shutdown), and drops what is there. CPython: `shutdown(immediate=True)`.
    ///
    /// # Errors
    ///
    /// The queue's memory was overwritten.
    pub fn shutdown_immediately(&self) -> Result<(), SharedError> {
        Ok(with_party(|party| self.object().shutdown(party, true))?)
    }

    /// Puts a message as it is: for guests that want no CBOR. Otherwise as [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// As those of [`put`](Self::put).
    pub fn put_bytes(&self, message: &[u8]) -> Result<(), PutError<()>> {
        self.put_message(message, Limit::Forever)
    }

    /// As [`put_bytes`](Self::put_bytes), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put`](Self::put).
    pub fn put_bytes_timeout(&self, message: &[u8], timeout: Duration) -> Result<(), PutError<()>> {
        self.put_message(message, within(timeout))
    }

    /// As [`put_bytes`](Self::put_bytes), but only if there is room.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put`](Self::put).
    pub fn try_put_bytes(&self, message: &[u8]) -> Result<(), PutError<()>> {
        self.put_message(message, Limit::Poll)
    }

    fn put_message(&self, message: &[u8], limit: Limit) -> Result<(), PutError<()>> {
        with_party(|party| self.object().put(party, KIND, &[message], limit)).map_err(|error| PutError::new(error, ()))
    }

    /// Takes the next message as it is. Otherwise as [`get`](Self::get).
    ///
    /// # Errors
    ///
    /// As those of [`get`](Self::get).
    pub fn get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_message(Limit::Forever, |message| message.to_vec())
    }

    /// As [`get_bytes`](Self::get_bytes), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get`](Self::get).
    pub fn get_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, GetError> {
        self.get_message(within(timeout), |message| message.to_vec())
    }

    /// As [`get_bytes`](Self::get_bytes), but only if there is one.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get`](Self::get).
    pub fn try_get_bytes(&self) -> Result<Vec<u8>, GetError> {
        self.get_message(Limit::Poll, |message| message.to_vec())
    }

    fn get_message<R>(&self, limit: Limit, take: impl FnOnce(&Message<'_>) -> R) -> Result<R, GetError> {
        Ok(with_party(|party| {
            self.object().get(party, limit, |message| take(&message))
        })?)
    }
}

impl<T: Serialize + 'static> Queue<T> {
    /// Puts a value, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded, or is too large; the queue was shut down, or its memory was overwritten; the wait was
    /// interrupted. The value comes back.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_within(value, Limit::Forever)
    }

    /// As [`put`](Self::put), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put`](Self::put).
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_within(value, within(timeout))
    }

    /// As [`put`](Self::put), but only if there is room. CPython: `put_nowait`.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put`](Self::put).
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_within(value, Limit::Poll)
    }

    fn put_within(&self, value: T, limit: Limit) -> Result<(), PutError<T>> {
        let message = match Outgoing::encode_owned(&value) {
            Ok(message) => message,
            Err(problem) => return Err(PutError::Encode(value, problem)),
        };
        message.prepare(&self.handle);
        with_party(|party| self.object().put(party, KIND, &[message.bytes()], limit)).map_err(|error| {
            message.retract();
            PutError::new(error, value)
        })
    }

    /// Puts values in their order, many at a time, and waits for room whenever there is none. Other threads' and workers'
    /// values may come between them.
    ///
    /// # Errors
    ///
    /// As those of [`put`](Self::put), with the values that are not in the queue. If one cannot be encoded, none is.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        self.put_all(values, Limit::Forever)
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
        self.put_all(values, within(timeout))
    }

    /// As [`put_many`](Self::put_many), but only as many as there is room for.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], and those of [`put_many`](Self::put_many).
    pub fn try_put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        self.put_all(values, Limit::Poll)
    }

    fn put_all(&self, values: impl IntoIterator<Item = T>, limit: Limit) -> Result<(), PutError<Vec<T>>> {
        let mut values = Vec::from_iter(values);
        let mut messages = Vec::with_capacity(values.len());
        for value in &values {
            match Outgoing::encode_owned(value) {
                Ok(message) => messages.push(message),
                Err(problem) => {
                    messages.into_iter().for_each(Outgoing::retract);
                    return Err(PutError::Encode(values, problem));
                }
            }
        }
        let mut put = 0;
        let outcome = {
            messages.iter().for_each(|message| message.prepare(&self.handle));
            let slices = Vec::from_iter(messages.iter().map(|message| (KIND, message.bytes())));
            with_party(|party| {
                while put < slices.len() {
                    put += self.object().put_many(party, &slices[put..], limit)?;
                }
                Ok(())
            })
        };
        outcome.map_err(|error| {
            messages.drain(put..).for_each(Outgoing::retract);
            PutError::new(error, values.split_off(put))
        })
    }
}

impl<T: DeserializeOwned + 'static> Queue<T> {
    /// Takes the next value, and waits for it if there is none.
    ///
    /// # Errors
    ///
    /// The queue was shut down and is empty, or its memory was overwritten; what came is not a `T`, and is gone; the wait
    /// was interrupted.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_within(Limit::Forever)
    }

    /// As [`get`](Self::get), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_within(within(timeout))
    }

    /// As [`get`](Self::get), but only if there is one. CPython: `get_nowait`.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get`](Self::get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_within(Limit::Poll)
    }

    fn get_within(&self, limit: Limit) -> Result<T, GetError> {
        let message = self.get_message(limit, Incoming::copy)?;
        message.decode_owned().map_err(GetError::Decode)
    }

    /// Takes up to `most` values, and waits if there is none.
    ///
    /// # Errors
    ///
    /// As those of [`get`](Self::get). If one of them is not a `T`, they are all lost.
    pub fn get_many(&self, most: usize) -> Result<Vec<T>, GetError> {
        self.get_several(most, Limit::Forever)
    }

    /// As [`get_many`](Self::get_many), but waits no longer than so long.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get_many`](Self::get_many).
    pub fn get_many_timeout(&self, most: usize, timeout: Duration) -> Result<Vec<T>, GetError> {
        self.get_several(most, within(timeout))
    }

    /// As [`get_many`](Self::get_many), but only if there is any.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], and those of [`get_many`](Self::get_many).
    pub fn try_get_many(&self, most: usize) -> Result<Vec<T>, GetError> {
        self.get_several(most, Limit::Poll)
    }

    fn get_several(&self, most: usize, limit: Limit) -> Result<Vec<T>, GetError> {
        let mut messages = Vec::new();
        with_party(|party| {
            self.object().get_many(party, most, limit, |message| {
                messages.push(Incoming::copy(&message));
                true
            })
        })?;
        let values = messages.iter().map(Incoming::decode_owned);
        values.collect::<Result<_, _>>().map_err(GetError::Decode)
    }
}

/// A [`Queue`] that knows what has been dealt with, and what has only been taken.
///
/// CPython: `multiprocessing.JoinableQueue`.
///
/// ```no_run
/// use wasmp::{JoinableQueue, Pool};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder("tasks.wasm").build()?;
/// let jobs = JoinableQueue::<String>::acknowledged(0)?;
/// let workers: Vec<_> = (0..pool.processes())
///     .map(|_| pool.apply_async::<_, ()>("worker", (&jobs,)))
///     .collect::<wasmp::Result<_>>()?;
/// jobs.put_many(["one", "two"].map(String::from))?;
/// jobs.join()?; // both are done, even if a worker has died over one of them
/// jobs.shutdown()?;
/// # Ok(())
/// # }
/// ```
pub struct JoinableQueue<T>(Queue<T>);

impl<T> JoinableQueue<T> {
    /// A new queue, as [`Queue::new`] makes one.
    ///
    /// # Errors
    ///
    /// As those of [`Queue::new`].
    pub fn new(maxsize: u32) -> Result<Self> {
        Queue::new(maxsize).map(Self)
    }

    /// A new queue that loses nothing: what a worker has taken when it dies, without having called
    /// [`task_done`](Self::task_done) for it, is there again for another one.
    ///
    /// # Errors
    ///
    /// As those of [`Queue::new`].
    pub fn acknowledged(maxsize: u32) -> Result<Self> {
        Queue::make(maxsize, true).map(Self)
    }

    /// One value that was taken has been dealt with; of an [acknowledged](Self::acknowledged) queue, the oldest one that
    /// this process has taken.
    ///
    /// # Errors
    ///
    /// So many have not been taken.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        Ok(with_party(|party| self.object().task_done(party))?)
    }

    /// Waits until every value that was put has been dealt with.
    ///
    /// # Errors
    ///
    /// The queue's memory was overwritten, or the wait was interrupted.
    pub fn join(&self) -> Result<(), SharedError> {
        Ok(with_party(|party| self.object().join(party, Limit::Forever))?)
    }

    /// As [`join`](Self::join), but no longer than so long; the result is whether everything has been dealt with.
    ///
    /// # Errors
    ///
    /// As those of [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, SharedError> {
        let joined = with_party(|party| self.object().join(party, within(timeout)));
        Ok(SharedError::in_time(joined)?.is_some())
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

/// A queue that can put and get, and nothing else.
///
/// CPython: `multiprocessing.SimpleQueue`.
///
/// ```
/// use wasmp::SimpleQueue;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers = SimpleQueue::new()?;
/// numbers.put(7)?;
/// assert_eq!(numbers.get()?, 7);
/// # Ok(())
/// # }
/// ```
pub struct SimpleQueue<T>(Queue<T>);

impl<T> SimpleQueue<T> {
    /// A new queue for as many values as there is memory for.
    ///
    /// # Errors
    ///
    /// As those of [`Queue::new`].
    pub fn new() -> Result<Self> {
        Queue::new(0).map(Self)
    }

    /// Whether nothing is in it. CPython: `empty()`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
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
}

/// What both have of the queue that they are.
macro_rules! as_queue {
    ($($queue:ident)*) => {$(
        impl<T> $queue<T> {
            pub(super) fn queue(&self) -> &Queue<T> {
                &self.0
            }
        }

        /// Another handle to the same queue.
        impl<T> Clone for $queue<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<T> fmt::Debug for $queue<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<T> sealed::Handle for $queue<T> {
            fn handle(&self) -> &Handle {
                &self.0.handle
            }
        }

        impl<T> Shareable for $queue<T> {}

        impl<T> Serialize for $queue<T> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $queue<T> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Queue::deserialize(deserializer).map(Self)
            }
        }
    )*};
}

as_queue!(JoinableQueue SimpleQueue);
