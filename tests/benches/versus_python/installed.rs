//! A copy of this program to run, instead of the file that its linker wrote.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

use super::Failure;

/// Tells the copy that it is one.
const COPIED: &str = "WASMP_BENCH_COPIED";

/// Goes on as the copy, unless this is it.
pub(crate) fn ensure() -> Result<(), Failure> {
    if env::var_os(COPIED).is_some() {
        return Ok(());
    }
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("versus_python");
    // One that still runs keeps its file.
    if let Err(error) = fs::remove_file(&copy)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    // Not `fs::copy`, which has the system copy page by page.
    let program = env::current_exe()?;
    fs::write(&copy, fs::read(&program)?)?;
    fs::set_permissions(&copy, fs::metadata(&program)?.permissions())?;
    let error = Command::new(&copy).args(env::args_os().skip(1)).env(COPIED, "1").exec();
    Err(format!("{} cannot be run: {error}", copy.display()).into())
}
