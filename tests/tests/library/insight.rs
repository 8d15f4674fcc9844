//! What a pool tells about its work: counts, times, memory, and the trace.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use wasmp::{Error, Event, Pool, PoolBuilder, Retry};
use wasmp_tests::{eventually, isolated, objects};

use crate::common::{builder, close, kill_the_begun, listen, pool, task_error, worker};

#[test]
fn outcomes_are_counted_also_without_insight() {
    isolated(|| {
        let pool = pool(2);
        let _: Vec<i64> = pool.map("square", 0..1000).unwrap();
        for how in ["error", "panic", "unreachable"] {
            task_error(pool.apply::<_, i64>("misbehave", (how,)));
        }
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed, stats.retried), (1000, 3, 0));
        assert_eq!(stats.workers.len(), 2);
        assert_eq!(stats.workers.iter().map(|worker| worker.done).sum::<u64>(), 1000);
        assert!(stats.workers.iter().all(|worker| worker.times.is_none()));
        assert!(stats.slowest.is_empty());
    });
}

#[test]
fn deaths_restarts_and_retries_are_counted() {
    isolated(|| {
        let (builder, lines) = listen(builder(1).retries(1));
        let pool = builder.build().unwrap();
        let result = pool.apply_async::<_, ()>("sleep", (100,)).unwrap();
        kill_the_begun(&pool, &lines);
        result.get().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed, stats.retried), (1, 0, 1));
        let [first] = &stats.workers[..] else {
            panic!("{stats:?}")
        };
        assert_eq!((first.worker, first.deaths, first.restarts), (1, 1, 1));
        assert_eq!(first.pid, pool.worker_pids().first().copied());

        let limited = pool.task("spin").timeout(Duration::from_millis(50));
        task_error(limited.apply::<_, ()>(()));
        let stats = eventually("the worker is replaced", || {
            let stats = pool.stats();
            (stats.workers[0].restarts == 2).then_some(stats)
        });
        assert_eq!((stats.done, stats.failed, stats.retried), (1, 1, 1));
        close(&pool);
        let ended = &pool.stats().workers[0];
        assert_eq!(
            (ended.deaths, ended.pid),
            (2, None),
            "an end that it was told is no death"
        );
    });
}

#[test]
fn failures_that_are_tried_again_are_counted_as_such() {
    isolated(|| {
        let retry = Retry::times(5).on_error();
        let pool = builder(1).retry(retry).build().unwrap();
        let _: i64 = pool.apply("succeed_at", (3,)).unwrap();
        let stats = pool.stats();
        assert_eq!((stats.done, stats.failed, stats.retried), (1, 0, 2));
    });
}

#[test]
fn the_peak_of_memory_is_seen_and_outlives_its_worker() {
    isolated(|| {
        let pool = pool(1);
        let _: i64 = pool.apply("square", (1,)).unwrap();
        let before = pool.stats().workers[0].peak_memory;
        assert!(before > 0 && before < 20 << 20, "{before}");
        let _: i64 = pool.apply("allocate", (40,)).unwrap();
        let peak = pool.stats().workers[0].peak_memory;
        assert!((40 << 20..80 << 20).contains(&peak), "{peak}");
        worker(&pool).kill();
        let _: i64 = pool.apply("square", (1,)).unwrap();
        assert_eq!(pool.stats().workers[0].peak_memory, peak);
    });
}

#[test]
fn the_slowest_items_tell_how_much_memory_they_had() {
    isolated(|| {
        let pool = builder(1)
            .insight(true)
            .isolation(wasmp::Isolation::Task)
            .build()
            .unwrap();
        let _: i64 = pool.apply("square", (1,)).unwrap();
        let _: i64 = pool.apply("allocate", (40,)).unwrap();
        let stats = pool.stats();
        let peak = |task| stats.slowest.iter().find(|item| item.task == task).unwrap().peak_memory;
        assert!((40 << 20..80 << 20).contains(&peak("allocate")), "{stats:?}");
        assert!(peak("square") > 0 && peak("square") < 20 << 20, "{stats:?}");
    });
}

#[test]
fn busy_times_and_the_slowest_items_are_measured() {
    isolated(|| {
        let pool = builder(1).insight(true).build().unwrap();
        let _: Vec<()> = pool.map("sleep", [1, 30, 1, 60, 1]).unwrap();
        let stats = pool.stats();
        let times = stats.workers[0].times.unwrap();
        assert!(times.busy >= Duration::from_millis(93), "{times:?}");
        // It slept, and looked at nothing but the clock.
        assert!(
            times.waiting >= Duration::from_millis(93) && times.waiting <= times.busy,
            "{times:?}"
        );
        let slowest: Vec<_> = stats.slowest.iter().map(|item| item.index).collect();
        assert_eq!(slowest.len(), 5);
        assert!(slowest.contains(&3));
        let third = stats.slowest.iter().find(|item| item.index == 3).unwrap();
        assert!(third.took >= Duration::from_millis(60), "{third:?}");
        assert_eq!((third.task.as_str(), third.worker, third.attempt), ("sleep", 1, 1));
    });
}

