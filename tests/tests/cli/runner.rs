//! `wasmp run` as the runner of cargo: what a guest crate runs, it runs in the sandbox.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::run::ROOT;
use crate::scene::Folder;

const PROGRAM: &str = r#"
use wasmp_guest::{Lock, Process, Result, current_process, main, task};

/// What it is called.
#[task]
fn introduce() -> Result<()> {
    Ok(println!("{} is here", current_process()?.name()))
}

#[main]
fn main() -> Result<()> {
    println!("{:?}", std::env::args().skip(1).collect::<Vec<_>>());
    Process::new(introduce).start()?.join()?;
    std::process::exit(3)
}

#[test]
fn a_lock_is_there() {
    let lock = Lock::new().expect("only a worker has one");
    assert!(lock.try_lock().expect("a lock").is_some());
}

#[test]
fn it_fails() {
    panic!("told to fail");
}
"#;

/// A guest crate of its own, whose runner is the command.
fn guest() -> Folder {
    let manifest = format!(
        "[package]\nname = \"guest\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nwasmp-guest = {{ path = \"{ROOT}/guest-sdk\" }}\n\n[workspace]\n"
    );
    let config = format!(
        "[build]\ntarget = \"wasm32-wasip1\"\n\n[target.wasm32-wasip1]\nrunner = [\"{}\", \"run\"]\n",
        env!("CARGO_BIN_EXE_wasmp")
    );
    // The versions that are here already.
    let lock = fs::read(Path::new(ROOT).join("Cargo.lock")).expect("the versions of everything");
    Folder::new()
        .with("Cargo.toml", manifest)
        .with("Cargo.lock", lock)
        .with(".cargo/config.toml", config)
        .with("src/main.rs", PROGRAM)
}

/// Runs cargo there.
fn cargo(guest: &Folder, words: &str) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(guest.path()).args(words.split_whitespace());
    // What the cargo around this was told is about the host.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_") || name.to_string_lossy().starts_with("RUSTFLAGS") {
            cargo.env_remove(name);
        }
    }
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        cargo.env("CARGO_HOME", home);
    }
    if let Some(rustc) = wasmp_build::compiler(guest.path(), &mut |_| ()).expect("a compiler for wasm") {
        cargo.env("RUSTC", rustc);
    }
    // Beside those of other tests, so that the next run has them.
    cargo.env(
        "CARGO_TARGET_DIR",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("runner"),
    );
    cargo.output().expect("cargo")
}

#[test]
fn cargo_run_and_cargo_test_go_through_the_command() {
    let guest = guest();
    let ran = cargo(&guest, "run --quiet -- --flag 7");
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert_eq!(out, "[\"--flag\", \"7\"]\nProcess-1 is here\n", "{err}");
    assert_eq!(ran.status.code(), Some(3), "{err}");

    let tested = cargo(&guest, "test --quiet a_lock_is_there");
    let (out, err) = (
        String::from_utf8_lossy(&tested.stdout),
        String::from_utf8_lossy(&tested.stderr),
    );
    assert!(tested.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed; 0 failed"), "{out}\n{err}");

    let failed = cargo(&guest, "test --quiet it_fails");
    assert!(!failed.status.success());
    let err = String::from_utf8_lossy(&failed.stderr);
    // What a test has printed is lost with it, as wherever a panic is the end.
    assert!(
        err.contains("Process MainProcess:") && err.contains("it_fails"),
        "{err}"
    );
}
