//! Errors that a person can act on: which, why, and what to do. Never a number of the system, never a panic.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use wasmp_tests::tasks;

use crate::run::{call, map, wasmp};
use crate::scene::Folder;

/// What is said of a module with this content, whatever is to be done with it.
#[track_caller]
fn module_is_refused(name: &str, content: &[u8], words: &[&str]) {
    let folder = Folder::new().with(name, content);
    for command in [
        "map MODULE task 1",
        "call MODULE task",
        "exec MODULE",
        "inspect MODULE",
        "compile MODULE -o out",
    ] {
        let outcome = wasmp(&command.replace("MODULE", name)).within(folder.path()).run();
        outcome.is_refused(&["wasmp: "]);
        outcome.is_refused(words);
    }
}

#[test]
fn a_task_that_is_not_there_is_searched_for() {
    for (name, words) in [
        (
            "squre",
            "no task `squre` in the module; did you mean `square`? (its tasks are: ",
        ),
        (
            "Add",
            "no task `Add` in the module; did you mean `add`? (its tasks are: ",
        ),
        (
            "reverse_everything",
            "no task `reverse_everything` in the module (its tasks are: ",
        ),
    ] {
        map(name).arg("1").run().is_refused(&[words, "square, "]);
        call(name).run().is_refused(&[words]);
    }
}

#[test]
fn a_wrong_number_of_arguments_names_them_all() {
    for (words, message) in [
        ("add 1", "expected 2 arguments (a: i64, b: i64), got 1"),
        ("add 1 2 3", "expected 2 arguments (a: i64, b: i64), got 3"),
        ("square", "expected 1 argument (x: i64), got 0"),
        ("spin 1", "expected no arguments, got 1"),
    ] {
        call(words).run().ends(1, "", &format!("wasmp: arguments: {message}\n"));
    }
    let plain = || wasmp("call examples/plain/square.wat square");
    plain()
        .words("5 6")
        .run()
        .ends(1, "", "wasmp: arguments: expected 1 argument (i64), got 2\n");
}

#[test]
fn an_argument_of_a_wrong_type_says_which_what_and_what_it_got() {
    for (words, message) in [
        ("square 1.5", "argument 1 (x: i64): expected i64, got "),
        ("square null", "argument 1 (x: i64): expected i64, got null"),
        ("add 1 true", "argument 2 (b: i64): expected i64, got "),
        ("slow_square 1 -1", "argument 2 (rounds: u32): expected u32, got "),
        ("echo 7", "argument 1 (text: &str): expected &str, got "),
        ("check_bytes [1,300]", "argument 1 (bytes: &[u8]): expected "),
    ] {
        let outcome = call(words).run();
        assert_eq!((outcome.code(), outcome.text()), (1, ""));
        outcome.says(&["wasmp: arguments: ", message]);
    }
    let plain = || wasmp("call examples/plain/square.wat square");
    plain().arg("a").run().ends(
        1,
        "",
        "wasmp: arguments: argument 1: expected i64, got the text \"a\"\n",
    );
    plain()
        .arg("1.5")
        .run()
        .says(&["wasmp: arguments: argument 1: expected i64, got "]);
}

#[test]
fn a_module_that_is_not_there_or_not_readable_is_named() {
    let folder = Folder::new().with("secret.wasm", "x");
    fs::set_permissions(folder.path().join("secret.wasm"), fs::Permissions::from_mode(0o000)).expect("a mode");
    let root = fs::read(folder.path().join("secret.wasm")).is_ok();
    for command in [
        "map MODULE task 1",
        "call MODULE task",
        "exec MODULE",
        "inspect MODULE",
        "compile MODULE -o out",
    ] {
        let outcome = wasmp(&command.replace("MODULE", "no/such.wasm")).run();
        outcome.ends(2, "", "wasmp: cannot read no/such.wasm: no such file or directory\n");
        // To root everything is readable.
        if !root {
            let outcome = wasmp(&command.replace("MODULE", "secret.wasm"))
                .within(folder.path())
                .run();
            outcome.ends(2, "", "wasmp: cannot read secret.wasm: permission denied\n");
        }
    }
}

#[test]
fn what_is_no_module_is_told_by_its_looks() {
    module_is_refused("m.wasm", b"", &["m.wasm is empty"]);
    module_is_refused(
        "m.wasm",
        b"\x7fELF\x02\x01\x01",
        &["a native program or library (ELF)", "wasm32-wasip1"],
    );
    module_is_refused("m.gz", b"\x1f\x8b\x08", &["it is compressed", "gunzip"]);
    module_is_refused("m.rs", b"fn main() {}", &["it is Rust source", "wasm32-wasip1"]);
    module_is_refused("m.wasm", b"<!doctype html>", &["HTML"]);
    module_is_refused("m.txt", b"hello", &["it is text, but not WebAssembly's text format"]);
    module_is_refused("m.wasm", b"\xfe\xed\xfa\xce", &["begins with the bytes fe ed fa ce"]);
}

