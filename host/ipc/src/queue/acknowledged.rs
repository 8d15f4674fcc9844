//! Queues whose messages are acknowledged: who has which message, and what happens when they die.
//!
//! # Memory
//!
//! A message that was got stays in the ring, and its word names its holder: nobody, a slot, or done. `head` is behind the
//! messages that are done, and never behind one that is not. So the ring holds what is not acknowledged.
//!
//! | word | written by | what |
//! | --- | --- | --- |
//! | `next` | who holds C | messages before it have been given to somebody; a hint |
//! | `returned` | who holds C | how many of them nobody has any more; a hint |
//! | `settled` | who holds C | how many deaths have been dealt with |
//! | `deaths` | the host | how many processes have died |
//! | `dead` | host sets, who holds C clears | a bit for each slot that died and may still be named as a holder |
//!
//! # What commits
//!
//! * **The store of a message's word** gives it to a slot, or to nobody again.
//! * **Acknowledging is one store, too**: the message at `head` goes by a store of `head`, which passes those behind it that
//!   are done already; any other is marked done.
//!
//! The hints may be wrong after the death of one who held C. Every death is settled before anything else is done with C,
//! and that works the hints out anew.
//!
//! # Deaths
//!
//! The recovery of a slot may not wait for C, so it leaves a note, and whoever has C next settles it: it goes through
//! the messages that are given and takes back those of the dead. If it is killed over that, the note is still there. A
//! slot is used again only after its recovery, and a new process in it settles the note about the old one before it is
//! given anything, so that a note never hits the living.

use std::sync::atomic::Ordering;

use super::{Queue, TaskDoneError};
use crate::backend::{Backend, Word};
use crate::fifo::{Contents, Flow, Item, Mark, Message, Refusal};
use crate::memory::Line;
use crate::party::{Limit, Party, SLOTS, Slot, WaitError};

/// Holders of messages; a slot is its number plus one.
const NOBODY: u16 = 0;
const DONE: u16 = u16::MAX;

fn holder(slot: Slot) -> u16 {
    slot.number() as u16 + 1
}

/// Words of `dead`.
pub(super) const DEAD_WORDS: usize = SLOTS / 32;

#[repr(C, align(128))]
#[derive(Debug)]
pub(super) struct Acknowledgements<B: Backend> {
    pub(super) next: B::U64,
    pub(super) returned: B::U32,
    pub(super) settled: B::U32,
    pub(super) deaths: Line<B::U32>,
}

impl<B: Backend> Queue<B> {
    fn deaths(&self) -> u32 {
        self.header.acknowledgements.deaths.0.load(Ordering::Acquire)
    }

    fn is_settled(&self) -> bool {
        self.header.acknowledgements.settled.load(Ordering::Acquire) == self.deaths()
    }

    fn next(&self) -> Mark {
        Mark::of(self.header.acknowledgements.next.load(Ordering::Acquire))
    }

    fn returned(&self) -> u32 {
        self.header.acknowledgements.returned.load(Ordering::Acquire)
    }

    /// How many messages nobody has.
    pub(super) fn items_to_get(&self) -> u32 {
        let never_given = self.fifo.items_behind(|| self.next()).unwrap_or(0);
        never_given.saturating_add(self.returned())
    }

    pub(super) fn may_have_something_unheld(&self) -> bool {
        // In this order: when a death is settled, what it gave back is there to be seen.
        !self.is_settled() || self.returned() != 0 || self.next() != self.fifo.tail()
    }

