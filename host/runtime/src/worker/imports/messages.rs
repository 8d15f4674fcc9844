//! Queues and pipes.

use wasmp_abi::{IMPORT_MODULE, ObjectKind, Status, import};
use wasmp_ipc::{
    GetError, MOST_WAITABLES, Message, PutError, RecvError, SendError, TaskDoneError, WaitError, Waitable, wait_any,
};
use wasmtime::{Caller, Result};

use super::super::lean::LeanLinker;
use super::super::state::State;
use super::{connection, handle, in_vain, interrupted, limit, memory, object, opened, slice, status, wrong_kind};
use crate::objects::{Object, Shape};

/// Bytes in front of each message of several: its length.
const FRAME: usize = 4;

pub(super) fn add_to_linker(linker: &mut LeanLinker<'_, State>) -> Result<()> {
    linker
        .func_wrap(IMPORT_MODULE, import::QUEUE_NEW, queue_new)?
        .func_wrap(IMPORT_MODULE, import::QUEUE_PUT, queue_put)?
        .func_wrap(IMPORT_MODULE, import::QUEUE_PUT_MANY, queue_put_many)?
        .func_wrap(IMPORT_MODULE, import::QUEUE_GET, queue_get)?
        .func_wrap(IMPORT_MODULE, import::QUEUE_GET_MANY, queue_get_many)?
        .func_wrap(IMPORT_MODULE, import::QUEUE_LENGTH, queue_length)?
        .func_wrap(IMPORT_MODULE, import::QUEUE_IS_FULL, queue_is_full)?
        .func_wrap(IMPORT_MODULE, import::QUEUE_TASK_DONE, queue_task_done)?
        .func_wrap(IMPORT_MODULE, import::QUEUE_JOIN, queue_join)?
        .func_wrap(IMPORT_MODULE, import::QUEUE_SHUTDOWN, queue_shutdown)?
        .func_wrap(IMPORT_MODULE, import::MESSAGE_READ, message_read)?
        .func_wrap(IMPORT_MODULE, import::PIPE_NEW, pipe_new)?
        .func_wrap(IMPORT_MODULE, import::CONNECTION_SEND, connection_send)?
        .func_wrap(IMPORT_MODULE, import::CONNECTION_RECEIVE, connection_receive)?
        .func_wrap(IMPORT_MODULE, import::CONNECTION_POLL, connection_poll)?
        .func_wrap(IMPORT_MODULE, import::CONNECTION_DIRECTIONS, connection_directions)?
        .func_wrap(IMPORT_MODULE, import::WAIT, wait)?;
    Ok(())
}

fn queue_new(mut caller: Caller<'_, State>, maxsize: i32, acknowledged: i32) -> Result<i32> {
    match (u32::try_from(maxsize), acknowledged) {
        (Ok(maxsize), 0 | 1) => {
            let acknowledged = acknowledged == 1;
            let shape = Shape::Queue { maxsize, acknowledged };
            opened(caller.data_mut().objects.create(shape, None))
        }
        _ => Ok(status(Status::Invalid)),
    }
}

fn not_put(error: &PutError) -> i32 {
    status(match error {
        PutError::Full => Status::TimedOut,
        PutError::ShutDown => Status::ShutDown,
        PutError::Interrupted => interrupted(),
        PutError::TooLarge => Status::TooLarge,
        PutError::Broken => Status::Corrupt,
    })
}

fn not_got(error: &GetError) -> i64 {
    match error {
        GetError::Empty => Status::TimedOut,
        GetError::ShutDown => Status::ShutDown,
        GetError::Interrupted => interrupted(),
        GetError::Broken => Status::Corrupt,
    }
    .result()
}

fn queue_put(mut caller: Caller<'_, State>, number: u32, message: u32, length: u32, timeout: i64) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let message = slice(bytes, &state.objects, message, length as usize)?;
    let (queue, party) = object!(&state.objects, number, Queue);
    if message.len() > state.max_message {
        return Ok(status(Status::TooLarge));
    }
    let put = queue.put(party, 0, &[message], limit(timeout));
    Ok(put.map_or_else(|error| not_put(&error), |()| 0))
}

fn queue_put_many(mut caller: Caller<'_, State>, number: u32, frames: u32, length: u32, timeout: i64) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let frames = slice(bytes, &state.objects, frames, length as usize)?;
    let (queue, party) = object!(&state.objects, number, Queue);
    let Some(messages) = split(frames) else {
        return Ok(status(Status::Invalid));
    };
    if messages.iter().any(|(_, message)| message.len() > state.max_message) {
        return Ok(status(Status::TooLarge));
    }
    let put = queue.put_many(party, &messages, limit(timeout));
    Ok(put.map_or_else(|error| not_put(&error), |count| count as i32))
}

