//! Setting up a pool.

use std::fmt;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use serde::Serialize;

use super::Pool;
use super::codec::Spread;
use crate::compile;
use crate::context::Context;
use crate::engine::{Allocation, EngineOptions, Flavor};
use crate::error::{Error, Result};
use crate::identity::StartMethod;
use crate::insight::{Insight, trace};
use crate::logs::LogDir;
use crate::module::{Module, ModuleKind, ModuleSource};
use crate::objects::message::is_name;
use crate::objects::{DEFAULT_MAX_MESSAGE, Quota, Scope};
use crate::output::{self, Framing, GuestOutput, OutputHandler};
use crate::retry::Retry;
use crate::sandbox::Sandbox;
use crate::shared::{Handle, References, Shareable, collect_references};
use crate::spec::{self, DirSpec, Initializer, Isolation, Spec, TypeSpec, available_cpus};
use crate::supervisor::Shared;
use crate::supervisor::core::{Core, Terms};
use crate::supervisor::errands::Errands;
use crate::supervisor::family::{Family, MAX_PROCESSES_OF_GUESTS, Preparation};
use crate::supervisor::feed::Refused;
use crate::supervisor::size::Size;
use crate::supervisor::slot::Limits;
use crate::supervisor::source::Source;

/// Most workers of one pool.
const MAX_PROCESSES: usize = 1000;

/// Most directories that can be granted: they travel in one message.
const MAX_DIRS: usize = 12;

/// A memory32 cannot grow beyond this.
const MAX_MEMORY: u64 = 4 << 30;

/// Lengths of messages are counted in 32 bits.
const LONGEST_MESSAGE: usize = u32::MAX as usize;

/// A directory of the host that guests may use, under a name of their own. Guests see nothing else of the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    host: PathBuf,
    guest: String,
    writable: bool,
}

impl DirGrant {
    /// Guests may read what is in `host`, which they see as `guest`.
    pub fn read_only(host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            guest: guest.into(),
            writable: false,
        }
    }

    /// Guests may read and change what is in `host`, which they see as `guest`.
    pub fn read_write(host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        Self {
            writable: true,
            ..Self::read_only(host, guest)
        }
    }

    /// Opens the directory, so that the grant is for what is there now.
    fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.host, flags, Mode::empty()).map_err(|error| Error::Grant {
            path: self.host.clone(),
            source: error.into(),
        })
    }
}

/// What a pool was set up with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Retry,
}

