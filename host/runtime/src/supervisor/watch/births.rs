//! What keepers and zygotes tell the supervisor: which workers were born, and how they ended.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::{Supervisor, Watched, lock};
use crate::error::Result;
use crate::outcome::End;
use crate::process::control::Channel;
use crate::process::launcher::Keeper;
use crate::process::message::{FromKeeper, FromZygote, Status, decode};
use crate::supervisor::body::Body;
use crate::supervisor::nursery::{Spare, Zygote};

/// Who is at the other end of a control socket.
#[derive(Clone, Debug)]
pub(super) enum Correspondent {
    Keeper(Arc<Keeper>),
    /// One that spawned a single process, and lives as long as that.
    Spawner(Weak<Keeper>),
    /// Lives as long as its nursery.
    Zygote(Weak<Zygote>),
}

/// Where a worker lives.
#[derive(Clone, Copy, Debug)]
struct Place {
    pool: u32,
    slot: usize,
}

/// Who is who among the workers.
#[derive(Debug, Default)]
pub(super) struct Births {
    places: HashMap<u64, Place>,
    by_pid: HashMap<u32, u64>,
}

impl Supervisor {
    /// Waits until a keeper has said that it is one, and watches over it from then on.
    pub(crate) fn meet(&self, keeper: &Arc<Keeper>) -> Result<()> {
        keeper.meet(|| {
            let id = self.next_control.fetch_add(1, Ordering::Relaxed);
            lock(&self.correspondents).insert(id, Correspondent::Keeper(Arc::clone(keeper)));
            self.watch(keeper.control(), Watched::Control { id })
        })
    }

    /// The same for a keeper that lives as long as anybody has it.
    pub(in crate::supervisor) fn meet_spawner(&self, keeper: &Arc<Keeper>) -> Result<()> {
        keeper.meet(|| {
            let id = self.next_control.fetch_add(1, Ordering::Relaxed);
            let mut correspondents = lock(&self.correspondents);
            correspondents
                .retain(|_, other| !matches!(other, Correspondent::Spawner(keeper) if keeper.strong_count() == 0));
            correspondents.insert(id, Correspondent::Spawner(Arc::downgrade(keeper)));
            drop(correspondents);
            self.watch(keeper.control(), Watched::Control { id })
        })
    }

    pub(in crate::supervisor) fn watch_zygote(&self, zygote: &Arc<Zygote>) -> io::Result<()> {
        let id = self.next_control.fetch_add(1, Ordering::Relaxed);
        let mut correspondents = lock(&self.correspondents);
        // One that was dropped with its nursery is not heard of again.
        correspondents.retain(|_, other| !matches!(other, Correspondent::Zygote(zygote) if zygote.strong_count() == 0));
        correspondents.insert(id, Correspondent::Zygote(Arc::downgrade(zygote)));
        drop(correspondents);
        self.watch(zygote.control(), Watched::Control { id })
    }

    pub(in crate::supervisor) fn expect_birth(&self, birth: u64, pool: u32, slot: usize) {
        lock(&self.births).places.insert(birth, Place { pool, slot });
    }

    /// Hands an order to the process that is to be this worker, and knows it by then if that has worked. That it has ended is
    /// heard of after that, or has been: then nobody is there to take the order.
    pub(in crate::supervisor) fn hand(
        &self,
        birth: u64,
        pid: u32,
        send: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut births = lock(&self.births);
        send()?;
        births.by_pid.insert(pid, birth);
        Ok(())
    }

    /// A worker that is dead, and of which nobody asks how it ended.
    pub(in crate::supervisor) fn forget_death(&self, birth: u64, pid: u32) {
        let mut births = lock(&self.births);
        births.places.remove(&birth);
        if births.by_pid.get(&pid) == Some(&birth) {
            births.by_pid.remove(&pid);
        }
    }

    /// A worker that will never come, or whose end is known.
    pub(in crate::supervisor) fn forget_birth(&self, birth: u64) {
        lock(&self.births).places.remove(&birth);
    }

    /// Reads what a keeper or a zygote has to say.
    pub(super) fn correspond(&self, id: u32, buffer: &mut [u8]) {
        let correspondent = lock(&self.correspondents).get(&id).cloned();
        match correspondent {
            Some(Correspondent::Spawner(keeper)) => {
                let Some(keeper) = keeper.upgrade() else {
                    lock(&self.correspondents).remove(&id);
                    return;
                };
                self.read_all(id, keeper.control(), buffer, |message, _| self.hear_keeper(message));
                if !self.is_watched(id) {
                    self.on_keeper_gone(&keeper);
                }
            }
            Some(Correspondent::Keeper(keeper)) => {
                self.read_all(id, keeper.control(), buffer, |message, _| self.hear_keeper(message));
                if !self.is_watched(id) {
                    self.on_keeper_gone(&keeper);
                }
            }
            Some(Correspondent::Zygote(zygote)) => {
                let Some(zygote) = zygote.upgrade() else {
                    lock(&self.correspondents).remove(&id);
                    return;
                };
                self.read_all(id, zygote.control(), buffer, |message, fds| {
                    self.hear_zygote(&zygote, message, fds)
                });
                if !self.is_watched(id) {
                    let why = zygote.set_gone();
                    tracing::warn!(why, "a zygote is lost");
                    for birth in zygote.unanswered() {
                        self.on_not_forked(birth, &why);
                    }
                }
            }
            None => {}
        }
    }

