//! What managers hold for several to use together.

use std::time::Duration;

use wasmp_guest::{Connection, Counter, Dict, Error, Event, Manager, ManagerError, Result, managed, task};

/// Everything that can be done without anybody else, as one word for each thing that was not as expected.
#[task]
fn sync_methods(manager: Manager) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, holds: bool| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let soon = Duration::from_millis(1);

    let lock = manager.lock()?;
    check("lock: acquire", lock.try_acquire()? && !lock.try_acquire()?);
    check(
        "lock: in time",
        !lock.acquire_timeout(soon)? && lock.lock_timeout(soon)?.is_none(),
    );
    check("lock: locked", lock.locked()?);
    lock.release()?;
    check(
        "lock: free",
        !lock.locked()? && lock.release() == Err(ManagerError::TooMany),
    );
    {
        let guard = lock.lock()?;
        check("lock: guard", lock.locked()? && !guard.abandoned());
        let fence = guard.fence();
        drop(guard);
        check("lock: fence", lock.lock()?.fence() > fence && !lock.locked()?);
    }

    let rlock = manager.rlock()?;
    rlock.acquire()?;
    let guard = rlock.lock()?;
    check("rlock: count", rlock.count()? == 2);
    drop(guard);
    rlock.release()?;
    check(
        "rlock: free",
        !rlock.locked()? && rlock.release() == Err(ManagerError::NotOwner),
    );

    let semaphore = manager.semaphore(2)?;
    semaphore.acquire()?;
    check("semaphore: value", semaphore.value()? == 1);
    let permit = semaphore.permit()?;
    check("semaphore: none", semaphore.value()? == 0 && !semaphore.try_acquire()?);
    check(
        "semaphore: in time",
        !semaphore.acquire_timeout(soon)? && semaphore.try_permit()?.is_none(),
    );
    drop(permit);
    semaphore.release_many(5)?;
    check("semaphore: more", semaphore.value()? == 6);
    check(
        "semaphore: too many",
        semaphore.release_many(i32::MAX as u32) == Err(ManagerError::TooMany),
    );
    check(
        "semaphore: nothing",
        semaphore.release_many(0) == Err(ManagerError::Invalid),
    );
    check(
        "semaphore: size",
        manager.semaphore(1 << 31).map(drop) == Err(ManagerError::Invalid),
    );
    let bounded = manager.bounded_semaphore(1)?;
    check("bounded: full", bounded.release() == Err(ManagerError::TooMany));
    bounded.acquire()?;
    check("bounded: back", bounded.release() == Ok(()) && bounded.value()? == 1);

    let event = manager.event()?;
    check(
        "event: unset",
        !event.is_set()? && !event.wait_timeout(Duration::ZERO)? && !event.wait_timeout(soon)?,
    );
    event.set()?;
    event.wait()?;
    check("event: set", event.is_set()? && event.wait_timeout(soon)?);
    event.clear()?;
    check("event: clear", !event.is_set()?);

    let condition = manager.condition()?;
    check("condition: no lock", condition.notify(1) == Err(ManagerError::NotOwner));
    {
        let outer = condition.lock()?;
        let mut guard = condition.lock()?;
        check("condition: in time", !condition.wait_timeout(&mut guard, soon)?);
        check(
            "condition: at once",
            !condition.wait_timeout(&mut guard, Duration::ZERO)?,
        );
        let (mut asked, other) = (0, manager.condition()?);
        check("condition: wait_for", {
            let said = condition.wait_for_timeout(&mut guard, soon, || {
                asked += 1;
                Ok::<_, ManagerError>(false)
            })?;
            !said && asked > 1
        });
        check(
            "condition: another",
            other.wait(&mut guard) == Err(ManagerError::NotOwner),
        );
        condition.notify_all()?;
        drop((guard, outer));
    }
    check("condition: free", condition.notify_all() == Err(ManagerError::NotOwner));

    let barrier = manager.barrier(1)?;
    check("barrier: alone", barrier.wait()? == 0 && barrier.wait()? == 0);
    let barrier = manager.barrier(2)?;
    check(
        "barrier: in time",
        barrier.wait_timeout(soon) == Err(ManagerError::BrokenBarrier),
    );
    check(
        "barrier: broken",
        barrier.is_broken()? && barrier.wait() == Err(ManagerError::BrokenBarrier),
    );
    barrier.reset()?;
    check(
        "barrier: reset",
        !barrier.is_broken()? && barrier.n_waiting()? == 0 && barrier.parties()? == 2,
    );
    barrier.abort()?;
    check("barrier: abort", barrier.is_broken()?);
    check(
        "barrier: nobody",
        manager.barrier(0).map(drop) == Err(ManagerError::Invalid),
    );

    let queue = manager.queue::<String>(2)?;
    check(
        "queue: empty",
        queue.is_empty()? && queue.try_get() == Err(ManagerError::QueueEmpty),
    );
    check(
        "queue: in time",
        queue.get_timeout(soon) == Err(ManagerError::QueueEmpty),
    );
    queue.put(&"one".into())?;
    queue.try_put(&"two".into())?;
    check("queue: full", queue.is_full()? && queue.len()? == 2);
    check(
        "queue: no room",
        queue.try_put(&"x".into()) == Err(ManagerError::QueueFull),
    );
    check(
        "queue: no room in time",
        queue.put_timeout(&"x".into(), soon) == Err(ManagerError::QueueFull),
    );
    check(
        "queue: order",
        queue.get()? == "one" && queue.get_timeout(soon)? == "two",
    );
    queue.put(&"last".into())?;
    queue.shutdown()?;
    check(
        "queue: shut down",
        queue.put(&"x".into()) == Err(ManagerError::QueueShutDown),
    );
    check(
        "queue: what is left",
        queue.get()? == "last" && queue.get() == Err(ManagerError::QueueShutDown),
    );

    let joinable = manager.joinable_queue::<i64>(0)?;
    joinable.put(&1)?;
    joinable.put(&2)?;
    check("joinable: unfinished", !joinable.join_timeout(soon)?);
    joinable.get()?;
    joinable.task_done()?;
    joinable.shutdown_immediately()?;
    check(
        "joinable: dropped",
        joinable.is_empty()? && joinable.join_timeout(Duration::ZERO)?,
    );
    joinable.join()?;
    check("joinable: too many", joinable.task_done() == Err(ManagerError::TooMany));

    let value = manager.value(7)?;
    check("value: get", value.get()? == 7);
    value.set(&8)?;
    check(
        "value: add",
        value.add(2)? == 10 && value.update(|value| value * 2)? == 20 && value.get()? == 20,
    );
    check(
        "value: change",
        value.wait_for_change(&7)? == 20 && value.wait_for_change_timeout(&20, soon)?.is_none(),
    );

    let array = manager.array([1, 2, 3])?;
    array.set(-1, &30)?;
    check(
        "array: get",
        array.get(2)? == 30 && array.len()? == 3 && !array.is_empty()?,
    );
    check("array: beyond", array.get(3) == Err(ManagerError::OutOfRange));
    check("array: slice", array.slice::<Vec<_>>(..2)? == [1, 2]);
    array.update(|values| values.reverse())?;
    check("array: update", array.items::<Vec<_>>()? == [30, 2, 1]);
    Ok(wrong)
}

