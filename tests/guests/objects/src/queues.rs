//! Queues.

use std::time::Duration;

use serde::{Serialize, Serializer};
use wasmp_guest::{
    Error, Event, GetError, JoinableQueue, Lock, PutError, Queue, RawArray, Result, SharedError, SimpleQueue,
    TaskDoneError, task,
};

use crate::within;

/// A new queue.
#[task]
fn queue_new(maxsize: u32) -> Result<Queue<i64>, SharedError> {
    Queue::new(maxsize)
}

/// The queue of this name.
#[task]
fn queue_named(name: &str) -> Result<Queue<i64>, SharedError> {
    Queue::named(name)
}

/// Puts values one by one.
#[task]
fn queue_put(queue: Queue<i64>, values: Vec<i64>, timeout: Option<u64>) -> Result<(), PutError<i64>> {
    values.into_iter().try_for_each(|value| {
        within(
            timeout,
            || queue.put(value),
            |time| queue.put_timeout(value, time),
            || queue.try_put(value),
        )
    })
}

/// Gets so many values one by one.
#[task]
fn queue_get(queue: Queue<i64>, count: usize, timeout: Option<u64>) -> Result<Vec<i64>, GetError> {
    (0..count)
        .map(|_| {
            within(
                timeout,
                || queue.get(),
                |time| queue.get_timeout(time),
                || queue.try_get(),
            )
        })
        .collect()
}

/// Puts many values; those that have not found room.
#[task]
fn queue_put_many(queue: Queue<i64>, values: Vec<i64>, timeout: Option<u64>) -> Result<Vec<i64>, PutError<Vec<i64>>> {
    let put = within(
        timeout,
        || queue.put_many(values.clone()),
        |time| queue.put_many_timeout(values.clone(), time),
        || queue.try_put_many(values.clone()),
    );
    match put {
        Err(PutError::Full(rest)) => Ok(rest),
        other => other.map(|()| Vec::new()),
    }
}

/// Gets up to `most` values.
#[task]
fn queue_get_many(queue: Queue<i64>, most: u32, timeout: Option<u64>) -> Result<Vec<i64>, GetError> {
    within(
        timeout,
        || queue.get_many(most),
        |time| queue.get_many_timeout(most, time),
        || queue.try_get_many(most),
    )
}

/// How many values there are, whether it is empty, and whether it is full.
#[task]
fn queue_state(queue: Queue<i64>) -> Result<(u64, bool, bool), SharedError> {
    Ok((queue.len()?, queue.is_empty()?, queue.is_full()?))
}

/// Shuts the queue down.
#[task]
fn queue_shutdown(queue: Queue<i64>, immediate: bool) -> Result<(), SharedError> {
    if immediate {
        queue.shutdown_immediately()
    } else {
        queue.shutdown()
    }
}

/// Puts what comes into another queue until the first one is shut down; how many there were.
#[task]
fn queue_forward(from: Queue<i64>, to: Queue<i64>) -> Result<u64> {
    let mut count = 0;
    loop {
        match from.get() {
            Ok(value) => to.put(value)?,
            Err(error) if error.is_shut_down() => return Ok(count),
            Err(error) => return Err(error.into()),
        }
        count += 1;
    }
}

/// Gets a value, sets `taken`, and waits for `go_on`.
#[task]
fn queue_take(queue: Queue<i64>, taken: Event, go_on: Event) -> Result<i64> {
    let value = queue.get()?;
    taken.set()?;
    go_on.wait()?;
    Ok(value)
}

/// Sets `begun`, and gets a value.
#[task]
fn queue_get_begun(queue: Queue<i64>, begun: Event) -> Result<i64> {
    begun.set()?;
    Ok(queue.get()?)
}

/// Sets `begun`, and puts a value.
#[task]
fn queue_put_begun(queue: Queue<i64>, value: i64, begun: Event) -> Result<()> {
    begun.set()?;
    Ok(queue.put(value)?)
}

/// Encoded as itself, unless it is negative.
#[derive(Clone, Copy)]
struct Natural(i64);

