//! Locks, queues and all else that several use together.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wasmp::{Dict, Event, Manager, ManagerError, managed};
use wasmp_tests::{Process, eventually, isolated};

use super::{PATIENCE, anywhere, both, nothing, process_of};
use crate::common::{call, error, pool, start, timed};

/// Waits until so many requests more wait in a manager than when there were so many bytes in it.
fn wait_for_waiters(manager: &Manager, before: u64, count: u64) {
    eventually("they wait", || {
        (manager.usage().unwrap().bytes >= before + count * 128).then_some(())
    });
}

fn bytes(manager: &Manager) -> u64 {
    manager.usage().unwrap().bytes
}

#[test]
fn l_02_l_07_s_01_s_04_e_01_c_04_c_06_c_09_b_10_q_01_q_04_q_05_qs_03_each_has_its_methods() {
    isolated(|| both(|manager| assert_eq!(call::<Vec<String>>(&pool(1), "sync_methods", (manager,)), nothing())));
}

#[test]
fn threads_and_workers_hold_a_lock_one_at_a_time() {
    isolated(|| {
        both(|manager| {
            let (lock, sum) = (manager.lock().unwrap(), manager.value(0).unwrap());
            let pool = pool(2);
            let workers = [(); 2].map(|()| start::<()>(&pool, "managed_locked_add", (&lock, &sum, 50)));
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for _ in 0..50 {
                            let _guard = lock.lock().unwrap();
                            sum.set(&(sum.get().unwrap() + 1)).unwrap();
                        }
                    });
                }
            });
            for worker in workers {
                worker.get_timeout(PATIENCE).unwrap();
            }
            assert_eq!(sum.get(), Ok(200));
            assert_eq!(lock.locked(), Ok(false));
        });
    });
}

#[test]
fn l_03_anybody_releases_a_lock_and_who_lets_go_of_everything_lets_go_of_it() {
    isolated(|| {
        both(|manager| {
            let lock = manager.lock().unwrap();
            let pool = pool(1);
            lock.acquire().unwrap();
            call::<()>(&pool, "managed_lock_release", (&lock,));
            assert_eq!(lock.locked(), Ok(false));
            let said = error(&pool, "managed_lock_release", (&lock,));
            assert_eq!(said, "released, or reported as done, more often than acquired");
            // The task has acquired it, and then there is nothing of the manager left in its worker.
            call::<()>(&pool, "managed_lock_keep", (&lock,));
            assert!(lock.lock().unwrap().abandoned());
        });
    });
}

#[test]
fn sm_03_an_rlock_is_its_threads_or_its_workers() {
    isolated(|| {
        both(|manager| {
            let rlock = manager.rlock().unwrap();
            let pool = pool(1);
            assert!(!call::<bool>(&pool, "managed_rlock_cycle", (&rlock,)));
            // The same thread again, over whatever connections, while others use them.
            let outer = rlock.lock().unwrap();
            let (others, lent) = (manager.event().unwrap(), manager.value(0).unwrap());
            thread::scope(|scope| {
                scope.spawn(|| {
                    others.set().unwrap();
                    while lent.get().unwrap() == 0 {}
                });
                others.wait().unwrap();
                let inner = rlock.lock().unwrap();
                assert_eq!(rlock.count(), Ok(2));
                lent.set(&1).unwrap();
                drop(inner);
            });
            thread::scope(|scope| {
                scope.spawn(|| {
                    assert_eq!(rlock.try_acquire(), Ok(false));
                    assert_eq!((rlock.count(), rlock.locked()), (Ok(0), Ok(true)));
                    assert_eq!(rlock.release(), Err(ManagerError::NotOwner));
                });
            });
            assert!(call::<bool>(&pool, "managed_rlock_cycle", (&rlock,)));
            drop(outer);
            assert!(!call::<bool>(&pool, "managed_rlock_cycle", (&rlock,)));
        });
    });
}

#[test]
fn who_waits_longest_is_first() {
    isolated(|| {
        both(|manager| {
            let (lock, order) = (manager.lock().unwrap(), manager.queue::<u64>(0).unwrap());
            let guard = lock.lock().unwrap();
            let before = bytes(manager);
            thread::scope(|scope| {
                for number in 0..8 {
                    let (lock, order) = (&lock, &order);
                    scope.spawn(move || {
                        let _guard = lock.lock().unwrap();
                        order.put(&number).unwrap();
                    });
                    wait_for_waiters(manager, before, number + 1);
                }
                drop(guard);
            });
            let order: Vec<u64> = (0..8).map(|_| order.try_get().unwrap()).collect();
            assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
        });
    });
}

