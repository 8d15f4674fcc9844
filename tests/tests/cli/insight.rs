//! `--stats` and `--trace`: what is told about a run.

use serde_json::Value;

use crate::run::{call, map};
use crate::scene::Folder;

/// The events of a trace of this kind.
fn events(folder: &Folder, phase: &str) -> Vec<Value> {
    let text = std::fs::read(folder.path().join("trace.json")).expect("a trace");
    let events: Vec<Value> = serde_json::from_slice(&text).expect("JSON");
    events.into_iter().filter(|event| event["ph"] == phase).collect()
}

fn option(folder: &Folder) -> String {
    format!("--trace={}", folder.path().join("trace.json").display())
}

#[test]
fn stats_are_one_screen_after_the_run() {
    let input: String = (0..3000).map(|number| format!("{number}\n")).collect();
    let outcome = map("square -j 20 --stats --quiet").input(input).run();
    assert_eq!(outcome.code(), 0, "{outcome:?}");
    let lines: Vec<_> = outcome.stderr.lines().collect();
    assert!(lines.len() <= 24, "{}", outcome.stderr);
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{}",
        outcome.stderr
    );
    outcome.says(&[
        " worker    tasks",
        "    +13 ",
        "    all     3000       0",
        "slowest items\n",
    ]);
    assert_eq!(lines.iter().filter(|line| line.contains("  item ")).count(), 10);
}

#[test]
fn the_slowest_items_are_shown_with_their_inputs() {
    let outcome = map("sleep -j 2 --stats")
        .input("1\nnonsense\n\n300\n1\n")
        .words("--keep-going")
        .run();
    assert_eq!(outcome.code(), 1);
    let slowest = outcome.stderr.split("slowest items\n").nth(1).expect("slowest items");
    let first = slowest.lines().next().expect("a line");
    assert!(first.ends_with("  item 2 (line 4)  300"), "{first}");
}

#[test]
fn what_is_shown_of_an_input_fits_and_is_escaped() {
    let input = format!("\"\u{9b}2J{}\"\n", "x".repeat(500));
    let outcome = map("echo --stats").input(input).run();
    let line = outcome
        .stderr
        .lines()
        .find(|line| line.contains("item 0"))
        .expect("a line");
    assert!(
        line.contains("(line 1)  \"\\u{9b}2Jxxx") && line.ends_with("xxx…"),
        "{line}"
    );
    assert_eq!(line.chars().count(), 80);
}

#[test]
fn stats_are_printed_also_when_the_run_stops() {
    let outcome = map("misbehave error --stats").run();
    assert_eq!(outcome.code(), 1);
    outcome.says(&[
        "item 0: error: told to fail",
        " worker    tasks",
        "stopped at the first failed item",
    ]);
}

#[test]
fn a_trace_has_an_event_for_each_item() {
    let folder = Folder::new();
    let input: String = (0..200).map(|number| format!("{number}\n")).collect();
    let outcome = map("square -j 2").arg(option(&folder)).input(input).run();
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
    let mut indices: Vec<_> = events(&folder, "X")
        .iter()
        .map(|event| event["args"]["index"].as_u64().expect("a number"))
        .collect();
    indices.sort_unstable();
    assert!(indices.into_iter().eq(0..200));
    assert!(
        events(&folder, "i")
            .iter()
            .any(|event| event["name"] == "worker started")
    );
    assert!(
        events(&folder, "M")
            .iter()
            .any(|event| event["args"]["name"] == "worker 1")
    );
}

#[test]
fn a_call_can_be_traced_and_counted() {
    let folder = Folder::new();
    let outcome = call("add 1 2 --stats").arg(option(&folder)).run();
    assert_eq!((outcome.code(), outcome.text()), (0, "3\n"));
    outcome.says(&["slowest items\n", "worker 1     the call  1 2\n"]);
    assert_eq!(events(&folder, "X").len(), 1);
}

#[test]
fn a_trace_that_cannot_be_written_is_named() {
    let outcome = map("square 3 --trace /no/such/folder/t.json").run();
    outcome.is_refused(&["cannot write /no/such/folder/t.json: no such file or directory"]);
    let full = map("square 3 --trace /dev/full").run();
    assert_eq!((full.code(), full.text()), (2, "9\n"));
    full.says(&["wasmp: cannot write /dev/full: no space left on device"]);
}
