//! Managers, as the host starts them: processes that serve their clients instead of calling a task.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use wasmp_abi::Status;

use super::Shared;
use super::core::{Core, Terms};
use super::family::{Family, Processes};
use super::owned::Wanted;
use super::solo::{Owner, Solo};
use crate::error::{Error, Result};
use crate::identity::{Identity, StartMethod};
use crate::manager::{Call, DEFAULT_CALL_TIMEOUT, DEFAULT_MAX_BYTES, Reception, Settings};
use crate::objects::Entry;
use crate::objects::message::Answer;
use crate::objects::registry::{Charge, CreateError};
use crate::process::message::encode;
use crate::shared::{References, pipe_one_way};
use crate::spec::available_cpus;
use crate::wire::MANAGER;

/// A manager whose process takes its first turn next.
pub(crate) struct Founding {
    pub(crate) manager: Arc<Entry>,
    pub(crate) process: Arc<Shared>,
    pub(crate) identity: Identity,
}

/// Sets a manager up. It ends when nobody refers to it any more, or with its family.
/// `charge`: what it takes of the quota of a guest that has asked for it.
pub(crate) fn found(
    family: &Arc<Family>,
    mut terms: Terms,
    owner: Owner,
    settings: Settings,
    charge: Option<Charge>,
) -> Result<Founding> {
    terms.method = StartMethod::Forkserver;
    // An answer, and what it is made of, take memory beside what is held.
    let settings = Settings {
        max_bytes: settings.max_bytes.min(terms.insight.max_memory / 3),
        ..settings
    };
    let lineage = owner.next_lineage();
    let identity = Identity {
        name: format!("Manager-{lineage}"),
        lineage,
        daemon: true,
        parent: Some((owner.name.clone(), owner.pid)),
        method: StartMethod::Forkserver,
        once: true,
        log: 0,
    };
    let (inside, outside) = pipe_one_way()?;
    let door = inside.send_off().map_err(not_made)?;
    let manager = Entry::manager(Reception::new(outside), charge).map_err(|error| match error {
        CreateError::System(source) => not_made(source),
        CreateError::Refused(status) => Error::Invalid(format!("a manager was refused: {}", status.name())),
    })?;
    let mut solo = Solo::new(identity.clone());
    solo.set_manager(&manager);
    let pool = family.supervisor.next_pool();
    let mut core = Core::new(pool, family, terms, None, None);
    core.set_owner(Some(owner));
    let call = Call {
        door: door.bytes(),
        settings,
    };
    core.be(solo, MANAGER, (encode(&call), References::default()))?;
    let process = Arc::new(Shared::new(pool, Arc::clone(family), core, Vec::new()));
    family.supervisor.add_pool(&process);
    // Kept until it has ended.
    family.supervisor.keep(&process);
    Ok(Founding {
        manager,
        process,
        identity,
    })
}

fn not_made(source: std::io::Error) -> Error {
    Error::Start {
        what: "make the door of a manager",
        source,
    }
}

impl Core {
    /// Starts a manager for a worker, and lets it in.
    pub(super) fn new_manager(
        &mut self,
        at: usize,
        max_bytes: u64,
        call_timeout: u64,
    ) -> std::result::Result<(Answer, Vec<OwnedFd>), Status> {
        if !self.family.source.has_processes() || self.family.is_over() {
            return Err(Status::ProcessLimit);
        }
        let claim = Processes::claim(&self.family, 1).ok_or(Status::ProcessLimit)?;
        let charge = self.family.scope.charge_for_manager()?;
        let settings = Settings {
            max_bytes: if max_bytes == 0 { DEFAULT_MAX_BYTES } else { max_bytes },
            call_timeout: match call_timeout {
                0 => DEFAULT_CALL_TIMEOUT,
                nanoseconds => Duration::from_nanos(nanoseconds),
            },
            has_module: true,
            cpus: u32::try_from(available_cpus()).unwrap_or(u32::MAX),
        };
        let terms = self.terms_for(Wanted::process(StartMethod::Forkserver));
        let owner = self.owner_at(at);
        let Founding { manager, process, .. } =
            found(&self.family, terms, owner, settings, Some(charge)).map_err(|_| Status::ObjectLimit)?;
        process.act_apart(|core, _| core.claim = Some(claim));
        let (answer, pipe) = self.family.scope.connect(&mut self.slots[at].seat, &manager)?;
        let memory = pipe.and_then(|pipe| {
            use std::os::fd::AsFd;
            pipe.as_fd().try_clone_to_owned().ok()
        });
        Ok((answer, vec![memory.ok_or(Status::ObjectLimit)?]))
    }
}
