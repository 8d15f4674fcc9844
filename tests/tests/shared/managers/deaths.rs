//! What becomes of a manager, of its clients, and of what they have, when one of them goes away.

use std::collections::BTreeMap;
use std::thread;

use wasmp::{AsyncResult, Counter, Dict, Error, Event, Manager, ManagerError, Retry};
use wasmp_tests::{Process, descendants, eventually, isolated};

use super::{GONE, PATIENCE, both, process_of};
use crate::common::{asleep, builder, call, kill, pool, start};

#[test]
fn g_24_a_manager_that_is_killed_is_gone_for_everybody_at_once() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let dict: Dict<String, i64> = manager.dict([]).unwrap();
        let (pool, others) = (pool(1), pool(1));
        let asking = start::<String>(&pool, "dict_until_error", (&dict,));
        assert_eq!(call::<Option<i64>>(&others, "dict_get", (&dict, "never")), None);
        let waiting = start::<(bool, Option<i64>)>(&others, "dict_wait", (&dict, "never", None::<i64>, None::<u64>));
        asleep(&others);
        let waiter = thread::spawn({
            let dict = dict.clone();
            move || dict.wait_for_change("never", None)
        });
        eventually("somebody has asked", || dict.get("asked").unwrap());
        process_of(&manager).kill();
        assert_eq!(asking.get_timeout(PATIENCE).unwrap(), GONE);
        let failed = waiting.get_timeout(PATIENCE).unwrap_err().to_string();
        assert!(failed.contains(GONE), "{failed}");
        assert_eq!(waiter.join().unwrap(), Err(ManagerError::Gone));
        assert_eq!(dict.get("asked"), Err(ManagerError::Gone));
        let process = manager.process().unwrap();
        process.join();
        assert_eq!(process.exitcode(), Some(-9));
        // Those who come later are told the same, and the pool has lost nobody.
        let late = pool.apply::<_, Option<i64>>("dict_get", (&dict, "asked")).unwrap_err();
        assert!(matches!(&late, Error::Encode(why) if why == GONE), "{late}");
        assert_eq!(pool.worker_pids().len(), 1);
    });
}

#[test]
fn words_are_counted_once_however_often_a_task_is_killed() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let counter: Counter<String> = manager.counter([]).unwrap();
        let pool = builder(3).retry(Retry::times(1000)).build().unwrap();
        let words = ["a", "b", "a"];
        let (mut files, mut killed) = (0, 0);
        // Some are counted before anybody is killed: until enough were.
        while killed < 20 {
            let jobs: Vec<AsyncResult<bool>> = (files..files + 100)
                .map(|file| start(&pool, "count_once", (&counter, format!("file {file}"), words)))
                .collect();
            files += 100;
            while !jobs.iter().all(AsyncResult::ready) {
                if let Some(pid) = pool.worker_pids().into_iter().find(|pid| *pid != 0)
                    && let Some(worker) = Process::open(pid)
                {
                    worker.kill();
                    killed += 1;
                }
            }
            for job in jobs {
                job.get_timeout(PATIENCE).unwrap();
            }
        }
        let counts: BTreeMap<String, i64> = counter.items().unwrap();
        assert_eq!(counts, BTreeMap::from([("a".into(), 2 * files), ("b".into(), files)]));
    });
}

#[test]
fn while_more_ask_than_there_are_cpus_for_all_are_served_and_a_death_among_them_holds_nobody_up() {
    isolated(|| {
        const TIMES: i64 = 2_000;
        let clients = thread::available_parallelism().unwrap().get().min(16) + 3;
        let manager = Manager::new().unwrap();
        let dict: Dict<String, i64> = manager.dict([]).unwrap();
        let (clients_of, victim) = (pool(clients), pool(1));
        let killed = start::<String>(&victim, "dict_until_error", (&dict,));
        eventually("the one who will die has asked", || dict.get("asked").unwrap());
        let jobs: Vec<AsyncResult<()>> = (0..clients)
            .map(|client| start(&clients_of, "dict_add", (&dict, format!("client {client}"), TIMES)))
            .collect();
        eventually("all of them are at it", || {
            (dict.len().unwrap() == clients as u64 + 1).then_some(())
        });
        kill(victim.worker_pids()[0]);
        for job in jobs {
            job.get_timeout(PATIENCE).unwrap();
        }
        killed.get_timeout(PATIENCE).unwrap_err();
        for client in 0..clients {
            assert_eq!(dict.get(&format!("client {client}")).unwrap(), Some(TIMES));
        }
    });
}