/// The messages in frames.
pub(super) fn split(mut frames: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut messages = Vec::new();
    while !frames.is_empty() {
        let (head, rest) = frames.split_first_chunk::<FRAME>()?;
        let (message, rest) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
        messages.push((0, message));
        frames = rest;
    }
    Some(messages)
}

/// Copies a message to its place, or keeps it for `message_read` if it does not fit.
#[inline]
fn deliver(message: &Message<'_>, target: &mut [u8], parked: &mut Vec<u8>) -> i64 {
    let length = message.len();
    match target.get_mut(..length) {
        Some(target) => message.read(0, target),
        None if park(message, parked) => {}
        None => return Status::TooLarge.result(),
    }
    length as i64
}

/// Copies a message to memory of the worker's own. False: it has not so much. The message is then gone, or else it would
/// meet the next one who gets as well: a neighbour could end worker after worker with it.
#[cold]
fn park(message: &Message<'_>, parked: &mut Vec<u8>) -> bool {
    let fits = parked.try_reserve_exact(message.len()).is_ok();
    if fits {
        parked.resize(message.len(), 0);
        message.read(0, parked);
    }
    fits
}

fn queue_get(mut caller: Caller<'_, State>, number: u32, buffer: u32, capacity: u32, timeout: i64) -> Result<i64> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, buffer, capacity as usize)?;
    let mut parked = Vec::new();
    let (queue, party) = object!(&state.objects, number, Queue);
    let got = queue.get(party, limit(timeout), |message| deliver(&message, target, &mut parked));
    if !parked.is_empty() {
        state.objects.parked = parked;
    }
    Ok(got.unwrap_or_else(|error| not_got(&error)))
}

