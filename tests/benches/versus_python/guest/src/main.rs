//! The tasks that the benchmark runs. Its Python peer and its native peer do the same work.

#![expect(clippy::needless_pass_by_value, reason = "arguments of a task are its own")]

mod kernels;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmp_guest::{Connection, Dict, Lock, Process, Queue, Result, StartMethod, Value, task};

/// Next to no work at all: what is measured is the way there and back.
#[task]
fn square(x: i64) -> i64 {
    x * x
}

/// [`square`] in an instance that has never run anything before; an error in any other.
#[task]
fn square_afresh(x: i64) -> std::result::Result<i64, &'static str> {
    static USED: AtomicBool = AtomicBool::new(false);
    if USED.swap(true, Ordering::Relaxed) {
        Err("this instance has run a task before")
    } else {
        Ok(square(x))
    }
}

/// Runs for ever, so that somebody has to kill it.
#[task]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// Runs one of the [`kernels`], by its name.
#[task]
fn kernel(name: String, rounds: u64) -> std::result::Result<u64, String> {
    kernels::find(&name)
        .map(|kernel| kernel(rounds))
        .ok_or_else(|| format!("no kernel is called {name}"))
}

/// Forks and waits, so many times, with so many bytes of memory beyond what it has anyway.
#[task]
fn fork_and_join(times: u64, ballast: usize) -> Result<()> {
    static BALLAST: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    if let Ok(mut kept) = BALLAST.lock()
        && kept.len() != ballast
    {
        // Not zero: that would not have to be copied. Nor twice as much, which is what is written once there is another.
        *kept = vec![1; ballast];
    }
    for _ in 0..times {
        let process = Process::new(square)
            .args((7,))
            .start_method(StartMethod::Fork)
            .start()?;
        process.join()?;
        if process.exitcode() != Some(0) {
            return Err(wasmp_guest::Error::new("a process that failed"));
        }
    }
    Ok(())
}

/// Puts so many messages of so many bytes.
#[task]
fn fill(queue: Queue<Vec<u8>>, times: u64, size: usize) -> Result<()> {
    let message = vec![0; size];
    for _ in 0..times {
        queue.put_bytes(&message)?;
    }
    Ok(())
}

/// Gets so many messages.
#[task]
fn drain(queue: Queue<Vec<u8>>, times: u64) -> Result<()> {
    for _ in 0..times {
        queue.get_bytes()?;
    }
    Ok(())
}

/// Sends, and waits for the answer.
#[task]
fn ping(connection: Connection, times: u64) -> Result<()> {
    for _ in 0..times {
        connection.send(&())?;
        connection.recv::<()>()?;
    }
    Ok(())
}

/// Answers.
#[task]
fn pong(connection: Connection, times: u64) -> Result<()> {
    for _ in 0..times {
        let ball: () = connection.recv()?;
        connection.send(&ball)?;
    }
    Ok(())
}

/// Acquires and releases.
#[task]
fn lock_pairs(lock: Lock, times: u64) -> Result<()> {
    for _ in 0..times {
        lock.acquire()?;
        lock.release()?;
    }
    Ok(())
}

/// Sets and gets, the one after the other: so many operations.
#[task]
fn set_and_get(dict: Dict<u64, u64>, times: u64) -> Result<()> {
    for number in 0..times / 2 {
        dict.set(&(number % 100), &number)?;
        if dict.get(&(number % 100))?.is_none() {
            return Err(wasmp_guest::Error::new("a value that is not there"));
        }
    }
    Ok(())
}

/// Adds one under the lock.
#[task]
fn increment(value: Value<i64>, times: u64) -> Result<()> {
    for _ in 0..times {
        let number = value.lock()?;
        number.set(number.get()? + 1)?;
    }
    Ok(())
}

/// Adds one atomically.
#[task]
fn fetch_add(value: Value<i64>, times: u64) -> Result<()> {
    for _ in 0..times {
        value.fetch_add(1)?;
    }
    Ok(())
}

fn main() {}
