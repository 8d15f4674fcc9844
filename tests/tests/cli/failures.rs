//! What a task can do wrong is that item's failure: its kind, its line on standard error, and its fields.

use serde_json::Value;

use crate::outcome::Outcome;
use crate::run::{map, wasmp};
use crate::scene::Folder;

/// Runs an item between two that are fine, in one chunk; returns its `error` and its line on standard error.
#[track_caller]
fn failure(task: &str, input: &str, options: &str) -> (Value, String) {
    let command = map(task).args(["fine", input, "fine"]).words(options);
    only_the_second_failed(&command.words("-j 1 --chunksize 3 --envelope --keep-going -q").run())
}

#[track_caller]
fn only_the_second_failed(outcome: &Outcome) -> (Value, String) {
    assert_eq!(outcome.code(), 1, "{outcome:?}");
    let lines = outcome.json();
    assert_eq!(
        (&lines[0]["ok"], &lines[2]["ok"]),
        (&1.into(), &1.into()),
        "{outcome:?}"
    );
    let error = lines[1]["error"].clone();
    let kind = error["kind"].as_str().expect("a kind");
    let mut said = outcome.stderr.lines().filter(|line| line.starts_with("wasmp: "));
    let line = said.next().expect("a line on standard error");
    assert_eq!(said.next(), None);
    assert!(line.starts_with(&format!("wasmp: item 1: {kind}: ")), "{line}");
    (error, line.to_owned())
}

