//! Processes that a guest starts.

mod builder;
mod error;
pub(crate) mod method;

use std::{cell::RefCell, fmt, rc::Rc, time::Duration};

use serde::Deserialize;
use wasmp_abi::Status;

pub use self::{
    builder::ProcessBuilder,
    error::ProcessError,
    method::{Context, StartMethod, get_all_start_methods, get_context, get_start_method, set_start_method},
};
use crate::{
    Connection, RecvError, SharedError, cbor,
    host::{
        objects::Timeout,
        processes::{self, ProcessNumber},
    },
    shared::handle::Handle,
};

/// Signals as Linux numbers them.
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// A process that runs one task and ends with it (CPython: `multiprocessing.Process`).
///
/// It has the grants and limits of the one that has started it, and counts against the processes that the program may have.
/// What it has in common with others are the shared objects in its arguments. A process that comes to its end, as `main`
/// does, terminates the daemons among those that it has started, and waits for the others. A daemon may have children here,
/// which CPython forbids because it would leave them behind.
///
/// Clones are the same process. Dropping all of them does not end it. There is no process before `start`, so that what Python
/// refuses before it cannot be asked here.
///
/// ```no_run
/// use wasmp_guest::{Process, Queue, Result, main, task};
///
/// /// Squares the numbers of a queue into another.
/// #[task]
/// fn squarer(numbers: Queue<Option<i64>>, squares: Queue<i64>) -> Result<()> {
///     while let Some(number) = numbers.get()? {
///         squares.put(number * number)?;
///     }
///     Ok(())
/// }
///
/// #[main]
/// fn main() -> Result<()> {
///     let (numbers, squares) = (Queue::new(0)?, Queue::new(0)?);
///     let process = Process::new(squarer).args((&numbers, &squares)).name("Squarer").start()?;
///     for number in [Some(1), Some(2), None] {
///         numbers.put(number)?;
///     }
///     process.join()?;
///     assert_eq!((process.exitcode(), squares.get()?), (Some(0), 1));
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Process(Rc<Started>);

struct Started {
    number: ProcessNumber,
    info: Info,
}

/// What the host says about a process.
#[derive(Debug, Deserialize)]
struct Info {
    name: String,
    pid: u32,
    daemon: bool,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    parent: Option<(String, u32)>,
    #[serde(default)]
    once: bool,
    #[serde(default)]
    log: u32,
}

fn read(info: &[u8]) -> Result<Info, ProcessError> {
    cbor::decode(&mut &info[..], &mut Vec::new()).map_err(|_| ProcessError::Refused("what it says makes no sense"))
}

/// What the host says about this process.
fn own_info() -> Result<Info, ProcessError> {
    read(&processes::own_info()?)
}

thread_local! {
    /// Those that were started here and are not known to have ended.
    static CHILDREN: RefCell<Vec<Process>> = const { RefCell::new(Vec::new()) };
}

impl fmt::Debug for Process {
    /// As Python shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Info { name, pid, daemon, .. } = &self.0.info;
        write!(f, "<Process name='{}' pid={pid}", name.escape_debug())?;
        match self.exitcode() {
            None => f.write_str(" started")?,
            Some(code @ ..0) => write!(f, " stopped exitcode=-{}", signal_name(-code))?,
            Some(code) => write!(f, " stopped exitcode={code}")?,
        }
        f.write_str(if *daemon { " daemon>" } else { ">" })
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        SIGINT => "SIGINT".into(),
        SIGKILL => "SIGKILL".into(),
        SIGTERM => "SIGTERM".into(),
        other => other.to_string(),
    }
}

impl Process {
    /// A process to be set up, which is to call this task once: the function itself, or its name.
    #[allow(clippy::new_ret_no_self, reason = "as Python reads: `Process(…).start()`")]
    pub fn new<F>(task: F) -> ProcessBuilder<F> {
        ProcessBuilder::new(task)
    }

    fn of(number: ProcessNumber) -> Result<Self, ProcessError> {
        let info = read(&number.info()?)?;
        let process = Self(Rc::new(Started { number, info }));
        CHILDREN.with_borrow_mut(|children| {
            children.retain(Self::is_running_child);
            children.push(process.clone());
        });
        Ok(process)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.info.name
    }

