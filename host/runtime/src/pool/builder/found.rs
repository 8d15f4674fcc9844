//! From settings to the family of a pool: all that is done before there are workers.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{PoolBuilder, Prepared, Settings};
use crate::compile::{self, CompileLimits};
use crate::engine::{Allocation, EngineOptions, Flavor};
use crate::error::{Error, Result};
use crate::grants::{DirGrant, Grants, MAX_MEMORY};
use crate::insight::{Insight, trace};
use crate::logs::LogDir;
use crate::module::{ImportInfo, Module, ModuleKind};
use crate::objects::message::is_name;
use crate::objects::{Quota, Scope};
use crate::output;
use crate::process::group::Group;
use crate::sandbox::Sandbox;
use crate::spec::{self, DirSpec, Initializer, Isolation, Spec, TypeSpec, available_cpus};
use crate::supervisor::core::Terms;
use crate::supervisor::errands::Errands;
use crate::supervisor::family::{Family, Preparation};
use crate::supervisor::size::Size;
use crate::supervisor::slot::Limits as SlotLimits;
use crate::supervisor::source::Source;

/// Most directories that can be granted: they travel in one message.
const MAX_DIRS: usize = 12;

/// Lengths of messages are counted in 32 bits.
const LONGEST_MESSAGE: u64 = u32::MAX as u64;

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
    /// Whether a program may read what it is given as standard input later.
    pub(crate) reads_stdin: bool,
    pub(crate) preparation: Option<Preparation>,
}

impl PoolBuilder {
    /// Does all that is to be done before there are workers, but for the wait for their zygote. With `signals`, SIGINT ends
    /// their waits, and not them.
    pub(super) fn found(mut self, signals: bool) -> Result<Founded> {
        self.check()?;
        let start = |what| move |source| Error::Start { what, source };
        let logs = self
            .log_dir
            .as_ref()
            .map(|path| LogDir::open(path).map_err(|source| (path.clone(), source)));
        let logs = logs
            .transpose()
            .map_err(|(path, source)| Error::LogDir { path, source })?;
        // The processes start while the module is read and its code looked for.
        let (supervisor, keeper) = compile::processes(self.worker_exe.as_deref())?;
        let module = Module::load(self.module)?;
        self.module = module.clone().into();
        let spec = self.spec(&module, signals)?;
        let Grants {
            dirs,
            objects,
            stdin: reads_stdin,
            limits,
            ..
        } = self.grants;
        let preparation = prepare(self.initializer, &module)?;
        let timed = spec.timed;
        let (max_memory, max_message) = (spec.max_memory, spec.max_message);
        let dirs = dirs.iter().map(DirGrant::open).collect::<Result<_>>()?;
        let compile = CompileLimits {
            timeout: limits.compile_timeout,
            memory: limits.compile_memory,
        };
        let source = if self.inline {
            Source::threads(supervisor, &keeper, spec, dirs, &module, compile)?
        } else {
            let group = limits.max_total_memory.and_then(Group::new);
            if limits.max_total_memory.is_some() && group.is_none() {
                tracing::debug!("no control groups can be made here: the memory of all workers together has no limit");
            }
            Source::processes(supervisor, &keeper, &spec, dirs, &module, compile, group)?
        };

        let scope = Scope::new(Quota {
            max_message,
            ..Quota::default()
        });
        let mut shared = self.shared;
        for object in objects {
            shared.push((object.name.clone(), object.make()?));
        }
        for (name, handle) in shared {
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
        let output = output::start(handler, logs, self.framing, limits.output_rate, gather)
            .map_err(start("start the output thread"))?;
        let errands = Errands::start().map_err(start("start the thread for callbacks"))?;
        let family = Family::new(
            id,
            supervisor,
            module.clone(),
            source,
            scope,
            output,
            errands,
            limits.max_processes,
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
            max_memory,
        };
        let terms = Terms {
            size: Size {
                min: 1,
                max: 1,
                idle: None,
            },
            limits: SlotLimits {
                result: max_message,
                tasks: self.max_tasks_per_child.map_or(u64::MAX, u64::from),
                soft_timeout: limits.soft_timeout,
            },
            method: self.method,
            patience: limits.timeout.filter(|_| preparation.is_some()),
            insight,
        };
        let settings = Settings {
            timeout: limits.timeout,
            retry: self.retry,
        };
        Ok(Founded {
            family,
            module,
            pool: id,
            terms,
            settings,
            reads_stdin,
            stdin: self.stdin,
            preparation,
        })
    }

    /// Whether the settings make sense, and this machine has what they need.
    fn check(&self) -> Result<()> {
        if self.max_tasks_per_child == Some(0) || self.isolation == Isolation::Every(0) {
            return Err(Error::Invalid(
                "a worker or an instance that runs 0 tasks makes no sense: it must be 1 or more".into(),
            ));
        }
        let Grants { dirs, sandbox, .. } = &self.grants;
        if dirs.len() > MAX_DIRS {
            return Err(Error::Invalid(format!("at most {MAX_DIRS} directories can be granted")));
        }
        if self.inline && *sandbox == Sandbox::Strict {
            return Err(Error::Invalid(
                "the workers of an inline pool are threads of this process: there can be no strict sandbox around them"
                    .into(),
            ));
        }
        sandbox.check(!dirs.is_empty())
    }

    /// What workers are told.
    fn spec(&self, module: &Module, signals: bool) -> Result<Spec> {
        let grants = &self.grants;
        let limits = &grants.limits;
        // What a task leaves behind depends on which ones came before it.
        let isolation = if grants.deterministic {
            Isolation::Task
        } else {
            self.isolation
        };
        let allocation = module.allocation(isolation != Isolation::Worker);
        let flavor = Flavor {
            copies_data: allocation == Allocation::Recycled,
            interruptible: limits.soft_timeout.is_some() || self.inline,
            deterministic: grants.deterministic,
            metered: limits.fuel.is_some(),
        };
        if flavor != Flavor::default() && module.is_precompiled() {
            return Err(Error::Invalid(
                "a module that was compiled ahead of time cannot be stopped by a soft timeout, count its fuel, run in an \
                 inline pool, or be deterministic: give the .wasm"
                    .into(),
            ));
        }
        Ok(Spec {
            options: EngineOptions { allocation, flavor },
            kind: module.kind(),
            imports: module.imports().iter().map(import_spec).collect(),
            exports: module.tasks().iter().map(|task| task.export.clone()).collect(),
            types: module.types().iter().map(TypeSpec::from).collect(),
            args: grants.args.clone(),
            env: grants.env.clone(),
            dirs: grants.dirs.iter().map(dir_spec).collect(),
            max_memory: limits.max_memory.min(MAX_MEMORY),
            max_message: limits.max_message.min(LONGEST_MESSAGE) as usize,
            max_output: limits.max_output,
            fuel: limits.fuel,
            deterministic: grants.deterministic,
            isolation,
            sandbox: grants.sandbox,
            soft_timeout: limits.soft_timeout,
            all_memory: module.is_all_memory(),
            signals,
            capture: self.capture,
            cpus: available_cpus() as u32,
            timed: self.insight || self.trace.is_some(),
        })
    }
}

fn import_spec(import: &ImportInfo) -> (String, String) {
    (import.module.clone(), import.name.clone())
}

fn dir_spec(dir: &DirGrant) -> DirSpec {
    DirSpec {
        guest: dir.guest().to_owned(),
        writable: dir.is_writable(),
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
    let task = super::super::task_number(module, &task)?;
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
