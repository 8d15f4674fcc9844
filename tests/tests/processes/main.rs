//! Processes of their own, started by programs in the sandbox and by the host. Ids such as `p_07` name a behaviour of
//! CPython's own tests.
//!
//! What the host has no other name for is tested in programs alone: the host's `cpu_count` is
//! `std::thread::available_parallelism`, and whoever starts a process there keeps it, so that there are no `active_children`
//! to ask for (P-13, P-14). Some of it is not there to be tested:
//!
//! * P-01, P-07, P-25, P-26: there are no authentication keys. What starts processes is reached by sockets that are inherited,
//!   have no name and do not listen; `p_25` looks at them. What answers there proves that it is no other program; `p_26`.
//! * P-10: no guest can have the default disposition of SIGINT. An interrupt is an error, as by CPython's own handler: `p_09`.
//! * P-21, and the threads of F-02: a guest has one thread; what can come in between is a callback.
//! * LG-02: there is one logger, and no root beside it.
//!
//! What a program does with its processes is written in `guests/processes`, a scenario for each test; a check that fails
//! there ends it with the exit code 1.

#![cfg(target_os = "linux")]

mod host;
mod logs;
mod program;
mod survival;

use std::collections::HashMap;
use std::io::empty;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use wasmp::{Context, Pool, Process, Stream};
use wasmp_tests::processes;

/// What is printed, as it comes.
struct Printed(Receiver<(Stream, String)>);

impl Printed {
    /// The next line on standard output.
    #[track_caller]
    fn next(&self) -> String {
        loop {
            let (stream, line) = self.0.recv_timeout(Duration::from_secs(20)).expect("a line");
            if stream == Stream::Stdout {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Everything else, when nothing will follow.
    fn rest(self) -> HashMap<Stream, String> {
        let mut all = HashMap::new();
        for (stream, line) in self.0 {
            *all.entry(stream).or_insert_with(String::new) += &line;
        }
        all
    }
}

/// A context whose program gets these words, and what is printed there.
fn context(words: &str) -> (Context, Printed) {
    let (sender, receiver) = channel();
    let words = std::iter::once("test-processes").chain(words.split_whitespace());
    let context = Pool::builder(processes())
        .args(words)
        .max_processes(256)
        .on_output(move |output| {
            let line = String::from_utf8_lossy(output.line).into_owned();
            // A test that has heard enough drops its end.
            let _ = sender.send((output.stream, line));
        })
        .context()
        .expect("a context");
    (context, Printed(receiver))
}

/// Waits for the end of a process; its exit code.
#[track_caller]
fn ended(process: &Process) -> i32 {
    assert!(process.join_timeout(Duration::from_secs(60)), "{process:?} goes on");
    process.exitcode().expect("it has ended")
}

/// Runs a scenario to its good end. What it printed: on standard output, on standard error.
#[track_caller]
fn run(words: &str) -> (String, String) {
    let (context, printed) = context(words);
    let main = context.main(empty()).expect("the program starts");
    let code = ended(&main);
    drop((context, main));
    let mut printed = printed.rest();
    let mut text = |stream| printed.remove(&stream).unwrap_or_default();
    let (out, err) = (text(Stream::Stdout), text(Stream::Stderr));
    assert_eq!(code, 0, "{words}:\n{out}\n{err}");
    (out, err)
}
