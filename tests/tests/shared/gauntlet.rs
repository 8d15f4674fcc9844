//! Where CPython fails: workers that are killed with something in their hands, and the like.

use std::time::Duration;

use wasmp::{
    AsyncResult, Barrier, BoundedSemaphore, Error, ErrorKind, Event, Lock, Pool, RLock, ReleaseError, Semaphore,
    SharedMemory, Value,
};
use wasmp_tests::{eventually, isolated};

use crate::common::{asleep, builder, call, error, failure, kill, pool, start};

/// Longer than anything takes, in milliseconds.
const LONG: u64 = 20_000;

/// Kills the one worker of a pool, in the task whose result this is.
#[track_caller]
fn kill_in<R: std::fmt::Debug + serde::de::DeserializeOwned>(pool: &Pool, running: &AsyncResult<R>) {
    kill(pool.worker_pids()[0]);
    match running.get_timeout(Duration::from_millis(LONG)) {
        Err(Error::Task(error)) => {
            assert_eq!((error.kind, error.signal), (ErrorKind::WorkerLost, Some(9)), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// Waits for an event that says that a worker has got so far.
#[track_caller]
fn reached(event: &Event) {
    assert!(
        event.wait_timeout(Duration::from_millis(LONG)).unwrap(),
        "it gets so far"
    );
}

#[test]
fn g_07_the_lock_of_a_killed_worker_goes_to_the_next_one_who_is_told() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(2));
        for (task, scoped) in [("lock_hold", true), ("rlock_hold", false)] {
            let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
            let (taken, release) = (Event::new().unwrap(), Event::new().unwrap());
            let holder = match scoped {
                true => start::<bool>(&victim, task, (&lock, &taken, &release)),
                false => start::<bool>(&victim, task, (&rlock, &taken, &release)),
            };
            reached(&taken);
            if scoped {
                let waiting = start::<Option<bool>>(&other, "lock_scoped", (&lock, LONG));
                kill_in(&victim, &holder);
                assert_eq!(waiting.get().unwrap(), Some(true));
                // Once is enough.
                assert_eq!(call::<Option<bool>>(&other, "lock_scoped", (&lock, LONG)), Some(false));
                assert_eq!(call::<Option<bool>>(&victim, "lock_scoped", (&lock, LONG)), Some(false));
                assert!(!lock.try_lock().unwrap().expect("it is free").abandoned());
            } else {
                kill_in(&victim, &holder);
                let guard = rlock.lock_timeout(Duration::from_millis(LONG)).unwrap();
                assert!(guard.expect("it is free").abandoned());
                assert!(call::<bool>(&victim, "rlock_acquire", (&rlock, 1, LONG)));
            }
        }
    });
}

#[test]
fn g_07_a_value_whose_writer_was_killed_says_so() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(1));
        let value = Value::new(1_i64).unwrap();
        let (taken, release) = (Event::new().unwrap(), Event::new().unwrap());
        let holder = start::<bool>(&victim, "value_hold", (&value, 2, &taken, &release));
        reached(&taken);
        kill_in(&victim, &holder);
        let again = start::<bool>(&other, "value_hold", (&value, 3, &taken, &release));
        release.set();
        assert!(again.get_timeout(Duration::from_millis(LONG)).unwrap(), "abandoned");
        assert_eq!(value.get().unwrap(), 3);
    });
}

#[test]
fn g_07_a_lock_left_acquired_is_free_when_its_worker_is_killed() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(1));
        let lock = Lock::new().unwrap();
        assert!(call::<bool>(&victim, "lock_acquire", (&lock, LONG)));
        assert!(lock.locked());
        kill(victim.worker_pids()[0]);
        assert_eq!(call::<Option<bool>>(&other, "lock_scoped", (&lock, LONG)), Some(true));
    });
}

#[test]
fn g_09_a_killed_waiter_of_an_event_holds_nobody_up() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(2));
        let (lock, taken, event) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
        // It waits for the event last.
        let holder = start::<bool>(&victim, "lock_hold", (&lock, &taken, &event));
        let waiting = start::<bool>(&other, "event_wait", (&event, LONG));
        reached(&taken);
        asleep(&victim);
        kill_in(&victim, &holder);
        call::<()>(&other, "event_set", (&event,));
        assert!(waiting.get().unwrap());
        event.clear();
        event.set();
        assert!(call::<bool>(&victim, "event_wait", (&event, 0)));
    });
}

