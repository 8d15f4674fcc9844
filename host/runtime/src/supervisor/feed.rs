//! The meeting point of a stream of inputs and its pool: items that were submitted and not yet passed on, and the
//! bound on how far submission may run ahead of whoever takes the results.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::job::{Block, TooLarge};
use crate::shared::References;

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
    /// Mean bytes of an item, for the bound in bytes.
    mean: usize,
    /// Items that may be ahead.
    limit: usize,
    /// Blocks are cut at multiples of this many items, unless the pool has nothing else to do.
    multiple: usize,
    /// The pool has nothing else to do: do not wait for a block to fill.
    hungry: bool,
    closed: bool,
}

impl State {
    fn has_room(&self, consumed: &AtomicU64) -> bool {
        let ahead = self.submitted - consumed.load(Ordering::Relaxed);
        let ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
        ahead < self.limit && (ahead < 2 || ahead.saturating_mul(self.mean) < MAX_AHEAD_BYTES)
    }
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<State>,
    room: Condvar,
    /// Outcomes that were taken by the consumer. Counted at once, so that one thread may submit and take in turns.
    consumed: AtomicU64,
}

impl Feed {
    pub(crate) fn new(limit: usize, multiple: usize) -> Self {
        let state = State {
            block: Block::new(0),
            submitted: 0,
            mean: 0,
            limit,
            multiple,
            hungry: true,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            room: Condvar::new(),
            consumed: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an item would be taken now.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().has_room(&self.consumed)
    }

    /// Waits for room, then takes an item, which is serialized already: the pool's threads wait for this lock. Returns
    /// its index, and a block that is ready to be passed on.
    pub(crate) fn push(&self, item: &[u8], references: References) -> Result<(u64, Option<Block>), Refused> {
        let mut state = self.lock();
        while !state.has_room(&self.consumed) && !state.closed {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(Refused::Closed);
        }
        state.block.push(|bytes| {
            bytes.extend_from_slice(item);
            Ok::<_, Refused>(())
        })?;
        state.block.refer_to(references);
        let index = state.submitted;
        state.submitted += 1;
        state.mean = (state.mean * 7 + state.block.byte_len() / state.block.len()) / 8;
        let block = &state.block;
        let whole = block.len().is_multiple_of(state.multiple);
        let ready = state.hungry || (whole && (block.is_full() || !state.has_room(&self.consumed)));
        Ok((index, ready.then(|| state.cut())))
    }

    /// For the pool when it has nothing else: what has been taken so far. `None` asks for the next item as soon as it
    /// comes.
    pub(crate) fn take(&self) -> Option<Block> {
        let mut state = self.lock();
        state.hungry = state.block.is_empty();
        (!state.hungry).then(|| state.cut())
    }

    /// Whether the next item will be passed on as soon as it comes.
    pub(crate) fn is_hungry(&self) -> bool {
        self.lock().hungry
    }

    /// The consumer took an outcome. Whoever waits for room hears of it by [`make_room`](Self::make_room).
    pub(crate) fn took_one(&self) {
        self.consumed.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets `limit` items be ahead from now on, and wakes whoever waits for room if there is some.
    pub(crate) fn make_room(&self, limit: usize) {
        let mut state = self.lock();
        state.limit = limit;
        if state.has_room(&self.consumed) {
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
        self.hungry = false;
        std::mem::replace(&mut self.block, Block::new(self.submitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_item_goes_at_once_and_the_next_ones_wait_to_be_asked_for() {
        let feed = Feed::new(100, 1);
        let (index, block) = feed.push(b"a", References::default()).unwrap();
        assert_eq!((index, block.map(|block| block.len())), (0, Some(1)));
        assert!(feed.push(b"b", References::default()).unwrap().1.is_none());
        assert!(feed.push(b"c", References::default()).unwrap().1.is_none());
        let block = feed.take().unwrap();
        assert_eq!((block.base, block.len()), (1, 2));
        assert!(feed.take().is_none() && feed.is_hungry());
        assert_eq!(
            feed.push(b"d", References::default())
                .unwrap()
                .1
                .map(|block| block.base),
            Some(3)
        );
        assert!(!feed.is_hungry());
    }

    #[test]
    fn what_fills_the_room_goes_at_once() {
        let feed = Feed::new(3, 1);
        assert!(feed.push(b"a", References::default()).unwrap().1.is_some());
        assert!(feed.push(b"b", References::default()).unwrap().1.is_none());
        assert_eq!(
            feed.push(b"c", References::default())
                .unwrap()
                .1
                .map(|block| block.len()),
            Some(2)
        );
        assert!(!feed.has_room());
        feed.took_one();
        assert!(feed.has_room());
    }

    #[test]
    fn a_chunk_is_not_cut_for_want_of_room() {
        let feed = Feed::new(3, 3);
        assert!(feed.push(b"a", References::default()).unwrap().1.is_some());
        assert!(feed.push(b"b", References::default()).unwrap().1.is_none());
        assert!(feed.push(b"c", References::default()).unwrap().1.is_none());
        assert!(!feed.has_room());
        feed.took_one();
        assert_eq!(
            feed.push(b"d", References::default())
                .unwrap()
                .1
                .map(|block| block.len()),
            Some(3)
        );
    }

    #[test]
    fn closing_it_wakes_whoever_waits_for_room() {
        let feed = Feed::new(1, 1);
        feed.push(b"a", References::default()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| feed.push(b"b", References::default()));
            assert_eq!(feed.close(), 1);
            assert!(matches!(waiting.join().unwrap(), Err(Refused::Closed)));
        });
    }
}
