//! Managers, and what they hold.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use wasmp::{
    Address, AsyncResult, Counter, Dict, Error, ErrorKind, List, Manager, ManagerError, Namespace, Retry, Set,
};
use wasmp_tests::{Process, descendants, eventually, isolated};

use crate::common::{asleep, builder, call, error, failure, kill, pool, start};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

const GONE: &str = "the manager has ended, and what it managed is gone";

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn mc_05_mc_06_a_dict_has_the_methods_of_a_mapping() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        assert_eq!(call::<Vec<String>>(&pool(1), "dict_methods", (&manager,)), nothing());
    });
}

#[test]
fn mc_01_mc_02_a_list_has_the_methods_of_a_sequence() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        assert_eq!(call::<Vec<String>>(&pool(1), "list_methods", (&manager,)), nothing());
    });
}

#[test]
fn mc_10_sm_13_sm_14_sets_counters_and_namespaces_have_theirs() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        assert_eq!(call::<Vec<String>>(&pool(1), "other_methods", (&manager,)), nothing());
    });
}

#[test]
fn workers_and_host_use_one_dict() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let dict: Dict<String, i64> = manager.dict([("a".into(), 1)]).unwrap();
        let pool = pool(2);
        assert!(call::<bool>(&pool, "dict_set", (&dict, "b", 2)));
        assert_eq!(dict.get("b").unwrap(), Some(2));
        dict.set("c", &3).unwrap();
        assert_eq!(call::<Option<i64>>(&pool, "dict_get", (&dict, "c")), Some(3));
        let items: Vec<(String, i64)> = call(&pool, "dict_items", (&dict,));
        assert_eq!(items, [("a".into(), 1), ("b".into(), 2), ("c".into(), 3)]);
    });
}

/// The process of a manager.
fn process_of(manager: &Manager) -> Process {
    let process = manager.process().expect("it was started here");
    Process::open(process.pid()).expect("it runs")
}

#[test]
fn a_task_makes_a_manager_that_others_use() {
    isolated(|| {
        let pool = pool(2);
        let (manager, dict): (Manager, Dict<String, i64>) = call(&pool, "managed_new", ());
        assert_eq!(dict.get("made by").unwrap(), Some(1));
        call::<()>(&pool, "dict_add", (&dict, "here", 10));
        assert_eq!(dict.add("here", 1).unwrap(), 11);
        assert!(manager.process().is_none());
        let usage = manager.usage().unwrap();
        assert_eq!((usage.objects, usage.max_bytes), (1, 256 << 20));
        manager.shutdown().unwrap();
        let late = pool.apply::<_, Option<i64>>("dict_get", (&dict, "here")).unwrap_err();
        assert!(matches!(&late, Error::Encode(why) if why == GONE), "{late}");
        assert_eq!(dict.get("here"), Err(ManagerError::Gone));
    });
}

#[test]
fn a_manager_lives_as_long_as_anybody_has_something_of_it() {
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
fn each_method_is_one_step() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let dict: Dict<String, i64> = manager.dict([]).unwrap();
        let pool = pool(4);
        let workers: Vec<AsyncResult<()>> = ["dict_add", "dict_fetch_update", "dict_add", "dict_fetch_update"]
            .map(|task| start(&pool, task, (&dict, "sum", 250)))
            .into();
        for _ in 0..250 {
            dict.add("sum", 1).unwrap();
        }
        for worker in workers {
            worker.get_timeout(PATIENCE).unwrap();
        }
        assert_eq!(dict.get("sum").unwrap(), Some(1250));
    });
}

