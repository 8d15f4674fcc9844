//! A process of its own, as Python's `Process` is one: a pool of one worker that is started once, runs one call, and is over
//! with it, and of which it is known how it ended.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;
use rustix::process::Signal;
use wasmp_abi::Status;
use wasmp_ipc::{original, seal};

use super::Shared;
use super::core::{Core, State};
use super::customer::Customer;
use super::job::{Block, ChunkRule, Job, Sink, Terms};
use super::sentinel::Life;
use super::slot::{Cause, Process};
use super::source::Source;
use crate::error::{Error, Result};
use crate::identity::{Identity, StartMethod};
use crate::objects::{Entry, Object};
use crate::outcome::End;
use crate::process::message::Status as Ended;
use crate::retry::Retry;
use crate::shared::References;
use crate::wire::ITEM_PREFIX;

/// Most bytes of what there is to know about a guest beside its memory, for one that is to be a copy of it.
const MAX_BESIDE: u64 = 64 << 20;

/// How long it may take until it is known how a dead process ended.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// Who started a pool or a process.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) name: String,
    pub(crate) lineage: String,
    pub(crate) pid: u32,
    /// How the workers log of a pool that it makes.
    pub(crate) log: u32,
    /// How many processes it has started.
    pub(crate) children: Arc<AtomicU32>,
    /// `None`: the host, which outlives everyone.
    pub(crate) life: Option<Arc<Life>>,
}

impl Owner {
    /// This process.
    pub(crate) fn host() -> Self {
        static CHILDREN: LazyLock<Arc<AtomicU32>> = LazyLock::new(Arc::default);
        Self {
            name: "MainProcess".to_owned(),
            lineage: String::new(),
            pid: std::process::id(),
            log: 0,
            children: Arc::clone(&CHILDREN),
            life: None,
        }
    }

    /// Numbers a child that it is about to have (CPython: `_identity`).
    pub(crate) fn next_lineage(&self) -> String {
        let number = self.children.fetch_add(1, Ordering::Relaxed) + 1;
        match self.lineage.as_str() {
            "" => number.to_string(),
            lineage => format!("{lineage}:{number}"),
        }
    }
}

/// What a pool is beside a pool, if it is a process.
#[derive(Debug)]
pub(crate) struct Solo {
    pub(super) identity: Identity,
    pub(super) life: Arc<Life>,
    /// It has been given its call.
    pub(super) called: bool,
    /// Its process id, once it has been started.
    pub(super) pid: Option<u32>,
    /// Where it comes from, if from nowhere else.
    source: Option<Source>,
    /// What it is a copy of, until it has been started and called: memory that its parent writes, and how many bytes of it.
    pub(super) snapshot: Option<(OwnedFd, u64)>,
    /// Its number among all workers, once it is dead, and when to stop waiting for how.
    died: Option<(u64, Instant)>,
    /// With which code it was about to exit.
    said: Option<i32>,
    /// What it was killed for, as Python counts. SIGTERM is sent as SIGKILL: no guest can do anything about the one, and one
    /// that has escaped could.
    sentence: Option<i32>,
    /// What it comes from is being made.
    pub(super) spawning: bool,
    /// That was begun.
    pub(super) spawn_asked: bool,
    /// How it ended, as Python counts: an exit code, or the number of a signal below zero.
    exit: Option<i32>,
    /// Of which manager it is the server.
    manager: Option<Serving>,
}

/// The manager that a process serves. When there is nobody left to see the process end, it has ended.
#[derive(Debug)]
struct Serving(Weak<Entry>);

