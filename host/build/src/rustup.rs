//! Situation 2: have rustup fetch the target.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::TARGET;
use crate::process::{self, StepError};
use crate::toolchain::{Active, PROBE};

/// How long the download may take: 20 MB where the servers answer, for ever where packets to them are dropped. What has
/// been downloaded by then is kept by rustup, so that a second run on a slow line goes on from there.
const DOWNLOAD: Duration = Duration::from_secs(60);

/// Adds the target to the active toolchain, if that is one of rustup's.
pub(crate) fn add_target(active: &Active, dir: &Path) -> Result<(), StepError> {
    let rustc = process::output(Command::new("rustup").args(["which", "rustc"]).current_dir(dir), PROBE)?;
    if !Path::new(rustc.trim_end()).starts_with(&active.sysroot) {
        return Err(StepError::Unavailable(format!(
            "the compiler in use, of {}, is not one of rustup's",
            active.sysroot.display()
        )));
    }
    process::output(
        Command::new("rustup").args(["target", "add", TARGET]).current_dir(dir),
        DOWNLOAD,
    )?;
    Ok(())
}
