//! What a forked process has of its parent.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use wasmp_guest::{
    Array, Connection, Event, Lock, MappedMemory, Process, Queue, Result, StartMethod, active_children, get_context,
    pipe, task,
};

use super::nothing;

pub(super) fn run(scenario: &str) -> Result<bool> {
    match scenario {
        "fork_copies" => copies(),
        "kill_copy" => kill_copy(),
        _ => return Ok(false),
    }?;
    Ok(true)
}

static NUMBER: AtomicI64 = AtomicI64::new(1);
static ANSWERS: OnceLock<Queue<String>> = OnceLock::new();
static LARGE: OnceLock<Vec<u64>> = OnceLock::new();

thread_local! {
    static ARRAY: RefCell<Option<(Array<u64>, MappedMemory)>> = const { RefCell::new(None) };
    static LOCK: RefCell<Option<Lock>> = const { RefCell::new(None) };
    static PIPE: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Says what it finds, and changes it.
#[task]
fn look_around() -> Result<()> {
    let answers = ANSWERS.get().expect("the parent has set it");
    answers.put(format!("number {}", NUMBER.fetch_add(1, Ordering::Relaxed)))?;
    let large = LARGE.get().map_or(0, |large| large.iter().sum());
    answers.put(format!("large {large}"))?;
    answers.put(format!("children {}", active_children().len()))?;
    let locked = LOCK.with_borrow(|lock| lock.as_ref().map(|lock| lock.try_lock().map(|guard| guard.is_none())));
    answers.put(format!("locked by somebody else {:?}", locked.transpose()?))?;
    ARRAY.with_borrow(|array| {
        let (array, mapped) = array.as_ref().expect("the parent has mapped it");
        mapped.atomics::<AtomicU64>()[3].fetch_add(7, Ordering::Relaxed);
        assert_eq!(array.get(3).expect("it is there"), 107);
    });
    PIPE.with_borrow(|pipe| {
        pipe.as_ref()
            .expect("the parent has put it there")
            .send("through the pipe")
    })?;
    // It can have children of its own, whose numbers are not those of its parent's.
    let child = Process::new(nothing).start()?;
    child.join()?;
    answers.put(format!("a child of its own: {:?}", child.exitcode()))?;
    Ok(())
}

fn copies() -> Result<()> {
    NUMBER.store(42, Ordering::Relaxed);
    let answers = ANSWERS.get_or_init(|| Queue::new(0).expect("a queue"));
    LARGE.get_or_init(|| (0..4_000_000).collect());
    let array = Array::<u64>::new(10)?;
    array.set(3, 100)?;
    let mapped = array.map()?;
    ARRAY.set(Some((array.clone(), mapped)));
    let (receiver, sender) = pipe()?;
    PIPE.set(Some(sender));
    let lock = Lock::new()?;
    LOCK.set(Some(lock.clone()));
    let guard = lock.lock()?;
    let sibling = Process::new(super::sleeper)
        .args((Event::new()?,))
        .daemon(true)
        .start()?;

    let process = get_context(StartMethod::Fork).process(look_around).start()?;
    let mut said = Vec::new();
    for _ in 0..5 {
        said.push(answers.get()?);
    }
    assert_eq!(
        said,
        [
            "number 42",
            "large 7999998000000",
            "children 0",
            "locked by somebody else Some(true)",
            "a child of its own: Some(0)"
        ]
    );
    process.join()?;
    assert_eq!(process.exitcode(), Some(0));
    assert_eq!(receiver.recv::<String>()?, "through the pipe");
    assert_eq!(
        NUMBER.load(Ordering::Relaxed),
        42,
        "what the child changes is the child's"
    );
    assert_eq!(array.get(3)?, 107, "except what is shared");
    drop(guard);
    assert!(sibling.is_alive());

    let other = get_context(StartMethod::Forkserver).process(look_around).start()?;
    other.join()?;
    assert_eq!(other.exitcode(), Some(1), "it has nothing of its parent");
    Ok(())
}

/// Has a great deal to read before it can begin.
#[task]
fn read_much(numbers: Vec<u64>) -> u64 {
    numbers.len() as u64
}

/// Somebody kills the copy while it is made. It takes a moment to make, and its arguments do not fit where they are handed over.
fn kill_copy() -> Result<()> {
    LARGE.get_or_init(|| (0..8_000_000).collect());
    let arguments = vec![u64::MAX; 500_000];
    let copy = get_context(StartMethod::Fork).process(read_much).args((arguments,));
    println!("ready");
    if let Ok(copy) = copy.start() {
        copy.join()?;
        assert_ne!(copy.exitcode(), None);
    }
    Ok(())
}

/// Looks whether it has all of what its parent had.
#[task]
fn has_all() -> Result<()> {
    let large = LARGE.get().map_or(0, |large| large.iter().sum());
    assert_eq!((NUMBER.load(Ordering::Relaxed), large), (42, 31_999_996_000_000));
    Ok(())
}

/// Forks until somebody has had a part in it.
#[task]
fn fork_until(done: Event) -> Result<()> {
    NUMBER.store(42, Ordering::Relaxed);
    LARGE.get_or_init(|| (0..8_000_000).collect());
    while !done.is_set()? {
        let copy = get_context(StartMethod::Fork).process(has_all).start()?;
        copy.join()?;
        assert_eq!(copy.exitcode(), Some(0));
    }
    Ok(())
}
