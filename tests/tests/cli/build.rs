//! `wasmp build`, and a folder as MODULE.

use std::fs;
use std::path::PathBuf;

use crate::outcome::Outcome;
use crate::run::{ROOT, Wasmp, wasmp};
use crate::scene::Folder;

const MANIFEST: &str = "[package]\nname = \"guest\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n";

/// A command that may have to build a guest.
fn building(words: &str) -> Wasmp {
    wasmp(words).building()
}

/// The module that it says it has built.
#[track_caller]
fn built(outcome: &Outcome) -> PathBuf {
    assert_eq!(outcome.code(), 0, "{outcome:?}");
    let line = outcome.text().strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'), "only one: {line}");
    let path = PathBuf::from(line);
    assert!(fs::read(&path).expect("a file").starts_with(b"\0asm"), "a module");
    path
}

#[test]
fn it_prints_the_path_of_the_module() {
    let debug = built(&building("build examples/square").run());
    let release = built(&building("build --release examples/square").run());
    assert_ne!(debug, release);
    let size = |path: &PathBuf| fs::metadata(path).expect("a file").len();
    assert!(size(&release) < size(&debug), "optimised code is smaller");
    wasmp("call").arg(&debug).words("square 7").run().prints("49\n");
    wasmp("call").arg(&release).words("square 7").run().prints("49\n");
}

#[test]
fn without_a_folder_it_builds_the_one_it_is_in() {
    let here = built(
        &building("build --release")
            .within(format!("{ROOT}/examples/square"))
            .run(),
    );
    assert_eq!(here, built(&building("build --release examples/square").run()));
}

#[test]
fn a_folder_as_module_is_built_first_and_says_so_unless_quiet() {
    let outcome = building("map examples/square square 1 2 3").run();
    assert_eq!((outcome.code(), outcome.text()), (0, "1\n4\n9\n"));
    outcome.says(&["wasmp: compiling square for wasm32-wasip1 with "]);
    building("map examples/square square 1 2 3 -q")
        .run()
        .prints("1\n4\n9\n");
    building("call examples/square square 7 --quiet").run().prints("49\n");
    let outcome = building("inspect examples/square --json").run();
    assert_eq!(
        (&outcome.json()[0]["name"], outcome.stderr.as_str()),
        (&"square".into(), "")
    );
}

#[test]
fn a_crate_that_does_not_compile_shows_why() {
    let folder = Folder::new()
        .with("Cargo.toml", MANIFEST)
        .with("src/main.rs", "fn main() { missing() }\n");
    let outcome = building("build").within(folder.path()).run();
    outcome.is_refused(&["cannot find function `missing`", "wasmp: cargo could not compile guest"]);
    let outcome = building("call . task -q").within(folder.path()).run();
    outcome.is_refused(&["cannot find function `missing`"]);
}

#[test]
fn an_ordinary_program_needs_no_dependency() {
    let folder = Folder::new().with("Cargo.toml", MANIFEST).with(
        "src/main.rs",
        "fn main() { println!(\"{}\", std::env::args().nth(1).unwrap()) }\n",
    );
    let module = built(&building("build").within(folder.path()).run());
    wasmp("exec").arg(module).words("-- hello").run().prints("hello\n");
}

#[test]
fn a_folder_that_is_no_guest_is_explained() {
    let folder = Folder::new();
    for words in ["build", "map . task 1", "inspect ."] {
        building(words)
            .within(folder.path())
            .run()
            .is_refused(&["wasmp: . is not a crate: it holds no Cargo.toml"]);
    }
    building("build no/such").run().is_refused(&["wasmp: ", "no/such"]);
    building("build .")
        .run()
        .is_refused(&["is a workspace, not a crate", "/examples/square\n"]);
    let library = Folder::new().with("Cargo.toml", MANIFEST).with("src/lib.rs", "");
    building("build")
        .within(library.path())
        .run()
        .is_refused(&["guest is a plain library", "crate-type = [\"cdylib\"]"]);
    let broken = Folder::new().with("Cargo.toml", "[package");
    building("build")
        .within(broken.path())
        .run()
        .is_refused(&["cargo cannot read the crate in"]);
}

#[test]
fn without_a_compiler_for_wasm_it_says_what_was_tried_and_what_to_type() {
    let folder = Folder::new()
        .with("Cargo.toml", MANIFEST)
        .with("src/main.rs", "fn main() {}\n")
        .with(
            "rustc",
            "#!/bin/sh\ncase \"$*\" in\n*--print*) echo /nowhere; echo /nowhere/lib;;\n\
         *) echo 'rustc 1.0.0'; echo 'release: 1.0.0'; echo 'host: x86_64-unknown-linux-gnu';;\nesac\n",
        );
    let rustc = folder.path().join("rustc");
    fs::set_permissions(&rustc, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    fs::create_dir(folder.path().join("bin")).expect("a folder");
    // No rustup and no apt, and nothing that was made before.
    let outcome = wasmp("build")
        .within(folder.path())
        .env("CARGO", env!("CARGO"))
        .env("RUSTC", rustc)
        .env("PATH", folder.path().join("bin"))
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .run();
    outcome.is_refused(&[
        "wasmp: no compiler for wasm32-wasip1 on this machine",
        "tried rustc 1.0.0: it has no standard library for wasm32-wasip1",
        "tried rustup: ",
        "tried Debian's packages: ",
        "`rustup target add wasm32-wasip1`",
    ]);
}
