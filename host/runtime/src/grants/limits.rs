//! What guests may use up.

use std::time::Duration;

use crate::objects::DEFAULT_MAX_MESSAGE;
use crate::supervisor::family::MAX_PROCESSES_OF_GUESTS;

/// A memory32 cannot grow beyond this.
pub(crate) const MAX_MEMORY: u64 = 4 << 30;

/// How long a compilation may take, and how much memory, unless told otherwise.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);
const COMPILE_MEMORY: u64 = 4 << 30;

/// What guests may use up. An item that wants more fails with a kind of its own; its neighbours do not notice.
///
/// Each field says what the method of [`PoolBuilder`](crate::PoolBuilder) with its name does.
///
/// Not to be changed are: 10 000 000 elements of tables, 1 MiB of stack for wasm, [1 024 objects](crate::Queue) for each
/// pool, and about 1 100 descriptors for each worker, of which an open file of a granted directory takes one; one more is an
/// error of the guest's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long an item may run before it is killed.
    pub timeout: Option<Duration>,
    /// How long an item may run before it is stopped where it is.
    pub soft_timeout: Option<Duration>,
    /// How much an item may compute, counted and not timed.
    pub fuel: Option<u64>,
    /// Bytes of memory of an instance.
    pub max_memory: u64,
    /// Bytes of memory of all processes together, where the system lets this one see to it.
    pub max_total_memory: Option<u64>,
    /// Bytes of a result, and of a message that a guest puts into a queue or a pipe.
    pub max_message: u64,
    /// Bytes that an item may print.
    pub max_output: Option<u64>,
    /// Bytes of what a worker prints that are passed on each second.
    pub output_rate: Option<u64>,
    /// Processes that guests may have started at a time.
    pub max_processes: usize,
    /// How long compiling the module may take.
    pub compile_timeout: Duration,
    /// Bytes of memory that compiling the module may take.
    pub compile_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: None,
            soft_timeout: None,
            fuel: None,
            max_memory: MAX_MEMORY,
            max_total_memory: None,
            max_message: DEFAULT_MAX_MESSAGE as u64,
            max_output: None,
            output_rate: None,
            max_processes: MAX_PROCESSES_OF_GUESTS,
            compile_timeout: COMPILE_TIMEOUT,
            compile_memory: COMPILE_MEMORY,
        }
    }
}
