//! What several files of tests need.

use std::fs::File;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::{Serialize, Serializer};
use wasmp::{DirGrant, Error, Pool, PoolBuilder, Result, Stream, TaskError};
use wasmp_tests::{Process, descendants, eventually, tasks};

/// A line that a guest printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) worker: u32,
    pub(crate) stream: Stream,
    pub(crate) text: String,
}

/// Everything that guests print, as it comes.
pub(crate) struct Lines(Receiver<Line>);

impl Lines {
    /// The next line.
    #[track_caller]
    pub(crate) fn next(&self) -> Line {
        self.0.recv_timeout(Duration::from_secs(20)).expect("a guest prints")
    }

    /// Waits until a guest says that it has begun; returns the number of its worker.
    #[track_caller]
    pub(crate) fn wait_for_begun(&self) -> u32 {
        let line = self.next();
        assert_eq!(line.text, "begun\n");
        line.worker
    }

    /// All lines until the pool is gone.
    pub(crate) fn rest(self) -> Vec<Line> {
        self.0.into_iter().collect()
    }
}

/// A pool of the tasks of `guests/tasks`, to be set up.
pub(crate) fn builder(processes: usize) -> PoolBuilder {
    Pool::builder(tasks()).processes(processes)
}

/// A pool of the tasks of `guests/tasks`.
pub(crate) fn pool(processes: usize) -> Pool {
    builder(processes).build().expect("a pool")
}

/// Collects what the guests of a pool print.
pub(crate) fn listen(builder: PoolBuilder) -> (PoolBuilder, Lines) {
    let (sender, receiver) = channel();
    let builder = builder.on_output(move |output| {
        let text = String::from_utf8_lossy(output.line).into_owned();
        // A test that has heard enough drops its end.
        let _ = sender.send(Line {
            worker: output.worker,
            stream: output.stream,
            text,
        });
    });
    (builder, Lines(receiver))
}

/// The worker processes of a pool, when all of them run.
#[track_caller]
pub(crate) fn workers(pool: &Pool) -> Vec<Process> {
    eventually("all workers run", || {
        let pids = pool.worker_pids();
        let workers: Vec<Process> = pids.into_iter().filter_map(Process::open).collect();
        let all = workers.len() == pool.processes() && workers.iter().all(|worker| worker.name() == "wasmp-worker");
        all.then_some(workers)
    })
}

/// The one worker of a pool.
#[track_caller]
pub(crate) fn worker(pool: &Pool) -> Process {
    assert_eq!(pool.processes(), 1);
    workers(pool).remove(0)
}

/// The one process of this name that this one has started, directly or not.
#[track_caller]
pub(crate) fn one(name: &str) -> Process {
    // A process that was forked a moment ago still has the name of the other.
    eventually(name, || {
        let mut found = descendants(std::process::id(), name);
        (found.len() == 1).then(|| found.remove(0))
    })
}

/// Has the worker that stands by replace the one worker of a pool.
#[track_caller]
pub(crate) fn replace_by_spare(pool: &Pool) {
    // In this order: the worker may have been the one that stood by, and have its new name since a moment ago.
    let (worker, spare) = (worker(pool), one("wasmp-spare"));
    worker.kill();
    let next = eventually("another worker runs", || {
        let pids = pool.worker_pids();
        pids.first().copied().filter(|pid| *pid != worker.pid())
    });
    assert_eq!(next, spare.pid());
}

/// What became of the item that failed.
#[track_caller]
pub(crate) fn task_error<T: std::fmt::Debug>(result: Result<T>) -> TaskError {
    match result {
        Err(Error::Task(error)) => *error,
        other => panic!("expected a failed item, got {other:?}"),
    }
}

/// Closes a pool and waits until all of its processes have ended.
#[track_caller]
pub(crate) fn close(pool: &Pool) {
    pool.close();
    assert!(
        pool.join_timeout(Duration::from_secs(20))
            .expect("a closed pool can be joined"),
        "the workers go on"
    );
}

/// A folder that guests see as `/gate`: tasks wait for the file `open` in it.
pub(crate) struct Gate(tempfile::TempDir);

impl Gate {
    pub(crate) fn before(builder: PoolBuilder) -> (PoolBuilder, Self) {
        let folder = tempfile::tempdir().unwrap();
        (builder.dir(DirGrant::read_only(folder.path(), "/gate")), Self(folder))
    }

    pub(crate) fn open(&self) {
        File::create(self.0.path().join("open")).unwrap();
    }
}

/// Kills the worker that says that it has begun.
#[track_caller]
pub(crate) fn kill_the_begun(pool: &Pool, lines: &Lines) {
    let slot = lines.wait_for_begun();
    // With all workers there, their places in the list are their slots.
    workers(pool)[slot as usize - 1].kill();
}

/// An argument that serde cannot carry when it is negative.
pub(crate) struct Touchy(pub(crate) i64);

impl Serialize for Touchy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            ..0 => Err(serde::ser::Error::custom("it is negative")),
            value => serializer.serialize_i64(value),
        }
    }
}

/// Waits until the workers of all pools that tasks have made are gone.
#[track_caller]
pub(crate) fn only_outer_workers_are_left(pool: &Pool) {
    eventually("the pools of the tasks are gone", || {
        (descendants(std::process::id(), "wasmp-worker").len() == pool.processes()).then_some(())
    });
}

/// Has a task check everything it is there for, a few times in the same instance, with pools of its own.
#[track_caller]
pub(crate) fn check(task: &str) {
    check_in(builder(1), task);
}

/// [`check`], in a pool of one worker that is set up so.
#[track_caller]
pub(crate) fn check_in(builder: PoolBuilder, task: &str) {
    let pool = builder.on_output(|_| ()).build().unwrap();
    for _ in 0..3 {
        pool.apply::<_, ()>(task, ())
            .unwrap_or_else(|error| panic!("{task}: {error}"));
    }
    close(&pool);
    assert!(descendants(std::process::id(), "wasmp-worker").is_empty());
}
