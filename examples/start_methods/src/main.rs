//! The start methods side by side, and what a process has of its parent: `wasmp run examples/start_methods`.

#![allow(clippy::print_stdout, reason = "what the processes say is this program's output")]

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use wasmp_guest::{Result, get_all_start_methods, get_context, get_start_method, main, task};

/// Every process begins with 1 here, but a copy of another begins with what that has made of it.
static NUMBER: AtomicI64 = AtomicI64::new(1);

/// Says how this process was started, and which number it finds.
#[task]
fn report() -> Result<()> {
    println!("{}: the number is {}", get_start_method()?.name(), NUMBER.load(Relaxed));
    Ok(())
}

#[main]
fn main() -> Result<()> {
    NUMBER.store(42, Relaxed);
    println!("by default: {}", get_start_method()?.name());
    for method in get_all_start_methods() {
        let process = get_context(method).process(report).start()?;
        process.join()?;
    }
    Ok(())
}