/// Adds one, so many times, by looking and setting under a lock.
#[task]
fn managed_locked_add(lock: managed::Lock, sum: managed::Value<i64>, times: u64) -> Result<()> {
    for _ in 0..times {
        let _guard = lock.lock()?;
        sum.set(&(sum.get()? + 1))?;
    }
    Ok(())
}

/// Acquires everything that somebody can have, says so, and keeps it.
#[task]
fn managed_hold_all(
    lock: managed::Lock,
    rlock: managed::RLock,
    condition: managed::Condition,
    semaphore: managed::Semaphore,
    held: managed::Event,
) -> Result<()> {
    let (_lock, _rlock, _again) = (lock.lock()?, rlock.lock()?, rlock.lock()?);
    let _condition = condition.lock()?;
    let _permit = semaphore.permit()?;
    semaphore.acquire()?;
    held.set()?;
    Ok(Event::new()?.wait()?)
}

/// A lock that is acquired and stays so when the task ends.
#[task]
fn managed_lock_keep(lock: managed::Lock) -> Result<()> {
    Ok(lock.acquire()?)
}

#[task]
fn managed_lock_release(lock: managed::Lock) -> Result<()> {
    Ok(lock.release()?)
}

/// As a child does it in CPython's tests. Whether anybody else held it.
#[task]
fn managed_rlock_cycle(rlock: managed::RLock) -> Result<bool> {
    let free = rlock.try_acquire()?;
    if free {
        let _again = rlock.lock()?;
        rlock.release()?;
    }
    Ok(!free)
}

/// Waits for a lock until that is interrupted, then for the last event. What the wait said.
#[task]
fn managed_lock_interrupted(lock: managed::Lock, begun: Event, told: Event, last: Event) -> Result<()> {
    begun.set()?;
    let ended = lock.acquire();
    told.set()?;
    while last.wait().is_err() {}
    if ended == Err(ManagerError::Interrupted) && lock.try_acquire()? {
        return Ok(());
    }
    Err(Error::new(format!("{ended:?}")))
}

