//! Each worker of a pool reports who it is and where it runs: `wasmp run examples/worker_report`.

#![allow(clippy::print_stdout, reason = "the reports are this program's output")]
#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use std::env::consts::ARCH;

use wasmp_guest::{Barrier, Pool, Result, current_process, main, task};

const WORKERS: usize = 4;

/// Says where it runs, when all workers have come this far, so that none of them runs two.
#[task]
fn report(barrier: Barrier) -> Result<String> {
    barrier.wait()?;
    let me = current_process()?;
    // What it sees is not this machine, but the sandbox. `consts::OS` is empty: there is none.
    Ok(format!("{}: process {} on {ARCH}", me.name(), me.pid()))
}

#[main]
fn main() -> Result<()> {
    let pool = Pool::new(WORKERS)?;
    let barrier = Barrier::new(WORKERS as u32)?;
    // One item at a time, so that no worker takes two.
    let mut reports: Vec<String> = pool.task(report).chunksize(1).map((0..WORKERS).map(|_| &barrier))?;
    reports.sort_unstable();
    for report in reports {
        println!("{report}");
    }
    Ok(())
}
