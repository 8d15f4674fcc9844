//! Locks, semaphores and values under them.

use std::time::Duration;

use wasmp::{BoundedSemaphore, Error, Event, Lock, RLock, ReleaseError, Semaphore, Value};
use wasmp_tests::{eventually, isolated};

use crate::common::{call, error, pool, start, timed};

/// Longer than anything takes, in milliseconds.
const LONG: u64 = 20_000;
/// The same.
const PATIENCE: Duration = Duration::from_millis(LONG);
/// A time that will be up.
const SHORT: Duration = Duration::from_millis(60);

const TOO_MANY: &str = "released more often than acquired";
const NOT_OWNER: &str = "the lock is held by another worker, or by nobody";

#[test]
fn l_01_a_lock_shows_who_holds_it() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let lock: Lock = call(&one, "lock_new", ());
        let show = || [&one, &other].map(|pool| call::<String>(pool, "lock_debug", (&lock,)));
        assert_eq!(show(), ["Lock(free)"; 2]);
        assert!(format!("{lock:?}").contains("Lock { owner: None }"), "{lock:?}");
        assert!(call::<bool>(&one, "lock_acquire", (&lock, LONG)));
        assert_eq!(show(), ["Lock(held by this worker)", "Lock(held by another worker)"]);
        call::<()>(&other, "lock_release", (&lock,));
        let _guard = lock.try_lock().unwrap().expect("it is free");
        assert_eq!(show(), ["Lock(held by another worker)"; 2]);
        assert!(
            format!("{lock:?}").contains("Lock { owner: Some(Slot(0)) }"),
            "{lock:?}"
        );
    });
}

#[test]
fn l_02_a_lock_is_acquired_once_and_released_once() {
    isolated(|| {
        let pool = pool(2);
        let lock: Lock = call(&pool, "lock_new", ());
        assert!(call::<bool>(&pool, "lock_acquire", (&lock, None::<u64>)));
        assert!(call::<bool>(&pool, "lock_locked", (&lock,)) && lock.locked());
        assert!(!call::<bool>(&pool, "lock_acquire", (&lock, 0)));
        call::<()>(&pool, "lock_release", (&lock,));
        assert!(!call::<bool>(&pool, "lock_locked", (&lock,)) && !lock.locked());
        assert_eq!(error(&pool, "lock_release", (&lock,)), TOO_MANY);

        lock.acquire().unwrap();
        assert!(!lock.try_acquire().unwrap() && lock.locked());
        lock.release().unwrap();
        assert_eq!(lock.release(), Err(ReleaseError::TooMany));
        assert!(!lock.locked());
    });
}

#[test]
fn l_03_a_lock_taken_in_a_worker_is_locked_for_all_others() {
    isolated(|| {
        let lock = Lock::new().unwrap();
        let (one, other) = (pool(1), pool(1));
        assert!(call::<bool>(&one, "lock_acquire", (&lock, None::<u64>)));
        assert!(lock.locked() && call::<bool>(&other, "lock_locked", (&lock,)));
        // Where CPython's stays locked for ever: a worker that is gone holds nothing.
        drop(one);
        let guard = lock.lock_timeout(PATIENCE).unwrap().expect("it is free again");
        assert!(guard.abandoned());
    });
}

#[test]
fn l_04_an_rlock_shows_its_owner_and_how_often() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let lock: RLock = call(&one, "rlock_new", ());
        let show = || [&one, &other].map(|pool| call::<String>(pool, "rlock_debug", (&lock,)));
        assert_eq!(show(), ["RLock(free)"; 2]);
        assert!(call::<bool>(&one, "rlock_acquire", (&lock, 1, LONG)));
        assert_eq!(show(), ["RLock(held by this worker)", "RLock(held by another worker)"]);
        assert!(call::<bool>(&one, "rlock_acquire", (&lock, 2, LONG)));
        assert_eq!(
            show(),
            ["RLock(held by this worker, 3 times)", "RLock(held by another worker)"]
        );
        call::<()>(&one, "rlock_release", (&lock, 3));
        assert_eq!(show(), ["RLock(free)"; 2]);
        assert!(
            format!("{lock:?}").contains("RLock { owner: None, count: 0 }"),
            "{lock:?}"
        );
    });
}

