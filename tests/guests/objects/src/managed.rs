//! What managers hold.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use wasmp_guest::{Counter, Dict, Error, List, Manager, ManagerError, Namespace, Result, Set, Usage, task};

#[task]
fn managed_new() -> Result<(Manager, Dict<String, i64>)> {
    let manager = Manager::new()?;
    let dict = manager.dict([("made by".to_owned(), 1)])?;
    Ok((manager, dict))
}

/// Makes a small manager, and says what it says when it is full.
#[task]
fn managed_full(max_bytes: u64) -> Result<(String, u64, u64)> {
    let manager = Manager::builder().max_bytes(max_bytes).start()?;
    let list = manager.list::<String>([])?;
    let error = loop {
        if let Err(error) = list.push(&"x".repeat(1000)) {
            break error.to_string();
        }
    };
    let Usage { bytes, max_bytes, .. } = manager.usage()?;
    Ok((error, bytes, max_bytes))
}

#[task]
fn dict_set(dict: Dict<String, i64>, key: String, value: i64) -> Result<bool> {
    Ok(dict.set(&key, &value)?)
}

#[task]
fn dict_get(dict: Dict<String, i64>, key: String) -> Result<Option<i64>> {
    Ok(dict.get(&key)?)
}

#[task]
fn dict_pass_on(dict: Dict<String, i64>) -> Result<Dict<String, i64>> {
    dict.get("a")?;
    Ok(dict)
}

/// Adds one, so many times, in one step each.
#[task]
fn dict_add(dict: Dict<String, i64>, key: String, times: u64) -> Result<()> {
    for _ in 0..times {
        dict.add(&key, 1)?;
    }
    Ok(())
}

/// Adds one, so many times, by looking and exchanging.
#[task]
fn dict_fetch_update(dict: Dict<String, i64>, key: String, times: u64) -> Result<()> {
    for _ in 0..times {
        dict.fetch_update(&key, |value| Some(value.unwrap_or(&0) + 1))?;
    }
    Ok(())
}

#[task]
fn dict_items(dict: Dict<String, i64>) -> Result<Vec<(String, i64)>> {
    Ok(dict.items()?)
}

/// Everything that a dictionary can do, as one word for each thing that was not as expected.
#[task]
fn dict_methods(manager: Manager) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, holds: bool| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let dict = manager.dict([("a".to_owned(), 1), ("b".to_owned(), 2)])?;
    check("get", dict.get("a")? == Some(1) && dict.get("c")?.is_none());
    check("contains", dict.contains_key("b")? && !dict.contains_key("c")?);
    check("len", dict.len()? == 2 && !dict.is_empty()?);
    check("set", dict.set("c", &3)? && !dict.set("a", &10)?);
    check(
        "insert",
        dict.insert("c", &30)? == Some(3) && dict.insert("d", &4)?.is_none(),
    );
    check(
        "get_or_insert",
        dict.get_or_insert("d", &9)? == 4 && dict.get_or_insert("e", &5)? == 5,
    );
    check("keys", dict.keys()? == ["a", "b", "c", "d", "e"]);
    check("values", dict.values()? == [10, 2, 30, 4, 5]);
    check(
        "get_many",
        dict.get_many(&["e", "x", "a"])? == [Some(5), None, Some(10)],
    );
    check("remove", dict.remove("b")? == Some(2) && dict.remove("b")?.is_none());
    check("pop_item", dict.pop_item()? == Some(("e".to_owned(), 5)));
    dict.update([("z".to_owned(), 26), ("a".to_owned(), 11)])?;
    let items: Vec<(String, i64)> = dict.items()?;
    check(
        "update",
        items == [("a", 11), ("c", 30), ("d", 4), ("z", 26)].map(|(key, value)| (key.to_owned(), value)),
    );
    check(
        "compare_exchange",
        dict.compare_exchange("a", Some(&11), Some(&12))? == Ok(()),
    );
    check(
        "compare_exchange: another",
        dict.compare_exchange("a", Some(&11), None)? == Err(Some(12)),
    );
    check(
        "compare_exchange: none",
        dict.compare_exchange("n", None, Some(&1))? == Ok(()),
    );
    check(
        "compare_exchange: away",
        dict.compare_exchange("n", Some(&1), None)? == Ok(()) && dict.get("n")?.is_none(),
    );
    check(
        "fetch_update",
        dict.fetch_update("a", |value| value.map(|value| value * 2))? == Some(24),
    );
    check(
        "fetch_update: away",
        dict.fetch_update("a", |_| None)?.is_none() && !dict.contains_key("a")?,
    );
    check("add", dict.add("c", -31)? == -1 && dict.add("new", 5)? == 5);
    dict.update_all(|content: &mut BTreeMap<String, i64>| content.retain(|_, value| *value > 0))?;
    check("update_all", dict.keys()? == ["d", "new", "z"]);
    dict.replace_all([("only".to_owned(), 1)])?;
    check("replace_all", dict.items::<Vec<_>>()? == [("only".to_owned(), 1)]);
    check(
        "once",
        dict.update_once("name", [("x".to_owned(), 1)])? && !dict.update_once("name", [("y".to_owned(), 1)])?,
    );
    check("once: only then", dict.contains_key("x")? && !dict.contains_key("y")?);
    dict.clear()?;
    check("clear", dict.is_empty()? && dict.pop_item()?.is_none());
    check("add: no number", {
        let texts = manager.dict([("a".to_owned(), "text".to_owned())])?;
        texts.add("a", 1) == Err(ManagerError::NoNumber)
    });
    check("add: too much", {
        dict.set("max", &i64::MAX)?;
        dict.add("max", 1) == Err(ManagerError::NoNumber) && dict.get("max")? == Some(i64::MAX)
    });
    Ok(wrong)
}

