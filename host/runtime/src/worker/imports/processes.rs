//! Processes that a guest starts, and what it may know about its own.

use ciborium::cbor;
use rustix::process::Signal;
use wasmp_abi::{IMPORT_MODULE, ObjectKind, Status, import};
use wasmtime::{Caller, Error, Result, bail};

use super::super::copy::Copying;
use super::super::lean::LeanLinker;
use super::super::objects::OpenError;
use super::super::processes::{self, Child, Ordered, Processes};
use super::super::state::State;
use super::pools::{Options, deadline};
use super::{memory, opened, slice, status};
use crate::identity::StartMethod;
use crate::objects::message::NewProcess;

pub(super) fn add_to_linker(linker: &mut LeanLinker<'_, State>) -> Result<()> {
    linker
        .func_wrap(IMPORT_MODULE, import::PROCESS_START, process_start)?
        .func_wrap(IMPORT_MODULE, import::PROCESS_INFO, process_info)?
        .func_wrap(IMPORT_MODULE, import::PROCESS_JOIN, process_join)?
        .func_wrap(IMPORT_MODULE, import::PROCESS_EXITCODE, process_exitcode)?
        .func_wrap(IMPORT_MODULE, import::PROCESS_SIGNAL, process_signal)?
        .func_wrap(IMPORT_MODULE, import::PROCESS_SENTINEL, process_sentinel)?
        .func_wrap(IMPORT_MODULE, import::PROCESS_DROP, process_drop)?
        .func_wrap(IMPORT_MODULE, import::CPU_COUNT, cpu_count)?
        .func_wrap(IMPORT_MODULE, import::LOG_INHERIT, log_inherit)?;
    Ok(())
}

/// The process of this number.
fn find(processes: &mut Processes, number: u32) -> Result<&mut Child> {
    processes
        .get(number)
        .ok_or_else(|| Error::msg(format!("{number} is not a process of this instance")))
}

fn process_start(mut caller: Caller<'_, State>, options: u32, length: u32, args: u32, args_length: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let mut options = Options(slice(bytes, &state.objects, options, length as usize)?);
    let (daemon, method) = (options.u32(), options.u32());
    let (task, name) = (options.u32(), options.u32());
    let (Some(Ok(task)), Some(Ok(name))) = (
        options.bytes(task).map(String::from_utf8),
        options.bytes(name).map(String::from_utf8),
    ) else {
        return Ok(status(Status::Invalid));
    };
    let daemon = match daemon {
        0 => None,
        1 => Some(true),
        _ => Some(false),
    };
    let Some(method) = start_method(method, state) else {
        return Ok(status(Status::Unsupported));
    };
    if slice(bytes, &state.objects, args, args_length as usize)?.len() > state.max_message {
        return Ok(status(Status::TooLarge));
    }
    let wanted = NewProcess {
        name: (!name.is_empty()).then_some(name),
        daemon,
        method: Some(method),
        snapshot: None,
        log: state.log,
    };
    let started = start(state, bytes, wanted, task).and_then(|ordered| {
        let args = &bytes[args as usize..][..args_length as usize];
        let State {
            processes,
            objects,
            link,
            ..
        } = state;
        processes.start(objects, link, ordered, args)
    });
    opened(started)
}

/// The start method of this number, 0: that of this process.
pub(super) fn start_method(number: u32, state: &State) -> Option<StartMethod> {
    match number {
        0 => Some(state.who.identity.method),
        1 => Some(StartMethod::Forkserver),
        2 => Some(StartMethod::Spawn),
        3 => Some(StartMethod::Fork),
        _ => None,
    }
}

