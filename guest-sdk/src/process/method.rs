//! Start methods.

use std::cell::Cell;

use super::{ProcessBuilder, ProcessError, own_info};
use crate::{Pool, PoolBuilder};

/// How a process is started (CPython: start methods).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartMethod {
    /// Forked from a process that has the module loaded, and nothing else. The default, as in CPython since 3.14.
    Forkserver,
    /// An executable that is started anew and loads the module anew: nothing of it is laid out in memory as in any other
    /// process. It takes a few times as long.
    Spawn,
    /// Forked, with a copy of the memory of the guest that starts it: statics have the values there that they have here, and
    /// handles to shared objects are good there, too. Locks that are held here are not held there. What is open here as a
    /// file is not there. What is not zero in the memory is copied once: each MiB takes 1 to 2 ms, as measured on a virtual
    /// machine with two cores.
    Fork,
}

impl StartMethod {
    /// As Python calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forkserver => "forkserver",
            Self::Spawn => "spawn",
            Self::Fork => "fork",
        }
    }

    /// The method of this name.
    ///
    /// # Errors
    ///
    /// [`ProcessError::NoSuchMethod`] (CPython: `ValueError`).
    pub fn from_name(name: &str) -> Result<Self, ProcessError> {
        let known = get_all_start_methods().into_iter().find(|method| method.name() == name);
        known.ok_or_else(|| ProcessError::NoSuchMethod(name.to_owned()))
    }

    /// What the host knows it by.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Forkserver => 1,
            Self::Spawn => 2,
            Self::Fork => 3,
        }
    }
}

thread_local! {
    /// What was set, by the process with this id: a copy of it has its own.
    static CHOSEN: Cell<Option<(u32, StartMethod)>> = const { Cell::new(None) };
}

/// What was set here.
pub(crate) fn chosen() -> Option<StartMethod> {
    let (pid, method) = CHOSEN.get()?;
    let own = own_info().ok()?;
    (own.pid == pid).then_some(method)
}

/// The methods that there are, the default first (CPython: `get_all_start_methods`).
#[must_use]
pub fn get_all_start_methods() -> Vec<StartMethod> {
    vec![StartMethod::Forkserver, StartMethod::Spawn, StartMethod::Fork]
}

/// How processes are started from here on that are not told otherwise, in this process and in those that it starts (CPython:
/// `set_start_method`).
///
/// # Errors
///
/// [`ProcessError::MethodIsSet`], if it was set before and `force` is false (CPython: `RuntimeError`);
/// [`ProcessError::Unsupported`] outside of a wasmp worker.
pub fn set_start_method(method: StartMethod, force: bool) -> Result<(), ProcessError> {
    if chosen().is_some() && !force {
        return Err(ProcessError::MethodIsSet);
    }
    CHOSEN.set(Some((own_info()?.pid, method)));
    Ok(())
}

/// How processes are started that are not told otherwise: what was [set](set_start_method), or how this one was started
/// (CPython: `get_start_method`).
///
/// # Errors
///
/// [`ProcessError::Unsupported`] outside of a wasmp worker.
pub fn get_start_method() -> Result<StartMethod, ProcessError> {
    match chosen() {
        Some(method) => Ok(method),
        None => StartMethod::from_name(&own_info()?.method.unwrap_or_default()),
    }
}

/// Processes and pools whose workers are started in one way, whatever the others are; from [`get_context`].
#[derive(Clone, Copy, Debug)]
pub struct Context(StartMethod);

/// Processes that are started in this way (CPython: `get_context`).
#[must_use]
pub fn get_context(method: StartMethod) -> Context {
    Context(method)
}

impl Context {
    /// A process to be set up, as [`Process::new`](super::Process::new) does.
    pub fn process<F>(&self, task: F) -> ProcessBuilder<F> {
        ProcessBuilder::new(task).start_method(self.0)
    }

    /// A pool to be set up, as [`Pool::builder`] does.
    pub fn pool(&self) -> PoolBuilder {
        Pool::builder().start_method(self.0)
    }

    /// The start method.
    #[must_use]
    pub fn start_method(&self) -> StartMethod {
        self.0
    }
}
