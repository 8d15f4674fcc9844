//! Events, conditions, and barriers.

use std::time::Duration;

use wasmp_guest::{
    Barrier, BarrierError, Condition, Error, Event, Lock, RawValue, Result, Semaphore, SharedError, task,
};

use crate::within;

/// A new event.
#[task]
fn event_new() -> Result<Event, SharedError> {
    Event::new()
}

/// Sets the event.
#[task]
fn event_set(event: Event) -> Result<(), SharedError> {
    event.set()
}

/// Clears the event.
#[task]
fn event_clear(event: Event) -> Result<(), SharedError> {
    event.clear()
}

/// Whether the event is set.
#[task]
fn event_is_set(event: Event) -> Result<bool, SharedError> {
    event.is_set()
}

/// Waits for the event; whether it is set.
#[task]
fn event_wait(event: Event, timeout: Option<u64>) -> Result<bool, SharedError> {
    within(
        timeout,
        || event.wait().map(|()| true),
        |time| event.wait_timeout(time),
        || event.wait_timeout(Duration::ZERO),
    )
}

/// How the event shows itself.
#[task]
fn event_debug(event: Event) -> String {
    format!("{event:?}")
}

/// A new condition with a lock of its own.
#[task]
fn condition_new() -> Result<Condition, SharedError> {
    Condition::new()
}

/// A new condition that goes with this lock.
#[task]
fn condition_with_lock(lock: Lock) -> Result<Condition, SharedError> {
    Condition::with_lock(&lock)
}

/// Takes the lock `depth` times, gives a permit of `sleeping`, waits to be notified, and gives one of `woken`; whether
/// it was notified.
#[task]
fn condition_wait(
    condition: Condition,
    sleeping: Semaphore,
    woken: Semaphore,
    depth: u32,
    timeout: Option<u64>,
) -> Result<bool> {
    let mut guard = condition.lock()?;
    let _more = (1..depth).map(|_| condition.lock()).collect::<Result<Vec<_>, _>>()?;
    sleeping.release()?;
    let notified = match timeout {
        None => condition.wait(&mut guard).map(|()| true),
        Some(milliseconds) => condition.wait_timeout(&mut guard, Duration::from_millis(milliseconds)),
    }?;
    woken.release()?;
    Ok(notified)
}

/// Notifies so many, or all.
#[task]
fn condition_notify(condition: Condition, waiters: Option<u32>) -> Result<()> {
    let _guard = condition.lock()?;
    match waiters {
        Some(waiters) => condition.notify(waiters)?,
        None => condition.notify_all()?,
    }
    Ok(())
}

/// Notifies without the lock.
#[task]
fn condition_notify_without_lock(condition: Condition) -> Result<()> {
    Ok(condition.notify_all()?)
}

/// Waits with a lock that is not the condition's.
#[task]
fn condition_wait_with_another_lock(condition: Condition) -> Result<()> {
    let other = Lock::new()?;
    let mut guard = other.lock()?;
    Ok(condition.wait(&mut guard)?)
}

/// Waits until the value is `target`; whether it is.
#[task]
fn condition_wait_for(condition: Condition, value: RawValue<i64>, target: i64, timeout: Option<u64>) -> Result<bool> {
    let mut guard = condition.lock()?;
    let reached = || Ok(value.get()? == target);
    match timeout {
        None => condition.wait_for(&mut guard, reached).map(|()| true),
        Some(milliseconds) => condition.wait_for_timeout(&mut guard, Duration::from_millis(milliseconds), reached),
    }
}

/// Sets the value and notifies all.
#[task]
fn condition_change(condition: Condition, value: RawValue<i64>, new: i64) -> Result<()> {
    let _guard = condition.lock()?;
    value.set(new)?;
    Ok(condition.notify_all()?)
}

/// A new barrier.
#[task]
fn barrier_new(parties: u32) -> Result<Barrier, SharedError> {
    Barrier::new(parties)
}

/// Waits at the barrier; the place.
#[task]
fn barrier_wait(barrier: Barrier, timeout: Option<u64>) -> Result<u32, BarrierError> {
    match timeout {
        None => barrier.wait(),
        Some(milliseconds) => barrier.wait_timeout(Duration::from_millis(milliseconds)),
    }
}

/// Waits at the barrier, with an action that counts how often it was run; the place, and the count when it has passed.
#[task]
fn barrier_wait_with(barrier: Barrier, actions: RawValue<u32>, timeout: Option<u64>) -> Result<(u32, u32)> {
    let mut outcome = Ok(0);
    let mut action = || outcome = actions.fetch_add(1);
    let place = match timeout {
        None => barrier.wait_with(&mut action),
        Some(milliseconds) => barrier.wait_with_timeout(Duration::from_millis(milliseconds), &mut action),
    }?;
    outcome?;
    Ok((place, actions.load()?))
}

/// Waits at the barrier, with an action that panics.
#[task]
fn barrier_panic(barrier: Barrier) -> Result<u32, BarrierError> {
    barrier.wait_with(|| panic!("in the action"))
}

/// Passes the barrier so often, and checks that nobody is a trip ahead.
#[task]
fn barrier_lockstep(barrier: Barrier, arrivals: RawValue<u32>, trips: u32) -> Result<()> {
    let parties = barrier.parties()?;
    for trip in 1..=trips {
        arrivals.fetch_add(1)?;
        barrier.wait()?;
        let arrived = arrivals.load()?;
        if arrived < trip * parties || arrived >= (trip + 1) * parties {
            return Err(Error::new(format!("{arrived} arrivals in trip {trip}")));
        }
        barrier.wait()?;
    }
    Ok(())
}

/// Breaks the barrier.
#[task]
fn barrier_abort(barrier: Barrier) -> Result<(), SharedError> {
    barrier.abort()
}

/// Makes the barrier as new.
#[task]
fn barrier_reset(barrier: Barrier) -> Result<(), SharedError> {
    barrier.reset()
}

/// How many it is for, how many wait, and whether it is broken.
#[task]
fn barrier_state(barrier: Barrier) -> Result<(u32, u32, bool), SharedError> {
    Ok((barrier.parties()?, barrier.n_waiting()?, barrier.is_broken()?))
}

/// How the barrier shows itself.
#[task]
fn barrier_debug(barrier: Barrier) -> String {
    format!("{barrier:?}")
}
