//! Builds small guests for real, with whatever compiler this machine has or can get.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use wasmp_build::{BuildError, Built, GuestBuild, build};

const HELLO: &str = "fn main() { println!(\"hello\"); }\n";

/// The manifest of a package that is the root of its own workspace, as a guest that stands alone is. The names differ
/// from test to test, for with `CARGO_TARGET_DIR` set all of them share one target directory.
fn manifest(name: &str) -> String {
    format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[workspace]\n[profile.release]\nlto = true\n")
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn build_in(dir: &Path) -> Result<Built, BuildError> {
    build(&GuestBuild::new(dir), &mut |_| ())
}

#[track_caller]
fn assert_module(built: &Built, name: &str) {
    assert_eq!(built.wasm.file_name().unwrap(), name);
    assert!(fs::read(&built.wasm).unwrap().starts_with(b"\0asm"));
}

#[test]
fn a_program() {
    let dir = folder(&[("Cargo.toml", &manifest("tiny-guest")), ("src/main.rs", HELLO)]);
    let mut progress = Vec::new();
    let built = build(&GuestBuild::new(dir.path()), &mut |message| {
        progress.push(message.to_owned());
    })
    .unwrap();
    assert_eq!(built.package, "tiny-guest");
    assert_module(&built, "tiny-guest.wasm");
    assert!(
        progress
            .last()
            .unwrap()
            .starts_with("compiling tiny-guest for wasm32-wasip1 with "),
        "{progress:?}"
    );
}

#[test]
fn a_dev_build_beside_a_release_build() {
    let dir = folder(&[("Cargo.toml", &manifest("two-profiles")), ("src/main.rs", HELLO)]);
    let release = build_in(dir.path()).unwrap();
    let dev = build(&GuestBuild::new(dir.path()).release(false), &mut |_| ()).unwrap();
    assert_module(&dev, "two-profiles.wasm");
    assert_ne!(dev.wasm, release.wasm);
    assert_eq!(build_in(dir.path()).unwrap(), release);
}

#[test]
fn a_cdylib_in_a_workspace() {
    let dir = folder(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"guest\", \"host\"]\nresolver = \"3\"\n",
        ),
        (
            "guest/Cargo.toml",
            "[package]\nname = \"lib-guest\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n",
        ),
        (
            "guest/src/lib.rs",
            "#[unsafe(no_mangle)]\npub extern \"C\" fn double(n: i32) -> i32 { n * 2 }\n",
        ),
        ("host/Cargo.toml", "[package]\nname = \"host\"\nedition = \"2024\"\n"),
        // Does not compile: only the guest is to be built.
        ("host/src/main.rs", "fn main() { no_such_function() }\n"),
    ]);
    let built = build_in(&dir.path().join("guest")).unwrap();
    assert_module(&built, "lib_guest.wasm");

    let error = build_in(dir.path()).unwrap_err();
    assert!(
        matches!(&error, BuildError::Workspace { members, .. } if members.len() == 2),
        "{error}"
    );
}

#[test]
fn a_guest_that_does_not_compile() {
    let dir = folder(&[
        ("Cargo.toml", &manifest("broken-guest")),
        ("src/main.rs", "fn main() { missing() }\n"),
    ]);
    let error = build_in(dir.path()).unwrap_err();
    assert!(
        matches!(&error, BuildError::Compile { package, .. } if package == "broken-guest"),
        "{error}"
    );
}

#[test]
fn a_plain_library_makes_no_module() {
    let dir = folder(&[("Cargo.toml", &manifest("plain-library")), ("src/lib.rs", "")]);
    let error = build_in(dir.path()).unwrap_err();
    assert!(matches!(error, BuildError::NothingToBuild { .. }), "{error}");
}

#[test]
fn a_manifest_that_cargo_refuses() {
    let dir = folder(&[("Cargo.toml", "[package]\nname = 1\n"), ("src/main.rs", HELLO)]);
    let error = build_in(dir.path()).unwrap_err();
    assert!(
        matches!(&error, BuildError::Manifest { message, .. } if message.contains("name = 1")),
        "{error}"
    );
}

/// The environment of a process cannot be changed safely while tests run, so another one runs the test above.
#[test]
fn settings_for_the_host_do_not_reach_the_guest() {
    let target = tempfile::tempdir().unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_program"])
        .env("RUSTFLAGS", "-Clinker=/no/such/linker -Ctarget-cpu=none-such")
        .env("CARGO_ENCODED_RUSTFLAGS", "--no-such-flag")
        .env("RUSTC_WRAPPER", "/no/such/wrapper")
        .env("RUSTC_WORKSPACE_WRAPPER", "/no/such/wrapper")
        .env("CARGO_BUILD_TARGET", "no-such-target")
        .env("CARGO_TARGET_DIR", target.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // `CARGO_TARGET_DIR` says where artefacts may go; the guest's stay apart from the host's in there.
    let names: Vec<_> = fs::read_dir(target.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["wasmp-guest"]);
}
