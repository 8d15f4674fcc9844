//! Three processes, started and waited for: `wasmp run examples/processes`.

#![allow(clippy::print_stdout, reason = "the greetings are this program's output")]

use wasmp_guest::{Process, Result, main, task};

/// Says which one it is.
#[task]
fn greet(number: u32, greeting: &str) {
    println!("{greeting} from process {number}");
}

#[main]
fn main() -> Result<()> {
    let mut processes = Vec::new();
    for number in 1..=3 {
        processes.push(Process::new(greet).args((number, "hello")).start()?);
    }
    for process in &processes {
        process.join()?;
    }
    println!("all three are done");
    Ok(())
}
