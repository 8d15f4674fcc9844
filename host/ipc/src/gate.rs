//! A place to sleep until something changes.
//!
//! # Memory
//!
//! One word, zero at first: bit 0 is `ASLEEP`, somebody may be asleep here; the rest counts how often the gate was
//! opened. Everyone writes it, by read-modify-write only. It commits nothing: what is waited for is in other words.
//!
//! # Sleeping
//!
//! Whoever is about to sleep announces it, fences, and looks at what it waits for once more; whoever has changed that
//! fences and then looks at the gate. One of the two sees the other. Opening changes the word, so that one who is between
//! its look and its sleep does not fall asleep. While nobody sleeps, opening is a load.
//!
//! Opening clears `ASLEEP`, although with [`wake_one`](Gate::wake_one) others may sleep on. So **whoever was asleep puts
//! `ASLEEP` back when it leaves, and looks whether there is something for the next one**, however it leaves: with what it
//! waited for, without it, or only having looked at it. A [`Stay`] does so when it is dropped. The waking is thus a baton
//! that passes from sleeper to sleeper while there is something to be had. It is lost with a process that dies, and
//! [`recover`](Gate::recover) wakes everyone. Each sleep of a process costs whoever opens next one wake-up in vain.
//!
//! # Trust
//!
//! Whoever maps the word can make the others sleep on, or wake them; each of them looks for itself.

#[cfg(test)]
mod model;

use std::sync::atomic::Ordering;

use crate::backend::{Backend, Word};
use crate::party::{Limit, Party, WaitError};
use crate::spin::Patience;

/// Somebody may be asleep.
const ASLEEP: u32 = 1;
/// The gate was opened once.
const OPENED: u32 = 2;

/// All zero is a new one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Gate<B: Backend>(pub(crate) B::U32);

impl<B: Backend> Gate<B> {
    /// Wakes one sleeper: for changes that are of use to any one of them. For after a change and a fence.
    #[inline]
    pub(crate) fn wake_one(&self) {
        self.open(1);
    }

    /// Wakes every sleeper. For after a change and a fence.
    #[inline]
    pub(crate) fn wake_all(&self) {
        self.open(u32::MAX);
    }

    #[inline]
    fn open(&self, count: u32) {
        let word = self.0.load(Ordering::Relaxed);
        if word & ASLEEP != 0 {
            self.open_now(word, count);
        }
    }

    #[cold]
    fn open_now(&self, word: u32, count: u32) {
        let opened = (word & !ASLEEP).wrapping_add(OPENED);
        // If this fails, then somebody else has opened it since, and whoever that woke sees our change as well.
        let exchanged = self
            .0
            .compare_exchange(word, opened, Ordering::Relaxed, Ordering::Relaxed);
        if exchanged.is_ok() {
            B::wake(&self.0, count);
        }
    }

    /// Wakes everyone after a death: who was woken by the dead's change and never told, and who waits for the dead.
    pub(crate) fn recover(&self) {
        // As after any change: the dead one made it and got no further.
        B::fence();
        self.0.fetch_add(OPENED, Ordering::Relaxed);
        B::wake(&self.0, u32::MAX);
    }

    /// Whether somebody may be asleep here: seen without a fence.
    pub(crate) fn has_sleepers(&self) -> bool {
        self.0.load(Ordering::Relaxed) & ASLEEP != 0
    }

    /// Says that the caller is about to sleep while the word is what this returns. It has to look at what it waits for
    /// once more, and to make a [`Stay`] of it if it sleeps.
    pub(crate) fn announce(&self) -> u32 {
        let word = self.0.fetch_or(ASLEEP, Ordering::Relaxed) | ASLEEP;
        B::fence();
        word
    }

    /// Of one that may have been woken, and leaves.
    pub(crate) fn pass_on(&self, ready: impl Fn() -> bool) {
        self.announce();
        if ready() {
            self.wake_one();
        }
    }
}

/// Someone who waits at a gate until `ready`.
pub(crate) struct Stay<'a, B: Backend, F: Fn() -> bool> {
    gate: &'a Gate<B>,
    ready: F,
    slept: bool,
}

impl<'a, B: Backend, F: Fn() -> bool> Stay<'a, B, F> {
    /// `ready` is a look without a lock: it may err towards true.
    pub(crate) fn new(gate: &'a Gate<B>, ready: F) -> Self {
        Stay {
            gate,
            ready,
            slept: false,
        }
    }

    /// Waits for a while, until it is worth trying again.
    pub(crate) fn wait(&mut self, party: &Party<B>, patience: &Patience, limit: Limit) -> Result<(), WaitError> {
        match self.look(party, patience, limit, || true) {
            true => Ok(()),
            false => self.sleep(party, limit),
        }
    }

    /// The first part of a wait: looks for a moment, as long as that is `worth_it`. False: [sleep](Self::sleep).
    pub(crate) fn look(
        &self,
        party: &Party<B>,
        patience: &Patience,
        limit: Limit,
        worth_it: impl Fn() -> bool,
    ) -> bool {
        // A hostile process may see to it that nothing is there whenever it is `ready`: such a wait has to end, too.
        let may_look = worth_it() && !limit.is_over() && !party.is_interrupted();
        may_look && B::spin(patience, || (self.ready)() || !worth_it()) && (self.ready)()
    }

    /// The second part of a wait.
    pub(crate) fn sleep(&mut self, party: &Party<B>, limit: Limit) -> Result<(), WaitError> {
        if limit.is_over() {
            return Err(WaitError::TimedOut);
        }
        if party.is_interrupted() {
            return Err(WaitError::Interrupted);
        }
        let announced = self.gate.announce();
        if (self.ready)() {
            return Ok(());
        }
        self.slept = true;
        party.sleep(&self.gate.0, announced, limit)
    }

    /// Passes the baton on, if there is one.
    pub(crate) fn leave(&mut self) {
        if self.slept {
            self.slept = false;
            self.gate.pass_on(&self.ready);
        }
    }
}

impl<B: Backend, F: Fn() -> bool> Drop for Stay<'_, B, F> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::backend::Native;

    /// How often it is looked whether something is ready that never is, and whether it was found, if that stops being worth
    /// it after so many times.
    fn looks(worth: u32) -> (u32, bool) {
        let gate = Gate::<Native>(AtomicU32::new(0));
        let looks = Cell::new(0);
        let stay = Stay::new(&gate, || {
            looks.set(looks.get() + 1);
            false
        });
        let worth_it = || looks.get() < worth;
        let found = stay.look(&Party::host(), &Patience::default(), Limit::Forever, worth_it);
        (looks.get(), found)
    }

    #[test]
    fn what_is_not_worth_a_look_gets_none() {
        assert_eq!(looks(0), (0, false));
    }

    #[test]
    fn a_look_that_is_not_worth_it_any_more_ends() {
        let (looks, found) = looks(20);
        assert!(looks <= 21 && !found, "{looks} {found}");
    }
}
