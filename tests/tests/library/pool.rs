//! The calls of a pool behave as CPython's, except where a test says otherwise. Ids `pl_…` that are not here are in the files
//! about what they are about; `nested.rs` and `nested_parity.rs` ask the same of the pools that tasks make. There is no PL-21 here:
//! a pool has no threads that a task could run on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use wasmp::{Chunksize, Error, ErrorKind, Isolation, Order, Pool};
use wasmp_tests::{descendants, isolated};

use crate::common::{Touchy, builder, close, listen, pool, task_error, workers};

fn squares(count: i64) -> Vec<i64> {
    (0..count).map(|x| x * x).collect()
}

#[test]
fn pl_01_apply_calls_a_task_with_its_arguments() {
    isolated(|| {
        let pool = pool(2);
        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        assert_eq!(pool.apply::<_, i64>("add", (2, 3)).unwrap(), 5);
        assert_eq!(pool.apply::<_, String>("echo", ("grüße\0",)).unwrap(), "grüße\0");
        pool.apply::<_, ()>("print", ("", "")).unwrap();
    });
}

#[test]
fn pl_02_map_keeps_the_order_of_its_inputs() {
    isolated(|| {
        let pool = pool(4);
        assert_eq!(pool.map::<_, i64>("square", 0..1000).unwrap(), squares(1000));
        for chunksize in [
            Chunksize::Exact(1),
            Chunksize::Exact(20),
            Chunksize::Exact(5000),
            Chunksize::Python,
        ] {
            let results: Vec<i64> = pool.task("square").chunksize(chunksize).map(0..1000).unwrap();
            assert_eq!(results, squares(1000), "{chunksize:?}");
        }
    });
}

#[test]
fn pl_03_starmap_spreads_each_input_over_the_parameters() {
    isolated(|| {
        let pool = pool(2);
        let sums: Vec<i64> = pool.starmap("add", (0..100).map(|x| (x, 2 * x))).unwrap();
        assert_eq!(sums, (0..100).map(|x| 3 * x).collect::<Vec<i64>>());
        let error = task_error(pool.map::<_, i64>("add", (0..3).map(|x| (x, x))));
        assert_eq!(
            error.kind,
            ErrorKind::Arguments,
            "without the star a tuple is one argument"
        );
    });
}

#[test]
fn map_runs_everything_and_reports_the_first_failure() {
    isolated(|| {
        let pool = pool(2);
        let inputs = ["fine", "fine", "error", "fine", "panic", "fine"];
        let error = task_error(
            pool.task("misbehave")
                .chunksize(Chunksize::Exact(2))
                .map::<_, i64>(inputs),
        );
        assert_eq!((error.kind, error.index), (ErrorKind::Error, 2));
    });
}

#[test]
fn pl_07_px_01_unserializable_arguments_are_the_callers_error() {
    isolated(|| {
        let pool = pool(2);
        let is_encode = |error: Error| matches!(&error, Error::Encode(why) if why.contains("it is negative"));
        assert!(is_encode(pool.apply::<_, i64>("square", (Touchy(-1),)).unwrap_err()));
        assert!(is_encode(
            pool.map::<_, i64>("square", (0..5000).map(|x| Touchy(4000 - x)))
                .unwrap_err()
        ));
        // What was under way by then has been given up, and the pool is as it was.
        assert_eq!(pool.map::<_, i64>("square", 0..100).unwrap(), squares(100));
        close(&pool);
    });
}

#[test]
fn pl_08_map_of_nothing_with_a_chunksize_returns_promptly() {
    isolated(|| {
        let pool = pool(2);
        for chunksize in [Chunksize::Exact(16), Chunksize::Python, Chunksize::Adaptive] {
            let results: Vec<i64> = pool.task("square").chunksize(chunksize).map([0_i64; 0]).unwrap();
            assert!(results.is_empty());
        }
    });
}

