//! Pools that the clients of a manager share (PARITY: SM-07, and what PL-… says of pools).

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use serde::{Serialize, Serializer};
use wasmp::{Dict, ErrorKind, Event, Manager, ManagerError, Pool, Queue, TaskError, managed};
use wasmp_tests::{Process, descendants, eventually, isolated, objects, tasks};

use super::{PATIENCE, anywhere, process_of};

/// With the tasks of `guests/tasks`.
fn manager() -> Manager {
    Manager::builder().module(tasks()).start().expect("a manager")
}

/// Has a test done with a pool of a manager of this host, and with one that is reached by a socket.
fn both(processes: usize, test: impl Fn(&managed::Pool)) {
    let manager = manager();
    test(&manager.pool(processes).unwrap());
    let server = manager.listen(&anywhere(), b"key").unwrap();
    let there = Manager::connect(server.address(), b"key").unwrap();
    test(&there.pool(processes).unwrap());
}

/// How an item has failed.
#[track_caller]
fn failed<R: std::fmt::Debug>(result: Result<R, managed::PoolError>) -> TaskError {
    match result {
        Err(managed::PoolError::Task(error)) => *error,
        other => panic!("{other:?}"),
    }
}

/// The workers of this manager's pools.
fn workers(manager: &Manager) -> Vec<Process> {
    let server = manager.process().expect("it was started here").pid();
    let mut workers = descendants(std::process::id(), "wasmp-worker");
    workers.retain(|worker| worker.pid() != server);
    workers
}

#[test]
fn sm_07_pl_01_pl_02_pl_03_pl_04_pl_05_pl_18_a_managed_pool_does_what_a_pool_does() {
    isolated(|| {
        both(2, |pool| {
            assert_eq!(pool.apply("add", (1, 2)).ok(), Some(3));
            let squares: Vec<i64> = (0..100_000).map(|x| x * x).collect();
            assert_eq!(pool.map("square", 0..100_000).ok(), Some(squares.clone()));
            let pairs = (0..1000).map(|x| (x, x));
            let sums: Vec<i64> = pool.starmap("add", pairs.clone()).unwrap();
            assert_eq!(sums, (0..1000).map(|x| 2 * x).collect::<Vec<_>>());
            let (one, many) = (
                pool.apply_async("square", (7,)).unwrap(),
                pool.map_async("square", 0..100_000).unwrap(),
            );
            let sums_again = pool.starmap_async("add", pairs).unwrap();
            assert_eq!((many.get().ok(), one.get().ok()), (Some(squares), Some(49)));
            assert_eq!(one.get_timeout(Duration::ZERO).ok(), Some(49));
            assert_eq!(sums_again.get().ok(), Some(sums));
            assert_eq!((one.ready(), many.successful()), (Ok(true), Ok(Some(true))));
            assert_eq!(pool.map("square", [0_i64; 0]).ok(), Some(Vec::<i64>::new()));
            assert_eq!(pool.imap::<_, _, i64, _>("square", [0_i64; 0]).unwrap().count(), 0);
        });
    });
}

#[test]
fn sm_07_one_pool_runs_what_everybody_submits() {
    isolated(|| {
        let manager = manager();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let here = manager.named_pool("shared", 2).unwrap();
        thread::scope(|scope| {
            let there = Manager::connect(server.address(), b"key").unwrap();
            for client in 0..4_i64 {
                let there = there.clone();
                scope.spawn(move || {
                    let pool = there.named_pool("shared", 1).unwrap();
                    for x in 0..50 {
                        assert_eq!(pool.apply("add", (client, x)).ok(), Some(client + x));
                    }
                });
            }
            let sum: i64 = here.map::<_, _, i64, _>("square", 0..1000).unwrap().into_iter().sum();
            assert_eq!(sum, (0..1000).map(|x| x * x).sum::<i64>());
        });
        assert_eq!(workers(&manager).len(), 2);
        // Whatever connections it went over.
        let kept = || manager.usage().unwrap().objects;
        eventually("only the pool is left", || (kept() == 1).then_some(()));
        drop((here, server, manager));
        eventually("it ends with its manager", || {
            descendants(std::process::id(), "wasmp-worker").is_empty().then_some(())
        });
    });
}

