//! What processes share: the types that callers see.
//!
//! Each is a handle. It travels in arguments, results and messages, and works in whoever receives it; the object behind it
//! is gone when nobody refers to it any more. The host's threads use the same methods as guests do in their SDK.
//!
//! Every operation that waits has three forms: `get` waits for as long as it takes, `get_timeout` no longer than it is told,
//! and `try_get` not at all.

mod barrier;
mod condition;
mod connection;
mod error;
mod event;
mod handle;
mod list;
mod lock;
mod memory;
mod message;
mod queue;
mod semaphore;
#[cfg(test)]
mod tests;
mod value;
mod wait;

use std::time::Duration;

pub use wasmp_abi::{Integer, ListItem, Plain};
use wasmp_ipc::Limit;

pub use self::barrier::Barrier;
pub use self::condition::Condition;
pub(crate) use self::connection::sentinel;
pub use self::connection::{Connection, pipe, pipe_one_way};
pub use self::error::{
    BarrierError, ConditionError, GetError, ListError, MemoryError, PutError, RecvError, ReleaseError, SendError,
    SharedError, TaskDoneError,
};
pub use self::event::Event;
pub use self::handle::Shareable;
pub(crate) use self::handle::{Handle, References, collect_references};
pub use self::list::ShareableList;
pub use self::lock::{AnyLock, Lock, LockGuard, RLock};
pub use self::memory::SharedMemory;
pub use self::queue::{JoinableQueue, Queue, SimpleQueue};
pub use self::semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use self::value::{Array, Locked, RawArray, RawValue, Synchronized, Value};
pub use self::wait::{Waitable, try_wait, wait, wait_timeout};

/// At most so long from now.
fn within(timeout: Duration) -> Limit {
    Limit::after(Some(timeout))
}