/// Everything that a list can do.
#[task]
fn list_methods(manager: Manager) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, holds: bool| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let list = manager.list([1, 2, 3])?;
    list.push(&4)?;
    list.extend([5, 6])?;
    check("extend", list.items::<Vec<i64>>()? == [1, 2, 3, 4, 5, 6]);
    check("get", list.get(0)? == 1 && list.get(-1)? == 6);
    check(
        "get: beyond",
        list.get(6) == Err(ManagerError::OutOfRange) && list.get(-7) == Err(ManagerError::OutOfRange),
    );
    list.set(-1, &60)?;
    check(
        "set",
        list.get(5)? == 60 && list.set(6, &0) == Err(ManagerError::OutOfRange),
    );
    check(
        "slice",
        list.slice::<Vec<_>>(1..3)? == [2, 3] && list.slice::<Vec<_>>(-2..)? == [5, 60],
    );
    check(
        "slice: beyond",
        list.slice::<Vec<_>>(4..100)? == [5, 60]
            && list
                .slice::<Vec<_>>((Bound::Included(3), Bound::Excluded(1)))?
                .is_empty(),
    );
    list.insert(0, &0)?;
    list.insert(100, &7)?;
    list.insert(-1, &61)?;
    check("insert", list.items::<Vec<_>>()? == [0, 1, 2, 3, 4, 5, 60, 61, 7]);
    check(
        "pop",
        list.pop(-1)? == 7 && list.pop(0)? == 0 && list.pop(100) == Err(ManagerError::OutOfRange),
    );
    list.splice(1..3, [20, 21, 22])?;
    check("splice", list.items::<Vec<_>>()? == [1, 20, 21, 22, 4, 5, 60, 61]);
    check("index", list.index(&22)? == Some(3) && list.index(&99)?.is_none());
    list.replace_all([3, 1, 2, 1])?;
    check("count", list.count(&1)? == 2 && list.count(&9)? == 0);
    list.reverse()?;
    check("reverse", list.items::<Vec<_>>()? == [1, 2, 1, 3]);
    list.sort()?;
    check("sort", list.items::<Vec<_>>()? == [1, 1, 2, 3]);
    list.repeat(2)?;
    check(
        "repeat",
        list.items::<Vec<_>>()? == [1, 1, 2, 3, 1, 1, 2, 3] && list.len()? == 8,
    );
    list.update_all(|values| values.dedup())?;
    check("update_all", list.items::<Vec<_>>()? == [1, 2, 3, 1, 2, 3]);
    list.clear()?;
    check(
        "clear",
        list.is_empty()? && list.pop(-1) == Err(ManagerError::OutOfRange),
    );
    list.repeat(u64::MAX)?;
    check("repeat: nothing", list.is_empty()?);
    Ok(wrong)
}

