//! The side of a ring that consumers use.

use std::sync::atomic::Ordering;

use super::{Data, Fifo, Flow, Held, Item, Mark, Message, Refusal, Stock, UNIT, units};
use crate::backend::{Backend, Bytes, Word};
use crate::gate::Stay;
use crate::party::{Limit, Party, WaitError};

/// The messages in the ring, for who holds C.
pub(crate) struct Contents<'a, B: Backend> {
    fifo: &'a Fifo<B>,
    data: Data<'a, B>,
    pub(crate) head: Mark,
    pub(crate) tail: Mark,
    capacity: u32,
}

impl<'a, B: Backend> Contents<'a, B> {
    /// The message at a mark; `None` at the tail.
    #[inline]
    pub(crate) fn item(&self, mark: Mark) -> Result<Option<Item>, WaitError> {
        let rest = Stock::between(mark, self.tail, self.capacity).ok_or(WaitError::Broken)?;
        if rest.items == 0 {
            return Ok(None);
        }
        let word = self.data.word(mark).load(Ordering::Relaxed);
        let length = word as u32;
        let units = units(length as usize);
        if units > rest.units as usize {
            return Err(WaitError::Broken);
        }
        Ok(Some(Item {
            mark,
            length,
            kind: (word >> 32) as u8,
            holder: (word >> 40) as u16,
            units: units as u32,
        }))
    }

    /// Looks what has been put by now.
    pub(crate) fn refresh(&mut self) -> Result<(), WaitError> {
        self.tail = self.fifo.tail();
        Stock::between(self.head, self.tail, self.capacity).ok_or(WaitError::Broken)?;
        let seen = &self.fifo.header.consumers.seen;
        seen.store(self.tail.word(), Ordering::Relaxed);
        Ok(())
    }

    /// Messages before a mark; `None` if it is not between the head and the tail.
    pub(crate) fn items_before(&self, mark: Mark) -> Option<u32> {
        let before = Stock::between(self.head, mark, self.capacity)?;
        Stock::between(mark, self.tail, self.capacity)?;
        Some(before.items)
    }

    pub(crate) fn message(&self, item: &Item) -> Message<'a, B> {
        Message {
            data: self.data,
            mark: item.mark,
            length: item.length,
            kind: item.kind,
        }
    }

    /// Gives an item to a holder: one store.
    pub(crate) fn give(&self, item: Item, holder: u16) {
        let word = Item { holder, ..item }.word();
        self.data.word(item.mark).store(word, Ordering::Relaxed);
    }

    /// Removes everything before a mark: one store.
    #[inline]
    pub(crate) fn advance(&mut self, head: Mark) {
        // Release: the reads of the messages come before.
        self.fifo.header.head.0.store(head.word(), Ordering::Release);
        self.head = head;
    }
}