/// What a pool or a context begins with.
pub(crate) struct Founded {
    pub(crate) family: Arc<Family>,
    pub(crate) module: Module,
    /// The number of its first pool.
    pub(crate) pool: u32,
    /// For one worker.
    pub(crate) terms: Terms,
    pub(crate) settings: Settings,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) preparation: Option<Preparation>,
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
    timeout: Option<Duration>,
    soft_timeout: Option<Duration>,
    retry: Retry,
    max_memory: u64,
    max_message: usize,
    max_output: Option<u64>,
    max_processes: usize,
    deterministic: bool,
    isolation: Isolation,
    sandbox: Sandbox,
    dirs: Vec<DirGrant>,
    env: Vec<(String, String)>,
    args: Vec<String>,
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
            .field("dirs", &self.dirs)
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
            timeout: None,
            soft_timeout: None,
            retry: Retry::default(),
            max_memory: MAX_MEMORY,
            max_message: DEFAULT_MAX_MESSAGE,
            max_output: None,
            max_processes: MAX_PROCESSES_OF_GUESTS,
            deterministic: false,
            isolation: Isolation::default(),
            sandbox: Sandbox::default(),
            dirs: Vec::new(),
            env: Vec::new(),
            args: Vec::new(),
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

    /// How many workers; from 1 to 1000. Default: the CPUs that this process may use.
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = Some(processes);
        self
    }

    /// Starts workers only when there is work for them, and stops those that had none for so long, down to
    /// [`min_processes`](Self::min_processes). Default: all workers are there from the start, and stay.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle_timeout = Some(idle);
        self
    }

    /// How many workers stay when there is no work, if there is an [`idle_timeout`](Self::idle_timeout). Default: 0.
    pub fn min_processes(mut self, processes: usize) -> Self {
        self.min_processes = Some(processes);
        self
    }

    /// Replaces a worker process after this many tasks (CPython: `maxtasksperchild`, which counts chunks). To begin with a
    /// fresh instance, but in the same process, is what [`Isolation`] is for, and much faster. Default: never.
    pub fn max_tasks_per_child(mut self, tasks: u32) -> Self {
        self.max_tasks_per_child = Some(tasks);
        self
    }

    /// A task that each instance runs before any other, with these arguments, a tuple (CPython: `initializer` and
    /// `initargs`). When one fails, its worker is replaced; when three in a row do, the pool gives up with
    /// [`Error::Broken`], which says why. It may take as long as [`timeout`](Self::timeout) says.
    pub fn initializer<A: Serialize>(mut self, task: impl Into<String>, args: A) -> Self {
        let mut bytes = Vec::new();
        let written = collect_references(|| Spread::Star.write(&args, &mut bytes));
        self.initializer = Some(Prepared {
            task: task.into(),
            args: written.map(|((), references)| (bytes, references)),
        });
        self
    }

    /// How workers are started (CPython: `get_context(method).Pool`). With [`StartMethod::Spawn`] each comes from an executable
    /// that is started anew for it, also one that replaces another. [`StartMethod::Fork`] is `Forkserver`: a worker that takes
    /// the place of another has nobody to be a copy of. The workers of an inline pool are threads whatever this says. It is
    /// what the guests' own processes and pools begin with. Default: [`StartMethod::Forkserver`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Kills an item that runs longer than this; it fails with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    /// Default: no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Stops an item that runs longer than this where it is, so that its error, of the kind
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), has the backtrace of where that was. The worker goes on with a new
    /// instance. One that does not stop within a second is killed, as [`timeout`](Self::timeout) does at once.
    ///
    /// The guest is compiled so that it can be stopped, which makes tight loops slower, up to twice as slow. Default: no
    /// limit.
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.soft_timeout = Some(timeout);
        self
    }

    /// How often an item is tried again whose worker died under it. A task that fails in any other way is not tried
    /// again. Default: 0.
    pub fn retries(self, retries: u32) -> Self {
        self.retry(Retry::times(retries))
    }

    /// When an item that failed is tried again. Default: never.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How many bytes of memory a guest may use. Default, and at most: 4 GiB.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.max_memory = bytes.min(MAX_MEMORY);
        self
    }

    /// How many bytes a result may have, and a message that a guest puts into a queue or a pipe. It bounds what a guest can
    /// make the host hold at once. Default: 256 MiB; at most 4 GiB. What a queue or a pipe made by a guest can hold grows
    /// with it.
    pub fn max_message(mut self, bytes: u64) -> Self {
        self.max_message = usize::try_from(bytes).unwrap_or(usize::MAX).min(LONGEST_MESSAGE);
        self
    }

    /// How many bytes an item may print, to standard output and error together, before it fails with
    /// [`ErrorKind::OutputLimit`](crate::ErrorKind::OutputLimit); what it has printed until then is passed on. For a process it
    /// is the sum over its life. Default: no limit; a guest that prints faster than anybody reads has to wait, and so
    /// have others of its pool that print.
    pub fn max_output(mut self, bytes: u64) -> Self {
        self.max_output = Some(bytes);
        self
    }

    /// Has the same task do the same each time, bit for bit, with the same arguments: on every machine with this version, and
    /// whatever else runs. Each task gets a fresh instance ([`Isolation::Task`]), whose clocks begin at 0 (which is
    /// 1970) and go on by 1 µs whenever they are read; a sleep takes no time, and the clock shows its end. Random numbers
    /// are the same ones for each instance, so they are no secret. All NaNs have the same bits, which makes
    /// floating point code slower.
    ///
    /// What tasks learn from elsewhere is as it is: files, [shared objects](crate#shared-objects), pools and processes of
    /// their own, the number of their worker. Default: no.
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.deterministic = deterministic;
        self
    }

    /// How many processes guests may have started at a time: `Process`es and workers of their pools together. One more is an
    /// error of theirs. Default: 64.
    pub fn max_processes(mut self, processes: usize) -> Self {
        self.max_processes = processes;
        self
    }

    /// How much of an instance's state one task leaves to the next. Default: all of it.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// How much of the wall around a worker's process there has to be. Default: [`Sandbox::BestEffort`].
    ///
    /// ```no_run
    /// use wasmp::{Pool, Sandbox};
    ///
    /// # fn main() -> wasmp::Result<()> {
    /// // An `Error::Sandbox` where Landlock or seccomp is missing.
    /// let pool = Pool::builder("tasks.wasm").sandbox(Sandbox::Strict).build()?;
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sandbox(mut self, level: Sandbox) -> Self {
        self.sandbox = level;
        self
    }

    /// Grants a directory.
    pub fn dir(mut self, grant: DirGrant) -> Self {
        self.dirs.push(grant);
        self
    }

    /// Sets an environment variable for guests, which see none of the host's.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The arguments that guests see, the program's name first. A command that is called with an array gets that instead.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Makes an object known to guests by this name, of 1 to 255 bytes: `Queue::named` and the like open it there. Names
    /// are for those who cannot pass handles; arguments can carry them, and need no name.
    pub fn share(mut self, name: impl Into<String>, object: &impl Shareable) -> Self {
        self.shared.push((name.into(), object.handle().clone()));
        self
    }

    /// The executable to start workers from. Default: this program itself; no cooperation from its `main` is needed.
    pub fn worker_exe(mut self, path: impl Into<PathBuf>) -> Self {
        self.worker_exe = Some(path.into());
        self
    }

    /// Has the pool's workers be threads of this process, for debugging: a debugger, a profiler or a sanitizer that looks at
    /// this process sees them. Everything else is as ever. CPython: `multiprocessing.dummy`, and joblib's inline mode.
    ///
    /// Guests are as confined as WebAssembly confines them, and by nothing else: there is no second wall around code that
    /// you do not trust. A worker cannot be killed from outside; a deadline and [`terminate`](Pool::terminate) still end
    /// its task, at its next loop or call, but for a call on a file that blocks. Its tasks can have pools, whose workers are threads, too, but no processes.
    /// Compiled code differs, as guests can be stopped in it, and tight loops are slower. Default: no.
    ///
    /// ```no_run
    /// # fn main() -> wasmp::Result<()> {
    /// let pool = wasmp::Pool::builder("tasks.wasm").processes(1).inline(true).build()?;
    /// assert_eq!(pool.worker_pids(), [std::process::id()]);
    /// assert_eq!(pool.apply::<_, i64>("square", (7,))?, 49);
    /// # Ok(())
    /// # }
    /// ```
    pub fn inline(mut self, inline: bool) -> Self {
        self.inline = inline;
        self
    }

    /// Where to pass on what guests write to their standard streams: whole lines, one at a time, on a thread of their
    /// own. Default: to the host's own streams; where those are terminals, control characters are escaped.
    pub fn on_output(mut self, handler: impl FnMut(GuestOutput<'_>) + Send + 'static) -> Self {
        self.output = Some(Box::new(handler));
        self
    }

    /// Keeps what each process writes to its standard error, its log records among that, also in a file of its own in this
    /// directory, which is made if it is not there. A file is called by the process and its id, as
    /// `PoolWorker-1-4711.log`; whatever a name has beside letters, digits, `-` and `_` is `_`. It is always a new one, and
    /// this process writes it, so that guests need no grant. Control characters are escaped. When a file cannot be written,
    /// that is a warning of `tracing`, and nothing else comes of it. Each process that has written something takes a
    /// descriptor while it runs. Default: none.
    ///
    /// CPython has nothing of the kind: a logger of `multiprocessing` is given a handler in each process.
    pub fn log_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.log_dir = Some(path.into());
        self
    }

    /// Measures how long items run and what workers do with their time, for [`Pool::stats`]. It costs two looks at the
    /// clock and 24 bytes for each item; without it, nothing is measured and nothing is paid. Default: no.
    pub fn insight(mut self, measured: bool) -> Self {
        self.insight = measured;
        self
    }

    /// Writes a timeline of the pool in Chrome's trace event format, which Perfetto (ui.perfetto.dev) and
    /// `chrome://tracing` show: what each worker ran and when, and its births and deaths. It is written on a thread of its
    /// own, whole when [`Pool::join`] returns or the pool has been dropped, both of which wait for the writer. When the
    /// writer is a million items behind, some are left out, and the last event says how many. Implies
    /// [`insight`](Self::insight). Default: none.
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use wasmp::Pool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder("tasks.wasm").trace(File::create("trace.json")?).build()?;
    /// let _: Vec<i64> = pool.map("square", 0..1000)?;
    /// pool.close();
    /// pool.join()?; // an `Error::Trace` if the file could not be written
    /// # Ok(())
    /// # }
    /// ```
    pub fn trace(mut self, writer: impl Write + Send + 'static) -> Self {
        self.trace = Some(Box::new(writer));
        self
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
        } = self.found(false)?;
        family.set_head(pool);
        let trace = terms.insight.trace.clone();
        let output = family.output.clone();
        let source = family.source.clone();
        let core = Core::new(pool, &family, Terms { size, ..terms }, stdin, preparation);
        let shared = Arc::new(Shared::new(pool, family, core, None));
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

    /// Does all that is to be done before there are workers, but for the wait for their zygote. With `signals`, SIGINT ends their waits, and not them.
    fn found(self, signals: bool) -> Result<Founded> {
        if self.max_tasks_per_child == Some(0) || self.isolation == Isolation::Every(0) {
            return Err(Error::Invalid(
                "a worker or an instance that runs 0 tasks makes no sense: it must be 1 or more".into(),
            ));
        }
        if self.dirs.len() > MAX_DIRS {
            return Err(Error::Invalid(format!("at most {MAX_DIRS} directories can be granted")));
        }
        if self.inline && self.sandbox == Sandbox::Strict {
            return Err(Error::Invalid(
                "the workers of an inline pool are threads of this process: there can be no strict sandbox around them"
                    .into(),
            ));
        }
        self.sandbox.check(!self.dirs.is_empty())?;
        let start = |what| move |source| Error::Start { what, source };
        let logs = self
            .log_dir
            .map(|path| LogDir::open(&path).map_err(|source| Error::LogDir { path, source }));
        let logs = logs.transpose()?;
        // The processes start while the module is read and its code looked for.
        let (supervisor, keeper) = compile::processes(self.worker_exe.as_deref())?;
        let module = Module::load(self.module)?;

        // What a task leaves behind depends on which ones came before it.
        let isolation = if self.deterministic {
            Isolation::Task
        } else {
            self.isolation
        };
        let wanted = match isolation {
            Isolation::Worker => Allocation::OnDemand,
            Isolation::Task | Isolation::Every(_) => Allocation::Pooling,
        };
        let flavor = Flavor {
            interruptible: self.soft_timeout.is_some() || self.inline,
            deterministic: self.deterministic,
        };
        if flavor != Flavor::default() && module.is_precompiled() {
            return Err(Error::Invalid(
                "a module that was compiled ahead of time cannot be stopped by a soft timeout, run in an inline pool, or be \
                 deterministic: give the .wasm"
                    .into(),
            ));
        }
        let preparation = prepare(self.initializer, &module)?;
        let options = EngineOptions {
            allocation: module.allocation(wanted),
            flavor,
        };
        let spec = Spec {
            options,
            kind: module.kind(),
            exports: module.tasks().iter().map(|task| task.export.clone()).collect(),
            types: module.types().iter().map(TypeSpec::from).collect(),
            args: self.args,
            env: self.env,
            dirs: self
                .dirs
                .iter()
                .map(|dir| DirSpec {
                    guest: dir.guest.clone(),
                    writable: dir.writable,
                })
                .collect(),
            max_memory: self.max_memory,
            max_message: self.max_message,
            max_output: self.max_output,
            deterministic: self.deterministic,
            isolation,
            sandbox: self.sandbox,
            soft_timeout: self.soft_timeout,
            all_memory: module.is_all_memory(),
            signals,
            capture: self.capture,
            cpus: available_cpus() as u32,
            timed: self.insight || self.trace.is_some(),
        };
        let timed = spec.timed;
        let dirs = self.dirs.iter().map(DirGrant::open).collect::<Result<_>>()?;
        let source = if self.inline {
            Source::threads(supervisor, &keeper, spec, dirs, &module)?
        } else {
            Source::processes(supervisor, &keeper, &spec, dirs, &module)?
        };

        let scope = Scope::new(Quota {
            max_message: self.max_message,
            ..Quota::default()
        });
        for (name, handle) in self.shared {
            let usable = is_name(&name) && scope.name(name.clone(), handle.entry(), handle.end());
            if !usable {
                return Err(Error::Invalid(format!(
                    "`{name}` cannot be the name of an object: it is empty, too long, or taken"
                )));
            }
        }

        let id = supervisor.next_pool();
        let handler = self.output.unwrap_or_else(|| Box::new(output::inherit));
        let gather = move || supervisor.attend_family(id);
        let output = output::start(handler, logs, self.framing, gather).map_err(start("start the output thread"))?;
        let errands = Errands::start().map_err(start("start the thread for callbacks"))?;
        let family = Family::new(
            id,
            supervisor,
            module.clone(),
            source,
            scope,
            output,
            errands,
            self.max_processes,
        );
        let trace = self.trace.map(|writer| {
            let tasks = module.tasks().iter().map(|task| task.name.clone()).collect();
            trace::start(writer, id, tasks)
        });
        let insight = Insight {
            timed,
            trace: trace
                .transpose()
                .map_err(start("start the thread that writes the trace"))?,
            max_memory: self.max_memory,
        };
        let terms = Terms {
            size: Size {
                min: 1,
                max: 1,
                idle: None,
            },
            limits: Limits {
                result: self.max_message,
                tasks: self.max_tasks_per_child.map_or(u64::MAX, u64::from),
                soft_timeout: self.soft_timeout,
            },
            method: self.method,
            patience: self.timeout.filter(|_| preparation.is_some()),
            insight,
        };
        let settings = Settings {
            timeout: self.timeout,
            retry: self.retry,
        };
        Ok(Founded {
            family,
            module,
            pool: id,
            terms,
            settings,
            stdin: self.stdin,
            preparation,
        })
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

/// The initializer as workers are told of it.
fn prepare(initializer: Option<Prepared>, module: &Module) -> Result<Option<Preparation>> {
    let Some(Prepared { task, args }) = initializer else {
        return Ok(None);
    };
    if module.kind() != ModuleKind::Tasks {
        return Err(Error::Invalid(
            "only a module of tasks can have an initializer: this one has none".into(),
        ));
    }
    let task = super::task_number(module, &task)?;
    let (args, references) = args?;
    let (memory, bytes) =
        spec::to_memfd("wasmp-initializer", &Initializer { task, args }).map_err(|source| Error::Start {
            what: "pass the initializer on",
            source,
        })?;
    let len = bytes.len() as u64;
    Ok(Some(Preparation {
        memory,
        len,
        references,
    }))
}