#[test]
fn e_01_q_10_s_04_waits_take_as_long_as_they_are_told() {
    isolated(|| {
        both(|manager| {
            let time = Duration::from_millis(60);
            let (event, queue) = (manager.event().unwrap(), manager.queue::<u8>(1).unwrap());
            let (lock, semaphore) = (manager.lock().unwrap(), manager.semaphore(0).unwrap());
            let condition = manager.condition().unwrap();
            let _guard = lock.lock().unwrap();
            queue.put(&1).unwrap();
            let waits: [&dyn Fn() -> bool; 6] = [
                &|| event.wait_timeout(time) == Ok(false),
                &|| queue.put_timeout(&2, time) == Err(ManagerError::QueueFull),
                &|| {
                    let queue = manager.queue::<u8>(0).unwrap();
                    queue.get_timeout(time) == Err(ManagerError::QueueEmpty)
                },
                &|| lock.acquire_timeout(time) == Ok(false),
                &|| semaphore.acquire_timeout(time) == Ok(false),
                &|| condition.wait_timeout(&mut condition.lock().unwrap(), time) == Ok(false),
            ];
            for (at, wait) in waits.iter().enumerate() {
                let (as_expected, took) = timed(wait);
                assert!(as_expected, "{at}");
                assert!(took >= time, "{at}: {took:?}");
            }
        });
    });
}

#[test]
fn sm_01_an_event_is_seen_set_and_cleared() {
    isolated(|| {
        both(|manager| {
            let event = manager.event().unwrap();
            event.set().unwrap();
            let pool = pool(1);
            assert!(call::<bool>(&pool, "managed_event_clear", (&event,)));
            assert_eq!(event.is_set(), Ok(false));
            let begun = Event::new().unwrap();
            let waiting = start::<()>(&pool, "managed_event_wait", (&event, &begun));
            begun.wait().unwrap();
            event.set().unwrap();
            waiting.get_timeout(PATIENCE).unwrap();
        });
    });
}

#[test]
fn c_02_sm_05_all_who_wait_at_a_condition_are_notified() {
    isolated(|| {
        both(|manager| {
            let (condition, asleep) = (manager.condition().unwrap(), manager.semaphore(0).unwrap());
            let pool = pool(3);
            let sleep = |time: u64| {
                let workers =
                    [(); 3].map(|()| start::<bool>(&pool, "managed_condition_sleep", (&condition, &asleep, time)));
                let threads = [(); 3].map(|()| {
                    let (condition, asleep) = (condition.clone(), asleep.clone());
                    thread::spawn(move || {
                        let mut guard = condition.lock().unwrap();
                        asleep.release().unwrap();
                        condition.wait_timeout(&mut guard, Duration::from_millis(time)).unwrap()
                    })
                });
                for _ in 0..6 {
                    asleep.acquire().unwrap();
                }
                (workers, threads)
            };
            let all = |(workers, threads): ([wasmp::AsyncResult<bool>; 3], [thread::JoinHandle<bool>; 3])| {
                let workers = workers.map(|worker| worker.get_timeout(PATIENCE).unwrap());
                [workers, threads.map(|thread| thread.join().unwrap())].concat()
            };
            assert_eq!(all(sleep(10)), [false; 6]);
            let asleep_now = sleep(60_000);
            {
                // Whoever has said so holds the lock until it waits.
                let _guard = condition.lock().unwrap();
                condition.notify_all().unwrap();
            }
            assert_eq!(all(asleep_now), [true; 6]);
        });
    });
}

#[test]
fn c_05_a_predicate_is_asked_again_when_something_has_changed() {
    isolated(|| {
        both(|manager| {
            let (condition, count) = (manager.condition().unwrap(), manager.value(0).unwrap());
            let pool = pool(1);
            let waiting = start::<i64>(&pool, "managed_condition_wait_for", (&condition, &count, 4));
            for _ in 0..4 {
                let _guard = condition.lock().unwrap();
                count.add(1).unwrap();
                condition.notify(1).unwrap();
            }
            assert_eq!(waiting.get_timeout(PATIENCE).unwrap(), 4);
        });
    });
}

