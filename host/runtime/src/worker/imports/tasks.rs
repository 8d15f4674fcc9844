//! Items and their outcomes.

use wasmp_abi::{END, ErrorKind, FAIL_ARGUMENTS, FAIL_CAUSE, FAIL_ERROR, FAIL_RESULT, IMPORT_MODULE, import};
use wasmtime::{Caller, Result, bail};

use super::super::lean::LeanLinker;
use super::super::state::State;
use super::super::{fuel, interruption};
use super::{memory, slice};
use crate::wire::Fault;

/// Longest message of a failure that is taken from a guest; the rest of a longer one is cut off.
const MAX_MESSAGE: usize = 64 * 1024;

/// Most causes of a failure that are taken from a guest.
const MAX_CAUSES: usize = 32;

pub(super) fn add_to_linker(linker: &mut LeanLinker<'_, State>) -> Result<()> {
    linker
        .func_wrap(IMPORT_MODULE, import::TASK_NEXT, task_next)?
        .func_wrap(IMPORT_MODULE, import::TASK_RETURN, task_return)?
        .func_wrap(IMPORT_MODULE, import::TASK_FAIL, task_fail)?
        .func_wrap(IMPORT_MODULE, import::TASK_PANIC, task_panic)?
        .func_wrap(IMPORT_MODULE, import::WORKER_SLOT, worker_slot)?;
    Ok(())
}

fn task_next(mut caller: Caller<'_, State>, buffer: u32, capacity: u32) -> Result<i64> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    if let Some(apart) = &mut state.apart {
        let Some(args) = &apart.args else { return Ok(END) };
        let len = args.len();
        if len <= capacity as usize {
            slice(bytes, &state.objects, buffer, len)?.copy_from_slice(args);
            apart.args = None;
        }
        return Ok(len as i64);
    }
    if state.link.is_running() && !state.link.is_announced() {
        bail!("`task_next` was called before the last item had an outcome");
    }
    let announced = state.link.is_announced();
    if state.items_left == Some(0) && !announced {
        return Ok(END);
    }
    let Some(len) = state.link.next_item(state.items_left.is_some())? else {
        return Ok(END);
    };
    if !announced {
        state.items_left = state.items_left.map(|left| left - 1);
        state.begin_item();
    }
    if len <= capacity as usize {
        state.link.read_item(slice(bytes, &state.objects, buffer, len)?)?;
    }
    if !announced {
        fuel::fill(&mut caller);
        interruption::begin(caller);
    }
    Ok(len as i64)
}

fn task_return(mut caller: Caller<'_, State>, ptr: u32, len: u32) -> Result<()> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let body = slice(bytes, &state.objects, ptr, len as usize)?;
    expect_running(state, "task_return")?;
    if let Some(apart) = &mut state.apart {
        apart.outcome = Some(Ok(()));
        return Ok(());
    }
    Ok(state.link.finish(body)?)
}

fn task_fail(mut caller: Caller<'_, State>, kind: i32, ptr: u32, len: u32) -> Result<()> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let fault = failure(kind, slice(bytes, &state.objects, ptr, len as usize)?)?;
    expect_running(state, "task_fail")?;
    if let Some(apart) = &mut state.apart {
        apart.outcome = Some(Err(fault));
        return Ok(());
    }
    Ok(state.link.fail(&fault)?)
}

fn task_panic(mut caller: Caller<'_, State>, ptr: u32, len: u32) -> Result<()> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    state.panic = Some(message(slice(bytes, &state.objects, ptr, len as usize)?));
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn worker_slot(caller: Caller<'_, State>) -> u32 {
    caller.data().slot
}

fn expect_running(state: &State, import: &str) -> Result<()> {
    let running = match &state.apart {
        Some(apart) => apart.is_running(),
        None => state.link.is_running(),
    };
    if !running {
        bail!("`{import}` was called while no item was running");
    }
    Ok(())
}

/// What a guest says of how an item has failed.
pub(in crate::worker) fn failure(kind: i32, text: &[u8]) -> Result<Fault> {
    let kind = match kind {
        FAIL_ERROR => ErrorKind::Error,
        FAIL_ARGUMENTS => ErrorKind::Arguments,
        FAIL_RESULT => ErrorKind::Result,
        _ => bail!("`task_fail` was called with the unknown kind {kind}"),
    };
    let text = message(text);
    let mut parts = text.split(FAIL_CAUSE);
    let message = parts.next().unwrap_or_default();
    Ok(Fault {
        causes: parts.take(MAX_CAUSES).map(str::to_owned).collect(),
        ..Fault::new(kind, message)
    })
}

/// A message of the guest's, for people.
pub(in crate::worker) fn message(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MESSAGE)]).into_owned()
}
