//! Who has one end of a pipe open, and whether they attend to it.
//!
//! | words | written by | what |
//! | --- | --- | --- |
//! | `attached` | each slot its bit; the host those of the dead | the slots that have the end open |
//! | `in_transit` | each slot its column counts up, anyone down; the host those of the dead | how often the slot has put the end into a message that nobody has opened yet |
//! | `life` | everyone | bit 0: the end is gone; above: how often somebody was added |
//! | `advice` | who has the end open | a hint: how to wait for what they send, an [`Advice`] |
//!
//! # What commits
//!
//! **The exchange that sets `GONE` in `life`.** It fails if anybody was added since `life` was read, and between the two
//! nobody was found. An end that moves is added in the new place before it is removed from the old one. So a search that
//! missed it in both had looked at the new place before that, and the addition fails the exchange. Nobody has to try
//! again: who was added will be removed, and whoever removes the last one searches in peace.
//!
//! Who dies after the removal and before the search is recovered, and the recovery searches.

use std::sync::atomic::Ordering;

use crate::backend::{Backend, Word};
use crate::memory::Line;
use crate::party::Slot;

/// In `life`: nobody has the end any more.
const GONE: u32 = 1;
/// In `life`: somebody was added.
const ADDED: u32 = 2;

/// What one end of a pipe tells the other one about waiting for it. It is a hint, and whoever has the end open may say
/// anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Advice {
    /// What comes next may come in a moment.
    #[default]
    Look,
    /// It takes a while: a look would keep a CPU from others.
    Sleep,
    /// It comes in a moment, and is being made on the CPU with this number, where whoever looks for it would hold it up.
    LookElsewhere(u32),
}

/// In `advice`: these, or the number of a CPU above them.
const LOOK: u32 = 0;
const SLEEP: u32 = 1;
const ELSEWHERE: u32 = 2;

/// Those who have one end open.
pub(super) struct Holders<B: Backend> {
    pub(super) life: B::Shared<Line<B::U32>>,
    pub(super) advice: B::Shared<B::U32>,
    /// A bit for each slot.
    pub(super) attached: B::Shared<[B::U32]>,
    /// A number for each slot.
    pub(super) in_transit: B::Shared<[B::U32]>,
}

fn bit(slot: Slot) -> u32 {
    1 << (slot.number() % 32)
}

impl<B: Backend> Holders<B> {
    fn word(&self, slot: Slot) -> &B::U32 {
        &self.attached[slot.number() / 32]
    }

    /// Whether the end is gone: for good.
    #[inline]
    pub(super) fn are_gone(&self) -> bool {
        // Acquire: what a last one sent comes before.
        self.life.0.load(Ordering::Acquire) & GONE != 0
    }

    pub(super) fn advice(&self) -> Advice {
        match self.advice.load(Ordering::Relaxed) {
            LOOK => Advice::Look,
            SLEEP => Advice::Sleep,
            elsewhere => Advice::LookElsewhere(elsewhere - ELSEWHERE),
        }
    }

    pub(super) fn advise(&self, advice: Advice) {
        let word = match advice {
            Advice::Look => LOOK,
            Advice::Sleep => SLEEP,
            Advice::LookElsewhere(cpu) => cpu.saturating_add(ELSEWHERE),
        };
        self.advice.store(word, Ordering::Relaxed);
    }

    /// False: the end is gone.
    pub(super) fn attach(&self, slot: Slot) -> bool {
        self.word(slot).fetch_or(bit(slot), Ordering::AcqRel);
        let gone = self.life.0.fetch_add(ADDED, Ordering::AcqRel) & GONE != 0;
        if gone {
            self.detach(slot);
        }
        !gone
    }

    pub(super) fn detach(&self, slot: Slot) {
        self.word(slot).fetch_and(!bit(slot), Ordering::AcqRel);
    }

    pub(super) fn export(&self, slot: Slot) {
        change(&self.in_transit[slot.number()], |count| count.checked_add(1));
        self.life.0.fetch_add(ADDED, Ordering::AcqRel);
    }

    pub(super) fn import(&self, slot: Slot) -> bool {
        let attached = self.attach(slot);
        let _ = self
            .in_transit
            .iter()
            .any(|column| change(column, |count| count.checked_sub(1)));
        attached
    }

    pub(super) fn recover(&self, slot: Slot) {
        self.in_transit[slot.number()].swap(0, Ordering::AcqRel);
        self.detach(slot);
    }

    /// Makes the end gone if nobody has it. True: it is gone since just now.
    pub(super) fn leave_if_none(&self) -> bool {
        let life = self.life.0.load(Ordering::Acquire);
        let none = |words: &[B::U32]| words.iter().all(|word| word.load(Ordering::Acquire) == 0);
        if !none(&self.attached) || !none(&self.in_transit) {
            return false;
        }
        let exchanged = self
            .life
            .0
            .compare_exchange(life, life | GONE, Ordering::AcqRel, Ordering::Relaxed);
        exchanged.is_ok()
    }
}

/// Changes a number if it can be changed so; whether it was.
fn change<W: Word<u32>>(word: &W, new: impl Fn(u32) -> Option<u32>) -> bool {
    let mut now = word.load(Ordering::Acquire);
    while let Some(next) = new(now) {
        match word.compare_exchange(now, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return true,
            Err(other) => now = other,
        }
    }
    false
}
