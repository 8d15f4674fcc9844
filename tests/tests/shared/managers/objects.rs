//! Dictionaries, lists, sets, counters and namespaces.

use std::collections::BTreeMap;
use std::thread;

use wasmp::{AsyncResult, Counter, Dict, Error, ErrorKind, List, Manager, ManagerError, Namespace, Set};
use wasmp_tests::{eventually, isolated};

use super::{GONE, PATIENCE, both, nothing};
use crate::common::{asleep, call, error, failure, pool, start};

#[test]
fn mc_05_mc_06_a_dict_has_the_methods_of_a_mapping() {
    isolated(|| both(|manager| assert_eq!(call::<Vec<String>>(&pool(1), "dict_methods", (manager,)), nothing())));
}

#[test]
fn mc_01_mc_02_a_list_has_the_methods_of_a_sequence() {
    isolated(|| both(|manager| assert_eq!(call::<Vec<String>>(&pool(1), "list_methods", (manager,)), nothing())));
}

#[test]
fn mc_10_sm_13_sm_14_sets_counters_and_namespaces_have_theirs() {
    isolated(|| both(|manager| assert_eq!(call::<Vec<String>>(&pool(1), "other_methods", (manager,)), nothing())));
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
fn mc_01_g_23_a_managed_list_in_a_dict_is_that_list() {
    isolated(|| {
        both(|manager| {
            let list: List<i64> = manager.list([1]).unwrap();
            let dict: Dict<String, List<i64>> = manager.dict([]).unwrap();
            dict.set("l", &list).unwrap();
            let pool = pool(2);
            call::<()>(&pool, "nested_push", (&dict, "l", 2));
            dict.get("l").unwrap().unwrap().push(&3).unwrap();
            assert_eq!(list.items::<Vec<_>>().unwrap(), [1, 2, 3]);
            // One that a worker has put there, wherever the manager is, and one that was looked at to be changed.
            call::<()>(&pool, "nested_store", (&dict, "w", &list));
            let lists: List<List<i64>> = manager.list([dict.get("w").unwrap().unwrap()]).unwrap();
            lists.get(-1).unwrap().push(&4).unwrap();
            dict.fetch_update("w", |list| {
                list.unwrap().push(&5).unwrap();
                list.cloned()
            })
            .unwrap();
            assert_eq!(
                dict.compare_exchange("w", None, None)
                    .unwrap()
                    .unwrap_err()
                    .unwrap()
                    .len(),
                Ok(5)
            );
            dict.compare_exchange("w", Some(&list), None).unwrap().unwrap();
            assert_eq!(list.items::<Vec<_>>().unwrap(), [1, 2, 3, 4, 5]);

            // A plain one is a copy; to change it is a step of its own.
            let plain: Dict<String, Vec<i64>> = manager.dict([("l".into(), vec![1])]).unwrap();
            plain.get("l").unwrap().unwrap().push(2);
            assert_eq!(plain.get("l").unwrap(), Some(vec![1]));
            plain
                .fetch_update("l", |list| list.map(|list| [&list[..], &[2]].concat()))
                .unwrap();
            assert_eq!(plain.get("l").unwrap(), Some(vec![1, 2]));
        });
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