#[test]
fn sm_07_who_calls_one_thing_does_not_wait_for_all_that_others_have_called() {
    isolated(|| {
        let manager = Manager::builder().module(objects()).start().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let queue: Queue<i64> = Queue::new(0).unwrap();
        // Each takes as long as this test wants.
        let gets = vec![(&queue, 1, None::<u64>); 4000];
        let pool = manager.named_pool("shared", 2).unwrap();
        let slow = pool.starmap_async::<_, _, Vec<i64>, _>("queue_get", gets).unwrap();
        let counts: Dict<String, i64> = there.named_dict("counts").unwrap();
        let one = there.named_pool("shared", 2).unwrap();
        let one: managed::AsyncResult<()> = one.apply_async("dict_add", (&counts, "a", 1)).unwrap();
        for number in 0..20 {
            queue.put(number).unwrap();
        }
        one.get_timeout(PATIENCE).unwrap();
        assert_eq!((counts.get("a"), slow.ready()), (Ok(Some(1)), Ok(false)));
        pool.terminate().unwrap();
        assert_eq!(failed(slow.get()).kind, ErrorKind::Cancelled);
    });
}

#[test]
fn what_the_manager_holds_travels_to_its_pools_from_everywhere() {
    isolated(|| {
        let manager = Manager::builder().module(objects()).start().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        for (times, client) in [(1, &manager), (2, &there)] {
            let pool = client.named_pool("shared", 2).unwrap();
            let counts: Dict<String, i64> = client.named_dict("counts").unwrap();
            let _: Vec<()> = pool.starmap("dict_add", vec![(&counts, "a", 10); 20]).unwrap();
            assert_eq!(counts.get("a"), Ok(Some(times * 200)));
        }
        // So does what this host has, where that means something.
        let queue: Queue<i64> = Queue::new(0).unwrap();
        let put = |client: &Manager| {
            let pool = client.named_pool("shared", 2).unwrap();
            pool.apply::<_, _, (), _>("queue_put", (&queue, [7], None::<u64>))
        };
        put(&manager).unwrap();
        assert_eq!(queue.get().unwrap(), 7);
        assert!(matches!(
            put(&there),
            Err(managed::PoolError::Manager(ManagerError::Encode(_)))
        ));
        // A handle that came back is to the same.
        let pool = manager.named_pool("shared", 2).unwrap();
        let counts: Dict<String, i64> = manager.named_dict("counts").unwrap();
        let same: Dict<String, i64> = pool.apply("dict_pass_on", (&counts,)).unwrap();
        assert_eq!(same.set("b", &7), Ok(true));
        assert_eq!(counts.get("b"), Ok(Some(7)));
    });
}

#[test]
fn sm_07_a_managed_pool_is_used_by_guests_and_made_by_them() {
    isolated(|| {
        let own = Pool::builder(tasks()).processes(2).build().unwrap();
        both(2, |pool| own.apply::<_, ()>("managed_calls", (pool,)).unwrap());
        assert_eq!(own.apply::<_, i64>("managed_own", (2,)).unwrap(), 328_350);
    });
}

#[test]
fn however_short_its_messages_may_be_a_manager_passes_on_the_name_of_a_task() {
    isolated(|| {
        let own = Pool::builder(tasks()).processes(1).max_message(300).build().unwrap();
        // Those of this host have no such limit.
        let pool: managed::Pool = own.apply("managed_pool", ()).unwrap();
        let unknown = |bytes| pool.apply::<_, _, i64, _>("x".repeat(bytes).as_str(), (3,));
        assert!(matches!(unknown(1024), Err(managed::PoolError::Invalid(_))));
        assert_eq!(unknown(1025), Err(ManagerError::TooLarge.into()));
        assert_eq!(pool.apply("square", (3,)).ok(), Some(9));
    });
}

#[test]
fn one_result_is_waited_for_by_many_threads() {
    isolated(|| {
        both(2, |pool| {
            for _ in 0..10 {
                let squares = pool.map_async("square", 0..20_000).unwrap();
                let sum = || squares.get().unwrap().iter().sum::<i64>();
                thread::scope(|scope| {
                    let threads = [(); 4].map(|()| scope.spawn(sum));
                    for thread in threads {
                        assert_eq!(thread.join().unwrap(), (0..20_000).map(|x| x * x).sum::<i64>());
                    }
                });
            }
        });
    });
}

