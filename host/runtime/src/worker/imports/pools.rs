//! Pools that a guest makes.

use std::time::{Duration, Instant};

use wasmp_abi::{IMPORT_MODULE, Retry, Status, import, pool};
use wasmtime::{Caller, Error, Result, bail};

use super::super::lean::LeanLinker;
use super::super::objects::OpenError;
use super::super::pools::{Asked, Pool, Pools};
use super::super::state::State;
use super::processes::start_method;
use super::{memory, opened, slice, status};
use crate::objects::message::{Ask, NewPool, PoolRequest};
use crate::outcome::{End, task_error};
use crate::wire::pools::{Head, JobOptions, News, Prepare, order};

pub(super) fn add_to_linker(linker: &mut LeanLinker<'_, State>) -> Result<()> {
    linker
        .func_wrap(IMPORT_MODULE, import::POOL_NEW, pool_new)?
        .func_wrap(IMPORT_MODULE, import::POOL_BEGIN, pool_begin)?
        .func_wrap(IMPORT_MODULE, import::POOL_SUBMIT, pool_submit)?
        .func_wrap(IMPORT_MODULE, import::POOL_SEAL, pool_seal)?
        .func_wrap(IMPORT_MODULE, import::POOL_NEXT, pool_next)?
        .func_wrap(IMPORT_MODULE, import::POOL_CANCEL, pool_cancel)?
        .func_wrap(IMPORT_MODULE, import::POOL_FORGET, pool_forget)?
        .func_wrap(IMPORT_MODULE, import::POOL_CLOSE, pool_close)?
        .func_wrap(IMPORT_MODULE, import::POOL_TERMINATE, pool_terminate)?
        .func_wrap(IMPORT_MODULE, import::POOL_RESIZE, pool_resize)?
        .func_wrap(IMPORT_MODULE, import::POOL_JOIN, pool_join)?
        .func_wrap(IMPORT_MODULE, import::POOL_DROP, pool_drop)?;
    Ok(())
}

/// Numbers in a block of options, in their order; what is missing at its end is 0.
pub(super) struct Options<'b>(pub(super) &'b [u8]);

impl Options<'_> {
    pub(super) fn u32(&mut self) -> u32 {
        self.number::<4>().map_or(0, u32::from_le_bytes)
    }

    fn u64(&mut self) -> u64 {
        self.number::<8>().map_or(0, u64::from_le_bytes)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk().or_else(|| {
            self.0 = &[];
            None
        })?;
        self.0 = rest;
        Some(*number)
    }

    pub(super) fn bytes(&mut self, length: u32) -> Option<Vec<u8>> {
        let (bytes, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(bytes.to_vec())
    }
}

/// The pool of this number.
fn find(pools: &mut Pools, number: u32) -> Result<&mut Pool> {
    pools
        .get(number)
        .ok_or_else(|| Error::msg(format!("{number} is not a pool of this instance")))
}

fn pool_new(mut caller: Caller<'_, State>, options: u32, length: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let mut options = Options(slice(bytes, &state.objects, options, length as usize)?);
    let (processes, max_tasks, patience) = (options.u32(), options.u32(), options.u64());
    let (name, args) = (options.u32(), options.u32());
    let prepare = match (options.bytes(name).map(String::from_utf8), options.bytes(args)) {
        (Some(Ok(task)), Some(args)) => (!task.is_empty()).then_some(Prepare { task, args }),
        _ => return Ok(status(Status::Invalid)),
    };
    let Some(method) = start_method(options.u32(), state) else {
        return Ok(status(Status::Unsupported));
    };
    let request = Ask::Pool(PoolRequest::New(NewPool {
        processes,
        max_tasks,
        patience,
        method,
        log: state.log,
    }));
    let State {
        pools, objects, link, ..
    } = state;
    opened(pools.create(objects, link, &request, prepare.as_ref()))
}

fn pool_begin(
    mut caller: Caller<'_, State>,
    number: u32,
    task: u32,
    task_length: u32,
    options: u32,
    length: u32,
) -> Result<i64> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let Ok(task) = String::from_utf8(slice(bytes, &state.objects, task, task_length as usize)?.to_vec()) else {
        return Ok(Status::Invalid.result());
    };
    let mut options = Options(slice(bytes, &state.objects, options, length as usize)?);
    let (chunk, retries, retry_on) = (options.u32(), options.u32(), options.u32());
    let _ = options.u32();
    let (timeout, backoff) = (options.u64(), options.u64());
    let options = JobOptions {
        task,
        chunk,
        timeout,
        retry: Retry::from_parts(retries, retry_on, backoff),
    };
    let pool = find(&mut state.pools, number)?;
    Ok(pool.begin(&state.link, &options)?.into())
}

