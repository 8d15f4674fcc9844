//! What a worker owns beside its objects: pools, processes and managers that its guest has asked for.
//!
//! Each is a pool like any other, in a [`Shared`] and a [`Core`] of its own. This is the side of the pool whose worker is the
//! owner; how owner and owned speak with each other is [`customer`](super::customer)'s.

use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use wasmp_abi::Status;
use wasmp_manager::protocol::MAX_MESSAGE as MAX_ANSWER;

use super::Shared;
use super::core::{Core, State, Terms};
use super::customer::Customer;
use super::family::Processes;
use super::size::Size;
use super::slot::{Limits, Slot};
use super::solo::{Owner, Solo, prepare_spawn};
use crate::identity::{Identity, StartMethod};
use crate::objects::message::{Answer, MAX_NAME, NewPool, NewProcess, PoolRequest};
use crate::outcome::End;
use crate::spec::available_cpus;

/// Pools that one worker may have, those included that are over and were not given back; and so many processes beyond those
/// that it may have, as some may have ended without its having looked.
const MAX_POOLS: usize = 64;

/// Processes of one worker's that have ended and can still be asked about.
const MAX_ENDED: usize = 1024;

/// What a guest asks for, where its pool has a say in the rest.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) workers: usize,
    /// After how many a worker is replaced.
    pub(super) tasks: u64,
    /// How long a worker may take to prepare.
    pub(super) patience: Option<Duration>,
    pub(super) method: StartMethod,
}

impl Wanted {
    /// One process.
    pub(super) fn process(method: StartMethod) -> Self {
        Self {
            workers: 1,
            tasks: u64::MAX,
            patience: None,
            method,
        }
    }
}

impl Core {
    /// Answers what a worker asks about pools of its own.
    pub(super) fn serve_pool(&mut self, at: usize, request: &PoolRequest) -> Option<(Answer, Vec<OwnedFd>)> {
        let served = match *request {
            PoolRequest::New(ref wanted) => self.new_pool(at, wanted),
            PoolRequest::Resize { pool, processes } => self.resize_pool(at, pool, processes),
            PoolRequest::Start(ref wanted) => self.new_process(at, wanted),
            PoolRequest::Manager {
                max_bytes,
                call_timeout,
            } => self.new_manager(at, max_bytes, call_timeout),
            PoolRequest::Sentinel { pool } => self.sentinel(at, pool),
            PoolRequest::Drop { pool } => {
                self.slots[at].ended.retain(|(id, _)| *id != pool);
                self.drop_pools(at, |dropped| dropped.id == pool);
                return None;
            }
        };
        Some(served.unwrap_or_else(|status| (Answer::Refused { status: status as u8 }, Vec::new())))
    }

    fn new_pool(&mut self, at: usize, wanted: &NewPool) -> Result<(Answer, Vec<OwnedFd>), Status> {
        let max = match wanted.processes {
            0 => available_cpus(),
            processes => processes as usize,
        };
        let pools = self.slots[at].pools.iter().filter(|pool| !pool.is_process());
        if pools.count() >= MAX_POOLS {
            return Err(Status::ObjectLimit);
        }
        let claim = Processes::claim(&self.family, max).ok_or(Status::ProcessLimit)?;
        let terms = self.terms_for(Wanted {
            workers: max,
            tasks: NonZeroU32::new(wanted.max_tasks).map_or(u64::MAX, |tasks| tasks.get().into()),
            patience: (wanted.patience > 0).then(|| Duration::from_nanos(wanted.patience)),
            method: wanted.method,
        });
        let owner = Owner {
            log: wanted.log,
            ..self.owner_at(at)
        };
        let (pool, memory) = self.adopt(at, owner, claim, terms, None)?;
        Ok((Answer::Pool { pool }, vec![memory]))
    }

    fn new_process(&mut self, at: usize, wanted: &NewProcess) -> Result<(Answer, Vec<OwnedFd>), Status> {
        // `Unsupported` would be about forking.
        if !self.family.source.has_processes() {
            return Err(Status::ProcessLimit);
        }
        let own = self.identity(at);
        // Counted also if it comes to nothing: a number is never used twice.
        let owner = self.owner_at(at);
        let lineage = owner.next_lineage();
        let name = match &wanted.name {
            None => format!("Process-{lineage}"),
            Some(name) if name.len() <= MAX_NAME => name.clone(),
            Some(_) => return Err(Status::Invalid),
        };
        // A chain of processes has to end somewhere, and its numbers have to fit into messages.
        let processes = self.slots[at].pools.iter().filter(|pool| pool.is_process()).count();
        if lineage.len() > MAX_NAME || processes >= self.family.max_processes() + MAX_POOLS {
            return Err(Status::ProcessLimit);
        }
        let identity = Identity {
            name: name.clone(),
            lineage,
            // As in CPython, but what a worker of a pool starts is no daemon because it is one.
            daemon: wanted.daemon.unwrap_or(own.daemon && own.once),
            parent: Some((owner.name.clone(), owner.pid)),
            method: wanted.method.unwrap_or(own.method),
            once: true,
            log: wanted.log,
        };
        let daemon = identity.daemon;
        let claim = Processes::claim(&self.family, 1).ok_or(Status::ProcessLimit)?;
        let terms = self.terms_for(Wanted::process(identity.method));
        let mut solo = Solo::new(identity);
        let copy = wanted
            .snapshot
            .map(|bytes| solo.set_snapshot(bytes, self.insight.max_memory))
            .transpose()?;
        let (pool, memory) = self.adopt(at, owner, claim, terms, Some(solo))?;
        let memories = std::iter::once(memory).chain(copy).collect();
        Ok((Answer::Process { pool, name, daemon }, memories))
    }