/// The same with the next value of a queue.
#[task]
fn managed_queue_interrupted(queue: managed::Queue<i64>, begun: Event, told: Event, last: Event) -> Result<()> {
    begun.set()?;
    let ended = queue.get();
    told.set()?;
    while last.wait().is_err() {}
    if ended == Err(ManagerError::Interrupted) {
        return Ok(());
    }
    Err(Error::new(format!("{ended:?}")))
}

/// Waits once. Whether it was notified.
#[task]
fn managed_condition_sleep(
    condition: managed::Condition,
    asleep: managed::Semaphore,
    milliseconds: u64,
) -> Result<bool> {
    let mut guard = condition.lock()?;
    asleep.release()?;
    Ok(condition.wait_timeout(&mut guard, Duration::from_millis(milliseconds))?)
}

/// Waits until there are so many.
#[task]
fn managed_condition_wait_for(condition: managed::Condition, count: managed::Value<i64>, enough: i64) -> Result<i64> {
    let mut guard = condition.lock()?;
    condition.wait_for(&mut guard, || Ok::<_, ManagerError>(count.get()? >= enough))?;
    Ok(count.get()?)
}

/// SM-01: sees it set, and clears it.
#[task]
fn managed_event_clear(event: managed::Event) -> Result<bool> {
    let set = event.is_set()?;
    event.clear()?;
    Ok(set)
}

#[task]
fn managed_event_wait(event: managed::Event, begun: Event) -> Result<()> {
    begun.set()?;
    Ok(event.wait()?)
}

/// Meets others so many times. The places that it had.
#[task]
fn managed_barrier_meet(barrier: managed::Barrier, times: u32) -> Result<Vec<u32>> {
    (0..times).map(|_| Ok(barrier.wait()?)).collect()
}

/// SM-06: how many it is for; and it is as new.
#[task]
fn managed_barrier_reset(barrier: managed::Barrier) -> Result<u32> {
    barrier.reset()?;
    Ok(barrier.parties()?)
}

#[task]
fn managed_queue_put_all(queue: managed::Queue<i64>, values: Vec<i64>) -> Result<()> {
    for value in values {
        queue.put(&value)?;
    }
    Ok(())
}

/// Gets so many, then whether it is empty.
#[task]
fn managed_queue_get_some(queue: managed::Queue<i64>, most: u64) -> Result<(Vec<i64>, bool)> {
    let values: Vec<i64> = (0..most).map(|_| queue.get()).collect::<std::result::Result<_, _>>()?;
    Ok((values, queue.is_empty()?))
}

/// Deals with values until there are no more. How many they were.
#[task]
fn managed_queue_work(queue: managed::JoinableQueue<i64>) -> Result<u64> {
    let mut done = 0;
    loop {
        match queue.get() {
            Ok(_) => queue.task_done()?,
            Err(ManagerError::QueueShutDown) => return Ok(done),
            Err(error) => return Err(error.into()),
        }
        done += 1;
    }
}

#[task]
fn managed_queue_get_waits(queue: managed::Queue<i64>, begun: Event) -> Result<i64> {
    begun.set()?;
    Ok(queue.get()?)
}

/// MC-09: what the first value of a queue in a dictionary is.
#[task]
fn managed_nested_get(queues: Dict<String, managed::Queue<i64>>, key: String) -> Result<i64> {
    let queue = queues.get(&key)?.ok_or_else(|| Error::new("no such key"))?;
    Ok(queue.get()?)
}

/// SM-11, SM-12: sees them, and changes them.
#[task]
fn managed_value_and_array(value: managed::Value<i64>, array: managed::Array<i64>) -> Result<(i64, Vec<i64>)> {
    let before = (value.get()?, array.items()?);
    value.set(&2)?;
    array.set(0, &5)?;
    Ok(before)
}

/// Counts words, once for each name, says that it has, and waits for the end.
#[task]
fn managed_count_and_wait(
    counter: Counter<String>,
    name: String,
    words: Vec<String>,
    counted: Event,
    end: Event,
) -> Result<bool> {
    let now = counter.update_once(&name, words.into_iter().map(|word| (word, 1)))?;
    counted.set()?;
    end.wait()?;
    Ok(now)
}

/// PK-01: answers one message on a connection that came from elsewhere.
#[task]
fn managed_answer_one(connection: Connection) -> Result<()> {
    let question: String = connection.recv()?;
    Ok(connection.send(&question.to_uppercase())?)
}

#[task]
fn managed_queue_get_text(queue: managed::Queue<String>) -> Result<String> {
    Ok(queue.get()?)
}
