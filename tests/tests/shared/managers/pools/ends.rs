//! What ends: calls, pools, their workers, their clients and their managers.

use std::thread;
use std::time::Duration;

use wasmp::{ErrorKind, Event, Manager, ManagerError, Queue, managed};
use wasmp_tests::{eventually, isolated, objects, tasks};

use super::{PATIENCE, anywhere, both, failed, manager, process_of, workers};

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
