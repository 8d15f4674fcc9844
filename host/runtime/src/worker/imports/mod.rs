//! The functions of `wasmp_v1`: what a guest calls back. Their meaning is written down in `wasmp_abi`.
//!
//! A pointer out of bounds, a handle that is none, or a call out of turn is a bug of the guest and traps; the backtrace
//! shows which function it was. Conditions that a guest can deal with are a [`Status`].
//!
//! [`tasks`] is items and outcomes; the others are shared objects: [`objects`] what they have in common, [`sync`] what
//! one waits for, [`messages`] queues and pipes, [`bytes`] memory. And [`pools`] and
//! [`processes`] are the guest's own.

mod bytes;
mod messages;
mod objects;
mod pools;
mod processes;
mod sync;
mod tasks;

use std::time::Duration;

use wasmp_abi::{ObjectKind, Status};
use wasmp_ipc::{Connection, Limit, Party, WaitError};
use wasmtime::{Caller, Error, Extern, Memory, Result, Trap, bail};

pub(super) use self::tasks::{failure, message};
use super::interruption;
use super::lean::LeanLinker;
use super::objects::{Handle, Objects, OpenError};
use super::state::State;
use crate::objects::Object;

pub(super) fn add_to_linker(linker: &mut LeanLinker<'_, State>) -> Result<()> {
    tasks::add_to_linker(linker)?;
    objects::add_to_linker(linker)?;
    sync::add_to_linker(linker)?;
    messages::add_to_linker(linker)?;
    bytes::add_to_linker(linker)?;
    pools::add_to_linker(linker)?;
    processes::add_to_linker(linker)
}

/// The guest's memory.
#[inline]
fn memory(caller: &mut Caller<'_, State>) -> Result<Memory> {
    match caller.data().memory {
        Some(memory) => Ok(memory),
        None => find_memory(caller),
    }
}

#[cold]
fn find_memory(caller: &mut Caller<'_, State>) -> Result<Memory> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        bail!("the module does not export its memory as `memory`");
    };
    caller.data_mut().memory = Some(memory);
    Ok(memory)
}

/// A range of the guest's memory, which must be the guest's alone.
#[inline]
fn slice<'b>(bytes: &'b mut [u8], objects: &Objects, ptr: u32, len: usize) -> Result<&'b mut [u8]> {
    let range = bytes
        .get_mut(ptr as usize..)
        .and_then(|rest| rest.get_mut(..len))
        .ok_or_else(|| Error::from(Trap::MemoryOutOfBounds))?;
    if objects.windows.touch(ptr as usize, len) {
        bail!("the range is mapped to a shared object: copy it first");
    }
    Ok(range)
}

/// What a handle stands for, and who asks.
#[inline]
fn handle(objects: &Objects, number: u32) -> Result<(&Handle, &Party)> {
    objects.get(number).ok_or_else(|| unknown(number))
}

#[cold]
fn unknown(number: u32) -> Error {
    Error::msg(format!("{number} is not a handle of this instance"))
}

#[cold]
fn wrong_kind(number: u32, expected: ObjectKind, object: &Object) -> Error {
    Error::msg(format!(
        "handle {number} is not that of a {}, but of a {}",
        expected.name(),
        object.kind().name()
    ))
}

/// The object of this kind that a handle stands for, and who asks.
macro_rules! object {
    ($objects:expr, $number:expr, $kind:ident) => {{
        let number = $number;
        let (handle, party) = $crate::worker::imports::handle($objects, number)?;
        match &handle.held.object {
            $crate::objects::Object::$kind(object) => (object, party),
            other => {
                let expected = wasmp_abi::ObjectKind::$kind;
                return Err($crate::worker::imports::wrong_kind(number, expected, other));
            }
        }
    }};
}
use object;

/// The end of a pipe that a handle stands for, and who asks.
#[inline]
fn connection(objects: &Objects, number: u32) -> Result<(&Connection, &Party)> {
    let (handle, party) = handle(objects, number)?;
    match &handle.held.object {
        Object::Pipe(ends) => Ok((&ends[handle.end], party)),
        other => Err(wrong_kind(number, ObjectKind::Connection, other)),
    }
}

/// A guest's timeout: nanoseconds, none at all below zero.
#[inline]
fn limit(timeout: i64) -> Limit {
    match u64::try_from(timeout) {
        Err(_) => Limit::Forever,
        Ok(0) => Limit::Poll,
        Ok(timeout) => Limit::after(Some(Duration::from_nanos(timeout))),
    }
}

/// What a function reports instead of a result.
#[inline]
fn status(status: Status) -> i32 {
    status.result() as i32
}

/// The wait was interrupted, and the guest hears of it.
fn interrupted() -> Status {
    interruption::take();
    Status::Interrupted
}

/// Why a wait was in vain.
fn in_vain(error: WaitError) -> i32 {
    status(match error {
        WaitError::TimedOut => Status::TimedOut,
        WaitError::Interrupted => interrupted(),
        WaitError::Broken => Status::Corrupt,
    })
}

/// The handle, or why there is none.
fn opened(opened: Result<u32, OpenError>) -> Result<i32> {
    match opened {
        Ok(handle) => Ok(handle.cast_signed()),
        Err(OpenError::Refused(refused)) => Ok(status(refused)),
        Err(OpenError::Io(error)) => Err(error.into()),
    }
}
