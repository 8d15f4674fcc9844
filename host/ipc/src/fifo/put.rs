//! The side of a ring that producers use.

use std::sync::atomic::Ordering;

use super::{Data, Fifo, Flow, Item, Lack, Mark, Refusal, Stock, UNIT, units};
use crate::backend::{Backend, Bytes, Word};
use crate::gate::Stay;
use crate::party::{Limit, Party, WaitError};

/// Room to put messages, in units and in their number.
#[derive(Clone, Copy)]
struct Need {
    /// Less is not enough.
    least: u32,
    /// More is not needed.
    best: u32,
    best_items: u32,
    at_most: u32,
}

impl Need {
    /// Whether there is room for all.
    fn is_met(self, stock: Stock, capacity: u32) -> bool {
        self.best <= capacity - stock.units && stock.items.saturating_add(self.best_items) <= self.at_most
    }
}

/// The place behind the last message, for who holds P.
struct Tail<'a, B: Backend> {
    data: Data<'a, B>,
    mark: Mark,
    /// What the ring holds, or more: consumers are at it.
    stock: Stock,
    capacity: u32,
}

impl<B: Backend> Tail<'_, B> {
    /// Writes a message, whose room was checked.
    #[inline]
    fn write(&mut self, kind: u8, parts: &[&[u8]], length: usize) {
        let mut at = 0;
        for part in parts {
            self.data.write(self.mark, at, part);
            at += part.len();
        }
        let item = Item {
            mark: self.mark,
            length: length as u32,
            kind,
            holder: 0,
            units: units(length) as u32,
        };
        self.data.word(self.mark).store(item.word(), Ordering::Relaxed);
        self.mark = item.end();
        self.stock.items += 1;
        self.stock.units += item.units;
    }
}

impl<B: Backend> Fifo<B> {
    /// Puts a message as soon as there is room and there are fewer than `at_most` others.
    #[inline]
    pub(crate) fn put(
        &self,
        party: &Party<B>,
        (kind, parts): (u8, &[&[u8]]),
        at_most: u32,
        limit: Limit,
        flow: impl Fn() -> Flow,
    ) -> Result<(), Refusal> {
        let length = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        let least = self.need(length).ok_or(Refusal::TooLarge)?;
        let need = Need {
            least,
            best: least,
            best_items: 1,
            at_most,
        };
        self.with_room(party, need, limit, flow, |tail| tail.write(kind, parts, length))
    }

    /// Puts as many of these messages as there is room for, as soon as that is one.
    pub(crate) fn put_many(
        &self,
        party: &Party<B>,
        messages: &[(u8, &[u8])],
        at_most: u32,
        limit: Limit,
        flow: impl Fn() -> Flow,
    ) -> Result<usize, Refusal> {
        let needs = || messages.iter().map_while(|(_, payload)| self.need(payload.len()));
        if messages.is_empty() {
            return Ok(0);
        }
        let need = Need {
            least: needs().next().ok_or(Refusal::TooLarge)?,
            best: needs().fold(0, u32::saturating_add),
            best_items: u32::try_from(messages.len()).unwrap_or(u32::MAX),
            at_most,
        };
        self.with_room(party, need, limit, flow, |tail| {
            let mut written = 0;
            for ((kind, payload), need) in messages.iter().zip(needs()) {
                if tail.stock.lack(need, tail.capacity, at_most).is_some() {
                    break;
                }
                tail.write(*kind, &[payload], payload.len());
                written += 1;
            }
            written
        })
    }

    /// Units of a message, if it ever fits.
    #[inline]
    fn need(&self, length: usize) -> Option<u32> {
        let longest = (self.largest() as usize - 1) * UNIT;
        (length <= longest && length <= u32::MAX as usize).then(|| units(length) as u32)
    }

