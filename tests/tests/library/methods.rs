//! Start methods of pools.

use std::collections::BTreeSet;

use rustix::process::Signal;
use wasmp::{ErrorKind, Pool, StartMethod};
use wasmp_tests::{Process, descendants, eventually, isolated};

use crate::common::{builder, listen, task_error, workers};

/// Where the executable of a worker lies in its memory.
fn place(worker: &Process) -> String {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", worker.pid())).expect("its memory");
    maps.split('-').next().expect("something is mapped").to_owned()
}

fn keepers() -> usize {
    descendants(std::process::id(), "wasmp-keeper").len()
}

/// All workers of a pool, once they are up.
fn all(pool: &Pool, count: usize) -> Vec<Process> {
    eventually("all workers are up", || {
        let workers = workers(pool);
        (workers.len() == count).then_some(workers)
    })
}

#[test]
fn x_04_each_worker_of_a_spawned_pool_is_an_executable_of_its_own() {
    isolated(|| {
        let pool = builder(4).start_method(StartMethod::Spawn).build().unwrap();
        let squares: Vec<i64> = pool.map("square", 0..1000).unwrap();
        assert_eq!(squares, (0..1000).map(|x| x * x).collect::<Vec<i64>>());
        let spawned = all(&pool, 4);
        assert!(spawned.iter().map(place).collect::<BTreeSet<_>>().len() > 1);
        assert_eq!(keepers(), 5, "that of the program, and one for each");
        spawned[0].kill();
        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        all(&pool, 4);
        eventually("what the dead one came from is gone, too", || {
            (keepers() == 5).then_some(())
        });
        drop(pool);
        eventually("all of them are gone", || (keepers() == 1).then_some(()));
    });
}

#[test]
fn other_pools_have_their_workers_from_one_process() {
    isolated(|| {
        for method in [StartMethod::Forkserver, StartMethod::Fork] {
            let pool = builder(3).start_method(method).build().unwrap();
            assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
            assert_eq!(all(&pool, 3).iter().map(place).collect::<BTreeSet<_>>().len(), 1);
            assert_eq!(keepers(), 1);
        }
    });
}

#[test]
fn it_is_known_how_a_spawned_worker_died() {
    isolated(|| {
        let (builder, lines) = listen(builder(1).start_method(StartMethod::Spawn));
        let pool = builder.build().unwrap();
        let result = pool.apply_async::<_, ()>("spin", ()).unwrap();
        lines.wait_for_begun();
        workers(&pool)[0].kill();
        let error = task_error(result.get());
        assert_eq!(
            (error.kind, error.signal),
            (ErrorKind::WorkerLost, Some(Signal::KILL.as_raw()))
        );
        pool.close();
        pool.join().unwrap();
    });
}

#[test]
fn a_spawned_pool_grows_shrinks_and_replaces() {
    isolated(|| {
        let pool = builder(1)
            .start_method(StartMethod::Spawn)
            .max_tasks_per_child(2)
            .build()
            .unwrap();
        for x in 0..6 {
            assert_eq!(pool.apply::<_, i64>("square", (x,)).unwrap(), x * x);
        }
        pool.resize(3).unwrap();
        all(&pool, 3);
        pool.resize(1).unwrap();
        eventually("two have gone", || (workers(&pool).len() == 1).then_some(()));
        pool.close();
        pool.join().unwrap();
        eventually("nothing is left of where they came from", || {
            (keepers() == 1).then_some(())
        });
    });
}

#[test]
fn a_spawned_pool_may_be_dropped_at_once() {
    isolated(|| {
        for _ in 0..10 {
            drop(builder(3).start_method(StartMethod::Spawn).build().unwrap());
        }
        eventually("nothing is left of where they came from", || {
            (keepers() <= 1).then_some(())
        });
    });
}