#[test]
fn pl_10_apply_async_returns_before_its_result() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let started = Instant::now();
        let result = pool.apply_async::<_, ()>("sleep", (200,)).unwrap();
        lines.wait_for_begun();
        assert_eq!((result.ready(), result.successful()), (false, None));
        result.get().unwrap();
        assert!(started.elapsed() >= Duration::from_millis(200));
        assert_eq!((result.ready(), result.successful()), (true, Some(true)));
        // A result can be asked for again.
        result.get().unwrap();
        let failed = pool.apply_async::<_, i64>("misbehave", ("error",)).unwrap();
        failed.wait();
        assert_eq!((failed.ready(), failed.successful()), (true, Some(false)));
    });
}

#[test]
fn pl_11_get_with_a_timeout_stops_waiting_and_the_task_goes_on() {
    isolated(|| {
        let pool = builder(1).on_output(|_| ()).build().unwrap();
        let result = pool.apply_async::<_, ()>("sleep", (400,)).unwrap();
        let limit = Duration::from_millis(50);
        let started = Instant::now();
        assert!(matches!(result.get_timeout(limit), Err(Error::WaitTimeout(waited)) if waited == limit));
        assert!(started.elapsed() >= limit);
        assert!(!result.wait_timeout(Duration::ZERO));
        assert!(result.wait_timeout(Duration::from_secs(20)));
        result.get_timeout(Duration::ZERO).unwrap();
    });
}

#[test]
fn pl_16_a_pool_has_as_many_workers_as_asked() {
    isolated(|| {
        for wrong in [0, 1001] {
            let refused = builder(wrong).build();
            assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        }
        let pool = pool(3);
        let mut pids: Vec<u32> = workers(&pool).iter().map(|worker| worker.pid()).collect();
        pids.sort_unstable();
        let mut found: Vec<u32> = descendants(std::process::id(), "wasmp-worker")
            .iter()
            .map(|worker| worker.pid())
            .collect();
        found.sort_unstable();
        assert_eq!(pids, found);
        assert_eq!(pids.len(), 3);
    });
}

#[test]
fn a_pool_has_a_worker_for_each_cpu_by_default() {
    isolated(|| {
        let pool = Pool::builder(wasmp_tests::tasks()).build().unwrap();
        assert_eq!(pool.processes(), std::thread::available_parallelism().unwrap().get());
        assert_eq!(workers(&pool).len(), pool.processes());
    });
}

#[test]
fn pl_18_nothing_in_gives_nothing_out_and_the_pool_closes() {
    isolated(|| {
        let pool = pool(2);
        let nothing = [0_i64; 0];
        assert!(pool.map::<_, i64>("square", nothing).unwrap().is_empty());
        assert!(pool.starmap::<_, i64>("add", [(0_i64, 0_i64); 0]).unwrap().is_empty());
        assert_eq!(pool.imap::<_, i64>("square", nothing).unwrap().count(), 0);
        assert_eq!(pool.imap_unordered::<_, i64>("square", nothing).unwrap().count(), 0);
        let (inputs, results) = pool.task("square").stream::<(i64,), i64>(Order::Input).unwrap();
        drop(inputs);
        assert_eq!(results.count(), 0);
        close(&pool);
    });
}

#[test]
fn pl_19_px_21_a_pool_that_was_closed_or_terminated_takes_no_more_work() {
    isolated(|| {
        for end in [Pool::close, Pool::terminate] {
            let pool = pool(2);
            assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
            end(&pool);
            assert!(matches!(pool.apply::<_, i64>("square", (3,)), Err(Error::NotRunning)));
            assert!(matches!(pool.map::<_, i64>("square", 0..3), Err(Error::NotRunning)));
            assert!(matches!(
                pool.imap::<_, i64>("square", 0..3).map(|_| ()),
                Err(Error::NotRunning)
            ));
            pool.join().unwrap();
            assert!(pool.worker_pids().is_empty());
        }
    });
}

#[test]
fn pl_24_closing_and_joining_again_changes_nothing() {
    isolated(|| {
        let pool = pool(2);
        close(&pool);
        close(&pool);
        pool.terminate();
        close(&pool);
        assert!(matches!(pool.apply::<_, i64>("square", (3,)), Err(Error::NotRunning)));
    });
}