#[test]
fn pl_20_how_an_item_has_failed_is_what_a_pool_of_ones_own_says() {
    isolated(|| {
        let own = Pool::builder(tasks()).processes(1).build().unwrap();
        let own = |task: &str, args: (&str,)| -> TaskError {
            let failed = match task {
                "fail_for_reasons" => own.apply::<_, ()>(task, ()).unwrap_err(),
                _ => own.apply::<_, i64>(task, args).unwrap_err(),
            };
            match failed {
                wasmp::Error::Task(error) => *error,
                other => panic!("{other:?}"),
            }
        };
        both(1, |pool| {
            for how in ["error", "panic", "unreachable", "exit 3"] {
                let (here, there) = (
                    own("misbehave", (how,)),
                    failed(pool.apply::<_, _, i64, _>("misbehave", (how,))),
                );
                assert_eq!((here.kind, &here.message), (there.kind, &there.message));
                assert_eq!((here.exit_code, &here.backtrace), (there.exit_code, &there.backtrace));
                assert_eq!((there.task.as_str(), there.attempt), ("misbehave", 1));
            }
            let (here, there) = (
                own("fail_for_reasons", ("",)),
                failed(pool.apply::<_, _, (), _>("fail_for_reasons", ())),
            );
            assert_eq!(format!("{here:#}"), format!("{there:#}"));
            assert!(there.causes().count() > 0);
            let result = pool
                .map_async::<_, _, i64, _>("misbehave", ["fine", "error", "panic"])
                .unwrap();
            assert_eq!((failed(result.get()).index, result.successful()), (1, Ok(Some(false))));
            let unknown = pool.apply::<_, _, i64, _>("squar", (1,)).unwrap_err().to_string();
            assert!(unknown.contains("did you mean `square`?"), "{unknown}");
            let other: Result<String, _> = pool.apply("square", (3,));
            assert!(
                matches!(other, Err(managed::PoolError::Manager(ManagerError::Decode(_)))),
                "{other:?}"
            );
        });
    });
}

/// What cannot be serialized.
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is stubborn"))
    }
}

#[test]
fn pl_07_what_cannot_be_serialized_is_the_callers_error() {
    isolated(|| {
        both(1, |pool| {
            let stubborn = |failed: managed::PoolError| {
                assert!(failed.to_string().contains("it is stubborn"), "{failed}");
            };
            stubborn(pool.apply::<_, _, i64, _>("square", (Stubborn,)).unwrap_err());
            stubborn(pool.map::<_, _, i64, _>("square", [Stubborn]).unwrap_err());
            let mut results = pool.imap::<_, _, i64, _>("square", [Stubborn]).unwrap();
            stubborn(results.next().unwrap().unwrap_err());
            assert!(results.next().is_none());
            assert_eq!(pool.apply("square", (2,)).ok(), Some(4));
        });
    });
}

#[test]
fn pl_13_pl_14_results_are_streamed_and_go_on_after_a_failure() {
    isolated(|| {
        both(2, |pool| {
            let squares = pool.imap::<_, _, i64, _>("square", 0..).unwrap();
            let first: Vec<i64> = squares.take(5000).map(Result::unwrap).collect();
            assert_eq!(first, (0..5000).map(|x| x * x).collect::<Vec<_>>());
            let unordered = pool.imap_unordered::<_, _, i64, _>("square", 0..1000).unwrap();
            let mut all: Vec<i64> = unordered.map(Result::unwrap).collect();
            all.sort_unstable();
            assert_eq!(all, first[..1000]);
            let mut some = pool
                .imap::<_, _, i64, _>("misbehave", ["fine", "panic", "fine"])
                .unwrap();
            assert_eq!(some.next_timeout(PATIENCE).ok(), Some(Some(1)));
            assert_eq!(failed(some.next().unwrap()).kind, ErrorKind::Panic);
            assert_eq!(some.next().unwrap().ok(), Some(1));
            assert!(some.next().is_none());
        });
    });
}