#[test]
fn b_01_b_02_b_03_b_07_sm_06_nobody_passes_a_barrier_before_all_have_come() {
    isolated(|| {
        both(|manager| {
            let barrier = manager.barrier(3).unwrap();
            let pool = pool(2);
            let workers = [(); 2].map(|()| start::<Vec<u32>>(&pool, "managed_barrier_meet", (&barrier, 10)));
            let mut places = vec![(0..10).map(|_| barrier.wait().unwrap()).collect::<Vec<u32>>()];
            places.extend(workers.map(|worker| worker.get_timeout(PATIENCE).unwrap()));
            for meeting in 0..10 {
                let mut places: Vec<u32> = places.iter().map(|places| places[meeting]).collect();
                places.sort_unstable();
                assert_eq!(places, [0, 1, 2], "meeting {meeting}");
            }
            assert_eq!((barrier.n_waiting(), barrier.is_broken()), (Ok(0), Ok(false)));

            let waiting = start::<Vec<u32>>(&pool, "managed_barrier_meet", (&barrier, 1));
            eventually("it waits", || (barrier.n_waiting() == Ok(1)).then_some(()));
            barrier.abort().unwrap();
            let failed = waiting.get_timeout(PATIENCE).unwrap_err().to_string();
            assert!(failed.contains("the barrier is broken"), "{failed}");
            assert_eq!(barrier.wait(), Err(ManagerError::BrokenBarrier));
            assert_eq!(call::<u32>(&pool, "managed_barrier_reset", (&barrier,)), 3);
            let workers = [(); 2].map(|()| start::<Vec<u32>>(&pool, "managed_barrier_meet", (&barrier, 1)));
            barrier.wait_timeout(PATIENCE).unwrap();
            for worker in workers {
                worker.get_timeout(PATIENCE).unwrap();
            }
            let soon = Duration::from_millis(5);
            assert_eq!(barrier.wait_timeout(soon), Err(ManagerError::BrokenBarrier));
        });
    });
}

#[test]
fn q_03_q_07_sm_08_sm_15_a_queue_is_filled_here_and_drained_there() {
    isolated(|| {
        both(|manager| {
            let queue = manager.queue::<i64>(2).unwrap();
            let pool = pool(1);
            let lengths: Vec<u64> = [1, 2].map(|value| (queue.put(&value), queue.len().unwrap()).1).into();
            assert_eq!((lengths, queue.is_full()), (vec![1, 2], Ok(true)));
            let gotten: (Vec<i64>, bool) = call(&pool, "managed_queue_get_some", (&queue, 2));
            assert_eq!(gotten, (vec![1, 2], true));
            assert_eq!((queue.is_empty(), queue.is_full()), (Ok(true), Ok(false)));
            assert_eq!(queue.try_get(), Err(ManagerError::QueueEmpty));
            // More than there is room for: who puts waits for who gets.
            let values: Vec<i64> = (0..100).collect();
            let putting = start::<()>(&pool, "managed_queue_put_all", (&queue, &values));
            let gotten: Vec<i64> = values.iter().map(|_| queue.get().unwrap()).collect();
            putting.get_timeout(PATIENCE).unwrap();
            assert_eq!(gotten, values);
        });
    });
}

#[test]
fn sm_08_qs_01_what_is_put_into_a_joinable_queue_is_dealt_with_by_workers() {
    isolated(|| {
        both(|manager| {
            let jobs = manager.joinable_queue::<i64>(5).unwrap();
            let pool = pool(3);
            let workers = [(); 3].map(|()| start::<u64>(&pool, "managed_queue_work", (&jobs,)));
            for job in 0..60 {
                jobs.put(&job).unwrap();
            }
            jobs.join().unwrap();
            assert_eq!(jobs.task_done(), Err(ManagerError::TooMany));
            jobs.shutdown().unwrap();
            let done: u64 = workers.map(|worker| worker.get_timeout(PATIENCE).unwrap()).iter().sum();
            assert_eq!(done, 60);
            assert_eq!(jobs.put(&1), Err(ManagerError::QueueShutDown));
        });
    });
}

#[test]
fn mc_09_a_queue_in_a_dictionary_and_in_a_list_is_that_queue() {
    isolated(|| {
        both(|manager| {
            let queue = manager.queue::<i64>(0).unwrap();
            let dict: Dict<String, managed::Queue<i64>> = manager.dict([("q".into(), queue.clone())]).unwrap();
            let list = manager.list([queue.clone()]).unwrap();
            list.get(0).unwrap().put(&7).unwrap();
            assert_eq!(call::<i64>(&pool(1), "managed_nested_get", (&dict, "q")), 7);
            assert_eq!(queue.is_empty(), Ok(true));
        });
    });
}

