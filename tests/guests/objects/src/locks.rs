//! Locks and semaphores.

use wasmp_guest::{BoundedSemaphore, Event, Lock, RLock, ReleaseError, Result, Semaphore, SharedError, task};

use crate::within;

/// A new lock.
#[task]
fn lock_new() -> Result<Lock, SharedError> {
    Lock::new()
}

/// The lock of this name.
#[task]
fn lock_named(name: &str) -> Result<Lock, SharedError> {
    Lock::named(name)
}

/// Acquires the lock and leaves it acquired.
#[task]
fn lock_acquire(lock: Lock, timeout: Option<u64>) -> Result<bool, SharedError> {
    within(
        timeout,
        || lock.acquire().map(|()| true),
        |time| lock.acquire_timeout(time),
        || lock.try_acquire(),
    )
}

/// Releases the lock.
#[task]
fn lock_release(lock: Lock) -> Result<(), ReleaseError> {
    lock.release()
}

/// Whether anybody holds the lock.
#[task]
fn lock_locked(lock: Lock) -> Result<bool, SharedError> {
    lock.locked()
}

/// How the lock shows itself.
#[task]
fn lock_debug(lock: Lock) -> String {
    format!("{lock:?}")
}

/// Acquires the lock and releases it. The result is whether it was abandoned, or nothing if the time was up.
#[task]
fn lock_scoped(lock: Lock, timeout: Option<u64>) -> Result<Option<bool>, SharedError> {
    let guard = within(
        timeout,
        || lock.lock().map(Some),
        |time| lock.lock_timeout(time),
        || lock.try_lock(),
    )?;
    Ok(guard.map(|guard| guard.abandoned()))
}

/// Sets `taken` when it has the lock, and has it until `release` is set. The result is whether it was abandoned.
#[task]
fn lock_hold(lock: Lock, taken: Event, release: Event) -> Result<bool, SharedError> {
    let guard = lock.lock()?;
    taken.set()?;
    release.wait()?;
    Ok(guard.abandoned())
}

/// Acquires the lock and panics.
#[task]
fn lock_panic(lock: Lock) -> Result<(), SharedError> {
    let _guard = lock.lock()?;
    panic!("with a lock");
}

/// Takes the lock and gives it back, so often.
#[task]
fn lock_pairs(lock: Lock, times: u64) -> Result<(), SharedError> {
    for _ in 0..times {
        let _guard = lock.lock()?;
    }
    Ok(())
}

/// Makes locks until that is refused: how many there are then, and why.
#[task]
fn locks_until_refused() -> (usize, String) {
    let mut locks = Vec::new();
    loop {
        match Lock::new() {
            Ok(lock) => locks.push(lock),
            Err(error) => return (locks.len(), error.to_string()),
        }
    }
}

/// A new rlock.
#[task]
fn rlock_new() -> Result<RLock, SharedError> {
    RLock::new()
}

/// Acquires the rlock so often, and leaves it acquired.
#[task]
fn rlock_acquire(lock: RLock, times: u32, timeout: Option<u64>) -> Result<bool, SharedError> {
    for _ in 0..times {
        let acquired = within(
            timeout,
            || lock.acquire().map(|()| true),
            |time| lock.acquire_timeout(time),
            || lock.try_acquire(),
        )?;
        if !acquired {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Releases the rlock so often.
#[task]
fn rlock_release(lock: RLock, times: u32) -> Result<(), ReleaseError> {
    (0..times).try_for_each(|_| lock.release())
}

/// Whether anybody holds the rlock.
#[task]
fn rlock_locked(lock: RLock) -> Result<bool, SharedError> {
    lock.locked()
}

/// How the rlock shows itself.
#[task]
fn rlock_debug(lock: RLock) -> String {
    format!("{lock:?}")
}

/// Acquires the rlock so often within one scope, and releases it. How it shows itself inside and after.
#[task]
fn rlock_nested(lock: RLock, times: u32) -> Result<(String, String), SharedError> {
    let guards = (0..times).map(|_| lock.lock()).collect::<Result<Vec<_>, _>>()?;
    let inside = format!("{lock:?}");
    drop(guards);
    Ok((inside, format!("{lock:?}")))
}

/// Sets `taken` when it has the rlock twice, and has it until `release` is set. The result is whether it was abandoned.
#[task]
fn rlock_hold(lock: RLock, taken: Event, release: Event) -> Result<bool, SharedError> {
    let outer = lock.lock()?;
    let _inner = lock.lock()?;
    taken.set()?;
    release.wait()?;
    Ok(outer.abandoned())
}

/// A new semaphore.
#[task]
fn semaphore_new(value: u32) -> Result<Semaphore, SharedError> {
    Semaphore::new(value)
}

/// A new bounded semaphore. The other tasks take it as a semaphore.
#[task]
fn bounded_semaphore_new(value: u32) -> Result<BoundedSemaphore, SharedError> {
    BoundedSemaphore::new(value)
}

/// Takes a permit.
#[task]
fn semaphore_acquire(semaphore: Semaphore, timeout: Option<u64>) -> Result<bool, SharedError> {
    within(
        timeout,
        || semaphore.acquire().map(|()| true),
        |time| semaphore.acquire_timeout(time),
        || semaphore.try_acquire(),
    )
}

/// Gives permits.
#[task]
fn semaphore_release(semaphore: Semaphore, permits: u32) -> Result<(), ReleaseError> {
    semaphore.release_many(permits)
}

/// How many permits there are.
#[task]
fn semaphore_value(semaphore: Semaphore) -> Result<u32, SharedError> {
    semaphore.value()
}

/// How the semaphore shows itself.
#[task]
fn semaphore_debug(semaphore: Semaphore) -> String {
    format!("{semaphore:?}")
}

/// Borrows a permit and gives it back; whether there was one.
#[task]
fn semaphore_scoped(semaphore: Semaphore, timeout: Option<u64>) -> Result<bool, SharedError> {
    let permit = within(
        timeout,
        || semaphore.permit().map(Some),
        |time| semaphore.permit_timeout(time),
        || semaphore.try_permit(),
    )?;
    Ok(permit.is_some())
}

/// Sets `taken` when it has borrowed a permit, and has it until `release` is set.
#[task]
fn semaphore_hold(semaphore: Semaphore, taken: Event, release: Event) -> Result<(), SharedError> {
    let _permit = semaphore.permit()?;
    taken.set()?;
    release.wait()
}
