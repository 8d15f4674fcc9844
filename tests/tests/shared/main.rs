//! What processes share, end to end: each test has a process of its own, real workers, and the tasks of `guests/objects` in
//! them. Ids like `q_05` are those of CPython's behaviours that a test reproduces, or deliberately does not; `g_07` is one
//! where CPython fails.

#![cfg(target_os = "linux")]

mod common;
mod connections;
mod gauntlet;
mod gauntlet_messages;
mod locks;
mod managers;
mod memory;
mod queues;
mod signals;
mod types;
