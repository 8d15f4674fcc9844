//! A place where a fixed number of parties wait for each other.
//!
//! # Memory
//!
//! All zero at first, but for `parties` and the generation, which begins with 1:
//!
//! | words | written by | what |
//! | --- | --- | --- |
//! | `state` | everyone | generation and [`Phase`]: the word that commits |
//! | `gate` | everyone | where one sleeps until `state` changes: see [`gate`](crate::gate) |
//! | `parties` | the host, once | how many parties a trip takes; each process reads it once |
//! | cells, one a party | everyone | who has arrived as which one: generation, slot, and whether it has left |
//!
//! | from | to | when |
//! | --- | --- | --- |
//! | `Filling` | `Passed`, or `Acting` if there is an action | the last party arrives |
//! | `Acting` | `Passed` | the action is over |
//! | `Passed` | `Filling` of the next generation | everyone has left |
//! | `Filling`, `Acting`, `Reset` | `Broken` | abort; a party's limit, interruption or death, but not from `Reset` |
//! | `Filling`, `Acting`, `Broken` | `Reset` | reset |
//! | `Reset` | `Filling` of the next generation | everyone has left |
//! | `Passed` | `PassedThenBroken`, and back | abort; reset |
//! | `PassedThenBroken` | `Broken` | everyone has left |
//!
//! # Arriving
//!
//! A party arrives by the exchange that puts it into the first cell of an *older* generation, having seen that the cell
//! before is not older. Cells are claimed in no other way, so a cell's generation only grows, and **no cell's is greater than
//! that of the cell before**. Hence
//!
//! * the cells claimed in this generation are the first ones, and a binary search finds their end;
//! * the number of its cell is the party's place, which nobody else gets in this generation, also when the party has left;
//! * who claims the last cell is the last to arrive.
//!
//! An exchange may come late: between the look at `state` and the exchange, the generation was broken or is even over. (It
//! has not passed: then all cells would be claimed.) That is no claim to anyone else, and the party finds out when it
//! looks at `state` again.
//!
//! # Leaving
//!
//! The next generation begins when everyone has left this one. So `state` tells each party how its trip ended, however
//! late it looks: it cannot change before that party has marked its cell. Whoever marks a cell, or begins a phase in
//! which one leaves, fences and then looks whether all cells are marked ([`settle`](Barrier::settle)): the last two cannot
//! both miss it. The party that acts does not hold up the others: it marks its cell before its action.
//!
//! # What commits
//!
//! Arriving is one exchange of a cell, and every step of the trip one exchange of `state`. A party that dies before it has
//! arrived is not missed by anyone; after it has, while its generation fills or acts, [`recover`](Barrier::recover)
//! breaks the barrier. When the trip has passed, or is broken already, `recover` marks its cell in its place.
//!
//! # Trust
//!
//! Whoever maps the words can let others through, or not. A phase that does not exist is `Corrupt`; cells of any content
//! are claimed, or not, or left.

#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::{Backend, Native, Word};
use crate::gate::Gate;
use crate::memory::{Line, Mapping, View};
use crate::party::{Limit, Party, SLOTS, Slot, WaitError};
use crate::spin::Patience;

/// In front of the cells.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header<B: Backend> {
    state: Line<B::U64>,
    gate: Line<Gate<B>>,
    parties: Line<B::U32>,
}

/// What goes on in a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Phase {
    /// Parties arrive, and wait.
    Filling,
    /// Everyone is here, and waits for the action of the last one.
    Acting,
    /// The parties leave, each having passed.
    Passed,
    /// The parties leave, each having passed; then the barrier is broken.
    PassedThenBroken,
    /// The parties leave, none having passed, and nobody may come.
    Broken,
    /// The parties leave, none having passed; then the barrier is as new.
    Reset,
}

