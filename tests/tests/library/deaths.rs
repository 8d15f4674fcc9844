//! Workers that die: the item that one was running is charged, or tried again, and nothing else is lost.

use std::time::Duration;

use rustix::process::Signal;
use wasmp::{Chunksize, Error, ErrorKind};
use wasmp_tests::{Process, eventually, isolated};

use crate::common::{Gate, builder, close, kill_the_begun, listen, pool, task_error, worker, workers};

#[test]
fn g_01_px_11_a_killed_worker_fails_only_its_item() {
    isolated(|| {
        let (builder, lines) = listen(builder(2));
        let pool = builder.build().unwrap();
        let lost = pool.apply_async::<_, ()>("spin", ()).unwrap();
        let slot = lines.wait_for_begun();
        let victim = &workers(&pool)[slot as usize - 1];
        let others: Vec<_> = (0..50)
            .map(|x| pool.apply_async::<_, i64>("square", (x,)).unwrap())
            .collect();
        victim.kill();
        let error = task_error(lost.get());
        assert_eq!(
            (error.kind, error.signal, error.exit_code),
            (ErrorKind::WorkerLost, Some(9), None)
        );
        assert_eq!((error.worker, error.pid, error.attempt), (slot, victim.pid(), 1));
        assert!(error.message.contains("SIGKILL"), "{}", error.message);
        for (x, other) in (0..).zip(others) {
            assert_eq!(other.get().unwrap(), x * x);
        }
        let results: Vec<i64> = pool.map("square", 0..100).unwrap();
        assert_eq!(results, (0..100).map(|x| x * x).collect::<Vec<i64>>());
        assert!(
            workers(&pool).iter().all(|worker| worker.pid() != victim.pid()),
            "there is a replacement"
        );
    });
}

#[test]
fn g_21_one_death_of_five_tasks_is_one_failure() {
    isolated(|| {
        let (builder, lines) = listen(builder(2));
        let pool = builder.build().unwrap();
        let tasks = ["square", "square", "spin", "square", "square"];
        let pending: Vec<_> = tasks
            .iter()
            .map(|task| match *task {
                "spin" => pool.apply_async::<_, i64>("spin", ()).unwrap(),
                task => pool.apply_async::<_, i64>(task, (7,)).unwrap(),
            })
            .collect();
        kill_the_begun(&pool, &lines);
        let results: Vec<_> = pending.iter().map(|result| result.get().ok()).collect();
        assert_eq!(results, [Some(49), Some(49), None, Some(49), Some(49)]);
        assert_eq!(pool.apply::<_, i64>("square", (8,)).unwrap(), 64);
    });
}

#[test]
fn in_a_chunk_what_is_finished_stands_and_what_has_not_begun_goes_on() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        std::thread::scope(|scope| {
            let call = pool.task("spin_if_negative").chunksize(Chunksize::Exact(6));
            // No retries: an item that had not begun must not need one.
            let mapped = scope.spawn(move || call.map::<_, i64>([0, 1, -1, 3, 4, 5]));
            assert_eq!([lines.next().text, lines.next().text], ["did 0\n", "did 1\n"]);
            kill_the_begun(&pool, &lines);
            let error = task_error(mapped.join().unwrap());
            assert_eq!((error.kind, error.index, error.attempt), (ErrorKind::WorkerLost, 2, 1));
        });
        close(&pool);
        drop(pool);
        let rest: Vec<String> = lines.rest().into_iter().map(|line| line.text).collect();
        assert_eq!(rest, ["did 3\n", "did 4\n", "did 5\n"]);
    });
}

#[test]
fn a_lost_item_is_tried_again_when_it_has_retries() {
    isolated(|| {
        let (builder, lines) = listen(builder(1).retries(2));
        let (builder, gate) = Gate::before(builder);
        let pool = builder.build().unwrap();
        let result = pool.apply_async::<_, i64>("wait_for", ("/gate/open", 7)).unwrap();
        kill_the_begun(&pool, &lines);
        kill_the_begun(&pool, &lines);
        lines.wait_for_begun();
        gate.open();
        assert_eq!(result.get().unwrap(), 7);
    });
}

#[test]
fn a_lost_item_fails_when_its_retries_are_used_up() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let result = pool.task("spin").retries(2).apply_async::<_, ()>(()).unwrap();
        for _ in 0..3 {
            kill_the_begun(&pool, &lines);
        }
        let error = task_error(result.get());
        assert_eq!(
            (error.kind, error.attempt, error.signal),
            (ErrorKind::WorkerLost, 3, Some(9))
        );
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
    });
}