#[test]
fn join_before_close_is_an_error() {
    isolated(|| {
        let pool = pool(1);
        assert!(matches!(pool.join(), Err(Error::StillRunning)));
        assert!(matches!(pool.join_timeout(Duration::ZERO), Err(Error::StillRunning)));
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
    });
}

#[test]
fn close_finishes_what_was_submitted() {
    isolated(|| {
        let pool = pool(2);
        let pending: Vec<_> = (0..500)
            .map(|x| pool.apply_async::<_, i64>("square", (x,)).unwrap())
            .collect();
        pool.close();
        pool.join().unwrap();
        // Everything is there by now, without another wait.
        let results: Vec<i64> = pending
            .iter()
            .map(|result| result.get_timeout(Duration::ZERO).unwrap())
            .collect();
        assert_eq!(results, squares(500));
    });
}

#[test]
fn close_finishes_a_stream_that_was_open() {
    isolated(|| {
        let pool = pool(2);
        let results = pool.imap::<_, i64>("square", 0..5000).unwrap();
        pool.close();
        assert_eq!(results.map(Result::unwrap).collect::<Vec<_>>(), squares(5000));
        pool.join().unwrap();
    });
}

#[test]
fn g_14_px_25_terminate_resolves_what_is_pending() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let running = pool.apply_async::<_, ()>("spin", ()).unwrap();
        let waiting = pool.apply_async::<_, i64>("square", (3,)).unwrap();
        lines.wait_for_begun();
        pool.terminate();
        assert_eq!(task_error(running.get()).kind, ErrorKind::Cancelled);
        assert_eq!(task_error(waiting.get()).kind, ErrorKind::Cancelled);
        pool.join().unwrap();
    });
}

#[test]
fn g_14_dropping_a_pool_resolves_what_is_pending() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let running = pool.apply_async::<_, ()>("spin", ()).unwrap();
        let (mut inputs, results) = pool.task("square").stream::<(i64,), i64>(Order::Input).unwrap();
        let waiter = std::thread::spawn(move || task_error(running.get()).kind);
        lines.wait_for_begun();
        inputs.submit(&(1,)).unwrap();
        inputs.submit(&(2,)).unwrap();
        drop(pool);
        assert_eq!(waiter.join().unwrap(), ErrorKind::Cancelled);
        let kinds: Vec<_> = results
            .map(|(index, result)| (index, task_error(result).kind))
            .collect();
        assert_eq!(kinds, [(0, ErrorKind::Cancelled), (1, ErrorKind::Cancelled)]);
        assert!(matches!(inputs.submit(&(3,)), Err(Error::NotRunning)));
    });
}

#[test]
fn g_19_a_task_past_its_deadline_does_not_delay_the_end_of_the_pool() {
    isolated(|| {
        let pool = builder(1)
            .timeout(Duration::from_millis(100))
            .on_output(|_| ())
            .build()
            .unwrap();
        let started = Instant::now();
        let result = pool.apply_async::<_, ()>("sleep", (60_000,)).unwrap();
        assert!(matches!(
            result.get_timeout(Duration::from_millis(10)),
            Err(Error::WaitTimeout(_))
        ));
        close(&pool);
        assert_eq!(task_error(result.get()).kind, ErrorKind::Timeout);
        assert!(started.elapsed() < Duration::from_secs(30));
    });
}

#[test]
fn pl_23_arguments_are_released_when_they_are_submitted() {
    isolated(|| {
        struct Tracked(Arc<()>);
        impl Serialize for Tracked {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_i64(Arc::strong_count(&self.0) as i64)
            }
        }
        let pool = pool(1);
        let token = Arc::new(());
        let result = pool
            .apply_async::<_, i64>("square", (Tracked(Arc::clone(&token)),))
            .unwrap();
        assert_eq!(Arc::strong_count(&token), 1);
        assert_eq!(result.get().unwrap(), 4);
        pool.map::<_, i64>("square", (0..10).map(|_| Tracked(Arc::clone(&token))))
            .unwrap();
        assert_eq!(Arc::strong_count(&token), 1);
    });
}

