//! Pools that the clients of a manager share (PARITY: SM-07, and what PL-… says of pools).

mod calls;
mod ends;
mod settings;

use serde::{Serialize, Serializer};
use wasmp::{Manager, TaskError, managed};
use wasmp_tests::{Process, descendants, tasks};

use super::{PATIENCE, anywhere, process_of};

/// With the tasks of `guests/tasks`.
fn manager() -> Manager {
    Manager::builder().module(tasks()).start().expect("a manager")
}

/// Has a test done with a pool of a manager of this host, and with one that is reached by a socket.
fn both(processes: usize, test: impl Fn(&managed::Pool)) {
    let manager = manager();
    test(&manager.pool(processes).unwrap());
    let server = manager.listen(&anywhere(), b"key").unwrap();
    let there = Manager::connect(server.address(), b"key").unwrap();
    test(&there.pool(processes).unwrap());
}

/// How an item has failed.
#[track_caller]
fn failed<R: std::fmt::Debug>(result: Result<R, managed::PoolError>) -> TaskError {
    match result {
        Err(managed::PoolError::Task(error)) => *error,
        other => panic!("{other:?}"),
    }
}

/// The workers of this manager's pools.
fn workers(manager: &Manager) -> Vec<Process> {
    let server = manager.process().expect("it was started here").pid();
    let mut workers = descendants(std::process::id(), "wasmp-worker");
    workers.retain(|worker| worker.pid() != server);
    workers
}

/// Has a test done with a manager of this host, and with one that is reached by a socket.
fn both_managers(test: impl Fn(&Manager, &Manager)) {
    let manager = manager();
    test(&manager, &manager);
    let server = manager.listen(&anywhere(), b"key").unwrap();
    test(&manager, &Manager::connect(server.address(), b"key").unwrap());
}

/// Calls a task that takes no arguments so many times.
fn calls(times: usize) -> Vec<[i64; 0]> {
    vec![[]; times]
}

/// What cannot be serialized.
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is stubborn"))
    }
}
