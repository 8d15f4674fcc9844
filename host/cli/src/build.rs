//! `wasmp build`: a guest crate becomes a module.

use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use wasmp_build::GuestBuild;

use crate::args;
use crate::error::Error;
use crate::progress::Progress;
use crate::terminal::Messages;
use crate::{module, stdout};

pub(crate) fn run(args: &args::Build) -> Result<ExitCode, Error> {
    let guest = GuestBuild::new(&args.dir).release(args.release);
    let wasm = module::build(&guest, &Messages::new(false, Progress::none()))?;
    stdout::print(&[wasm.as_os_str().as_bytes(), b"\n"].concat())?;
    Ok(ExitCode::SUCCESS)
}
