//! Ctrl-C once and twice, and a command that is killed: what is printed, which code, and that nothing goes on.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use wasmp_tests::{Process, eventually, program};

use crate::pty::Terminal;
use crate::run::{Running, call, map, wasmp};

/// Waits until guests run in this many workers; everything that the command has started.
fn everything_of(running: &Running, workers: usize) -> Vec<Process> {
    running.stderr.wait_for_begun(workers);
    let mut all: Vec<Process> = ["wasmp-keeper", "wasmp-zygote", "wasmp-worker"]
        .iter()
        .flat_map(|name| running.processes(name))
        .collect();
    assert_eq!(all.len(), workers + 2, "{all:?}");
    all.extend(running.processes("wasmp-spare"));
    all
}

#[test]
fn ctrl_c_prints_what_is_done_and_kills_what_runs() {
    let running = map("spin_if_negative 1 2 -1 4 -j 1 --chunksize 1").start();
    running.stderr.wait_for("begun");
    running.interrupt();
    running
        .end()
        .ends(130, "1\n2\n", "wasmp: interrupted: 2 items, 0 of them failed\n");
}

#[test]
fn ctrl_c_leaves_no_process() {
    let running = map("spin --star [] [] [] -j 2 --chunksize 1 -q").start();
    let all = everything_of(&running, 2);
    running.interrupt();
    running.end().ends(130, "", "");
    for process in all {
        process.wait_until_gone();
    }
}

#[test]
fn ctrl_c_ends_a_run_that_waits_for_input() {
    let mut running = map("square -q").start();
    running.write("3\n");
    assert_eq!(running.stdout.next(), "9");
    let input = running.stdin.take();
    running.interrupt();
    running.end().ends(130, "", "");
    drop(input);
}

#[test]
fn ctrl_c_at_a_terminal_reaches_nobody_but_the_command() {
    let terminal = Terminal::new();
    let running = map("spin_if_negative 1 -1 -j 1 --chunksize 1 --progress never")
        .at(&terminal)
        .start();
    let mut screen = terminal.screen();
    screen.wait_for("begun");
    terminal.press_ctrl_c();
    screen.wait_for("wasmp: interrupted: 1 items, 0 of them failed");
    let outcome = running.end();
    assert_eq!((outcome.code(), outcome.text()), (130, "1\n"));
}

#[test]
fn ctrl_c_twice_ends_at_once() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let ours = writer.try_clone().expect("a descriptor");
    let running = map("make_bytes 1000000 1000000 -j 1").stdout(writer).start();
    eventually("nobody reads the results, and the pipe is full", || {
        let writable = poll(&mut [PollFd::new(&ours, PollFlags::OUT)], Some(&Timespec::default())).expect("poll");
        (writable == 0).then_some(())
    });
    drop(ours);
    let worker = running.worker();
    running.interrupt();
    // That was heard, but the results that are there are still to be written.
    worker.wait_until_gone();
    assert!(
        !running.process().ends_within(Duration::from_millis(100)),
        "results are thrown away"
    );
    running.interrupt();
    running.end().ends(130, "", "");
    drop(reader);
}

#[test]
fn ctrl_c_once_writes_results_that_a_slow_reader_has_not_taken() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let running = map("make_bytes 200000 -j 1 -q").stdout(writer).start();
    let mut reader = File::from(reader);
    let mut first = [0; 1];
    reader.read_exact(&mut first).expect("the beginning of a result");
    running.interrupt();
    let mut result = first.to_vec();
    reader.read_to_end(&mut result).expect("the rest");
    assert!(
        result.starts_with(b"{\"$bytes\":\"AAEC") && result.ends_with(b"\"}\n"),
        "it was cut"
    );
    let code = running.end().code();
    // It may have been done before it heard.
    assert!(code == 130 || code == 0, "{code}");
}

#[test]
fn ctrl_c_ends_a_call() {
    let running = call("spin").start();
    let all = everything_of(&running, 1);
    running.interrupt();
    running.end().ends(130, "", "wasmp: interrupted\n");
    for process in all {
        process.wait_until_gone();
    }
}

#[test]
fn ctrl_c_ends_a_command_of_exec() {
    let mut running = wasmp("exec").arg(program()).start();
    running.write("never read to its end");
    let input = running.stdin.take();
    running.worker();
    running.interrupt();
    running.end().ends(130, "", "");
    drop(input);
}

#[test]
fn no_worker_outlives_a_command_that_was_killed() {
    for words in ["map", "call"] {
        let (running, workers) = match words {
            "map" => (map("spin --star [] [] -j 2 --chunksize 1").start(), 2),
            _ => (call("spin").start(), 1),
        };
        let all = everything_of(&running, workers);
        running.process().kill();
        for process in all {
            process.wait_until_gone();
        }
        let outcome = running.end();
        assert_eq!(outcome.status.code(), None, "{outcome:?}");
    }
}
