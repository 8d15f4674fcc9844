//! From the folder of a guest crate to a WebAssembly module, by one call.
//!
//! ```no_run
//! # fn main() -> Result<(), wasmp_build::BuildError> {
//! let guest = wasmp_build::GuestBuild::new("examples/square");
//! let built = wasmp_build::build(&guest, &mut |message| eprintln!("{message}"))?;
//! println!("{}", built.wasm.display());
//! # Ok(())
//! # }
//! ```
//!
//! A guest is an ordinary cargo package, a program or a `cdylib`, compiled for [`TARGET`]. It may stand alone or be a
//! member of a workspace. The rest of this page is about the compiler, since not every machine has that target.
//!
//! # Where the compiler comes from
//!
//! Three situations, tried in this order:
//!
//! 1. **The active toolchain has the target.** The rustc that cargo would start in the guest's folder (a
//!    `rust-toolchain.toml` there counts, and so does `RUSTC`) carries a standard library for `wasm32-wasip1`.
//! 2. **rustup can fetch it**, by `rustup target add wasm32-wasip1`. That is given a minute, so that a machine which drops
//!    packets to the download servers is not waited for.
//! 3. **Debian's packages and crates.io are in reach.** Debian ships a current compiler for its browser builds (`rustc-web`).
//!    The packages are downloaded and unpacked under the user's cache folder, nothing is installed, and the standard
//!    library is compiled from the packaged sources.
//!
//! When none of them works, [`BuildError::NoToolchain`] tells what was tried and what to type.
//!
//! # The toolchain in the cache
//!
//! Situation 3 costs a download of about 140 MB and a minute or two, once. The result is kept in
//! `$XDG_CACHE_HOME/wasmp/toolchains` (`~/.cache/wasmp/toolchains` by default), named after the package version, with the
//! exact versions in its `packages.txt`. It is made in a temporary folder under a file lock and renamed into place: a run
//! that is killed leaves nothing that a later one would take for a toolchain, and two runs at once make it once.
//! From then on it is used right after situation 1 has been ruled out, without asking rustup or apt again. Delete the folder to
//! have it made anew from newer packages.
//!
//! # What the guest build takes from its surroundings
//!
//! `wasmp` is often started by `cargo run` or `cargo test`, on a host whose settings mean the host. `RUSTFLAGS`,
//! `RUSTC_WRAPPER`, `CARGO_BUILD_TARGET` and their kin therefore do not reach the guest. Flags for guests go where cargo
//! looks for them by target: `CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS`, or `[target.wasm32-wasip1]` in `.cargo/config.toml`.
//!
//! Artefacts go to `wasmp-guest/<toolchain>` inside the target directory that cargo would use (`CARGO_TARGET_DIR` is
//! honoured for this): it has a lock of its own, so that a build started by `cargo test` does not wait for its parent, and
//! libraries compiled by different compilers stay apart.

mod cargo;
mod debian;
mod error;
mod package;
mod process;
mod rustup;
mod store;
mod toolchain;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use error::{Attempt, BuildError};

/// The target guests are compiled for: WASI preview 1, which every language with a WASI toolchain can produce.
pub const TARGET: &str = "wasm32-wasip1";

/// Where progress is told, one line a call. The library itself never prints; only cargo's diagnostics reach stderr.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// What to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestBuild {
    /// The folder that holds the guest's `Cargo.toml`.
    pub dir: PathBuf,
    /// Build with the `release` profile rather than `dev`.
    pub release: bool,
}

impl GuestBuild {
    /// The guest crate in `dir`, with the `release` profile: unoptimised wasm is some ten times slower.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            release: true,
        }
    }

    /// Chooses between the `release` profile and `dev`.
    #[must_use]
    pub fn release(mut self, release: bool) -> Self {
        self.release = release;
        self
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Built {
    /// The module. It stays where cargo put it, and the next build of the same crate replaces it.
    pub wasm: PathBuf,
    /// The name of the guest's package.
    pub package: String,
}

/// Builds the guest, after finding or making a compiler for it (see the [crate page](crate)).
///
/// Cargo's warnings and errors go to stderr, with its progress where stderr is a terminal. An unchanged guest is not
/// compiled again. Builds of the same guest at once wait for each other on cargo's own lock.
///
/// # Errors
///
/// Each variant of [`BuildError`] says what is wrong and what to do about it.
pub fn build(guest: &GuestBuild, progress: Progress<'_>) -> Result<Built, BuildError> {
    let package = package::Package::read(&guest.dir)?;
    let product = package.product()?;
    let toolchain = toolchain::provide(&package.dir, progress)?;
    progress(&format!(
        "compiling {} for {TARGET} with {}",
        package.name, toolchain.description
    ));
    let wasm = cargo::build(&package, &product, &toolchain, guest.release)?;
    Ok(Built {
        wasm,
        package: package.name,
    })
}

/// The compiler that cargo needs to be told of (`RUSTC`) to compile the guest in `dir` for [`TARGET`] itself, as for its
/// `cargo run` and `cargo test`; `None` if the one that it finds will do. It is found or made as for [`build`].
///
/// # Errors
///
/// [`BuildError::NoToolchain`].
pub fn compiler(dir: &Path, progress: Progress<'_>) -> Result<Option<OsString>, BuildError> {
    toolchain::provide(dir, progress).map(|toolchain| toolchain.rustc)
}