impl Serialize for Natural {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 < 0 {
            return Err(serde::ser::Error::custom("I will not"));
        }
        serializer.serialize_i64(self.0)
    }
}

/// Puts values of which negative ones cannot be encoded, one by one; the errors.
#[task]
fn queue_put_natural(queue: Queue<Natural>, values: Vec<i64>) -> Vec<String> {
    values
        .into_iter()
        .filter_map(|value| queue.put(Natural(value)).err())
        .map(|error| error.to_string())
        .collect()
}

/// Puts values of which negative ones cannot be encoded, all at once.
#[task]
fn queue_put_many_natural(queue: Queue<Natural>, values: Vec<i64>) -> Result<(), PutError<Vec<Natural>>> {
    queue.put_many(values.into_iter().map(Natural))
}

/// Gets a text.
#[task]
fn queue_get_text(queue: Queue<String>) -> Result<String, GetError> {
    queue.get()
}

/// Puts a lock and a queue that holds it, both in a list.
#[task]
fn queue_put_handles(queue: Queue<Vec<(Lock, Queue<Lock>)>>, lock: Lock) -> Result<()> {
    let inner = Queue::new(1)?;
    inner.put(lock.clone())?;
    Ok(queue.put(vec![(lock, inner)])?)
}

/// Gets what [`queue_put_handles`] has put; whether both locks are the same one, which must be free.
#[task]
fn queue_get_handles(queue: Queue<Vec<(Lock, Queue<Lock>)>>) -> Result<bool> {
    let mut pairs = queue.get()?;
    let (lock, inner) = pairs.pop().ok_or_else(|| Error::new("the list is empty"))?;
    let same = inner.get()?;
    let _guard = lock.try_lock()?.ok_or_else(|| Error::new("the lock is not free"))?;
    Ok(same.locked()? && same.try_lock()?.is_none())
}

/// Puts a message as it is.
#[task]
fn queue_put_bytes(queue: Queue<i64>, message: &[u8], timeout: Option<u64>) -> Result<(), PutError<()>> {
    within(
        timeout,
        || queue.put_bytes(message),
        |time| queue.put_bytes_timeout(message, time),
        || queue.try_put_bytes(message),
    )
}

/// Gets a message as it is.
#[task]
fn queue_get_bytes(queue: Queue<i64>, timeout: Option<u64>) -> Result<Vec<u8>, GetError> {
    within(
        timeout,
        || queue.get_bytes(),
        |time| queue.get_bytes_timeout(time),
        || queue.try_get_bytes(),
    )
}

/// Passes so many messages on.
#[task]
fn queue_forward_bytes(from: Queue<Vec<u8>>, to: Queue<Vec<u8>>, count: u64) -> Result<()> {
    for _ in 0..count {
        to.put(from.get()?)?;
    }
    Ok(())
}

/// Gets up to `most` messages at once; how long each of them is.
#[task]
fn queue_get_many_lengths(queue: Queue<Vec<u8>>, most: u32) -> Result<Vec<usize>, GetError> {
    Ok(queue.get_many(most)?.iter().map(Vec::len).collect())
}

/// Puts the pairs of `producer` and each number below `count`, so many at a time, and writes down how many are in.
#[task]
fn produce(queue: Queue<(u64, u64)>, producer: u64, count: u64, batch: usize, progress: RawArray<u64>) -> Result<()> {
    for start in (0..count).step_by(batch) {
        let end = count.min(start + batch as u64);
        queue.put_many((start..end).map(|number| (producer, number)))?;
        progress.set(producer as usize, end)?;
    }
    Ok(())
}

