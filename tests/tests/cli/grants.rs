//! What guests are given: `--dir` and `--env`, and otherwise nothing.

use std::fs;

use crate::run::{ROOT, call, map};
use crate::scene::Folder;

#[test]
fn without_dir_there_are_no_files() {
    for file in ["README.md", "/etc/passwd", "./README.md"] {
        let outcome = call("read_file").arg(file).run();
        assert_eq!((outcome.code(), outcome.text()), (1, ""));
        outcome.says(&["wasmp: error: "]);
    }
}

#[test]
fn a_directory_has_its_own_name_unless_it_is_given_another() {
    let folder = Folder::new().with("in/greeting", "hello").with("secret", "no");
    map("read_file in/greeting --dir in")
        .within(folder.path())
        .run()
        .prints("\"hello\"\n");
    map("read_file greeting ./greeting --dir in::.")
        .within(folder.path())
        .run()
        .prints("\"hello\"\n\"hello\"\n");
    map("read_file /data/greeting")
        .arg(format!("--dir={}/in::/data", folder.path().display()))
        .run()
        .prints("\"hello\"\n");
    let path = folder.path().join("in");
    map("read_file --dir")
        .arg(&path)
        .arg(path.join("greeting"))
        .run()
        .prints("\"hello\"\n");
    assert_eq!(folder.files(), ["in", "secret"]);
}

#[test]
fn nothing_outside_of_a_directory_is_seen() {
    let folder = Folder::new().with("in/greeting", "hello").with("secret", "no");
    std::os::unix::fs::symlink("../secret", folder.path().join("in/link")).expect("a link");
    let outcome = map("read_file in/../secret secret /etc/passwd in/link ../secret --dir in --keep-going")
        .within(folder.path())
        .run();
    assert_eq!((outcome.code(), outcome.text()), (1, ""));
    outcome.says(&["wasmp: 5 items, 5 of them failed"]);
}

#[test]
fn several_directories_may_be_given() {
    let folder = Folder::new().with("a/x", "1").with("b/x", "2");
    map("read_file a/x c/x --dir a --dir b::c")
        .within(folder.path())
        .run()
        .prints("\"1\"\n\"2\"\n");
}

#[test]
fn a_directory_is_read_only_unless_it_is_given_with_rw() {
    let folder = Folder::new().with("file", "before");
    for path in ["/d/file", "/d/new"] {
        let outcome = call("write_file")
            .args([path, "after"])
            .arg(folder.granted_as("/d"))
            .run();
        assert_eq!((outcome.code(), outcome.text()), (1, ""));
        outcome.says(&["wasmp: error: "]);
    }
    assert_eq!(folder.files(), ["file"]);
    assert_eq!(
        fs::read_to_string(folder.path().join("file")).expect("a file"),
        "before"
    );

    let writable = folder.granted_as("/d") + ":rw";
    call("write_file /d/file after").arg(&writable).run().prints("null\n");
    call("write_file /d/new new").arg(&writable).run().prints("null\n");
    assert_eq!(folder.files(), ["file", "new"]);
    assert_eq!(fs::read_to_string(folder.path().join("file")).expect("a file"), "after");

    call("write_file ./own own --dir .:rw")
        .within(folder.path())
        .run()
        .prints("null\n");
    assert_eq!(folder.files(), ["file", "new", "own"]);
}

#[test]
fn a_directory_must_exist() {
    map("square 1 --dir no/such")
        .run()
        .is_refused(&["--dir", "cannot use no/such: no such file or directory"]);
    map("square 1 --dir README.md")
        .run()
        .is_refused(&["--dir", "README.md is not a directory"]);
    map("square 1 --dir ::x")
        .run()
        .is_refused(&["a directory is given as HOST, HOST::GUEST, HOST:rw or HOST::GUEST:rw"]);
}

#[test]
fn variables_are_those_that_were_given() {
    call("surroundings").env("SECRET", "s").run().prints("[[],[],\"\"]\n");
    call("surroundings --env A=1 --env B=x=y --env C= ")
        .run()
        .prints("[[],[[\"A\",\"1\"],[\"B\",\"x=y\"],[\"C\",\"\"]],\"\"]\n");
    map("surroundings --star [] --env A=1")
        .run()
        .prints("[[],[[\"A\",\"1\"]],\"\"]\n");
}

#[test]
fn a_variable_has_a_name_and_a_value() {
    call("surroundings --env PATH")
        .run()
        .is_refused(&["a variable is given as NAME=VALUE", "PATH=\"$PATH\""]);
    call("surroundings --env =x").run().is_refused(&["NAME=VALUE"]);
}

#[test]
fn a_guest_reads_nothing_of_the_commands_input() {
    map("surroundings --star -j 1")
        .input("[]\n[]\n")
        .run()
        .prints("[[],[],\"\"]\n[[],[],\"\"]\n");
}

#[test]
fn an_item_may_print_so_much_and_no_more() {
    call("print ab cd --max-output 4").run().ends(0, "null\n", "abcd");
    // Its standard output comes when it ends, and then two bytes are left.
    let outcome = call("print abc de --max-output 4").run();
    assert_eq!((outcome.code(), outcome.text()), (1, ""));
    outcome.says(&[
        "abde",
        "wasmp: output_limit: printed more than 4 bytes, which is all that is allowed",
    ]);
}

#[test]
fn deterministic_runs_are_alike() {
    let run = || call("chance --deterministic").run().text().to_owned();
    let first = run();
    assert!(first.starts_with('['), "{first}");
    assert_eq!(first, run());
}

#[test]
fn the_readme_can_be_read_where_it_is_granted() {
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).expect("a file");
    let outcome = call("read_file README.md --dir .").run();
    assert_eq!(outcome.json(), [readme]);
}