    pub(super) fn get_to_acknowledge<R>(
        &self,
        party: &Party<B>,
        limit: Limit,
        take: impl FnOnce(Message<'_, B>) -> R,
    ) -> Result<R, Refusal> {
        self.with_unheld_item(party, limit, |contents, item| {
            let result = take(contents.message(&item));
            self.give(contents, item, party.slot());
            Ok(result)
        })
    }

    pub(super) fn get_many_to_acknowledge(
        &self,
        party: &Party<B>,
        most: usize,
        limit: Limit,
        mut take: impl FnMut(Message<'_, B>) -> bool,
    ) -> Result<usize, Refusal> {
        self.with_unheld_item(party, limit, |contents, item| {
            let (mut taken, mut next) = (0, Some(item));
            while let Some(item) = next {
                if taken == most || !take(contents.message(&item)) {
                    break;
                }
                taken += 1;
                self.give(contents, item, party.slot());
                next = self.first_unheld(contents)?;
            }
            Ok(taken)
        })
    }

    fn with_unheld_item<R>(
        &self,
        party: &Party<B>,
        limit: Limit,
        take: impl FnOnce(&mut Contents<'_, B>, Item) -> Result<R, WaitError>,
    ) -> Result<R, Refusal> {
        let flow = || self.flow();
        let ready = || self.may_have_something_unheld();
        let find = |contents: &mut Contents<'_, B>| {
            contents.refresh()?;
            self.settle(contents)?;
            self.first_unheld(contents)
        };
        self.fifo.with_item(party, limit, flow, ready, find, take)
    }

    /// The first message that nobody has.
    fn first_unheld(&self, contents: &Contents<'_, B>) -> Result<Option<Item>, WaitError> {
        let Acknowledgements { next, returned, .. } = &self.header.acknowledgements;
        let mut mark = contents.head;
        if self.returned() == 0 && contents.items_before(self.next()).is_some() {
            mark = self.next();
        }
        while let Some(item) = contents.item(mark)? {
            if item.holder == NOBODY {
                return Ok(Some(item));
            }
            mark = item.end();
        }
        returned.store(0, Ordering::Relaxed);
        next.store(mark.word(), Ordering::Relaxed);
        Ok(None)
    }

    fn give(&self, contents: &Contents<'_, B>, item: Item, slot: Slot) {
        contents.give(item, holder(slot));
        let Acknowledgements { next, returned, .. } = &self.header.acknowledgements;
        let given = contents.items_before(self.next()).unwrap_or(0);
        if contents.items_before(item.mark) < Some(given) {
            returned.store(self.returned().saturating_sub(1), Ordering::Relaxed);
        } else {
            next.store(item.end().word(), Ordering::Relaxed);
        }
    }

    /// Marks the oldest message of this process done.
    pub(super) fn acknowledge(&self, party: &Party<B>) -> Result<(), TaskDoneError> {
        let acknowledged = self.fifo.as_consumer(party, Limit::Forever, |contents| {
            self.settle(contents)?;
            let mut mark = contents.head;
            while let Some(item) = contents.item(mark)? {
                if item.holder == holder(party.slot()) {
                    match mark == contents.head {
                        true => self.remove_done(contents, item.end())?,
                        false => contents.give(item, DONE),
                    }
                    return Ok(true);
                }
                mark = item.end();
            }
            Ok(false)
        })?;
        if !acknowledged {
            return Err(TaskDoneError::TooMany);
        }
        self.fifo.wake_producers();
        Ok(())
    }

    /// Removes what is before `head`, and what is done from there on.
    pub(super) fn remove_done(&self, contents: &mut Contents<'_, B>, mut head: Mark) -> Result<(), WaitError> {
        let dropped = self.flow() == Flow::Closed;
        while let Some(item) = contents.item(head)? {
            if item.holder != DONE && !(dropped && item.holder == NOBODY) {
                break;
            }
            head = item.end();
        }
        contents.advance(head);
        Ok(())
    }

    /// The note of a recovery. In a queue without acknowledgement nobody reads it.
    pub(super) fn take_back(&self, slot: Slot) {
        self.dead[slot.number() / 32].fetch_or(1 << (slot.number() % 32), Ordering::AcqRel);
        self.header.acknowledgements.deaths.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes the messages of the dead back.
    pub(super) fn settle(&self, contents: &mut Contents<'_, B>) -> Result<(), WaitError> {
        match self.is_settled() {
            true => Ok(()),
            false => self.settle_now(contents),
        }
    }

    #[cold]
    fn settle_now(&self, contents: &mut Contents<'_, B>) -> Result<(), WaitError> {
        let acknowledgements = &self.header.acknowledgements;
        // Before the bits: a death that comes later is settled again.
        let deaths = self.deaths();
        let mut dead = [0; DEAD_WORDS];
        for (bits, word) in dead.iter_mut().zip(self.dead.iter()) {
            *bits = word.load(Ordering::Acquire);
        }
        let is_dead = |holder: u16| {
            // `NOBODY` and `DONE` are beyond the slots.
            let slot = usize::from(holder.wrapping_sub(1));
            slot < SLOTS && dead[slot / 32] & 1 << (slot % 32) != 0
        };

        let mut given = contents.items_before(self.next()).unwrap_or(0);
        let mut returned = 0;
        let mut mark = contents.head;
        while let Some(item) = contents.item(mark)? {
            let taken_back = is_dead(item.holder);
            if taken_back {
                contents.give(item, NOBODY);
            } else if item.holder == NOBODY && given == 0 {
                // Nothing behind this was ever given: `next` lags behind by what the dead one had just got.
                break;
            }
            returned += u32::from(taken_back || item.holder == NOBODY);
            given = given.saturating_sub(1);
            mark = item.end();
        }
        acknowledgements.next.store(mark.word(), Ordering::Relaxed);
        acknowledgements.returned.store(returned, Ordering::Relaxed);
        // What was dropped goes; otherwise nothing is done at the head.
        self.remove_done(contents, contents.head)?;
        for (word, bits) in self.dead.iter().zip(dead) {
            word.fetch_and(!bits, Ordering::AcqRel);
        }
        // Release: whoever sees that it is settled sees what became of it.
        acknowledgements.settled.store(deaths, Ordering::Release);
        if self.flow() == Flow::Closed {
            // What was dropped may have been the last that somebody joins for, who looked between the drop and the store.
            B::fence();
            self.header.all_done.0.wake_all();
        }
        Ok(())
    }

    /// After an immediate shutdown a message that is taken back is dropped, and nobody who gets is left to do so.
    pub(super) fn must_settle_to_join(&self) -> bool {
        self.acknowledged && self.flow() == Flow::Closed && !self.is_settled()
    }

    pub(super) fn settle_to_join(&self, party: &Party<B>, limit: Limit) -> Result<(), WaitError> {
        self.fifo.as_consumer(party, limit, |contents| self.settle(contents))
    }
}