impl<B: Backend> Fifo<B> {
    /// Runs something that no put and no get happens beside.
    pub(crate) fn alone<R>(
        &self,
        party: &Party<B>,
        limit: Limit,
        change: impl FnOnce(&mut Contents<'_, B>) -> Result<R, WaitError>,
    ) -> Result<R, WaitError> {
        let _producers = self.enter(&self.header.producers.lock, party, limit)?;
        self.as_consumer(party, limit, change)
    }

    /// Runs something that no get happens beside.
    pub(crate) fn as_consumer<R>(
        &self,
        party: &Party<B>,
        limit: Limit,
        change: impl FnOnce(&mut Contents<'_, B>) -> Result<R, WaitError>,
    ) -> Result<R, WaitError> {
        let _consumers = self.enter(&self.header.consumers.lock, party, limit)?;
        let mut contents = self.contents()?;
        contents.refresh()?;
        change(&mut contents)
    }

    /// Takes the first message out, as soon as there is one.
    #[inline]
    pub(crate) fn get<R>(
        &self,
        party: &Party<B>,
        limit: Limit,
        flow: impl Fn() -> Flow,
        take: impl FnOnce(Message<'_, B>) -> R,
    ) -> Result<R, Refusal> {
        let ready = || !self.is_empty();
        let find = |contents: &mut Contents<'_, B>| contents.item(contents.head);
        self.with_item(party, limit, flow, ready, find, |contents, item| {
            let result = take(contents.message(&item));
            contents.advance(item.end());
            Ok(result)
        })
    }

    /// Takes messages out, as soon as there is one, until `most` are taken or one is refused by `take`; how many.
    pub(crate) fn get_many(
        &self,
        party: &Party<B>,
        most: usize,
        limit: Limit,
        flow: impl Fn() -> Flow,
        mut take: impl FnMut(Message<'_, B>) -> bool,
    ) -> Result<usize, Refusal> {
        let ready = || !self.is_empty();
        let find = |contents: &mut Contents<'_, B>| contents.item(contents.head);
        self.with_item(party, limit, flow, ready, find, |contents, item| {
            let (mut taken, mut next) = (0, Some(item));
            let mut end = contents.head;
            while let Some(item) = next {
                if taken == most || !take(contents.message(&item)) {
                    break;
                }
                taken += 1;
                end = item.end();
                if end == contents.tail {
                    contents.refresh()?;
                }
                next = contents.item(end)?;
            }
            contents.advance(end);
            Ok(taken)
        })
    }

    /// Waits until `find` finds an item, and runs `take` on it under the same lock. `ready` is whether it might.
    #[inline]
    pub(crate) fn with_item<R>(
        &self,
        party: &Party<B>,
        limit: Limit,
        flow: impl Fn() -> Flow,
        ready: impl Fn() -> bool,
        find: impl Fn(&mut Contents<'_, B>) -> Result<Option<Item>, WaitError>,
        take: impl FnOnce(&mut Contents<'_, B>, Item) -> Result<R, WaitError>,
    ) -> Result<R, Refusal> {
        let mut stay = Stay::new(&self.header.not_empty.0, || flow().has_ended() || ready());
        let worth_it = || flow() != Flow::Slow;
        loop {
            let held = self.enter(&self.header.consumers.lock, party, limit)?;
            // Before looking for an item: what was put before the end is found.
            let flow = flow();
            if flow == Flow::Closed {
                return Err(Refusal::Ended);
            }
            let mut contents = self.contents()?;
            let head = contents.head;
            if let Some(item) = find(&mut contents)? {
                let result = take(&mut contents, item)?;
                let removed = contents.head != head;
                drop(held);
                if removed {
                    self.wake_producers();
                }
                return Ok(result);
            }
            if flow == Flow::Draining {
                return Err(Refusal::Ended);
            }
            drop(held);
            if !stay.look(party, &self.get_patience, limit, worth_it) {
                self.give_back(party);
                stay.sleep(party, limit)?;
            }
        }
    }

    /// Waits until there is an item, or the flow has ended.
    pub(crate) fn wait_for_item(
        &self,
        party: &Party<B>,
        limit: Limit,
        flow: impl Fn() -> Flow,
    ) -> Result<(), WaitError> {
        let ready = || flow().has_ended() || !self.is_empty();
        let mut stay = Stay::new(&self.header.not_empty.0, &ready);
        while !ready() {
            stay.wait(party, &self.get_patience, limit)?;
        }
        Ok(())
    }

    /// With C held: what is in the ring.
    #[inline]
    fn contents(&self) -> Result<Contents<'_, B>, WaitError> {
        let capacity = self.capacity()?;
        let head = Mark::of(self.header.head.0.load(Ordering::Relaxed));
        let seen = &self.header.consumers.seen;
        let tail = Mark::of(seen.load(Ordering::Relaxed));
        let mut contents = Contents {
            fifo: self,
            data: Data::of(&self.bytes, capacity),
            head,
            tail,
            capacity,
        };
        let known = Stock::between(head, tail, capacity);
        if known.is_none_or(|stock| stock.items == 0) {
            contents.refresh()?;
        }
        Ok(contents)
    }

    /// After messages have gone.
    #[inline]
    pub(crate) fn wake_producers(&self) {
        B::fence();
        self.header.not_full.items.wake_one();
        self.header.not_full.bytes.wake_all();
    }

    /// Gives the memory of a ring that has become large back, if it is empty and nobody is at it.
    fn give_back(&self, party: &Party<B>) {
        let surplus = || Some(self.capacity().ok()?.saturating_sub(self.kept)).filter(|&surplus| surplus > 0);
        if surplus().is_none() {
            return;
        }
        let Some(_producers) = Held::now(&self.header.producers.lock, party) else {
            return;
        };
        let Some(_consumers) = Held::now(&self.header.consumers.lock, party) else {
            return;
        };
        if let (true, Some(surplus)) = (self.is_empty(), surplus()) {
            let [kept, surplus] = [self.kept, surplus].map(|units| units as usize * UNIT);
            self.bytes.discard(kept, surplus);
            self.set_capacity(self.kept);
        }
    }
}
