//! What a pool is told about its workers and instances: how they begin, when they are replaced, how many there are, and
//! what is tried again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use wasmp::{Chunksize, Error, ErrorKind, Event, Isolation, Pool, PoolBuilder, Retry};
use wasmp_tests::{eventually, isolated};

use crate::common::{Gate, builder, close, kill_the_begun, listen, task_error, worker, workers};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn an_initializer_prepares_each_worker_and_each_new_instance() {
    isolated(|| {
        let pool = builder(2).initializer("prepare", ("fine", 7)).build().unwrap();
        let prepared = || pool.starmap::<_, i64>("prepared", [(); 50].map(|()| [0; 0])).unwrap();
        assert_eq!(prepared(), [7; 50]);
        // A trap costs the instance, a kill the process.
        assert_eq!(
            task_error(pool.apply::<_, i64>("misbehave", ("unreachable",))).kind,
            ErrorKind::Trap
        );
        assert_eq!(prepared(), [7; 50]);
        for worker in workers(&pool) {
            worker.kill();
        }
        assert_eq!(prepared(), [7; 50]);
    });
}

#[test]
fn an_initializer_prepares_fresh_instances() {
    isolated(|| {
        for isolation in [Isolation::Task, Isolation::Every(3)] {
            let pool = builder(1)
                .isolation(isolation)
                .initializer("prepare", ("fine", 7))
                .build()
                .unwrap();
            assert_eq!(
                pool.starmap::<_, i64>("prepared", [(); 10].map(|()| [0; 0])).unwrap(),
                [7; 10]
            );
        }
    });
}

