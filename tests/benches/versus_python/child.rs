//! What this program does when it has started itself: the parts of rows that need a process of their own.

use std::env;
use std::io::{self, BufRead};
use std::time::Instant;

use super::{Failure, kernels, ours};

/// How it is known for a child: by its first argument.
pub(crate) const CHILD: &str = "--child";

/// What a child is to do.
pub(crate) enum Role {
    /// Prints the seconds from nothing to the first result of a pool.
    FirstResult { wasm: String },
    /// Runs a kernel for each line of its input, and prints how many seconds that took.
    Kernel { name: String, rounds: u64 },
}

/// What this process is to do, if it is a child.
pub(crate) fn role() -> Option<Role> {
    let mut arguments = env::args().skip(1);
    if arguments.next()? != CHILD {
        return None;
    }
    match arguments.next()?.as_str() {
        "first-result" => Some(Role::FirstResult {
            wasm: arguments.next()?,
        }),
        "kernel" => Some(Role::Kernel {
            name: arguments.next()?,
            rounds: arguments.next()?.parse().ok()?,
        }),
        _ => None,
    }
}

/// Does it.
pub(crate) fn play(role: Role) -> Result<(), Failure> {
    match role {
        Role::FirstResult { wasm } => {
            let begin = Instant::now();
            println!("{}", ours::first_result(wasm.as_str(), begin)?);
        }
        Role::Kernel { name, rounds } => {
            let kernel = kernels::find(&name).ok_or("no such kernel")?;
            for line in io::stdin().lock().lines() {
                line?;
                let begin = Instant::now();
                std::hint::black_box(kernel(rounds));
                println!("{}", begin.elapsed().as_secs_f64());
            }
        }
    }
    Ok(())
}