#[test]
fn threads_of_the_host_use_a_manager_together() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let counter: Counter<u32> = manager.counter([]).unwrap();
        thread::scope(|scope| {
            for number in 0..8 {
                let counter = &counter;
                scope.spawn(move || {
                    for _ in 0..100 {
                        counter.add(&(number % 2), 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(
            counter.items::<BTreeMap<_, _>>().unwrap(),
            BTreeMap::from([(0, 400), (1, 400)])
        );
    });
}

#[test]
fn g_23_a_managed_list_in_a_dict_is_that_list() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let list: List<i64> = manager.list([1]).unwrap();
        let dict: Dict<String, List<i64>> = manager.dict([]).unwrap();
        dict.set("l", &list).unwrap();
        let pool = pool(2);
        call::<()>(&pool, "nested_push", (&dict, "l", 2));
        dict.get("l").unwrap().unwrap().push(&3).unwrap();
        assert_eq!(list.items::<Vec<_>>().unwrap(), [1, 2, 3]);

        // A plain one is a copy; to change it is a step of its own.
        let plain: Dict<String, Vec<i64>> = manager.dict([("l".into(), vec![1])]).unwrap();
        plain.get("l").unwrap().unwrap().push(2);
        assert_eq!(plain.get("l").unwrap(), Some(vec![1]));
        plain
            .fetch_update("l", |list| list.map(|list| [&list[..], &[2]].concat()))
            .unwrap();
        assert_eq!(plain.get("l").unwrap(), Some(vec![1, 2]));
    });
}

#[test]
fn a_manager_holds_no_more_than_it_may() {
    isolated(|| {
        let (why, bytes, max_bytes): (String, u64, u64) = call(&pool(1), "managed_full", (100_000,));
        assert_eq!(why, "the manager would hold more than it may");
        assert_eq!(max_bytes, 100_000);
        assert!((90_000..=100_000).contains(&bytes), "{bytes}");

        let manager = Manager::builder().max_bytes(10_000).start().unwrap();
        let dict: Dict<String, String> = manager.dict([("a".into(), "x".repeat(5000))]).unwrap();
        assert_eq!(dict.set("b", &"x".repeat(5000)), Err(ManagerError::Full));
        assert_eq!(
            dict.update([("c".into(), String::new()), ("b".into(), "x".repeat(5000))]),
            Err(ManagerError::Full)
        );
        assert_eq!(dict.keys().unwrap(), ["a"]);
        dict.set("a", &"y".repeat(8000)).unwrap();
        dict.remove("a").unwrap();
        dict.set("b", &"x".repeat(8000)).unwrap();
        assert_eq!(
            dict.replace_all([("c".into(), "x".repeat(20_000))]),
            Err(ManagerError::Full)
        );
        assert_eq!(dict.keys().unwrap(), ["b"]);
    });
}

#[test]
fn a_key_is_waited_for_until_it_changes() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let dict: Dict<String, i64> = manager.dict([("a".into(), 1)]).unwrap();
        let pool = pool(1);
        let wait = |known: Option<i64>, time: Option<u64>| {
            start::<(bool, Option<i64>)>(&pool, "dict_wait", (&dict, "a", known, time))
        };
        assert_eq!(wait(None, None).get_timeout(PATIENCE).unwrap(), (true, Some(1)));
        assert_eq!(wait(Some(1), Some(0)).get_timeout(PATIENCE).unwrap(), (false, None));
        assert_eq!(wait(Some(1), Some(10)).get_timeout(PATIENCE).unwrap(), (false, None));
        for (change, now) in [(Some(2), Some(2)), (None, None)] {
            let known = dict.get("a").unwrap();
            let waiting = wait(known, None);
            asleep(&pool);
            dict.set("another", &1).unwrap();
            dict.set("a", &known.unwrap()).unwrap();
            match change {
                Some(value) => drop(dict.set("a", &value).unwrap()),
                None => drop(dict.remove("a").unwrap()),
            }
            assert_eq!(waiting.get_timeout(PATIENCE).unwrap(), (true, now));
        }
        let waiting = wait(None, None);
        asleep(&pool);
        dict.clear().unwrap();
        dict.replace_all([("a".into(), 9)]).unwrap();
        assert_eq!(waiting.get_timeout(PATIENCE).unwrap(), (true, Some(9)));
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
fn handles_of_one_type_are_no_handles_of_another() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let list: List<i64> = manager.list([]).unwrap();
        let pool = pool(1);
        assert_eq!(
            error(&pool, "dict_get", (&list, "a")),
            "the managed object is of another type"
        );
        let lock = wasmp::Lock::new().unwrap();
        assert_eq!(failure(&pool, "dict_get", (&lock, "a")).kind, ErrorKind::Arguments);
    });
}

#[test]
fn many_and_large_values_come_back_as_they_were() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let large: Dict<u32, serde_bytes::ByteBuf> = manager.dict([]).unwrap();
        let value = serde_bytes::ByteBuf::from(vec![7; 40 << 20]);
        large.set(&1, &value).unwrap();
        assert_eq!(large.get(&1).unwrap(), Some(value.clone()));
        // Two of them are longer than a message may be, and one by one they are not.
        large.set(&2, &value).unwrap();
        assert_eq!(large.values().map(drop), Err(ManagerError::TooLarge));
        let huge = serde_bytes::ByteBuf::from(vec![7; 70 << 20]);
        assert_eq!(large.set(&3, &huge), Err(ManagerError::TooLarge));
        assert_eq!(large.len().unwrap(), 2);

        let many: Dict<u32, u32> = manager.dict((0..100_000).map(|key| (key, key * 2))).unwrap();
        assert_eq!(many.len().unwrap(), 100_000);
        assert!(
            many.items::<Vec<_>>()
                .unwrap()
                .into_iter()
                .enumerate()
                .all(|(at, (key, value))| key as usize == at && value == 2 * key)
        );
    });
}

