//! The standard streams: what a guest writes goes straight to the worker, what it reads was given beforehand.
//!
//! Descriptors 0 to 2 exist in `wasmtime-wasi`, too, as streams that lead nowhere: there they take part in closing,
//! renumbering and the choice of numbers for new files, and it is noted here which number is still a standard stream.

use std::io::Read;

use wasmtime::{Caller, Result};
use wasmtime_wasi::p1::wasi_snapshot_preview1 as files;

use super::guest::{errno, open};
use super::{HasWasi, Standard, with_files};
use crate::module::WASI_MODULE;
use crate::worker::lean::LeanLinker;

/// Rights as preview 1 numbers them.
mod rights {
    pub(super) const FD_READ: u64 = 1 << 1;
    pub(super) const FD_WRITE: u64 = 1 << 6;
    pub(super) const FD_FILESTAT_GET: u64 = 1 << 21;
    pub(super) const POLL_FD_READWRITE: u64 = 1 << 27;
}

pub(super) fn add_to_linker<T: HasWasi>(linker: &mut LeanLinker<'_, T>) -> Result<()> {
    linker
        .func_wrap(WASI_MODULE, "fd_write", fd_write::<T>)?
        .func_wrap(WASI_MODULE, "fd_read", fd_read::<T>)?
        .func_wrap(WASI_MODULE, "fd_close", fd_close::<T>)?
        .func_wrap(WASI_MODULE, "fd_renumber", fd_renumber::<T>)?
        .func_wrap(WASI_MODULE, "fd_fdstat_get", fd_fdstat_get::<T>)?
        .func_wrap(WASI_MODULE, "fd_prestat_get", fd_prestat_get::<T>)?;
    Ok(())
}

fn fd_write<T: HasWasi>(mut caller: Caller<'_, T>, fd: u32, list: u32, count: u32, out: u32) -> Result<i32> {
    let stream = match caller.data_mut().wasi().standard(fd) {
        Some(Standard::Out(stream)) => stream,
        Some(Standard::In) => return Ok(errno::BADF),
        None => {
            return with_files(&mut caller, async |state, memory| {
                files::fd_write(state, memory, signed(fd), signed(list), signed(count), signed(out)).await
            });
        }
    };
    let (mut guest, data) = open(&mut caller)?;
    let mut written = 0u32;
    for index in 0..count {
        let (at, len) = guest.buffer(list, index)?;
        // A guest may be told that less was written than it asked for.
        let Some(total) = written.checked_add(len) else { break };
        data.output(stream, guest.bytes(at, len)?)?;
        written = total;
    }
    guest.write(out, &written.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

fn fd_read<T: HasWasi>(mut caller: Caller<'_, T>, fd: u32, list: u32, count: u32, out: u32) -> Result<i32> {
    match caller.data_mut().wasi().standard(fd) {
        Some(Standard::In) => {}
        Some(Standard::Out(_)) => return Ok(errno::BADF),
        None => {
            return with_files(&mut caller, async |state, memory| {
                files::fd_read(state, memory, signed(fd), signed(list), signed(count), signed(out)).await
            });
        }
    }
    let (mut guest, data) = open(&mut caller)?;
    let stdin = &mut data.wasi().stdin;
    let mut total = 0u32;
    for index in 0..count {
        let (at, len) = guest.buffer(list, index)?;
        if total.checked_add(len).is_none() {
            break;
        }
        let read = stdin.read(guest.bytes_mut(at, len)?)? as u32;
        total += read;
        if read < len {
            break;
        }
    }
    guest.write(out, &total.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

fn fd_close<T: HasWasi>(mut caller: Caller<'_, T>, fd: u32) -> Result<i32> {
    let result = with_files(&mut caller, async |state, memory| {
        files::fd_close(state, memory, signed(fd)).await
    })?;
    if result == errno::SUCCESS {
        caller.data_mut().wasi().standard.retain(|(at, _)| *at != fd);
    }
    Ok(result)
}

fn fd_renumber<T: HasWasi>(mut caller: Caller<'_, T>, from: u32, to: u32) -> Result<i32> {
    let result = with_files(&mut caller, async |state, memory| {
        files::fd_renumber(state, memory, signed(from), signed(to)).await
    })?;
    if result == errno::SUCCESS && from != to {
        let standard = &mut caller.data_mut().wasi().standard;
        standard.retain(|(at, _)| *at != to);
        standard
            .iter_mut()
            .filter(|(at, _)| *at == from)
            .for_each(|(at, _)| *at = to);
    }
    Ok(result)
}

fn fd_fdstat_get<T: HasWasi>(mut caller: Caller<'_, T>, fd: u32, out: u32) -> Result<i32> {
    let own = match caller.data_mut().wasi().standard(fd) {
        Some(Standard::In) => rights::FD_READ,
        Some(Standard::Out(_)) => rights::FD_WRITE,
        None => {
            return with_files(&mut caller, async |state, memory| {
                files::fd_fdstat_get(state, memory, signed(fd), signed(out)).await
            });
        }
    };
    // File type 0 is "unknown": neither a file that can be sought in nor a terminal.
    let mut stat = [0; 24];
    let rights = own | rights::FD_FILESTAT_GET | rights::POLL_FD_READWRITE;
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    open(&mut caller)?.0.write(out, &stat)?;
    Ok(errno::SUCCESS)
}

/// Every program asks for its directories when it starts; most have none.
fn fd_prestat_get<T: HasWasi>(mut caller: Caller<'_, T>, fd: u32, out: u32) -> Result<i32> {
    if !caller.data_mut().wasi().may_be_file(fd) {
        return Ok(errno::BADF);
    }
    with_files(&mut caller, async |state, memory| {
        files::fd_prestat_get(state, memory, signed(fd), signed(out))
    })
}

/// A number as WebAssembly's signless integers are handed on.
fn signed(number: u32) -> i32 {
    number.cast_signed()
}
