//! What threads and workers use together: one type a file. The [`managed!`](crate::managed) of the crates that have a
//! manager makes types of their own of them, and says what all of them do.

mod array;
mod barrier;
mod condition;
mod event;
mod lock;
mod methods;
mod queue;
mod semaphore;
mod value;

use std::time::Duration;

pub use array::Array;
pub use barrier::Barrier;
pub use condition::Condition;
pub use event::Event;
pub use lock::{Lock, LockGuard, RLock};
pub use queue::{JoinableQueue, Queue};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use value::Value;

use crate::client::{Client, Proxy};
use crate::protocol::{FOREVER, Fields, Kind, Op, Status};
use crate::{ManagerError, told};

/// How long to wait, as requests have it.
pub(crate) fn nanoseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_nanos()).unwrap_or(FOREVER)
}

/// A new object of this kind.
fn create<C: Client>(client: &C, kind: Kind, number: u32) -> Result<Proxy<C>, ManagerError> {
    Proxy::create(client, Op::NewShared, |writer| {
        writer.u8(kind as u8);
        writer.u32(number);
        Ok(())
    })
}

/// The object of this name.
fn named<C: Client>(client: &C, name: &str, kind: Kind, number: u32) -> Result<Proxy<C>, ManagerError> {
    Proxy::named_with(client, Op::NamedShared, name, |writer| {
        writer.u8(kind as u8);
        writer.u32(number);
        Ok(())
    })
}

/// What came in time, as `read` reads it.
pub(crate) fn in_time<R>(
    status: Status,
    fields: Fields<'_>,
    read: impl FnOnce(Fields<'_>) -> Result<R, ManagerError>,
) -> Result<Option<R>, ManagerError> {
    match status {
        Status::Done => read(fields).map(Some),
        _ => Ok(None),
    }
}

/// Asks for something that has no fields, and waits for it at most so long. Whether it came in time.
pub(crate) fn wait<C: Client>(proxy: &Proxy<C>, op: Op, time: u64) -> Result<bool, ManagerError> {
    let came = proxy.ask_for_long(
        op,
        |writer| {
            writer.u64(time);
            Ok(())
        },
        |status, fields| in_time(status, fields, |_| Ok(())),
    )?;
    Ok(came.is_some())
}

/// What was waited for without a limit has come.
pub(crate) fn came<T>(in_time: Option<T>) -> Result<T, ManagerError> {
    told(in_time)
}
