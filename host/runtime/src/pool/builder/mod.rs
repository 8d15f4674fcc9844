//! Setting up a pool.
//!
//! The settings stand in files of their own, by what they are about; [`found`] turns them into what a pool begins with.

mod found;
mod grants;
mod insight;
mod limits;
mod workers;

use std::fmt;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::found::Founded;
use super::Pool;
use super::codec::Spread;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::grants::Grants;
use crate::identity::StartMethod;
use crate::module::ModuleSource;
use crate::output::{Framing, OutputHandler};
use crate::retry::Retry;
use crate::shared::{Handle, References};
use crate::spec::{Isolation, available_cpus};
use crate::supervisor::Shared;
use crate::supervisor::core::{Core, Terms};
use crate::supervisor::feed::Refused;
use crate::supervisor::size::Size;

/// Most workers of one pool.
const MAX_PROCESSES: usize = 1000;

/// What a pool was set up with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Retry,
}

/// An initializer as it was asked for.
struct Prepared {
    task: String,
    /// Its arguments and what they refer to, or why they cannot be serialized.
    args: Result<(Vec<u8>, References), Refused>,
}

/// Sets up a [`Pool`]; from [`Pool::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    module: ModuleSource,
    processes: Option<usize>,
    min_processes: Option<usize>,
    idle_timeout: Option<Duration>,
    max_tasks_per_child: Option<u32>,
    initializer: Option<Prepared>,
    method: StartMethod,
    retry: Retry,
    isolation: Isolation,
    /// What guests are given, and what they may use up.
    pub(super) grants: Grants,
    worker_exe: Option<PathBuf>,
    inline: bool,
    output: Option<OutputHandler>,
    log_dir: Option<PathBuf>,
    insight: bool,
    trace: Option<Box<dyn Write + Send>>,
    /// How output is cut.
    pub(super) framing: Framing,
    /// What guests read from their standard input.
    pub(super) stdin: Option<OwnedFd>,
    /// Whether what a command prints is its result.
    pub(super) capture: bool,
    /// Objects that guests know by name.
    shared: Vec<(String, Handle)>,
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("module", &self.module)
            .field("processes", &self.processes)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

impl PoolBuilder {
    pub(super) fn new(module: ModuleSource) -> Self {
        Self {
            module,
            processes: None,
            min_processes: None,
            idle_timeout: None,
            max_tasks_per_child: None,
            initializer: None,
            method: StartMethod::default(),
            retry: Retry::default(),
            isolation: Isolation::default(),
            grants: Grants::default(),
            worker_exe: None,
            inline: false,
            output: None,
            log_dir: None,
            insight: false,
            trace: None,
            framing: Framing::Lines,
            stdin: None,
            capture: true,
            shared: Vec::new(),
        }
    }

    /// Loads and compiles the module, and orders the workers.
    ///
    /// # Errors
    ///
    /// If the module is unusable, a setting makes no sense, a directory cannot be opened, or no process can be started.
    pub fn build(self) -> Result<Pool> {
        let size = self.size()?;
        let Founded {
            family,
            module,
            pool,
            terms,
            settings,
            stdin,
            preparation,
            ..
        } = self.found(false)?;
        family.set_head(pool);
        let trace = terms.insight.trace.clone();
        let output = family.output.clone();
        let source = family.source.clone();
        let core = Core::new(pool, &family, Terms { size, ..terms }, stdin, preparation);
        let shared = Arc::new(Shared::new(pool, family, core, Vec::new()));
        shared.supervisor().add_pool(&shared);
        // The first turn orders the workers. The zygote may still be loading the module.
        shared.act(|_, _| ());
        let pool = Pool {
            shared,
            module,
            settings,
            output,
            trace,
        };
        source.wait_until_ready()?;
        Ok(pool)
    }

    /// Loads and compiles the module, for processes instead of a pool: see [`Context`]. What is said here about workers holds
    /// for them; [`processes`](Self::processes), [`max_tasks_per_child`](Self::max_tasks_per_child), retries, the start method,
    /// and the initializer are about pools alone.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build).
    pub fn context(self) -> Result<Context> {
        if self.inline {
            return Err(Error::Invalid("a process cannot be inline: only a pool can".into()));
        }
        let founded = self.found(true)?;
        founded.family.source.wait_until_ready()?;
        Ok(Context::new(founded))
    }

    fn size(&self) -> Result<Size> {
        let max = match self.processes {
            None => available_cpus().min(MAX_PROCESSES),
            Some(processes) => check_processes(processes)?,
        };
        let min = self.min_processes.unwrap_or(0);
        if min > max {
            return Err(Error::Invalid(format!(
                "a pool of at most {max} processes cannot have at least {min}"
            )));
        }
        let idle = self.idle_timeout;
        Ok(Size { min, max, idle })
    }
}

/// Whether a pool can have so many workers.
pub(super) fn check_processes(processes: usize) -> Result<usize> {
    match processes {
        1..=MAX_PROCESSES => Ok(processes),
        _ => Err(Error::Invalid(format!(
            "a pool has from 1 to {MAX_PROCESSES} processes, not {processes}"
        ))),
    }
}
