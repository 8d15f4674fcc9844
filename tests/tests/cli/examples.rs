//! Every example, with the commands that its first lines and the README show.

use std::process::Command;

use crate::outcome::Outcome;
use crate::run::{ROOT, wasmp};

/// Runs a command that builds its guest first, and is quiet about it where it can be.
fn example(words: &str) -> Outcome {
    wasmp(words).building().run()
}

#[test]
fn wordcount_counts_as_wc_does() {
    let files = [
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "Cargo.lock",
        "host/cli/CONTRACT.md",
    ];
    let wc = |file: &&str| {
        let counted = Command::new("wc")
            .args(["-w", file])
            .current_dir(ROOT)
            .output()
            .expect("wc");
        let counted = String::from_utf8(counted.stdout).expect("text");
        counted.split(' ').next().expect("a number").to_owned() + "\n"
    };
    let expected: String = files.iter().map(wc).collect();
    example(&format!(
        "map examples/wordcount count_words {} --dir . -q",
        files.join(" ")
    ))
    .prints(&expected);
    let outcome = example("call examples/wordcount count_words README.md -q");
    assert_eq!(outcome.code(), 1, "it was given no directory");
    outcome.says(&["wasmp: error: "]);
}

#[test]
fn primes_are_counted() {
    example("map examples/primes count_primes 10 100 1000 10000 100000 -q").prints("4\n25\n168\n1229\n9592\n");
    example("map examples/primes count_primes_between [0,1000] [1000,10000] --star -q").prints("168\n1061\n");
}

#[test]
fn square_squares() {
    example("call examples/square square 7 -q").prints("49\n");
    let outcome = wasmp("map examples/square square -q")
        .building()
        .input("1\n2\n3\n")
        .run();
    outcome.prints("1\n4\n9\n");
}

#[test]
fn hello_greets_as_a_task_and_as_a_command() {
    example(r#"call examples/hello _start ["hello","Ada","Grace"] -q"#).prints("\"Hello, Ada!\\nHello, Grace!\\n\"\n");
    example(r#"map examples/hello _start "Ada" "Grace" -q"#).prints("\"Hello, Ada!\\n\"\n\"Hello, Grace!\\n\"\n");
    let exec = || wasmp("exec examples/hello").building();
    let outcome = exec().words("-- Ada").run();
    assert_eq!((outcome.code(), outcome.text()), (0, "Hello, Ada!\n"));
    let outcome = exec().input("Ada\n\n").run();
    assert_eq!((outcome.code(), outcome.text()), (0, "Hello, Ada!\nHello!\n"));
}

#[test]
fn plain_exports_are_tasks() {
    example("call examples/plain/square.wat square 7").prints("49\n");
    example("map examples/plain/square.wat square -7 1000000007").prints("49\n1000000014000000049\n");
}

#[test]
fn a_task_module_by_hand_echoes_anything() {
    wasmp("call examples/wat-task/echo.wat echo")
        .arg(r#"{"a": [1, 2]}"#)
        .run()
        .prints("{\"a\":[1,2]}\n");
    example("call examples/wat-task/echo.wat echo").ends(1, "", "wasmp: arguments: expected 1 argument (value: any)\n");
}
