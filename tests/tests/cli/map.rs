//! `wasmp map` and its options: what runs where, in which order, and when the run ends.

use std::thread::available_parallelism;

use wasmp_tests::eventually;

use crate::run::{map, wasmp};
use crate::scene::Folder;

/// Items that each wait for a file: `wait_for ["/gate/a", 0]` and so on, under this folder.
const GATED: &str = r#"wait_for --star ["/gate/a",0] ["/gate/b",1] ["/gate/c",2] ["/gate/d",3]"#;

#[test]
fn results_are_one_line_each_in_the_order_of_the_inputs() {
    let gate = Folder::new();
    let running = map(GATED)
        .words("-j 2 --chunksize 1")
        .arg(gate.granted_as("/gate"))
        .start();
    // The third item starts where the second one has ended, while the first one goes on.
    gate.open("b");
    running.stderr.wait_for_begun(3);
    for name in ["c", "d", "a"] {
        gate.open(name);
    }
    let outcome = running.end();
    assert_eq!((outcome.code(), outcome.text()), (0, "0\n1\n2\n3\n"));
}

#[test]
fn unordered_prints_results_as_they_come() {
    let gate = Folder::new();
    let running = map(GATED)
        .words("-j 2 --chunksize 1 --unordered")
        .arg(gate.granted_as("/gate"))
        .start();
    for (name, result) in [("b", "1"), ("c", "2"), ("a", "0"), ("d", "3")] {
        gate.open(name);
        assert_eq!(running.stdout.next(), result);
    }
    assert_eq!(running.end().code(), 0);
}

/// A module whose task returns the number of the worker, after some milliseconds: so long that the pool, left to itself,
/// would hand out one item at a time.
const SLOT: &str = r#"(module
  (import "wasmp_v1" "task_next" (func $task_next (param i32 i32) (result i64)))
  (import "wasmp_v1" "task_return" (func $task_return (param i32 i32)))
  (import "wasmp_v1" "worker_slot" (func $worker_slot (result i32)))
  (memory (export "memory") 1)
  (func (export "wasmp_task_slot")
    (local $left i32)
    (loop $items
      (if (i64.lt_s (call $task_next (i32.const 16) (i32.const 100)) (i64.const 0)) (then (return)))
      (local.set $left (i32.const 5000000))
      (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (i32.store8 (i32.const 0) (call $worker_slot))
      (call $task_return (i32.const 0) (i32.const 1))
      (br $items))))"#;

#[test]
fn chunksize_hands_so_many_items_to_one_worker() {
    let folder = Folder::new().with("slot.wat", SLOT);
    let input = "null\n".repeat(60);
    let outcome = wasmp("map slot.wat slot -j 2 --chunksize 10")
        .within(folder.path())
        .input(input)
        .run();
    assert_eq!(outcome.code(), 0, "{outcome:?}");
    let slots: Vec<&str> = outcome.text().lines().collect();
    let changes = slots.windows(2).filter(|pair| pair[0] != pair[1]).count();
    // Five between full chunks, and some more: those that go while the first inputs are read are not full.
    assert!(changes <= 10, "{changes} changes in {slots:?}");
}

#[test]
fn what_is_done_of_a_chunk_is_printed_before_all_of_it_is() {
    let gate = Folder::new();
    let running = map(GATED)
        .words("-j 1 --chunksize 4")
        .arg(gate.granted_as("/gate"))
        .start();
    for (name, result) in [("a", "0"), ("b", "1"), ("c", "2"), ("d", "3")] {
        gate.open(name);
        assert_eq!(running.stdout.next(), result);
    }
    assert_eq!(running.end().code(), 0);
}

#[test]
fn processes_is_the_number_of_workers() {
    for (option, workers) in [("-j 1", 1), ("--processes 3", 3)] {
        let gate = Folder::new();
        let running = map(GATED).words(option).arg(gate.granted_as("/gate")).start();
        running.stderr.wait_for_begun(1);
        eventually("all workers run", || {
            (running.processes("wasmp-worker").len() == workers).then_some(())
        });
        for name in ["a", "b", "c", "d"] {
            gate.open(name);
        }
        assert_eq!(running.end().text(), "0\n1\n2\n3\n", "{option}");
    }
}