/// Orders a process; one that is to be a copy of this is given what that takes.
fn start(
    state: &mut State,
    memory: &[u8],
    mut wanted: NewProcess,
    task: String,
) -> std::result::Result<Ordered, OpenError> {
    state.processes.reap(&state.objects, &state.link)?;
    let copying = match wanted.method {
        Some(StartMethod::Fork) => Some(Copying::begin(state, memory.len())?),
        _ => None,
    };
    wanted.snapshot = copying.as_ref().map(Copying::bytes);
    let (ordered, into) = processes::order(&state.objects, &state.link, wanted, task)?;
    if let (Some(copying), Some(into)) = (copying, into)
        && let Err(error) = copying.write(&into, memory, state)
    {
        ordered.cancel(&state.objects)?;
        return Err(error.into());
    }
    Ok(ordered)
}

fn process_info(mut caller: Caller<'_, State>, number: u32, buffer: u32, capacity: u32) -> Result<i64> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, buffer, capacity as usize)?;
    if state.processes.numbered().is_the_parents(number) {
        return Ok(Status::NotFound.result());
    }
    let info = if number == 0 {
        let who = &state.who;
        let parent = who.identity.parent.as_ref();
        cbor!({
            "name" => who.identity.name,
            "pid" => who.pid,
            "daemon" => who.identity.daemon,
            "method" => who.identity.method.name(),
            "parent" => parent,
            "once" => who.identity.once,
            "log" => state.log,
        })
    } else {
        let child = find(&mut state.processes, number)?;
        cbor!({
            "name" => child.name,
            "pid" => child.pid,
            "daemon" => child.daemon,
        })
    };
    let mut record = Vec::new();
    ciborium::into_writer(&info?, &mut record)?;
    let length = record.len();
    match target.get_mut(..length) {
        Some(target) => target.copy_from_slice(&record),
        None => state.objects.parked = record,
    }
    Ok(length as i64)
}

fn process_join(mut caller: Caller<'_, State>, number: u32, timeout: i64) -> Result<i32> {
    let State { processes, link, .. } = caller.data_mut();
    if processes.numbered().is_the_parents(number) {
        return Ok(status(Status::NotFound));
    }
    let joined = find(processes, number)?.join(link, deadline(timeout))?;
    Ok(joined.map_or_else(status, |()| 0))
}

fn process_exitcode(mut caller: Caller<'_, State>, number: u32, target: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, target, 4)?;
    if state.processes.numbered().is_the_parents(number) {
        return Ok(status(Status::NotFound));
    }
    let exit = find(&mut state.processes, number)?.exit(&state.link)?;
    if let Some(code) = exit {
        target.copy_from_slice(&code.to_le_bytes());
    }
    Ok(exit.is_some().into())
}

fn process_signal(mut caller: Caller<'_, State>, number: u32, signal: i32) -> Result<i32> {
    let known = [Signal::TERM, Signal::KILL, Signal::INT];
    let Some(signal) = known.into_iter().find(|known| known.as_raw() == signal) else {
        return Ok(status(Status::Invalid));
    };
    let State { processes, link, .. } = caller.data_mut();
    if processes.numbered().is_the_parents(number) {
        return Ok(status(Status::NotFound));
    }
    find(processes, number)?.signal(link, signal)?;
    Ok(0)
}

fn process_sentinel(mut caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let State { processes, objects, .. } = caller.data_mut();
    let token = match number {
        0 => processes::sentinel(objects, 0),
        number if processes.numbered().is_the_parents(number) => return Ok(status(Status::NotFound)),
        number => find(processes, number)?.sentinel(objects),
    };
    let token = match token {
        Ok(token) => token,
        Err(OpenError::Refused(refused)) => return Ok(status(refused)),
        Err(OpenError::Io(error)) => return Err(error.into()),
    };
    opened(objects.open_token(ObjectKind::Connection, token))
}

fn process_drop(mut caller: Caller<'_, State>, number: u32) -> Result<()> {
    let State {
        processes,
        objects,
        link,
        ..
    } = caller.data_mut();
    if !processes.numbered().is_the_parents(number) && !processes.release(objects, link, number)? {
        bail!("{number} is not a process of this instance");
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn cpu_count(caller: Caller<'_, State>) -> u32 {
    caller.data().who.cpus
}

fn log_inherit(mut caller: Caller<'_, State>, log: u32) {
    caller.data_mut().log = log;
}