#[test]
fn l_05_an_rlock_is_free_when_it_was_released_as_often_as_acquired() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let lock: RLock = call(&one, "rlock_new", ());
        assert!(call::<bool>(&one, "rlock_acquire", (&lock, 3, 0)));
        for left in [2, 1, 0] {
            assert!(!call::<bool>(&other, "rlock_acquire", (&lock, 1, 0)));
            assert!(!lock.try_acquire().unwrap());
            // Only its owner may, however often it was acquired.
            assert_eq!(error(&other, "rlock_release", (&lock, 1)), NOT_OWNER);
            assert_eq!(lock.release(), Err(ReleaseError::NotOwner));
            call::<()>(&one, "rlock_release", (&lock, 1));
            assert_eq!(lock.locked(), left > 0);
        }
        assert_eq!(error(&one, "rlock_release", (&lock, 1)), NOT_OWNER);
        assert!(call::<bool>(&other, "rlock_acquire", (&lock, 2, 0)));
        call::<()>(&other, "rlock_release", (&lock, 2));

        // The host's owners are threads.
        let outer = lock.lock().unwrap();
        let inner = lock.try_lock().unwrap().expect("it is this thread's");
        let elsewhere = || std::thread::scope(|scope| scope.spawn(|| lock.try_acquire().unwrap()).join().unwrap());
        assert!(!elsewhere());
        drop(inner);
        assert!(!elsewhere() && !call::<bool>(&one, "rlock_acquire", (&lock, 1, 0)));
        drop(outer);
        assert!(call::<bool>(&one, "rlock_acquire", (&lock, 1, 0)));
    });
}

#[test]
fn l_06_an_rlock_taken_in_a_worker_is_locked_for_all_others() {
    isolated(|| {
        let lock = RLock::new().unwrap();
        let (one, other) = (pool(1), pool(1));
        assert!(call::<bool>(&one, "rlock_acquire", (&lock, 2, None::<u64>)));
        assert!(lock.locked() && call::<bool>(&other, "rlock_locked", (&lock,)));
        drop(one);
        let guard = lock.lock_timeout(PATIENCE).unwrap().expect("it is free again");
        assert!(guard.abandoned());
    });
}

#[test]
fn l_07_a_lock_is_held_for_a_scope() {
    isolated(|| {
        let pool = pool(2);
        let lock = Lock::new().unwrap();
        for timeout in [None, Some(0), Some(LONG)] {
            assert_eq!(
                call::<Option<bool>>(&pool, "lock_scoped", (&lock, timeout)),
                Some(false)
            );
            assert!(!lock.locked());
        }
        let guard = lock.lock().unwrap();
        for timeout in [0, 60] {
            assert_eq!(call::<Option<bool>>(&pool, "lock_scoped", (&lock, timeout)), None);
        }
        let waiting = start::<Option<bool>>(&pool, "lock_scoped", (&lock, None::<u64>));
        drop(guard);
        assert_eq!(waiting.get_timeout(PATIENCE).unwrap(), Some(false));
        assert!(!lock.locked());
    });
}

#[test]
fn l_08_an_rlock_is_held_for_nested_scopes() {
    isolated(|| {
        let pool = pool(1);
        let lock = RLock::new().unwrap();
        let (inside, after): (String, String) = call(&pool, "rlock_nested", (&lock, 3));
        assert_eq!(inside, "RLock(held by this worker, 3 times)");
        assert_eq!(after, "RLock(free)");
        assert!(!lock.locked());
    });
}

#[test]
fn l_09_a_lock_of_a_worker_keeps_out_host_and_worker_until_it_is_given_back() {
    isolated(|| {
        let pool = pool(2);
        let (lock, taken, release) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
        let holder = start::<bool>(&pool, "lock_hold", (&lock, &taken, &release));
        assert!(taken.wait_timeout(PATIENCE).unwrap());
        // The other worker, while the first one is busy.
        assert!(!call::<bool>(&pool, "lock_acquire", (&lock, 60)));
        assert!(!lock.acquire_timeout(SHORT).unwrap());
        let next = start::<bool>(&pool, "lock_acquire", (&lock, None::<u64>));
        release.set();
        assert!(!holder.get_timeout(PATIENCE).unwrap(), "nobody died");
        assert!(next.get_timeout(PATIENCE).unwrap());
        assert!(lock.locked());
        lock.release().unwrap();
    });
}

