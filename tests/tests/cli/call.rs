//! `wasmp call`: a task once.

use wasmp_tests::program;

use crate::run::{call, wasmp};

#[test]
fn the_result_is_one_line_of_json() {
    call("square 7").run().prints("49\n");
    call("add 1 -2").run().prints("-1\n");
    call("spin_if_negative 3").run().ends(0, "3\n", "did 3\n");
}

#[test]
fn arguments_are_json_or_else_strings() {
    call("echo").arg("two words").run().prints("\"two words\"\n");
    call("echo").arg("\"quoted\"").run().prints("\"quoted\"\n");
    call("echo --raw-input")
        .arg("\"quoted\"")
        .run()
        .prints("\"\\\"quoted\\\"\"\n");
    call("square --raw-input 7").run().ends(
        1,
        "",
        "wasmp: arguments: argument 1 (x: i64): expected i64, got text \"7\"\n",
    );
}

#[test]
fn an_argument_that_cannot_be_carried_is_wrong_usage() {
    call("add 1 1e999").run().ends(
        2,
        "",
        "wasmp: argument 2: 1e+999 is beyond the range of a 64-bit float at column 5\n",
    );
}

#[test]
fn it_reads_no_input() {
    let mut running = call("square 7").start();
    let input = running.stdin.take();
    running.end().prints("49\n");
    drop(input);
}

#[test]
fn a_failure_is_told_in_full() {
    call("misbehave error")
        .run()
        .ends(1, "", "wasmp: error: told to fail\n");
    let outcome = call("misbehave panic").run();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["wasmp: panic: told to panic (", "\n  0: ", "misbehave at "]);
    let outcome = call("misbehave").arg("exit 3").run();
    outcome.ends(1, "", "wasmp: exit: the guest ended with exit code 3\n");
}

#[test]
fn a_failure_is_told_with_its_causes() {
    call("fail_for_reasons").run().ends(
        1,
        "",
        "wasmp: error: cannot sum up\n  caused by: cannot open the list\n  caused by: no such file\n",
    );
}

#[test]
fn control_characters_of_a_failure_are_escaped() {
    call("misbehave")
        .arg("\u{1b}[2J\r")
        .run()
        .ends(1, "", "wasmp: error: cannot \\u{1b}[2J\\r\n");
}

#[test]
fn a_result_that_json_cannot_carry_is_a_failure() {
    let outcome = call("unencodable").run();
    outcome.ends(1, "", "wasmp: result: the result cannot be encoded: I will not\n");
}

#[test]
fn it_has_the_limits_of_map() {
    let outcome = call("spin --timeout 200ms").run();
    assert_eq!((outcome.code(), outcome.text()), (1, ""));
    outcome.says(&["wasmp: timeout: ran longer than 200ms"]);
    let outcome = call("allocate 100 --max-memory 50M").run();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["wasmp: memory_limit: "]);
}

#[test]
fn a_lost_worker_is_tried_again_as_often_as_asked() {
    let running = call("spin --retries 1").start();
    for _ in 0..2 {
        running.stderr.wait_for_begun(1);
        running.worker().kill();
    }
    let outcome = running.end();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["wasmp: worker_lost: "]);
}

#[test]
fn a_wasi_command_is_a_task_of_texts() {
    let start = || wasmp("call").arg(program()).arg("_start");
    start().arg("hello").run().prints("\"HELLO\"\n");
    start()
        .arg(r#"["name","echo","a","b c"]"#)
        .run()
        .prints("\"a b c\\n\"\n");
    start()
        .arg(r#"["name","both"]"#)
        .run()
        .ends(0, "\"to stdout\\n\"\n", "to stderr\n");
    start()
        .arg(r#"["name","exit","5"]"#)
        .run()
        .ends(1, "", "wasmp: exit: the guest ended with exit code 5\n");
}

#[test]
fn it_takes_none_of_maps_own_options() {
    for option in [
        "--keep-going",
        "--envelope",
        "--star",
        "-j 2",
        "--unordered",
        "--input x",
    ] {
        call("square 7")
            .words(option)
            .run()
            .is_refused(&["unexpected argument"]);
    }
}
