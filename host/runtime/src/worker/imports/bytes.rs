//! Shared memory: copies, atomic operations, and windows into the guest's own memory.

use std::sync::Arc;

use wasmp_abi::{Atomic, IMPORT_MODULE, MAP_UNIT, Status, import};
use wasmp_ipc::{SharedBytes, Width};
use wasmtime::{Caller, Error, Result, Trap};

use super::super::lean::LeanLinker;
use super::super::state::State;
use super::objects::read_name;
use super::{handle, memory, object, opened, slice, status};
use crate::objects::Shape;

pub(super) fn add_to_linker(linker: &mut LeanLinker<'_, State>) -> Result<()> {
    linker
        .func_wrap(IMPORT_MODULE, import::MEMORY_NEW, memory_new)?
        .func_wrap(IMPORT_MODULE, import::MEMORY_SIZE, memory_size)?
        .func_wrap(IMPORT_MODULE, import::MEMORY_READ, memory_read)?
        .func_wrap(IMPORT_MODULE, import::MEMORY_WRITE, memory_write)?
        .func_wrap(IMPORT_MODULE, import::MEMORY_ATOMIC, memory_atomic)?
        .func_wrap(IMPORT_MODULE, import::MEMORY_MAP, memory_map)?
        .func_wrap(IMPORT_MODULE, import::MEMORY_UNMAP, memory_unmap)?;
    Ok(())
}

fn memory_new(mut caller: Caller<'_, State>, size: i64, name: u32, length: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let name = slice(bytes, &state.objects, name, length as usize)?;
    let name = match (name.is_empty(), read_name(name)) {
        (true, _) => None,
        (false, Some(name)) => Some(name),
        (false, None) => return Ok(status(Status::Invalid)),
    };
    match u64::try_from(size) {
        Ok(size) => opened(state.objects.create(Shape::Memory { size }, name)),
        Err(_) => Ok(status(Status::Invalid)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn memory_size(caller: Caller<'_, State>, number: u32) -> Result<i64> {
    let (shared, _) = object!(&caller.data().objects, number, Memory);
    Ok(shared.size() as i64)
}

fn memory_read(mut caller: Caller<'_, State>, number: u32, offset: i64, buffer: u32, length: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, buffer, length as usize)?;
    let (shared, _) = object!(&state.objects, number, Memory);
    let read = usize::try_from(offset).is_ok_and(|offset| shared.read(offset, target).is_ok());
    Ok(if read { 0 } else { status(Status::Invalid) })
}

fn memory_write(mut caller: Caller<'_, State>, number: u32, offset: i64, source: u32, length: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let source = slice(bytes, &state.objects, source, length as usize)?;
    let (shared, _) = object!(&state.objects, number, Memory);
    let written = usize::try_from(offset).is_ok_and(|offset| shared.write(offset, source).is_ok());
    Ok(if written { 0 } else { status(Status::Invalid) })
}

#[expect(clippy::too_many_arguments, reason = "the contract has so many")]
fn memory_atomic(
    mut caller: Caller<'_, State>,
    number: u32,
    operation: i32,
    width: i32,
    offset: i64,
    operand: i64,
    expected: i64,
    old: u32,
) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, old, size_of::<u64>())?;
    let (shared, _) = object!(&state.objects, number, Memory);
    let operation = u8::try_from(operation).ok().and_then(Atomic::from_code);
    let width = usize::try_from(width).ok().and_then(Width::new);
    let (Some(operation), Some(width), Ok(offset)) = (operation, width, usize::try_from(offset)) else {
        return Ok(status(Status::Invalid));
    };
    match act(shared, operation, width, offset, operand as u64, expected as u64) {
        Some(old) => {
            target.copy_from_slice(&old.to_le_bytes());
            Ok(0)
        }
        None => Ok(status(Status::Invalid)),
    }
}

/// The old value, if there is such a place.
fn act(
    shared: &SharedBytes,
    operation: Atomic,
    width: Width,
    offset: usize,
    operand: u64,
    expected: u64,
) -> Option<u64> {
    match operation {
        Atomic::Load => shared.load(width, offset),
        Atomic::Store => shared.swap(width, offset, operand),
        Atomic::Add => shared.add(width, offset, operand),
        Atomic::Sub => shared.sub(width, offset, operand),
        Atomic::And => shared.and(width, offset, operand),
        Atomic::Or => shared.or(width, offset, operand),
        Atomic::Xor => shared.xor(width, offset, operand),
        Atomic::CompareExchange => {
            let exchanged = shared.compare_exchange(width, offset, expected, operand);
            exchanged.map(|exchanged| exchanged.unwrap_or_else(|found| found))
        }
        _ => return None,
    }
    .ok()
}

fn memory_map(mut caller: Caller<'_, State>, number: u32, offset: i64, address: u32, length: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let base = memory.data_ptr(&caller);
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let range = address as usize..address as usize + slice(bytes, &state.objects, address, length as usize)?.len();
    let (handle, _) = handle(&state.objects, number)?;
    let held = Arc::clone(&handle.held);
    let _: (&SharedBytes, _) = object!(&state.objects, number, Memory);
    // Its memory goes on to the next instance.
    if state.items_left.is_some() {
        return Ok(status(Status::Unsupported));
    }
    let unit = MAP_UNIT as usize;
    let whole = |number: usize| number.is_multiple_of(unit);
    let inside = |offset: &usize| {
        let end = offset.checked_add(range.len());
        whole(*offset) && end.is_some_and(|end| end <= held.memory.len())
    };
    match usize::try_from(offset).ok().filter(inside) {
        Some(offset) if whole(range.start) && whole(range.end) && !range.is_empty() => {
            let mapped = state.objects.windows.map(&held.memory, offset, base, range);
            Ok(if mapped { 0 } else { status(Status::Unsupported) })
        }
        _ => Ok(status(Status::Invalid)),
    }
}

fn memory_unmap(mut caller: Caller<'_, State>, address: u32, length: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let base = memory.data_ptr(&caller);
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let range = address as usize..address as usize + length as usize;
    if range.end > bytes.len() {
        return Err(Error::from(Trap::MemoryOutOfBounds));
    }
    let unmapped = state.objects.windows.unmap(base, &range);
    Ok(if unmapped { 0 } else { status(Status::Invalid) })
}