/// By number.
const PHASES: [Phase; 6] = [
    Phase::Filling,
    Phase::Acting,
    Phase::Passed,
    Phase::PassedThenBroken,
    Phase::Broken,
    Phase::Reset,
];
const PHASE_BITS: u32 = 3;
const CELL_BITS: u32 = 12;
/// Cells have 52 bits for the generation: 142 years of a million trips a second.
const LAST_GENERATION: u64 = u64::MAX >> CELL_BITS;
/// Older than this are the cells of a new barrier.
const FIRST_GENERATION: u64 = 1;

/// What `state` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    generation: u64,
    phase: Phase,
}

impl State {
    fn from_word(word: u64) -> Result<State, BarrierError> {
        let generation = word >> PHASE_BITS;
        if !(FIRST_GENERATION..LAST_GENERATION).contains(&generation) {
            return Err(BarrierError::Corrupt);
        }
        let phase = PHASES.get(word as usize % (1 << PHASE_BITS));
        let phase = *phase.ok_or(BarrierError::Corrupt)?;
        Ok(State { generation, phase })
    }

    fn word(self) -> u64 {
        (self.generation << PHASE_BITS) | self.phase as u64
    }

    /// How the trip of a generation has ended: whether it passed. `None`: it has not.
    fn end_of(self, generation: u64) -> Option<bool> {
        match self.phase {
            // A late claim: see the head of this file.
            _ if self.generation != generation => Some(false),
            Phase::Filling | Phase::Acting => None,
            Phase::Passed | Phase::PassedThenBroken => Some(true),
            Phase::Broken | Phase::Reset => Some(false),
        }
    }
}

// A cell: 52 bits of generation, 11 bits of slot, one for the mark that its party has left.

const LEFT: u64 = 1;

fn claimed_by(slot: Slot, generation: u64) -> u64 {
    (generation << CELL_BITS) | ((slot.number() as u64) << 1)
}

fn generation_of(cell: u64) -> u64 {
    cell >> CELL_BITS
}

fn is_of(cell: u64, slot: Slot) -> bool {
    claimed_by(slot, generation_of(cell)) == cell & !LEFT
}

/// A way past a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierPass {
    /// Everyone has arrived; this party as the one with this number, from 0 to one less than there are parties.
    Passed(usize),
    /// This party was the last to arrive, and has to act before anyone passes: then it calls [`Barrier::acted`], and has
    /// passed as the last; or [`Barrier::abort`].
    Act,
}

/// Nobody passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierError {
    /// The time was up, and this party has broken the barrier.
    TimedOut,
    /// The barrier is broken: by [`Barrier::abort`], by another party that did not wait long enough, was interrupted, or
    /// died; or it was reset under those who waited.
    Broken,
    /// This party was told to stop waiting, and has broken the barrier.
    Interrupted,
    /// The shared memory holds what no honest party writes.
    Corrupt,
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BarrierError::TimedOut => "timed out",
            BarrierError::Broken => "the barrier is broken",
            BarrierError::Interrupted => "interrupted",
            BarrierError::Corrupt => "the barrier's memory was overwritten",
        })
    }
}

impl std::error::Error for BarrierError {}

impl From<WaitError> for BarrierError {
    fn from(why: WaitError) -> BarrierError {
        match why {
            WaitError::TimedOut => BarrierError::TimedOut,
            WaitError::Interrupted => BarrierError::Interrupted,
            WaitError::Broken => BarrierError::Corrupt,
        }
    }
}

/// A place where parties wait for each other, again and again. CPython: `multiprocessing.Barrier`.
///
/// Processes are parties, and so is each thread of the host. When a party dies that has arrived, the barrier breaks;
/// CPython's keeps the others waiting (gh-123899).
pub struct Barrier<B: Backend = Native> {
    header: B::Shared<Header<B>>,
    /// One a party.
    cells: B::Shared<[B::U64]>,
    patience: Patience,
}

impl Barrier {
    /// How many bytes a barrier for so many parties takes.
    pub const fn bytes(parties: usize) -> usize {
        size_of::<Header<Native>>() + parties * size_of::<u64>()
    }