#[test]
fn sets_and_namespaces_travel_too() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let set: Set<(i64, String)> = manager.set([(1, "one".into())]).unwrap();
        let space: Namespace = manager.namespace().unwrap();
        space.set("set", &set).unwrap();
        let again: Set<(i64, String)> = space.get("set").unwrap().unwrap();
        again.insert(&(2, "two".to_owned())).unwrap();
        assert_eq!(set.len().unwrap(), 2);
    });
}

/// An address on the loopback where a port is free.
fn anywhere() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn a_manager_is_reached_from_elsewhere_by_hosts_and_guests() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let here: Dict<String, i64> = manager.named_dict("shared").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let socket = Address::Unix(folder.path().join("socket"));
        for address in [anywhere(), socket] {
            let server = manager.listen(&address, b"key").unwrap();
            let there = Manager::connect(server.address(), b"key").unwrap();
            let dict: Dict<String, i64> = there.named_dict("shared").unwrap();
            dict.set("a", &1).unwrap();
            assert_eq!(here.remove("a").unwrap(), Some(1));
            let pool = pool(2);
            for methods in ["dict_methods", "list_methods", "other_methods"] {
                assert_eq!(call::<Vec<String>>(&pool, methods, (&there,)), nothing());
            }
            let adding = [(); 2].map(|()| start::<()>(&pool, "dict_add", (&dict, "sum", 100)));
            for _ in 0..100 {
                here.add("sum", 1).unwrap();
            }
            for adding in adding {
                adding.get_timeout(PATIENCE).unwrap();
            }
            assert_eq!(here.remove("sum").unwrap(), Some(300));
            let large = serde_bytes::ByteBuf::from(vec![7; 20 << 20]);
            let bytes: Dict<u8, serde_bytes::ByteBuf> = there.dict([]).unwrap();
            bytes.set(&0, &large).unwrap();
            assert_eq!(bytes.get(&0).unwrap(), Some(large));
        }
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    });
}

#[test]
fn rm_02_a_manager_listens_again_at_the_same_address_at_once() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let address = server.address().clone();
        let client = Manager::connect(&address, b"key").unwrap();
        assert!(manager.listen(&address, b"key").is_err(), "li_01: it is taken");
        drop(server);
        let server = manager.listen(&address, b"key").unwrap();
        assert_eq!(server.address(), &address);
        assert_eq!(client.named_dict::<u8, u8>("a").unwrap().len().unwrap(), 0);
    });
}

#[test]
fn who_has_another_key_or_finds_nobody_is_told_so() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let address = server.address().clone();
        assert_eq!(
            Manager::connect(&address, b"other").unwrap_err(),
            ManagerError::Authentication
        );
        drop(server);
        let nobody = Manager::connect(&address, b"key").unwrap_err();
        assert!(
            matches!(&nobody, ManagerError::Start(why) if why.contains("refused")),
            "{nobody}"
        );
    });
}

#[test]
fn who_vanishes_is_gone_for_clients_elsewhere_too() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let dict: Dict<String, i64> = there.named_dict("d").unwrap();
        let waiter = thread::spawn({
            let dict = dict.clone();
            move || dict.wait_for_change("never", None)
        });
        let pool = pool(1);
        assert_eq!(call::<Option<i64>>(&pool, "dict_get", (&dict, "never")), None);
        let waiting = start::<(bool, Option<i64>)>(&pool, "dict_wait", (&dict, "never", None::<i64>, None::<u64>));
        asleep(&pool);
        process_of(&manager).kill();
        assert_eq!(waiter.join().unwrap(), Err(ManagerError::Gone));
        let failed = waiting.get_timeout(PATIENCE).unwrap_err().to_string();
        assert!(failed.contains(GONE), "{failed}");
        assert_eq!(dict.get("a"), Err(ManagerError::Gone));
    });
}

#[test]
fn what_a_client_elsewhere_has_made_alone_goes_with_it() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let list: List<i64> = there.list([1, 2]).unwrap();
        assert_eq!(manager.usage().unwrap().objects, 1);
        drop((list, there));
        eventually("the manager has noticed", || {
            (manager.usage().unwrap().objects == 0).then_some(())
        });
    });
}