#[test]
fn what_waits_takes_no_place_that_is_needed_to_end_its_wait() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let (lock, event) = (manager.lock().unwrap(), manager.event().unwrap());
        let guard = lock.lock().unwrap();
        let (refused, refusals) = mpsc::channel();
        thread::scope(|scope| {
            // More than a manager has places for; this thread asks nothing meanwhile.
            for _ in 0..150 {
                let (event, refused) = (&event, refused.clone());
                scope.spawn(move || event.wait().unwrap_or_else(|error| drop(refused.send(error))));
            }
            let error = refusals.recv_timeout(PATIENCE).unwrap();
            assert!(
                matches!(&error, ManagerError::Start(why) if why.contains("too many clients")),
                "{error}"
            );
            // Several who do not wait, one after the other.
            let others: Vec<_> = (0..4).map(|_| scope.spawn(|| lock.locked())).collect();
            for other in others {
                assert_eq!(other.join().unwrap(), Ok(true));
            }
            drop(guard);
            assert_eq!(lock.locked(), Ok(false));
            event.set().unwrap();
        });
        drop(lock.lock().unwrap());
    });
}

#[test]
fn sm_11_sm_12_a_value_and_an_array_are_changed_elsewhere() {
    isolated(|| {
        both(|manager| {
            let (value, array) = (manager.value(1).unwrap(), manager.array([1, 2, 3]).unwrap());
            let before: (i64, Vec<i64>) = call(&pool(1), "managed_value_and_array", (&value, &array));
            assert_eq!(before, (1, vec![1, 2, 3]));
            assert_eq!((value.get(), array.items()), (Ok(2), Ok(vec![5, 2, 3])));
        });
    });
}

#[test]
fn what_has_a_name_is_found_by_it() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        manager.named_queue::<u8>("queue", 1).unwrap().put(&7).unwrap();
        let same = there.named_queue::<u8>("queue", 5).unwrap();
        assert_eq!(same.try_put(&8), Err(ManagerError::QueueFull), "as the first one said");
        assert_eq!(same.get(), Ok(7));
        manager.named_lock("lock").unwrap().acquire().unwrap();
        assert_eq!(there.named_lock("lock").unwrap().locked(), Ok(true));
        manager.named_rlock("rlock").unwrap().acquire().unwrap();
        assert_eq!(
            there.named_rlock("rlock").unwrap().count(),
            Ok(1),
            "a thread is one holder, whichever way it takes"
        );
        manager.named_semaphore("semaphore", 3).unwrap().acquire().unwrap();
        assert_eq!(there.named_semaphore("semaphore", 9).unwrap().value(), Ok(2));
        manager.named_bounded_semaphore("bounded", 1).unwrap();
        assert_eq!(there.named_bounded_semaphore("bounded", 9).unwrap().value(), Ok(1));
        manager.named_event("event").unwrap().set().unwrap();
        assert_eq!(there.named_event("event").unwrap().is_set(), Ok(true));
        let _held = manager.named_condition("condition").unwrap();
        assert_eq!(
            there.named_condition("condition").unwrap().notify(1),
            Err(ManagerError::NotOwner)
        );
        manager.named_barrier("barrier", 2).unwrap();
        assert_eq!(there.named_barrier("barrier", 7).unwrap().parties(), Ok(2));
        manager.named_value("value", 1).unwrap().set(&2).unwrap();
        assert_eq!(there.named_value("value", 1).unwrap().get(), Ok(2));
        manager.named_array("array", [1, 2]).unwrap().set(0, &5).unwrap();
        assert_eq!(there.named_array("array", [0]).unwrap().items(), Ok(vec![5, 2]));
        manager.named_joinable_queue("joinable", 0).unwrap().put(&1).unwrap();
        assert_eq!(there.named_joinable_queue::<i32>("joinable", 0).unwrap().len(), Ok(1));
        let wrong = [
            there.named_lock("rlock").map(drop),
            there.named_queue::<u8>("value", 0).map(drop),
            there.named_dict::<u8, u8>("lock").map(drop),
            there.named_list::<u8>("queue").map(drop),
        ];
        assert_eq!(wrong, [const { Err(ManagerError::WrongType) }; 4]);
    });
}