#[test]
fn pl_11_a_wait_ends_in_time_and_what_is_cancelled_is_over() {
    isolated(|| {
        both(1, |pool| {
            let spinning = pool.apply_async::<_, _, (), _>("spin", ()).unwrap();
            let waiting = pool.apply_async("square", (5,)).unwrap();
            let short = Duration::from_millis(1);
            assert_eq!(spinning.get_timeout(short), Err(managed::PoolError::WaitTimeout(short)));
            assert_eq!((spinning.ready(), spinning.successful()), (Ok(false), Ok(None)));
            assert_eq!(waiting.wait_timeout(short), Ok(false));
            assert_eq!(spinning.cancel(), Ok(true));
            assert_eq!(failed(spinning.get()).kind, ErrorKind::Cancelled);
            assert_eq!(spinning.cancel(), Ok(false));
            assert_eq!(waiting.get().ok(), Some(25));
            let mut streaming = pool.imap::<_, _, (), _>("sleep", [600_000]).unwrap();
            assert_eq!(
                streaming.next_timeout(short),
                Err(managed::PoolError::WaitTimeout(short))
            );
        });
    });
}

#[test]
fn pl_19_a_closed_pool_finishes_what_it_has_and_a_terminated_one_does_not() {
    isolated(|| {
        let manager = manager();
        let pool = manager.pool(2).unwrap();
        assert_eq!(pool.join(), Err(ManagerError::PoolStillRunning));
        let results: Vec<managed::AsyncResult<i64>> = (0..20)
            .map(|x| pool.apply_async("slow_square", (x, 1000)).unwrap())
            .collect();
        pool.close().unwrap();
        let refused = pool.apply::<_, _, i64, _>("square", (1,));
        assert_eq!(refused, Err(ManagerError::PoolNotRunning.into()));
        pool.join().unwrap();
        assert_eq!(pool.join_timeout(Duration::ZERO), Ok(true));
        for (x, result) in (0_i64..).zip(results) {
            assert!(result.successful().unwrap().unwrap(), "{x}");
        }
        let pool = manager.pool(2).unwrap();
        let spinning = pool.map_async::<_, _, (), _>("sleep", vec![600_000; 10_000]).unwrap();
        assert_eq!(spinning.ready(), Ok(false));
        pool.terminate().unwrap();
        pool.join().unwrap();
        assert_eq!(failed(spinning.get()).kind, ErrorKind::Cancelled);
        assert_eq!(
            pool.apply::<_, _, i64, _>("square", (1,)),
            Err(ManagerError::PoolNotRunning.into())
        );
        // So does one that nobody has a handle to any more.
        let dropped = manager.pool(1).unwrap().apply_async::<_, _, (), _>("spin", ()).unwrap();
        assert_eq!(failed(dropped.get()).kind, ErrorKind::Cancelled);
        eventually("no worker is left", || workers(&manager).is_empty().then_some(()));
        assert_eq!(manager.usage().unwrap().objects, 4, "two pools, and two results");
    });
}

#[test]
fn a_worker_that_is_killed_costs_its_item() {
    isolated(|| {
        let manager = Manager::builder().module(objects()).start().unwrap();
        let pool = manager.pool(1).unwrap();
        let (full, begun) = (Queue::<i64>::new(1).unwrap(), Event::new().unwrap());
        full.put(0).unwrap();
        let waiting = pool
            .apply_async::<_, _, (), _>("queue_put_begun", (&full, 1, &begun))
            .unwrap();
        let behind = pool
            .starmap_async("queue_put", vec![(&full, [0; 0], None::<u64>); 10])
            .unwrap();
        begun.wait().unwrap();
        let worker = workers(&manager).remove(0);
        worker.kill();
        let lost = failed(waiting.get());
        assert_eq!(
            (lost.kind, lost.signal, lost.pid),
            (ErrorKind::WorkerLost, Some(9), worker.pid())
        );
        assert_eq!(behind.get().ok(), Some(vec![(); 10]));
    });
}

#[test]
fn g_24_a_manager_that_is_killed_is_gone_for_its_pools_too() {
    isolated(|| {
        let manager = manager();
        let pool = manager.pool(2).unwrap();
        let server = process_of(&manager);
        thread::scope(|scope| {
            let spinning = pool.apply_async::<_, _, (), _>("spin", ()).unwrap();
            let mapping = scope.spawn(|| pool.map::<_, _, (), _>("sleep", vec![600_000; 10_000]));
            eventually("both workers run", || (workers(&manager).len() == 2).then_some(()));
            server.kill();
            assert_eq!(spinning.get(), Err(ManagerError::Gone.into()));
            assert_eq!(mapping.join().unwrap(), Err(ManagerError::Gone.into()));
        });
        assert_eq!(pool.join(), Err(ManagerError::Gone));
        eventually("no worker is left", || workers(&manager).is_empty().then_some(()));
    });
}

