//! Pipes: two ends, and messages from one to the other or both ways.
//!
//! # Memory
//!
//! One [ring of messages](crate::fifo) from the second end to the first, one more back if the pipe is duplex, and for each
//! end [who has it open](holders). The locks of a ring let several users of the same end come one after the other; CPython's
//! corrupt the stream.
//!
//! # The end
//!
//! An end is gone when nobody has it open and it is not on its way to anybody. Then who sends to it is told so, and who
//! receives from it gets what is in the ring first. Receivers ask whether the peer is gone before they look into the ring:
//! everything that the peer sent was sent before it went.
//!
//! # Trust
//!
//! As in the rings. Who can write the words about the ends can make an end look gone, or never go, and have the other one
//! sleep rather than look, or look rather than sleep.

mod holders;
#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Backend, Native};
use crate::fifo::{self, Fifo, Flow, Message, Refusal};
use crate::gate::Gate;
use crate::memory::{LINE, Mapping};
use crate::party::{Limit, Party, SLOTS, Slot, WaitError};
pub use holders::Advice;
use holders::Holders;

/// One of the two ends of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Receives; sends as well if the pipe is duplex.
    First,
    /// Sends; receives as well if the pipe is duplex.
    Second,
}

/// What a pipe is; written by its creator.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header<B: Backend> {
    duplex: B::U32,
}

// Where things are in the mapping. The messages begin at a page.
const LIFE: usize = LINE;
/// In the line of the header, a word for each end.
const ADVICE: usize = LINE / 2;
const ATTACHED: usize = 3 * LINE;
const ATTACHED_BYTES: usize = SLOTS / 8;
const RINGS: usize = ATTACHED + 2 * ATTACHED_BYTES;
const IN_TRANSIT: usize = 4096;
const IN_TRANSIT_BYTES: usize = SLOTS * size_of::<u32>();
const DATA: usize = IN_TRANSIT + 2 * IN_TRANSIT_BYTES;
const _: () = assert!(RINGS + 2 * fifo::HEADER_BYTES <= IN_TRANSIT && DATA.is_multiple_of(4096));

/// One end of a pipe. CPython: `multiprocessing.connection.Connection`, as `Pipe()` returns two of.
pub struct Connection<B: Backend = Native> {
    end: End,
    /// What it receives; none if it only sends.
    incoming: Option<Fifo<B>>,
    outgoing: Option<Fifo<B>>,
    own: Holders<B>,
    peer: Holders<B>,
}

impl Connection {
    /// How many bytes of memory a pipe takes whose messages take up to `quota` bytes in each direction; as in
    /// [`Queue::bytes`](crate::Queue::bytes).
    pub const fn bytes(duplex: bool, quota: usize) -> usize {
        let data = fifo::data_bytes(quota);
        DATA + if duplex { 2 * data } else { data }
    }

    /// A new pipe in zeroed memory, with both ends open in the host. By the host, once.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping does not have the size of a pipe.
    pub fn create(mapping: &Arc<Mapping>, duplex: bool) -> io::Result<(Connection, Connection)> {
        header(mapping)?.duplex.store(duplex.into(), Ordering::Relaxed);
        let open = |end| {
            let connection = Connection::open(mapping, end)?;
            connection.own.attach(Slot::HOST);
            Ok::<_, io::Error>(connection)
        };
        Ok((open(End::First)?, open(End::Second)?))
    }

    /// An end of the pipe that another process has created in this memory. It does not count as open in this process
    /// until [`attach`](Self::attach) or [`import`](Self::import).
    ///
    /// # Errors
    ///
    /// `InvalidData` if the mapping does not have the size of a pipe, or does not hold one.
    pub fn open(mapping: &Arc<Mapping>, end: End) -> io::Result<Connection> {
        let rings = match header(mapping)?.duplex.load(Ordering::Relaxed) {
            0 => 1,
            1 => 2,
            _ => return Err(no_pipe()),
        };
        let len = (mapping.len() - DATA) / rings;
        let ring = |index: usize| {
            let header = RINGS + index * fifo::HEADER_BYTES;
            Fifo::open(mapping, header, DATA + index * len, len).ok_or_else(no_pipe)
        };
        let holders = |index: usize| {
            Some(Holders {
                life: mapping.view(LIFE + index * LINE)?,
                advice: mapping.view(ADVICE + index * size_of::<u32>())?,
                attached: mapping.array(ATTACHED + index * ATTACHED_BYTES, ATTACHED_BYTES / size_of::<u32>())?,
                in_transit: mapping.array(IN_TRANSIT + index * IN_TRANSIT_BYTES, SLOTS)?,
            })
        };
        let to_first = Some(ring(0)?);
        let to_second = if rings == 2 { Some(ring(1)?) } else { None };
        let (first, second) = holders(0).zip(holders(1)).ok_or_else(no_pipe)?;
        Ok(Connection::over(end, [to_first, to_second], [first, second]))
    }
}

