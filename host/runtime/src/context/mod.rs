//! Processes of the host's own, beside pools.

mod process;

use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

pub use self::process::{Process, ProcessBuilder};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::manager::Settings;
use crate::module::{Module, ModuleKind};
use crate::objects::Entry;
use crate::outcome::End;
use crate::pool::Founded;
use crate::shared::References;
use crate::supervisor::core::{Core, Terms};
use crate::supervisor::family::Family;
use crate::supervisor::managers::{Founding, found};
use crate::supervisor::solo::Owner;
use crate::wire::MAIN;

/// A module whose tasks run in processes of their own (CPython: a context of `multiprocessing`).
///
/// From [`PoolBuilder::context`](crate::PoolBuilder::context), which says what the processes may use. When the context and
/// every [`Process`] that was started from it are dropped, what is left of the processes, and of those that they have
/// started, is killed.
///
/// ```no_run
/// use wasmp::{Pool, Queue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let context = Pool::builder("tasks.wasm").context()?;
/// let numbers = Queue::<i64>::new(0)?;
/// let producer = context.process("producer").args((&numbers, 10)).name("Producer").start()?;
/// while let Ok(number) = numbers.get() {
///     println!("{number}");
/// }
/// producer.join();
/// assert_eq!(producer.exitcode(), Some(0));
/// # Ok(())
/// # }
/// ```
pub struct Context {
    module: Module,
    terms: Terms,
    /// Whether a `main` may read the standard input that it is given.
    reads_stdin: bool,
    household: Arc<Household>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

/// Everyone that was started from a context, for as long as anybody can ask about them.
#[derive(Debug)]
struct Household {
    family: Arc<Family>,
}

impl Drop for Household {
    fn drop(&mut self) {
        self.family.set_over(true);
        let supervisor = self.family.supervisor;
        supervisor.act_on_family(&self.family, |core| core.end(&End::Terminated));
    }
}

impl Context {
    pub(crate) fn new(founded: Founded) -> Self {
        let Founded {
            family,
            module,
            mut terms,
            reads_stdin,
            ..
        } = founded;
        // They have one task each.
        terms.limits.tasks = u64::MAX;
        Self {
            module,
            terms,
            reads_stdin,
            household: Arc::new(Household { family }),
        }
    }

    /// The module whose tasks they run.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// A process that is to call this task once, to be set up (CPython: `Process`).
    pub fn process(&self, task: &str) -> ProcessBuilder<'_> {
        ProcessBuilder::new(self, task)
    }

    /// Runs the module's own `main` in a process, as `wasmp run` does. It has no parent, and is called `MainProcess`.
    ///
    /// `stdin` is read on a thread of its own, which ends when `stdin` does; it is not waited for. It is not read
    /// where the [grants](crate::Grants::stdin) say so.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the module has no `main` (`_start`), [`Error::Start`] or [`Error::Broken`] if it cannot be
    /// started.
    pub fn main(&self, stdin: impl Read + Send + 'static) -> Result<Process> {
        let has_main = self.module.kind() == ModuleKind::Command
            || self.module.exports().iter().any(|export| export.name == "_start");
        if !has_main {
            return Err(Error::Invalid(
                "the module is no program: it has no `main` that could be run".into(),
            ));
        }
        let stdin = self.reads_stdin.then(|| pump(stdin)).transpose()?;
        Process::start(
            self,
            MAIN,
            (Vec::new(), References::default()),
            Identity::main(),
            None,
            stdin,
        )
    }

    /// Starts a manager's process, and waits until it runs.
    pub(crate) fn found_manager(&self, settings: Settings) -> Result<(Arc<Entry>, Process)> {
        let family = &self.household.family;
        let Founding {
            manager,
            process,
            identity,
        } = found(family, self.terms.clone(), Owner::host(), settings, None)?;
        process.act(|_, _| ());
        let process = Process::watch(&self.household, process, identity)?;
        Ok((manager, process))
    }

    /// Ends the waits of every process that was started from here, or by those (SIGINT, as Ctrl-C sends it).
    pub fn interrupt(&self) {
        let family = &self.household.family;
        family
            .supervisor
            .act_on_family(family, |core| core.signal_all(Signal::INT));
    }

    /// Kills every process that was started from here, or by those.
    pub fn kill(&self) {
        let family = &self.household.family;
        // Meanwhile nobody starts another.
        family.set_over(true);
        family
            .supervisor
            .act_on_family(family, |core| core.end(&End::Terminated));
        family.set_over(false);
    }

    /// Waits until everything is passed on that the processes have printed and that ended so far.
    pub fn flush(&self) {
        self.household.family.output.flush();
    }

    fn core(&self, pool: u32, owner: Option<Owner>, stdin: Option<OwnedFd>) -> Core {
        let mut core = Core::new(pool, &self.household.family, self.terms.clone(), stdin, None);
        core.set_owner(owner);
        core
    }
}

/// The reading end of a pipe into which a thread copies what it reads.
pub(crate) fn pump(stdin: impl Read + Send + 'static) -> Result<OwnedFd> {
    let start = |source| Error::Start {
        what: "pass standard input on",
        source,
    };
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| start(error.into()))?;
    std::thread::Builder::new()
        .name("wasmp-stdin".into())
        .spawn(move || {
            let (mut stdin, mut writer) = (stdin, std::fs::File::from(writer));
            // A program that does not read all of its input is no error.
            let _ = io::copy(&mut stdin, &mut writer);
        })
        .map_err(start)?;
    Ok(reader)
}