#[test]
fn handles_do_not_travel_to_a_manager_elsewhere() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let dict: Dict<String, wasmp::Lock> = there.dict([]).unwrap();
        let refused = dict.set("lock", &wasmp::Lock::new().unwrap()).unwrap_err();
        assert!(matches!(&refused, ManagerError::Encode(_)), "{refused}");
        assert_eq!(dict.len().unwrap(), 0);
    });
}

#[test]
fn a_client_that_sends_garbage_harms_only_itself() {
    use std::io::{Read as _, Write as _};

    isolated(|| {
        let manager = Manager::new().unwrap();
        let server = manager.listen(&anywhere(), b"key").unwrap();
        let there = Manager::connect(server.address(), b"key").unwrap();
        let dict: Dict<String, i64> = there.named_dict("d").unwrap();
        let Address::Tcp(address) = server.address() else {
            panic!("it is TCP")
        };
        for garbage in [
            &b"GET / HTTP/1.1\r\n\r\n                    "[..],
            &[0xff; 4096],
            b"wasmp manager 1\n",
            b"",
        ] {
            let mut stranger = std::net::TcpStream::connect(address).unwrap();
            // It may have been shown the door by now.
            let _ = stranger.write_all(garbage);
            let _ = stranger.shutdown(std::net::Shutdown::Write);
            let mut said = Vec::new();
            // It is greeted, and no more. What it has not read may end the connection the hard way.
            let _ = stranger.read_to_end(&mut said);
            assert!(said.len() <= 48, "{said:?}");
            dict.add("a", 1).unwrap();
        }
        // More of them than may stand at the door, who say nothing: others come in when they have gone.
        let silent: Vec<_> = (0..40)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        dict.add("a", 1).unwrap();
        drop(silent);
        eventually("the door is free", || Manager::connect(server.address(), b"key").ok());
        assert_eq!(dict.get("a").unwrap(), Some(5));
    });
}

#[test]
fn a_request_for_more_than_an_answer_may_be_harms_nobody() {
    isolated(|| {
        let manager = Manager::builder().max_bytes(60 << 20).start().unwrap();
        let dict: Dict<u8, serde_bytes::ByteBuf> = manager.dict([]).unwrap();
        dict.set(&1, &serde_bytes::ByteBuf::from(vec![7; 40 << 20])).unwrap();
        assert_eq!(dict.get_many(&[&1; 200]).map(drop), Err(ManagerError::TooLarge));
        let numbers: List<u8> = manager.list([]).unwrap();
        assert_eq!(numbers.extend((0..2_000_000).map(|_| 0)), Err(ManagerError::TooLarge));
        // One value for many who wait for it.
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let dict = dict.clone();
                thread::spawn(move || dict.wait_for_change(&2, None).unwrap().unwrap().len())
            })
            .collect();
        eventually("all wait", || {
            (manager.usage().unwrap().bytes > (40 << 20) + 20 * 128).then_some(())
        });
        dict.set(&2, &serde_bytes::ByteBuf::from(vec![7; 15 << 20])).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), 15 << 20);
        }
    });
}

#[test]
fn a_value_that_is_written_in_another_order_each_time_can_be_updated() {
    use std::collections::HashMap;

    isolated(|| {
        let manager = Manager::new().unwrap();
        let dict: Dict<String, HashMap<u32, u32>> = manager.dict([]).unwrap();
        dict.set("m", &(0..100).map(|number| (number, 0)).collect()).unwrap();
        let mut tries = 0;
        for number in 0..50 {
            dict.fetch_update("m", |map| {
                tries += 1;
                let mut map = map.cloned().unwrap_or_default();
                map.insert(number, 1);
                Some(map)
            })
            .unwrap();
        }
        assert_eq!(tries, 50);
        assert_eq!(dict.get("m").unwrap().unwrap().values().sum::<u32>(), 50);
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
fn what_was_done_once_is_not_looked_at_again() {
    isolated(|| {
        let manager = Manager::new().unwrap();
        let counter: Counter<String> = manager.counter([]).unwrap();
        assert!(
            counter
                .update_once(&1, [("a", 1)].map(|(key, count)| (key.to_owned(), count)))
                .unwrap()
        );
        counter.add("a", i64::MAX - 1).unwrap();
        assert!(!counter.update_once(&1, [("a".to_owned(), 1)]).unwrap());
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
