//! `wasmp compile`: a module becomes machine code, ahead of time.

use std::fs;
use std::process::ExitCode;

use crate::args;
use crate::error::Error;
use crate::module;
use crate::progress::Progress;
use crate::terminal::Messages;

pub(crate) fn run(args: &args::Compile) -> Result<ExitCode, Error> {
    let module = module::load(&args.module, &Messages::new(false, Progress::none()))?;
    let mut compiled = Vec::new();
    module.compile_to(&mut compiled)?;
    // Only now, so that a module that does not compile leaves the file as it was.
    fs::write(&args.output, compiled).map_err(|error| Error::file("write", &args.output, error))?;
    Ok(ExitCode::SUCCESS)
}
