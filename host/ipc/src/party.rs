//! Who takes part in an object, and how long they wait.
//!
//! Objects know their users by [`Slot`]: a number that the host gives to each worker process, and takes back only after
//! it has seen the worker dead and every object of that worker recovered. So a slot in shared memory always means one
//! process, however pids are reused, and `recover(slot)` can tell what the dead one held.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::backend::{Backend, Native, Woken, Word};
use crate::futex;
use crate::gauges::Gauges;
use crate::memory::Mapping;

/// How many slots there are, the host's among them: objects with a column for each have so many.
pub const SLOTS: usize = 1024;

/// A process that may hold something in an object: 0 is the host, the others are workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The host, with all of its threads. It is never recovered: when it is gone, so is everyone else.
    pub const HOST: Slot = Slot(0);

    /// The slot with this number; `None` from [`SLOTS`] on.
    pub fn new(number: usize) -> Option<Slot> {
        (number < SLOTS).then_some(Slot(number as u16))
    }

    /// Its number.
    pub fn number(self) -> usize {
        usize::from(self.0)
    }
}

/// One thread of one process, as the objects see it.
#[derive(Debug)]
pub struct Party<B: Backend = Native> {
    slot: Slot,
    /// Tells the host's threads apart; 0 in a worker, which has one.
    thread: u32,
    interrupt: Option<Interrupt<B>>,
    /// Where the time is noted that it sleeps.
    gauges: Option<Arc<Gauges>>,
}

impl<B: Backend> Party<B> {
    /// The one thread of a worker.
    pub fn worker(slot: Slot, interrupt: Option<Interrupt<B>>) -> Party<B> {
        Party {
            slot,
            thread: 0,
            interrupt,
            gauges: None,
        }
    }

    /// Has the time noted that it sleeps, from now on.
    #[must_use]
    pub fn timed(mut self, gauges: Arc<Gauges>) -> Party<B> {
        self.gauges = Some(gauges);
        self
    }

    /// The calling thread of the host.
    pub fn host() -> Party<B> {
        thread_local! {
            static NUMBER: Cell<u32> = const { Cell::new(0) };
        }
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let thread = NUMBER.with(|number| {
            if number.get() == 0 {
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            number.get()
        });
        Party {
            slot: Slot::HOST,
            thread,
            interrupt: None,
            gauges: None,
        }
    }

    /// Another thread of the host: in a model all of them run on one.
    #[cfg(test)]
    pub(crate) fn thread_of_host(thread: u32) -> Party<B> {
        Party {
            slot: Slot::HOST,
            thread,
            interrupt: None,
            gauges: None,
        }
    }

    /// The process.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Which of its threads, from 1; 0 if there is only one.
    pub fn thread(&self) -> u32 {
        self.thread
    }

    /// Sleeps while `word` is `expected`, at most for as long as the limit says. It may return early, so callers look
    /// again and loop.
    pub(crate) fn sleep(&self, word: &B::U32, expected: u32, limit: Limit) -> Result<(), WaitError> {
        let deadline = limit.deadline()?;
        self.asleep(|| B::wait_or_hear(word, expected, deadline, self.interrupt.as_ref()).into_result())
    }

    fn asleep<T>(&self, sleep: impl FnOnce() -> T) -> T {
        match &self.gauges {
            Some(gauges) => gauges.wait(sleep),
            None => sleep(),
        }
    }

    /// Whether this party is told to stop waiting.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(Interrupt::is_raised)
    }
}

/// How long an operation may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Not at all. Does not look at the clock.
    Poll,
    /// Until then; a moment that has passed is a poll.
    Until(Instant),
    /// For as long as it takes.
    Forever,
}

impl Limit {
    /// From now on for so long; `None` is for ever. A time that the clock cannot hold is for ever, too.
    pub fn after(timeout: Option<Duration>) -> Limit {
        match timeout {
            None => Limit::Forever,
            Some(Duration::ZERO) => Limit::Poll,
            Some(timeout) => Instant::now().checked_add(timeout).map_or(Limit::Forever, Limit::Until),
        }
    }

    /// The end of a sleep; none if there may be no sleep.
    fn deadline(self) -> Result<Option<Instant>, WaitError> {
        match self {
            Limit::Poll => Err(WaitError::TimedOut),
            Limit::Until(deadline) => Ok(Some(deadline)),
            Limit::Forever => Ok(None),
        }
    }

    /// Whether the time is up.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Limit::Poll => true,
            Limit::Until(deadline) => Instant::now() >= deadline,
            Limit::Forever => false,
        }
    }
}

/// Why an operation ended without having happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// The time was up.
    TimedOut,
    /// This party was told to stop waiting.
    Interrupted,
    /// The shared memory holds what no honest party writes.
    Broken,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitError::TimedOut => "timed out",
            WaitError::Interrupted => "interrupted",
            WaitError::Broken => "the object is broken: its memory was overwritten",
        })
    }
}

impl std::error::Error for WaitError {}

/// The word by which the host interrupts a worker's waits; all zero is a new one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct InterruptWord<B: Backend>(B::U32);

/// Ends the waits of one worker, from outside. It lies in memory that the worker shares with the host alone.
pub struct Interrupt<B: Backend = Native>(B::Shared<InterruptWord<B>>);

const CALM: u32 = 0;
const RAISED: u32 = 1;

impl<B: Backend> Interrupt<B> {
    /// Ends the current wait, and every later one until it is [cleared](Self::clear).
    pub fn raise(&self) {
        self.0.0.store(RAISED, Ordering::SeqCst);
        B::wake(&self.0.0, u32::MAX);
    }

    /// Lets the worker wait again.
    pub fn clear(&self) {
        self.0.0.store(CALM, Ordering::SeqCst);
    }

    /// Whether waits end at once.
    pub fn is_raised(&self) -> bool {
        self.0.0.load(Ordering::Relaxed) != CALM
    }
}

impl Party {
    /// Sleeps while every one of these words is what is beside it; otherwise as [`sleep`](Self::sleep).
    pub(crate) fn sleep_any(&self, words: &[(&AtomicU32, u32)], limit: Limit) -> Result<(), WaitError> {
        let deadline = limit.deadline()?;
        let woken = self.asleep(|| match &self.interrupt {
            Some(interrupt) => interrupt.wait(words, deadline),
            None if futex::wait_any(words, deadline) => Woken::Perhaps,
            None => Woken::TimedOut,
        });
        woken.into_result()
    }
}

impl Interrupt {
    /// How many bytes it takes.
    pub const BYTES: usize = size_of::<InterruptWord<Native>>();

    /// The interrupt at byte `offset` of a mapping, a multiple of four.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if that is not inside of the mapping.
    pub fn open(mapping: &Arc<Mapping>, offset: usize) -> io::Result<Interrupt> {
        let word = mapping
            .view(offset)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an interrupt outside of its mapping"))?;
        Ok(Interrupt(word))
    }

    /// Sleeps on these words and on the interrupt.
    pub(crate) fn wait(&self, words: &[(&AtomicU32, u32)], deadline: Option<Instant>) -> Woken {
        if self.is_raised() {
            return Woken::Interrupted;
        }
        let in_time = futex::wait_any(&[words, &[(&self.0.0, CALM)]].concat(), deadline);
        match (self.is_raised(), in_time) {
            (true, _) => Woken::Interrupted,
            (false, true) => Woken::Perhaps,
            (false, false) => Woken::TimedOut,
        }
    }
}

impl<B: Backend> fmt::Debug for Interrupt<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interrupt").field(&self.is_raised()).finish()
    }
}
