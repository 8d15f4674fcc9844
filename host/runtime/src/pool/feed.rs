//! The meeting point of a stream of inputs and its pool: items that were submitted and not yet passed on, and the
//! bound on how far submission may run ahead of whoever takes the results.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::supervisor::job::{Block, TooLarge};

/// Most bytes of inputs that are read ahead, however small the items.
const MAX_AHEAD_BYTES: usize = 64 << 20;

/// Why an item was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nobody takes results any more.
    Closed,
    Encode(String),
    TooLarge,
}

impl From<TooLarge> for Refused {
    fn from(TooLarge: TooLarge) -> Self {
        Self::TooLarge
    }
}

#[derive(Debug)]
struct State {
    block: Block,
    /// Items taken so far.
    submitted: u64,
    /// Outcomes that were taken by the consumer.
    consumed: u64,
    /// Mean bytes of an item, for the bound in bytes.
    mean: usize,
    /// Items that may be ahead.
    limit: usize,
    closed: bool,
}

impl State {
    fn has_room(&self) -> bool {
        let ahead = usize::try_from(self.submitted - self.consumed).unwrap_or(usize::MAX);
        ahead < self.limit && (ahead < 2 || ahead.saturating_mul(self.mean) < MAX_AHEAD_BYTES)
    }
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<State>,
    room: Condvar,
    /// The pool has nothing else to do: do not wait for a block to fill.
    hungry: AtomicBool,
}

impl Feed {
    pub(crate) fn new(limit: usize) -> Self {
        let state = State {
            block: Block::new(0),
            submitted: 0,
            consumed: 0,
            mean: 0,
            limit,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            room: Condvar::new(),
            hungry: AtomicBool::new(true),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an item would be taken now.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().has_room()
    }

    /// Waits for room, then takes an item. Returns its index, and a block that is ready to be passed on.
    pub(crate) fn push(
        &self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), Refused>,
    ) -> Result<(u64, Option<Block>), Refused> {
        let mut state = self.lock();
        while !state.has_room() && !state.closed {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(Refused::Closed);
        }
        state.block.push(write)?;
        let index = state.submitted;
        state.submitted += 1;
        let block = &state.block;
        state.mean = (state.mean * 7 + block.byte_len() / block.len()) / 8;
        let ready = state.block.is_full() || !state.has_room() || self.hungry.load(Ordering::SeqCst);
        let block = ready.then(|| state.cut());
        if block.is_some() {
            self.hungry.store(false, Ordering::SeqCst);
        }
        Ok((index, block))
    }

    /// For the pool when it has nothing else: what has been taken so far. `None` asks for the next item as soon as it
    /// comes.
    pub(crate) fn take(&self) -> Option<Block> {
        self.hungry.store(true, Ordering::SeqCst);
        // An item that came before this line is in the block, one that comes after it finds the pool hungry.
        let mut state = self.lock();
        if state.block.is_empty() {
            return None;
        }
        self.hungry.store(false, Ordering::SeqCst);
        Some(state.cut())
    }

    /// The consumer took `count` outcomes; `limit` items may be ahead from now on.
    pub(crate) fn consumed(&self, count: usize, limit: usize) {
        let mut state = self.lock();
        state.consumed += count as u64;
        state.limit = limit;
        if state.has_room() {
            self.room.notify_all();
        }
    }

    /// Nobody takes results any more: wakes a producer that waits for room. Returns how many items were taken in all.
    pub(crate) fn close(&self) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        self.room.notify_all();
        state.submitted
    }
}

impl State {
    fn cut(&mut self) -> Block {
        std::mem::replace(&mut self.block, Block::new(self.submitted))
    }
}