#[test]
fn l_10_a_timeout_passes_before_a_lock_is_given_up() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
        assert!(call::<bool>(&one, "lock_acquire", (&lock, LONG)));
        assert!(call::<bool>(&one, "rlock_acquire", (&rlock, 1, LONG)));
        for wait in [
            &(|| lock.acquire_timeout(SHORT).unwrap()) as &dyn Fn() -> bool,
            &|| lock.lock_timeout(SHORT).unwrap().is_some(),
            &|| rlock.acquire_timeout(SHORT).unwrap(),
            &|| call(&other, "lock_acquire", (&lock, SHORT.as_millis() as u64)),
            &|| call(&other, "rlock_acquire", (&rlock, 1, SHORT.as_millis() as u64)),
        ] {
            let (acquired, time) = timed(wait);
            assert!(!acquired);
            assert!(time >= SHORT && time < PATIENCE, "{time:?}");
        }
    });
}

#[test]
fn l_11_no_time_is_no_wait() {
    isolated(|| {
        let pool = pool(1);
        let lock = Lock::new().unwrap();
        assert!(lock.acquire_timeout(Duration::ZERO).unwrap(), "it is free");
        let (acquired, time) = timed(|| {
            lock.acquire_timeout(Duration::ZERO).unwrap()
                || lock.try_acquire().unwrap()
                || call(&pool, "lock_acquire", (&lock, 0))
        });
        assert!(!acquired && time < PATIENCE, "{time:?}");
        lock.release().unwrap();
        assert!(call::<bool>(&pool, "lock_acquire", (&lock, 0)));
    });
}

#[test]
fn l_12_all_workers_and_the_host_count_together() {
    isolated(|| {
        let pool = pool(3);
        let lock = Lock::new().unwrap();
        let value = Value::with_lock(0_i64, &lock).unwrap();
        let workers = [(); 3].map(|()| start::<()>(&pool, "incr", (&value, 2000)));
        for _ in 0..2000 {
            let locked = value.lock().unwrap();
            locked.set(locked.get() + 1);
        }
        for worker in workers {
            worker.get_timeout(PATIENCE).unwrap();
        }
        assert_eq!(value.get().unwrap(), 8000);
        assert!(!lock.locked());
    });
}

#[test]
fn s_01_a_semaphore_counts_permits() {
    isolated(|| {
        let pool = pool(2);
        let semaphore: Semaphore = call(&pool, "semaphore_new", (2,));
        let acquire = |timeout: Option<u64>| call::<bool>(&pool, "semaphore_acquire", (&semaphore, timeout));
        let value = || {
            let value = call::<u32>(&pool, "semaphore_value", (&semaphore,));
            assert_eq!(value, semaphore.value());
            value
        };
        assert_eq!(value(), 2);
        assert!(acquire(None));
        assert_eq!(value(), 1);
        assert!(acquire(Some(LONG)));
        assert_eq!(value(), 0);
        assert!(!acquire(Some(0)) && !semaphore.try_acquire().unwrap());
        assert_eq!(value(), 0);
        call::<()>(&pool, "semaphore_release", (&semaphore, 1));
        assert_eq!(value(), 1);
        semaphore.release().unwrap();
        assert_eq!(value(), 2);
        assert_eq!(call::<String>(&pool, "semaphore_debug", (&semaphore,)), "Semaphore(2)");
    });
}

#[test]
fn s_02_a_semaphore_may_get_more_permits_than_it_had_and_a_bounded_one_may_not() {
    isolated(|| {
        let pool = pool(1);
        let semaphore: Semaphore = call(&pool, "semaphore_new", (1,));
        call::<()>(&pool, "semaphore_release", (&semaphore, 4));
        semaphore.release().unwrap();
        assert_eq!(semaphore.value(), 6);

        let bounded: BoundedSemaphore = call(&pool, "bounded_semaphore_new", (3,));
        assert_eq!(error(&pool, "semaphore_release", (&bounded, 1)), TOO_MANY);
        assert_eq!(bounded.release(), Err(ReleaseError::TooMany));
        assert!(call::<bool>(&pool, "semaphore_acquire", (&bounded, 0)));
        // All of them, or none.
        assert_eq!(error(&pool, "semaphore_release", (&bounded, 2)), TOO_MANY);
        assert_eq!(bounded.value(), 2);
        call::<()>(&pool, "semaphore_release", (&bounded, 1));
        assert_eq!(bounded.value(), 3);
    });
}

