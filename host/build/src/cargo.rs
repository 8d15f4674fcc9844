//! Runs cargo for the guest, kept apart from the settings of a cargo around us.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::TARGET;
use crate::error::BuildError;
use crate::package::{Package, Product, ProductKind, Target};
use crate::toolchain::Toolchain;

/// Settings that the user or an outer cargo made for the *host* and that would change or break a guest. Where a guest
/// is compiled to, and with which flags, is decided here and in its own `.cargo/config.toml`.
const HOST_SETTINGS: [&str; 13] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    // Set by `cargo clippy` for build scripts.
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    // `RUSTC` itself stays: it is the compiler that cargo, and therefore `toolchain`, regards as the active one.
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    // Its file descriptors belong to the outer cargo, which may not have passed them on.
    "CARGO_MAKEFLAGS",
];

/// The cargo to start: under `cargo run` or `cargo test` the one that runs us, so that host and guest are compiled by
/// one toolchain.
pub(crate) fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A cargo in the guest's folder, where rustup and cargo look for the guest's settings.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(program());
    without_host_settings(command.current_dir(dir));
    command
}

pub(crate) fn without_host_settings(command: &mut Command) {
    for name in HOST_SETTINGS {
        command.env_remove(name);
    }
}

pub(crate) fn not_started(command: &Command, source: io::Error) -> BuildError {
    BuildError::NoCargo {
        cargo: command.get_program().into(),
        source,
    }
}

/// Compiles the product and returns the path of its module.
pub(crate) fn build(
    package: &Package,
    product: &Product,
    toolchain: &Toolchain,
    release: bool,
) -> Result<PathBuf, BuildError> {
    let mut command = command(&package.dir);
    command
        .args([
            "build",
            "--target",
            TARGET,
            "--message-format=json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(package.dir.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(package.target_dir.join("wasmp-guest").join(&toolchain.key));
    match product.kind {
        ProductKind::Program => command.args(["--bin", &product.name]),
        ProductKind::Cdylib => command.arg("--lib"),
    };
    if release {
        command.arg("--release");
    }
    if !io::stderr().is_terminal() {
        // Warnings and errors still show; "Compiling …" is for somebody who watches.
        command.arg("--quiet");
    }
    if let Some(rustc) = &toolchain.rustc {
        command.env("RUSTC", rustc);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|source| not_started(&command, source))?;
    let module = match child.stdout.take() {
        Some(stdout) => module(BufReader::new(stdout), package, product),
        None => Ok(None),
    };
    let status = child.wait().map_err(BuildError::Io)?;
    if !status.success() {
        return Err(BuildError::Compile {
            package: package.name.clone(),
            status,
        });
    }
    module.map_err(BuildError::Io)?.ok_or_else(|| BuildError::NoModule {
        package: package.name.clone(),
    })
}

/// One of cargo's build reports, as far as it is looked at.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Report {
    CompilerArtifact {
        package_id: String,
        target: Target,
        filenames: Vec<PathBuf>,
    },
    #[serde(other)]
    Other,
}

/// Reads cargo's reports to their end and picks the product's `.wasm`.
fn module(reports: impl BufRead, package: &Package, product: &Product) -> io::Result<Option<PathBuf>> {
    let mut module = None;
    for line in reports.split(b'\n') {
        // What is no report (a build script may print, a newer cargo may invent) is none of our business.
        let Ok(Report::CompilerArtifact {
            package_id,
            target,
            filenames,
        }) = serde_json::from_slice(&line?)
        else {
            continue;
        };
        if package_id == package.id && target.product().as_ref() == Some(product) {
            module = filenames
                .into_iter()
                .find(|file| file.extension().is_some_and(|ext| ext == "wasm"))
                .or(module);
        }
    }
    Ok(module)
}

/// The libraries among the build reports.
pub(crate) fn rlibs(reports: &str) -> impl Iterator<Item = PathBuf> {
    let artifacts = reports.lines().filter_map(|line| match serde_json::from_str(line) {
        Ok(Report::CompilerArtifact { filenames, .. }) => Some(filenames),
        _ => None,
    });
    artifacts
        .flatten()
        .filter(|file| file.extension().is_some_and(|ext| ext == "rlib"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORTS: &str = concat!(
        r#"{"reason":"compiler-artifact","package_id":"dep","target":{"name":"dep","kind":["lib"],"crate_types":["lib"]},"#,
        r#""filenames":["/t/libdep.rlib","/t/libdep.rmeta"],"fresh":false}"#,
        "\nnot a report\n",
        r#"{"reason":"compiler-artifact","package_id":"me","target":{"name":"a","kind":["bin"],"crate_types":["bin"]},"#,
        r#""filenames":["/t/a.wasm"],"executable":"/t/a.wasm"}"#,
        "\n",
        r#"{"reason":"build-finished","success":true}"#,
        "\n",
    );

    #[test]
    fn libraries_are_found_in_the_reports() {
        assert_eq!(rlibs(REPORTS).collect::<Vec<_>>(), [Path::new("/t/libdep.rlib")]);
    }

    #[test]
    fn settings_for_the_host_stay_outside() {
        let mut command = Command::new("cargo");
        without_host_settings(&mut command);
        let removed = |name: &str| command.get_envs().any(|(key, value)| key == name && value.is_none());
        assert!(removed("RUSTFLAGS") && removed("CARGO_BUILD_TARGET"));
        assert!(!removed("RUSTC") && !removed("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS"));
    }
}
