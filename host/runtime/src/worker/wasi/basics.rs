//! Arguments, environment, clocks, randomness, exit.

use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_getres, clock_gettime};
use wasmtime::{Caller, Result};
use wasmtime_wasi::I32Exit;

use super::guest::{Guest, errno, offset, open};
use super::invented::Invented;
use super::{HasWasi, Strings};
use crate::module::WASI_MODULE;
use crate::worker::lean::LeanLinker;

pub(super) fn add_to_linker<T: HasWasi>(linker: &mut LeanLinker<'_, T>) -> Result<()> {
    linker
        .func_wrap(
            WASI_MODULE,
            "args_sizes_get",
            |mut caller: Caller<'_, T>, count: u32, size: u32| {
                let (mut guest, data) = open(&mut caller)?;
                sizes(data.wasi().args(), &mut guest, count, size)
            },
        )?
        .func_wrap(
            WASI_MODULE,
            "args_get",
            |mut caller: Caller<'_, T>, list: u32, buffer: u32| {
                let (mut guest, data) = open(&mut caller)?;
                copy(data.wasi().args(), &mut guest, list, buffer)
            },
        )?
        .func_wrap(
            WASI_MODULE,
            "environ_sizes_get",
            |mut caller: Caller<'_, T>, count: u32, size: u32| {
                let (mut guest, data) = open(&mut caller)?;
                sizes(&data.wasi().spec.env, &mut guest, count, size)
            },
        )?
        .func_wrap(
            WASI_MODULE,
            "environ_get",
            |mut caller: Caller<'_, T>, list: u32, buffer: u32| {
                let (mut guest, data) = open(&mut caller)?;
                copy(&data.wasi().spec.env, &mut guest, list, buffer)
            },
        )?
        .func_wrap(
            WASI_MODULE,
            "clock_res_get",
            |mut caller: Caller<'_, T>, id: u32, out: u32| {
                let Some(clock) = clock(id) else { return Ok(errno::BADF) };
                let (mut guest, data) = open(&mut caller)?;
                let resolution = match &data.wasi().invented {
                    Some(_) => Invented::RESOLUTION,
                    None => nanoseconds(clock_getres(clock)),
                };
                guest.write(out, &resolution.to_le_bytes())?;
                Ok(errno::SUCCESS)
            },
        )?
        .func_wrap(
            WASI_MODULE,
            "clock_time_get",
            |mut caller: Caller<'_, T>, id: u32, _precision: u64, out: u32| -> Result<i32> {
                let Some(clock) = clock(id) else { return Ok(errno::BADF) };
                let (mut guest, data) = open(&mut caller)?;
                let now = match &mut data.wasi().invented {
                    Some(invented) => invented.look(),
                    None => nanoseconds(clock_gettime(clock)),
                };
                guest.write(out, &now.to_le_bytes())?;
                Ok(errno::SUCCESS)
            },
        )?
        .func_wrap(
            WASI_MODULE,
            "random_get",
            |mut caller: Caller<'_, T>, at: u32, len: u32| -> Result<i32> {
                let (mut guest, data) = open(&mut caller)?;
                let mut rest = guest.bytes_mut(at, len)?;
                if let Some(invented) = &mut data.wasi().invented {
                    invented.fill(rest);
                    return Ok(errno::SUCCESS);
                }
                while !rest.is_empty() {
                    let filled = match getrandom(&mut *rest, GetRandomFlags::empty()) {
                        Err(rustix::io::Errno::INTR) => 0,
                        result => result?,
                    };
                    rest = &mut rest[filled..];
                }
                Ok(errno::SUCCESS)
            },
        )?
        // Nobody else runs in this process, and the scheduler needs no hint to run another one.
        .func_wrap(WASI_MODULE, "sched_yield", || errno::SUCCESS)?
        .func_wrap(WASI_MODULE, "proc_exit", |code: i32| -> Result<()> {
            Err(I32Exit(code).into())
        })?;
    Ok(())
}

fn sizes(strings: &Strings, guest: &mut Guest<'_>, count: u32, size: u32) -> Result<i32> {
    guest.write(count, &strings.count.to_le_bytes())?;
    guest.write(size, &u32::try_from(strings.bytes.len())?.to_le_bytes())?;
    Ok(errno::SUCCESS)
}

fn copy(strings: &Strings, guest: &mut Guest<'_>, list: u32, buffer: u32) -> Result<i32> {
    guest.write(buffer, &strings.bytes)?;
    let (mut list, mut start) = (list, buffer);
    for string in strings.bytes.split_inclusive(|byte| *byte == 0) {
        guest.write(list, &start.to_le_bytes())?;
        list = offset(list, 4)?;
        start = offset(start, u32::try_from(string.len())?)?;
    }
    Ok(errno::SUCCESS)
}

/// A clock that guests have. CPU time is not among them: where it is wanted, it is the host's to measure.
pub(super) fn clock(id: u32) -> Option<ClockId> {
    match id {
        0 => Some(ClockId::Realtime),
        1 => Some(ClockId::Monotonic),
        _ => None,
    }
}

/// A time as WASI counts it; one before 1970 is 1970.
pub(super) fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