fn queue_get_many(
    mut caller: Caller<'_, State>,
    number: u32,
    buffer: u32,
    capacity: u32,
    most: u32,
    timeout: i64,
) -> Result<i64> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, buffer, capacity as usize)?;
    let (mut filled, mut parked, mut too_large) = (0, Vec::new(), false);
    let (queue, party) = object!(&state.objects, number, Queue);
    let got = queue.get_many(party, most as usize, limit(timeout), |message| {
        let (start, end) = (filled + FRAME, filled + FRAME + message.len());
        match target.get_mut(filled..end) {
            Some(frame) => {
                frame[..FRAME].copy_from_slice(&(message.len() as u32).to_le_bytes());
                message.read(0, &mut frame[start - filled..]);
                filled = end;
                true
            }
            // The first one is taken nevertheless, the others wait for the next call.
            None if filled == 0 => {
                too_large = !park(&message, &mut parked);
                filled = end;
                true
            }
            None => false,
        }
    });
    if !parked.is_empty() {
        state.objects.parked = parked;
    }
    Ok(match got {
        Ok(_) if too_large => Status::TooLarge.result(),
        Ok(_) => filled as i64,
        Err(error) => not_got(&error),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn queue_length(caller: Caller<'_, State>, number: u32) -> Result<i64> {
    let (queue, _) = object!(&caller.data().objects, number, Queue);
    Ok(queue.len() as i64)
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn queue_is_full(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (queue, _) = object!(&caller.data().objects, number, Queue);
    Ok(queue.is_full().into())
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn queue_task_done(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (queue, party) = object!(&caller.data().objects, number, Queue);
    Ok(match queue.task_done(party) {
        Ok(()) => 0,
        Err(TaskDoneError::TooMany) => status(Status::TooMany),
        Err(TaskDoneError::Interrupted) => status(interrupted()),
        Err(TaskDoneError::Broken) => status(Status::Corrupt),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn queue_join(caller: Caller<'_, State>, number: u32, timeout: i64) -> Result<i32> {
    let (queue, party) = object!(&caller.data().objects, number, Queue);
    Ok(queue.join(party, limit(timeout)).map_or_else(in_vain, |()| 0))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn queue_shutdown(caller: Caller<'_, State>, number: u32, immediate: i32) -> Result<i32> {
    let (queue, party) = object!(&caller.data().objects, number, Queue);
    Ok(match immediate {
        0 | 1 => queue.shutdown(party, immediate == 1).map_or_else(in_vain, |()| 0),
        _ => status(Status::Invalid),
    })
}

fn message_read(mut caller: Caller<'_, State>, buffer: u32, capacity: u32) -> Result<i64> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, buffer, capacity as usize)?;
    let length = state.objects.parked.len();
    if let Some(target) = target.get_mut(..length) {
        target.copy_from_slice(&state.objects.parked);
        state.objects.parked = Vec::new();
    }
    Ok(length as i64)
}

fn pipe_new(mut caller: Caller<'_, State>, duplex: i32, ends: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, ends, 2 * size_of::<u32>())?;
    let duplex = match duplex {
        0 => false,
        1 => true,
        _ => return Ok(status(Status::Invalid)),
    };
    let first = opened(state.objects.create(Shape::Pipe { duplex }, None))?;
    let Ok(first) = u32::try_from(first) else {
        return Ok(first);
    };
    let second = opened(state.objects.other_end(first))?;
    if second < 0 {
        state.objects.close(first);
        return Ok(second);
    }
    target[..4].copy_from_slice(&first.to_le_bytes());
    target[4..].copy_from_slice(&second.to_le_bytes());
    Ok(0)
}

fn connection_send(mut caller: Caller<'_, State>, number: u32, message: u32, length: u32, timeout: i64) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let message = slice(bytes, &state.objects, message, length as usize)?;
    let (connection, party) = connection(&state.objects, number)?;
    if message.len() > state.max_message {
        return Ok(status(Status::TooLarge));
    }
    Ok(match connection.send(party, 0, &[message], limit(timeout)) {
        Ok(()) => 0,
        Err(error) => status(match error {
            SendError::ReadOnly => Status::Direction,
            SendError::BrokenPipe => Status::Broken,
            SendError::TimedOut => Status::TimedOut,
            SendError::Interrupted => interrupted(),
            SendError::TooLarge => Status::TooLarge,
            SendError::Broken => Status::Corrupt,
        }),
    })
}

fn not_received(error: RecvError) -> Status {
    match error {
        RecvError::WriteOnly => Status::Direction,
        RecvError::End => Status::End,
        RecvError::TimedOut => Status::TimedOut,
        RecvError::Interrupted => interrupted(),
        RecvError::Broken => Status::Corrupt,
    }
}

fn connection_receive(
    mut caller: Caller<'_, State>,
    number: u32,
    buffer: u32,
    capacity: u32,
    timeout: i64,
) -> Result<i64> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, buffer, capacity as usize)?;
    let mut parked = Vec::new();
    let (connection, party) = connection(&state.objects, number)?;
    state.moves.heed(&state.objects, connection);
    let received = connection.recv(party, limit(timeout), |message| deliver(&message, target, &mut parked));
    if !parked.is_empty() {
        state.objects.parked = parked;
    }
    Ok(received.unwrap_or_else(|error| not_received(error).result()))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn connection_poll(caller: Caller<'_, State>, number: u32, timeout: i64) -> Result<i32> {
    let (connection, party) = connection(&caller.data().objects, number)?;
    let polled = connection.poll(party, limit(timeout));
    Ok(polled.map_or_else(|error| status(not_received(error)), i32::from))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn connection_directions(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (connection, _) = connection(&caller.data().objects, number)?;
    Ok(i32::from(connection.is_readable()) + 2 * i32::from(connection.is_writable()))
}

fn wait(mut caller: Caller<'_, State>, handles: u32, count: u32, ready: u32, timeout: i64) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let count = count as usize;
    if count > MOST_WAITABLES {
        return Ok(status(Status::Invalid));
    }
    let numbers = slice(bytes, &state.objects, handles, count * size_of::<u32>())?;
    let numbers: Vec<u32> = numbers
        .as_chunks()
        .0
        .iter()
        .map(|number| u32::from_le_bytes(*number))
        .collect();
    let mut waitables = Vec::with_capacity(count);
    for number in numbers {
        let (handle, _) = handle(&state.objects, number)?;
        waitables.push(match &handle.held.object {
            Object::Queue(queue) => Waitable::Queue(queue),
            Object::Pipe(ends) => Waitable::Connection(&ends[handle.end]),
            other => return Err(wrong_kind(number, ObjectKind::Queue, other)),
        });
    }
    let flags = slice(bytes, &state.objects, ready, count)?;
    flags.fill(0);
    let Some(party) = state.objects.party() else {
        // It waits for nothing, and has never had anything.
        return Ok(0);
    };
    Ok(match wait_any(party, &waitables, limit(timeout)) {
        Ok(places) => {
            for place in &places {
                flags[*place] = 1;
            }
            places.len() as i32
        }
        Err(WaitError::TimedOut) => 0,
        Err(error) => in_vain(error),
    })
}
