//! The tasks that the benchmark runs. Its Python peer and its native peer do the same work.

mod kernels;

use std::sync::atomic::{AtomicBool, Ordering};

use wasmp_guest::task;

/// Next to no work at all: what is measured is the way there and back.
#[task]
fn square(x: i64) -> i64 {
    x * x
}

/// [`square`] in an instance that has never run anything before; an error in any other.
#[task]
fn square_afresh(x: i64) -> Result<i64, &'static str> {
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
#[expect(clippy::needless_pass_by_value, reason = "arguments of a task are its own")]
fn kernel(name: String, rounds: u64) -> Result<u64, String> {
    kernels::find(&name)
        .map(|kernel| kernel(rounds))
        .ok_or_else(|| format!("no kernel is called {name}"))
}

fn main() {}
