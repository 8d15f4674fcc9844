//! Long inputs, slow inputs, and readers that go away.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::run::{Running, map, wasmp};
use crate::scene::Folder;

/// Sends `lines` times the same line, and takes as many results.
fn stream(running: &mut Running, lines: usize) {
    let input = "12\n".repeat(lines);
    let mut stdin = running.stdin.take().expect("the input is open");
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || stdin.write_all(input.as_bytes()).map(|()| stdin));
        for _ in 0..lines {
            assert_eq!(running.stdout.next(), "144");
        }
        running.stdin = Some(writer.join().expect("no panic").expect("it reads"));
    });
}

#[test]
fn memory_stays_constant_however_long_the_input_is() {
    let peak = |running: &Running| -> u64 {
        let kilobytes = running.process().status("VmHWM");
        kilobytes.trim_end_matches(" kB").parse().expect("a number")
    };
    let mut running = map("square -j 2").start();
    stream(&mut running, 150_000);
    let before = peak(&running);
    stream(&mut running, 1_350_000);
    let after = peak(&running);
    running.end().prints("");
    // Queues are longest at some time or other. A pointer kept for each item would be 10 MiB.
    assert!(after < before + 4096, "{before} kB became {after} kB");
}

#[test]
fn a_slow_item_holds_up_the_input_and_not_memory() {
    let gate = Folder::new();
    let mut running = map(r#"wait_for --star -j 2 --envelope"#)
        .arg(gate.granted_as("/gate"))
        .start();
    gate.open("open");
    running.write("[\"/gate/shut\", -1]\n");
    let stdin = running.stdin.take().expect("the input is open");
    fcntl_setfl(&stdin, fcntl_getfl(&stdin).expect("flags") | OFlags::NONBLOCK).expect("flags");
    let line = b"[\"/gate/open\", 1]\n";
    let lines = line.repeat(1000);
    let mut file = File::from(OwnedFd::from(stdin));
    let mut taken = 0;
    // Until nothing more is taken for a while. On a slow machine that may be too early, which only makes `taken` less.
    let patience = Timespec::try_from(Duration::from_secs(1)).expect("a second");
    while poll(&mut [PollFd::new(&file, PollFlags::OUT)], Some(&patience)).expect("poll") > 0 {
        taken += file.write(&lines[taken % line.len()..]).expect("it reads");
        assert!(taken < 64 << 20, "it reads on and on");
    }
    drop(file);
    gate.open("shut");
    let outcome = running.end();
    // The last one may have been cut.
    let results = 1 + taken / line.len();
    assert!(
        outcome.json().len().abs_diff(results) <= 1,
        "{results} results: {outcome:?}"
    );
    assert!(
        outcome
            .text()
            .starts_with("{\"index\":0,\"input\":[\"/gate/shut\", -1],\"ok\":-1}\n{\"index\":1,")
    );
}

#[test]
fn a_result_is_printed_while_the_input_stays_open() {
    for options in ["", "--chunksize 1000", "--unordered", "--envelope", "-j 1"] {
        let mut running = map("square").words(options).start();
        for number in 1..=5 {
            running.write(format!("{number}\n"));
            let line = running.stdout.next();
            assert!(line.contains(&(number * number).to_string()), "{options}: {line}");
        }
        assert_eq!(running.end().code(), 0);
    }
}

#[test]
fn a_refused_line_is_reported_while_the_input_stays_open() {
    let mut running = map("square --keep-going").start();
    running.write("oops\n");
    running.stderr.wait_for("item 0 (line 1): input: not JSON");
    running.write("3\n");
    assert_eq!(running.stdout.next(), "9");
    running.write("oops\n");
    running.stderr.wait_for("item 2 (line 3): input: not JSON");
    assert_eq!(running.end().code(), 1);
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    for options in ["", "--unordered", "--envelope", "--keep-going"] {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let mut running = map("square").words(options).stdout(writer).start();
        let mut stdin = running.stdin.take().expect("the input is open");
        let feeder = std::thread::spawn(move || while stdin.write_all(&b"7\n".repeat(1000)).is_ok() {});
        File::from(reader).read_exact(&mut [0; 2]).expect("results");
        running.end().ends(0, "", "");
        feeder.join().expect("no panic");
    }
}

#[test]
fn a_reader_that_was_never_there_is_no_error() {
    for words in [
        "map examples/plain/square.wat square 1 2 3",
        "call examples/plain/square.wat square 7",
        "inspect examples/plain/square.wat",
        "inspect examples/plain/square.wat --json",
    ] {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        drop(reader);
        wasmp(words).stdout(writer).run().ends(0, "", "");
    }
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    for words in [
        "map examples/plain/square.wat square 1 2 3",
        "call examples/plain/square.wat square 7",
        "inspect examples/plain/square.wat",
    ] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("a device that is always full");
        wasmp(words).stdout(full).run().ends(
            2,
            "",
            "wasmp: cannot write to standard output: no space left on device\n",
        );
    }
}