    /// On which terms that runs.
    pub(super) fn terms_for(&self, wanted: Wanted) -> Terms {
        // A manager keeps the results of its pools, and none that its clients cannot be given.
        let serves = self.solo.as_ref().is_some_and(Solo::is_manager);
        let most = if serves { MAX_ANSWER } else { usize::MAX };
        Terms {
            size: Size {
                min: wanted.workers,
                max: wanted.workers,
                idle: None,
            },
            limits: Limits {
                result: self.limits.result.min(most),
                tasks: wanted.tasks,
                soft_timeout: self.limits.soft_timeout,
            },
            method: wanted.method,
            patience: wanted.patience,
            insight: self.insight.clone(),
        }
    }

    /// A pool, or a process, that this worker owns from now on.
    fn adopt(
        &mut self,
        at: usize,
        owner: Owner,
        claim: Processes,
        terms: Terms,
        solo: Option<Solo>,
    ) -> Result<(u32, OwnedFd), Status> {
        let (customer, memory) = Customer::new().map_err(|_| Status::ObjectLimit)?;
        let id = self.supervisor.next_pool();
        let mut core = Core::of_guest(id, &self.family, terms, owner, customer);
        core.claim = Some(claim);
        core.solo = solo;
        core.home = self.solo.as_ref().map(Solo::manager).unwrap_or_default();
        let mut ancestors = vec![self.pool];
        ancestors.extend(
            self.supervisor
                .pool(self.pool)
                .iter()
                .flat_map(|own| own.ancestors.iter()),
        );
        let shared = Arc::new(Shared::new(id, Arc::clone(&self.family), core, ancestors));
        self.supervisor.add_pool(&shared);
        if self.family.is_over() {
            shared.act_apart(|core, _| core.end(&End::Terminated));
        }
        self.slots[at].pools.push(shared);
        Ok((id, memory))
    }

    /// What ends with a process of this worker's, or with the number 0 its own owner.
    fn sentinel(&self, at: usize, pool: u32) -> Result<(Answer, Vec<OwnedFd>), Status> {
        let life = match pool {
            0 => self.owner.as_ref().and_then(|owner| owner.life.clone()),
            pool => {
                let slot = &self.slots[at];
                let ended = slot.ended.iter().find(|(id, _)| *id == pool);
                let shared = slot.pools.iter().find(|shared| shared.id == pool);
                let running =
                    || shared.and_then(|shared| shared.read(|core| core.solo().map(|solo| Arc::clone(&solo.life))));
                ended.map(|(_, life)| Arc::clone(life)).or_else(running)
            }
        };
        let token = life.ok_or(Status::NotFound)?.sentinel_token(self.pool);
        let token = token.ok_or(Status::ObjectLimit)?.bytes();
        Ok((Answer::Sentinel { token }, Vec::new()))
    }

    fn resize_pool(&mut self, at: usize, pool: u32, processes: u32) -> Result<(Answer, Vec<OwnedFd>), Status> {
        let pool = self.slots[at].pools.iter().find(|shared| shared.id == pool);
        let pool = pool.ok_or(Status::NotFound)?;
        let max = processes as usize;
        if max == 0 {
            return Err(Status::Invalid);
        }
        let resized = pool.act(|core, _| {
            let resized = core.solo.is_none() && core.claim.as_mut().is_some_and(|claim| claim.resize(max));
            if resized {
                core.size.min = max;
                core.resize(max);
            }
            resized
        });
        if resized {
            Ok((Answer::Done, Vec::new()))
        } else {
            Err(Status::ProcessLimit)
        }
    }

    /// Ends those pools of a worker that it has no use for any more.
    pub(super) fn drop_pools(&mut self, at: usize, unwanted: impl Fn(&Shared) -> bool) {
        for pool in self.slots[at].pools.extract_if(.., |pool| unwanted(pool)) {
            let goes_on = pool.act(|core, _| match core.solo() {
                Some(_) => core.is_left_alone(),
                None => {
                    core.end(&End::Terminated);
                    false
                }
            });
            if goes_on {
                self.supervisor.adopt(&pool);
            } else {
                self.ending.push(pool);
            }
        }
    }

    /// When the head of a family is over, so are the processes that have outlived who started them.
    pub(super) fn attend_orphans(&mut self) {
        let over = match self.state {
            State::Running => false,
            State::Closing => self.jobs.is_empty() && !self.slots.iter().any(Slot::is_present),
            State::Over(_) => true,
        };
        if over && self.family.head() == self.pool {
            self.family.set_over(true);
            for orphan in self.supervisor.orphans_of(&self.family, self.pool) {
                orphan.act(|core, _| core.end(&End::Terminated));
                // One without a process will never be heard of again.
                if !orphan.is_gone() {
                    self.ending.push(orphan);
                }
            }
        }
    }

    /// Has the pools of all workers take a turn. An owner that has broken the protocol pays for it.
    pub(super) fn attend_pools(&mut self) {
        for at in 0..self.slots.len() {
            let mut grudge = None;
            let Slot { pools, ended, .. } = &mut self.slots[at];
            pools.retain(|pool| {
                grudge = pool.act_apart(|core, _| core.grudge.take()).or(grudge.take());
                // By what it has been ordered just now.
                if pool.lock().has_to_spawn() {
                    prepare_spawn(pool);
                }
                // Of a process that has ended, and whose owner knows how, nothing is left to be asked but for its sentinel.
                let life = pool.read(Core::life_behind);
                if let Some(life) = life {
                    ended.push_back((pool.id, life));
                    if ended.len() > MAX_ENDED {
                        ended.pop_front();
                    }
                    return false;
                }
                true
            });
            if let Some(violation) = grudge {
                self.punish(at, violation);
            }
        }
        self.ending.retain(|pool| !pool.is_gone());
    }
}
