//! What one waits for: locks, semaphores, events, conditions and barriers.

use wasmp_abi::{BARRIER_ACT, IMPORT_MODULE, LOCKED_ELSEWHERE, ObjectKind, Status, import};
use wasmp_ipc::{Acquired, BarrierError, BarrierPass, ConditionError, ReleaseError, Waited};
use wasmtime::{Caller, Result};

use super::super::lean::LeanLinker;
use super::super::state::State;
use super::{handle, in_vain, interrupted, limit, object, opened, status, wrong_kind};
use crate::objects::{Object, Shape};

pub(super) fn add_to_linker(linker: &mut LeanLinker<'_, State>) -> Result<()> {
    linker
        .func_wrap(IMPORT_MODULE, import::LOCK_NEW, lock_new)?
        .func_wrap(IMPORT_MODULE, import::LOCK_ACQUIRE, lock_acquire)?
        .func_wrap(IMPORT_MODULE, import::LOCK_RELEASE, lock_release)?
        .func_wrap(IMPORT_MODULE, import::LOCK_COUNT, lock_count)?
        .func_wrap(IMPORT_MODULE, import::SEMAPHORE_NEW, semaphore_new)?
        .func_wrap(IMPORT_MODULE, import::SEMAPHORE_ACQUIRE, semaphore_acquire)?
        .func_wrap(IMPORT_MODULE, import::SEMAPHORE_RELEASE, semaphore_release)?
        .func_wrap(IMPORT_MODULE, import::SEMAPHORE_VALUE, semaphore_value)?
        .func_wrap(IMPORT_MODULE, import::EVENT_NEW, event_new)?
        .func_wrap(IMPORT_MODULE, import::EVENT_SET, event_set)?
        .func_wrap(IMPORT_MODULE, import::EVENT_CLEAR, event_clear)?
        .func_wrap(IMPORT_MODULE, import::EVENT_IS_SET, event_is_set)?
        .func_wrap(IMPORT_MODULE, import::EVENT_WAIT, event_wait)?
        .func_wrap(IMPORT_MODULE, import::CONDITION_NEW, condition_new)?
        .func_wrap(IMPORT_MODULE, import::CONDITION_WAIT, condition_wait)?
        .func_wrap(IMPORT_MODULE, import::CONDITION_NOTIFY, condition_notify)?
        .func_wrap(IMPORT_MODULE, import::BARRIER_NEW, barrier_new)?
        .func_wrap(IMPORT_MODULE, import::BARRIER_WAIT, barrier_wait)?
        .func_wrap(IMPORT_MODULE, import::BARRIER_OPEN, barrier_open)?
        .func_wrap(IMPORT_MODULE, import::BARRIER_ABORT, barrier_abort)?
        .func_wrap(IMPORT_MODULE, import::BARRIER_RESET, barrier_reset)?
        .func_wrap(IMPORT_MODULE, import::BARRIER_PARTIES, barrier_parties)?
        .func_wrap(IMPORT_MODULE, import::BARRIER_WAITING, barrier_waiting)?
        .func_wrap(IMPORT_MODULE, import::BARRIER_IS_BROKEN, barrier_is_broken)?;
    Ok(())
}

