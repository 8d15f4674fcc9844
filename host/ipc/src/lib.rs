//! Communication between processes in shared memory: the mechanism under wasmp's pools.
//!
//! Nothing here knows about wasm, serialization or how processes start. There is memory ([`Mapping`]), a way to sleep
//! on a word of it ([`futex`]), a way to wake a process that sleeps in `epoll` ([`Doorbell`]), and algorithms on top,
//! one a file:
//!
//! * [`ring`]: a queue of records from one process to one other, the path of every task and every result;
//! * [`Spinner`]: how long to look before going to sleep;
//! * [`Gauges`]: what a process tells about itself;
//! * objects for any number of processes, each in a memory of its own: [`Lock`], [`RLock`], [`Semaphore`], [`Event`],
//!   [`Condition`], [`Barrier`], [`Queue`], [`Connection`], [`SharedBytes`]. What they have in common: [`Party`] is who
//!   does something, [`Limit`] how long it may wait, and [`wait_any`] waits for several.
//!
//! The head of each file is its protocol: who writes which word, which store commits, how one sleeps, and what is left to
//! do when a process is dead. That last part is `recover`, which the host calls for a [`Slot`] once its process is certainly
//! gone: before any instruction at which a process may be killed, nothing has happened, or everything has, or what it did
//! stands under its slot and `recover` finishes it or takes it back.
//!
//! # Trust
//!
//! Both processes can write every byte of a mapping at any time, and one of them may be hostile. So each algorithm
//! reads a shared word once per decision, checks the value it got, and works on with its private copy. A value that no
//! honest peer writes comes back as a typed error ([`Corrupt`]); it never becomes a panic, an endless loop or an access
//! outside of the mapping. References into a mapping point to atomics only.
//!
//! # Models
//!
//! Algorithms are generic over a backend: the words they use and how one waits on them. The same source runs on the
//! mapping in production and on the model checker's words in the tests.

mod backend;
mod barrier;
mod bytes;
mod condition;
mod copy;
mod doorbell;
mod event;
mod fifo;
pub mod futex;
mod gate;
mod gauges;
mod lock;
mod memory;
#[cfg(test)]
mod model;
mod party;
mod pipe;
mod queue;
pub mod ring;
mod rlock;
mod semaphore;
mod spin;
mod wait;

pub use barrier::{Barrier, BarrierError, BarrierPass};
pub use bytes::{AccessError, SharedBytes, Width, WordWaitError};
pub use condition::{Condition, ConditionError, Waited};
pub use copy::{Duplicate, original, seal};
pub use doorbell::Doorbell;
pub use event::Event;
pub use fifo::Message;
pub use gauges::{Gauges, monotonic};
pub use lock::{Acquired, Lock, ReleaseError};
pub use memory::{Mapping, Region, map_zeroes};
pub use party::{Interrupt, Limit, Party, SLOTS, Slot, WaitError};
pub use pipe::{Advice, Connection, End, RecvError, SendError};
pub use queue::{GetError, PutError, Queue, QueueOptions, TaskDoneError};
pub use ring::{Consumer, Corrupt, Producer, Record, Ticket, ring_bytes};
pub use rlock::RLock;
pub use semaphore::Semaphore;
pub use spin::Spinner;
pub use wait::{MOST_WAITABLES, Waitable, wait_any};