#[test]
fn permits_that_a_killed_worker_has_borrowed_come_back_and_those_it_has_taken_do_not() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(1));
        let bounded = BoundedSemaphore::new(3).unwrap();
        // Those of a bounded one all come back: it knows who has them.
        for (semaphore, left) in [(&Semaphore::new(3).unwrap(), 2), (&*bounded, 3)] {
            let (taken, release) = (Event::new().unwrap(), Event::new().unwrap());
            assert!(call::<bool>(&victim, "semaphore_acquire", (semaphore, LONG)));
            let holder = start::<()>(&victim, "semaphore_hold", (semaphore, &taken, &release));
            reached(&taken);
            assert_eq!(semaphore.value(), 1);
            kill_in(&victim, &holder);
            // All that comes back does so at once.
            eventually("the borrowed one is back", || (semaphore.value() > 1).then_some(()));
            assert_eq!(semaphore.value(), left);
            for _ in 0..left {
                assert!(call::<bool>(&other, "semaphore_acquire", (semaphore, 0)));
            }
            assert!(!call::<bool>(&other, "semaphore_acquire", (semaphore, 0)));
        }
        bounded.release_many(3).unwrap();
        assert_eq!(bounded.release(), Err(ReleaseError::TooMany));
    });
}

#[test]
fn a_worker_that_is_killed_at_a_barrier_breaks_it_for_the_others() {
    isolated(|| {
        let (victim, other) = (pool(1), pool(2));
        let barrier = Barrier::new(3).unwrap();
        let dying = start::<u32>(&victim, "barrier_wait", (&barrier, LONG));
        eventually("one waits", || (barrier.n_waiting() == 1).then_some(()));
        let waiting = start::<u32>(&other, "barrier_wait", (&barrier, None::<u64>));
        eventually("two wait", || (barrier.n_waiting() == 2).then_some(()));
        kill_in(&victim, &dying);
        match waiting.get_timeout(Duration::from_millis(LONG)) {
            Err(Error::Task(error)) => assert_eq!(error.message, "the barrier is broken"),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            error(&victim, "barrier_wait", (&barrier, LONG)),
            "the barrier is broken"
        );
        assert!(barrier.is_broken());
        barrier.reset().unwrap();
        let waiting = [&victim, &other].map(|pool| start::<u32>(pool, "barrier_wait", (&barrier, LONG)));
        barrier.wait_timeout(Duration::from_millis(LONG)).unwrap();
        for waiting in waiting {
            waiting.get().unwrap();
        }
    });
}

