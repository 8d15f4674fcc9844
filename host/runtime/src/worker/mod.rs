//! The worker side: what happens in the process that runs guests.
//!
//! A zygote prepares a [`Template`] (engine, linked module, grants, system call filter) and forks. The child locks
//! itself down, tells its host that it is ready, and then turns task frames into replies until it is told to stop or
//! its host is gone. The way of a task: [`link`] takes it from the ring, [`session`] calls the guest, [`imports`] is
//! what the guest calls back, and [`link`] again puts the outcome into the reply ring. [`fault`] is what became of a
//! guest that failed.

mod copy;
mod fault;
mod imports;
pub(crate) mod interruption;
mod link;
mod objects;
mod plain;
mod pools;
mod processes;
mod session;
mod state;
pub(crate) mod wasi;
mod windows;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use wasmp_ipc::Spinner;
use wasmtime::{Engine, InstancePre, Linker, Module};

use self::copy::Snapshot;
use self::interruption::Watch;
use self::link::Link;
use self::objects::Objects;
use self::session::Session;
use self::state::{Host, State, Who};
use self::wasi::{GrantedDir, Strings, WasiSpec};
use crate::engine::{self, EngineRole};
use crate::identity::Identity;
use crate::lockdown::{self, Dir, Filter, Profile, Role};
use crate::process::control::Channel;
use crate::process::lifeline;
use crate::spec::{self, Spec};

/// What is prepared before there is a worker: once by a zygote for all that it forks, or by a thread for itself.
pub(crate) struct Template {
    spec: Spec,
    engine: Engine,
    module: InstancePre<State>,
    wasi: Arc<WasiSpec>,
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
                WasiSpec::new(args, env, &grants)
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
        let filter = Filter::compile(Role::Worker, !draft.spec.dirs.is_empty())
            .map_err(|error| format!("the system call filter cannot be made: {error}"))?;
        lockdown::prepare().map_err(|error| error.to_string())?;
        // This opens whatever wasmtime keeps open, and nothing else.
        let (template, images) = lockdown::opened_by(|| draft.complete(receive_module))
            .map_err(|error| format!("open descriptors cannot be listed: {error}"))?;
        Ok((Self { filter, images }, template?))
    }
}

fn link_module(
    spec: &Spec,
    receive_module: impl FnOnce() -> io::Result<OwnedFd>,
) -> wasmtime::Result<(Engine, InstancePre<State>)> {
    let engine = Engine::new(&engine::config(&spec.options, EngineRole::Run))?;
    let mut linker = Linker::new(&engine);
    wasi::add_to_linker(&mut linker)?;
    imports::add_to_linker(&mut linker)?;
    let artifact = File::from(receive_module()?);
    // SAFETY: the file is sealed, so it cannot change, and it holds what this library's compiler made, or what the
    // embedder vouched for.
    let module = unsafe { Module::deserialize_open_file(&engine, artifact)? };
    module.initialize_copy_on_write_image()?;
    let module = linker.instantiate_pre(&module)?;
    Ok((engine, module))
}

/// What one worker is given at birth.
#[derive(Debug)]
pub(crate) struct Belongings {
    slot: u32,
    identity: Identity,
    rings: OwnedFd,
    doorbell: OwnedFd,
    control: OwnedFd,
    lifeline: OwnedFd,
    stdin: Option<OwnedFd>,
    /// A memfd and how many bytes are in it.
    initializer: Option<(OwnedFd, u64)>,
    /// What this is a copy of.
    snapshot: Option<(OwnedFd, u64)>,
}

impl Belongings {
    /// From the descriptors that came with the order to fork. `None` if they are not what the order says.
    pub(crate) fn from_order(
        slot: u32,
        identity: Identity,
        fds: Vec<OwnedFd>,
        stdin: bool,
        initializer: Option<u64>,
        snapshot: Option<u64>,
    ) -> Option<Self> {
        let mut fds = fds.into_iter();
        let (rings, doorbell) = (fds.next()?, fds.next()?);
        let (control, lifeline) = (fds.next()?, fds.next()?);
        let stdin = if stdin { Some(fds.next()?) } else { None };
        let initializer = match initializer {
            Some(len) => Some((fds.next()?, len)),
            None => None,
        };
        let snapshot = match snapshot {
            Some(len) => Some((fds.next()?, len)),
            None => None,
        };
        Some(Self {
            slot,
            identity,
            rings,
            doorbell,
            control,
            lifeline,
            stdin,
            initializer,
            snapshot,
        })
    }
}

/// Runs as a worker until the host says stop. Never returns.
pub(crate) fn main(template: &Template, walls: &Walls, belongings: Belongings) -> ! {
    let code = run(template, Some(walls), belongings, |_| ()).unwrap_or(1);
    // SAFETY: ends this process at once; nothing in it has to be cleaned up.
    unsafe { libc::_exit(code) }
}

/// The same in a thread, which is its own zygote, and has no walls around it. `born` gets what it takes to end it.
pub(crate) fn run_in_thread(
    template: &Template,
    belongings: Belongings,
    born: impl FnOnce(Arc<Watch>),
) -> io::Result<i32> {
    run(template, None, belongings, |watch| born(Arc::clone(watch)))
}

fn run(
    template: &Template,
    walls: Option<&Walls>,
    belongings: Belongings,
    born: impl FnOnce(&Arc<Watch>),
) -> io::Result<i32> {
    let Belongings {
        slot,
        identity,
        rings,
        doorbell,
        control,
        lifeline,
        stdin,
        initializer,
        snapshot,
    } = belongings;
    if walls.is_some() {
        lifeline::arm(lifeline.as_fd())?;
    }
    let once = identity.once;
    let pid = std::process::id();
    let spec = &template.spec;
    let who = Arc::new(Who {
        identity,
        pid,
        cpus: spec.cpus,
    });
    let initializer = match initializer {
        Some((memory, len)) => Some(spec::from_memfd(memory, len)?),
        None => None,
    };
    let snapshot = match snapshot {
        Some((memory, len)) => Some(Snapshot::open(&memory, len)?),
        None => None,
    };
    let watch = interruption::prepare(&template.engine, spec.soft_timeout, spec.signals, walls.is_none())?;
    let interrupt = watch.as_deref().map(Watch::interrupt).transpose()?;
    let link = Link::open(rings.as_fd(), doorbell, spec.max_message, spec.timed)?;
    drop(rings);
    match walls {
        Some(walls) => {
            let mut keep = vec![link.doorbell(), lifeline.as_fd()];
            keep.extend(stdin.as_ref().map(AsFd::as_fd));
            walls.close(template, &keep, control.as_fd())?;
            interruption::arm(watch.as_ref())?;
        }
        None => {
            if let Some(watch) = &watch {
                born(watch);
            }
        }
    }
    Engine::tls_eager_initialize();
    let host = Host {
        objects: Objects::new(Channel::from(control), interrupt, link.clock().cloned()),
        link,
    };
    let session = Session::new(template, host, slot, who, stdin, initializer)?;
    if once {
        return session.serve_once(snapshot);
    }
    session.serve().map(|()| 0)
}

impl Walls {
    /// Locks this process down, with nothing left open but these.
    fn close(&self, template: &Template, keep: &[BorrowedFd<'_>], control: BorrowedFd<'_>) -> io::Result<()> {
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
        lockdown::lock_down(&Profile {
            role: Role::Worker,
            keep,
            control: Some(control),
            images: &self.images,
            dirs: &dirs,
            max_memory: template.spec.max_memory,
            filter: &self.filter,
        })
        .map_err(io::Error::other)
    }
}