    /// A new barrier in zeroed memory, for 1 to 1024 parties. By the host, once.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if that is not how many parties there are, `InvalidData` if the mapping has no room for them.
    pub fn create(mapping: &Arc<Mapping>, parties: usize) -> io::Result<Barrier> {
        if !(1..=SLOTS).contains(&parties) {
            let message = "a barrier is for 1 to 1024 parties";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let barrier = Self::over(view_header(mapping)?, view_cells(mapping, parties)?);
        barrier.header.parties.0.store(parties as u32, Ordering::Relaxed);
        barrier.begin();
        Ok(barrier)
    }

    /// The barrier that somebody has created there.
    ///
    /// # Errors
    ///
    /// `InvalidData` if none was.
    pub fn open(mapping: &Arc<Mapping>) -> io::Result<Barrier> {
        let header = view_header(mapping)?;
        let parties = header.parties.0.load(Ordering::Relaxed) as usize;
        if !(1..=SLOTS).contains(&parties) {
            return Err(invalid("a barrier for an impossible number of parties"));
        }
        Ok(Self::over(header, view_cells(mapping, parties)?))
    }
}

fn view_header(mapping: &Arc<Mapping>) -> io::Result<View<Header<Native>>> {
    mapping.view(0).ok_or_else(|| invalid("no room for a barrier"))
}

fn view_cells(mapping: &Arc<Mapping>, parties: usize) -> io::Result<View<[AtomicU64]>> {
    let cells = mapping.array(size_of::<Header<Native>>(), parties);
    cells.ok_or_else(|| invalid("no room for the parties of a barrier"))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<B: Backend> Barrier<B> {
    fn over(header: B::Shared<Header<B>>, cells: B::Shared<[B::U64]>) -> Barrier<B> {
        Barrier {
            header,
            cells,
            patience: Patience::default(),
        }
    }

    /// Begins the first generation.
    fn begin(&self) {
        let state = State {
            generation: FIRST_GENERATION,
            phase: Phase::Filling,
        };
        self.header.state.0.store(state.word(), Ordering::Release);
    }

    /// Waits until as many parties wait as the barrier is for. CPython: `wait`.
    ///
    /// With `action`, the last one to come is told to [act](BarrierPass::Act) first. A limit that is reached breaks the
    /// barrier, also while another party acts; CPython waits for the end of the action.
    ///
    /// # Errors
    ///
    /// See [`BarrierError`]. Except with `Corrupt`, the barrier is broken for everyone, from now on, unless it was
    /// [reset](Self::reset).
    pub fn wait(&self, party: &Party<B>, action: bool, limit: Limit) -> Result<BarrierPass, BarrierError> {
        loop {
            let state = self.look()?;
            match state.phase {
                Phase::Broken | Phase::PassedThenBroken => return Err(BarrierError::Broken),
                Phase::Filling => {
                    if let Some(place) = self.arrive(party, state.generation) {
                        return self.stay(party, state, place, action, limit);
                    }
                }
                Phase::Acting | Phase::Passed | Phase::Reset => {}
            }
            // The trip of others, who have yet to leave.
            if let Err(why) = self.wait_for_change(party, state, limit) {
                self.abort()?;
                return Err(why.into());
            }
        }
    }

    /// Claims a cell; `None` if all are claimed, or the generation is over.
    fn arrive(&self, party: &Party<B>, generation: u64) -> Option<usize> {
        let mine = claimed_by(party.slot(), generation);
        let mut place = 0;
        loop {
            // Every cell below is claimed.
            place += self.claimed(place, generation);
            let cell = self.cells.get(place)?;
            let was = cell.load(Ordering::Relaxed);
            // The search has seen the cell below claimed: so what everyone did before arriving comes before what the
            // last one does next.
            if generation_of(was) < generation
                && cell
                    .compare_exchange(was, mine, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
            {
                return Some(place);
            }
        }
    }

    /// How many cells from this one on are claimed in this generation.
    fn claimed(&self, from: usize, generation: u64) -> usize {
        let (mut low, mut high) = (from, self.cells.len());
        while low < high {
            let middle = low.midpoint(high);
            match generation_of(self.cells[middle].load(Ordering::Acquire)) >= generation {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low - from
    }

    /// Of a party that has arrived in `began`.
    fn stay(
        &self,
        party: &Party<B>,
        began: State,
        place: usize,
        action: bool,
        limit: Limit,
    ) -> Result<BarrierPass, BarrierError> {
        if place + 1 == self.cells.len() {
            if !action {
                self.change(began, Phase::Passed);
            } else if self.change(began, Phase::Acting) {
                self.leave(place, party.slot(), began.generation);
                return Ok(BarrierPass::Act);
            }
        }
        let end = self.wait_for_end(party, began.generation, limit);
        self.leave(place, party.slot(), began.generation);
        match end? {
            true => Ok(BarrierPass::Passed(place)),
            false => Err(BarrierError::Broken),
        }
    }

    /// Whether the trip has passed.
    fn wait_for_end(&self, party: &Party<B>, generation: u64, limit: Limit) -> Result<bool, BarrierError> {
        loop {
            let state = self.look()?;
            if let Some(passed) = state.end_of(generation) {
                return Ok(passed);
            }
            if let Err(why) = self.wait_for_change(party, state, limit) {
                return match self.break_trip(generation)? {
                    true => Ok(true),
                    false => Err(why.into()),
                };
            }
        }
    }

    /// The action is over: lets everyone pass. For the party that was told to [act](BarrierPass::Act).
    ///
    /// # Errors
    ///
    /// [`BarrierError::Broken`] if the others no longer wait for this party's action.
    pub fn acted(&self, party: &Party<B>) -> Result<(), BarrierError> {
        let state = self.look()?;
        let last = self.cells[self.cells.len() - 1].load(Ordering::Relaxed);
        let acts = state.phase == Phase::Acting && is_of(last, party.slot());
        match acts && self.change(state, Phase::Passed) {
            true => {
                self.settle();
                Ok(())
            }
            false => Err(BarrierError::Broken),
        }
    }

    /// Breaks the barrier: whoever waits, and whoever comes, gets [`BarrierError::Broken`]. CPython: `abort`; it also
    /// breaks off a trip that has passed already, for those who are slow to leave.
    ///
    /// # Errors
    ///
    /// [`BarrierError::Corrupt`].
    pub fn abort(&self) -> Result<(), BarrierError> {
        loop {
            let state = self.look()?;
            let next = match state.phase {
                Phase::Filling | Phase::Acting | Phase::Reset => Phase::Broken,
                Phase::Passed => Phase::PassedThenBroken,
                Phase::Broken | Phase::PassedThenBroken => return Ok(()),
            };
            if self.change(state, next) {
                self.settle();
                return Ok(());
            }
        }
    }

    /// Makes the barrier as new: whoever waits gets [`BarrierError::Broken`], whoever comes afterwards waits. CPython:
    /// `reset`.
    ///
    /// # Errors
    ///
    /// [`BarrierError::Corrupt`].
    pub fn reset(&self) -> Result<(), BarrierError> {
        loop {
            let state = self.look()?;
            let next = match state.phase {
                Phase::Filling | Phase::Acting | Phase::Broken => Phase::Reset,
                Phase::PassedThenBroken => Phase::Passed,
                Phase::Passed | Phase::Reset => return Ok(()),
            };
            if self.change(state, next) {
                self.settle();
                return Ok(());
            }
        }
    }

    /// How many parties a trip takes. CPython: `parties`.
    pub fn parties(&self) -> usize {
        self.cells.len()
    }

    /// How many parties wait. CPython: `n_waiting`.
    pub fn n_waiting(&self) -> usize {
        match self.look() {
            Ok(state) if state.end_of(state.generation).is_none() => self.claimed(0, state.generation),
            _ => 0,
        }
    }

    /// Whether the barrier is broken. CPython: `broken`.
    pub fn is_broken(&self) -> bool {
        let is_broken = |state: State| matches!(state.phase, Phase::Broken | Phase::PassedThenBroken);
        self.look().map_or(true, is_broken)
    }

    /// Breaks the barrier if a dead process has arrived, or acts; leaves in its place.
    ///
    /// By the host, when the process is certainly dead; as often as it likes, while others go on.
    pub fn recover(&self, slot: Slot) {
        if let Ok(state) = self.look() {
            let arrived = |cell: u64| generation_of(cell) == state.generation && is_of(cell, slot);
            if self.cells.iter().any(|cell| arrived(cell.load(Ordering::Acquire))) {
                // Unless it has passed: then nobody needs the dead one any more.
                let _ = self.break_trip(state.generation);
            }
        }
        for (place, cell) in self.cells.iter().enumerate() {
            let was = cell.load(Ordering::Relaxed);
            if is_of(was, slot) {
                self.mark(place, slot, generation_of(was));
            }
        }
        B::fence();
        self.settle();
        self.header.gate.0.recover();
    }

    fn look(&self) -> Result<State, BarrierError> {
        State::from_word(self.header.state.0.load(Ordering::Acquire))
    }

    /// One step within a generation; false if another one came first.
    fn change(&self, from: State, phase: Phase) -> bool {
        self.advance(from, State { phase, ..from })
    }

    fn advance(&self, from: State, to: State) -> bool {
        let state = &self.header.state.0;
        // Release: what the parties did before they arrived comes before what they do when they have passed.
        let advanced = state
            .compare_exchange(from.word(), to.word(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if advanced {
            B::fence();
            self.header.gate.0.wake_all();
        }
        advanced
    }

    /// Breaks the trip of a generation unless it has ended; whether it had passed.
    fn break_trip(&self, generation: u64) -> Result<bool, BarrierError> {
        loop {
            let state = self.look()?;
            if let Some(passed) = state.end_of(generation) {
                return Ok(passed);
            }
            if self.change(state, Phase::Broken) {
                return Ok(false);
            }
        }
    }

    fn leave(&self, place: usize, slot: Slot, generation: u64) {
        self.mark(place, slot, generation);
        B::fence();
        self.settle();
    }

    /// Marks a cell as left, unless it belongs to someone else by now.
    fn mark(&self, place: usize, slot: Slot, generation: u64) {
        let claimed = claimed_by(slot, generation);
        // Release: the party has looked at `state` before.
        let _ = self.cells[place].compare_exchange(claimed, claimed | LEFT, Ordering::Release, Ordering::Relaxed);
    }

    /// Goes on if everyone has left. For after a fence that comes after whatever may have been the last thing missing.
    fn settle(&self) {
        let Ok(state) = self.look() else { return };
        let next = match state.phase {
            Phase::Passed | Phase::Reset => State {
                generation: state.generation + 1,
                phase: Phase::Filling,
            },
            Phase::PassedThenBroken => State {
                phase: Phase::Broken,
                ..state
            },
            Phase::Filling | Phase::Acting | Phase::Broken => return,
        };
        let stays = |cell: u64| generation_of(cell) == state.generation && cell & LEFT == 0;
        // From the end: those who came first are woken first, and one that is still there is found soon.
        if !self.cells.iter().rev().any(|cell| stays(cell.load(Ordering::Acquire))) {
            self.advance(state, next);
        }
    }

    /// Waits until the state is another.
    fn wait_for_change(&self, party: &Party<B>, state: State, limit: Limit) -> Result<(), WaitError> {
        let changed = || self.header.state.0.load(Ordering::Relaxed) != state.word();
        let gate = &self.header.gate.0;
        loop {
            // Every time: a hostile process may keep the words changing.
            if limit.is_over() {
                return Err(WaitError::TimedOut);
            }
            if B::spin(&self.patience, changed) {
                return Ok(());
            }
            let announced = gate.announce();
            if changed() {
                return Ok(());
            }
            party.sleep(&gate.0, announced, limit)?;
        }
    }
}

impl<B: Backend> fmt::Debug for Barrier<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.n_waiting())
            .field("broken", &self.is_broken())
            .finish()
    }
}