fn lock_new(mut caller: Caller<'_, State>, recursive: i32) -> Result<i32> {
    let shape = match recursive {
        0 => Shape::Lock,
        1 => Shape::RLock,
        _ => return Ok(status(Status::Invalid)),
    };
    opened(caller.data_mut().objects.create(shape, None))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn lock_acquire(caller: Caller<'_, State>, number: u32, timeout: i64) -> Result<i32> {
    let (handle, party) = handle(&caller.data().objects, number)?;
    let acquired = match &handle.held.object {
        Object::Lock(lock) => lock.acquire(party, limit(timeout)),
        Object::RLock(lock) => lock.acquire(party, limit(timeout)),
        other => return Err(wrong_kind(number, ObjectKind::Lock, other)),
    };
    Ok(match acquired {
        Ok(Acquired { abandoned }) => i32::from(abandoned),
        Err(error) => in_vain(error),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn lock_release(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (handle, party) = handle(&caller.data().objects, number)?;
    let released = match &handle.held.object {
        Object::Lock(lock) => lock.release(party),
        Object::RLock(lock) => lock.release(party),
        other => return Err(wrong_kind(number, ObjectKind::Lock, other)),
    };
    Ok(released.map_or_else(|error| status(unreleased(&error)), |()| 0))
}

fn unreleased(error: &ReleaseError) -> Status {
    match error {
        ReleaseError::NotLocked | ReleaseError::TooMany => Status::TooMany,
        ReleaseError::NotOwner => Status::NotOwner,
        ReleaseError::Broken => Status::Corrupt,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn lock_count(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (handle, party) = handle(&caller.data().objects, number)?;
    let (owner, count) = match &handle.held.object {
        Object::Lock(lock) => (lock.owner(), 1),
        Object::RLock(lock) => (lock.owner(), lock.count()),
        other => return Err(wrong_kind(number, ObjectKind::Lock, other)),
    };
    Ok(match owner {
        None => 0,
        Some(owner) if owner == party.slot() => count.clamp(1, LOCKED_ELSEWHERE.cast_unsigned() - 1).cast_signed(),
        Some(_) => LOCKED_ELSEWHERE,
    })
}

fn semaphore_new(mut caller: Caller<'_, State>, value: i32, bounded: i32) -> Result<i32> {
    match (u32::try_from(value), bounded) {
        (Ok(value), 0 | 1) => {
            let bounded = bounded == 1;
            opened(
                caller
                    .data_mut()
                    .objects
                    .create(Shape::Semaphore { value, bounded }, None),
            )
        }
        _ => Ok(status(Status::Invalid)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn semaphore_acquire(caller: Caller<'_, State>, number: u32, held: i32, timeout: i64) -> Result<i32> {
    let (semaphore, party) = object!(&caller.data().objects, number, Semaphore);
    let acquired = match held {
        0 => semaphore.acquire(party, limit(timeout)),
        1 => semaphore.acquire_held(party, limit(timeout)),
        _ => return Ok(status(Status::Invalid)),
    };
    Ok(acquired.map_or_else(in_vain, |()| 0))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn semaphore_release(caller: Caller<'_, State>, number: u32, held: i32, permits: i32) -> Result<i32> {
    let (semaphore, party) = object!(&caller.data().objects, number, Semaphore);
    let released = match (held, u32::try_from(permits)) {
        (0, Ok(permits @ 1..)) => semaphore.release(party, permits),
        (1, Ok(permits @ 1..)) => semaphore.release_held(party, permits),
        _ => return Ok(status(Status::Invalid)),
    };
    Ok(released.map_or_else(|error| status(unreleased(&error)), |()| 0))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn semaphore_value(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (semaphore, _) = object!(&caller.data().objects, number, Semaphore);
    Ok(semaphore.value().cast_signed().max(0))
}

fn event_new(mut caller: Caller<'_, State>) -> Result<i32> {
    opened(caller.data_mut().objects.create(Shape::Event, None))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn event_set(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (event, _) = object!(&caller.data().objects, number, Event);
    event.set();
    Ok(0)
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn event_clear(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (event, _) = object!(&caller.data().objects, number, Event);
    event.clear();
    Ok(0)
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn event_is_set(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (event, _) = object!(&caller.data().objects, number, Event);
    Ok(event.is_set().into())
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn event_wait(caller: Caller<'_, State>, number: u32, timeout: i64) -> Result<i32> {
    let (event, party) = object!(&caller.data().objects, number, Event);
    Ok(event.wait(party, limit(timeout)).map_or_else(in_vain, |()| 0))
}

fn condition_new(mut caller: Caller<'_, State>) -> Result<i32> {
    opened(caller.data_mut().objects.create(Shape::Condition, None))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn condition_wait(caller: Caller<'_, State>, number: u32, lock: u32, timeout: i64) -> Result<i32> {
    let objects = &caller.data().objects;
    let (condition, party) = object!(objects, number, Condition);
    let (lock_handle, _) = handle(objects, lock)?;
    let waited = match &lock_handle.held.object {
        Object::Lock(lock) => condition.wait(party, lock, limit(timeout)),
        Object::RLock(lock) => condition.wait(party, lock, limit(timeout)),
        other => return Err(wrong_kind(lock, ObjectKind::RLock, other)),
    };
    Ok(match waited {
        Ok(Waited {
            notified: true,
            abandoned,
        }) => i32::from(abandoned),
        Ok(Waited { notified: false, .. }) => status(Status::TimedOut),
        Err(error) => status(condition_status(error)),
    })
}

fn condition_status(error: ConditionError) -> Status {
    match error {
        ConditionError::NotOwner => Status::NotOwner,
        ConditionError::Interrupted { .. } => interrupted(),
        ConditionError::TooManyWaiters => Status::ObjectLimit,
        ConditionError::Broken => Status::Corrupt,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn condition_notify(caller: Caller<'_, State>, number: u32, lock: u32, waiters: i32) -> Result<i32> {
    let objects = &caller.data().objects;
    let (condition, party) = object!(objects, number, Condition);
    let (lock_handle, _) = handle(objects, lock)?;
    let waiters = match waiters {
        -1 => usize::MAX,
        waiters => match usize::try_from(waiters) {
            Ok(waiters) => waiters,
            Err(_) => return Ok(status(Status::Invalid)),
        },
    };
    let notified = match &lock_handle.held.object {
        Object::Lock(lock) => condition.notify(party, lock, waiters),
        Object::RLock(lock) => condition.notify(party, lock, waiters),
        other => return Err(wrong_kind(lock, ObjectKind::RLock, other)),
    };
    Ok(notified.map_or_else(|error| status(condition_status(error)), |_| 0))
}

fn barrier_new(mut caller: Caller<'_, State>, parties: i32) -> Result<i32> {
    match usize::try_from(parties) {
        Ok(parties) => opened(caller.data_mut().objects.create(Shape::Barrier { parties }, None)),
        Err(_) => Ok(status(Status::Invalid)),
    }
}

fn barrier_status(error: BarrierError) -> i32 {
    status(match error {
        // Who gives up has broken it.
        BarrierError::TimedOut | BarrierError::Broken => Status::Broken,
        BarrierError::Interrupted => interrupted(),
        BarrierError::Corrupt => Status::Corrupt,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn barrier_wait(caller: Caller<'_, State>, number: u32, action: i32, timeout: i64) -> Result<i32> {
    let (barrier, party) = object!(&caller.data().objects, number, Barrier);
    if !matches!(action, 0 | 1) {
        return Ok(status(Status::Invalid));
    }
    Ok(match barrier.wait(party, action == 1, limit(timeout)) {
        Ok(BarrierPass::Passed(place)) => place as i32,
        Ok(BarrierPass::Act) => BARRIER_ACT,
        Err(error) => barrier_status(error),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn barrier_open(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (barrier, party) = object!(&caller.data().objects, number, Barrier);
    Ok(barrier.acted(party).map_or_else(barrier_status, |()| 0))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn barrier_abort(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (barrier, _) = object!(&caller.data().objects, number, Barrier);
    Ok(barrier.abort().map_or_else(barrier_status, |()| 0))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn barrier_reset(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (barrier, _) = object!(&caller.data().objects, number, Barrier);
    Ok(barrier.reset().map_or_else(barrier_status, |()| 0))
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn barrier_parties(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (barrier, _) = object!(&caller.data().objects, number, Barrier);
    Ok(barrier.parties() as i32)
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn barrier_waiting(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (barrier, _) = object!(&caller.data().objects, number, Barrier);
    Ok(barrier.n_waiting() as i32)
}

#[expect(clippy::needless_pass_by_value, reason = "wasmtime passes the caller by value")]
fn barrier_is_broken(caller: Caller<'_, State>, number: u32) -> Result<i32> {
    let (barrier, _) = object!(&caller.data().objects, number, Barrier);
    Ok(barrier.is_broken().into())
}
