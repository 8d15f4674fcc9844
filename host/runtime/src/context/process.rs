//! One process.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Serialize;

use super::{Context, Household};
use crate::error::{Error, Result};
use crate::identity::{Identity, StartMethod};
use crate::objects::message::MAX_NAME;
use crate::pool::{Spread, task_number};
use crate::shared::{Connection, References, collect_references};
use crate::supervisor::Shared;
use crate::supervisor::core::Core;
use crate::supervisor::feed::Refused;
use crate::supervisor::sentinel::Life;
use crate::supervisor::solo::{Owner, Solo, prepare_spawn};

/// Arguments as workers get them, and what they refer to.
pub(super) type Args = (Vec<u8>, References);

/// Sets up a [`Process`]; from [`Context::process`].
#[must_use = "a process does nothing until `start`"]
pub struct ProcessBuilder<'c> {
    context: &'c Context,
    task: String,
    args: std::result::Result<Args, Refused>,
    name: Option<String>,
    daemon: bool,
    method: StartMethod,
}

impl fmt::Debug for ProcessBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("task", &self.task)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn write(args: &impl Serialize) -> std::result::Result<Args, Refused> {
    let mut bytes = Vec::new();
    let ((), references) = collect_references(|| Spread::Star.write(args, &mut bytes))?;
    Ok((bytes, references))
}

impl<'c> ProcessBuilder<'c> {
    pub(super) fn new(context: &'c Context, task: &str) -> Self {
        Self {
            context,
            task: task.to_owned(),
            args: write(&()),
            name: None,
            daemon: false,
            method: StartMethod::default(),
        }
    }

    /// What to call the task with, a tuple. Default: nothing.
    pub fn args(mut self, args: impl Serialize) -> Self {
        self.args = write(&args);
        self
    }

    /// What the process is called, up to 255 bytes. It means nothing. Default: `Process-` and its number among the processes
    /// that this program has started, workers of pools among them.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether it ends with the guest that has started it, instead of being waited for: in the host, what it starts itself
    /// is a daemon, too, unless it says otherwise. Default: no.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// How it is started. Default: [`StartMethod::Forkserver`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Starts the process, and waits until it runs (CPython: `Process.start`).
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchTask`], [`Error::Invalid`] if its name is too long; that the arguments cannot be serialized, or no process be
    /// started.
    pub fn start(self) -> Result<Process> {
        if self.name.as_ref().is_some_and(|name| name.len() > MAX_NAME) {
            let why = format!("the name of a process has at most {MAX_NAME} bytes");
            return Err(Error::Invalid(why));
        }
        let task = task_number(&self.context.module, &self.task)?;
        let (args, references) = self.args?;
        let owner = Owner::host();
        let lineage = owner.next_lineage();
        let identity = Identity {
            name: self.name.unwrap_or_else(|| format!("Process-{lineage}")),
            lineage,
            daemon: self.daemon,
            parent: Some((owner.name.clone(), owner.pid)),
            method: self.method,
            once: true,
            log: 0,
        };
        Process::start(self.context, task, (args, references), identity, Some(owner), None)
    }
}

/// A process that calls one task and ends with it (CPython: `multiprocessing.Process`).
///
/// It belongs to the [`Context`] that has started it. Dropping this does not end it, unless it was the last that is left of
/// that.
///
/// Python's `start` may be called once, before which there is not much that a process could be asked: here there is no
/// process before `start`. Its `close` is to drop this.
pub struct Process {
    name: String,
    daemon: bool,
    pid: u32,
    life: Arc<Life>,
    pub(super) shared: Arc<Shared>,
    household: Arc<Household>,
}

impl fmt::Debug for Process {
    /// As Python shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Process name='{}' pid={}", self.name.escape_debug(), self.pid)?;
        match self.exitcode() {
            None => f.write_str(" started")?,
            Some(code) => write!(f, " stopped exitcode={code}")?,
        }
        f.write_str(if self.daemon { " daemon>" } else { ">" })
    }
}

impl Process {
    pub(super) fn start(
        context: &Context,
        task: u32,
        args: Args,
        identity: Identity,
        owner: Option<Owner>,
        stdin: Option<OwnedFd>,
    ) -> Result<Self> {
        let household = &context.household;
        let family = &household.family;
        let pool = family.supervisor.next_pool();
        let mut core = context.core(pool, owner, stdin);
        let is_spawned = identity.method == StartMethod::Spawn;
        let solo = Solo::new(identity.clone());
        core.be(solo, task, args)?;
        let shared = Arc::new(Shared::new(pool, Arc::clone(family), core, Vec::new()));
        family.supervisor.add_pool(&shared);
        // Kept until it has ended, whoever drops this.
        family.supervisor.keep(&shared);
        shared.act(|_, _| ());
        if is_spawned {
            prepare_spawn(&shared);
        }
        Self::watch(household, shared, identity)
    }

    /// Waits until a process that is being started runs.
    pub(super) fn watch(household: &Arc<Household>, shared: Arc<Shared>, identity: Identity) -> Result<Self> {
        let pid = |core: &Core| core.solo().and_then(Solo::pid);
        shared.wait_until(None, |core| pid(core).is_some() || core.is_gone());
        let pid = shared.read(pid).ok_or_else(|| shared.read(Core::why_over))?;
        let life = shared.read(|core| core.solo().map(|solo| Arc::clone(solo.life())));
        let Identity { name, daemon, .. } = identity;
        Ok(Self {
            name,
            daemon,
            pid,
            life: life.unwrap_or_default(),
            shared,
            household: Arc::clone(household),
        })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a daemon.
    #[must_use]
    pub fn daemon(&self) -> bool {
        self.daemon
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
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
        self.shared.read(|core| core.solo().and_then(Solo::exit))
    }

    /// Waits until it has ended, and what it has printed is passed on.
    ///
    /// One that ends by itself has ended when it has run everything that it had to run, left all that it shares, and was told to
    /// go at once: what the system takes down after that, which can take longer than the task took, is not waited for. Until
    /// then tools like `ps` may show it, and what memory it had may count (CPython: `waitpid`, which waits for that, too).
    pub fn join(&self) {
        self.shared.wait_until_gone(None);
        self.household.family.output.flush();
    }

    /// The same, but no longer than `timeout`. Returns whether that was enough (CPython's `join` does not say).
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        let ended = self.shared.wait_until_gone(Instant::now().checked_add(timeout));
        if ended {
            self.household.family.output.flush();
        }
        ended
    }

    /// Ends it at once (CPython: `terminate`); it has then been killed by SIGTERM. What it has started goes on, or ends with it
    /// if it is a daemon.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once (SIGKILL; CPython: `kill`).
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Ends what it waits for: that fails, or is a failure of the process if it sleeps (SIGINT; CPython: `interrupt`, which
    /// also interrupts what does not wait).
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        self.shared.act(|core, _| core.signal_process(signal));
    }

    /// What is at its end when the process is, to [`wait`](crate::wait) for it together with others.
    ///
    /// # Errors
    ///
    /// The system has no memory or no descriptor for it.
    pub fn sentinel(&self) -> Result<Connection> {
        self.life.sentinel()
    }
}