#[test]
fn what_a_client_that_is_gone_has_called_is_ended() {
    isolated(|| {
        let manager = manager();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let here = manager.named_pool("shared", 1).unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let pool = there.named_pool("shared", 1).unwrap();
        let lost = pool.apply_async::<_, _, (), _>("spin", ()).unwrap();
        let let_go = pool.map_async::<_, _, (), _>("spin", Vec::<()>::new()).unwrap();
        drop(let_go);
        let stays: managed::AsyncResult<i64> = here.apply_async("square", (3,)).unwrap();
        let short = Duration::from_millis(1);
        assert_eq!(stays.get_timeout(short), Err(managed::PoolError::WaitTimeout(short)));
        drop((there, pool, lost));
        assert_eq!(stays.get_timeout(PATIENCE).ok(), Some(9));
    });
}

#[test]
fn a_manager_has_no_more_processes_than_it_may_and_keeps_no_more_than_it_can() {
    isolated(|| {
        let manager = Manager::builder().module(tasks()).max_bytes(8 << 20).start().unwrap();
        assert_eq!(manager.pool(0).unwrap_err(), ManagerError::Invalid);
        assert_eq!(manager.pool(1000).unwrap_err(), ManagerError::ProcessLimit);
        let pool = manager.pool(2).unwrap();
        let large = pool.apply::<_, _, Vec<u8>, _>("make_bytes", (5 << 20,));
        assert_eq!(large, Err(ManagerError::Full.into()));
        // What is asked for as it comes may be any number of times as much.
        let lengths = pool.imap::<_, _, Vec<u8>, _>("make_bytes", vec![10_000; 2000]).unwrap();
        assert!(lengths.map(|bytes| bytes.unwrap().len()).all(|len| len == 10_000));
        let small = manager.pool(62).unwrap();
        assert_eq!(manager.pool(1).unwrap_err(), ManagerError::ProcessLimit);
        small.terminate().unwrap();
        small.join().unwrap();
        manager.pool(1).unwrap();
        drop((pool, small));
        eventually("nothing is kept", || {
            (manager.usage().unwrap().objects == 0).then_some(())
        });
        assert_eq!(manager.usage().unwrap().bytes, 0);
    });
}

/// Has a test done with a manager of this host, and with one that is reached by a socket.
fn both_managers(test: impl Fn(&Manager, &Manager)) {
    let manager = manager();
    test(&manager, &manager);
    let server = manager.listen(&anywhere(), b"key").unwrap();
    test(&manager, &Manager::connect(server.address(), b"key").unwrap());
}

/// Calls a task that takes no arguments so many times.
fn calls(times: usize) -> Vec<[i64; 0]> {
    vec![[]; times]
}

#[test]
fn sm_07_an_initializer_prepares_each_worker_of_a_managed_pool() {
    isolated(|| {
        both_managers(|owner, client| {
            let set_up = client.pool_builder().processes(2).initializer("prepare", ("fine", 7));
            let pool = set_up.max_tasks_per_child(1).build().unwrap();
            assert_eq!(pool.starmap("prepared", calls(30)).ok(), Some(vec![7; 30]));
            // Also one that takes the place of one that was killed.
            let pool = client.pool_builder().processes(1).initializer("prepare", ("fine", 8));
            let pool = pool.named("eight").unwrap();
            assert_eq!(pool.apply::<_, _, i64, _>("prepared", ()).ok(), Some(8));
            for worker in workers(owner) {
                worker.kill();
            }
            let later = || pool.apply::<_, _, i64, _>("prepared", ());
            eventually("somebody else works", || {
                later().ok().map(|prepared| assert_eq!(prepared, 8))
            });
            // It is there already: nobody prepares anything anew.
            let same = client
                .pool_builder()
                .initializer("prepare", ("error", 0))
                .named("eight")
                .unwrap();
            assert_eq!(same.apply::<_, _, i64, _>("prepared", ()).ok(), Some(8));
        });
    });
}

