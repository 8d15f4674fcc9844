//! Shared objects: what tasks in different workers use together. One type a file.
//!
//! Every operation that waits has three forms: `get` waits for as long as it takes, `get_timeout` no longer than it is
//! told, and `try_get` not at all.

use wasmp_abi::Status;

mod any_lock;
mod array;
mod barrier;
mod bounded_semaphore;
mod condition;
mod connection;
mod error;
mod event;
pub(crate) mod handle;
mod joinable_queue;
mod lock;
mod lock_guard;
mod mapped_memory;
mod message;
mod queue;
mod raw_array;
mod raw_value;
mod rlock;
mod semaphore;
mod shareable_list;
mod shared_memory;
mod simple_queue;
mod synchronized;
mod value;
mod wait;

pub use any_lock::AnyLock;
pub use array::Array;
pub use barrier::Barrier;
pub use bounded_semaphore::BoundedSemaphore;
pub use condition::Condition;
pub use connection::{Connection, pipe, pipe_one_way};
pub use error::{
    BarrierError, ConditionError, GetError, ListError, MemoryError, PutError, RecvError, ReleaseError, SendError,
    SharedError, TaskDoneError,
};
pub use event::Event;
pub use joinable_queue::JoinableQueue;
pub use lock::Lock;
pub use lock_guard::LockGuard;
pub use mapped_memory::MappedMemory;
pub use queue::Queue;
pub use raw_array::RawArray;
pub use raw_value::RawValue;
pub use rlock::RLock;
pub use semaphore::{Permit, Semaphore};
pub use shareable_list::ShareableList;
pub use shared_memory::SharedMemory;
pub use simple_queue::SimpleQueue;
pub use synchronized::{Locked, Synchronized};
pub use value::Value;
pub use wait::{Waitable, try_wait, wait, wait_timeout};

/// A time that is up is no error, but nothing.
fn in_time<T>(result: Result<T, Status>) -> Result<Option<T>, SharedError> {
    match result {
        Err(Status::TimedOut) => Ok(None),
        other => other.map(Some).map_err(SharedError::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_worker_nothing_is_made_or_found() {
        fn refused<T>(made: &Result<T, SharedError>) -> bool {
            matches!(made, Err(SharedError::Unsupported))
        }

        assert!(refused(&Lock::new()) && refused(&Lock::named("x")));
        assert!(refused(&RLock::new()) && refused(&RLock::named("x")));
        assert!(refused(&Semaphore::new(1)) && refused(&Semaphore::named("x")));
        assert!(refused(&BoundedSemaphore::new(1)) && refused(&BoundedSemaphore::named("x")));
        assert!(refused(&Event::new()) && refused(&Event::named("x")));
        assert!(refused(&Condition::new()));
        assert!(refused(&Barrier::new(2)) && refused(&Barrier::named("x")));
        assert!(refused(&Queue::<i64>::new(0)) && refused(&Queue::<i64>::named("x")));
        assert!(refused(&JoinableQueue::<i64>::new(0)) && refused(&JoinableQueue::<i64>::acknowledged(0)));
        assert!(refused(&JoinableQueue::<i64>::named("x")) && refused(&SimpleQueue::<i64>::new()));
        assert!(refused(&pipe()) && refused(&pipe_one_way()));
        assert!(refused(&Value::new(1)) && refused(&RawValue::new(1)));
        assert!(refused(&Array::<u8>::new(1)) && refused(&RawArray::from_slice(&[1])));
        assert!(refused(&SharedMemory::create(1)) && refused(&SharedMemory::create_named("x", 1)));
        assert!(refused(&SharedMemory::open_named("x")));
        assert!(matches!(
            ShareableList::new([1]),
            Err(ListError::Shared(SharedError::Unsupported))
        ));
        assert!(refused(&wait(&[])) && refused(&try_wait(&[])));
    }
}
