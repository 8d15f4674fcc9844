//! What a manager holds, in processes that are started in each way.

use std::cell::RefCell;

use wasmp_guest::{Dict, Event, List, Manager, Process, Result, StartMethod, get_context, task};

pub(super) fn run(scenario: &str) -> Result<bool> {
    match scenario {
        "sm_managed" => managed(),
        "fork_managed" => forked(),
        _ => return Ok(false),
    }?;
    Ok(true)
}

/// Counts, and notes who it is.
#[task]
fn count(counts: Dict<String, i64>, order: List<i64>, number: i64) -> Result<()> {
    for _ in 0..100 {
        counts.add("sum", 1)?;
    }
    counts.fetch_update("numbers", |there| Some(there.unwrap_or(&0) + number))?;
    Ok(order.push(&number)?)
}

fn managed() -> Result<()> {
    let manager = Manager::new()?;
    let (counts, order) = (manager.dict([])?, manager.list([])?);
    let mut processes = Vec::new();
    for number in 0..4 {
        processes.push(Process::new(count).args((&counts, &order, number)).start()?);
    }
    for _ in 0..100 {
        counts.add("sum", 1)?;
    }
    for process in processes {
        process.join()?;
        assert_eq!(process.exitcode(), Some(0));
    }
    assert_eq!(counts.get("sum")?, Some(500));
    assert_eq!(counts.get("numbers")?, Some(6));
    order.sort()?;
    assert_eq!(order.items::<Vec<_>>()?, [0, 1, 2, 3]);
    // What nobody else was told of goes with its handle; the manager has the two others.
    drop(manager.list([0])?);
    assert_eq!(manager.usage()?.objects, 2);
    Ok(())
}

thread_local! {
    static DICT: RefCell<Option<Dict<String, i64>>> = const { RefCell::new(None) };
}

/// Uses what its parent had, while the parent does, and after it has let go of it.
#[task]
fn go_on(parent_is_done: Event, child_is_done: Event) -> Result<()> {
    DICT.with_borrow(|dict| {
        let dict = dict.as_ref().expect("the parent has it");
        for _ in 0..1000 {
            dict.add("child", 1)?;
        }
        parent_is_done.wait()?;
        assert_eq!(dict.get("parent")?, Some(1000));
        assert_eq!(dict.get("child")?, Some(1000));
        Ok(child_is_done.set()?)
    })
}

fn forked() -> Result<()> {
    let manager = Manager::new()?;
    let dict = manager.dict([])?;
    DICT.set(Some(dict));
    let (parent_is_done, child_is_done) = (Event::new()?, Event::new()?);
    let child = get_context(StartMethod::Fork)
        .process(go_on)
        .args((&parent_is_done, &child_is_done))
        .start()?;
    DICT.with_borrow(|dict| {
        let dict = dict.as_ref().expect("it is here");
        (0..1000).try_for_each(|_| dict.add("parent", 1).map(drop))
    })?;
    DICT.set(None);
    parent_is_done.set()?;
    child.join()?;
    assert_eq!(child.exitcode(), Some(0));
    assert!(child_is_done.is_set()?);
    Ok(())
}