fn pool_submit(mut caller: Caller<'_, State>, number: u32, job: u32, frames: u32, length: u32) -> Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let frames = slice(bytes, &state.objects, frames, length as usize)?;
    let pool = find(&mut state.pools, number)?;
    if frames.len() > state.max_message {
        return Ok(status(Status::TooLarge));
    }
    let Some(count) = super::messages::split(frames).map(|frames| frames.len()) else {
        return Ok(status(Status::Invalid));
    };
    if !pool.is_open(job) {
        return Ok(status(Status::ShutDown));
    }
    pool.order(&state.link, Head::new(order::ITEMS, job, count as u64), frames)?;
    Ok(count as i32)
}

fn pool_seal(caller: Caller<'_, State>, number: u32, job: u32) -> Result<i32> {
    order_about(caller, number, job, order::SEAL)
}

fn pool_cancel(caller: Caller<'_, State>, number: u32, job: u32) -> Result<i32> {
    order_about(caller, number, job, order::CANCEL)
}

/// Orders something about a job that is not over.
fn order_about(mut caller: Caller<'_, State>, number: u32, job: u32, kind: u8) -> Result<i32> {
    let State { pools, link, .. } = caller.data_mut();
    let pool = find(pools, number)?;
    if pool.is_open(job) {
        pool.order(link, Head::new(kind, job, 0), &[])?;
    }
    Ok(0)
}

fn pool_forget(mut caller: Caller<'_, State>, number: u32, job: u32) -> Result<i32> {
    find(&mut caller.data_mut().pools, number)?.forget(job);
    Ok(0)
}

fn pool_close(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    order_all(caller, number, order::CLOSE)
}

fn pool_terminate(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    order_all(caller, number, order::TERMINATE)
}

fn order_all(mut caller: Caller<'_, State>, number: u32, kind: u8) -> Result<i32> {
    let State { pools, link, .. } = caller.data_mut();
    find(pools, number)?.order(link, Head::new(kind, 0, 0), &[])?;
    Ok(0)
}

fn pool_resize(mut caller: Caller<'_, State>, number: u32, processes: u32) -> Result<i32> {
    let State { pools, objects, .. } = caller.data_mut();
    let pool = find(pools, number)?.id();
    match objects.ask(&Ask::Pool(PoolRequest::Resize { pool, processes })) {
        Ok(_) => Ok(0),
        Err(OpenError::Refused(refused)) => Ok(status(refused)),
        Err(OpenError::Io(error)) => Err(error.into()),
    }
}

fn pool_join(mut caller: Caller<'_, State>, number: u32, timeout: i64) -> Result<i32> {
    let State { pools, link, .. } = caller.data_mut();
    let joined = find(pools, number)?.join(link, deadline(timeout))?;
    Ok(joined.map_or_else(status, |()| 0))
}

fn pool_drop(mut caller: Caller<'_, State>, number: u32) -> Result<()> {
    let State { pools, objects, .. } = caller.data_mut();
    if !pools.remove(objects, number) {
        bail!("{number} is not a pool of this instance");
    }
    Ok(())
}

fn pool_next(mut caller: Caller<'_, State>, number: u32, buffer: u32, capacity: u32, timeout: i64) -> Result<i64> {
    let memory = memory(&mut caller)?;
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let target = slice(bytes, &state.objects, buffer, capacity as usize)?;
    let pool = find(&mut state.pools, number)?;
    let (job, task, news) = match pool.next(&state.link, deadline(timeout))? {
        Err(why) => return Ok(why.result()),
        Ok(Asked::Over) => return Ok(Status::End.result()),
        Ok(Asked::News(job, task, news)) => (job, task, news),
    };
    let record = |index, kind, body: &[u8]| record(index, kind, job, body);
    let record = match news {
        News::Done { index, result } => record(index, pool::RESULT, &result),
        News::Failed { index, failure } => {
            let error = task_error(&task, index, &failure);
            let mut body = Vec::new();
            ciborium::into_writer(&error, &mut body)?;
            record(index, pool::FAILURE, &body)
        }
        News::Complete => record(0, pool::COMPLETE, &[]),
        News::Ended(end) => {
            let kind = match end {
                End::Cancelled | End::Terminated => pool::CANCELLED,
                End::Refused(_) => pool::REFUSED,
                End::Broken(_) => pool::BROKEN,
            };
            record(0, kind, end.words().as_bytes())
        }
    };
    match target.get_mut(..record.len()) {
        Some(target) => target.copy_from_slice(&record),
        None => {
            let length = record.len();
            state.objects.parked = record;
            return Ok(length as i64);
        }
    }
    Ok(record.len() as i64)
}

/// What the guest gets: index, kind, job, and a body.
fn record(index: u64, kind: u32, job: u32, body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(pool::RECORD_HEAD + body.len());
    record.extend_from_slice(&index.to_le_bytes());
    record.extend_from_slice(&kind.to_le_bytes());
    record.extend_from_slice(&job.to_le_bytes());
    record.extend_from_slice(body);
    record
}

/// A guest's timeout as an instant.
pub(super) fn deadline(timeout: i64) -> Option<Instant> {
    let timeout = u64::try_from(timeout).ok()?;
    Instant::now().checked_add(Duration::from_nanos(timeout))
}