/// The reason why a pool has given up.
#[track_caller]
fn broken(builder: PoolBuilder) -> (String, Duration) {
    let begun = Instant::now();
    let pool = builder.build().unwrap();
    let result = pool
        .apply_async::<_, i64>("square", (3,))
        .and_then(|result| result.get_timeout(PATIENCE));
    match result {
        Err(Error::Broken(why)) => (why, begun.elapsed()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn g_05_an_initializer_that_fails_is_one_clear_error_of_the_pool() {
    isolated(|| {
        for (how, words) in [
            ("error", "the initializer failed: told to fail"),
            ("panic", "the initializer failed: told to panic"),
            ("exit 3", "the initializer failed: "),
            ("unreachable", "the initializer failed: "),
            ("talk", "the initializer failed: words words "),
        ] {
            let (builder, lines) = listen(builder(2).initializer("prepare", (how, 0)));
            let (why, _) = broken(builder);
            assert!(why.starts_with(words), "{why}");
            assert!(lines.rest().len() < 50, "it was not tried for ever");
        }
    });
}

#[test]
fn an_initializer_that_never_ends_is_ended_by_the_deadline() {
    isolated(|| {
        let limit = Duration::from_millis(200);
        let (why, took) = broken(builder(1).timeout(limit).initializer("prepare", ("sleep", 0)));
        assert_eq!(why, "the initializer failed: it took longer than 200ms");
        assert!(took >= limit * 3, "it had three attempts");
    });
}

#[test]
fn an_initializer_that_does_not_exist_or_cannot_be_told_is_refused_at_once() {
    isolated(|| {
        let refused = |builder: PoolBuilder| builder.build().unwrap_err();
        assert!(matches!(
            refused(builder(1).initializer("prepar", ())),
            Error::NoSuchTask { .. }
        ));
        let wat = r#"(module (func (export "one") (result i32) (i32.const 1)))"#;
        let plain = Pool::builder(wat.as_bytes().to_vec()).initializer("one", ());
        assert!(matches!(refused(plain), Error::Invalid(_)));
        let touchy = builder(1).initializer("prepare", (crate::common::Touchy(-1),));
        assert!(matches!(refused(touchy), Error::Encode(_)));
    });
}

#[test]
fn handles_in_the_arguments_of_an_initializer_live_as_long_as_the_pool() {
    isolated(|| {
        let event = Event::new().unwrap();
        let pool = Pool::builder(wasmp_tests::objects())
            .processes(1)
            .initializer("event_set", (&event,))
            .build()
            .unwrap();
        assert!(event.wait_timeout(PATIENCE).unwrap());
        event.clear();
        drop(event);
        worker(&pool).kill();
        // The replacement has found it, too.
        let _: Event = pool.apply("event_new", ()).unwrap();
    });
}

#[test]
fn pw_01_a_worker_is_replaced_after_so_many_tasks() {
    isolated(|| {
        let pool = builder(2).max_tasks_per_child(10).build().unwrap();
        let before: HashSet<u32> = workers(&pool).iter().map(|worker| worker.pid()).collect();
        for chunksize in [
            Chunksize::Exact(1),
            Chunksize::Exact(4),
            Chunksize::Exact(50),
            Chunksize::Adaptive,
        ] {
            let call = pool.task("count").chunksize(chunksize);
            let counts: Vec<i64> = call.starmap([(); 100].map(|()| [0; 0])).unwrap();
            assert!(counts.iter().all(|count| *count <= 10), "{chunksize:?}: {counts:?}");
        }
        let after: HashSet<u32> = workers(&pool).iter().map(|worker| worker.pid()).collect();
        assert!(before.is_disjoint(&after));
        assert_eq!(after.len(), 2);
    });
}

#[test]
fn px_18_a_worker_does_exactly_as_many_tasks_as_it_may() {
    isolated(|| {
        let pool = builder(1).max_tasks_per_child(3).build().unwrap();
        let counts: Vec<i64> = (0..9).map(|_| pool.apply("count", ()).unwrap()).collect();
        assert_eq!(counts, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
    });
}

#[test]
fn g_22_all_tasks_finish_when_workers_are_replaced() {
    isolated(|| {
        let pool = builder(2).max_tasks_per_child(2).build().unwrap();
        let results: Vec<_> = (0..10)
            .map(|x| pool.apply_async::<_, i64>("square", (x,)).unwrap())
            .collect();
        pool.close();
        for (x, result) in results.iter().enumerate() {
            assert_eq!(result.get_timeout(PATIENCE).unwrap(), (x * x) as i64);
        }
        assert!(pool.join_timeout(PATIENCE).unwrap());
    });
}

#[test]
fn pw_03_a_worker_or_an_instance_without_tasks_is_refused() {
    isolated(|| {
        for builder in [
            builder(1).max_tasks_per_child(0),
            builder(1).isolation(Isolation::Every(0)),
        ] {
            assert!(matches!(builder.build(), Err(Error::Invalid(why)) if why.contains("1 or more")));
        }
    });
}

#[test]
fn an_instance_is_kept_for_so_many_tasks() {
    isolated(|| {
        let pool = builder(1).isolation(Isolation::Every(3)).build().unwrap();
        let pid = worker(&pool).pid();
        for chunksize in [Chunksize::Exact(1), Chunksize::Exact(7), Chunksize::Adaptive] {
            let call = pool.task("count").chunksize(chunksize);
            let counts: Vec<i64> = call.starmap([(); 9].map(|()| [0; 0])).unwrap();
            assert_eq!(counts, [1, 2, 3, 1, 2, 3, 1, 2, 3], "{chunksize:?}");
        }
        assert_eq!(worker(&pool).pid(), pid);
    });
}

#[test]
fn a_pool_grows_and_shrinks_and_loses_nothing() {
    isolated(|| {
        let (builder, gate) = Gate::before(builder(4));
        let (builder, lines) = listen(builder);
        let pool = builder.build().unwrap();
        let waiting: Vec<_> = (0..20)
            .map(|value| pool.apply_async::<_, i64>("wait_for", ("/gate/open", value)).unwrap())
            .collect();
        for _ in 0..4 {
            lines.wait_for_begun();
        }
        let before = workers(&pool);
        pool.resize(1).unwrap();
        assert_eq!(pool.processes(), 1);
        assert!(
            before.iter().all(|worker| !worker.is_gone()),
            "what they run they finish"
        );
        gate.open();
        for (value, result) in waiting.iter().enumerate() {
            assert_eq!(result.get_timeout(PATIENCE).unwrap(), value as i64);
        }
        eventually("the others stop", || (pool.worker_pids().len() == 1).then_some(()));
        pool.resize(3).unwrap();
        assert_eq!(workers(&pool).len(), 3);
        assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap().len(), 100);
        for wrong in [0, 1001] {
            assert!(matches!(pool.resize(wrong), Err(Error::Invalid(_))));
        }
        close(&pool);
        assert!(matches!(pool.resize(2), Err(Error::NotRunning)));
    });
}

#[test]
fn px_16_px_17_workers_come_with_the_work_and_leave_when_there_is_none() {
    isolated(|| {
        let idle = Duration::from_millis(100);
        let (builder, gate) = Gate::before(builder(3).idle_timeout(idle).min_processes(1));
        let (builder, lines) = listen(builder);
        let pool = builder.build().unwrap();
        let present = |count: usize| {
            eventually("as many workers as needed", || {
                (pool.worker_pids().len() == count).then_some(())
            });
        };
        present(1);
        for x in 0..20 {
            assert_eq!(pool.apply::<_, i64>("square", (x,)).unwrap(), x * x);
        }
        assert_eq!(
            pool.worker_pids().len(),
            1,
            "an idle one is used before another is started"
        );
        let waiting: Vec<_> = (0..10)
            .map(|value| pool.apply_async::<_, i64>("wait_for", ("/gate/open", value)).unwrap())
            .collect();
        for _ in 0..3 {
            lines.wait_for_begun();
        }
        present(3);
        gate.open();
        for (value, result) in waiting.iter().enumerate() {
            assert_eq!(result.get_timeout(PATIENCE).unwrap(), value as i64);
        }
        present(1);
        assert!(matches!(
            Pool::builder(wasmp_tests::tasks())
                .processes(2)
                .min_processes(3)
                .build(),
            Err(Error::Invalid(_))
        ));
    });
}

#[test]
fn a_pool_without_work_can_have_no_workers_at_all() {
    isolated(|| {
        let pool = builder(2).idle_timeout(Duration::from_millis(1)).build().unwrap();
        for x in 0..5 {
            eventually("they leave", || pool.worker_pids().is_empty().then_some(()));
            assert_eq!(pool.apply::<_, i64>("square", (x,)).unwrap(), x * x);
        }
        close(&pool);
    });
}

#[test]
fn an_error_is_tried_again_if_asked_for() {
    isolated(|| {
        let pool = builder(1).build().unwrap();
        let call = |times| pool.task("succeed_at").retry(Retry::times(times).on_error());
        assert_eq!(call(2).apply::<_, i64>((3,)).unwrap(), 3);
        // Calls 4, 5 and 6 of this instance.
        let error = task_error(call(2).apply::<_, i64>((100,)));
        assert_eq!(
            (error.kind, error.attempt, &*error.message),
            (ErrorKind::Error, 3, "call 6")
        );
        let results: Vec<i64> = call(50).chunksize(Chunksize::Exact(4)).map([7, 8, 9, 20]).unwrap();
        assert_eq!(results.len(), 4);
    });
}

#[test]
fn a_timeout_is_tried_again_if_asked_for() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let limit = Duration::from_millis(50);
        let call = pool.task("spin").timeout(limit).retry(Retry::times(2).on_timeout());
        let error = task_error(call.apply::<_, ()>(()));
        assert_eq!((error.kind, error.attempt), (ErrorKind::Timeout, 3));
        for _ in 0..3 {
            lines.wait_for_begun();
        }
        let call = pool.task("spin").timeout(limit).retry(Retry::times(2));
        assert_eq!(task_error(call.apply::<_, ()>(())).attempt, 1);
    });
}

