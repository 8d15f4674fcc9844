//! Waiting, with a lock released, until somebody says that something has changed.
//!
//! # Memory
//!
//! All zero at first:
//!
//! | words | written by | what |
//! | --- | --- | --- |
//! | `tickets` | who begins to wait | how many waits have begun |
//! | `reach` | who begins to wait | cells from here on have never been used; only grows |
//! | `cells[i].state` | see below | a ticket, the slot of who waits, whether it may sleep, whether it was notified; 0 is free |
//! | `cells[i].bell` | who notifies | what the owner of the cell sleeps on: how often it was rung |
//!
//! ```text
//!         claimed              notified                 waited
//!   free ─────────► waiting ────────────► notified ──────────────► free
//!                      └─── the time was up; interrupted; died ─────▲
//! ```
//!
//! A cell belongs to one wait of one party, from before the lock is released until after it is acquired again. Only others
//! notify it, by exchange; only its owner frees it, or [`recover`](Condition::recover) in its place.
//!
//! # What commits
//!
//! * **The exchange that claims a cell begins a wait**: ticket and slot are in it. It comes before the lock is released, and
//!   notifying takes the lock: whoever waits by then is seen.
//! * **The exchange of one cell notifies one party.** The lower the ticket, the earlier. It also replaces the ticket by the
//!   number of tickets there are, so that the cell says when it was notified.
//! * **The exchange that frees a cell ends the wait**, with the lock acquired: it tells whether there was a notification, and
//!   nothing can come in between. One that comes after the time is up still counts.
//!
//! # Sleeping
//!
//! Everyone sleeps on a bell of its own. Who is about to sleep reads the bell, and then marks its state `ASLEEP`, which
//! says whether it was notified before; who notifies and finds the mark, rings: counts the bell up, and wakes.
//! The bell cannot have been rung before it was read and the notification not be seen. So whoever was notified is woken,
//! and nobody else, and nobody waits for the woken. (CPython's `notify` waits until each of them has answered, which one
//! that was killed never does: gh-75158.)
//!
//! # Death
//!
//! One that dies while it waits is no longer there. One that dies with a notification, before it had the lock again,
//! cannot have acted on it: `recover` passes it on to the oldest that waited already when it was made, if there is one.
//! So no notification is lost with the dead, and none comes to who was not there for it.
//!
//! # Trust
//!
//! Whoever maps the words can notify anyone, or lose notifications. Any state is somebody's, or nobody's; one that should
//! be the caller's and is not is `Broken`.

#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Backend, Native, Word};
use crate::lock::{Mutex, ReleaseError};
use crate::memory::Mapping;
use crate::party::{Limit, Party, Slot, WaitError};
use crate::spin::Patience;

/// How many parties can wait at the same time.
const CELLS: usize = 1024;

/// In front of the cells.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header<B: Backend> {
    tickets: B::U64,
    reach: B::U32,
}

/// Where one party waits.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct WaitCell<B: Backend> {
    state: B::U64,
    bell: B::U32,
}

// The state of a cell: 51 bits of ticket (71 years of a million waits a second), 11 bits of slot plus one, two flags.

const FREE: u64 = 0;
const NOTIFIED: u64 = 1;
/// The owner may be asleep.
const ASLEEP: u64 = 2;
const SLOT_SHIFT: u32 = 2;
const TICKET_SHIFT: u32 = 13;

fn waiting(ticket: u64, slot: Slot) -> u64 {
    (ticket << TICKET_SHIFT) | ((slot.number() as u64 + 1) << SLOT_SHIFT)
}

fn notified(state: u64, tickets: u64) -> u64 {
    let below_ticket = state & ((1 << TICKET_SHIFT) - 1);
    (tickets << TICKET_SHIFT) | below_ticket | NOTIFIED
}

fn ticket(state: u64) -> u64 {
    state >> TICKET_SHIFT
}

fn is_of(state: u64, slot: Slot) -> bool {
    waiting(ticket(state), slot) == state & !(NOTIFIED | ASLEEP)
}

fn is_waiting(state: u64) -> bool {
    state != FREE && state & NOTIFIED == 0
}

/// A wait is over, and the lock is the caller's again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// True: it was notified. False: the time was up.
    pub notified: bool,
    /// Meanwhile a holder of the lock has died with it: what the lock guards may be half changed. Told once.
    pub abandoned: bool,
}

/// Why there was nothing to wait for, or to notify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionError {
    /// The lock is not the caller's. CPython: `AssertionError`.
    NotOwner,
    /// This party was told to stop waiting. It has the lock again.
    Interrupted {
        /// As in [`Waited`].
        abandoned: bool,
    },
    /// 1024 parties wait already.
    TooManyWaiters,
    /// The shared memory holds what no honest party writes. The lock may be anyone's.
    Broken,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConditionError::NotOwner => "the lock of a condition is not held by its user",
            ConditionError::Interrupted { .. } => "interrupted",
            ConditionError::TooManyWaiters => "too many wait for a condition",
            ConditionError::Broken => "the object is broken: its memory was overwritten",
        })
    }
}

