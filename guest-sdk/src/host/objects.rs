//! Shared objects, but for their memory: handles, messages, and everything that waits.
//!
//! An import that takes plain numbers is called as it is; one that takes pointers has a safe function here. Results are
//! for [`check`] to look at.

use std::time::Duration;

use wasmp_abi::{ObjectKind, Status, TOKEN_LEN};

imports! {
    safe fn object_unlink(handle: u32) -> i32;

    safe fn lock_new(recursive: bool) -> i32;
    safe fn lock_acquire(handle: u32, timeout: Timeout) -> i32;
    safe fn lock_release(handle: u32) -> i32;
    safe fn lock_count(handle: u32) -> i32;

    safe fn semaphore_new(value: u32, bounded: bool) -> i32;
    safe fn semaphore_acquire(handle: u32, held: bool, timeout: Timeout) -> i32;
    safe fn semaphore_release(handle: u32, held: bool, permits: u32) -> i32;
    safe fn semaphore_value(handle: u32) -> i32;

    safe fn event_new() -> i32;
    safe fn event_set(handle: u32) -> i32;
    safe fn event_clear(handle: u32) -> i32;
    safe fn event_is_set(handle: u32) -> i32;
    safe fn event_wait(handle: u32, timeout: Timeout) -> i32;

    safe fn condition_new() -> i32;
    safe fn condition_wait(handle: u32, lock: u32, timeout: Timeout) -> i32;
    safe fn condition_notify(handle: u32, lock: u32, waiters: i32) -> i32;

    safe fn barrier_new(parties: u32) -> i32;
    safe fn barrier_wait(handle: u32, action: bool, timeout: Timeout) -> i32;
    safe fn barrier_open(handle: u32) -> i32;
    safe fn barrier_abort(handle: u32) -> i32;
    safe fn barrier_reset(handle: u32) -> i32;
    safe fn barrier_parties(handle: u32) -> i32;
    safe fn barrier_waiting(handle: u32) -> i32;
    safe fn barrier_is_broken(handle: u32) -> i32;

    safe fn queue_new(maxsize: u32, acknowledged: bool) -> i32;
    safe fn queue_length(handle: u32) -> i64;
    safe fn queue_is_full(handle: u32) -> i32;
    safe fn queue_task_done(handle: u32) -> i32;
    safe fn queue_join(handle: u32, timeout: Timeout) -> i32;
    safe fn queue_shutdown(handle: u32, immediate: bool) -> i32;

    safe fn manager_new(max_bytes: u64, call_timeout: u64) -> i32;

    safe fn connection_poll(handle: u32, timeout: Timeout) -> i32;
    safe fn connection_directions(handle: u32) -> i32;

    unsafe fn object_open(kind: u32, token: *const u8) -> i32;
    unsafe fn object_find(kind: u32, name: *const u8, length: usize) -> i32;
    unsafe fn object_token(handle: u32, token: *mut u8) -> i32;

    unsafe fn queue_put(handle: u32, message: *const u8, length: usize, timeout: Timeout) -> i32;
    unsafe fn queue_put_many(handle: u32, frames: *const u8, length: usize, timeout: Timeout) -> i32;
    unsafe fn queue_get(handle: u32, buffer: *mut u8, capacity: usize, timeout: Timeout) -> i64;
    unsafe fn queue_get_many(handle: u32, buffer: *mut u8, capacity: usize, most: u32, timeout: Timeout) -> i64;
    unsafe fn message_read(buffer: *mut u8, capacity: usize) -> i64;

    unsafe fn pipe_new(duplex: bool, ends: *mut u32) -> i32;
    unsafe fn connection_send(handle: u32, message: *const u8, length: usize, timeout: Timeout) -> i32;
    unsafe fn connection_receive(handle: u32, buffer: *mut u8, capacity: usize, timeout: Timeout) -> i64;
    unsafe fn wait(handles: *const u32, count: usize, ready: *mut u8, timeout: Timeout) -> i32;
}

