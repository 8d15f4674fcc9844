//! From unpacked packages to a compiler that has the target.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::WRAPPER;
use crate::process::{self, StepError};
use crate::toolchain::{Active, PROBE, field};
use crate::{TARGET, cargo};

const UNPACK: Duration = Duration::from_secs(300);
/// Two minutes on two cores; this is for the slowest of machines.
const COMPILE: Duration = Duration::from_secs(3600);

/// Where the packaged sources of the standard library are, relative to the toolchain.
const SOURCES: &str = "usr/lib/rustlib/src/rust";

/// The crate whose dependencies are the standard library.
const STD_MANIFEST: &str = "\
[package]
name = \"wasmp-std\"
edition = \"2021\"

[lib]
path = \"lib.rs\"

[workspace]
";

/// Unpacks every package of `packages` into `dir`, and removes them.
pub(crate) fn unpack(packages: &Path, dir: &Path) -> Result<(), StepError> {
    for package in entries(packages)? {
        process::output(
            Command::new("dpkg-deb").arg("--extract").arg(package.path()).arg(dir),
            UNPACK,
        )?;
    }
    fs::remove_dir_all(packages).map_err(StepError::io("remove", packages))
}

/// Turns the unpacked packages in `dir` into a toolchain for the target, with the help of the active one's cargo.
pub(crate) fn complete(dir: &Path, active: Option<&Active>) -> Result<(), StepError> {
    prune(dir)?;
    let rustc = write_wrapper(dir)?;
    let version = process::output(Command::new(&rustc).args(["--version", "--verbose"]), PROBE)?;
    let part =
        |name| field(&version, name).ok_or_else(|| StepError::Unavailable(format!("Debian's rustc tells no {name:?}")));
    add_linker(dir, part("host: ")?)?;
    add_libc(dir)?;
    add_std(dir, &rustc, part("commit-hash: ")?, active)
}

/// Drops what compiles no guest: half of the packages is documentation and the compiler's own sources.
fn prune(dir: &Path) -> Result<(), StepError> {
    let sources =
        fs::canonicalize(dir.join(SOURCES)).map_err(StepError::io("find the sources at", &dir.join(SOURCES)))?;
    let superfluous = entries(&sources)?
        .into_iter()
        .filter(|entry| entry.file_name() != "library");
    let superfluous = superfluous
        .map(|entry| entry.path())
        .chain([dir.join("usr/share"), dir.join("usr/bin/rustdoc")]);
    for path in superfluous {
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(StepError::io("remove", &path))?;
    }
    Ok(())
}

/// The compiler looks for its libraries in the system, where they are not: writes a script that says where they are.
/// It finds itself by the path it was started with, since the folder is going to be renamed.
fn write_wrapper(dir: &Path) -> Result<PathBuf, StepError> {
    let lib = dir.join("usr/lib");
    let holds_driver = |path: &PathBuf| {
        path.is_dir()
            && entries(path).is_ok_and(|entries| {
                entries
                    .iter()
                    .any(|entry| entry.file_name().as_bytes().starts_with(b"librustc_driver-"))
            })
    };
    let libraries = entries(&lib)?.into_iter().map(|entry| entry.path()).find(holds_driver);
    let libraries = libraries
        .as_deref()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    let Some(libraries) = libraries else {
        return Err(StepError::Unavailable(
            "the packages hold no librustc_driver".to_owned(),
        ));
    };
    let script = format!(
        "#!/bin/sh\n\
         here=${{0%/*}}\n\
         export LD_LIBRARY_PATH=\"$here/usr/lib/{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n\
         exec \"$here/usr/bin/rustc\" --sysroot \"$here/usr\" \"$@\"\n"
    );
    let wrapper = dir.join(WRAPPER);
    fs::write(&wrapper, script).map_err(StepError::io("write", &wrapper))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(StepError::io("write", &wrapper))?;
    Ok(wrapper)
}

