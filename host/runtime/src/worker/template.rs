//! What is prepared before there is a worker.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use wasmp_ipc::Spinner;
use wasmtime::{Engine, InstancePre, Module};

use super::imports;
use super::lean::LeanLinker;
use super::state::State;
use super::wasi::{self, GrantedDir, Strings, WasiSpec};
use crate::engine::{self, EngineRole};
use crate::lockdown::{self, Dir, Files, Filter, LockdownError, Profile, Role};
use crate::spec::Spec;

/// What every worker starts from: made once by a zygote for all that it forks, or by a thread for itself.
pub(crate) struct Template {
    pub(super) spec: Spec,
    pub(super) engine: Engine,
    pub(super) module: InstancePre<State>,
    pub(super) wasi: Arc<WasiSpec>,
}

/// What a zygote prepares beside that: how its workers are locked down.
pub(crate) struct Walls {
    filter: Filter,
    /// Descriptors that wasmtime maps the initial memory of instances from.
    images: Vec<RawFd>,
}

/// A template without its module.
pub(crate) struct Draft {
    spec: Spec,
    wasi: Arc<WasiSpec>,
}

impl Draft {
    /// Makes ready all that needs no module. `dirs`: those that the spec speaks of.
    pub(crate) fn new(spec: Spec, dirs: impl IntoIterator<Item = OwnedFd>) -> Result<Self, String> {
        let grants: Vec<GrantedDir> = spec
            .dirs
            .iter()
            .zip(dirs)
            .map(|(dir, fd)| GrantedDir {
                dir: fd,
                guest: dir.guest.clone(),
                writable: dir.writable,
            })
            .collect();
        let wasi = Strings::args(&spec.args)
            .and_then(|args| {
                let env = Strings::env(spec.env.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
                Ok(WasiSpec::new(args, env, &grants)?.deterministic(spec.deterministic))
            })
            .map_err(|error| format!("the guest cannot be given what it was granted: {error}"))?;
        Spinner::assume_cpus(spec.cpus);
        Ok(Self {
            spec,
            wasi: Arc::new(wasi),
        })
    }

    /// Receives the compiled module and links it.
    pub(crate) fn complete(self, receive_module: impl FnOnce() -> io::Result<OwnedFd>) -> Result<Template, String> {
        let (engine, module) = link_module(&self.spec, receive_module)
            .map_err(|error| format!("the module cannot be loaded: {error:#}"))?;
        Ok(Template {
            spec: self.spec,
            engine,
            module,
            wasi: self.wasi,
        })
    }
}

impl Walls {
    /// Prepares the lockdown of workers, does what can be done to their zygote already, and completes the template.
    pub(crate) fn around(
        draft: Draft,
        receive_module: impl FnOnce() -> io::Result<OwnedFd>,
    ) -> Result<(Self, Template), String> {
        let files = Files::of(draft.spec.dirs.iter().map(|dir| dir.writable));
        let filter = Filter::compile(Role::Worker, files);
        lockdown::prepare(draft.spec.sandbox).map_err(|error| error.to_string())?;
        // This opens whatever wasmtime keeps open, and nothing else.
        let (template, images) = lockdown::opened_by(|| draft.complete(receive_module))
            .map_err(|error| format!("open descriptors cannot be listed: {error}"))?;
        Ok((Self { filter, images }, template?))
    }

    /// Has a process that was forked take a step of its lockdown, in which it keeps these descriptors.
    pub(super) fn close(
        &self,
        template: &Template,
        keep: &[BorrowedFd<'_>],
        control: Option<BorrowedFd<'_>>,
        step: impl FnOnce(&Profile<'_>) -> Result<(), LockdownError>,
    ) -> io::Result<()> {
        let dirs: Vec<Dir<'_>> = template
            .wasi
            .dirs()
            .iter()
            .zip(&template.spec.dirs)
            .map(|(fd, dir)| Dir {
                // SAFETY: the template owns these descriptors, and lives as long as this process.
                fd: unsafe { BorrowedFd::borrow_raw(*fd) },
                writable: dir.writable,
            })
            .collect();
        step(&Profile {
            role: Role::Worker,
            level: template.spec.sandbox,
            keep,
            control,
            images: &self.images,
            dirs: &dirs,
            max_memory: template.spec.max_memory,
            filter: &self.filter,
        })
        .map_err(io::Error::other)
    }
}

fn link_module(
    spec: &Spec,
    receive_module: impl FnOnce() -> io::Result<OwnedFd>,
) -> wasmtime::Result<(Engine, InstancePre<State>)> {
    let engine = Engine::new(&engine::config(&spec.options, EngineRole::Run))?;
    let wanted = spec
        .imports
        .iter()
        .map(|(module, name)| (module.as_str(), name.as_str()));
    let mut linker = LeanLinker::new(&engine, wanted);
    wasi::add_to_linker(&mut linker)?;
    imports::add_to_linker(&mut linker)?;
    let artifact = File::from(receive_module()?);
    // SAFETY: the file is sealed, so it cannot change, and it holds what this library's compiler made, or what the
    // embedder vouched for.
    let module = unsafe { Module::deserialize_open_file(&engine, artifact)? };
    module.initialize_copy_on_write_image()?;
    let module = linker.whole().instantiate_pre(&module)?;
    Ok((engine, module))
}
