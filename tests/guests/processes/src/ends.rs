//! How a process, or the program, can end.

use std::os::fd::{FromRawFd, OwnedFd};

use wasmp_guest::{Event, Process, Queue, Result, SharedError, task};

use super::{end, sleeper, waiter};

pub(super) fn run(scenario: &str, rest: &[String]) -> Result<bool> {
    match scenario {
        "exit_codes" => exit_codes(),
        "p_12_kill" => kill(),
        "p_23_broken_streams" => broken_streams(),
        "p_09_interrupt" => interrupt(),
        "interrupted_at_birth" => interrupted_at_birth(),
        // The program itself ends so.
        "end" => end(rest.first().map_or("return", String::as_str)),
        "abort" => std::process::abort(),
        "wait" => wait_for_interrupt(),
        "sleep" => {
            println!("begun");
            std::thread::sleep(std::time::Duration::from_secs(600));
            Ok(())
        }
        "kill_main" => kill_main(),
        _ => return Ok(false),
    }?;
    Ok(true)
}

fn exit_codes() -> Result<()> {
    for (how, code) in [
        ("return", 0),
        ("error", 1),
        ("panic", 1),
        ("0", 0),
        ("3", 3),
        ("-1", 255),
        ("263", 7),
    ] {
        let process = Process::new(end).args((how,)).start()?;
        process.join()?;
        assert_eq!(process.exitcode(), Some(code), "{how}");
    }
    Ok(())
}

fn kill() -> Result<()> {
    let begun = Event::new()?;
    let process = Process::new(sleeper).args((&begun,)).start()?;
    begun.wait()?;
    process.kill();
    process.join()?;
    assert_eq!(process.exitcode(), Some(-9));
    // What was dead before is not disturbed.
    process.kill();
    process.terminate();
    assert_eq!(process.exitcode(), Some(-9));
    Ok(())
}

fn interrupt() -> Result<()> {
    let (begun, queue) = (Event::new()?, Queue::<i64>::new(0)?);
    let sleeping = Process::new(sleeper).args((&begun,)).start()?;
    begun.wait()?;
    begun.clear()?;
    let waiting = Process::new(waiter).args((&begun, &queue)).start()?;
    begun.wait()?;
    // Until it is heard: whoever has said that it has begun may not sleep yet.
    while sleeping.is_alive() || waiting.is_alive() {
        sleeping.interrupt();
        waiting.interrupt();
        sleeping.join_timeout(std::time::Duration::from_millis(10))?;
    }
    assert_eq!((sleeping.exitcode(), waiting.exitcode()), (Some(1), Some(1)));
    begun.clear()?;
    let recovering = Process::new(recover).args((&begun, &queue)).start()?;
    while !begun.wait_timeout(std::time::Duration::from_millis(10))? {
        recovering.interrupt();
    }
    assert_eq!(queue.get()?, 7, "who was interrupted can go on");
    recovering.join()?;
    assert_eq!(recovering.exitcode(), Some(0));
    Ok(())
}

/// Waits until it is interrupted, and then does something else.
#[task]
fn recover(done: Event, queue: Queue<i64>) -> Result<()> {
    match Event::new()?.wait() {
        Err(SharedError::Interrupted) => {}
        other => panic!("{other:?}"),
    }
    // From here on another one would be its end.
    queue.put(7)?;
    done.set()?;
    Ok(())
}

/// Tells what it is told.
fn wait_for_interrupt() -> Result<()> {
    println!("begun");
    match Event::new()?.wait() {
        Err(SharedError::Interrupted) => {
            println!("interrupted");
            Ok(())
        }
        other => panic!("{other:?}"),
    }
}

/// A process that outlives the program by nothing at all, whoever kills that.
fn kill_main() -> Result<()> {
    let begun = Event::new()?;
    let process = Process::new(sleeper).args((&begun,)).start()?;
    begun.wait()?;
    println!("{}", process.pid());
    std::thread::sleep(std::time::Duration::from_secs(600));
    Ok(())
}

/// Who is interrupted before it could do anything has its first wait interrupted.
fn interrupted_at_birth() -> Result<()> {
    for _ in 0..50 {
        let (done, queue) = (Event::new()?, Queue::<i64>::new(0)?);
        let process = Process::new(recover).args((&done, &queue)).start()?;
        process.interrupt();
        process.join()?;
        assert_eq!((process.exitcode(), queue.get()?), (Some(0), 7));
    }
    Ok(())
}

/// Closes its own standard streams.
#[task]
fn break_streams() {
    println!("before");
    for stream in 0..3 {
        // SAFETY: nobody else owns them, and what is printed from here on is lost.
        drop(unsafe { OwnedFd::from_raw_fd(stream) });
    }
}

fn broken_streams() -> Result<()> {
    let process = Process::new(break_streams).start()?;
    process.join()?;
    assert_eq!(process.exitcode(), Some(0));
    Ok(())
}
