//! Waiting for the first of many.
//!
//! By the [gates](crate::gate) of each: look at all, announce at all, look again, sleep on all of them at once. Who only
//! looks is a sleeper like any other: it may have been woken instead of one who would have taken something, and so it
//! passes that on at every gate when it leaves. A [ring](crate::ring) has no gate, but a flag that has one sleeper at most.

use std::sync::atomic::AtomicU32;

use crate::futex::MOST_WORDS;
use crate::party::{Limit, Party, WaitError};
use crate::pipe::Connection;
use crate::queue::Queue;
use crate::ring::{Consumer, Producer};

/// How many one can wait for at once: the interruption of the caller is one more.
pub const MOST_WAITABLES: usize = MOST_WORDS - 1;

/// Something that one can wait for.
#[derive(Clone, Copy, Debug)]
pub enum Waitable<'a> {
    /// Ready when a message can be received, or none will ever be. An end that only sends is ready.
    Connection(&'a Connection),
    /// Ready when a message can be got, or the queue was shut down.
    Queue(&'a Queue),
    /// Ready when there is a record in a ring, all of whose earlier ones are [released](Consumer::release). With the ring in
    /// the other direction, in which [room was asked for](Producer::ask_for_space) in vain: also when there is room, for which
    /// the other side is to ring as for a record.
    Ring(&'a Consumer, Option<&'a Producer>),
}

impl<'a> Waitable<'a> {
    fn is_ready(&self) -> bool {
        match self {
            Waitable::Connection(connection) => connection.is_ready(),
            Waitable::Queue(queue) => queue.is_ready(),
            Waitable::Ring(records, room) => !records.is_empty() || room.is_some_and(Producer::has_been_told),
        }
    }

    /// Where to sleep, while it is what is beside it; what has none is always ready.
    fn announce(&self) -> Option<(&'a AtomicU32, u32)> {
        match self {
            Waitable::Ring(records, _) => Some(records.announce()),
            _ => self.gate().map(|gate| (&gate.0, gate.announce())),
        }
    }

    /// Who has announced itself sleeps no longer, or never did.
    fn leave(&self, slept: bool) {
        match self {
            Waitable::Ring(records, _) => records.withdraw(),
            _ if slept => {
                if let Some(gate) = self.gate() {
                    gate.pass_on(|| self.is_ready());
                }
            }
            _ => {}
        }
    }

    fn gate(&self) -> Option<&'a crate::gate::Gate<crate::backend::Native>> {
        match self {
            Waitable::Connection(connection) => connection.gate(),
            Waitable::Queue(queue) => Some(queue.gate()),
            Waitable::Ring(..) => None,
        }
    }
}

/// Waits until at least one of them is ready, and returns the places of all that are, in order.
/// CPython: `multiprocessing.connection.wait`, which returns an empty list when the time is up.
///
/// That one is ready is no promise: somebody else may take the message. Of none, none is, at once.
///
/// # Errors
///
/// The ends of a wait: see [`WaitError`].
///
/// # Panics
///
/// With more than [`MOST_WAITABLES`].
pub fn wait_any(party: &Party, waitables: &[Waitable<'_>], limit: Limit) -> Result<Vec<usize>, WaitError> {
    assert!(waitables.len() <= MOST_WAITABLES, "waiting for too many at once");
    if waitables.is_empty() {
        return Ok(Vec::new());
    }
    let look = || {
        let ready: Vec<usize> = (0..waitables.len()).filter(|&at| waitables[at].is_ready()).collect();
        (!ready.is_empty() || waitables.is_empty()).then_some(ready)
    };
    let (mut announced, mut slept) = (false, false);
    let result = loop {
        if let Some(ready) = look() {
            break Ok(ready);
        }
        if limit == Limit::Poll {
            break Err(WaitError::TimedOut);
        }
        announced = true;
        let words: Vec<_> = waitables.iter().filter_map(Waitable::announce).collect();
        if let Some(ready) = look() {
            break Ok(ready);
        }
        slept = true;
        if let Err(why) = party.sleep_any(&words, limit) {
            break Err(why);
        }
    };
    if announced {
        waitables.iter().for_each(|waitable| waitable.leave(slept));
    }
    result
}
