//! What `#[main]` is wrapped in.

use std::{fmt::Display, process};

/// Runs a program; an error is its end, with the exit code 1.
pub fn run<E: Display>(main: impl FnOnce() -> Result<(), E>) {
    if cfg!(target_family = "wasm") {
        // The host says what `main` died of as it says it of any other process.
        crate::panic::report_panics();
    }
    if let Err(error) = main() {
        tell(&error);
        process::exit(1);
    }
}

#[expect(clippy::print_stderr, reason = "that is where it is told")]
fn tell(error: &impl Display) {
    match crate::current_process() {
        Ok(process) => eprintln!("Process {}:\nerror: {error:#}", process.name()),
        Err(_) => eprintln!("error: {error:#}"),
    }
}
