//! What pools are to be, and how calls are treated.

use std::cell::Cell;
use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use wasmp::{Dict, ErrorKind, Event, Manager, ManagerError, Pool, Queue, Retry, managed};
use wasmp_tests::{Process, eventually, isolated, objects, tasks};

use super::{PATIENCE, Stubborn, anywhere, both_managers, calls, failed, workers};

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

#[test]
fn an_initializer_of_a_managed_pool_that_never_ends_is_ended_by_the_deadline() {
    isolated(|| {
        both_managers(|_, client| {
            let set_up = client.pool_builder().processes(1).timeout(Duration::from_millis(100));
            let pool = set_up.initializer("prepare", ("sleep", 0)).build().unwrap();
            let why = pool.apply::<_, _, i64, _>("square", (1,)).unwrap_err();
            let told = "the initializer failed: it took longer than 100ms";
            assert_eq!(why, managed::PoolError::Broken(told.to_owned()));
        });
    });
}

#[test]
fn an_item_of_a_managed_pool_that_takes_too_long_is_killed_and_costs_no_other() {
    isolated(|| {
        both_managers(|_, client| {
            let set_up = client.pool_builder().processes(1).timeout(Duration::from_millis(100));
            let pool = set_up.build().unwrap();
            assert_eq!(failed(pool.apply::<_, _, (), _>("spin", ())).kind, ErrorKind::Timeout);
            let rest: managed::AsyncResult<i64> = pool.apply_async("square", (3,)).unwrap();
            assert_eq!(rest.get().ok(), Some(9));
            // A call may say something else, also of a pool that says nothing.
            let patient = pool.task("slow_square").timeout(PATIENCE);
            assert_eq!(patient.apply::<_, i64, _>((3, 200_000)).ok(), Some(9));
            let other = client.pool(1).unwrap();
            let limited = other.task("spin").timeout(Duration::from_millis(100));
            assert_eq!(failed(limited.apply::<_, (), _>(())).kind, ErrorKind::Timeout);
            assert_eq!(other.apply("square", (3,)).ok(), Some(9));
        });
    });
}

#[test]
fn what_has_failed_in_a_managed_pool_is_tried_again_as_somebody_says() {
    isolated(|| {
        both_managers(|_, client| {
            let set_up = client.pool_builder().processes(1).retry(Retry::times(2).on_error());
            let pool = set_up.build().unwrap();
            assert_eq!(pool.apply("succeed_at", (3,)).ok(), Some(3));
            let never = pool.task("succeed_at").retry(Retry::default());
            assert_eq!(failed(never.apply::<_, i64, _>((1000,))).attempt, 1);
            let again = pool.apply::<_, _, i64, _>("succeed_at", (1000,));
            assert_eq!(failed(again).attempt, 3);
            let late = pool.task("spin").timeout(Duration::from_millis(20));
            assert_eq!(failed(late.apply::<_, (), _>(())).attempt, 1, "it took too long");
            let late = late.retry(Retry::times(1).on_timeout());
            assert_eq!(failed(late.apply::<_, (), _>(())).attempt, 2);
        });
    });
}

#[test]
fn an_item_of_a_managed_pool_is_tried_again_when_its_worker_is_killed() {
    isolated(|| {
        let manager = Manager::builder().module(objects()).start().unwrap();
        let pool = manager
            .pool_builder()
            .processes(1)
            .retry(Retry::times(1))
            .build()
            .unwrap();
        let (full, begun) = (Queue::<i64>::new(1).unwrap(), Event::new().unwrap());
        full.put(0).unwrap();
        let put = pool
            .apply_async::<_, _, (), _>("queue_put_begun", (&full, 1, &begun))
            .unwrap();
        begun.wait().unwrap();
        begun.clear();
        workers(&manager).remove(0).kill();
        begun.wait().unwrap();
        assert_eq!((full.get().unwrap(), full.get().unwrap()), (0, 1));
        put.get().unwrap();
    });
}

#[test]
fn a_managed_pool_grows_and_shrinks_for_everybody_and_loses_nothing() {
    isolated(|| {
        both_managers(|owner, client| {
            let pool = client.pool(1).unwrap();
            let running = pool.map_async::<_, _, i64, _>("square", 0..50_000).unwrap();
            let are = |processes: usize| {
                eventually("there are so many", || {
                    (workers(owner).len() == processes).then_some(())
                });
            };
            are(1);
            pool.resize(4).unwrap();
            are(4);
            assert_eq!(pool.resize(1000), Err(ManagerError::ProcessLimit));
            assert_eq!(pool.resize(0), Err(ManagerError::Invalid));
            are(4);
            pool.resize(2).unwrap();
            are(2);
            assert_eq!(running.get().unwrap().len(), 50_000);
            assert_eq!(
                pool.map("square", 0..1000).ok(),
                Some((0..1000).map(|x: i64| x * x).collect::<Vec<_>>())
            );
            // What it has no more is free for others.
            let max = client.pool(62).unwrap();
            drop(max);
            pool.close().unwrap();
            assert_eq!(pool.resize(1), Err(ManagerError::PoolNotRunning));
            pool.join().unwrap();
            are(0);
        });
    });
}

#[test]
fn inputs_are_pulled_as_far_ahead_of_the_results_as_somebody_says() {
    isolated(|| {
        both_managers(|_, client| {
            let pool = client.pool(2).unwrap();
            for buffersize in [0, 1, 5, 1000] {
                let (mut pulled, most) = (0_u64, buffersize.max(1) as u64);
                let ahead = Cell::new(0);
                let inputs = std::iter::from_fn(|| {
                    pulled += 1;
                    ahead.set(pulled);
                    Some(1)
                });
                let results = pool
                    .task("square")
                    .buffersize(buffersize)
                    .imap::<_, i64, _>(inputs)
                    .unwrap();
                for (taken, result) in (1..).zip(results.take(20)) {
                    assert_eq!(result.ok(), Some(1));
                    assert!(ahead.get() < taken + most, "{buffersize}: {} of {taken}", ahead.get());
                    assert!(buffersize < 1000 || ahead.get() == most, "so many are pulled at once");
                }
            }
        });
    });
}
