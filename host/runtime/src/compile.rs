//! Compiling a module: in a process of its own, watched over by the supervisor.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{EngineOptions, Flavor};
use crate::error::{Error, Result};
use crate::grants::Limits;
use crate::module::{Artifact, Module};
use crate::process::compiler::compile_in_helper;
use crate::process::launcher::Keeper;
use crate::supervisor::Supervisor;

/// The supervisor and the keeper that everything else is started by. The keeper may still be starting:
/// [`meet`](Supervisor::meet) it before you wait for what it was told to do.
pub(crate) fn processes(worker_exe: Option<&Path>) -> Result<(&'static Supervisor, Arc<Keeper>)> {
    let supervisor = Supervisor::get().map_err(|source| Error::Start {
        what: "start the supervisor thread",
        source,
    })?;
    Ok((supervisor, Keeper::get(worker_exe)?))
}

/// What compiling a module may use up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompileLimits {
    pub(crate) timeout: Duration,
    /// Bytes.
    pub(crate) memory: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            timeout: limits.compile_timeout,
            memory: limits.compile_memory,
        }
    }
}

/// The module's compiled code.
pub(crate) fn artifact(
    module: &Module,
    supervisor: &Supervisor,
    keeper: &Arc<Keeper>,
    flavor: Flavor,
    limits: CompileLimits,
) -> Result<Artifact> {
    // What else may differ between pools makes no difference to compiled code.
    let options = EngineOptions {
        flavor,
        ..EngineOptions::default()
    };
    module.artifact(flavor, &|wasm| {
        supervisor.meet(keeper)?;
        Ok(compile_in_helper(limits, keeper, module.name(), wasm, &options)?)
    })
}

impl Module {
    /// Compiles the module ahead of time and writes it out, to be loaded with
    /// [`ModuleSource::allow_precompiled`](crate::ModuleSource::allow_precompiled) by the same version of wasmp on the
    /// same kind of CPU. What it contains is native code: load it only from where nobody else can write.
    ///
    /// # Errors
    ///
    /// If the module does not compile, or cannot be written.
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use wasmp::Module;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// Module::load("tasks.wasm")?.compile_to(&mut File::create("tasks.cwasm")?)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn compile_to(&self, to: &mut dyn Write) -> Result<()> {
        let (supervisor, keeper) = processes(None)?;
        let artifact = artifact(self, supervisor, &keeper, Flavor::default(), CompileLimits::default())?;
        self.write_precompiled(&artifact, to).map_err(Error::Write)
    }
}