#[cfg(target_family = "wasm")]
#[link(wasm_import_module = "wasmp_v1")]
unsafe extern "C" {
    safe fn object_close(handle: u32);
}

#[cfg(not(target_family = "wasm"))]
fn object_close(_handle: u32) {}

/// How long a call may wait, as the host wants it: nanoseconds; a negative number is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Timeout(i64);

impl Timeout {
    pub(crate) const FOREVER: Self = Self(-1);
    pub(crate) const POLL: Self = Self(0);

    /// Sleeps for so long, or for a day if it is for ever.
    pub(crate) fn sleep(self) {
        const DAY: Duration = Duration::from_secs(86_400);
        std::thread::sleep(u64::try_from(self.0).map_or(DAY, Duration::from_nanos));
    }
}

impl From<Duration> for Timeout {
    /// What is beyond the range, 292 years, is for ever.
    fn from(duration: Duration) -> Self {
        i64::try_from(duration.as_nanos()).map_or(Self::FOREVER, Self)
    }
}

/// What an import has answered.
pub(crate) fn check(result: i32) -> Result<u32, Status> {
    u32::try_from(result).map_err(|_| status(result.into()))
}

/// [`check`] for the imports that answer with lengths.
pub(crate) fn check_long(result: i64) -> Result<u64, Status> {
    u64::try_from(result).map_err(|_| status(result))
}

fn status(result: i64) -> Status {
    Status::from_result(result).unwrap_or_else(|| panic!("the host has answered {result}, which is no status"))
}

/// A length that the host has given for something in this memory.
fn length(result: i64) -> Result<usize, Status> {
    check_long(result).map(|length| usize::try_from(length).expect("memory has 32 bits"))
}

/// A handle of this instance; the host gets it back when this is dropped.
#[derive(Debug)]
pub(crate) struct Object(u32);

impl Object {
    /// The object that an import has made.
    pub(crate) fn made(result: i32) -> Result<Self, Status> {
        check(result).map(Self)
    }

    pub(crate) fn open(kind: ObjectKind, token: &[u8; TOKEN_LEN]) -> Result<Self, Status> {
        // SAFETY: the host reads a token's bytes before it returns.
        Self::made(unsafe { object_open(kind as u32, token.as_ptr()) })
    }

    pub(crate) fn find(kind: ObjectKind, name: &str) -> Result<Self, Status> {
        // SAFETY: the host reads these bytes before it returns.
        Self::made(unsafe { object_find(kind as u32, name.as_ptr(), name.len()) })
    }

    pub(crate) fn token(&self) -> Result<[u8; TOKEN_LEN], Status> {
        let mut token = [0; TOKEN_LEN];
        // SAFETY: the host writes a token's bytes before it returns.
        check(unsafe { object_token(self.0, token.as_mut_ptr()) })?;
        Ok(token)
    }

    pub(crate) fn number(&self) -> u32 {
        self.0
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        object_close(self.0);
    }
}

/// Both ends of a new pipe.
pub(crate) fn make_pipe(duplex: bool) -> Result<[Object; 2], Status> {
    let mut ends = [0; 2];
    // SAFETY: the host writes two handles before it returns.
    check(unsafe { pipe_new(duplex, ends.as_mut_ptr()) })?;
    Ok(ends.map(Object))
}

/// Puts a message into a queue.
pub(crate) fn put(queue: u32, message: &[u8], timeout: Timeout) -> Result<(), Status> {
    // SAFETY: the host reads these bytes before it returns.
    check(unsafe { queue_put(queue, message.as_ptr(), message.len(), timeout) }).map(drop)
}

/// Puts messages, as frames, into a queue, and says how many are in.
pub(crate) fn put_many(queue: u32, frames: &[u8], timeout: Timeout) -> Result<u32, Status> {
    // SAFETY: as in `put`.
    check(unsafe { queue_put_many(queue, frames.as_ptr(), frames.len(), timeout) })
}