#[test]
fn there_is_a_worker_for_each_cpu_that_may_be_used() {
    let gate = Folder::new();
    let running = map(GATED).arg(gate.granted_as("/gate")).start();
    let cpus = available_parallelism().expect("a number of CPUs").get();
    running.stderr.wait_for_begun(1);
    eventually("all workers run", || {
        (running.processes("wasmp-worker").len() == cpus).then_some(())
    });
    for name in ["a", "b", "c", "d"] {
        gate.open(name);
    }
    assert_eq!(running.end().code(), 0);
}

#[test]
fn numbers_of_processes_and_chunks_begin_at_one() {
    map("square 1 -j 0").run().is_refused(&["'0' for '--processes <N>'"]);
    map("square 1 --chunksize 0")
        .run()
        .is_refused(&["'0' for '--chunksize <N>'"]);
}

#[test]
fn an_array_is_one_argument_and_star_spreads_it() {
    map("add --star [1,2] [3,4]").run().prints("3\n7\n");
    map("add [1,2]").run().ends(
        1,
        "",
        "wasmp: item 0: arguments: expected 2 arguments (a: i64, b: i64), got 1\n\
         wasmp: stopped at the first failed item (0 done); --keep-going goes on\n",
    );
    wasmp("map examples/wat-task/echo.wat echo [1,2] []")
        .run()
        .prints("[1,2]\n[]\n");
}

#[test]
fn star_refuses_what_it_cannot_spread() {
    map("add --star 7 -q").run().ends(
        1,
        "",
        "wasmp: item 0: input: not an array, and --star needs one to spread over the parameters\n",
    );
    map("add --star --raw-input")
        .run()
        .is_refused(&["'--star' cannot be used with '--raw-input'"]);
}

#[test]
fn the_run_stops_at_the_first_failed_item() {
    map("square 1 2 x 4 y 6").words("-j 1").run().ends(
        1,
        "1\n4\n",
        "wasmp: item 2: arguments: argument 1 (x: i64): expected i64, got text \"x\"\n\
         wasmp: stopped at the first failed item (2 done); --keep-going goes on\n",
    );
}

#[test]
fn a_failed_item_ends_a_run_whose_input_never_ends() {
    let mut running = map("square").start();
    running.write("2\n\"x\"\n");
    assert_eq!(running.stdout.next(), "4");
    running.stderr.wait_for("item 1 (line 2): arguments: ");
    let input = running.stdin.take();
    assert_eq!(running.end().code(), 1);
    drop(input);
}

#[test]
fn keep_going_goes_on() {
    map("square 1 x 3 y 5 --keep-going").run().ends(
        1,
        "1\n9\n25\n",
        "wasmp: item 1: arguments: argument 1 (x: i64): expected i64, got text \"x\"\n\
         wasmp: item 3: arguments: argument 1 (x: i64): expected i64, got text \"y\"\n\
         wasmp: 5 items, 2 of them failed\n",
    );
}

