//! Decides which compiler builds the guest: the three situations of the crate page, in order.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{Attempt, BuildError};
use crate::process::{self, StepError};
use crate::store::Store;
use crate::{Progress, TARGET, debian, rustup};

/// How long a question to a tool may take. Long, because rustup may first install the toolchain that a
/// `rust-toolchain.toml` names.
pub(crate) const PROBE: Duration = Duration::from_secs(300);

/// A compiler with a standard library for [`TARGET`].
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// The compiler; `None` for the one that cargo finds by itself.
    pub(crate) rustc: Option<OsString>,
    /// A folder name of its own for the artefacts of this compiler.
    pub(crate) key: String,
    /// What to call it in a message.
    pub(crate) description: String,
}

impl Toolchain {
    /// The compiler called `name` that has its libraries for the target in `libdir`; `None` if the standard library is
    /// not there (the folder alone proves nothing).
    pub(crate) fn new(rustc: Option<OsString>, name: &str, description: String, libdir: &Path) -> Option<Self> {
        let std = fs::read_dir(libdir).ok()?.flatten().find_map(|entry| {
            let name = entry.file_name();
            Some(
                name.to_str()?
                    .strip_prefix("libstd-")?
                    .strip_suffix(".rlib")?
                    .to_owned(),
            )
        })?;
        // Artefacts fit only the standard library that they were compiled against. rustc tells libraries apart by the
        // hash in their names.
        Some(Self {
            rustc,
            key: format!("{name}-{std}"),
            description,
        })
    }
}

/// The toolchain that cargo would use by itself in the guest's folder.
#[derive(Debug)]
pub(crate) struct Active {
    /// Such as `1.95.0`.
    pub(crate) release: String,
    pub(crate) sysroot: PathBuf,
    /// Where the target's libraries are, if it is installed.
    libdir: PathBuf,
}

impl Active {
    /// Asks the compiler in `dir` about itself.
    fn probe(dir: &Path) -> Result<Self, StepError> {
        let rustc = rustc_setting().unwrap_or_else(|| "rustc".into());
        let ask = |args: &[&str]| process::output(Command::new(&rustc).args(args).current_dir(dir), PROBE);
        let unclear = |answer: &str| StepError::Unavailable(format!("its answer makes no sense: {answer:?}"));
        let version = ask(&["--version", "--verbose"])?;
        let release = field(&version, "release: ").ok_or_else(|| unclear(&version))?;
        let paths = ask(&["--print", "sysroot", "--print", "target-libdir", "--target", TARGET])?;
        let Some((sysroot, libdir)) = paths.trim_end().split_once('\n') else {
            return Err(unclear(&paths));
        };
        Ok(Self {
            release: release.to_owned(),
            sysroot: sysroot.into(),
            libdir: libdir.into(),
        })
    }

    /// The cargo next to the compiler. Unlike a rustup proxy it is the same one in every folder.
    pub(crate) fn cargo(&self) -> Option<PathBuf> {
        Some(self.sysroot.join("bin/cargo")).filter(|cargo| cargo.is_file())
    }

    /// This toolchain, if it has the target.
    fn toolchain(&self) -> Option<Toolchain> {
        let release = &self.release;
        Toolchain::new(
            rustc_setting(),
            &format!("rustc-{release}"),
            format!("rustc {release}"),
            &self.libdir,
        )
    }
}

/// The compiler that the user chose by `RUSTC`. A path is made absolute, since cargo runs in the guest's folder.
fn rustc_setting() -> Option<OsString> {
    let rustc = env::var_os("RUSTC").filter(|rustc| !rustc.is_empty())?;
    if Path::new(&rustc).components().count() == 1 {
        return Some(rustc);
    }
    Some(std::path::absolute(&rustc).map_or(rustc, PathBuf::into_os_string))
}

/// The value of the line that starts with `name`.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

/// Finds or makes a compiler for the guest in `dir`.
pub(crate) fn provide(dir: &Path, progress: Progress<'_>) -> Result<Toolchain, BuildError> {
    let mut tried = Tried::default();

    let active = match Active::probe(dir) {
        Ok(active) => {
            if let Some(toolchain) = active.toolchain() {
                return Ok(toolchain);
            }
            tried.note(
                format!("rustc {}", active.release),
                format!("it has no standard library for {TARGET}"),
            );
            Some(active)
        }
        Err(error) => {
            tried.note("the active rustc", error);
            None
        }
    };

    // Before rustup is asked: where this was needed once, rustup's servers are out of reach, and finding that out anew
    // would delay every build.
    let store = Store::of_user();
    if let Some(made) = store.as_ref().and_then(debian::find) {
        return Ok(made);
    }

    match &active {
        None => tried.note("rustup", "there is no compiler to add the target to"),
        Some(active) => {
            let release = &active.release;
            progress(&format!(
                "rustc {release} has no {TARGET}; trying `rustup target add {TARGET}`"
            ));
            match rustup::add_target(active, dir).map(|()| active.toolchain()) {
                Ok(Some(toolchain)) => return Ok(toolchain),
                Ok(None) => tried.note(
                    "rustup",
                    "it added the target, yet the compiler in use does not have it",
                ),
                Err(error) => tried.note("rustup", error),
            }
        }
    }

    progress("rustup is of no help; turning to Debian's packages");
    let made = match &store {
        Some(store) => debian::make(store, active.as_ref(), progress),
        None => Err(StepError::Unavailable(
            "no cache folder is known; set HOME or XDG_CACHE_HOME".to_owned(),
        )),
    };
    made.map_err(|error| {
        tried.note("Debian's packages", error);
        BuildError::NoToolchain { tried: tried.0 }
    })
}

/// What has been tried so far, for the error at the end.
#[derive(Default)]
struct Tried(Vec<Attempt>);

impl Tried {
    fn note(&mut self, what: impl Into<String>, outcome: impl fmt::Display) {
        self.0.push(Attempt {
            what: what.into(),
            outcome: outcome.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_a_compiler() {
        let version = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        assert_eq!(field(version, "release: "), Some("1.95.0"));
        assert_eq!(field(version, "host: "), None);
    }

    #[test]
    fn a_target_is_installed_when_its_standard_library_is() {
        let dir = tempfile::tempdir().unwrap();
        let active = Active {
            release: "1.95.0".into(),
            sysroot: dir.path().into(),
            libdir: dir.path().join("lib"),
        };
        assert!(active.toolchain().is_none());
        fs::create_dir_all(dir.path().join("lib/self-contained")).unwrap();
        assert!(active.toolchain().is_none());
        fs::write(dir.path().join("lib/libstd-0123456789abcdef.rlib"), "").unwrap();
        assert_eq!(active.toolchain().unwrap().key, "rustc-1.95.0-0123456789abcdef");
    }
}