/// Sends a message through a connection.
pub(crate) fn send(connection: u32, message: &[u8], timeout: Timeout) -> Result<(), Status> {
    // SAFETY: as in `put`.
    check(unsafe { connection_send(connection, message.as_ptr(), message.len(), timeout) }).map(drop)
}

/// Takes a message from a queue.
pub(crate) fn get(queue: u32, buffer: &mut Vec<u8>, timeout: Timeout) -> Result<(), Status> {
    // SAFETY: the host writes no more than `capacity` bytes.
    fill(buffer, |at, capacity| unsafe {
        queue_get(queue, at, capacity, timeout)
    })
    .map(drop)
}

/// Receives a message from a connection.
pub(crate) fn receive(connection: u32, buffer: &mut Vec<u8>, timeout: Timeout) -> Result<(), Status> {
    // SAFETY: as in `get`.
    fill(buffer, |at, capacity| unsafe {
        connection_receive(connection, at, capacity, timeout)
    })
    .map(drop)
}

/// What [`get_many`] has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// Any number of frames.
    Frames,
    /// A message without a frame: there was not enough room for it.
    Message,
}

/// Takes up to `most` messages from a queue.
pub(crate) fn get_many(queue: u32, buffer: &mut Vec<u8>, most: u32, timeout: Timeout) -> Result<Got, Status> {
    // SAFETY: as in `get`.
    fill(buffer, |at, capacity| unsafe {
        queue_get_many(queue, at, capacity, most, timeout)
    })
}

/// Receives a message into memory of a fixed size; the whole message is the error when it does not fit.
pub(crate) fn receive_into(
    connection: u32,
    buffer: &mut [u8],
    timeout: Timeout,
) -> Result<Result<usize, Vec<u8>>, Status> {
    // SAFETY: the host writes no more than these bytes.
    let result = unsafe { connection_receive(connection, buffer.as_mut_ptr(), buffer.len(), timeout) };
    let length = length(result)?;
    if length <= buffer.len() {
        return Ok(Ok(length));
    }
    let mut message = Vec::new();
    read_message(&mut message, length)?;
    Ok(Err(message))
}

/// Room for a message, so that most need not be asked for twice, and for many small ones at once.
const ROOM: usize = 64 << 10;

/// Lets `import` fill the buffer from its start, and fetches what does not fit.
pub(super) fn fill(buffer: &mut Vec<u8>, import: impl FnOnce(*mut u8, usize) -> i64) -> Result<Got, Status> {
    buffer.clear();
    buffer.reserve(ROOM);
    let capacity = buffer.capacity();
    let length = length(import(buffer.as_mut_ptr(), capacity))?;
    if length > capacity {
        read_message(buffer, length)?;
        return Ok(Got::Message);
    }
    // SAFETY: the host has written the first `length` bytes.
    unsafe { buffer.set_len(length) };
    Ok(Got::Frames)
}

/// Fills the empty buffer with the message that needs so much room.
fn read_message(buffer: &mut Vec<u8>, room: usize) -> Result<(), Status> {
    buffer.reserve(room);
    let capacity = buffer.capacity();
    // SAFETY: the vector owns `capacity` writable bytes at its pointer, and the host writes no more than that.
    let length = length(unsafe { message_read(buffer.as_mut_ptr(), capacity) })?;
    assert!(length <= capacity, "the message has grown");
    // SAFETY: the host has written the first `length` bytes.
    unsafe { buffer.set_len(length) };
    Ok(())
}

/// Waits until some of the queues and connections are ready, and says for each whether it is.
pub(crate) fn wait_any(objects: &[u32], timeout: Timeout) -> Result<Vec<bool>, Status> {
    let mut ready = vec![0; objects.len()];
    // SAFETY: the host reads so many handles, and writes a byte for each, before it returns.
    check(unsafe { wait(objects.as_ptr(), objects.len(), ready.as_mut_ptr(), timeout) })?;
    Ok(ready.into_iter().map(|byte| byte != 0).collect())
}