#[test]
fn an_item_counts_while_it_runs_and_when_it_is_killed() {
    isolated(|| {
        let (builder, lines) = listen(builder(1).insight(true));
        let pool = builder.build().unwrap();
        let limit = Duration::from_millis(100);
        let spinning = pool.task("spin").timeout(limit).apply_async::<_, ()>(()).unwrap();
        lines.wait_for_begun();
        eventually("it is busy", || {
            let times = pool.stats().workers[0].times?;
            (times.busy > Duration::from_millis(1)).then_some(())
        });
        task_error(spinning.get());
        let stats = pool.stats();
        assert!(stats.slowest[0].took >= limit, "{stats:?}");
        assert!(stats.workers[0].times.unwrap().busy >= limit, "{stats:?}");
    });
}

#[test]
fn waiting_for_a_shared_object_is_told_from_work() {
    isolated(|| {
        let event = Event::new().unwrap();
        let pool = Pool::builder(objects()).processes(1).insight(true).build().unwrap();
        let waits = pool
            .apply_async::<_, bool>("event_wait", (&event, None::<u64>))
            .unwrap();
        eventually("it waits", || {
            let times = pool.stats().workers[0].times?;
            (times.waiting >= Duration::from_millis(30)).then_some(())
        });
        event.set();
        assert!(waits.get().unwrap());
        let times = pool.stats().workers[0].times.unwrap();
        assert!(
            times.busy >= times.waiting && times.waiting >= Duration::from_millis(30),
            "{times:?}"
        );
    });
}

/// A file that a test can read while it is written.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl File {
    #[track_caller]
    fn events(&self) -> Vec<Value> {
        serde_json::from_slice(&self.0.lock().unwrap()).expect("the trace is JSON")
    }

    fn traced(&self, builder: PoolBuilder) -> PoolBuilder {
        builder.trace(self.clone())
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn named<'e>(events: &'e [Value], name: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["name"] == name).collect()
}

#[test]
fn a_trace_has_every_item_and_every_worker() {
    isolated(|| {
        let file = File::default();
        let pool = file.traced(builder(2)).build().unwrap();
        let _: Vec<i64> = pool.map("square", 0..500).unwrap();
        task_error(pool.apply::<_, i64>("misbehave", ("error",)));
        let limited = pool.task("spin").timeout(Duration::from_millis(50));
        task_error(limited.apply::<_, ()>(()));
        close(&pool);
        let events = file.events();
        let squares = named(&events, "square");
        assert!(
            squares
                .iter()
                .all(|event| event["ph"] == "X" && event["args"]["outcome"] == "done")
        );
        let indices: HashSet<_> = squares.iter().map(|event| event["args"]["index"].as_u64()).collect();
        assert_eq!((squares.len(), indices.len()), (500, 500));
        assert_eq!(named(&events, "misbehave")[0]["args"]["outcome"], "failed");
        let spun = &named(&events, "spin")[0];
        assert_eq!(spun["args"]["outcome"], "timeout");
        assert!(spun["dur"].as_f64().unwrap() >= 50_000.0, "{spun}");
        assert_eq!(named(&events, "timeout").len(), 1);
        assert_eq!(
            named(&events, "worker started").len(),
            named(&events, "worker ended").len()
        );
        // Bars in one row do not overlap.
        for worker in [1, 2] {
            let mut free = 0.0;
            for event in events
                .iter()
                .filter(|event| event["tid"] == worker && event["ph"] == "X")
            {
                let began = event["ts"].as_f64().unwrap();
                assert!(began >= free - 0.01, "{event} began before {free}");
                free = began + event["dur"].as_f64().unwrap();
            }
        }
    });
}

#[test]
fn a_trace_is_whole_when_its_pool_was_dropped() {
    isolated(|| {
        let file = File::default();
        let pool = file.traced(builder(1)).build().unwrap();
        let _: i64 = pool.apply("square", (3,)).unwrap();
        drop(pool);
        assert_eq!(named(&file.events(), "square").len(), 1);
    });
}

#[test]
fn a_trace_that_cannot_be_written_harms_nobody_and_is_told_at_the_end() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    isolated(|| {
        let pool = builder(1).trace(Full).build().unwrap();
        let squares: Vec<i64> = pool.map("square", 0..100).unwrap();
        assert_eq!(squares.len(), 100);
        pool.close();
        match pool.join() {
            Err(Error::Trace(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            other => panic!("{other:?}"),
        }
        pool.join().unwrap();
    });
}
