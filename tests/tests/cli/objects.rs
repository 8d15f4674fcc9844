//! Objects that the tasks of a run share: `--queue`, `--lock`, `--event`, `--semaphore`, `--shared-memory`.

use wasmp_tests::objects;

use crate::outcome::Outcome;
use crate::run::{Wasmp, wasmp};

/// `wasmp map` with the module of `guests/objects` and these words.
fn map(words: &str) -> Wasmp {
    wasmp("map").arg(objects()).words(words)
}

/// `wasmp call` with the same.
fn call(words: &str) -> Wasmp {
    wasmp("call").arg(objects()).words(words)
}

/// The lines of an output that comes in any order.
fn sorted(outcome: &Outcome) -> Vec<&str> {
    let mut lines: Vec<&str> = outcome.text().lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_queue_goes_from_task_to_task() {
    map(r#"named_queue --star ["jobs",[],3] ["jobs",[1,2,3],0] --queue jobs -j 2 --chunksize 1"#)
        .run()
        .prints("[1,2,3]\n[]\n");
    call("named_queue jobs [4,5] 2 --queue jobs").run().prints("[4,5]\n");
}

#[test]
fn a_queue_has_room_for_as_many_as_it_was_told() {
    call("named_queue jobs [4,5] 2 --queue jobs:2").run().prints("[4,5]\n");
    call("named_queue jobs [4,5,6] 3 --queue jobs:2")
        .run()
        .ends(1, "", "wasmp: error: the queue is full\n");
}

#[test]
fn a_lock_and_memory_are_the_same_for_all_workers() {
    let outcome = map("named_count --star -j 3 --chunksize 1 --unordered --lock guard --shared-memory counter:8")
        .input("[\"guard\",\"counter\"]\n".repeat(60))
        .run();
    assert_eq!(outcome.code(), 0, "{outcome:?}");
    let mut counts: Vec<u64> = outcome
        .text()
        .lines()
        .map(|line| line.parse().expect("a count"))
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, Vec::from_iter(1..=60));
}

#[test]
fn an_event_wakes_a_task_of_another_worker() {
    map(r#"named_event --star ["go",false] ["go",true] --event go -j 2 --chunksize 1"#)
        .run()
        .prints("true\ntrue\n");
}

#[test]
fn a_semaphore_has_as_many_permits_as_it_was_told() {
    let outcome = map("named_semaphore seats seats seats --semaphore seats:2 -j 2").run();
    assert_eq!(outcome.code(), 0, "{outcome:?}");
    assert_eq!(sorted(&outcome), ["false", "true", "true"]);
    call("named_semaphore seats --semaphore seats:0")
        .run()
        .prints("false\n");
}

#[test]
fn memory_has_as_many_bytes_as_it_was_told() {
    call("named_memory blackboard --shared-memory blackboard:100K")
        .run()
        .prints("102400\n");
    call("named_memory blackboard --shared-memory blackboard:64MiB")
        .run()
        .prints("67108864\n");
}

#[test]
fn each_kind_can_be_given_more_than_once() {
    let all = "--queue a --queue b:1 --lock c --lock d --event e --event f --semaphore g:1 --semaphore h:1 \
               --shared-memory i:8 --shared-memory j:9";
    call("named_queue b [1] 1").words(all).run().prints("[1]\n");
    call("named_count d j").words(all).run().prints("1\n");
    call("named_event f true").words(all).run().prints("true\n");
    call("named_semaphore h").words(all).run().prints("true\n");
    call("named_memory j").words(all).run().prints("9\n");
}

#[test]
fn a_name_may_have_a_colon_where_a_number_follows() {
    call("named_queue a:b [1] 1 --queue a:b:3").run().prints("[1]\n");
}

#[test]
fn there_is_nothing_that_was_not_asked_for() {
    let no_such = "wasmp: error: there is no such object\n";
    call("named_event go true").run().ends(1, "", no_such);
    call("named_event go true --event GO").run().ends(1, "", no_such);
    call("named_memory go --event go").run().ends(
        1,
        "",
        "wasmp: error: the name belongs to an object of another kind\n",
    );
}

#[test]
fn one_run_knows_nothing_of_the_next() {
    call("named_queue jobs [1] 0 --queue jobs").run().prints("[]\n");
    for _ in 0..2 {
        call("named_count guard counter --lock guard --shared-memory counter:8")
            .run()
            .prints("1\n");
    }
}

#[test]
fn a_name_is_taken_once() {
    for words in [
        "--lock x --lock x",
        "--queue x:3 --event x",
        "--semaphore x:1 --shared-memory x:8",
    ] {
        let outcome = call("named_event x true").words(words).run();
        assert_eq!((outcome.code(), outcome.text()), (2, ""), "{words}: {outcome:?}");
        outcome.says(&["`x` cannot be the name of an object", "taken"]);
    }
}

#[test]
fn names_and_numbers_that_cannot_be_are_refused() {
    let long = "n".repeat(256);
    let refused: [(&str, &str, &str); 11] = [
        ("--lock", "", "it needs a name"),
        ("--queue", ":3", "it needs a name"),
        ("--event", &long, "at most 255 bytes"),
        (
            "--queue",
            "jobs:many",
            "`many` is not a number; after the colon stands how many messages it holds at most",
        ),
        ("--queue", "jobs:-1", "`-1` is not a number"),
        ("--semaphore", "seats", "NAME:VALUE, such as seats:4"),
        (
            "--semaphore",
            "seats:",
            "`` is not a number; after the colon stands how many permits it has",
        ),
        ("--semaphore", "seats:4294967295", "is not a number"),
        ("--shared-memory", "board", "NAME:SIZE, such as board:64M"),
        ("--shared-memory", "board:0", "board:0"),
        ("--shared-memory", "board:big", "big"),
    ];
    for (option, value, words) in refused {
        for command in [call("named_event x true"), map("named_event")] {
            command.arg(option).arg(value).run().is_refused(&[option, words]);
        }
    }
}

#[test]
fn a_handle_cannot_be_a_result() {
    for task in ["lock_new", "event_new", "lock_named x"] {
        let outcome = call(task).words("--lock x").run();
        assert_eq!((outcome.code(), outcome.text()), (1, ""), "{task}: {outcome:?}");
        outcome.says(&[
            "wasmp: result: ",
            "JSON has nothing for a tagged value, such as a handle",
        ]);
    }
    let outcome = map("lock_named x --lock x --envelope").run();
    assert_eq!(outcome.code(), 1);
    let error = &outcome.json()[0]["error"];
    assert_eq!(error["kind"], "result", "{error}");
}

#[test]
fn the_other_commands_have_no_objects() {
    for command in ["exec", "inspect", "compile"] {
        let outcome = wasmp(command).arg(objects()).words("--lock x").run();
        outcome.is_refused(&["--lock"]);
    }
}