/// Everything that a set, a counter and a namespace can do.
#[task]
fn other_methods(manager: Manager) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, holds: bool| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let set: Set<i64> = manager.set([1, 2, 2, 3])?;
    check("set: len", set.len()? == 3 && set.contains(&2)? && !set.contains(&4)?);
    check("set: insert", set.insert(&4)? && !set.insert(&4)?);
    check("set: remove", set.remove(&1)? && !set.remove(&1)?);
    set.extend([5, 2])?;
    check("set: members", set.members::<Vec<_>>()? == [2, 3, 4, 5]);
    set.update_all(|members: &mut Vec<i64>| members.retain(|member| member % 2 == 0))?;
    check(
        "set: update_all",
        set.members::<Vec<_>>()? == [2, 4] && set.pop()? == Some(4),
    );
    set.clear()?;
    check("set: clear", set.is_empty()? && set.pop()?.is_none());

    let counter: Counter<String> = manager.counter([("a".to_owned(), 1)])?;
    check("counter: add", counter.add("a", 2)? == 3 && counter.get("b")? == 0);
    counter.update(["b", "c", "b"].map(|key| (key.to_owned(), 1)))?;
    check(
        "counter: update",
        counter.get("b")? == 2 && counter.total()? == 6 && counter.len()? == 3,
    );
    let common = counter.most_common(2)?;
    check(
        "counter: most_common",
        common == [("a".to_owned(), 3), ("b".to_owned(), 2)],
    );
    check(
        "counter: once",
        counter.update_once(&7, [("a".to_owned(), 1)])? && !counter.update_once(&7, [("a".to_owned(), 1)])?,
    );
    check(
        "counter: items",
        counter.items::<BTreeMap<_, _>>()?.get("a") == Some(&4),
    );
    counter.clear()?;
    check("counter: clear", counter.is_empty()?);

    let space: Namespace = manager.namespace()?;
    space.set("x", &1)?;
    space.set("_hidden", "text")?;
    check(
        "namespace: get",
        space.get("x")? == Some(1) && space.get::<String>("_hidden")?.as_deref() == Some("text"),
    );
    check(
        "namespace: absent",
        space.get::<i64>("y")?.is_none() && !space.has("y")? && space.has("x")?,
    );
    check(
        "namespace: wrong type",
        matches!(space.get::<String>("x"), Err(ManagerError::Decode(_))),
    );
    check(
        "namespace: add",
        space.add("x", 41)? == 42 && space.add("_hidden", 1) == Err(ManagerError::NoNumber),
    );
    check(
        "namespace: names",
        space.names()? == ["x", "_hidden"] && space.remove("x")? && !space.remove("x")?,
    );
    Ok(wrong)
}

/// A list in a dictionary, changed through what the dictionary gives out.
#[task]
fn nested_push(dict: Dict<String, List<i64>>, key: String, value: i64) -> Result<()> {
    let list = dict.get(&key)?.ok_or_else(|| Error::new("no such key"))?;
    Ok(list.push(&value)?)
}

/// A list into a dictionary of the same manager.
#[task]
fn nested_store(dict: Dict<String, List<i64>>, key: String, list: List<i64>) -> Result<()> {
    dict.set(&key, &list)?;
    Ok(())
}

/// Waits until a key has another value than this. Returns whether it has, and which.
#[task]
fn dict_wait(
    dict: Dict<String, i64>,
    key: String,
    known: Option<i64>,
    milliseconds: Option<u64>,
) -> Result<(bool, Option<i64>)> {
    let changed = match milliseconds {
        None => Some(dict.wait_for_change(&key, known.as_ref())?),
        Some(time) => dict.wait_for_change_timeout(&key, known.as_ref(), Duration::from_millis(time))?,
    };
    Ok((changed.is_some(), changed.flatten()))
}

/// Counts words, once for each name, however often it is tried.
#[task]
fn count_once(counter: Counter<String>, name: String, words: Vec<String>) -> Result<bool> {
    Ok(counter.update_once(&name, words.into_iter().map(|word| (word, 1)))?)
}

/// The error of asking a manager again and again, until there is one.
#[task]
fn dict_until_error(dict: Dict<String, i64>) -> Result<String> {
    loop {
        if let Err(error) = dict.add("asked", 1) {
            return Ok(error.to_string());
        }
    }
}

thread_local! {
    static PRIVATE: std::cell::RefCell<Vec<Dict<String, i64>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Makes a dictionary of which nobody else is told, and says how many objects there are.
#[task]
fn managed_private(manager: Manager) -> Result<u64> {
    let dict = manager.dict([])?;
    PRIVATE.with_borrow_mut(|dicts| dicts.push(dict));
    Ok(manager.usage()?.objects)
}

/// Makes managers, ends them, and keeps what is left, until there can be no more: how many, and why.
#[task]
fn managed_kept() -> Result<(u64, String)> {
    let kept = wasmp_guest::Queue::<Manager>::new(0)?;
    let mut made = 0;
    loop {
        match Manager::new() {
            Ok(manager) => {
                kept.put(manager.clone())?;
                manager.shutdown()?;
                made += 1;
            }
            Err(error) => return Ok((made, error.to_string())),
        }
    }
}