#[test]
fn a_guest_that_panics_with_a_lock_hands_it_on() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let lock = Lock::new().unwrap();
        let failed = failure(&one, "lock_panic", (&lock,));
        let pid = failed.pid;
        assert_eq!(failed.kind, ErrorKind::Panic);
        assert!(failed.message.contains("with a lock"), "{failed}");
        assert_eq!(call::<Option<bool>>(&other, "lock_scoped", (&lock, LONG)), Some(true));
        assert_eq!(failure(&one, "lock_panic", (&lock,)).kind, ErrorKind::Panic);
        assert_eq!(call::<Option<bool>>(&one, "lock_scoped", (&lock, LONG)), Some(true));
        assert_eq!(one.worker_pids(), [pid], "the process goes on");

        let barrier = Barrier::new(2).unwrap();
        let waiting = start::<u32>(&other, "barrier_wait", (&barrier, LONG));
        eventually("one waits", || (barrier.n_waiting() == 1).then_some(()));
        assert_eq!(failure(&one, "barrier_panic", (&barrier,)).kind, ErrorKind::Panic);
        match waiting.get_timeout(Duration::from_millis(LONG)) {
            Err(Error::Task(error)) => assert_eq!(error.message, "the barrier is broken"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_lock_that_an_earlier_task_has_left_acquired_is_handed_on_when_its_instance_ends() {
    isolated(|| {
        let (one, other) = (pool(1), pool(1));
        let (left, panicking) = (Lock::new().unwrap(), Lock::new().unwrap());
        assert!(call::<bool>(&one, "lock_acquire", (&left, LONG)));
        assert_eq!(failure(&one, "lock_panic", (&panicking,)).kind, ErrorKind::Panic);
        assert_eq!(call::<Option<bool>>(&other, "lock_scoped", (&left, 2000)), Some(true));
    });
}

/// What travels for a handle, with a token of one's own.
fn forged(kind: u8) -> impl serde::Serialize {
    #[derive(serde::Serialize)]
    #[serde(rename = "@@TAG@@")]
    enum Tag {
        #[serde(rename = "@@TAGGED@@")]
        Tagged(u64, (u8, serde_bytes::ByteArray<16>)),
    }
    Tag::Tagged(0x7761_736d, (kind, serde_bytes::ByteArray::new([7; 16])))
}

#[test]
fn an_argument_that_is_no_handle_of_this_kind_is_refused() {
    isolated(|| {
        let pool = pool(1);
        let refused = |problem: &str, failure: wasmp::TaskError| {
            assert_eq!(failure.kind, ErrorKind::Arguments, "{failure}");
            assert_eq!(failure.message, format!("argument 1 (lock: Lock): {problem}"));
        };
        refused(
            "the lock does not exist any more",
            failure(&pool, "lock_locked", (forged(1),)),
        );
        refused("expected lock, got queue", failure(&pool, "lock_locked", (forged(7),)));
        refused(
            "shared objects of kind 99 are unknown",
            failure(&pool, "lock_locked", (forged(99),)),
        );
        refused(
            "expected lock, got event",
            failure(&pool, "lock_locked", (Event::new().unwrap(),)),
        );
        refused(
            "expected lock, got rlock",
            failure(&pool, "lock_locked", (RLock::new().unwrap(),)),
        );
        refused(
            "expected the handle of a shared object",
            failure(&pool, "lock_locked", (5,)),
        );
        assert!(
            !call::<bool>(&pool, "lock_locked", (Lock::new().unwrap(),)),
            "the worker goes on"
        );
        // The host is as strict.
        match pool.apply::<_, Lock>("event_new", ()) {
            Err(Error::Decode(error)) => assert_eq!(error, "expected lock, got event"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_pool_has_so_many_objects_and_so_many_bytes_and_no_more() {
    isolated(|| {
        let pool = pool(2);
        for _ in 0..2 {
            let (count, words): (usize, String) = call(&pool, "locks_until_refused", ());
            assert_eq!(
                words,
                "the pool may have no more objects, or this worker no more handles"
            );
            assert_eq!(count, 1024, "those of the first time are gone");
        }
        let large: SharedMemory = call(&pool, "memory_create", (40_u64 << 30,));
        let refused = "the pool may share no more bytes";
        assert_eq!(error(&pool, "memory_create", (40_u64 << 30,)), refused);
        call::<()>(&pool, "memory_unlink", (&large,));
        assert_eq!(
            error(&pool, "memory_create", (40_u64 << 30,)),
            refused,
            "somebody has it still"
        );
        drop(large);
        eventually("there is room again", || {
            pool.apply::<_, SharedMemory>("memory_create", (40_u64 << 30,)).ok()
        });
    });
}

#[test]
fn what_a_pool_shares_by_name_is_found_by_name() {
    isolated(|| {
        let (lock, memory) = (Lock::new().unwrap(), SharedMemory::create(1).unwrap());
        let pool = builder(2).share("gate", &lock).share("bytes", &memory).build().unwrap();
        let found: Lock = call(&pool, "lock_named", ("gate",));
        found.acquire().unwrap();
        assert!(lock.locked() && call::<bool>(&pool, "lock_locked", (&lock,)));
        let wrong = "the name belongs to an object of another kind";
        assert_eq!(error(&pool, "lock_named", ("bytes",)), wrong);
        assert_eq!(error(&pool, "memory_open_named", ("gate",)), wrong);
        assert_eq!(error(&pool, "lock_named", ("door",)), "there is no such object");
        let invalid = "a number or a name is outside of what is possible";
        assert_eq!(error(&pool, "lock_named", ("",)), invalid);
        assert!(matches!(
            builder(1).share("gate", &lock).share("gate", &memory).build(),
            Err(Error::Invalid(_))
        ));
        assert_eq!(
            error(&crate::common::pool(1), "lock_named", ("gate",)),
            "there is no such object"
        );
    });
}
