//! What a pool has in common with the pools that its guests make.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::Supervisor;
use super::errands::Errands;
use super::source::Source;
use crate::module::Module;
use crate::objects::Scope;
use crate::output::OutputSender;
use crate::shared::References;

/// Processes that the guests of a pool may have started at a time, unless it is told otherwise.
pub(crate) const MAX_PROCESSES_OF_GUESTS: usize = 64;

/// A pool of the host's, and all those that its guests have made.
#[derive(Debug)]
pub(crate) struct Family {
    /// The number of its first pool, if it has come to that.
    pub(super) id: u32,
    pub(crate) supervisor: &'static Supervisor,
    pub(crate) module: Module,
    /// Where all of their workers come from.
    pub(crate) source: Source,
    /// The objects of their workers.
    pub(crate) scope: Scope,
    pub(crate) output: OutputSender,
    pub(crate) errands: Errands,
    /// Workers are numbered throughout: this many have a number.
    numbers: AtomicU32,
    /// Processes that guests have started, and how many they may be.
    processes: AtomicUsize,
    max_processes: usize,
    /// The pool at its head, 0 if there is none.
    head: AtomicU32,
    /// It is being ended: nobody starts anything any more.
    over: AtomicBool,
}

impl Family {
    #[expect(clippy::too_many_arguments, reason = "each is a field")]
    pub(crate) fn new(
        id: u32,
        supervisor: &'static Supervisor,
        module: Module,
        source: Source,
        scope: Scope,
        output: OutputSender,
        errands: Errands,
        max_processes: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            supervisor,
            module,
            source,
            scope,
            output,
            errands,
            numbers: AtomicU32::new(0),
            processes: AtomicUsize::new(0),
            max_processes,
            head: AtomicU32::new(0),
            over: AtomicBool::new(false),
        })
    }

    /// This pool of the host's is the head of the family.
    pub(crate) fn set_head(&self, pool: u32) {
        self.head.store(pool, Ordering::Relaxed);
    }

    /// From now on nobody starts anything, or with `false` everybody may again.
    pub(crate) fn set_over(&self, over: bool) {
        self.over.store(over, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// How many processes guests may have.
    pub(super) fn max_processes(&self) -> usize {
        self.max_processes
    }

    pub(super) fn head(&self) -> u32 {
        self.head.load(Ordering::Relaxed)
    }

    /// The number of a new slot, from 1.
    pub(super) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A task that each instance of a pool's workers runs before any other, as it is passed on to them.
#[derive(Debug)]
pub(crate) struct Preparation {
    pub(crate) memory: OwnedFd,
    pub(crate) len: u64,
    /// What its arguments refer to: it lives as long as workers may be started.
    pub(crate) references: References,
}

impl Drop for Preparation {
    fn drop(&mut self) {
        std::mem::take(&mut self.references).retract();
    }
}

/// The processes of a pool that a guest has made, as they count against what its family may have.
#[derive(Debug)]
pub(super) struct Processes {
    family: Arc<Family>,
    count: usize,
}

impl Processes {
    /// Counts so many. `None` if they are too many.
    pub(super) fn claim(family: &Arc<Family>, count: usize) -> Option<Self> {
        let mut processes = Self {
            family: Arc::clone(family),
            count: 0,
        };
        processes.resize(count).then_some(processes)
    }

    /// Counts so many from now on. False: they are too many, and the count is as it was.
    pub(super) fn resize(&mut self, count: usize) -> bool {
        let fits = |others: usize| {
            let sum = others - self.count + count;
            (count <= self.count || sum <= self.family.max_processes).then_some(sum)
        };
        let all = &self.family.processes;
        let claimed = all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if claimed {
            self.count = count;
        }
        claimed
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.family.processes.fetch_sub(self.count, Ordering::Relaxed);
    }
}
