//! `wasmp.toml`, the file of grants and limits, and `--explain`.

use std::fs;

use wasmp_tests::{program, tasks};

use crate::run::{call, map, wasmp};
use crate::scene::Folder;

/// A folder with the module of `guests/tasks`, a greeting, and this file of grants.
fn folder(grants: &str) -> Folder {
    let module = fs::read(tasks()).expect("a module");
    Folder::new()
        .with("tasks.wasm", module)
        .with("in/greeting", "hello")
        .with("wasmp.toml", grants)
}

#[test]
fn a_file_grants_what_it_says_relative_to_where_it_is() {
    let folder = folder("dir = [\"in\", \"in::/other\"]\nenv = { A = \"1\" }\nargs = [\"me\", \"-x\"]\n");
    let path = folder.path().display();
    for file in [format!("{path}/wasmp.toml"), path.to_string()] {
        map("read_file in/greeting /other/greeting --grants")
            .arg(&file)
            .run()
            .prints("\"hello\"\n\"hello\"\n");
        call("surroundings --grants")
            .arg(&file)
            .run()
            .prints("[[\"me\",\"-x\"],[[\"A\",\"1\"]],\"\"]\n");
    }
}

#[test]
fn a_file_beside_the_module_is_mentioned_and_grants_nothing() {
    let folder = folder("dir = [\"in\"]\nsandbox = \"off\"\n");
    let here = |words: &str| wasmp(words).within(folder.path()).run();
    let outcome = here("call tasks.wasm read_file in/greeting");
    assert_eq!((outcome.code(), outcome.text()), (1, ""));
    outcome.says(&["wasmp.toml is not used", "--grants", "wasmp: error: "]);
    assert!(!outcome.stderr.contains("the sandbox is off"), "{}", outcome.stderr);
    here("call tasks.wasm square 3 --quiet").prints("9\n");
    here("call tasks.wasm read_file in/greeting --grants . --sandbox best-effort").prints("\"hello\"\n");
}

#[test]
fn what_is_typed_goes_before_what_stands_in_the_file() {
    let folder = folder(
        "dir = [\"nowhere::d\"]\nenv = { A = \"1\", B = \"2\" }\nmax-output = 2\ntimeout = \"1h\"\nlock = [\"a\"]\n",
    );
    fs::create_dir(folder.path().join("nowhere")).expect("a folder");
    let here = |words: &str| wasmp(words).within(folder.path()).run();
    here("call tasks.wasm read_file d/greeting --grants . --dir in::d").prints("\"hello\"\n");
    here("call tasks.wasm surroundings --grants . --env A=3").prints("[[],[[\"B\",\"2\"],[\"A\",\"3\"]],\"\"]\n");
    let outcome = here("call tasks.wasm print abc de --grants .");
    outcome.says(&["printed more than 2 bytes"]);
    here("call tasks.wasm print ab cd --grants . --max-output 4").ends(0, "null\n", "abcd");
    here("call tasks.wasm misbehave loop --grants . --timeout 50ms").says(&["timeout: ran longer than 50ms"]);
    here("call tasks.wasm square 3 --grants . --event a").prints("9\n");
    folder.write("wasmp.toml", "timeout = \"50ms\"");
    here("call tasks.wasm misbehave loop --grants .").says(&["timeout: ran longer than 50ms"]);
}

#[test]
fn a_file_that_makes_no_sense_is_refused_with_the_line() {
    let folder = folder("");
    for (text, words) in [
        (
            "timeout = \"2s\"\nmax-memroy = \"1M\"\n",
            ["wasmp.toml:2: ", "did you mean `max-memory`?"],
        ),
        ("\ntimeout = 5\n", ["wasmp.toml:2: ", "did you mean 5s or 5ms?"]),
        ("dir = [\"gone\"]\n", ["wasmp.toml:1: ", "/gone` cannot be granted"]),
        ("dir = [\n", ["wasmp.toml:", ""]),
    ] {
        folder.write("wasmp.toml", text);
        call("square 3 --grants").arg(folder.path()).run().is_refused(&words);
    }
    call("square 3 --grants no/such")
        .run()
        .is_refused(&["no/such: it cannot be read"]);
}

#[test]
fn programs_have_files_too() {
    let folder = folder("stdin = false\nargs = [\"me\", \"echo\", \"from the file\"]\n");
    let exec = || wasmp("exec --grants").arg(folder.path()).arg(program());
    exec().run().prints("from the file\n");
    exec().arg("--").args(["echo", "typed"]).run().prints("typed\n");
    folder.write("wasmp.toml", "stdin = false\n");
    exec().input("not for it").run().prints("");
    folder.write("wasmp.toml", "");
    exec().input("for it").run().prints("FOR IT");
    folder.write("wasmp.toml", "timeout = \"100ms\"\nfuel = 1_000\n");
    exec()
        .input("for it")
        .run()
        .says(&["fuel_limit: computed more than 1000 units of fuel allow"]);
}

#[test]
fn explain_says_what_would_be_given_and_runs_nothing() {
    let folder = folder(
        "dir = [\"in::/data\"]\nqueue = [\"jobs:100\"]\nfuel = 1_000_000\nmax-memory = \"64M\"\ntimeout = \"2s\"\n",
    );
    let outcome = map("write_file --grants")
        .arg(folder.path())
        .words("--dir . --explain -j 3 --env LANG=C")
        .within(folder.path())
        .run();
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
    let text = outcome.text();
    assert!(text.lines().count() <= 30, "{text}");
    let host = folder.path().join("in").display().to_string();
    for part in [
        "task module",
        &format!("{host} as /data (read), . (read)\n"),
        "LANG=C\n",
        "queue jobs of 100\n",
        "network           none",
        "workers: 3; started by guests: at most 64 at a time\n",
        "2s, then it is killed (an item)\n",
        "1000000 units (an item)\n",
        "64 MiB (an instance)\n",
        "Walls (best-effort)\n  WebAssembly · ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(folder.files(), ["in", "tasks.wasm", "wasmp.toml"]);

    let nothing = call("read_file x --explain --sandbox off").run();
    let text = nothing.text();
    for part in [
        "directories       none; the module may ask for it\n",
        "WebAssembly, and nothing else\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let program = wasmp("exec --explain").arg(program()).run();
    assert!(
        program.text().contains("standard input    that of this command\n"),
        "{}",
        program.text()
    );
}

#[test]
fn a_flood_is_cut_to_its_rate() {
    let outcome = call("print_lines 100000 --output-rate 10K").run();
    assert_eq!((outcome.code(), outcome.text()), (0, "null\n"));
    outcome.says(&[
        "line 0\n",
        " bytes dropped: more than 10240 bytes a second are not passed on\n",
    ]);
}