#[test]
fn handles_do_not_become_something_else() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let said = error(&pool(1), "managed_event_clear", (manager.queue::<u8>(0).unwrap(),));
        assert_eq!(said, "the managed object is of another type");
    });
}

#[test]
fn a_queue_counts_in_what_a_manager_may_hold() {
    isolated(|| {
        let manager = Manager::builder().max_bytes(20_000).start().unwrap();
        let queue = manager.queue::<String>(0).unwrap();
        let before = bytes(&manager);
        let text = "x".repeat(5000);
        for _ in 0..3 {
            queue.put(&text).unwrap();
        }
        assert_eq!(queue.put(&text), Err(ManagerError::Full));
        assert_eq!(queue.len(), Ok(3));
        // What was gotten makes room, whoever has gotten it, and whether that is known to have been read.
        let worker = pool(1);
        let gotten: String = call(&worker, "managed_queue_get_text", (&queue,));
        assert_eq!(gotten, text);
        queue.put(&text).unwrap();
        while queue.try_get().is_ok() {}
        assert_eq!(bytes(&manager), before);
        // So does what a waiting request has with it.
        let narrow = manager.queue::<String>(1).unwrap();
        narrow.put(&text).unwrap();
        thread::scope(|scope| {
            let before = bytes(&manager);
            scope.spawn(|| narrow.put(&text).unwrap());
            wait_for_waiters(&manager, before + 5000, 1);
            let long = "x".repeat(15_000);
            assert_eq!(narrow.put(&long), Err(ManagerError::Full));
            assert_eq!((narrow.get(), narrow.get()), (Ok(text.clone()), Ok(text.clone())));
        });
    });
}

/// Waits until something is interrupted, and interrupts it meanwhile.
fn interrupt(process: &wasmp::Process, begun: &Event, told: &Event) {
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    let begin = Instant::now();
    while !told.wait_timeout(Duration::from_millis(5)).unwrap() {
        assert!(begin.elapsed() < PATIENCE, "it goes on");
        process.interrupt();
    }
}

#[test]
fn who_stops_waiting_has_acquired_nothing() {
    isolated(|| {
        both(|manager| {
            let context = crate::common::builder(1).context().unwrap();
            let [begun, told, last] = [(); 3].map(|()| Event::new().unwrap());
            let lock = manager.lock().unwrap();
            let guard = lock.lock().unwrap();
            let process = context
                .process("managed_lock_interrupted")
                .args((&lock, &begun, &told, &last));
            let process = process.start().unwrap();
            interrupt(&process, &begun, &told);
            drop(guard);
            let guard = lock.lock_timeout(PATIENCE).unwrap().expect("nobody has it");
            assert!(!guard.abandoned());
            drop(guard);
            last.set();
            assert!(process.join_timeout(PATIENCE));
            assert_eq!(process.exitcode(), Some(0));

            let [begun, told, last] = [(); 3].map(|()| Event::new().unwrap());
            let queue = manager.queue::<i64>(0).unwrap();
            let process = context
                .process("managed_queue_interrupted")
                .args((&queue, &begun, &told, &last));
            let process = process.start().unwrap();
            interrupt(&process, &begun, &told);
            queue.put(&7).unwrap();
            assert_eq!(queue.get_timeout(PATIENCE), Ok(7));
            last.set();
            assert!(process.join_timeout(PATIENCE));
            assert_eq!(process.exitcode(), Some(0));
        });
    });
}

/// The one worker of a pool, which has begun a task.
fn worker_of(pool: &wasmp::Pool) -> Process {
    Process::open(pool.worker_pids()[0]).unwrap()
}

#[test]
fn g_07_what_a_dead_worker_held_is_free_and_the_next_one_is_told_so() {
    isolated(|| {
        both(|manager| {
            let (lock, rlock) = (manager.lock().unwrap(), manager.rlock().unwrap());
            let (condition, semaphore) = (manager.condition().unwrap(), manager.semaphore(2).unwrap());
            let held = manager.event().unwrap();
            let pool = pool(1);
            let all = (&lock, &rlock, &condition, &semaphore, &held);
            let holding = start::<()>(&pool, "managed_hold_all", all);
            held.wait().unwrap();
            assert_eq!(
                (lock.locked(), rlock.locked(), semaphore.value()),
                (Ok(true), Ok(true), Ok(0))
            );
            let waiting = thread::spawn({
                let lock = lock.clone();
                move || {
                    let guard = lock.lock().unwrap();
                    (guard.abandoned(), guard.fence())
                }
            });
            worker_of(&pool).kill();
            assert!(holding.get_timeout(PATIENCE).is_err());
            let (abandoned, fence) = waiting.join().unwrap();
            assert!(abandoned);
            let guard = lock.lock().unwrap();
            assert!(!guard.abandoned() && guard.fence() > fence);
            assert!(rlock.lock().unwrap().abandoned());
            assert!(condition.lock().unwrap().abandoned());
            // The permit was borrowed, and the other a signal.
            semaphore.acquire().unwrap();
            assert_eq!(semaphore.value(), Ok(0));
        });
    });
}

