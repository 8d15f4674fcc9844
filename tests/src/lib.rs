//! What the end-to-end tests share: the guests they run, a view of the processes that wasmp starts, and a frame in
//! which a test has a process of its own and must leave nothing behind.
//!
//! | file | what it does |
//! | --- | --- |
//! | `certificates.rs` | makes certificates for TLS |
//! | `guests.rs` | builds each guest crate once |
//! | `process.rs` | processes by descriptor: find, kill, wait for |
//! | `isolated.rs` | a process for each test, and what must be gone after it |
//!
//! With the feature `peer` there is one more test: the gauntlet beside the CPython of this machine, in `tests/peer/main.rs`.
//!
//! ```text
//! cargo test -p wasmp-tests --features peer --test peer
//! ```

#![cfg(target_os = "linux")]

mod certificates;
mod guests;
mod isolated;
mod process;

pub use certificates::Certified;
pub use guests::{objects, processes, program, tasks};
pub use isolated::{chaos_time, fuzz_time, isolated};
pub use process::{FDS_OF_A_SPARE, Process, descendants, eventually, own_fds};
