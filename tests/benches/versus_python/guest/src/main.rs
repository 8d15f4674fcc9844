//! The tasks that the benchmark runs. Its Python peer and its native peer do the same work.

mod kernels;

use wasmp_guest::task;

/// Next to no work at all: what is measured is the way there and back.
#[task]
fn square(x: i64) -> i64 {
    x * x
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
fn kernel(name: String, rounds: u64) -> Result<u64, String> {
    kernels::find(&name).map(|kernel| kernel(rounds)).ok_or_else(|| format!("no kernel is called {name}"))
}

fn main() {}
