//! What the instance of an object can import: the functions for items, and WASI. All others of `wasmp_v1` are there, so that any
//! module can be linked, and do nothing: they report that they are not supported.

use wasmp_abi::{END, IMPORT_MODULE, Status, import};
use wasmp_manager::protocol::{ANSWER_HEAD, MAX_MESSAGE};
use wasmtime::{
    Caller, Engine, Error, Extern, ExternType, InstancePre, Linker, Module, Result, Trap, Val, ValType, bail,
};

use super::guest::{Call, Guest};
use crate::manager::Refusal;
use crate::worker::imports::{failure, message};
use crate::worker::lean::LeanLinker;
use crate::worker::wasi;

/// Most bytes of a result: with its length, it is an answer.
const MAX_RESULT: usize = MAX_MESSAGE - ANSWER_HEAD - size_of::<u32>();

/// The module with what its instances import.
pub(super) fn link(engine: &Engine, module: &Module) -> Result<InstancePre<Guest>> {
    let wanted = module.imports().map(|import| (import.module(), import.name()));
    let mut linker = LeanLinker::new(engine, wanted);
    wasi::add_to_linker(&mut linker)?;
    refuse_all(linker.whole(), module)?;
    linker
        .func_wrap(IMPORT_MODULE, import::TASK_NEXT, task_next)?
        .func_wrap(IMPORT_MODULE, import::TASK_RETURN, task_return)?
        .func_wrap(IMPORT_MODULE, import::TASK_FAIL, task_fail)?
        .func_wrap(IMPORT_MODULE, import::TASK_PANIC, task_panic)?
        .func_wrap(IMPORT_MODULE, import::WORKER_SLOT, worker_slot)?;
    linker.whole().instantiate_pre(module)
}

/// Defines whatever the module imports of `wasmp_v1`.
fn refuse_all(linker: &mut Linker<Guest>, module: &Module) -> Result<()> {
    linker.allow_shadowing(true);
    for import in module.imports().filter(|import| import.module() == IMPORT_MODULE) {
        let ExternType::Func(ty) = import.ty() else { continue };
        let refusal = Status::Unsupported.result();
        let answers: Vec<Val> = ty
            .results()
            .map(|ty| match ty {
                ValType::I64 => Val::I64(refusal),
                _ => Val::I32(refusal as i32),
            })
            .collect();
        linker.func_new(IMPORT_MODULE, import.name(), ty, move |_, _, results| {
            results.clone_from_slice(&answers);
            Ok(())
        })?;
    }
    Ok(())
}

/// The instance's memory, and what is known of it.
fn parts<'c>(caller: &'c mut Caller<'_, Guest>) -> Result<(&'c mut [u8], &'c mut Guest)> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory.data_and_store_mut(caller)),
        _ => bail!("the module does not export its memory as `memory`"),
    }
}

fn slice(bytes: &mut [u8], ptr: u32, len: usize) -> Result<&mut [u8]> {
    let range = bytes.get_mut(ptr as usize..).and_then(|rest| rest.get_mut(..len));
    range.ok_or_else(|| Error::from(Trap::MemoryOutOfBounds))
}

fn task_next(mut caller: Caller<'_, Guest>, buffer: u32, capacity: u32) -> Result<i64> {
    let (bytes, guest) = parts(&mut caller)?;
    let Some(Call { args: given, .. }) = &mut guest.call else {
        return Ok(END);
    };
    let Some(args) = given else { return Ok(END) };
    let len = args.len();
    if len <= capacity as usize {
        slice(bytes, buffer, len)?.copy_from_slice(args);
        *given = None;
    }
    Ok(len as i64)
}

/// The call that has no outcome yet.
fn running<'g>(guest: &'g mut Guest, import: &str) -> Result<&'g mut Call> {
    match &mut guest.call {
        Some(call) if call.outcome.is_none() => Ok(call),
        _ => bail!("`{import}` was called while no item was running"),
    }
}

fn task_return(mut caller: Caller<'_, Guest>, ptr: u32, len: u32) -> Result<()> {
    let (bytes, guest) = parts(&mut caller)?;
    let result = slice(bytes, ptr, len as usize)?;
    let call = running(guest, "task_return")?;
    call.outcome = Some(match result.len() {
        0..=MAX_RESULT => Ok(result.to_vec()),
        _ => Err(Refusal::Status(wasmp_manager::protocol::Status::TooLarge)),
    });
    Ok(())
}

fn task_fail(mut caller: Caller<'_, Guest>, kind: i32, ptr: u32, len: u32) -> Result<()> {
    let (bytes, guest) = parts(&mut caller)?;
    let fault = failure(kind, slice(bytes, ptr, len as usize)?)?;
    running(guest, "task_fail")?.outcome = Some(Err(Refusal::Failed(fault)));
    Ok(())
}

fn task_panic(mut caller: Caller<'_, Guest>, ptr: u32, len: u32) -> Result<()> {
    let (bytes, guest) = parts(&mut caller)?;
    guest.panic = Some(message(slice(bytes, ptr, len as usize)?));
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn worker_slot(caller: Caller<'_, Guest>) -> u32 {
    caller.data().slot
}
