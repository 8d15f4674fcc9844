//! Objects that a task opens by their names.

use std::time::Duration;

use wasmp_guest::{Event, Lock, MemoryError, Queue, Result, Semaphore, SharedError, SharedMemory, task};

/// Puts values into the queue of this name, only if there is room, and gets so many.
#[task]
fn named_queue(name: &str, values: Vec<i64>, count: usize) -> Result<Vec<i64>> {
    let queue = Queue::<i64>::named(name)?;
    values.into_iter().try_for_each(|value| queue.try_put(value))?;
    Ok((0..count)
        .map(|_| queue.get_timeout(Duration::from_secs(20)))
        .collect::<Result<_, _>>()?)
}

/// Sets the event of this name, or waits until somebody does; whether it is set.
#[task]
fn named_event(name: &str, set: bool) -> Result<bool, SharedError> {
    let event = Event::named(name)?;
    if set {
        event.set()?;
    }
    event.wait_timeout(Duration::from_secs(20))
}

/// Takes a permit of the semaphore of this name, if there is one.
#[task]
fn named_semaphore(name: &str) -> Result<bool, SharedError> {
    Semaphore::named(name)?.try_acquire()
}

/// Counts in the memory of this name, under the lock of that name; how far.
#[task]
fn named_count(lock: &str, memory: &str) -> Result<u64> {
    let lock = Lock::named(lock)?;
    let memory = SharedMemory::open_named(memory)?;
    let _guard = lock.lock()?;
    let mut bytes = [0; 8];
    memory.read(0, &mut bytes)?;
    let count = u64::from_le_bytes(bytes) + 1;
    memory.write(0, &count.to_le_bytes())?;
    Ok(count)
}

/// Writes to the last byte of the memory of this name, and beyond it; how many bytes it has.
#[task]
fn named_memory(name: &str) -> Result<u64> {
    let memory = SharedMemory::open_named(name)?;
    memory.write(memory.size() - 1, &[1])?;
    assert_eq!(memory.write(memory.size(), &[1]), Err(MemoryError::OutOfRange));
    Ok(memory.size())
}