#[test]
fn a_module_that_is_broken_says_where() {
    module_is_refused(
        "m.wasm",
        b"\0asm\x01\0\0\0junk",
        &["m.wasm is not a valid WebAssembly module", "at byte"],
    );
    let text = b"(module (func (export \"f\") (unknown)))";
    module_is_refused("m.wat", text, &["m.wat:1:29", "(unknown)"]);
    let cut = fs::read(tasks()).expect("a file");
    module_is_refused("m.wasm", &cut[..cut.len() / 2], &["was it cut off or changed?"]);
}

#[test]
fn a_component_is_refused_with_advice() {
    module_is_refused(
        "m.wat",
        b"(component)",
        &["m.wat is a WebAssembly component", "wasm32-wasip1"],
    );
    module_is_refused(
        "m.wasm",
        b"\0asm\x0d\0\x01\0",
        &["m.wasm is a WebAssembly component", "wasm32-wasip1"],
    );
}

#[test]
fn an_import_that_nobody_gives_is_named_with_where_it_comes_from() {
    let module = |import: &str| format!("(module (import {import}) (func (export \"f\")))");
    for (import, words) in [
        (
            "\"env\" \"helper\" (func)",
            ["imports `helper` from `env`", "link the library"],
        ),
        ("\"wbg\" \"log\" (func)", ["imports `log` from `wbg`", "wasm-bindgen"]),
        (
            "\"wasmp_v9\" \"x\" (func)",
            ["imports `x` from `wasmp_v9`", "update wasmp"],
        ),
        (
            "\"env\" \"memory\" (memory 1)",
            ["imports `memory` from `env`", "--import-memory"],
        ),
    ] {
        module_is_refused("m.wat", module(import).as_bytes(), &words);
    }
}

#[test]
fn a_module_without_tasks_is_told_how_to_get_some() {
    module_is_refused("m.wat", b"(module)", &["m.wat exports no task", "#[task]"]);
}

#[test]
fn two_tasks_of_one_name_name_both_their_crates() {
    let module = r#"(module (func (export "a")) (func (export "b")) (@custom "wasmp.tasks"
      "\a3" "\64name" "\64same" "\66export" "\61a" "\65crate" "\63one"
      "\a3" "\64name" "\64same" "\66export" "\61b" "\65crate" "\63two"))"#;
    module_is_refused(
        "m.wat",
        module.as_bytes(),
        &["two tasks named `same`, one in `one` and one in `two`"],
    );
}

#[test]
fn a_duration_or_size_that_is_none_says_what_one_is() {
    for (option, words) in [
        ("--timeout 5", "did you mean 5s or 5ms?"),
        (
            "--timeout 5x",
            "there is no unit `x`; a duration is a number with a unit, such as 500ms, 2s, 1.5m or 1h",
        ),
        ("--timeout soon", "a duration is a number with a unit"),
        ("--timeout 0s", "it must be longer than nothing"),
        (
            "--max-memory 5Q",
            "there is no unit `Q`; a size is a number of bytes, or a number with a unit",
        ),
        ("--max-memory much", "a size is a number of bytes"),
        ("--max-memory 0", "it must be at least one byte"),
        ("--retries some", "invalid value 'some' for '--retries <N>'"),
        ("--progress maybe", "[possible values: auto, always, never]"),
    ] {
        map("square 1").words(option).run().is_refused(&[words]);
    }
}

#[test]
fn durations_and_sizes_have_units_of_any_case() {
    for option in ["--timeout 60000ms", "--timeout 60s", "--timeout 1.5m", "--timeout 1h"] {
        map("square 7").words(option).run().prints("49\n");
    }
    for (size, fits) in [
        ("70000000", true),
        ("66MiB", true),
        ("66m", true),
        ("66MB", false),
        ("64k", false),
    ] {
        // 64 MiB and what the program itself needs.
        let outcome = call("try_to_allocate 64 --max-memory").arg(size).run();
        match outcome.code() {
            0 => assert_eq!(outcome.text(), format!("{fits}\n"), "{size}"),
            _ => assert!(!fits, "{size}: {outcome:?}"),
        }
    }
}

#[test]
fn wrong_usage_shows_the_right_one() {
    wasmp("").run().is_refused(&["Usage: wasmp <COMMAND>"]);
    wasmp("frobnicate")
        .run()
        .is_refused(&["unrecognized subcommand 'frobnicate'"]);
    wasmp("map")
        .run()
        .is_refused(&["<MODULE>", "<TASK>", "Usage: wasmp map"]);
    map("").run().is_refused(&["<TASK>"]);
    map("square 1 --chunk-size 5").run().is_refused(&["--chunksize"]);
}

#[test]
fn help_and_version_are_no_errors() {
    for words in [
        "--help",
        "help map",
        "map --help",
        "-h",
        "call -h",
        "exec -h",
        "inspect -h",
        "build -h",
        "compile -h",
    ] {
        let outcome = wasmp(words).run();
        assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
        assert!(outcome.text().contains("Usage: wasmp"), "{}", outcome.text());
    }
    wasmp("--version")
        .run()
        .prints(concat!("wasmp ", env!("CARGO_PKG_VERSION"), "\n"));
}
