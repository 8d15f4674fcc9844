//! A lock around several lines keeps them together: `wasmp run examples/print_lock`.

#![allow(clippy::print_stdout, reason = "the blocks are this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use std::{thread::sleep, time::Duration};

use wasmp_guest::{Lock, Process, Result, main, task};

/// Prints a block of lines. A line never mixes with others, but without the lock a block would.
#[task]
fn print_block(lock: Lock, number: u32) -> Result<()> {
    let _guard = lock.lock()?;
    for line in 1..=3 {
        println!("process {number}, line {line}");
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[main]
fn main() -> Result<()> {
    let lock = Lock::new()?;
    for number in 0..5 {
        Process::new(print_block).args((&lock, number)).start()?;
    }
    // Whoever comes to its end waits for what it has started.
    Ok(())
}
