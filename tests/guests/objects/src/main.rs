//! Every operation of every shared object as a task. A test puts tasks of several workers together.
//!
//! Times are in milliseconds: none is for ever, 0 does not wait. A task that fails shows the error of the operation.

#![allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]

use std::time::Duration;

mod connections;
mod locks;
mod managed;
mod managed_sync;
mod memory;
mod named;
mod queues;
mod signals;
mod types;

/// Picks one of the three forms of an operation that waits.
fn within<R>(
    milliseconds: Option<u64>,
    wait: impl FnOnce() -> R,
    wait_timeout: impl FnOnce(Duration) -> R,
    try_it: impl FnOnce() -> R,
) -> R {
    match milliseconds {
        None => wait(),
        Some(0) => try_it(),
        Some(milliseconds) => wait_timeout(Duration::from_millis(milliseconds)),
    }
}

fn main() {}
