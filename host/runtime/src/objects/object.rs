//! An object as one process sees it.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmp_abi::{MAP_UNIT, ObjectKind};
use wasmp_ipc::{
    Barrier, Condition, Connection, End, Event, Lock, Mapping, Queue, QueueOptions, RLock, SLOTS, Semaphore,
    SharedBytes, Slot,
};
use wasmp_manager::protocol::MAX_MESSAGE;

use crate::manager::Reception;

/// Bytes that an unbounded queue can hold, and each direction of a pipe, unless a single message may have more. Only what
/// is in use takes memory.
const CAPACITY: usize = 1 << 30;

/// Most bytes of a message, unless a pool says otherwise.
pub(crate) const DEFAULT_MAX_MESSAGE: usize = 256 << 20;

/// What a queue must be able to hold so that a message of this size fits, and the word in front of it.
fn capacity(max_message: usize) -> usize {
    CAPACITY.max(max_message + size_of::<u64>())
}

/// What kind of object to create, and with which parameters.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Shape {
    Lock,
    RLock,
    Semaphore {
        value: u32,
        bounded: bool,
    },
    Event,
    Condition,
    Barrier {
        parties: usize,
    },
    Queue {
        maxsize: u32,
        acknowledged: bool,
    },
    Pipe {
        duplex: bool,
    },
    /// A pipe in one direction that carries nothing: what counts is when it ends.
    Sentinel,
    /// A duplex pipe between a client and its manager.
    Desk,
    Memory {
        size: u64,
    },
}

impl Shape {
    /// How much memory it takes where messages may be so large; `None` if its parameters are impossible.
    pub(super) fn bytes(&self, max_message: usize) -> Option<usize> {
        match *self {
            Self::Lock => Some(Lock::BYTES),
            Self::RLock => Some(RLock::BYTES),
            Self::Semaphore { value, .. } => (value <= i32::MAX as u32).then_some(Semaphore::BYTES),
            Self::Event => Some(Event::BYTES),
            Self::Condition => Some(Condition::BYTES),
            Self::Barrier { parties } => (1..=SLOTS).contains(&parties).then(|| Barrier::bytes(parties)),
            Self::Queue { .. } => Some(Queue::bytes(capacity(max_message))),
            Self::Pipe { duplex } => Some(Connection::bytes(duplex, capacity(max_message))),
            Self::Sentinel => Some(Connection::bytes(false, SENTINEL_CAPACITY)),
            Self::Desk => Some(Connection::bytes(true, MAX_MESSAGE + size_of::<u64>())),
            // In whole units, so that all of it can be mapped into a guest.
            Self::Memory { size } => (1..=MAX_SIZE)
                .contains(&size)
                .then(|| (size as usize).next_multiple_of(MAP_UNIT as usize)),
        }
    }

    /// How much of that is the caller's to use.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Memory { size } => *size,
            _ => 0,
        }
    }

    /// How many handles it has: a pipe has two ends.
    pub(super) fn ends(&self) -> usize {
        match self {
            Self::Pipe { .. } | Self::Sentinel | Self::Desk => 2,
            _ => 1,
        }
    }
}

/// As little as a pipe can hold.
const SENTINEL_CAPACITY: usize = 4096;

/// Largest shared memory.
const MAX_SIZE: u64 = 1 << 40;

/// An object that this process has mapped.
#[derive(Debug)]
pub(crate) enum Object {
    Lock(Lock),
    RLock(RLock),
    Semaphore(Semaphore),
    Event(Event),
    Condition(Condition),
    Barrier(Barrier),
    Queue(Queue),
    /// Both ends of a pipe.
    Pipe(Box<[Connection; 2]>),
    Memory(SharedBytes),
    /// Where clients of a manager come in. What they get instead is a pipe to it.
    Manager(Reception),
}

impl Object {
    /// Makes a new one in this memory, which is all zero.
    pub(super) fn create(shape: &Shape, memory: &Arc<Mapping>) -> io::Result<Self> {
        Ok(match *shape {
            Shape::Lock => Self::Lock(Lock::create(memory)?),
            Shape::RLock => Self::RLock(RLock::create(memory)?),
            Shape::Semaphore { value, bounded } => {
                Self::Semaphore(Semaphore::create(memory, value, bounded.then_some(value))?)
            }
            Shape::Event => Self::Event(Event::create(memory)?),
            Shape::Condition => Self::Condition(Condition::create(memory)?),
            Shape::Barrier { parties } => Self::Barrier(Barrier::create(memory, parties)?),
            Shape::Queue { maxsize, acknowledged } => {
                Self::Queue(Queue::create(memory, QueueOptions { maxsize, acknowledged })?)
            }
            Shape::Pipe { duplex } => Self::Pipe(Box::new(Connection::create(memory, duplex)?.into())),
            Shape::Sentinel => Self::Pipe(Box::new(Connection::create(memory, false)?.into())),
            Shape::Desk => Self::Pipe(Box::new(Connection::create(memory, true)?.into())),
            Shape::Memory { size } => Self::Memory(SharedBytes::open(memory, size as usize)),
        })
    }

    /// Opens the one that is in this memory, of which `size` bytes are the caller's to use if it is shared memory.
    pub(crate) fn open(kind: ObjectKind, memory: &Arc<Mapping>, size: u64) -> io::Result<Self> {
        Ok(match kind {
            ObjectKind::Lock => Self::Lock(Lock::open(memory)?),
            ObjectKind::RLock => Self::RLock(RLock::open(memory)?),
            ObjectKind::Semaphore => Self::Semaphore(Semaphore::open(memory)?),
            ObjectKind::Event => Self::Event(Event::open(memory)?),
            ObjectKind::Condition => Self::Condition(Condition::open(memory)?),
            ObjectKind::Barrier => Self::Barrier(Barrier::open(memory)?),
            ObjectKind::Queue => Self::Queue(Queue::open(memory)?),
            ObjectKind::Connection | ObjectKind::Manager => Self::Pipe(Box::new([
                Connection::open(memory, End::First)?,
                Connection::open(memory, End::Second)?,
            ])),
            ObjectKind::Memory => Self::Memory(SharedBytes::open(memory, size as usize)),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    /// What a handle to it is.
    pub(crate) fn kind(&self) -> ObjectKind {
        match self {
            Self::Lock(_) => ObjectKind::Lock,
            Self::RLock(_) => ObjectKind::RLock,
            Self::Semaphore(_) => ObjectKind::Semaphore,
            Self::Event(_) => ObjectKind::Event,
            Self::Condition(_) => ObjectKind::Condition,
            Self::Barrier(_) => ObjectKind::Barrier,
            Self::Queue(_) => ObjectKind::Queue,
            Self::Pipe(_) => ObjectKind::Connection,
            Self::Memory(_) => ObjectKind::Memory,
            Self::Manager(_) => ObjectKind::Manager,
        }
    }

    /// Takes back whatever the process in this slot held, which is dead or [says so](super::registry::Seat::leave).
    pub(crate) fn recover(&self, slot: Slot) {
        match self {
            Self::Lock(lock) => lock.recover(slot),
            Self::RLock(lock) => lock.recover(slot),
            Self::Semaphore(semaphore) => semaphore.recover(slot),
            Self::Event(event) => event.recover(slot),
            Self::Condition(condition) => condition.recover(slot),
            Self::Barrier(barrier) => barrier.recover(slot),
            Self::Queue(queue) => queue.recover(slot),
            Self::Pipe(ends) => ends[0].recover(slot),
            Self::Memory(_) | Self::Manager(_) => {}
        }
    }
}