    /// Its process id, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.info.pid
    }

    /// Whether it is terminated when this process comes to its end.
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.0.info.daemon
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.exitcode().is_none()
    }

    /// How it ended, if it has: 0: the task returned; 1: it failed, and standard error says how; any other number up to 255:
    /// it called `exit` with that; below zero: the signal that has killed it.
    #[must_use]
    pub fn exitcode(&self) -> Option<i32> {
        // A parent's, in a copy of it, cannot be asked about.
        self.0.number.exitcode().ok().flatten()
    }

    /// Whether it was started here, and has not ended.
    fn is_running_child(&self) -> bool {
        self.0.number.exitcode() == Ok(None)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Interrupted`]; [`ProcessError::NotAChild`] where it was not started.
    pub fn join(&self) -> Result<(), ProcessError> {
        Ok(self.0.number.join(Timeout::FOREVER)?)
    }

    /// The same, but no longer than `timeout`. Returns whether that was enough (CPython's `join` does not say).
    ///
    /// # Errors
    ///
    /// [`ProcessError::Interrupted`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ProcessError> {
        match self.0.number.join(timeout.into()) {
            Ok(()) => Ok(true),
            Err(Status::TimedOut) => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// Ends it at once; it has then been killed by SIGTERM. What it has started goes on, or ends with it if it is a daemon.
    pub fn terminate(&self) {
        self.signal(SIGTERM);
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&self) {
        self.signal(SIGKILL);
    }

    /// Ends what it waits for, with an error that says so; if it sleeps, that is its end (SIGINT). What only computes is not
    /// interrupted (CPython's is).
    pub fn interrupt(&self) {
        self.signal(SIGINT);
    }

    fn signal(&self, signal: i32) {
        // It can only fail if the host is gone, and then this process is about to be.
        let _ = self.0.number.signal(signal);
    }

    /// What is at its end when the process is: to [`wait`](crate::wait()) for it together with queues and connections.
    ///
    /// # Errors
    ///
    /// The worker may have no more handles, or this is not a wasmp worker.
    pub fn sentinel(&self) -> Result<Connection, SharedError> {
        let sentinel = self.0.number.sentinel().map_err(SharedError::new)?;
        Ok(Connection::from(Handle::from(sentinel)))
    }

    /// Gives back what the host keeps about it, as dropping all clones does.
    ///
    /// # Errors
    ///
    /// [`ProcessError::StillRunning`] (CPython: `ValueError`).
    pub fn close(self) -> Result<(), ProcessError> {
        if self.is_alive() {
            return Err(ProcessError::StillRunning);
        }
        CHILDREN.with_borrow_mut(|children| children.retain(Self::is_running_child));
        Ok(())
    }
}

/// The processes that this one has started and that have not ended (CPython: `active_children`).
#[must_use]
pub fn active_children() -> Vec<Process> {
    CHILDREN.with_borrow_mut(|children| {
        children.retain(Process::is_running_child);
        children.clone()
    })
}

/// How many CPUs the processes of this program may use (CPython: `cpu_count`).
///
/// # Errors
///
/// [`ProcessError::Unsupported`] outside of a wasmp worker.
pub fn cpu_count() -> Result<usize, ProcessError> {
    Ok(processes::cpus()? as usize)
}

/// The process that this code runs in; from [`current_process`].
#[derive(Debug)]
pub struct CurrentProcess(Info);

/// The process that this code runs in (CPython: `current_process`).
///
/// # Errors
///
/// [`ProcessError::Unsupported`] outside of a wasmp worker.
///
/// ```no_run
/// use wasmp_guest::{Result, current_process, task};
///
/// #[task]
/// fn introduce() -> Result<()> {
///     let me = current_process()?;
///     println!("I am {}, process {}", me.name(), me.pid());
///     Ok(())
/// }
/// ```
pub fn current_process() -> Result<CurrentProcess, ProcessError> {
    own_info().map(CurrentProcess)
}

impl CurrentProcess {
    /// What it is called: `MainProcess` if it is the first of its program, `PoolWorker-` and its number in a pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its process id, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Whether it is terminated when the one that has started it comes to its end. A worker of a pool is.
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.0.daemon
    }

    /// Whether it ends with the call that it runs.
    pub(crate) fn once(&self) -> bool {
        self.0.once
    }

    /// How it logs, as whoever started it has said.
    pub(crate) fn log(&self) -> u32 {
        self.0.log
    }
}

/// Who has started this process; from [`parent_process`].
#[derive(Debug)]
pub struct ParentProcess {
    name: String,
    pid: u32,
}

/// Who has started this process; `None` for the first process of a program (CPython: `parent_process`).
///
/// # Errors
///
/// [`ProcessError::Unsupported`] outside of a wasmp worker.
pub fn parent_process() -> Result<Option<ParentProcess>, ProcessError> {
    let Info { parent, .. } = own_info()?;
    Ok(parent.map(|(name, pid)| ParentProcess { name, pid }))
}

impl ParentProcess {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    ///
    /// Those of `join`.
    pub fn is_alive(&self) -> Result<bool, ProcessError> {
        self.join_timeout(Duration::ZERO).map(|ended| !ended)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Interrupted`]; that this worker may have no more handles.
    pub fn join(&self) -> Result<(), ProcessError> {
        while !self.join_within(Timeout::FOREVER)? {}
        Ok(())
    }

    /// The same, but no longer than `timeout`. Returns whether that was enough.
    ///
    /// # Errors
    ///
    /// Those of `join`.
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ProcessError> {
        self.join_within(timeout.into())
    }

    fn join_within(&self, timeout: Timeout) -> Result<bool, ProcessError> {
        let sentinel = match processes::parent_sentinel() {
            // The host outlives everyone.
            Err(Status::NotFound) => {
                timeout.sleep();
                return Ok(false);
            }
            sentinel => Connection::from(Handle::from(sentinel?)),
        };
        sentinel.poll_within(timeout).map_err(|error| match error {
            RecvError::Shared(SharedError::Interrupted) => ProcessError::Interrupted,
            _ => ProcessError::Refused("the sentinel cannot be waited for"),
        })
    }
}
