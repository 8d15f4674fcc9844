//! Who has started whom, and who is still there: `wasmp run examples/pids`.

#![allow(clippy::print_stdout, reason = "the ids are this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use wasmp_guest::{Event, Process, Result, current_process, main, parent_process, task};

/// Says who it is and who its parent is, and stays until it may go.
#[task]
fn child(go: Event) -> Result<()> {
    if let Some(parent) = parent_process()? {
        println!("child: process {}, parent {}", current_process()?.pid(), parent.pid());
    }
    go.wait()?;
    Ok(())
}

#[main]
fn main() -> Result<()> {
    println!("main: process {}", current_process()?.pid());
    let go = Event::new()?;
    let process = Process::new(child).args((&go,)).start()?;
    println!("main: started {}, alive: {}", process.pid(), process.is_alive());
    go.set()?;
    process.join()?;
    println!("main: joined, alive: {}", process.is_alive());
    Ok(())
}
