//! The `wasmp` command: parses what was typed, decides what it means, calls the libraries, prints.
//!
//! CONTRACT.md beside this folder is what scripts may rely on.

mod args;
mod build;
mod call;
mod compile;
mod doctor;
mod error;
mod exec;
mod explain;
mod failure;
mod grants;
mod input;
mod inspect;
mod json;
mod ledger;
mod manager;
mod map;
mod module;
mod policies;
mod progress;
mod records;
mod report;
mod run;
mod sandbox;
mod signals;
mod stats;
mod stdout;
mod terminal;

use std::process::ExitCode;

use args::{Cli, Command};
use error::Error;
use progress::Progress;
use terminal::Messages;

/// An item failed.
const FAILED: u8 = 1;
/// Wrong usage (clap uses the same number), or a module, an input or an output that cannot be used.
const UNUSABLE: u8 = 2;
/// Ended by Ctrl-C: 128 and the number of SIGINT, as from a shell.
const INTERRUPTED: u8 = 130;

/// Exits with 0 when everything worked, and with one of the codes above when not. `run` and `exec` have the code of what they
/// run.
///
/// A reader of standard output that goes away (`wasmp map … | head`) ends the run quietly: Rust ignores SIGPIPE, so the
/// write fails, and whoever writes takes that for the end.
fn main() -> ExitCode {
    run(&Cli::parse_or_exit().command).unwrap_or_else(|error| {
        Messages::new(false, Progress::none()).error(&error.to_string());
        UNUSABLE.into()
    })
}

fn run(command: &Command) -> Result<ExitCode, Error> {
    match command {
        Command::Map(args) => map::run(args),
        Command::Call(args) => call::run(args),
        Command::Run(args) => run::run(args),
        Command::Exec(args) => exec::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Build(args) => build::run(args),
        Command::Compile(args) => compile::run(args),
        Command::Manager(args) => manager::run(args),
        Command::Doctor(_) => doctor::run(),
    }
}