    #[inline]
    fn with_room<R>(
        &self,
        party: &Party<B>,
        need: Need,
        limit: Limit,
        flow: impl Fn() -> Flow,
        fill: impl FnOnce(&mut Tail<'_, B>) -> R,
    ) -> Result<R, Refusal> {
        let gates = &self.header.not_full;
        let lacks = |lack| !flow().has_ended() && self.looks_full(need) == Some(lack);
        let mut for_item = Stay::new(&gates.items, || !lacks(Lack::Items));
        let mut for_bytes = Stay::new(&gates.bytes, || !lacks(Lack::Bytes));
        loop {
            let held = self.enter(&self.header.producers.lock, party, limit)?;
            if flow().has_ended() {
                return Err(Refusal::Ended);
            }
            match self.room(party, need, limit)? {
                Ok(mut tail) => {
                    let result = fill(&mut tail);
                    // Release: the messages come before.
                    self.header.tail.0.store(tail.mark.word(), Ordering::Release);
                    drop(held);
                    B::fence();
                    self.header.not_empty.0.wake_one();
                    return Ok(result);
                }
                Err(lack) => {
                    drop(held);
                    match lack {
                        Lack::Items => for_item.wait(party, &self.put_patience, limit)?,
                        Lack::Bytes => {
                            // Those who wait for an item may be content with the bytes there are.
                            for_item.leave();
                            for_bytes.wait(party, &self.put_patience, limit)?;
                        }
                    }
                }
            }
        }
    }

    /// With P held: the place for new messages.
    #[inline]
    fn room(&self, party: &Party<B>, need: Need, limit: Limit) -> Result<Result<Tail<'_, B>, Lack>, WaitError> {
        let mark = Mark::of(self.header.tail.0.load(Ordering::Relaxed));
        let capacity = self.capacity()?;
        let seen = Mark::of(self.header.producers.seen.load(Ordering::Relaxed));
        let (stock, capacity) = match Stock::between(seen, mark, capacity) {
            Some(stock) if need.is_met(stock, capacity) => (stock, capacity),
            _ => self.more_room(party, mark, need, limit)?,
        };
        Ok(match stock.lack(need.least, capacity, need.at_most) {
            Some(lack) => Err(lack),
            None => Ok(Tail {
                data: Data::of(&self.bytes, capacity),
                mark,
                stock,
                capacity,
            }),
        })
    }

    /// With P held: what the consumers have left in the ring, and its capacity, which becomes larger if that is needed.
    fn more_room(&self, party: &Party<B>, tail: Mark, need: Need, limit: Limit) -> Result<(Stock, u32), WaitError> {
        let capacity = self.capacity()?;
        let look = || {
            let head = self.head();
            self.header.producers.seen.store(head.word(), Ordering::Relaxed);
            Stock::between(head, tail, capacity)
        };
        let is_short = |stock: Option<Stock>| {
            stock.is_some_and(|stock| stock.lack(need.best, capacity, need.at_most) == Some(Lack::Bytes))
        };
        let mut stock = look();
        // New memory costs more than a short look at whether somebody is making room.
        if is_short(stock) && (self.kept..self.largest()).contains(&capacity) && limit != Limit::Poll {
            B::spin(&self.put_patience, || {
                stock = look();
                !is_short(stock)
            });
        }
        match is_short(stock) && capacity < self.largest() {
            true => self.grow(party, tail, need, limit),
            false => Ok((stock.ok_or(WaitError::Broken)?, capacity)),
        }
    }

    /// With P held: makes the ring large enough for the best, as far as that goes.
    #[cold]
    fn grow(&self, party: &Party<B>, tail: Mark, need: Need, limit: Limit) -> Result<(Stock, u32), WaitError> {
        let _consumers = self.enter(&self.header.consumers.lock, party, limit)?;
        let old = self.capacity()?;
        let head = self.head();
        let stock = Stock::between(head, tail, old).ok_or(WaitError::Broken)?;
        let mut new = old;
        while new < self.largest() && need.best > new - stock.units {
            new *= 2;
        }
        // What is in the ring lies on both sides of a multiple of the old capacity, at most.
        let (mut at, mut left) = (head.at, stock.units);
        while left > 0 {
            let (from, to) = (at & (old - 1), at & (new - 1));
            let run = left.min(old - from);
            if from != to {
                let [from, to, run] = [from, to, run].map(|units| units as usize * UNIT);
                self.bytes.copy(from, to, run);
            }
            at = at.wrapping_add(run);
            left -= run;
        }
        self.set_capacity(new);
        Ok((stock, new))
    }

    /// Why nothing can be put, seen without a lock. Nonsense may be due to that: no reason, try it.
    fn looks_full(&self, need: Need) -> Option<Lack> {
        let largest = self.largest();
        let head = self.head();
        let stock = Stock::between(head, self.tail(), largest)?;
        stock.lack(need.least, largest, need.at_most)
    }
}