#[test]
fn a_pause_that_never_ends_is_no_trouble() {
    isolated(|| {
        let pool = builder(1).build().unwrap();
        let retry = Retry::times(1).on_error().backoff(Duration::MAX);
        let waiting = pool
            .task("misbehave")
            .retry(retry)
            .apply_async::<_, i64>(("error",))
            .unwrap();
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        assert!(waiting.cancel());
    });
}

#[test]
fn the_pause_before_another_attempt_is_the_items_own() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let pause = Duration::from_millis(300);
        let begun = Instant::now();
        let retry = Retry::times(1).backoff(pause);
        let lost = pool
            .task("sleep")
            .retry(retry)
            .apply_async::<_, ()>((600_000,))
            .unwrap();
        kill_the_begun(&pool, &lines);
        assert_eq!(
            pool.apply::<_, i64>("square", (3,)).unwrap(),
            9,
            "others go on meanwhile"
        );
        lines.wait_for_begun();
        assert!(begun.elapsed() >= pause);
        assert!(lost.cancel());

        let lost = pool.task("sleep").retry(Retry::times(1).backoff(PATIENCE * 100));
        let lost = lost.apply_async::<_, ()>((600_000,)).unwrap();
        kill_the_begun(&pool, &lines);
        eventually("it is replaced", || (pool.worker_pids().len() == 1).then_some(()));
        assert!(lost.cancel(), "also what waits to be tried again is cancelled");
        close(&pool);
    });
}