#[test]
fn what_the_manager_holds_prepares_its_pools() {
    isolated(|| {
        let manager = Manager::builder().module(objects()).start().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        for (times, client) in [(1, &manager), (2, &there)] {
            let counts: Dict<String, i64> = client.named_dict("counts").unwrap();
            let set_up = client
                .pool_builder()
                .processes(1)
                .initializer("dict_add", (&counts, "a", 10));
            let pool = set_up.build().unwrap();
            let _: () = pool.apply("dict_add", (&counts, "b", 1)).unwrap();
            assert_eq!(
                (counts.get("a"), counts.get("b")),
                (Ok(Some(10 * times)), Ok(Some(times)))
            );
        }
        let event = Event::new().unwrap();
        let set_up = || manager.pool_builder().processes(1).initializer("event_set", (&event,));
        let pool = set_up().build().unwrap();
        assert!(event.wait_timeout(PATIENCE).unwrap());
        drop(pool);
        let fleeting = Event::new().unwrap();
        let set_up = manager.pool_builder().processes(1).max_tasks_per_child(1);
        let pool = set_up.initializer("event_set", (&fleeting,)).build().unwrap();
        drop(fleeting);
        for _ in 0..5 {
            let _: Event = pool.apply("event_new", ()).unwrap();
        }
        let elsewhere = there.pool_builder().initializer("event_set", (&event,)).build();
        assert!(matches!(
            elsewhere.unwrap_err(),
            managed::PoolError::Manager(ManagerError::Encode(_))
        ));
    });
}

#[test]
fn g_05_an_initializer_that_fails_is_one_clear_error_of_its_managed_pool_and_of_no_other() {
    isolated(|| {
        both_managers(|owner, client| {
            let other = client.pool(1).unwrap();
            for (how, words) in [
                ("error", "the initializer failed: told to fail"),
                ("exit 3", "the initializer failed: "),
                ("unreachable", "the initializer failed: "),
                ("talk", "the initializer failed: words words "),
            ] {
                let set_up = client.pool_builder().processes(2).initializer("prepare", (how, 0));
                let pool = set_up.build().unwrap();
                let broken = |failed: managed::PoolError| match failed {
                    managed::PoolError::Broken(why) => assert!(why.starts_with(words), "{why}"),
                    other => panic!("{other:?}"),
                };
                let many = pool.map_async::<_, _, i64, _>("square", 0..100_000).unwrap();
                broken(many.get().unwrap_err());
                pool.join_timeout(Duration::ZERO).ok();
                for _ in 0..20 {
                    broken(pool.apply::<_, _, i64, _>("square", (1,)).unwrap_err());
                }
                let mut streamed = pool.imap::<_, _, i64, _>("square", 0..).unwrap();
                broken(streamed.next().unwrap().unwrap_err());
                pool.close().unwrap();
                pool.join().unwrap();
                broken(pool.apply::<_, _, i64, _>("square", (1,)).unwrap_err());
            }
            // Nobody has called anything when it gives up.
            let alone = client.pool_builder().processes(1).initializer("prepare", ("error", 0));
            let alone = alone.build().unwrap();
            eventually("its workers are gone", || (workers(owner).len() == 1).then_some(()));
            let why = alone.apply::<_, _, i64, _>("square", (1,)).unwrap_err();
            assert_eq!(
                why.to_string(),
                "the pool gave up: the initializer failed: told to fail"
            );
            assert_eq!(other.apply("square", (3,)).ok(), Some(9));
            drop((alone, other));
            eventually("nothing is kept", || (owner.usage().unwrap().bytes == 0).then_some(()));
        });
    });
}

#[test]
fn a_managed_pool_that_makes_no_sense_is_refused_and_harms_nobody() {
    isolated(|| {
        both_managers(|owner, client| {
            let other = client.pool(1).unwrap();
            let set_up = || client.pool_builder().processes(1);
            for nonsense in [set_up().processes(0), set_up().max_tasks_per_child(0)] {
                let refused = nonsense.build().unwrap_err();
                assert!(matches!(refused, managed::PoolError::Invalid(_)), "{refused}");
            }
            let stubborn = set_up().initializer("prepare", (Stubborn,)).build().unwrap_err();
            assert!(stubborn.to_string().contains("it is stubborn"), "{stubborn}");
            let unknown = set_up().initializer("prepar", ("fine", 7)).build().unwrap();
            for _ in 0..2 {
                match unknown.apply::<_, _, i64, _>("square", (1,)).unwrap_err() {
                    managed::PoolError::Broken(why) => assert!(why.contains("did you mean `prepare`?"), "{why}"),
                    other => panic!("{other:?}"),
                }
            }
            let long = "x".repeat(1025);
            let long = set_up().initializer(long.as_str(), ()).build().unwrap_err();
            assert_eq!(long, ManagerError::TooLarge.into());
            let many = set_up().processes(1000).build().unwrap_err();
            assert_eq!(many, ManagerError::ProcessLimit.into());
            let chunks = other.task("square").chunksize(0).map::<_, i64, _>([1]).unwrap_err();
            assert!(matches!(chunks, managed::PoolError::Invalid(_)), "{chunks}");
            let squares = other.task("square").chunksize(u32::MAX).map(0..10_000);
            assert_eq!(squares.ok(), Some((0..10_000).map(|x: i64| x * x).collect::<Vec<_>>()));
            drop((unknown, other));
            eventually("nothing is kept", || (owner.usage().unwrap().bytes == 0).then_some(()));
        });
    });
}

