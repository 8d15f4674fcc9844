//! Many at a time.

use std::sync::OnceLock;

use wasmp_guest::{Event, Lock, Process, Result, Semaphore, SharedError, task};

use super::{nothing, sleeper};

pub(super) fn run(scenario: &str, rest: &[String]) -> Result<bool> {
    let count = rest.first().map_or(Ok(100), |count| count.parse())?;
    match scenario {
        "p_18_many" => many(count),
        "printed_in_turns" => printed_in_turns(),
        "rt_01_killed_with_many_locks" => killed_with_many_locks(),
        "rt_04_long_names" => long_names(),
        "rt_07_semaphore_of_the_module" => semaphore_of_the_module(),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn many(count: usize) -> Result<()> {
    let short: Vec<Process> = (0..count)
        .map(|_| Process::new(nothing).start())
        .collect::<Result<_, _>>()?;
    for process in &short {
        process.join()?;
        assert_eq!(process.exitcode(), Some(0));
    }
    let begun = Event::new()?;
    let sleepers: Vec<Process> = (0..count)
        .map(|_| Process::new(sleeper).args((&begun,)).daemon(true).start())
        .collect::<Result<_, _>>()?;
    for process in &sleepers {
        process.terminate();
    }
    for process in &sleepers {
        process.join()?;
        assert_eq!(process.exitcode(), Some(-15));
    }
    Ok(())
}

/// Prints blocks of three lines, each while nobody else may.
#[task]
fn print_blocks(who: usize, lock: Lock) -> Result<()> {
    for block in 0..200 {
        let _guard = lock.lock()?;
        for line in ["begins", "goes on", "ends"] {
            println!("{who} {block} {line}");
        }
    }
    Ok(())
}

fn printed_in_turns() -> Result<()> {
    let lock = Lock::new()?;
    let printers: Vec<Process> = (0..5)
        .map(|who| Process::new(print_blocks).args((who, &lock)).start())
        .collect::<Result<_, _>>()?;
    for printer in printers {
        printer.join()?;
    }
    Ok(())
}

/// What a module has for itself, as one that is made when a Python module is imported.
static SEMAPHORE: OnceLock<Semaphore> = OnceLock::new();

fn semaphore() -> &'static Semaphore {
    SEMAPHORE.get_or_init(|| Semaphore::new(1).expect("a semaphore"))
}

/// Takes the permit of its own module, and one of its parent's.
#[task]
fn take_permits(parents: Semaphore) -> Result<()> {
    assert!(parents.acquire_timeout(super::LONG)?);
    // A copy has that of its parent, which is taken by now.
    let own = semaphore().try_acquire()?;
    assert_eq!(own, wasmp_guest::get_start_method()? != wasmp_guest::StartMethod::Fork);
    Ok(())
}

fn semaphore_of_the_module() -> Result<()> {
    for _ in 0..20 {
        let process = Process::new(take_permits).args((semaphore(),)).start()?;
        process.join()?;
        assert_eq!(process.exitcode(), Some(0));
        assert!(!semaphore().try_acquire()?, "it is the same");
        semaphore().release()?;
    }
    Ok(())
}

/// Has so many locks, says so, and waits to be killed.
#[task]
fn have_locks(count: usize, begun: Event) -> Result<()> {
    let locks: Vec<Lock> = (0..count).map(|_| Lock::new()).collect::<Result<_, _>>()?;
    begun.set()?;
    Event::new()?.wait()?;
    drop(locks);
    Ok(())
}

/// Each time more than half of the objects that there may be: those of who was killed before have to be gone.
fn killed_with_many_locks() -> Result<()> {
    for _ in 0..5 {
        let begun = Event::new()?;
        let process = Process::new(have_locks).args((600, &begun)).start()?;
        assert!(begun.wait_timeout(super::LONG)?);
        process.kill();
        process.join()?;
        assert_eq!(process.exitcode(), Some(-9));
    }
    Ok(())
}

fn long_names() -> Result<()> {
    let lengths = [
        (255, SharedError::NotFound),
        (256, SharedError::Invalid),
        (100_000, SharedError::Invalid),
    ];
    for (length, error) in lengths {
        assert_eq!(Lock::named(&"n".repeat(length)).unwrap_err(), error, "{length}");
    }
    Ok(())
}