impl Serving {
    /// Its clients are told, and those who come later.
    fn end(&self) {
        if let Some(manager) = self.0.upgrade()
            && let Object::Manager(reception) = manager.object()
        {
            reception.close();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

impl Solo {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            life: Arc::default(),
            called: false,
            pid: None,
            source: None,
            snapshot: None,
            died: None,
            said: None,
            sentence: None,
            spawning: false,
            spawn_asked: false,
            exit: None,
            manager: None,
        }
    }

    /// It is the server of this manager.
    pub(super) fn set_manager(&mut self, manager: &Arc<Entry>) {
        self.manager = Some(Serving(Arc::downgrade(manager)));
    }

    /// The manager of which it is the server, if it is one.
    pub(super) fn manager(&self) -> Weak<Entry> {
        self.manager
            .as_ref()
            .map(|Serving(manager)| Weak::clone(manager))
            .unwrap_or_default()
    }

    pub(super) fn is_manager(&self) -> bool {
        self.manager.is_some()
    }

    /// It will be a copy of a guest, which takes so many bytes, and may have so much memory. Returns where to write it.
    pub(super) fn set_snapshot(&mut self, bytes: u64, max_memory: u64) -> std::result::Result<OwnedFd, Status> {
        let most = max_memory.saturating_add(MAX_BESIDE);
        let len = usize::try_from(bytes).ok().filter(|_| bytes <= most);
        let memory = original("wasmp-copy", len.ok_or(Status::Invalid)?).map_err(|_| Status::ByteLimit)?;
        let theirs = memory.try_clone().map_err(|_| Status::ObjectLimit)?;
        self.snapshot = Some((memory, bytes));
        Ok(theirs)
    }

    /// What it is a copy of has been written, since it is called: nobody changes that any more. Takes some 5 µs for each MiB.
    /// What cannot be sealed (a parent may keep it mapped, and so may the system) the child does not rely on.
    pub(super) fn seal_snapshot(&mut self) {
        if let Some((memory, _)) = &self.snapshot {
            if let Err(error) = seal(memory.as_fd()) {
                tracing::debug!(%error, "a copy cannot be sealed");
            }
            self.release_snapshot();
        }
    }

    pub(super) fn release_snapshot(&mut self) {
        if self.called && self.pid.is_some() {
            self.snapshot = None;
        }
    }

    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// Whether it can be started: it was not before, it has its call, or what it is to be a copy of is being written, and there is
    /// somebody to start it.
    pub(super) fn is_due(&self) -> bool {
        let has_origin = self.identity.method != StartMethod::Spawn || self.source.is_some();
        (self.called || self.snapshot.is_some()) && self.died.is_none() && has_origin
    }

    pub(crate) fn exit(&self) -> Option<i32> {
        self.exit
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Until when its end may be unknown.
    pub(super) fn timer(&self) -> Option<Instant> {
        self.died.filter(|_| self.exit.is_none()).map(|(_, until)| until)
    }
}

impl Core {
    /// The process that this is, if it is one.
    pub(crate) fn solo(&self) -> Option<&Solo> {
        self.solo.as_ref()
    }

    /// Where workers come from.
    pub(super) fn source(&self) -> &Source {
        let own = self.solo.as_ref().and_then(|solo| solo.source.as_ref());
        own.unwrap_or(&self.family.source)
    }

    /// This is a process of the host's, which calls this task.
    pub(crate) fn be(&mut self, mut solo: Solo, task: u32, (args, references): (Vec<u8>, References)) -> Result<()> {
        let mut item = Vec::with_capacity(ITEM_PREFIX + args.len());
        let len = u32::try_from(args.len()).map_err(|_| Error::Encode("they take more than 4 GiB".into()))?;
        item.extend_from_slice(&len.to_le_bytes());
        item.extend_from_slice(&args);
        let mut block = Block::of(0, 1, item).expect("one item, as it was laid out above");
        block.refer_to(references);
        solo.called = true;
        solo.spawning = solo.identity.method == StartMethod::Spawn;
        self.solo = Some(solo);
        let terms = Terms {
            task,
            chunk: ChunkRule::Exact(1),
            timeout: None,
            retry: Retry::default(),
        };
        // Nobody listens: what counts is how the process ends.
        let (sender, _) = unbounded();
        let sink = Sink::Many(Box::new(sender));
        if let Ok(key) = self.open_job(Job::new(Arc::new(terms), sink, None)) {
            self.submit(key, block);
            self.seal_job(key);
        }
        Ok(())
    }

    /// Who made it, if it was not the host.
    pub(crate) fn set_owner(&mut self, owner: Option<Owner>) {
        self.owner = owner;
    }

    /// Why this is over.
    pub(crate) fn why_over(&self) -> Error {
        match &self.state {
            State::Over(end) => end.clone().into(),
            State::Running | State::Closing => Error::NotRunning,
        }
    }

    /// What a worker here is told about itself. It is known from when it is ordered.
    pub(super) fn identity(&mut self, at: usize) -> Identity {
        if let Some(solo) = &self.solo {
            return solo.identity.clone();
        }
        let owner = &self.owner;
        let identity = self.slots[at].identity.get_or_insert_with(|| {
            let lineage = owner.as_ref().map_or_else(String::new, Owner::next_lineage);
            Identity {
                name: format!("PoolWorker-{lineage}"),
                lineage,
                daemon: true,
                parent: owner.as_ref().map(|owner| (owner.name.clone(), owner.pid)),
                method: self.method,
                once: false,
                log: owner.as_ref().map_or(0, |owner| owner.log),
            }
        });
        identity.clone()
    }

    /// This worker, as the owner of what it starts.
    pub(super) fn owner_at(&mut self, at: usize) -> Owner {
        let Identity { name, lineage, log, .. } = self.identity(at);
        let slot = &self.slots[at];
        Owner {
            name,
            lineage,
            pid: slot.pid(),
            log,
            children: Arc::clone(&slot.children),
            life: Some(Arc::clone(self.solo.as_ref().map_or(&slot.life, |solo| &solo.life))),
        }
    }

    /// The worker of a process has ended: no other will take its place. What it has said last of how need not be heard from
    /// anybody else.
    pub(super) fn solo_died(&mut self, birth: u64, exit: Option<i32>, now: Instant) {
        if let Some(solo) = &mut self.solo {
            solo.died = Some((birth, now + STATUS_TIMEOUT));
            solo.said = exit;
        }
    }

    /// When it is known how a process ended, or nobody can tell, that was it.
    pub(super) fn settle_solo(&mut self, now: Instant) {
        let Some(solo) = &mut self.solo else { return };
        let Some((birth, until)) = solo.died.filter(|_| solo.exit.is_none()) else {
            return;
        };
        solo.exit = match (self.statuses.remove(&birth), solo.sentence) {
            (Some(Ended::Exited(code)), _) => Some(code),
            (Some(Ended::Signaled(libc::SIGKILL)), Some(sentence)) => Some(sentence),
            (Some(Ended::Signaled(signal)), _) => Some(-signal),
            (None, None) if solo.said.is_some() => {
                self.supervisor.forget_death(birth, solo.pid.unwrap_or_default());
                solo.said
            }
            (None, sentence) if until <= now => Some(sentence.unwrap_or(-libc::SIGKILL)),
            (None, _) => return,
        };
        solo.source = None;
        self.end(&End::Terminated);
    }

    /// Has those hear of the end of a process who wait for that alone: not before its owner can know how it ended.
    pub(super) fn end_life(&self) {
        if self.is_gone()
            && let Some(serving) = self.solo.as_ref().and_then(|solo| solo.manager.as_ref())
        {
            serving.end();
        }
        let known = |solo: &&Solo| solo.exit.is_some() && self.is_gone();
        if let Some(solo) = self.solo.as_ref().filter(known)
            && self.customer.as_ref().is_none_or(Customer::knows_the_end)
        {
            solo.life.end();
        }
    }

    /// What is left of a process that has ended, when its owner knows how.
    pub(super) fn life_behind(&self) -> Option<Arc<Life>> {
        let solo = self.solo.as_ref().filter(|_| self.is_gone())?;
        let known = self.customer.as_ref().is_some_and(Customer::knows_the_end);
        known.then(|| Arc::clone(&solo.life))
    }

    /// Whether this is a process that somebody wanted to end.
    pub(super) fn is_sentenced(&self) -> bool {
        self.solo.as_ref().is_some_and(|solo| solo.sentence.is_some())
    }

    /// Ends a process as this signal would.
    pub(super) fn sentence(&mut self, signal: Signal) {
        if let Some(solo) = &mut self.solo {
            solo.sentence.get_or_insert(-signal.as_raw());
        }
        self.signal_all(Signal::KILL);
    }

    /// What a process is sent. One that is being started gets it when it is there.
    pub(crate) fn signal_process(&mut self, signal: Signal) {
        match signal {
            Signal::INT => self.signal_all(Signal::INT),
            signal => self.sentence(signal),
        }
    }

    /// Sends SIGINT or SIGKILL to all workers. One that is being started gets it when it is there.
    pub(crate) fn signal_all(&mut self, signal: Signal) {
        for slot in &mut self.slots {
            match &slot.process {
                Process::Running { body, .. } if signal == Signal::INT => body.interrupt(),
                Process::Running { body, .. } => body.kill(),
                Process::Absent { .. } | Process::Ordered if signal == Signal::INT => slot.interrupted = true,
                Process::Ordered => slot.cause = Some(Cause::Dismissed),
                Process::Absent { .. } | Process::Released { .. } => {}
            }
        }
    }

    /// The process loses its owner. One that was not called never will be, a daemon ends, any other goes on. Returns whether
    /// it does.
    pub(super) fn is_left_alone(&mut self) -> bool {
        // One that is a copy of its owner can have started before the call was read. Of any other that is there it was.
        if self
            .solo
            .as_ref()
            .is_some_and(|solo| solo.pid.is_some() && !solo.called)
        {
            self.take_orders();
        }
        let Some(solo) = &self.solo else { return false };
        let runs = matches!(self.state, State::Running) && !self.family.is_over();
        let goes_on = runs && solo.called && !solo.identity.daemon;
        let is_there = self.slots.iter().any(|slot| slot.pid() != 0);
        if goes_on {
            self.customer = None;
        } else if is_there {
            self.sentence(Signal::TERM);
        } else {
            self.end(&End::Terminated);
        }
        goes_on
    }
}

/// Starts what a spawned process comes from, on a thread of its own: it takes an executable that answers. Until that thread
/// is done, the process counts as one.
pub(crate) fn prepare_spawn(process: &Arc<Shared>) {
    let (family, waiting) = (Arc::clone(&process.family), Arc::clone(process));
    let prepare = move || {
        let wanted = waiting.read(Core::is_running);
        let opened = wanted.then(|| family.source.like_it());
        let loading = opened.as_ref().and_then(|opened| opened.as_ref().ok()).cloned();
        waiting.act(|core, _| {
            let runs = core.is_running();
            let Some(solo) = &mut core.solo else { return };
            solo.spawning = false;
            match opened {
                Some(Ok(source)) if runs => solo.source = Some(source),
                Some(Err(error)) => core.end(&End::Broken(error.to_string())),
                Some(Ok(_)) | None => {}
            }
        });
        waiting.supervisor().nudge_ancestors(&waiting);
        family.source.expect_another();
        if let Some(Err(error)) = loading.map(|source| source.wait_until_ready()) {
            waiting.act(|core, _| core.end(&End::Broken(error.to_string())));
            waiting.supervisor().nudge_ancestors(&waiting);
        }
    };
    let started = std::thread::Builder::new().name("wasmp-spawn".into()).spawn(prepare);
    if let Err(error) = started {
        process.act(|core, _| {
            if let Some(solo) = &mut core.solo {
                solo.spawning = false;
            }
            core.end(&End::Broken(format!("no process can be spawned: {error}")));
        });
    }
}
