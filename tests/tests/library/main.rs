//! The library, end to end: each test has a process of its own, real workers, and guests that were compiled for this.
//! Ids like `pl_02` and `g_01` are those of CPython's behaviours that a test reproduces, or deliberately does not.

#![cfg(target_os = "linux")]

mod chaos;
mod common;
mod crowd;
mod deaths;
mod embed;
mod events;
mod executor;
mod failures;
mod forged;
mod hostile;
mod inline;
mod insight;
mod kinds;
mod lifecycle;
mod limits;
mod methods;
mod modules;
mod nested;
mod nested_parity;
mod policies;
mod pool;
mod resources;
mod results;
mod sandbox;
mod storm;
mod streams;