    /// Reads every message that is there. When the socket is closed, or speaks in tongues, it is watched no more.
    fn read_all(
        &self,
        id: u32,
        control: &Channel,
        buffer: &mut [u8],
        mut hear: impl FnMut(&[u8], Vec<OwnedFd>) -> io::Result<()>,
    ) {
        loop {
            let heard = match control.try_recv(buffer) {
                Ok(Some((len, fds))) => hear(&buffer[..len], fds),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(error),
            };
            if heard.is_err() {
                lock(&self.correspondents).remove(&id);
                return;
            }
        }
    }

    fn is_watched(&self, id: u32) -> bool {
        lock(&self.correspondents).contains_key(&id)
    }

    fn hear_keeper(&self, message: &[u8]) -> io::Result<()> {
        match decode(message)? {
            FromKeeper::Exited { pid, status } => self.on_exited(pid, status),
            FromKeeper::Failed { why } => tracing::warn!(why, "the keeper could not start a process"),
            FromKeeper::Hello { .. } => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(())
    }

    fn hear_zygote(&self, zygote: &Zygote, message: &[u8], fds: Vec<OwnedFd>) -> io::Result<()> {
        match decode(message)? {
            FromZygote::Ready => zygote.set_ready(),
            FromZygote::Unusable { why } => zygote.set_unusable(why),
            FromZygote::Forked { birth, pid } => {
                zygote.answered(birth);
                self.on_forked(birth, pid, fds);
            }
            FromZygote::NotForked { birth, why } => {
                zygote.answered(birth);
                self.on_not_forked(birth, &why);
            }
            FromZygote::StandsBy { pid } => {
                let [pidfd, channel] = <[OwnedFd; 2]>::try_from(fds).map_err(|_| io::ErrorKind::InvalidData)?;
                let channel = channel.into();
                zygote.stands_by(Spare { pid, pidfd, channel });
            }
            FromZygote::Exited { pid, status } => {
                zygote.ended(pid);
                self.on_exited(pid, status);
            }
        }
        Ok(())
    }

    fn on_forked(&self, birth: u64, pid: u32, fds: Vec<OwnedFd>) {
        let Some(pidfd) = fds.into_iter().next() else { return };
        let mut births = lock(&self.births);
        if births.places.contains_key(&birth) {
            births.by_pid.insert(pid, birth);
        }
        drop(births);
        self.on_born(birth, pid, Body::Process(pidfd));
    }

    /// A worker runs. One that nobody expects ends as its body is dropped.
    pub(in crate::supervisor) fn on_born(&self, birth: u64, pid: u32, body: Body) {
        let place = lock(&self.births).places.get(&birth).copied();
        if let Some(place) = place
            && let Some(pool) = self.pool(place.pool)
        {
            pool.act(|core, _| core.on_forked(place.slot, birth, pid, body));
        }
    }

    /// A worker will not come, for this reason.
    pub(in crate::supervisor) fn on_not_forked(&self, birth: u64, why: &str) {
        let place = lock(&self.births).places.remove(&birth);
        if let Some(place) = place
            && let Some(pool) = self.pool(place.pool)
        {
            pool.act(|core, now| core.on_not_forked(place.slot, birth, why, now));
            self.nudge_ancestors(&pool);
        }
    }

    fn on_exited(&self, pid: u32, status: Status) {
        let birth = lock(&self.births).by_pid.remove(&pid);
        if let Some(birth) = birth {
            self.on_ended(birth, status);
        }
    }

    /// It is known how a worker has ended.
    pub(in crate::supervisor) fn on_ended(&self, birth: u64, status: Status) {
        let place = lock(&self.births).places.remove(&birth);
        if let Some(place) = place
            && let Some(pool) = self.pool(place.pool)
        {
            pool.act(|core, now| core.on_status(birth, status, now));
            // It may be what was left to be known of a process.
            self.nudge_ancestors(&pool);
        }
    }

    /// Without its keeper a pool cannot replace a worker, nor learn how one ended: that is its end.
    fn on_keeper_gone(&self, keeper: &Arc<Keeper>) {
        let how = keeper.bury();
        tracing::error!(how, "a keeper is lost");
        for pool in self.all_pools() {
            pool.act(|core, _| {
                if core.source().is_of(keeper) {
                    core.end(&End::Broken(format!(
                        "the keeper process, which starts its workers, ended ({how})"
                    )));
                }
            });
        }
    }
}