#[test]
fn pl_26_two_hundred_workers_map_a_thousand_items() {
    isolated(|| {
        let (builder, lines) = listen(builder(200));
        let pool = builder.build().unwrap();
        let results: Vec<i64> = pool.task("square").chunksize(Chunksize::Exact(1)).map(0..1000).unwrap();
        assert_eq!(results, squares(1000));
        assert_eq!(workers(&pool).len(), 200);
        close(&pool);
        drop(pool);
        assert_eq!(lines.rest(), []);
    });
}

#[test]
fn a_task_that_does_not_exist_is_named_with_those_that_do() {
    isolated(|| {
        let pool = pool(1);
        let error = pool.apply::<_, i64>("squar", (3,)).unwrap_err();
        assert!(matches!(&error, Error::NoSuchTask { name, tasks } if name == "squar" && tasks.len() > 10));
        assert!(error.to_string().contains("did you mean `square`?"), "{error}");
        assert!(matches!(
            pool.map::<_, i64>("nothing", 0..3),
            Err(Error::NoSuchTask { .. })
        ));
        assert!(matches!(
            pool.imap::<_, i64>("nothing", 0..3).map(|_| ()),
            Err(Error::NoSuchTask { .. })
        ));
    });
}

#[test]
fn each_worker_keeps_its_own_state() {
    isolated(|| {
        let pool = pool(2);
        let counts: Vec<i64> = pool.map("count", [(); 0]).unwrap();
        assert!(counts.is_empty());
        let mut counts: Vec<i64> = pool.starmap("count", std::iter::repeat_n((), 100)).unwrap();
        counts.sort_unstable();
        // Two counters, each without a gap, that make a hundred together.
        let highest = *counts.last().unwrap();
        let mut expected: Vec<i64> = (1..=highest).chain(1..=100 - highest).collect();
        expected.sort_unstable();
        assert_eq!(counts, expected);
    });
}

#[test]
fn with_isolation_each_task_gets_a_fresh_instance() {
    isolated(|| {
        let pool = builder(2).isolation(Isolation::Task).build().unwrap();
        let counts: Vec<i64> = pool.starmap("count", std::iter::repeat_n((), 300)).unwrap();
        assert_eq!(counts, [1; 300]);
        assert_eq!(pool.map::<_, i64>("square", 0..300).unwrap(), squares(300));
    });
}

#[test]
fn workers_are_numbered_from_one() {
    isolated(|| {
        let pool = pool(3);
        let slots: Vec<u32> = pool.starmap("slot", std::iter::repeat_n((), 300)).unwrap();
        assert!(slots.iter().all(|slot| (1..=3).contains(slot)), "{slots:?}");
    });
}

#[test]
fn many_threads_use_one_pool_at_once() {
    isolated(|| {
        let pool = pool(2);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..20 {
                        let x = thread * 1000 + round;
                        assert_eq!(pool.apply::<_, i64>("square", (x,)).unwrap(), x * x);
                        let results: Vec<i64> = pool.map("square", x..x + 50).unwrap();
                        assert_eq!(results, (x..x + 50).map(|x| x * x).collect::<Vec<i64>>());
                    }
                });
            }
        });
    });
}

#[test]
fn whole_lines_of_output_come_from_every_worker() {
    isolated(|| {
        let (builder, lines) = listen(builder(3));
        let pool = builder.build().unwrap();
        pool.map::<_, ()>("print_lines", std::iter::repeat_n(1000, 6)).unwrap();
        close(&pool);
        drop(pool);
        let mut counts = vec![0; 1000];
        for line in lines.rest() {
            let number = line.text.strip_prefix("line ").and_then(|rest| rest.strip_suffix('\n'));
            let number: usize = number
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("{line:?}"));
            counts[number] += 1;
        }
        assert_eq!(counts, vec![6; 1000]);
    });
}
