//! Processes with names of their own, and one without: `wasmp run examples/named`.

#![allow(clippy::print_stdout, reason = "the names are this program's output")]

use wasmp_guest::{Process, Result, current_process, main, task};

/// Says what the process is called that this runs in.
#[task]
fn work() -> Result<()> {
    println!("I am {}", current_process()?.name());
    Ok(())
}

#[main]
fn main() -> Result<()> {
    work()?;
    let cook = Process::new(work).name("Cook").start()?;
    let waiter = Process::new(work).name("Waiter").start()?;
    // The third child of `MainProcess`, so it is called `Process-3`.
    let other = Process::new(work).start()?;
    for process in [cook, waiter, other] {
        process.join()?;
        println!("{} is done", process.name());
    }
    Ok(())
}