#[test]
fn quiet_leaves_failed_items_and_what_guests_print() {
    for option in ["-q", "--quiet"] {
        map("square x").words(option).run().ends(
            1,
            "",
            "wasmp: item 0: arguments: argument 1 (x: i64): expected i64, got text \"x\"\n",
        );
    }
    map(r#"print --star ["out\n","err\n"] --quiet -j 1"#)
        .run()
        .ends(0, "null\n", "out\nerr\n");
}

#[test]
fn guests_print_whole_lines_to_standard_error() {
    let outcome = map("print_lines 2000 2000 2000 2000 -j 2 --chunksize 1").run();
    assert_eq!((outcome.code(), outcome.text()), (0, "null\nnull\nnull\nnull\n"));
    let mut lines: Vec<&str> = outcome.stderr.lines().collect();
    let mut expected: Vec<String> = (0..2000).map(|line| format!("line {line}")).collect();
    expected.sort_unstable();
    lines.sort_unstable();
    for (line, expected) in lines.chunks(4).zip(&expected) {
        assert_eq!(line, [expected; 4]);
    }
    assert_eq!(lines.len(), 8000);
}

#[test]
fn a_message_does_not_go_on_in_a_line_that_a_guest_left_open() {
    let outcome = map("print --star -j 1 -q").input("[\"no end\",\"\"]\n[1]\n").run();
    assert_eq!((outcome.code(), outcome.text()), (1, "null\n"));
    let mut lines: Vec<&str> = outcome.stderr.lines().collect();
    lines.sort_unstable();
    let failed = "wasmp: item 1 (line 2): arguments: expected 2 arguments (to_stdout: &str, to_stderr: &str), got 1";
    assert_eq!(lines, ["no end", failed]);
}

#[test]
fn options_may_stand_anywhere_before_two_dashes() {
    wasmp("map -j 1 examples/plain/square.wat --keep-going square 2 --unordered 3 --chunksize 1 -5")
        .run()
        .prints("4\n9\n25\n");
    wasmp("map examples/wat-task/echo.wat echo -- --envelope -x -7")
        .run()
        .prints("\"--envelope\"\n\"-x\"\n-7\n");
}

#[test]
fn retries_are_for_lost_workers_only() {
    map("misbehave error panic unreachable --retries 3 --keep-going --envelope")
        .run()
        .json()
        .iter()
        .for_each(|line| assert_eq!(line["error"]["attempts"], 1, "{line}"));
}

#[test]
fn the_item_of_a_lost_worker_is_tried_again() {
    let gate = Folder::new();
    let running = map(r#"wait_for --star ["/gate/a",7] -j 1 --retries 1"#)
        .arg(gate.granted_as("/gate"))
        .start();
    running.stderr.wait_for_begun(1);
    running.worker().kill();
    running.stderr.wait_for_begun(1);
    gate.open("a");
    running.end().prints("7\n");
}

#[test]
fn the_item_of_a_lost_worker_fails_when_its_retries_are_used_up() {
    let gate = Folder::new();
    let running = map(r#"wait_for --star ["/gate/a",7] -j 1 --retries 1 --envelope"#)
        .arg(gate.granted_as("/gate"))
        .start();
    for _ in 0..2 {
        running.stderr.wait_for_begun(1);
        running.worker().kill();
    }
    let outcome = running.end();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["wasmp: item 0: worker_lost: "]);
    let error = &outcome.json()[0]["error"];
    assert_eq!(
        (&error["kind"], &error["signal"], &error["attempts"]),
        (&"worker_lost".into(), &9.into(), &2.into())
    );
}

#[test]
fn without_retries_the_first_loss_is_the_last() {
    let running = map("spin --star [] -j 1 --envelope").start();
    running.stderr.wait_for_begun(1);
    running.worker().kill();
    let outcome = running.end();
    assert_eq!(outcome.code(), 1);
    assert_eq!(outcome.json()[0]["error"]["attempts"], 1);
}

#[test]
fn an_item_that_runs_longer_than_its_timeout_is_killed_and_the_rest_goes_on() {
    let outcome = map("spin_if_negative 1 -1 2 --timeout 200ms --keep-going -j 1").run();
    assert_eq!((outcome.code(), outcome.text()), (1, "1\n2\n"));
    outcome.says(&["wasmp: item 1: timeout: ran longer than 200ms"]);
}

#[test]
fn time_spent_waiting_for_a_worker_does_not_count() {
    map("sleep 60 60 60 60 60 60 --timeout 250ms -j 1 --chunksize 6 -q")
        .run()
        .ends(0, &"null\n".repeat(6), &"begun\n".repeat(6));
}

#[test]
fn a_guest_gets_no_more_memory_than_is_allowed() {
    let outcome = map("allocate 100 10 --max-memory 64M --keep-going -j 1").run();
    assert_eq!((outcome.code(), outcome.text()), (1, "10\n"));
    outcome.says(&["wasmp: item 0: memory_limit: "]);
    map("try_to_allocate 50 100 --max-memory 64MiB")
        .run()
        .prints("true\nfalse\n");
    map("try_to_allocate 1000").run().prints("true\n");
}