impl std::error::Error for ConditionError {}

/// A condition between processes. CPython: `multiprocessing.Condition`.
///
/// It goes with a lock, the same one in every call and for everyone: a [`Lock`](crate::Lock) or an
/// [`RLock`](crate::RLock).
pub struct Condition<B: Backend = Native> {
    header: B::Shared<Header<B>>,
    cells: B::Shared<[WaitCell<B>]>,
    patience: Patience,
}

impl Condition {
    /// How many bytes it takes.
    pub const BYTES: usize = size_of::<Header<Native>>() + CELLS * size_of::<WaitCell<Native>>();

    /// A new condition in zeroed memory. By the host, once.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping is smaller than a condition.
    pub fn create(mapping: &Arc<Mapping>) -> io::Result<Condition> {
        Condition::open(mapping)
    }

    /// The condition that somebody has created there.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping is smaller than a condition.
    pub fn open(mapping: &Arc<Mapping>) -> io::Result<Condition> {
        let parts = (mapping.view(0), mapping.array(size_of::<Header<Native>>(), CELLS));
        let (Some(header), Some(cells)) = parts else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no room for a condition"));
        };
        Ok(Condition::over(header, cells))
    }
}

impl<B: Backend> Condition<B> {
    fn over(header: B::Shared<Header<B>>, cells: B::Shared<[WaitCell<B>]>) -> Condition<B> {
        Condition {
            header,
            cells,
            patience: Patience::default(),
        }
    }

    /// Releases the lock, however often the caller has acquired it, waits to be notified, and acquires it as often again:
    /// also when the time is up or the wait was interrupted, and for as long as that takes. CPython: `wait`.
    ///
    /// # Errors
    ///
    /// See [`ConditionError`].
    pub fn wait(&self, party: &Party<B>, lock: &impl Mutex<B>, limit: Limit) -> Result<Waited, ConditionError> {
        if !lock.owned_by(party) {
            return Err(ConditionError::NotOwner);
        }
        let cell = self.begin(party.slot()).ok_or(ConditionError::TooManyWaiters)?;
        let depth = lock.release_all(party).inspect_err(|_| {
            cell.state.swap(FREE, Ordering::Relaxed);
        })?;
        let slept = self.sleep(party, cell, limit);
        let acquired = lock.acquire_again(party, depth);
        let state = cell.state.swap(FREE, Ordering::AcqRel);
        let abandoned = acquired.map_err(|_| ConditionError::Broken)?.abandoned;
        match slept {
            _ if !is_of(state, party.slot()) => Err(ConditionError::Broken),
            _ if !is_waiting(state) => Ok(Waited {
                notified: true,
                abandoned,
            }),
            Err(WaitError::TimedOut) => Ok(Waited {
                notified: false,
                abandoned,
            }),
            Err(WaitError::Interrupted) => Err(ConditionError::Interrupted { abandoned }),
            Ok(()) | Err(WaitError::Broken) => Err(ConditionError::Broken),
        }
    }

    /// Waits until the predicate is true, which is asked with the lock held; what it said last is `notified`. CPython:
    /// `wait_for`.
    ///
    /// # Errors
    ///
    /// See [`ConditionError`].
    pub fn wait_for(
        &self,
        party: &Party<B>,
        lock: &impl Mutex<B>,
        limit: Limit,
        mut predicate: impl FnMut() -> bool,
    ) -> Result<Waited, ConditionError> {
        let mut abandoned = false;
        loop {
            let notified = predicate();
            if notified || limit.is_over() {
                return Ok(Waited { notified, abandoned });
            }
            match self.wait(party, lock, limit) {
                Ok(waited) => abandoned |= waited.abandoned,
                Err(ConditionError::Interrupted { abandoned: now }) => {
                    return Err(ConditionError::Interrupted {
                        abandoned: abandoned | now,
                    });
                }
                Err(why) => return Err(why),
            }
        }
    }

    /// Ends the wait of up to `count` parties, the oldest waits first, and tells how many those were. They go on when they
    /// get the lock; this does not wait for them. CPython: `notify`, and with `usize::MAX` `notify_all`.
    ///
    /// # Errors
    ///
    /// [`ConditionError::NotOwner`].
    pub fn notify(&self, party: &Party<B>, lock: &impl Mutex<B>, count: usize) -> Result<usize, ConditionError> {
        if !lock.owned_by(party) {
            return Err(ConditionError::NotOwner);
        }
        Ok(self.notify_before(self.header.tickets.load(Ordering::Relaxed), count))
    }

    /// How many parties wait and have not been notified. CPython: the number that its `repr` shows.
    pub fn n_waiting(&self) -> usize {
        let states = self.used_cells().map(|cell| cell.state.load(Ordering::Relaxed));
        states.filter(|state| is_waiting(*state)).count()
    }