#[test]
fn what_a_dead_worker_has_made_alone_goes_with_it() {
    isolated(|| {
        let pool = pool(1);
        let (manager, kept): (Manager, Dict<String, i64>) = call(&pool, "managed_new", ());
        assert_eq!(call::<u64>(&pool, "managed_private", (&manager,)), 2);
        kill(pool.worker_pids()[0]);
        eventually("the manager has noticed", || {
            (manager.usage().unwrap().objects == 1).then_some(())
        });
        assert_eq!(kept.get("made by").unwrap(), Some(1));
    });
}

#[test]
fn a_manager_ends_with_its_pool() {
    isolated(|| {
        let pool = pool(1);
        let (_, dict): (Manager, Dict<String, i64>) = call(&pool, "managed_new", ());
        let workers = descendants(std::process::id(), "wasmp-worker");
        assert_eq!(workers.len(), 2);
        drop(pool);
        for worker in workers {
            worker.wait_until_gone();
        }
        assert_eq!(dict.get("made by"), Err(ManagerError::Gone));
    });
}

#[test]
fn mm_02_a_manager_lives_as_long_as_anybody_has_something_of_it() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let process = process_of(&manager);
        let dict: Dict<String, i64> = manager.dict([]).unwrap();
        drop(manager);
        dict.set("a", &1).unwrap();
        assert_eq!(dict.get("a").unwrap(), Some(1));
        assert!(!process.is_gone());
        drop(dict);
        process.wait_until_gone();
    });
}

#[test]
fn objects_go_with_their_last_handle_unless_they_have_travelled() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let objects = || manager.usage().unwrap().objects;
        let dict: Dict<String, i64> = manager.dict([]).unwrap();
        let again = dict.clone();
        drop(dict);
        assert_eq!(objects(), 1);
        drop(again);
        assert_eq!((objects(), manager.usage().unwrap().bytes), (0, 0));

        let pool = pool(1);
        let travelled: Dict<String, i64> = manager.dict([("a".into(), 1)]).unwrap();
        assert_eq!(call::<Option<i64>>(&pool, "dict_get", (&travelled, "a")), Some(1));
        drop(travelled);
        assert_eq!(objects(), 1);
    });
}

#[test]
fn who_gives_up_waiting_is_not_confused_by_a_late_answer() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let dict: Dict<String, i64> = manager.dict([]).unwrap();
        let pool = pool(1);
        assert_eq!(call::<Option<i64>>(&pool, "dict_get", (&dict, "a")), None);
        let waiting = start::<(bool, Option<i64>)>(&pool, "dict_wait", (&dict, "a", None::<i64>, None::<u64>));
        let worker = asleep(&pool);
        waiting.cancel();
        worker.wait_until_gone();
        dict.set("a", &1).unwrap();
        assert_eq!(call::<Option<i64>>(&pool, "dict_get", (&dict, "a")), Some(1));
    });
}

#[test]
fn workers_that_pass_on_what_a_manager_has_leave_their_places_to_others() {
    isolated(|| {
        let pool = builder(2).max_tasks_per_child(1).build().unwrap();
        let manager = Manager::new().unwrap();
        let dict: Dict<String, i64> = manager.dict([("a".into(), 1)]).unwrap();
        for _ in 0..110 {
            let again: Dict<String, i64> = call(&pool, "dict_pass_on", (&dict,));
            assert_eq!(again.get("a").unwrap(), Some(1));
        }
    });
}

#[test]
fn managers_that_have_ended_count_as_long_as_they_are_kept() {
    isolated(|| {
        let pool = builder(1).build().unwrap();
        let (made, why): (u64, String) = call(&pool, "managed_kept", ());
        assert!((400..1024).contains(&made), "{made}");
        assert!(why.contains("the pool may have no more objects"), "{why}");
    });
}

#[test]
fn words_are_counted_once_if_a_worker_is_killed_between_counting_and_its_end() {
    isolated(|| {
        both(|manager| {
            let counter: Counter<String> = manager.counter([]).unwrap();
            let pool = builder(1).retry(Retry::times(3)).build().unwrap();
            let [counted, end] = [(); 2].map(|()| Event::new().unwrap());
            let arguments = (&counter, "file", ["a", "b", "a"], &counted, &end);
            let counting = start::<bool>(&pool, "managed_count_and_wait", arguments);
            for times in 0..3 {
                assert!(counted.wait_timeout(PATIENCE).unwrap());
                let counts: BTreeMap<String, i64> = counter.items().unwrap();
                assert_eq!(
                    counts,
                    BTreeMap::from([("a".into(), 2), ("b".into(), 1)]),
                    "after {times} deaths"
                );
                counted.clear();
                if times < 2 {
                    kill(pool.worker_pids()[0]);
                }
            }
            end.set();
            // That is what the last of them said: it was done already.
            assert!(!counting.get_timeout(PATIENCE).unwrap());
            assert_eq!(counter.total(), Ok(3));
        });
    });
}
