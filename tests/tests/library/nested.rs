//! Pools that tasks make. What they do is checked by the tasks themselves (`guests/tasks/src/pools.rs`): a check that fails is
//! the error of the task.

use std::time::Duration;

use wasmp::{AsyncResult, ErrorKind, Isolation, Pool};
use wasmp_tests::{descendants, eventually, isolated};

use crate::common::{builder, check, listen, only_outer_workers_are_left, pool, task_error, workers};

#[test]
fn g_17_a_task_has_a_pool_of_its_own() {
    isolated(|| {
        let pool = pool(2);
        let squares: Vec<Vec<i64>> = pool.starmap("nested_squares", [(100, 2), (1000, 3)]).unwrap();
        assert_eq!(squares[1], (0..1000).map(|x| x * x).collect::<Vec<i64>>());
        assert_eq!(squares[0], squares[1][..100]);
    });
}

#[test]
fn g_17_pools_inside_of_pools_inside_of_pools() {
    isolated(|| assert_eq!(pool(1).apply::<_, i64>("nested_depth", (4,)).unwrap(), 16));
}

#[test]
fn pl_01_pl_02_pl_03_pl_05_tasks_call_tasks() {
    isolated(|| check("nested_calls"));
}

#[test]
fn arguments_and_results_of_tasks_of_tasks_are_of_any_size() {
    isolated(|| {
        let pool = pool(1);
        for len in [100_000, 10_000_000] {
            let done: AsyncResult<()> = pool.apply_async("nested_large", (len,)).unwrap();
            done.get_timeout(Duration::from_secs(20)).unwrap();
        }
    });
}

#[test]
fn pl_14_g_15_tasks_have_streams() {
    isolated(|| check("nested_streams"));
}

#[test]
fn pl_20_px_03_px_04_px_13_tasks_hear_of_the_errors_of_their_tasks() {
    isolated(|| check("nested_errors"));
}

#[test]
fn pe_01_tasks_have_callbacks_inside_of_their_own_calls() {
    isolated(|| check("nested_callbacks"));
}

#[test]
fn g_14_g_20_px_25_tasks_cancel_and_terminate() {
    isolated(|| check("nested_ends"));
}

#[test]
fn pw_01_g_05_tasks_prepare_and_replace_workers() {
    isolated(|| check("nested_workers"));
}

#[test]
fn what_tasks_may_start_is_limited_and_the_limit_is_an_error() {
    isolated(|| check("nested_limit"));
}

/// A pool whose one task has a busy pool of two workers.
fn busy(pool: impl FnOnce(wasmp::PoolBuilder) -> wasmp::PoolBuilder) -> (Pool, AsyncResult<()>) {
    let (builder, lines) = listen(pool(builder(1)));
    let pool = builder.build().unwrap();
    let result = pool.apply_async("nested_spin", ()).unwrap();
    assert_ne!(
        lines.wait_for_begun(),
        lines.wait_for_begun(),
        "workers are numbered throughout"
    );
    assert_eq!(descendants(std::process::id(), "wasmp-worker").len(), 3);
    (pool, result)
}

#[test]
fn the_pool_of_a_task_ends_with_the_worker() {
    isolated(|| {
        let (pool, result) = busy(|builder| builder);
        workers(&pool)[0].kill();
        assert_eq!(task_error(result.get()).kind, ErrorKind::WorkerLost);
        only_outer_workers_are_left(&pool);
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        // The limit has room for others again.
        pool.apply::<_, ()>("nested_limit", ()).unwrap();
    });
}

#[test]
fn the_pool_of_a_task_ends_with_its_instance() {
    isolated(|| {
        let (pool, result) = busy(|builder| builder.isolation(Isolation::Task).timeout(Duration::from_secs(5)));
        assert!(result.cancel());
        only_outer_workers_are_left(&pool);
        assert_eq!(pool.apply::<_, Vec<i64>>("nested_squares", (3, 1)).unwrap(), [0, 1, 4]);
        only_outer_workers_are_left(&pool);
    });
}

#[test]
fn the_end_of_the_outer_pool_is_that_of_the_inner_ones() {
    isolated(|| {
        let (pool, result) = busy(|builder| builder);
        pool.terminate();
        assert_eq!(task_error(result.get()).kind, ErrorKind::Cancelled);
        assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
        assert!(descendants(std::process::id(), "wasmp-worker").is_empty());
        let (pool, _result) = busy(|builder| builder);
        drop(pool);
        eventually("all are gone", || {
            descendants(std::process::id(), "wasmp-worker").is_empty().then_some(())
        });
    });
}

#[test]
fn join_waits_for_pools_at_any_depth_and_for_nothing_else() {
    isolated(|| {
        for _ in 0..5 {
            let (builder, lines) = listen(builder(1));
            let pool = builder.build().unwrap();
            let result: AsyncResult<()> = pool.apply_async("nested_spin_below", (3,)).unwrap();
            lines.wait_for_begun();
            lines.wait_for_begun();
            pool.terminate();
            assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
            assert_eq!(task_error(result.get()).kind, ErrorKind::Cancelled);
            assert!(descendants(std::process::id(), "wasmp-worker").is_empty());
        }
    });
}

#[test]
fn g_01_px_11_a_worker_of_a_tasks_pool_is_replaced_like_any_other() {
    isolated(|| {
        let (pool, result) = busy(|builder| builder);
        let outer = pool.worker_pids();
        let inner = descendants(std::process::id(), "wasmp-worker");
        let inner = inner.iter().find(|worker| !outer.contains(&worker.pid())).unwrap();
        inner.kill();
        let error = task_error(result.get_timeout(Duration::from_secs(1)).or_else(|_| {
            for worker in descendants(std::process::id(), "wasmp-worker") {
                if !outer.contains(&worker.pid()) {
                    worker.kill();
                }
            }
            result.get_timeout(Duration::from_secs(20))
        }));
        assert_eq!(error.kind, ErrorKind::Error, "{error}");
        assert!(error.message.contains("killed by signal 9"), "{error}");
    });
}