fn no_pipe() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not the memory of a pipe")
}

fn header(mapping: &Arc<Mapping>) -> io::Result<<Native as Backend>::Shared<Header<Native>>> {
    if mapping.len() < DATA {
        return Err(no_pipe());
    }
    mapping.view(0).ok_or_else(no_pipe)
}

impl<B: Backend> Connection<B> {
    fn over(end: End, [to_first, to_second]: [Option<Fifo<B>>; 2], [first, second]: [Holders<B>; 2]) -> Connection<B> {
        let (incoming, outgoing, own, peer) = match end {
            End::First => (to_first, to_second, first, second),
            End::Second => (to_second, to_first, second, first),
        };
        Connection {
            end,
            incoming,
            outgoing,
            own,
            peer,
        }
    }

    /// Which end of the pipe it is.
    pub fn end(&self) -> End {
        self.end
    }

    /// Whether it can receive. CPython: `readable`.
    pub fn is_readable(&self) -> bool {
        self.incoming.is_some()
    }

    /// Whether it can send. CPython: `writable`.
    pub fn is_writable(&self) -> bool {
        self.outgoing.is_some()
    }

    fn flow(&self) -> Flow {
        match self.peer.are_gone() {
            true => Flow::Draining,
            false => Flow::Open,
        }
    }

    fn incoming_flow(&self) -> Flow {
        match self.flow() {
            Flow::Open if self.peer.advice() == Advice::Sleep => Flow::Slow,
            flow => flow,
        }
    }

    /// Sends one message, the parts one behind the other, as soon as there is room. `kind` travels with it. A message
    /// may be empty, and arrives whole.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent.
    #[inline]
    pub fn send(&self, party: &Party<B>, kind: u8, parts: &[&[u8]], limit: Limit) -> Result<(), SendError> {
        let outgoing = self.outgoing.as_ref().ok_or(SendError::ReadOnly)?;
        Ok(outgoing.put(party, (kind, parts), u32::MAX, limit, || self.flow())?)
    }

    /// Takes the next message out, as soon as there is one, and runs `take` on it, which copies what it wants. As
    /// [`Queue::get`](crate::Queue::get).
    ///
    /// # Errors
    ///
    /// [`RecvError`]; `take` did not run.
    #[inline]
    pub fn recv<R>(
        &self,
        party: &Party<B>,
        limit: Limit,
        take: impl FnOnce(Message<'_, B>) -> R,
    ) -> Result<R, RecvError> {
        let incoming = self.incoming.as_ref().ok_or(RecvError::WriteOnly)?;
        Ok(incoming.get(party, limit, || self.incoming_flow(), take)?)
    }

    /// Waits until a message can be received, or none will ever be; false: not in time. Receives nothing.
    /// CPython: `poll`.
    ///
    /// # Errors
    ///
    /// [`RecvError::WriteOnly`], or why the wait ended.
    pub fn poll(&self, party: &Party<B>, limit: Limit) -> Result<bool, RecvError> {
        let incoming = self.incoming.as_ref().ok_or(RecvError::WriteOnly)?;
        match incoming.wait_for_item(party, limit, || self.flow()) {
            Ok(()) => Ok(true),
            Err(WaitError::TimedOut) => Ok(false),
            Err(why) => Err(Refusal::from(why).into()),
        }
    }

    /// Where to wait for a message, if it receives any.
    pub(crate) fn gate(&self) -> Option<&Gate<B>> {
        self.incoming.as_ref().map(Fifo::not_empty)
    }

    /// Whether a message can be received, or none will ever be: seen without a lock.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.incoming
            .as_ref()
            .is_none_or(|incoming| self.flow().has_ended() || !incoming.is_empty())
    }

    /// Tells the other end how to wait for what this one sends, until it is told something else. While that is to
    /// [sleep](Advice::Sleep), who [receives](Self::recv) there goes to sleep at once. To be on another CPU is up to its process.
    pub fn advise(&self, advice: Advice) {
        self.own.advise(advice);
    }