#[test]
fn s_03_there_is_an_end_to_permits() {
    const MOST: u32 = i32::MAX as u32;
    isolated(|| {
        let pool = pool(1);
        let semaphore: Semaphore = call(&pool, "semaphore_new", (MOST,));
        assert_eq!(error(&pool, "semaphore_release", (&semaphore, 1)), TOO_MANY);
        assert_eq!(semaphore.release(), Err(ReleaseError::TooMany));
        assert_eq!(semaphore.value(), MOST);
        assert_eq!(
            error(&pool, "semaphore_new", (MOST + 1,)),
            "a number or a name is outside of what is possible"
        );
        assert!(matches!(Semaphore::new(MOST + 1), Err(Error::Invalid(_))));
        let none: Semaphore = call(&pool, "semaphore_new", (0,));
        assert!(!call::<bool>(&pool, "semaphore_acquire", (&none, 0)));
    });
}

#[test]
fn s_04_a_semaphore_without_permits_is_waited_for_as_long_as_it_is_said() {
    isolated(|| {
        let pool = pool(1);
        let semaphore = Semaphore::new(0).unwrap();
        let (acquired, time) = timed(|| {
            semaphore.try_acquire().unwrap()
                || semaphore.acquire_timeout(Duration::ZERO).unwrap()
                || semaphore.try_permit().unwrap().is_some()
                || call(&pool, "semaphore_acquire", (&semaphore, 0))
                || call(&pool, "semaphore_scoped", (&semaphore, 0))
        });
        assert!(!acquired && time < PATIENCE, "{time:?}");
        let short = SHORT.as_millis() as u64;
        for wait in [
            &(|| semaphore.acquire_timeout(SHORT).unwrap()) as &dyn Fn() -> bool,
            &|| semaphore.permit_timeout(SHORT).unwrap().is_some(),
            &|| call(&pool, "semaphore_acquire", (&semaphore, short)),
            &|| call(&pool, "semaphore_scoped", (&semaphore, short)),
        ] {
            let (acquired, time) = timed(wait);
            assert!(!acquired);
            assert!(time >= SHORT && time < PATIENCE, "{time:?}");
        }
        assert_eq!(semaphore.value(), 0);
    });
}

#[test]
fn s_05_each_permit_lets_one_worker_on() {
    isolated(|| {
        let pool = pool(3);
        let semaphore = Semaphore::new(0).unwrap();
        let waiting = [(); 3].map(|()| start::<bool>(&pool, "semaphore_acquire", (&semaphore, None::<u64>)));
        let ready = || waiting.iter().filter(|result| result.ready()).count();
        for passed in 1..=3 {
            semaphore.release().unwrap();
            eventually("one goes on", || (ready() >= passed).then_some(()));
            assert_eq!((ready(), semaphore.value()), (passed, 0));
        }
        assert!(waiting.iter().all(|result| result.get_timeout(PATIENCE).unwrap()));
        let waiting = [(); 3].map(|()| start::<bool>(&pool, "semaphore_acquire", (&semaphore, None::<u64>)));
        semaphore.release_many(4).unwrap();
        for result in waiting {
            assert!(result.get_timeout(PATIENCE).unwrap());
        }
        assert_eq!(semaphore.value(), 1);
    });
}

#[test]
fn s_06_a_borrowed_permit_comes_back() {
    isolated(|| {
        let pool = pool(2);
        let (semaphore, taken, release) = (
            BoundedSemaphore::new(1).unwrap(),
            Event::new().unwrap(),
            Event::new().unwrap(),
        );
        assert!(call::<bool>(&pool, "semaphore_scoped", (&semaphore, None::<u64>)));
        assert_eq!(semaphore.value(), 1);
        let holder = start::<()>(&pool, "semaphore_hold", (&semaphore, &taken, &release));
        assert!(taken.wait_timeout(PATIENCE).unwrap());
        assert_eq!(semaphore.value(), 0);
        assert!(!call::<bool>(&pool, "semaphore_scoped", (&semaphore, 0)));
        let next = start::<bool>(&pool, "semaphore_scoped", (&semaphore, LONG));
        release.set();
        holder.get_timeout(PATIENCE).unwrap();
        assert!(next.get_timeout(PATIENCE).unwrap());
        let permit = semaphore.try_permit().unwrap().expect("it is back");
        assert_eq!(semaphore.value(), 0);
        drop(permit);
        assert_eq!(semaphore.value(), 1);
    });
}
