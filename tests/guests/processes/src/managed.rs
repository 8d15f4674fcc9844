//! What a manager holds, in processes that are started in each way.

use std::cell::RefCell;

use wasmp_guest::{
    Dict, Event, List, Manager, ManagerError, Process, Queue, Result, StartMethod, get_context, managed, task,
};

pub(super) fn run(scenario: &str) -> Result<bool> {
    match scenario {
        "sm_managed" => managed(),
        "sm_07_pool" => pool(),
        "fork_managed" => forked(),
        "mm_01_types" => types(),
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

/// A number, three times.
#[task]
fn cube(number: i64) -> i64 {
    number.pow(3)
}

/// Has a pool work that its parent has made.
#[task]
fn use_pool(pool: managed::Pool, cubes: List<i64>) -> Result<()> {
    Ok(cubes.extend(pool.map(cube, 0..10)?)?)
}

fn pool() -> Result<()> {
    let manager = Manager::new()?;
    let (pool, cubes) = (manager.pool(2)?, manager.list([])?);
    let child = Process::new(use_pool).args((&pool, &cubes)).start()?;
    assert_eq!(pool.apply(cube, (10,))?, 1000);
    child.join()?;
    assert_eq!(child.exitcode(), Some(0));
    assert_eq!(cubes.items::<Vec<_>>()?, (0..10).map(cube).collect::<Vec<_>>());
    pool.close()?;
    Ok(pool.join()?)
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

/// Numbers, as they came.
struct Tally {
    numbers: Vec<i64>,
}

#[managed]
impl Tally {
    pub fn new(numbers: Vec<i64>) -> Self {
        Self { numbers }
    }

    pub fn add(&mut self, number: i64) -> usize {
        self.numbers.push(number);
        self.numbers.len()
    }

    /// The last one, and there has to be one.
    pub fn take(&mut self) -> Result<i64, String> {
        self.numbers.pop().ok_or_else(|| "there are none".to_owned())
    }

    pub fn sum(&self) -> i64 {
        self.check();
        self.numbers.iter().sum()
    }

    fn check(&self) {
        assert!(self.numbers.iter().all(|number| *number >= 0), "a number is negative");
    }
}

/// Adds numbers to a tally that came in an argument, and to another that comes in a message, and passes a third on.
#[task]
fn tally(mine: TallyProxy, queue: Queue<TallyProxy>) -> Result<()> {
    let other = queue.get()?;
    for number in 1..=100 {
        mine.add(number)?;
        other.add(number)?;
    }
    queue.put(mine)?;
    Ok(())
}

fn types() -> Result<()> {
    let manager = Manager::new()?;
    let (one, other) = (TallyProxy::new(&manager, vec![])?, TallyProxy::new(&manager, vec![7])?);
    let queues = [Queue::new(0)?, Queue::new(0)?, Queue::new(0)?];
    let mut processes = Vec::new();
    for queue in &queues {
        processes.push(Process::new(tally).args((&one, queue)).start()?);
        queue.put(other.clone())?;
    }
    for (process, queue) in processes.into_iter().zip(&queues) {
        process.join()?;
        assert_eq!(process.exitcode(), Some(0));
        assert!(queue.get()?.sum()? >= 5050);
    }
    assert_eq!((one.sum()?, other.sum()?), (3 * 5050, 3 * 5050 + 7));
    // CPython: the exception is that of the server.
    let empty = TallyProxy::new(&manager, vec![])?;
    match empty.take() {
        Err(ManagerError::Call(error)) => assert_eq!(error.message, "there are none"),
        other => panic!("{other:?}"),
    }
    assert_eq!(empty.add(-1)?, 1);
    assert!(matches!(empty.sum(), Err(ManagerError::Call(error)) if error.message.starts_with("a number is negative")));
    assert!(matches!(empty.take(), Err(ManagerError::Spoiled(_))));
    assert_eq!(manager.usage()?.objects, 3);
    Ok(())
}
