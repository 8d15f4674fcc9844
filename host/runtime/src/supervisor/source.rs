//! Where the workers of a pool come from.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::fstat;

use super::Supervisor;
use super::body::Body;
use super::nursery::Nursery;
use super::threads::Threads;
use crate::compile::{self, CompileLimits};
use crate::error::{Error, Result};
use crate::module::Module;
use crate::process::group::Group;
use crate::process::launcher::Keeper;
use crate::process::message::Order;
use crate::spec::{self, Spec};

/// Processes, or threads of this one.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Processes(Arc<Nursery>),
    Threads(Arc<Threads>),
}

impl Source {
    /// Processes. They start while the module's code is looked for, or made.
    pub(crate) fn processes(
        supervisor: &'static Supervisor,
        keeper: &Arc<Keeper>,
        spec: &Spec,
        dirs: Vec<OwnedFd>,
        module: &Module,
        limits: CompileLimits,
        group: Option<Group>,
    ) -> Result<Self> {
        let start = |what| move |source| Error::Start { what, source };
        let (spec_fd, spec_bytes) = spec::to_memfd("wasmp-spec", spec).map_err(start("pass the settings on"))?;
        let spec_len = spec_bytes.len() as u64;
        let mut key = spec_bytes;
        key.extend_from_slice(&module.id());
        for dir in &dirs {
            let stat = fstat(dir).map_err(|error| start("look at a granted directory")(error.into()))?;
            key.extend_from_slice(format!("{}:{};", stat.st_dev, stat.st_ino).as_bytes());
        }
        if let Some(group) = &group {
            // There is one for each pool.
            key.extend_from_slice(group.folder().as_os_str().as_encoded_bytes());
        }
        let fds = std::iter::once(spec_fd).chain(dirs).map(Arc::new).collect();
        let nursery = Nursery::open(supervisor, keeper, key, spec_len, fds, group)?;
        nursery.give(&compile::artifact(
            module,
            supervisor,
            keeper,
            spec.options.flavor,
            limits,
        )?);
        supervisor.meet(keeper)?;
        Ok(Self::Processes(nursery))
    }

    /// Threads. The keeper is needed to compile for them.
    pub(crate) fn threads(
        supervisor: &'static Supervisor,
        keeper: &Arc<Keeper>,
        spec: Spec,
        dirs: Vec<OwnedFd>,
        module: &Module,
        limits: CompileLimits,
    ) -> Result<Self> {
        let module = compile::artifact(module, supervisor, keeper, spec.options.flavor, limits)?;
        supervisor.meet(keeper)?;
        Ok(Self::Threads(Arc::new(Threads {
            supervisor,
            spec,
            dirs,
            module,
        })))
    }

    /// Orders a worker. One that is there already is returned, with its process id; any other is heard of through the
    /// supervisor.
    pub(super) fn order(&self, order: Order, fds: &[BorrowedFd<'_>]) -> io::Result<Option<(u32, Body)>> {
        match self {
            Self::Processes(nursery) => {
                let there = nursery.fork(order, fds)?;
                Ok(there.map(|(pid, pidfd)| (pid, Body::Process(pidfd))))
            }
            Self::Threads(threads) => threads.start(order, fds).map(|()| None),
        }
    }

    /// Waits until it has what it takes to make workers.
    pub(crate) fn wait_until_ready(&self) -> Result<()> {
        match self {
            Self::Processes(nursery) => nursery.wait_until_ready(),
            Self::Threads(_) => Ok(()),
        }
    }

    /// Whether it needs this keeper.
    pub(super) fn is_of(&self, keeper: &Arc<Keeper>) -> bool {
        matches!(self, Self::Processes(nursery) if nursery.is_of(keeper))
    }

    /// Whether there can be processes that are not workers of a pool.
    pub(super) fn has_processes(&self) -> bool {
        matches!(self, Self::Processes(_))
    }

    /// One for the same module, settings and grants, from an executable that is started anew.
    pub(super) fn like_it(&self) -> Result<Self> {
        match self {
            Self::Processes(nursery) => nursery.like_it().map(Self::Processes),
            Self::Threads(_) => Err(Error::Invalid("an inline pool has no processes".into())),
        }
    }

    /// Gets ready for the next that is to be [like it](Self::like_it).
    pub(super) fn expect_another(&self) {
        if let Self::Processes(nursery) = self {
            nursery.expect_another();
        }
    }
}
