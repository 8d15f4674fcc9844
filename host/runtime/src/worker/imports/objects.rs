//! What all kinds of shared objects have in common.

use wasmp_abi::{IMPORT_MODULE, ObjectKind, Status, TOKEN_LEN, import};
use wasmtime::{Caller, Result, bail};

use super::super::lean::LeanLinker;
use super::super::objects::OpenError;
use super::super::state::State;
use super::{handle, memory, opened, slice, status, unknown};
use crate::objects::message::{MAX_NAME, PoolRequest};

pub(super) fn add_to_linker(linker: &mut LeanLinker<'_, State>) -> Result<()> {
    linker
        .func_wrap(IMPORT_MODULE, import::OBJECT_OPEN, object_open)?
        .func_wrap(IMPORT_MODULE, import::OBJECT_FIND, object_find)?
        .func_wrap(IMPORT_MODULE, import::OBJECT_TOKEN, object_token)?
        .func_wrap(IMPORT_MODULE, import::OBJECT_CLOSE, object_close)?
        .func_wrap(IMPORT_MODULE, import::OBJECT_UNLINK, object_unlink)?
        .func_wrap(IMPORT_MODULE, import::MANAGER_NEW, manager_new)?;
    Ok(())
}

fn kind(code: i32) -> Option<ObjectKind> {
    u8::try_from(code).ok().and_then(ObjectKind::from_code)
}

fn object_open(mut caller: Caller<'_, State>, code: i32, token: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let mut bits = [0; TOKEN_LEN];
    bits.copy_from_slice(slice(bytes, &state.objects, token, TOKEN_LEN)?);
    match kind(code) {
        Some(kind) => opened(state.objects.open_token(kind, bits)),
        None => Ok(status(Status::Invalid)),
    }
}

fn object_find(mut caller: Caller<'_, State>, code: i32, name: u32, length: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    match (
        kind(code),
        read_name(slice(bytes, &state.objects, name, length as usize)?),
    ) {
        (Some(kind), Some(name)) => opened(state.objects.open_name(kind, name)),
        _ => Ok(status(Status::Invalid)),
    }
}

/// A name, if it can be one.
pub(super) fn read_name(bytes: &[u8]) -> Option<String> {
    let fits = (1..=MAX_NAME).contains(&bytes.len());
    String::from_utf8(bytes.to_vec()).ok().filter(|_| fits)
}

fn object_token(mut caller: Caller<'_, State>, number: u32, token: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, token, TOKEN_LEN)?;
    let (handle, _) = handle(&state.objects, number)?;
    match state.objects.token(handle) {
        Ok(token) => {
            target.copy_from_slice(&token);
            Ok(0)
        }
        Err(OpenError::Refused(refused)) => Ok(status(refused)),
        Err(OpenError::Io(error)) => Err(error.into()),
    }
}

fn object_close(mut caller: Caller<'_, State>, number: u32) -> Result<()> {
    if caller.data_mut().objects.close(number) {
        Ok(())
    } else {
        bail!(unknown(number))
    }
}

fn manager_new(mut caller: Caller<'_, State>, max_bytes: i64, call_timeout: i64) -> Result<i32> {
    match (u64::try_from(max_bytes), u64::try_from(call_timeout)) {
        (Ok(max_bytes), Ok(call_timeout)) => {
            let request = PoolRequest::Manager {
                max_bytes,
                call_timeout,
            };
            opened(caller.data_mut().objects.start_manager(request))
        }
        _ => Ok(status(Status::Invalid)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn object_unlink(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let objects = &caller.data().objects;
    let (handle, _) = handle(objects, number)?;
    match objects.unlink(handle) {
        Ok(()) => Ok(0),
        Err(OpenError::Refused(refused)) => Ok(status(refused)),
        Err(OpenError::Io(error)) => Err(error.into()),
    }
}