/// Puts LLVM's linker where rustc looks for its own `rust-lld`.
fn add_linker(dir: &Path, host: &str) -> Result<(), StepError> {
    let lib = dir.join("usr/lib");
    let llvm = entries(&lib)?
        .into_iter()
        .find(|entry| entry.path().join("bin/lld").exists());
    let Some(llvm) = llvm else {
        return Err(StepError::Unavailable("the packages hold no lld".to_owned()));
    };
    let bin = lib.join("rustlib").join(host).join("bin");
    fs::create_dir_all(&bin).map_err(StepError::io("create", &bin))?;
    let target = Path::new("../../..").join(llvm.file_name()).join("bin/lld");
    let link = bin.join("rust-lld");
    symlink(target, &link).map_err(StepError::io("create", &link))
}

/// Where rustc looks for the libraries of the target.
pub(crate) fn target_lib(dir: &Path) -> PathBuf {
    dir.join("usr/lib/rustlib").join(TARGET).join("lib")
}

/// Puts the C library where rustc looks for the one that its own distribution carries.
fn add_libc(dir: &Path) -> Result<(), StepError> {
    let self_contained = target_lib(dir).join("self-contained");
    fs::create_dir_all(&self_contained).map_err(StepError::io("create", &self_contained))?;
    for file in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        let packaged = dir.join("usr/lib/wasm32-wasi").join(file);
        fs::copy(&packaged, self_contained.join(file)).map_err(StepError::io("copy", &packaged))?;
    }
    Ok(())
}

/// Compiles the standard library from the packaged sources.
fn add_std(dir: &Path, rustc: &Path, commit: &str, active: Option<&Active>) -> Result<(), StepError> {
    let build = dir.join("std-build");
    fs::create_dir(&build).map_err(StepError::io("create", &build))?;
    for (file, text) in [("Cargo.toml", STD_MANIFEST), ("lib.rs", "#![no_std]\n")] {
        fs::write(build.join(file), text).map_err(StepError::io("write", &build))?;
    }

    let mut command = Command::new(
        active
            .and_then(Active::cargo)
            .map_or_else(cargo::program, PathBuf::into_os_string),
    );
    cargo::without_host_settings(&mut command);
    command
        .current_dir(&build)
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", std_flags(dir, commit)?)
        .args([
            "build",
            "--release",
            "-Zbuild-std=std,panic_abort,test",
            "--target",
            TARGET,
        ])
        .args(["--target-dir", "target", "--message-format=json-render-diagnostics"]);
    let reports = process::output(&mut command, COMPILE)?;

    let lib = target_lib(dir);
    let built = build.join("target").join(TARGET);
    // Besides the libraries for the target, cargo reports build scripts for the host, and the crate itself.
    for rlib in cargo::rlibs(&reports).filter(|file| file.starts_with(&built)) {
        match rlib.file_name() {
            Some(name) if !name.as_bytes().starts_with(b"libwasmp_std") => {
                fs::copy(&rlib, lib.join(name)).map_err(StepError::io("copy", &rlib))?;
            }
            _ => {}
        }
    }
    fs::remove_dir_all(&build).map_err(StepError::io("remove", &build))
}

/// The compiler flags of the standard library, separated as `CARGO_ENCODED_RUSTFLAGS` wants them.
fn std_flags(dir: &Path, commit: &str) -> Result<OsString, StepError> {
    let sources = dir.join(SOURCES);
    let canonical = fs::canonicalize(&sources).map_err(StepError::io("find", &sources))?;
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    // Sources get the paths that they have in Rust's own distribution. Paths end up in panic messages, and enter into
    // the identity of a library: one that is made again in another folder fits what was compiled against the first.
    let sources_elsewhere = format!("/rustc/{commit}");
    let remapped: [(&Path, &str); 3] = [
        (&sources, &sources_elsewhere),
        (&canonical, &sources_elsewhere),
        (&cargo_home.join("registry/src"), "/rust/deps"),
    ];
    // The bitcode is for guests with `lto = true`.
    let mut flags = OsString::from("-Cembed-bitcode=yes");
    for (path, elsewhere) in remapped {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(path);
        flags.push("=");
        flags.push(elsewhere);
    }
    Ok(flags)
}

fn entries(dir: &Path) -> Result<Vec<DirEntry>, StepError> {
    fs::read_dir(dir)
        .and_then(Iterator::collect)
        .map_err(StepError::io("list", dir))
}