fn fields(error: &Value) -> Vec<&str> {
    error
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn an_error_that_a_task_returns() {
    let (error, line) = failure("misbehave", "error", "");
    assert_eq!(error["kind"], "error");
    assert_eq!(line, "wasmp: item 1: error: told to fail");
    assert_eq!(fields(&error), ["kind", "message", "attempts"]);
}

#[test]
fn a_panic_says_what_and_where() {
    let (error, line) = failure("misbehave", "panic", "");
    assert_eq!(error["kind"], "panic");
    assert!(line.starts_with("wasmp: item 1: panic: told to panic ("), "{line}");
    assert!(line.contains("tasks/src/main.rs:"), "{line}");
    assert_eq!(fields(&error), ["kind", "message", "backtrace", "attempts"]);
    let backtrace = error["backtrace"].as_str().expect("text");
    assert!(
        backtrace.lines().any(|frame| frame.contains("misbehave at ")),
        "{backtrace}"
    );
}

#[test]
fn a_trap_has_a_backtrace_too() {
    let (error, _) = failure("misbehave", "unreachable", "");
    assert_eq!(error["kind"], "trap");
    assert!(
        error["message"].as_str().expect("text").contains("unreachable"),
        "{error}"
    );
    assert!(
        error["backtrace"].as_str().expect("text").contains("misbehave"),
        "{error}"
    );
    let (error, _) = failure("misbehave", "stack overflow", "");
    assert_eq!(
        (&error["kind"], &error["message"]),
        (&"trap".into(), &"wasm trap: call stack exhausted".into())
    );
}

#[test]
fn traps_are_told_apart() {
    let module = r#"(module (memory 1)
      (func (export "divide") (param i64) (result i64) (i64.div_s (i64.const 1) (local.get 0)))
      (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
      (table 1 funcref)
      (func (export "call") (param i32) (call_indirect (local.get 0))))"#;
    let folder = Folder::new().with("traps.wat", module);
    for (task, input, message) in [
        ("divide", "0", "integer divide by zero"),
        ("load", "65536", "out of bounds memory access"),
        ("call", "0", "uninitialized element"),
        ("call", "9", "undefined element: out of bounds table access"),
    ] {
        let run = |command: &str| wasmp(command).words("traps.wat").within(folder.path());
        run("call").args([task, input]).run().says(&["wasmp: trap: ", message]);
    }
}

#[test]
fn an_exit_has_its_code() {
    for (how, code) in [("exit 3", 3), ("exit 0", 0)] {
        let (error, _) = failure("misbehave", how, "");
        assert_eq!((&error["kind"], &error["exit_code"]), (&"exit".into(), &code.into()));
        assert_eq!(fields(&error), ["kind", "message", "exit_code", "attempts"]);
    }
}

#[test]
fn a_deadline_that_passes() {
    let (error, line) = failure("misbehave", "loop", "--timeout 300ms");
    assert_eq!(error["kind"], "timeout");
    assert!(line.contains("300ms"), "{line}");
    assert_eq!(fields(&error), ["kind", "message", "attempts"]);
}

#[test]
fn memory_that_is_not_allowed() {
    let (error, line) = failure("misbehave", "allocate", "--max-memory 100M");
    assert_eq!(error["kind"], "memory_limit");
    assert!(line.contains("100 MiB"), "{line}");
}

#[test]
fn arguments_that_do_not_fit() {
    let (error, line) = failure("misbehave", "[]", "");
    assert_eq!(error["kind"], "arguments");
    assert_eq!(
        line,
        "wasmp: item 1: arguments: argument 1 (how: &str): expected &str, got an array of 0"
    );
}

#[test]
fn a_result_that_cannot_be_encoded() {
    let outcome = map("unencodable --star [] --envelope -q").run();
    assert_eq!(
        outcome.stderr,
        "wasmp: item 0: result: the result cannot be encoded: I will not\n"
    );
    assert_eq!(
        (outcome.code(), &outcome.json()[0]["error"]["kind"]),
        (1, &"result".into())
    );
}

#[test]
fn a_task_that_returns_without_a_result() {
    let error = error_of(r#"(func (export "wasmp_task_nothing"))"#, "nothing");
    assert_eq!(error["kind"], "no_result");
}

#[test]
fn a_module_that_cannot_be_instantiated() {
    let module = r#"(memory 1) (data (i32.const 65536) "beyond") (func (export "wasmp_task_nothing"))"#;
    assert_eq!(error_of(module, "nothing")["kind"], "instantiate");
}

#[test]
fn a_worker_that_dies_is_named_by_its_signal() {
    let running = map("spin --star [] -j 1 --envelope -q").start();
    running.stderr.wait_for_begun(1);
    running.worker().kill();
    let outcome = running.end();
    assert_eq!(outcome.code(), 1);
    let error = &outcome.json()[0]["error"];
    assert_eq!((&error["kind"], &error["signal"]), (&"worker_lost".into(), &9.into()));
    assert_eq!(fields(error), ["kind", "message", "signal", "attempts"]);
    outcome.says(&["SIGKILL"]);
}

#[test]
fn a_failed_item_is_one_line_whatever_its_message_holds() {
    let outcome = map("misbehave -q").arg("a\nb\u{1b}[2J\u{9b}\u{7f}").run();
    outcome.ends(1, "", "wasmp: item 0: error: cannot a\\nb\\u{1b}[2J\\u{9b}\\u{7f}\n");
    let outcome = map("misbehave -q --envelope").arg("a\nb\u{1b}\u{9b}\u{7f}").run();
    let line = outcome.text().trim_end();
    assert!(
        line.contains("\"message\":\"cannot a\\nb\\u001b\\u009b\\u007f\""),
        "{line}"
    );
    assert!(!line.contains(char::is_control), "{line}");
}

/// Has a module of these fields run a task once; its `error`.
fn error_of(fields: &str, task: &str) -> Value {
    let folder = Folder::new().with("module.wat", format!("(module {fields})"));
    let outcome = wasmp("map module.wat")
        .arg(task)
        .words("1 --envelope -q")
        .within(folder.path())
        .run();
    assert_eq!(outcome.code(), 1, "{outcome:?}");
    let error = outcome.json()[0]["error"].clone();
    outcome.says(&[&format!("wasmp: item 0: {}: ", error["kind"].as_str().expect("a kind"))]);
    error
}
