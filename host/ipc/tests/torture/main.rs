//! Processes that work on an object, are killed at random moments, and are replaced.
//!
//! After each death the object is recovered; every now and then everyone has to get on before the next one dies, so that no
//! recovery hides what an earlier one has missed. In the end nothing may be lost, doubled or stuck.
//!
//! `WASMP_KILLS` says how often each test kills, `WASMP_SEED` repeats the choices of an earlier run: who dies, and how long
//! after the last one. What the processes were doing then is up to the system.

mod barrier;
#[path = "../common/mod.rs"]
mod common;
mod condition;
mod event;
mod lock;
mod messages;
mod ring;
mod semaphore;
mod workers;