#[test]
fn retries_are_for_lost_workers_only() {
    isolated(|| {
        let (builder, lines) = listen(builder(1).retries(5));
        let pool = builder.build().unwrap();
        for how in ["error", "panic", "unreachable", "exit 3"] {
            let error = task_error(pool.apply::<_, i64>("misbehave", (how,)));
            assert_eq!(error.attempt, 1, "{how}");
        }
        let error = task_error(pool.task("spin").timeout(Duration::from_millis(50)).apply::<_, ()>(()));
        assert_eq!((error.kind, error.attempt), (ErrorKind::Timeout, 1));
        close(&pool);
        drop(pool);
        let begun = lines.rest().iter().filter(|line| line.text == "begun\n").count();
        assert_eq!(begun, 1, "a deadline is final");
    });
}

#[test]
fn px_13_the_signal_that_killed_a_worker_is_named() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        for (signal, name) in [
            (Signal::TERM, "SIGTERM"),
            (Signal::ABORT, "SIGABRT"),
            (Signal::KILL, "SIGKILL"),
        ] {
            let result = pool.apply_async::<_, ()>("spin", ()).unwrap();
            lines.wait_for_begun();
            let victim = worker(&pool);
            assert!(victim.signal(signal));
            let error = task_error(result.get());
            assert_eq!(
                (error.kind, error.signal),
                (ErrorKind::WorkerLost, Some(signal.as_raw()))
            );
            assert!(error.message.contains(name), "{}", error.message);
        }
    });
}

#[test]
fn the_death_of_an_idle_worker_costs_nothing() {
    isolated(|| {
        let pool = pool(2);
        let before = workers(&pool);
        for _ in 0..5 {
            let idle = &workers(&pool)[0];
            idle.kill();
            eventually("the worker is replaced", || {
                let now = pool.worker_pids();
                (now.len() == 2 && !now.contains(&idle.pid())).then_some(())
            });
            assert_eq!(pool.apply::<_, i64>("square", (5,)).unwrap(), 25);
        }
        assert!(!before[1].is_gone(), "its neighbour lives on");
    });
}

#[test]
fn a_pool_whose_workers_die_before_they_do_anything_gives_up_and_says_so() {
    isolated(|| {
        let pool = pool(1);
        for _ in 0..16 {
            worker(&pool).kill();
        }
        let error = pool.apply::<_, i64>("square", (3,)).unwrap_err();
        assert!(
            matches!(&error, Error::Broken(why) if why.contains("16 workers in a row")),
            "{error:?}"
        );
        pool.join().unwrap();
    });
}

#[test]
fn all_workers_die_at_once_and_the_pool_goes_on() {
    isolated(|| {
        let pool = pool(4);
        for round in 0..5 {
            for worker in workers(&pool) {
                worker.signal(Signal::KILL);
            }
            let results: Vec<i64> = pool.task("square").retries(1).map(round..round + 50).unwrap();
            assert_eq!(results, (round..round + 50).map(|x| x * x).collect::<Vec<i64>>());
        }
    });
}

#[test]
fn a_worker_that_is_stopped_is_killed_at_the_deadline() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        let result = pool
            .task("spin")
            .timeout(Duration::from_millis(300))
            .apply_async::<_, ()>(())
            .unwrap();
        lines.wait_for_begun();
        let stopped: Process = worker(&pool);
        stopped.signal(Signal::STOP);
        assert_eq!(task_error(result.get()).kind, ErrorKind::Timeout);
        stopped.wait_until_gone();
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
    });
}

#[test]
fn what_a_worker_printed_before_it_died_is_passed_on() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        pool.apply::<_, ()>("print", ("a line\nand a half", "")).unwrap();
        assert_eq!(lines.next().text, "a line\n");
        // A guest passes the rest of a line on when its call ends, and so before the next call begins.
        pool.apply::<_, i64>("square", (3,)).unwrap();
        worker(&pool).kill();
        assert_eq!(lines.next().text, "and a half");
        let result = pool.apply_async::<_, ()>("spin", ()).unwrap();
        kill_the_begun(&pool, &lines);
        assert_eq!(task_error(result.get()).kind, ErrorKind::WorkerLost);
    });
}
