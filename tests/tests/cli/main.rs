//! The command line, end to end: the real program, real workers, and for every line of `host/cli/CONTRACT.md` a test
//! that would fail without it.
//!
//! Cargo gives a program only to the tests of its own package, so these belong to `wasmp-cli`, whose `Cargo.toml` names
//! this file: `cargo test -p wasmp-cli --test cli`. That way the program is always built, always the current one, and
//! with the same features as everything else.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `run.rs`, `outcome.rs` | runs the command, and sees to it that nothing of it is left |
//! | `pty.rs` | a terminal for it |
//! | `scene.rs` | modules and folders that tests make |
//! | all others | tests, a file for each command or topic |

#![cfg(target_os = "linux")]

mod build;
mod call;
mod compile;
mod doctor;
mod envelope;
mod errors;
mod escapes;
mod examples;
mod exec;
mod failures;
mod files;
mod grants;
mod input;
mod insight;
mod inspect;
mod json;
mod manager;
mod map;
mod objects;
mod outcome;
mod policies;
mod program;
mod programs;
mod progress;
mod pty;
mod run;
mod runner;
mod scene;
mod signals;
mod streams;
