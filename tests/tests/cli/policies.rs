//! What is done about failures, and with workers and their instances.

use crate::run::{call, map};
use crate::scene::Folder;

#[test]
fn retry_on_error_tries_an_item_again_that_failed_by_itself() {
    map("succeed_at 3 -j 1 --retries 2 --retry-on error --backoff 1ms")
        .run()
        .prints("3\n");
    let outcome = map("succeed_at 3 -j 1 --retries 2").run();
    assert_eq!(outcome.code(), 1, "without it, only a lost worker is answered");
    outcome.says(&["error: call 1"]);
}

#[test]
fn retry_on_timeout_gives_an_item_more_time() {
    let outcome = map("spin -j 1 --envelope --star [] --timeout 50ms --retries 1 --retry-on timeout,lost").run();
    assert_eq!(outcome.json()[0]["error"]["attempts"], 2, "{outcome:?}");
}

#[test]
fn isolation_says_how_long_an_instance_lives() {
    for (isolation, counts) in [
        ("worker", "1\n2\n3\n4\n"),
        ("task", "1\n1\n1\n1\n"),
        ("3", "1\n2\n3\n1\n"),
    ] {
        map("count -j 1 --star [] [] [] [] --isolation")
            .arg(isolation)
            .run()
            .prints(counts);
    }
}

#[test]
fn max_tasks_per_child_replaces_the_process() {
    map("count -j 1 --star [] [] [] [] [] --max-tasks-per-child 2")
        .run()
        .prints("1\n2\n1\n2\n1\n");
}

#[test]
fn an_initializer_runs_first() {
    let prepared = r#"--initializer prepare --initargs ["fine",7]"#;
    map("prepared -j 2 --star [] [] []")
        .words(prepared)
        .run()
        .prints("7\n7\n7\n");
    call("prepared").words(prepared).run().prints("7\n");
    let failing = call("prepared --initializer prepare --initargs")
        .arg(r#"["error",7]"#)
        .run();
    failing.is_refused(&["the initializer failed: told to fail"]);
}

#[test]
fn buffersize_bounds_how_far_inputs_are_ahead_of_results() {
    let folder = Folder::new();
    let path = folder.path().join("trace.json");
    let outcome = map("sleep 50 1 1 -j 3 --chunksize 1 --buffersize 1 --trace")
        .arg(&path)
        .run();
    assert_eq!(outcome.code(), 0, "{outcome:?}");
    let events: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&path).expect("a trace")).expect("JSON");
    let mut items: Vec<_> = events
        .iter()
        .filter(|event| event["ph"] == "X")
        .map(|event| {
            (
                event["ts"].as_f64().expect("a time"),
                event["dur"].as_f64().expect("a time"),
            )
        })
        .collect();
    items.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(items.len(), 3);
    // One at a time, although there are three workers.
    assert!(
        items.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0),
        "{items:?}"
    );
}

#[test]
fn a_soft_timeout_says_where_the_item_was_stuck() {
    let outcome = call("spin --soft-timeout 200ms").run();
    assert_eq!((outcome.code(), outcome.text()), (1, ""));
    outcome.says(&[
        "begun\n",
        "wasmp: timeout: ran longer than 200ms and was stopped\n",
        "spin",
    ]);
}
