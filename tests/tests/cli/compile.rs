//! `wasmp compile` and `--allow-precompiled`: machine code is run only on request.

use std::fs;

use wasmp_tests::{program, tasks};

use crate::run::wasmp;
use crate::scene::Folder;

#[test]
fn what_it_makes_is_refused_unless_it_is_allowed() {
    let folder = Folder::new();
    let within = |words: &str| wasmp(words).within(folder.path());
    within("compile -o tasks.wasmp").arg(tasks()).run().prints("");
    assert_eq!(folder.files(), ["tasks.wasmp"]);
    for words in [
        "map tasks.wasmp square 7",
        "call tasks.wasmp square 7",
        "exec tasks.wasmp",
        "inspect tasks.wasmp",
        "compile tasks.wasmp -o again",
    ] {
        within(words)
            .run()
            .is_refused(&["tasks.wasmp is precompiled", "--allow-precompiled"]);
    }
    within("map tasks.wasmp square 7 8 --allow-precompiled")
        .run()
        .prints("49\n64\n");
    within("call --allow-precompiled tasks.wasmp square 7")
        .run()
        .prints("49\n");
    let outcome = within("inspect tasks.wasmp --allow-precompiled --json").run();
    assert_eq!(
        (&outcome.json()[0]["precompiled"], &outcome.json()[0]["kind"]),
        (&true.into(), &"task_module".into())
    );
    assert_eq!(folder.files(), ["tasks.wasmp"]);
}

#[test]
fn a_command_can_be_compiled_too() {
    let folder = Folder::new();
    wasmp("compile -o")
        .arg(folder.path().join("out"))
        .arg(program())
        .run()
        .prints("");
    wasmp("exec out --allow-precompiled -- echo hello")
        .within(folder.path())
        .run()
        .prints("hello\n");
}

#[test]
fn allowing_it_does_no_harm_to_a_module_that_is_none() {
    wasmp("call examples/plain/square.wat square 7 --allow-precompiled")
        .run()
        .prints("49\n");
}

#[test]
fn a_damaged_file_is_never_run() {
    let folder = Folder::new();
    let file = folder.path().join("code");
    wasmp("compile examples/plain/square.wat -o")
        .arg(&file)
        .run()
        .prints("");
    let whole = fs::read(&file).expect("a file");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for damaged in [&changed[..], &whole[..whole.len() - 1], &whole[..20]] {
        fs::write(&file, damaged).expect("a file");
        wasmp("call code square 7 --allow-precompiled")
            .within(folder.path())
            .run()
            .is_refused(&["compile it again"]);
    }
}

#[test]
fn a_module_that_does_not_compile_leaves_the_file_as_it_was() {
    let folder = Folder::new()
        .with("out", "before")
        .with("bad.wat", "(module (func (export \"f\") (result i32)))");
    wasmp("compile bad.wat -o out")
        .within(folder.path())
        .run()
        .is_refused(&["type mismatch"]);
    assert_eq!(fs::read(folder.path().join("out")).expect("a file"), b"before");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    wasmp("compile examples/plain/square.wat -o no/such/file").run().ends(
        2,
        "",
        "wasmp: cannot write no/such/file: no such file or directory\n",
    );
    wasmp("compile examples/plain/square.wat")
        .run()
        .is_refused(&["--output <FILE>"]);
}