    /// Frees the cells of a dead process, and passes on the notifications that died with it.
    ///
    /// By the host, when the process is certainly dead; as often as it likes, while others go on. The lock is recovered on
    /// its own.
    pub fn recover(&self, slot: Slot) {
        for cell in self.used_cells() {
            let mut state = cell.state.load(Ordering::Acquire);
            while is_of(state, slot) {
                // Acquire: for the cells of those who have waited longer.
                let freed = cell
                    .state
                    .compare_exchange(state, FREE, Ordering::AcqRel, Ordering::Acquire);
                if let Err(now) = freed {
                    state = now;
                    continue;
                }
                if state & NOTIFIED != 0 {
                    self.notify_before(ticket(state), 1);
                }
                break;
            }
        }
        // Whom the dead one has notified and not woken.
        for cell in self.used_cells() {
            if cell.state.load(Ordering::Relaxed) & NOTIFIED != 0 {
                self.ring(cell);
            }
        }
    }

    /// Claims a cell.
    fn begin(&self, slot: Slot) -> Option<&WaitCell<B>> {
        let ticket = self.header.tickets.fetch_add(1, Ordering::Relaxed);
        let mine = waiting(ticket, slot);
        let claim = |(index, cell): &(usize, &WaitCell<B>)| {
            if cell.state.load(Ordering::Relaxed) != FREE {
                return false;
            }
            self.reach_past(*index as u32);
            cell.state
                .compare_exchange(FREE, mine, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        };
        self.cells.iter().enumerate().find(claim).map(|(_, cell)| cell)
    }

    /// A cell is going to be used.
    fn reach_past(&self, index: u32) {
        let mut reach = self.header.reach.load(Ordering::Relaxed);
        while reach <= index {
            let raised = self
                .header
                .reach
                .compare_exchange(reach, index + 1, Ordering::Relaxed, Ordering::Relaxed);
            match raised {
                Ok(_) => break,
                Err(now) => reach = now,
            }
        }
    }

    fn used_cells(&self) -> impl Iterator<Item = &WaitCell<B>> {
        let reach = self.header.reach.load(Ordering::Relaxed) as usize;
        self.cells.iter().take(reach)
    }

    /// Until the cell no longer waits.
    fn sleep(&self, party: &Party<B>, cell: &WaitCell<B>, limit: Limit) -> Result<(), WaitError> {
        loop {
            // Every time: a hostile process may keep ringing.
            if limit.is_over() {
                return Err(WaitError::TimedOut);
            }
            if B::spin(&self.patience, || !is_waiting(cell.state.load(Ordering::Relaxed))) {
                return Ok(());
            }
            // Acquire: the look at the state comes after it.
            let rung = cell.bell.load(Ordering::Acquire);
            if !is_waiting(cell.state.fetch_or(ASLEEP, Ordering::Relaxed)) {
                return Ok(());
            }
            party.sleep(&cell.bell, rung, limit)?;
        }
    }

    /// Notifies the oldest `count` of those who have a ticket below `tickets`; how many those are.
    fn notify_before(&self, tickets: u64, count: usize) -> usize {
        let states = self.used_cells().map(|cell| (cell.state.load(Ordering::Relaxed), cell));
        let mut waiting: Vec<_> = states
            .filter(|(state, _)| is_waiting(*state) && ticket(*state) < tickets)
            .collect();
        waiting.sort_unstable_by_key(|(state, _)| ticket(*state));
        let notified = waiting
            .into_iter()
            .filter(|(state, cell)| self.notify_cell(cell, *state, tickets));
        notified.take(count).count()
    }

    /// False: its wait is over.
    fn notify_cell(&self, cell: &WaitCell<B>, state: u64, tickets: u64) -> bool {
        // The owner may fall asleep, but it does not wake up without this.
        for state in [state & !ASLEEP, state | ASLEEP] {
            let next = notified(state, tickets);
            let exchanged = cell
                .state
                .compare_exchange(state, next, Ordering::AcqRel, Ordering::Relaxed);
            if exchanged.is_ok() {
                if state & ASLEEP != 0 {
                    self.ring(cell);
                }
                return true;
            }
        }
        false
    }

    fn ring(&self, cell: &WaitCell<B>) {
        // Release: the notification comes before it.
        cell.bell.fetch_add(1, Ordering::Release);
        B::wake(&cell.bell, u32::MAX);
    }
}

impl From<ReleaseError> for ConditionError {
    fn from(why: ReleaseError) -> ConditionError {
        match why {
            ReleaseError::NotLocked | ReleaseError::NotOwner => ConditionError::NotOwner,
            ReleaseError::TooMany | ReleaseError::Broken => ConditionError::Broken,
        }
    }
}

impl<B: Backend> fmt::Debug for Condition<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiting", &self.n_waiting()).finish()
    }
}
