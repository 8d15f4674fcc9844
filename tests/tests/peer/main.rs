//! The gauntlet beside CPython: where that fails, what it does and what wasmp does, line by line.
//!
//! ```text
//! cargo test -p wasmp-tests --features peer --test peer               all of it
//! cargo test -p wasmp-tests --features peer --test peer -- g-01 g-07  these rows
//! ```
//!
//! It needs a `python3`, and takes a minute or two: CPython has a few seconds for each row, and "hangs" is what it does that needs
//! them all. What wasmp does is asserted, here in short and in full by the tests `g_…` of the other targets. What CPython does
//! depends on its version, and is only printed.
//!
//! | file | what it does |
//! | --- | --- |
//! | `gauntlet.py` | CPython's side |
//! | `cpython.rs` | runs it, and ends it if it hangs |
//! | `ours.rs` | wasmp's side |

#![cfg(all(target_os = "linux", feature = "peer"))]
#![allow(clippy::print_stdout, reason = "this is what it is for")]

mod cpython;
mod ours;

#[path = "../library/common.rs"]
#[expect(dead_code, reason = "the tests of the library need more of it")]
mod library;
#[path = "../shared/common.rs"]
#[expect(dead_code, reason = "the tests of what is shared need more of it")]
mod shared;

use std::panic::catch_unwind;
use std::process::ExitCode;

use wasmp_tests::{descendants, eventually};

/// A situation in which CPython fails, or has failed.
struct Row {
    id: &'static str,
    situation: &'static str,
    /// Has wasmp in this situation, checks what it does, and says it.
    wasmp: fn() -> String,
}

/// The rows: id, situation, function of `ours`.
macro_rules! rows {
    ($($id:literal $situation:literal $wasmp:ident)*) => {
        [$(Row { id: $id, situation: $situation, wasmp: ours::$wasmp }),*]
    };
}

const ROWS: [Row; 16] = rows! {
    "G-01" "a worker is killed in a task" killed
    "G-02" "a task exits" exit
    "G-03" "an error of a type that nobody else can make" picky
    "G-04" "a callback raises" callback
    "G-05" "the initializer raises" initializer
    "G-07" "the holder of a lock is killed" lock_holder
    "G-09" "a waiter of an event is killed" event_waiter
    "G-12" "join before what was put is gotten" join_first
    "G-14" "terminate, and get what was pending" terminate
    "G-15" "imap, and the first of many results" read_ahead
    "G-16" "put what cannot be encoded" unencodable
    "G-17" "a pool in a task of a pool" pool_in_pool
    "G-19" "get with a timeout, and shut down" shutdown
    "G-20" "cancel what runs" cancel
    "G-21" "one of five tasks dies" one_of_five
    "G-22" "workers of two tasks each, ten tasks" two_tasks_each
};

fn main() -> ExitCode {
    let version = cpython::version();
    // What the usual harness would know is no row.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |row: &&Row| wanted.is_empty() || wanted.iter().any(|id| id.eq_ignore_ascii_case(row.id));
    let mut failed = Vec::new();
    for row in ROWS.iter().filter(is_wanted) {
        let theirs = cpython::outcome(row.id);
        let ours = catch_unwind(row.wasmp).unwrap_or_else(|_| {
            failed.push(row.id);
            "FAILS, as said above".to_owned()
        });
        println!(
            "{} {}: CPython {version}: {theirs}; wasmp: {ours}",
            row.id, row.situation
        );
        eventually("nothing is left of its pools", || {
            descendants(std::process::id(), "wasmp-worker").is_empty().then_some(())
        });
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("wasmp fails: {}", failed.join(" "));
    ExitCode::FAILURE
}
