//! Pools whose workers are threads of the process that has them: the same tasks, the same outcomes. Only what needs a
//! process is refused, and what needs a kill ends at the next loop or call.

use std::time::{Duration, Instant};

use wasmp::{AsyncResult, Error, ErrorKind, Isolation, Lock, Pool, PoolBuilder, WorkerStats};
use wasmp_tests::{descendants, eventually, isolated, objects, processes};

use crate::common::{builder, close, listen, task_error};

fn inline(processes: usize) -> PoolBuilder {
    builder(processes).inline(true)
}

/// The names of the workers among the threads of this process.
fn threads() -> Vec<String> {
    assert!(descendants(std::process::id(), "wasmp-worker").is_empty());
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        // One may end while it is looked at.
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .filter(|name| name.starts_with("wasmp-worker"))
        .collect()
}

/// Drops a pool, and waits until all of its workers are gone, which were never processes.
fn goes_with_its_threads(pool: Pool) {
    drop(pool);
    eventually("no worker is left", || threads().is_empty().then_some(()));
}

#[test]
fn its_workers_are_threads_of_this_process() {
    isolated(|| {
        let pool = inline(3).build().unwrap();
        assert_eq!(pool.map::<_, i64>("square", 0..1000).unwrap()[999], 998_001);
        eventually("all of its workers are there", || (threads().len() == 3).then_some(()));
        eventually("and it knows of them", || {
            (pool.worker_pids() == [std::process::id(); 3]).then_some(())
        });
        close(&pool);
        goes_with_its_threads(pool);
    });
}

#[test]
fn what_fails_fails_as_ever() {
    isolated(|| {
        let pool = inline(1).on_output(|_| ()).build().unwrap();
        for (how, kind) in [
            ("error", ErrorKind::Error),
            ("panic", ErrorKind::Panic),
            ("unreachable", ErrorKind::Trap),
            ("stack overflow", ErrorKind::Trap),
            ("exit 3", ErrorKind::Exit),
        ] {
            let error = task_error(pool.apply::<_, i64>("misbehave", (how,)));
            assert_eq!((error.kind, error.pid), (kind, std::process::id()), "{how}");
            assert_eq!(error.backtrace.is_some(), !matches!(how, "error" | "exit 3"), "{how}");
            assert_eq!(pool.apply::<_, i64>("misbehave", ("fine",)).unwrap(), 1);
        }
        goes_with_its_threads(pool);
    });
}

#[test]
fn settings_hold() {
    isolated(|| {
        let pool = inline(1)
            .isolation(Isolation::Task)
            .max_tasks_per_child(3)
            .initializer("prepare", ("fine", 7))
            .max_memory(64 << 20)
            .insight(true)
            .build()
            .unwrap();
        let prepared: Vec<i64> = (0..10).map(|_| pool.apply("prepared", ()).unwrap()).collect();
        assert_eq!(prepared, [7; 10]);
        let error = task_error(pool.apply::<_, i64>("allocate", (100,)));
        assert_eq!(error.kind, ErrorKind::MemoryLimit);
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed), (10, 1));
        assert!(stats.workers[0].restarts >= 3, "{stats:?}");
        goes_with_its_threads(pool);
    });
}

#[test]
fn a_deadline_stops_a_task_that_computes_and_one_that_sleeps() {
    isolated(|| {
        let pool = inline(1).timeout(Duration::from_millis(50)).build().unwrap();
        for (task, args) in [("spin", vec![]), ("sleep", vec![60_000])] {
            let began = Instant::now();
            let error = task_error(pool.task(task).apply::<_, ()>(args));
            assert_eq!(error.kind, ErrorKind::Timeout, "{task}");
            assert!(began.elapsed() < Duration::from_secs(10), "{task}");
            assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        }
        goes_with_its_threads(pool);
    });
}

#[test]
fn a_soft_deadline_says_where_the_task_was() {
    isolated(|| {
        let pool = inline(1).soft_timeout(Duration::from_millis(50)).build().unwrap();
        let error = task_error(pool.apply::<_, ()>("spin", ()));
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert!(error.backtrace.unwrap().contains("spin"));
        goes_with_its_threads(pool);
    });
}

#[test]
fn a_task_that_waits_for_a_lock_can_be_cancelled() {
    isolated(|| {
        let pool = Pool::builder(objects()).processes(2).inline(true).insight(true);
        let pool = pool.build().unwrap();
        let lock = Lock::new().unwrap();
        lock.acquire().unwrap();
        let waiting: AsyncResult<bool> = pool.apply_async("lock_acquire", (&lock, None::<u64>)).unwrap();
        eventually("it waits", || {
            let waits = |worker: &WorkerStats| worker.times.is_some_and(|times| !times.waiting.is_zero());
            pool.stats().workers.iter().any(waits).then_some(())
        });
        waiting.cancel();
        assert_eq!(task_error(waiting.get()).kind, ErrorKind::Cancelled);
        lock.release().unwrap();
        assert!(pool.apply::<_, bool>("lock_acquire", (&lock, Some(0_u64))).unwrap());
        goes_with_its_threads(pool);
    });
}

#[test]
fn terminate_ends_everything_whatever_it_does() {
    isolated(|| {
        let (builder, lines) = listen(inline(2));
        let pool = builder.build().unwrap();
        let results: Vec<AsyncResult<()>> = (0..4).map(|_| pool.apply_async("spin", ()).unwrap()).collect();
        lines.wait_for_begun();
        lines.wait_for_begun();
        pool.terminate();
        assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
        for result in results {
            assert_eq!(task_error(result.get()).kind, ErrorKind::Cancelled);
        }
        goes_with_its_threads(pool);
    });
}

#[test]
fn a_pool_that_is_dropped_takes_its_threads_along() {
    isolated(|| {
        let (builder, lines) = listen(inline(1));
        let pool = builder.build().unwrap();
        let _running: AsyncResult<()> = pool.apply_async("spin", ()).unwrap();
        lines.wait_for_begun();
        goes_with_its_threads(pool);
    });
}

#[test]
fn its_tasks_have_inline_pools_and_no_processes() {
    isolated(|| {
        let pool = inline(1).on_output(|_| ()).build().unwrap();
        for task in ["nested_calls", "nested_streams"] {
            pool.apply::<_, ()>(task, ())
                .unwrap_or_else(|error| panic!("{task}: {error}"));
        }
        close(&pool);
        let pool = Pool::builder(processes()).processes(1).inline(true).build().unwrap();
        let error = task_error(pool.apply::<_, ()>("start_one", ()));
        assert!(error.message.contains("no more processes"), "{error}");
        goes_with_its_threads(pool);
    });
}

#[test]
fn what_needs_a_process_is_refused() {
    isolated(|| {
        let refused = inline(1).context().map(drop);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    });
}