#[test]
fn the_arguments_of_an_initializer_are_no_longer_than_a_message() {
    isolated(|| {
        let own = Pool::builder(tasks()).processes(1).max_message(10_000).build().unwrap();
        let pool: managed::Pool = own.apply("managed_pool_prepared", (9_000,)).unwrap();
        assert_eq!(pool.apply("square", (3,)).ok(), Some(9));
        let refused = own
            .apply::<_, managed::Pool>("managed_pool_prepared", (10_000,))
            .unwrap_err();
        assert!(
            refused.to_string().contains("longer than a message may be"),
            "{refused}"
        );
    });
}

#[test]
fn pw_01_a_worker_of_a_managed_pool_is_replaced_after_so_many_tasks() {
    isolated(|| {
        both_managers(|owner, client| {
            let set_up = client.pool_builder().processes(2).max_tasks_per_child(3);
            let pool = set_up.build().unwrap();
            let pids = || -> Vec<u32> { workers(owner).iter().map(Process::pid).collect() };
            eventually("both are there", || (pids().len() == 2).then_some(()));
            let before = pids();
            for chunksize in [1, 7] {
                let call = pool.task("count").chunksize(chunksize);
                let counts: Vec<i64> = call.starmap(calls(60)).unwrap();
                assert!(counts.iter().all(|count| *count <= 3), "{counts:?}");
            }
            assert!(pids().iter().all(|pid| !before.contains(pid)));
        });
    });
}

#[test]
fn pl_08_so_many_items_are_one_call_of_a_managed_pools_worker() {
    isolated(|| {
        both_managers(|_, client| {
            let pool = client.pool(2).unwrap();
            let chunks = |chunksize: u32| -> Vec<HashSet<u32>> {
                let call = pool.task("slow_pid").chunksize(chunksize);
                let pids: Vec<u32> = call.map([1_u64; 96]).unwrap();
                pids.chunks(chunksize as usize)
                    .map(|chunk| chunk.iter().copied().collect())
                    .collect()
            };
            for chunksize in [2, 8, 24, 96] {
                let chunks = chunks(chunksize);
                assert!(chunks.iter().all(|pids| pids.len() == 1), "{chunksize}: {chunks:?}");
            }
            assert_eq!(
                chunks(48).into_iter().flatten().collect::<HashSet<_>>().len(),
                2,
                "each has one of them"
            );
            let squares = pool.task("square").chunksize(16).imap(0..200).unwrap();
            let squares: Vec<i64> = squares.map(Result::unwrap).collect();
            assert_eq!(squares, (0..200).map(|x| x * x).collect::<Vec<_>>());
        });
    });
}

#[test]
fn sm_07_a_managed_pool_is_set_up_by_guests() {
    isolated(|| {
        let own = Pool::builder(tasks()).processes(1).build().unwrap();
        own.apply::<_, ()>("managed_builders", ()).unwrap();
    });
}

#[test]
fn a_managed_pool_has_a_process_for_each_cpu_unless_somebody_says_how_many() {
    isolated(|| {
        both_managers(|owner, client| {
            let pool = client.pool_builder().build().unwrap();
            assert_eq!(pool.map::<_, _, i64, _>("square", 0..100).unwrap().len(), 100);
            let cpus = thread::available_parallelism().unwrap().get();
            eventually("one for each", || (workers(owner).len() == cpus).then_some(()));
            drop(pool);
            eventually("they are gone", || workers(owner).is_empty().then_some(()));
        });
    });
}
