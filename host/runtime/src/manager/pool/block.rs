//! Items that wait for a crew to take them.

use wasmp_manager::protocol::Id;

use super::{Books, WAITING_BYTES};
use crate::manager::store::{Caller, Late};
use crate::wire::ITEM_PREFIX;

#[derive(Debug)]
pub(super) struct Block {
    pub(super) client: u32,
    /// The request that waits for that, too.
    pub(super) waiting: Option<(Caller, u32)>,
    pub(super) job: u32,
    /// They are the first of the job, whose id is the answer.
    pub(super) new: Option<Id>,
    pub(super) items: u64,
    pub(super) last: bool,
    /// There are more, which wait on.
    pub(super) is_part: bool,
    pub(super) bytes: Bytes,
}

impl Block {
    /// What it counts in the budget.
    pub(super) fn counts(&self) -> u64 {
        let beside = if self.is_part { 0 } else { WAITING_BYTES };
        beside + self.bytes.rest().len() as u64
    }

    /// How many bytes so many of its items are, the first ones.
    pub(super) fn first(&self, items: u64) -> usize {
        let all = self.bytes.rest();
        if items >= self.items {
            return all.len();
        }
        // As was looked at when they came.
        (0..items).fold(0, |at, _| {
            let len = all.get(at..).and_then(|rest| rest.first_chunk());
            let len = len.map_or(0, |len| u32::from_le_bytes(*len) as usize);
            (at + ITEM_PREFIX + len).min(all.len())
        })
    }

    /// Takes so many items from it, the first ones, if there are more. A request does not wait for the others.
    pub(super) fn split(&mut self, items: u64) -> Option<Self> {
        if items >= self.items {
            return None;
        }
        let bytes = self.bytes.take(self.first(items));
        self.items -= items;
        Some(Self {
            client: self.client,
            waiting: self.waiting.take(),
            job: self.job,
            new: self.new.take(),
            items,
            last: false,
            is_part: true,
            bytes,
        })
    }

    /// It waits no longer. What comes of the job is said when that is asked.
    pub(super) fn leave(&self, books: &mut Books<'_>) {
        books.budget.give_back(self.counts());
        books.ledger.leaves(self);
        self.answer(books.late);
    }

    pub(super) fn answer(&self, late: &mut Vec<Late>) {
        if let Some((caller, sequence)) = self.waiting {
            let fields = self.new.map_or_else(Vec::new, |id| id.bytes().to_vec());
            late.push(Late::answer(caller.connection, sequence, fields));
        }
    }
}

/// Bytes of which the first ones are taken, again and again.
#[derive(Debug)]
pub(super) struct Bytes {
    all: Vec<u8>,
    taken: usize,
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self {
            all: bytes.to_vec(),
            taken: 0,
        }
    }
}

impl Bytes {
    pub(super) fn rest(&self) -> &[u8] {
        &self.all[self.taken..]
    }

    pub(super) fn into_vec(mut self) -> Vec<u8> {
        self.all.drain(..self.taken);
        self.all
    }

    fn take(&mut self, len: usize) -> Self {
        let first = self.rest()[..len].into();
        self.taken += len;
        // Each byte is moved once for one that was taken, and half of the memory is in use at least.
        if self.taken * 2 >= self.all.len() {
            self.all.drain(..self.taken);
            self.all.shrink_to_fit();
            self.taken = 0;
        }
        first
    }
}