/// Passes on what [`produce`] puts, up to `most` at a time, with the number of this consumer, until the queue is shut down.
#[task]
fn consume(queue: Queue<(u64, u64)>, consumer: u64, most: u32, to: Queue<(u64, u64, u64)>) -> Result<()> {
    loop {
        match queue.get_many(most) {
            Ok(pairs) => to.put_many(pairs.into_iter().map(|(producer, number)| (consumer, producer, number)))?,
            Err(GetError::ShutDown) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same one by one, and marks each as dealt with when it was passed on.
#[task]
fn consume_acknowledged(queue: JoinableQueue<(u64, u64)>, consumer: u64, to: Queue<(u64, u64, u64)>) -> Result<()> {
    loop {
        match queue.get() {
            Ok((producer, number)) => to.put((consumer, producer, number))?,
            Err(GetError::ShutDown) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        queue.task_done()?;
    }
}

/// Puts so many messages of this size.
#[task]
fn pump(queue: Queue<Vec<u8>>, count: u64, size: usize) -> Result<(), PutError<Vec<u8>>> {
    (0..count).try_for_each(|number| queue.put(vec![number as u8; size]))
}

/// Gets so many messages; how many bytes they had.
#[task]
fn drain(queue: Queue<Vec<u8>>, count: u64) -> Result<usize, GetError> {
    let mut bytes = 0;
    for _ in 0..count {
        bytes += queue.get()?.len();
    }
    Ok(bytes)
}

/// Puts the numbers below `count`, so many at a time.
#[task]
fn pump_many(queue: Queue<u64>, count: u64, batch: usize) -> Result<(), PutError<Vec<u64>>> {
    let mut numbers = 0..count;
    while !numbers.is_empty() {
        queue.put_many(numbers.by_ref().take(batch))?;
    }
    Ok(())
}

/// Gets so many numbers, up to `batch` at a time; their sum.
#[task]
fn drain_many(queue: Queue<u64>, count: u64, batch: u32) -> Result<u64, GetError> {
    let (mut gotten, mut sum) = (0, 0);
    while gotten < count {
        let most = batch.min(u32::try_from(count - gotten).unwrap_or(batch));
        let numbers = queue.get_many(most)?;
        gotten += numbers.len() as u64;
        sum += numbers.iter().sum::<u64>();
    }
    Ok(sum)
}

/// A new joinable queue.
#[task]
fn joinable_queue_new(maxsize: u32, acknowledged: bool) -> Result<JoinableQueue<i64>, SharedError> {
    if acknowledged {
        JoinableQueue::acknowledged(maxsize)
    } else {
        JoinableQueue::new(maxsize)
    }
}

/// Gets a value, sets `taken` and, when `go_on` is set, marks the value as dealt with.
#[task]
fn joinable_queue_take(queue: JoinableQueue<i64>, taken: Event, go_on: Event) -> Result<i64> {
    let value = queue.get()?;
    taken.set()?;
    go_on.wait()?;
    queue.task_done()?;
    Ok(value)
}

/// Marks so many values as dealt with.
#[task]
fn joinable_queue_task_done(queue: JoinableQueue<i64>, times: u32) -> Result<(), TaskDoneError> {
    (0..times).try_for_each(|_| queue.task_done())
}

/// Waits until everything has been dealt with; whether it has.
#[task]
fn joinable_queue_join(queue: JoinableQueue<i64>, timeout: Option<u64>) -> Result<bool, SharedError> {
    within(
        timeout,
        || queue.join().map(|()| true),
        |time| queue.join_timeout(time),
        || queue.join_timeout(Duration::ZERO),
    )
}

/// Gets so many values, and marks each as dealt with.
#[task]
fn joinable_queue_work(queue: JoinableQueue<i64>, count: u32) -> Result<i64> {
    let mut sum = 0;
    for _ in 0..count {
        sum += queue.get()?;
        queue.task_done()?;
    }
    Ok(sum)
}

/// A new simple queue.
#[task]
fn simple_queue_new() -> Result<SimpleQueue<i64>, SharedError> {
    SimpleQueue::new()
}

/// Puts a value.
#[task]
fn simple_queue_put(queue: SimpleQueue<i64>, value: i64) -> Result<(), PutError<i64>> {
    queue.put(value)
}

/// Gets a value.
#[task]
fn simple_queue_get(queue: SimpleQueue<i64>) -> Result<i64, GetError> {
    queue.get()
}

/// Whether it is empty before and after a value is put.
#[task]
fn simple_queue_empty_twice(queue: SimpleQueue<i64>, value: i64) -> Result<(bool, bool)> {
    let before = queue.is_empty()?;
    queue.put(value)?;
    Ok((before, queue.is_empty()?))
}
