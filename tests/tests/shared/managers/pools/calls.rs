//! What is called, from where, and what comes of it.

use std::thread;
use std::time::Duration;

use wasmp::{Dict, ErrorKind, Manager, ManagerError, Pool, Queue, TaskError, managed};
use wasmp_tests::{descendants, eventually, isolated, objects, tasks};

use super::{PATIENCE, Stubborn, anywhere, both, failed, manager, workers};

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
        // It stands behind what its worker has at that time, of which some goes on with each item.
        let done = |number: &i64| {
            queue.put(*number).unwrap();
            one.wait_timeout(Duration::from_millis(1)).unwrap()
        };
        assert!((0..1000).any(|number| done(&number)));
        one.get().unwrap();
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