#[test]
fn a_program_that_disconnects_leaves_its_locks() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let lock = there.named_lock("lock").unwrap();
        lock.acquire().unwrap();
        let here = manager.named_lock("lock").unwrap();
        assert_eq!(here.try_acquire(), Ok(false));
        drop((lock, there));
        assert!(here.lock().unwrap().abandoned());
    });
}

#[test]
fn a_dead_worker_that_waited_gets_nothing() {
    isolated(|| {
        both(|manager| {
            let queue = manager.queue::<i64>(0).unwrap();
            let before = bytes(manager);
            for round in 0..10 {
                let pool = pool(1);
                let begun = Event::new().unwrap();
                let waiting = start::<i64>(&pool, "managed_queue_get_waits", (&queue, &begun));
                begun.wait().unwrap();
                wait_for_waiters(manager, before, 1);
                let worker = worker_of(&pool);
                worker.kill();
                worker.wait_until_gone();
                if manager.process().is_none() {
                    // From elsewhere it takes a moment longer until the manager knows.
                    eventually("the manager knows", || (bytes(manager) == before).then_some(()));
                }
                queue.put(&round).unwrap();
                assert_eq!(queue.get_timeout(PATIENCE), Ok(round));
                assert!(waiting.get_timeout(PATIENCE).is_err());
            }
        });
    });
}

#[test]
fn g_09_an_event_is_set_whoever_has_died_waiting_and_a_barrier_breaks() {
    isolated(|| {
        both(|manager| {
            let event = manager.event().unwrap();
            let pool = pool(1);
            let begun = Event::new().unwrap();
            let waiting = start::<()>(&pool, "managed_event_wait", (&event, &begun));
            begun.wait().unwrap();
            worker_of(&pool).kill();
            event.set().unwrap();
            event.wait().unwrap();
            assert!(waiting.get_timeout(PATIENCE).is_err());

            let barrier = manager.barrier(3).unwrap();
            let pool = crate::common::pool(1);
            let waiting = start::<Vec<u32>>(&pool, "managed_barrier_meet", (&barrier, 1));
            let other = thread::spawn({
                let barrier = barrier.clone();
                move || barrier.wait()
            });
            eventually("both wait", || (barrier.n_waiting() == Ok(2)).then_some(()));
            worker_of(&pool).kill();
            assert_eq!(other.join().unwrap(), Err(ManagerError::BrokenBarrier));
            assert!(waiting.get_timeout(PATIENCE).is_err());
        });
    });
}

#[test]
fn g_24_who_waits_for_a_manager_that_is_killed_is_told() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let before = bytes(&manager);
        let waiting: Vec<_> = [&manager, &there]
            .into_iter()
            .flat_map(|manager| {
                let (lock, condition) = (manager.lock().unwrap(), manager.condition().unwrap());
                let (queue, event) = (manager.queue::<u8>(0).unwrap(), manager.event().unwrap());
                let (semaphore, barrier) = (manager.semaphore(0).unwrap(), manager.barrier(2).unwrap());
                lock.acquire().unwrap();
                let waits: [Box<dyn FnOnce() -> Result<(), ManagerError> + Send>; 6] = [
                    Box::new(move || lock.acquire()),
                    Box::new(move || condition.wait(&mut condition.lock()?)),
                    Box::new(move || queue.get().map(drop)),
                    Box::new(move || event.wait()),
                    Box::new(move || semaphore.acquire()),
                    Box::new(move || barrier.wait().map(drop)),
                ];
                waits.map(thread::spawn)
            })
            .collect();
        wait_for_waiters(&manager, before + 12 * 256, 12);
        process_of(&manager).kill();
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), Err(ManagerError::Gone));
        }
    });
}