    /// What the other end advises.
    #[inline]
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.peer.advice()
    }

    /// Whether somebody sleeps until this end sends something: seen without a lock. It may err towards true.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.outgoing
            .as_ref()
            .is_some_and(|outgoing| outgoing.not_empty().has_sleepers())
    }

    /// Whether the other end has received everything that was sent to it: seen without a lock.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.outgoing.as_ref().is_none_or(Fifo::is_empty)
    }

    /// Counts this end as open in a process, however many handles it has there. False: the end is gone, and stays so.
    #[must_use]
    pub fn attach(&self, slot: Slot) -> bool {
        self.own.attach(slot)
    }

    /// The process has closed its last handle on this end.
    pub fn detach(&self, slot: Slot) {
        self.own.detach(slot);
        if self.own.leave_if_none() {
            self.wake_everyone();
        }
    }

    /// The process, which has this end open, has put it into a message. The end stays open until the message's receiver
    /// [imports](Self::import) it, or the sender dies: CPython's sender has to be alive for that, too.
    pub fn export(&self, slot: Slot) {
        self.own.export(slot);
    }

    /// The process has got this end in a message: as [`attach`](Self::attach), and the end is no longer on its way.
    #[must_use]
    pub fn import(&self, slot: Slot) -> bool {
        self.own.import(slot)
    }

    fn wake_everyone(&self) {
        for ring in [&self.incoming, &self.outgoing].into_iter().flatten() {
            ring.wake_everyone();
        }
    }

    /// Closes both ends in a dead process, and frees what it held.
    pub fn recover(&self, slot: Slot) {
        for end in [&self.own, &self.peer] {
            end.recover(slot);
            end.leave_if_none();
        }
        for ring in [&self.incoming, &self.outgoing].into_iter().flatten() {
            ring.recover(slot);
        }
    }
}

impl<B: Backend> fmt::Debug for Connection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("end", &self.end)
            .field("readable", &self.is_readable())
            .field("writable", &self.is_writable())
            .field("peer_gone", &self.peer.are_gone())
            .finish_non_exhaustive()
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// This end only receives. CPython: `OSError`, "connection is read-only".
    ReadOnly,
    /// Nobody has the other end open. CPython: `BrokenPipeError`.
    BrokenPipe,
    /// There was no room in time.
    TimedOut,
    /// This party was told to stop waiting.
    Interrupted,
    /// The message is longer than the pipe's memory.
    TooLarge,
    /// The pipe's memory holds what no honest party writes.
    Broken,
}

impl From<Refusal> for SendError {
    fn from(why: Refusal) -> SendError {
        match why {
            Refusal::Ended => SendError::BrokenPipe,
            Refusal::TooLarge => SendError::TooLarge,
            Refusal::Wait(WaitError::TimedOut) => SendError::TimedOut,
            Refusal::Wait(WaitError::Interrupted) => SendError::Interrupted,
            Refusal::Wait(WaitError::Broken) => SendError::Broken,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::ReadOnly => "connection is read-only",
            SendError::BrokenPipe => "broken pipe: the other end is closed",
            SendError::TimedOut => "timed out",
            SendError::Interrupted => "interrupted",
            SendError::TooLarge => "the message is longer than the pipe's memory",
            SendError::Broken => "the pipe is broken: its memory was overwritten",
        })
    }
}

impl std::error::Error for SendError {}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// This end only sends. CPython: `OSError`, "connection is write-only".
    WriteOnly,
    /// Nothing is left, and nobody has the other end open. CPython: `EOFError`.
    End,
    /// No message came in time.
    TimedOut,
    /// This party was told to stop waiting.
    Interrupted,
    /// The pipe's memory holds what no honest party writes.
    Broken,
}

impl From<Refusal> for RecvError {
    fn from(why: Refusal) -> RecvError {
        match why {
            Refusal::Ended => RecvError::End,
            Refusal::Wait(WaitError::TimedOut) => RecvError::TimedOut,
            Refusal::Wait(WaitError::Interrupted) => RecvError::Interrupted,
            Refusal::Wait(WaitError::Broken) | Refusal::TooLarge => RecvError::Broken,
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvError::WriteOnly => "connection is write-only",
            RecvError::End => "end of file: the other end is closed",
            RecvError::TimedOut => "timed out",
            RecvError::Interrupted => "interrupted",
            RecvError::Broken => "the pipe is broken: its memory was overwritten",
        })
    }
}

impl std::error::Error for RecvError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_advises_to_sleep_is_slow_for_the_other_end() {
        let (_, mapping) = Mapping::create("test", Connection::bytes(true, 4096)).unwrap();
        let (first, second) = Connection::create(&Arc::new(mapping), true).unwrap();
        let flows = || [first.incoming_flow(), second.incoming_flow()];
        assert_eq!((flows(), first.advice()), ([Flow::Open, Flow::Open], Advice::Look));
        second.advise(Advice::Sleep);
        assert_eq!((flows(), first.advice()), ([Flow::Slow, Flow::Open], Advice::Sleep));
        for cpu in [0, 7] {
            second.advise(Advice::LookElsewhere(cpu));
            assert_eq!(
                (flows(), first.advice()),
                ([Flow::Open, Flow::Open], Advice::LookElsewhere(cpu))
            );
        }
        first.advise(Advice::Sleep);
        assert_eq!(flows(), [Flow::Open, Flow::Slow]);
        first.detach(Slot::HOST);
        assert_eq!(flows(), [Flow::Open, Flow::Draining], "who is gone advises nothing");
    }
}
