#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;

mod atomic;
mod error_kind;
#[doc(hidden)]
pub mod list;
mod object_kind;
mod plain;
mod retry;
mod status;

pub use atomic::Atomic;
pub use error_kind::ErrorKind;
pub use list::ListItem;
pub use object_kind::ObjectKind;
pub use plain::{Integer, Plain};
#[doc(hidden)]
pub use plain::{store_all, with_bytes};
pub use retry::Retry;
pub use status::Status;

/// The module that every wasmp import comes from. A change of meaning gets a new module beside it (`wasmp_v2`); new
/// functions may be added here.
pub const IMPORT_MODULE: &str = "wasmp_v1";

/// Prefix of the exports that are tasks: `wasmp_task_<name>`, of type `() -> ()`.
pub const TASK_EXPORT_PREFIX: &str = "wasmp_task_";

/// Custom section with the ABI version that a module was built for: the text `1`.
pub const ABI_SECTION: &str = "wasmp.abi";

/// Contents of [`ABI_SECTION`].
pub const ABI_VERSION: &str = "1";

/// Custom section with task descriptors: CBOR maps, one right after the other.
pub const TASKS_SECTION: &str = "wasmp.tasks";

/// Custom section with the constructors and methods of types for managers: CBOR maps, one right after the other.
pub const TYPES_SECTION: &str = "wasmp.types";

/// The method of a type that makes an object.
pub const CONSTRUCTOR: &str = "new";

/// Names of the imported functions of [`IMPORT_MODULE`].
pub mod import {
    /// `task_next(buf: i32, cap: i32) -> i64`: the arguments of the next item of this call.
    ///
    /// * `n >= 0`, `n <= cap`: the item has started; its `n` bytes of CBOR stand at `buf`.
    /// * `n > cap`: nothing was copied; call again with at least `n` bytes of room. The item counts as started.
    /// * [`END`](super::END): nothing is left; return from the task export.
    ///
    /// The item that was started before must have been committed by `task_return` or `task_fail`, else it traps.
    pub const TASK_NEXT: &str = "task_next";
    /// `task_return(ptr: i32, len: i32)`: commits the running item's result, `len` bytes of CBOR at `ptr`.
    pub const TASK_RETURN: &str = "task_return";
    /// `task_fail(kind: i32, ptr: i32, len: i32)`: commits the running item as failed: one of
    /// [`FAIL_ERROR`](super::FAIL_ERROR), [`FAIL_ARGUMENTS`](super::FAIL_ARGUMENTS), [`FAIL_RESULT`](super::FAIL_RESULT)
    /// and a UTF-8 message: what went wrong, then what caused it and what caused that, each after a
    /// [`FAIL_CAUSE`](super::FAIL_CAUSE).
    pub const TASK_FAIL: &str = "task_fail";
    /// `task_panic(ptr: i32, len: i32)`: keeps a UTF-8 message for the trap that is about to happen, so that it is
    /// reported as a panic with this text.
    pub const TASK_PANIC: &str = "task_panic";
    /// `worker_slot() -> i32`: the number of the worker slot this instance runs in, from 1.
    pub const WORKER_SLOT: &str = "worker_slot";

    // Shared objects. Results below zero are a `Status`. Timeouts are nanoseconds; 0 does not wait, a negative one waits
    // for ever.

    /// `object_open(kind: i32, token: i32) -> i32`: a handle to the object of this kind whose token, [`TOKEN_LEN`](super::TOKEN_LEN) bytes, stands at `token`; [`HOME_TOKEN`](super::HOME_TOKEN) is a manager's, too.
    pub const OBJECT_OPEN: &str = "object_open";
    /// `object_find(kind: i32, name: i32, length: i32) -> i32`: a handle to the object of this kind and name.
    pub const OBJECT_FIND: &str = "object_find";
    /// `object_token(handle: i32, token: i32) -> i32`: writes the token that stands for the object in a message, and keeps the object alive for whoever gets it.
    pub const OBJECT_TOKEN: &str = "object_token";
    /// `object_close(handle: i32)`: gives the handle back.
    pub const OBJECT_CLOSE: &str = "object_close";
    /// `object_unlink(handle: i32) -> i32`: the object can no longer be found or opened; those who have it keep it.
    pub const OBJECT_UNLINK: &str = "object_unlink";
    /// `lock_new(recursive: i32) -> i32`: a new lock; with `recursive` 1 an rlock.
    pub const LOCK_NEW: &str = "lock_new";
    /// `lock_acquire(handle: i32, timeout: i64) -> i32`: 0: acquired; 1: acquired, and the worker that held it before has died with it.
    pub const LOCK_ACQUIRE: &str = "lock_acquire";
    /// `lock_release(handle: i32) -> i32`: releases it once; of an rlock only by its owner.
    pub const LOCK_RELEASE: &str = "lock_release";
    /// `lock_count(handle: i32) -> i32`: how often this worker holds it; 0: nobody does; [`LOCKED_ELSEWHERE`](super::LOCKED_ELSEWHERE): somebody else does.
    pub const LOCK_COUNT: &str = "lock_count";
    /// `semaphore_new(value: i32, bounded: i32) -> i32`: a new semaphore with so many permits; with `bounded` 1 it never has more.
    pub const SEMAPHORE_NEW: &str = "semaphore_new";
    /// `semaphore_acquire(handle: i32, held: i32, timeout: i64) -> i32`: takes a permit; with `held` 1 it comes back if this worker dies.
    pub const SEMAPHORE_ACQUIRE: &str = "semaphore_acquire";
    /// `semaphore_release(handle: i32, held: i32, permits: i32) -> i32`: gives so many permits.
    pub const SEMAPHORE_RELEASE: &str = "semaphore_release";
    /// `semaphore_value(handle: i32) -> i32`: how many permits there are.
    pub const SEMAPHORE_VALUE: &str = "semaphore_value";
    /// `event_new() -> i32`: a new event, not set.
    pub const EVENT_NEW: &str = "event_new";
    /// `event_set(handle: i32) -> i32`: sets it, and wakes everyone who waits.
    pub const EVENT_SET: &str = "event_set";
    /// `event_clear(handle: i32) -> i32`: clears it.
    pub const EVENT_CLEAR: &str = "event_clear";
    /// `event_is_set(handle: i32) -> i32`: 1: it is set.
    pub const EVENT_IS_SET: &str = "event_is_set";
    /// `event_wait(handle: i32, timeout: i64) -> i32`: waits until it is set.
    pub const EVENT_WAIT: &str = "event_wait";
    /// `condition_new() -> i32`: a new condition.
    pub const CONDITION_NEW: &str = "condition_new";
    /// `condition_wait(handle: i32, lock: i32, timeout: i64) -> i32`: releases the lock, waits to be notified, and takes the lock again as it was; 0: notified; 1: notified, and the lock was abandoned meanwhile.
    pub const CONDITION_WAIT: &str = "condition_wait";
    /// `condition_notify(handle: i32, lock: i32, waiters: i32) -> i32`: notifies so many of those who wait, the oldest first; -1: all.
    pub const CONDITION_NOTIFY: &str = "condition_notify";
    /// `barrier_new(parties: i32) -> i32`: a new barrier.
    pub const BARRIER_NEW: &str = "barrier_new";
    /// `barrier_wait(handle: i32, action: i32, timeout: i64) -> i32`: waits for the others; the result is the place in this trip, from 0. With `action` 1, the last to come gets [`BARRIER_ACT`](super::BARRIER_ACT) at once, while the others wait for its `barrier_open`.
    pub const BARRIER_WAIT: &str = "barrier_wait";
    /// `barrier_open(handle: i32) -> i32`: the action is over: lets everyone pass; 0.
    pub const BARRIER_OPEN: &str = "barrier_open";
    /// `barrier_abort(handle: i32) -> i32`: breaks it.
    pub const BARRIER_ABORT: &str = "barrier_abort";
    /// `barrier_reset(handle: i32) -> i32`: makes it as new; those who wait get `broken`.
    pub const BARRIER_RESET: &str = "barrier_reset";
    /// `barrier_parties(handle: i32) -> i32`: how many it is for.
    pub const BARRIER_PARTIES: &str = "barrier_parties";
    /// `barrier_waiting(handle: i32) -> i32`: how many wait.
    pub const BARRIER_WAITING: &str = "barrier_waiting";
    /// `barrier_is_broken(handle: i32) -> i32`: 1: it is broken.
    pub const BARRIER_IS_BROKEN: &str = "barrier_is_broken";
    /// `queue_new(maxsize: i32, acknowledged: i32) -> i32`: a new queue for so many items, 0: as many as there is memory for; with `acknowledged` 1, an item of a worker that dies before its `queue_task_done` is there again.
    pub const QUEUE_NEW: &str = "queue_new";
    /// `queue_put(handle: i32, message: i32, length: i32, timeout: i64) -> i32`: puts a message.
    pub const QUEUE_PUT: &str = "queue_put";
    /// `queue_put_many(handle: i32, frames: i32, length: i32, timeout: i64) -> i32`: puts messages, each a length of four bytes (little-endian) and so many bytes; the result is how many are in: at least one, or a status.
    pub const QUEUE_PUT_MANY: &str = "queue_put_many";
    /// `queue_get(handle: i32, buffer: i32, capacity: i32, timeout: i64) -> i64`: takes the next message: its length; one that does not fit is to be fetched by `message_read`.
    pub const QUEUE_GET: &str = "queue_get";
    /// `queue_get_many(handle: i32, buffer: i32, capacity: i32, most: i32, timeout: i64) -> i64`: takes up to `most` messages as frames of `queue_put_many`: how many bytes they have; waits for the first only. A first message that does not fit is to be fetched by `message_read`, without a frame.
    pub const QUEUE_GET_MANY: &str = "queue_get_many";
    /// `queue_length(handle: i32) -> i64`: how many messages are in it.
    pub const QUEUE_LENGTH: &str = "queue_length";
    /// `queue_is_full(handle: i32) -> i32`: 1: a put would wait.
    pub const QUEUE_IS_FULL: &str = "queue_is_full";
    /// `queue_task_done(handle: i32) -> i32`: a message that was taken has been dealt with.
    pub const QUEUE_TASK_DONE: &str = "queue_task_done";
    /// `queue_join(handle: i32, timeout: i64) -> i32`: waits until every message has been dealt with.
    pub const QUEUE_JOIN: &str = "queue_join";
    /// `queue_shutdown(handle: i32, immediate: i32) -> i32`: no more puts, and gets until it is empty; with `immediate` 1 it is empty now.
    pub const QUEUE_SHUTDOWN: &str = "queue_shutdown";
    /// `message_read(buffer: i32, capacity: i32) -> i64`: copies the message that did not fit into the buffer it was asked for with.
    pub const MESSAGE_READ: &str = "message_read";
    /// `pipe_new(duplex: i32, ends: i32) -> i32`: a new pipe: writes two handles of four bytes each; without `duplex` the first only receives and the second only sends.
    pub const PIPE_NEW: &str = "pipe_new";
    /// `connection_send(handle: i32, message: i32, length: i32, timeout: i64) -> i32`: sends a message.
    pub const CONNECTION_SEND: &str = "connection_send";
    /// `connection_receive(handle: i32, buffer: i32, capacity: i32, timeout: i64) -> i64`: receives a message, as `queue_get` does.
    pub const CONNECTION_RECEIVE: &str = "connection_receive";
    /// `connection_poll(handle: i32, timeout: i64) -> i32`: 1: something can be received, or the end; 0: the time was up.
    pub const CONNECTION_POLL: &str = "connection_poll";
    /// `connection_directions(handle: i32) -> i32`: 1: receives; 2: sends; 3: both.
    pub const CONNECTION_DIRECTIONS: &str = "connection_directions";
    /// `wait(handles: i32, count: i32, ready: i32, timeout: i64) -> i32`: waits for any of these queues and connections: writes a byte for each, 1 if it is ready; the result is how many are.
    pub const WAIT: &str = "wait";
    /// `manager_new(max_bytes: i64, call_timeout: i64) -> i32`: a new manager, which holds no more than so many bytes, and in which no method of a type takes more than so many nanoseconds; 0: as much as in managers that are not told otherwise: a handle to it, which is one end of a pipe: what is sent and received there is the protocol of `wasmp_manager`.
    pub const MANAGER_NEW: &str = "manager_new";
    /// `pool_new(options: i32, length: i32) -> i32`: a new pool of workers of this module, by the options of the contract.
    pub const POOL_NEW: &str = "pool_new";
    /// `pool_begin(pool: i32, task: i32, task_length: i32, options: i32, length: i32) -> i64`: a new job, calls of the task of this name: its number.
    pub const POOL_BEGIN: &str = "pool_begin";
    /// `pool_submit(pool: i32, job: i32, items: i32, length: i32) -> i32`: submits items, each a length of four bytes (little-endian) and so many bytes, the CBOR array of its arguments; the result is how many they are. Waits while much is submitted that no worker has begun.
    pub const POOL_SUBMIT: &str = "pool_submit";
    /// `pool_seal(pool: i32, job: i32) -> i32`: no more items for this job.
    pub const POOL_SEAL: &str = "pool_seal";
    /// `pool_next(pool: i32, buffer: i32, capacity: i32, timeout: i64) -> i64`: the next outcome, of whatever job: the length of its record; one that does not fit is to be fetched by `message_read`. `end` when no process of the pool is left.
    pub const POOL_NEXT: &str = "pool_next";
    /// `pool_cancel(pool: i32, job: i32) -> i32`: ends a job and kills what runs of it; `pool_next` says so, unless the job was complete already.
    pub const POOL_CANCEL: &str = "pool_cancel";
    /// `pool_forget(pool: i32, job: i32) -> i32`: the outcomes of this job will not be asked for.
    pub const POOL_FORGET: &str = "pool_forget";
    /// `pool_close(pool: i32) -> i32`: no more jobs; those that there are will be finished.
    pub const POOL_CLOSE: &str = "pool_close";
    /// `pool_terminate(pool: i32) -> i32`: kills the workers; jobs that are not complete are cancelled.
    pub const POOL_TERMINATE: &str = "pool_terminate";
    /// `pool_resize(pool: i32, processes: i32) -> i32`: so many workers from now on.
    pub const POOL_RESIZE: &str = "pool_resize";
    /// `pool_join(pool: i32, timeout: i64) -> i32`: waits until a pool that was closed or terminated has no process left.
    pub const POOL_JOIN: &str = "pool_join";
    /// `pool_drop(pool: i32)`: gives the pool back, which is terminated if it is not over.
    pub const POOL_DROP: &str = "pool_drop";
    /// `memory_new(size: i64, name: i32, length: i32) -> i32`: new memory, all zero; `length` 0: without a name.
    pub const MEMORY_NEW: &str = "memory_new";
    /// `memory_size(handle: i32) -> i64`: how many bytes.
    pub const MEMORY_SIZE: &str = "memory_size";
    /// `memory_read(handle: i32, offset: i64, buffer: i32, length: i32) -> i32`: copies out.
    pub const MEMORY_READ: &str = "memory_read";
    /// `memory_write(handle: i32, offset: i64, bytes: i32, length: i32) -> i32`: copies in.
    pub const MEMORY_WRITE: &str = "memory_write";
    /// `memory_atomic(handle: i32, operation: i32, width: i32, offset: i64, operand: i64, expected: i64, old: i32) -> i32`: one atomic operation (see [`Atomic`](super::Atomic)); writes the old value, eight bytes.
    pub const MEMORY_ATOMIC: &str = "memory_atomic";
    /// `memory_map(handle: i32, offset: i64, address: i32, length: i32) -> i32`: maps the object into the guest's own memory: all three are multiples of 65536; what was there is gone.
    pub const MEMORY_MAP: &str = "memory_map";
    /// `memory_unmap(address: i32, length: i32) -> i32`: undoes it: zeroes are there instead.
    pub const MEMORY_UNMAP: &str = "memory_unmap";

    /// `process_start(options: i32, length: i32, args: i32, args_length: i32) -> i32`: starts a process that runs one call of a task, by the options of the contract, with these arguments, a CBOR array: its number.
    pub const PROCESS_START: &str = "process_start";
    /// `process_info(process: i32, buffer: i32, capacity: i32) -> i64`: what there is to know about it, 0: about this one: the length of a CBOR map; one that does not fit is to be fetched by `message_read`.
    pub const PROCESS_INFO: &str = "process_info";
    /// `process_join(process: i32, timeout: i64) -> i32`: waits until it has ended.
    pub const PROCESS_JOIN: &str = "process_join";
    /// `process_exitcode(process: i32, code: i32) -> i32`: 1: it has ended, and how is written to `code`, four bytes: its exit code or, below zero, the signal that killed it; 0: it runs.
    pub const PROCESS_EXITCODE: &str = "process_exitcode";
    /// `process_signal(process: i32, signal: i32) -> i32`: sends it a signal: 2: ends its waits; 9: kills it; 15: terminates it.
    pub const PROCESS_SIGNAL: &str = "process_signal";
    /// `process_sentinel(process: i32) -> i32`: a handle to a connection that is at its end when the process is; 0: when whoever started this one is.
    pub const PROCESS_SENTINEL: &str = "process_sentinel";
    /// `process_drop(process: i32)`: gives its number back. The process goes on.
    pub const PROCESS_DROP: &str = "process_drop";
    /// `cpu_count() -> i32`: how many CPUs the workers may use.
    pub const CPU_COUNT: &str = "cpu_count";

    /// `log_inherit(log: i32)`: what processes and workers of pools that this one starts from now on find as `log` in their `process_info`.
    pub const LOG_INHERIT: &str = "log_inherit";

    /// Every function about items and their outcomes, and who runs them.
    pub const TASK_FUNCTIONS: [&str; 5] = [TASK_NEXT, TASK_RETURN, TASK_FAIL, TASK_PANIC, WORKER_SLOT];
    /// Every function about processes.
    pub const PROCESS_FUNCTIONS: [&str; 9] = [
        PROCESS_START,
        PROCESS_INFO,
        PROCESS_JOIN,
        PROCESS_EXITCODE,
        PROCESS_SIGNAL,
        PROCESS_SENTINEL,
        PROCESS_DROP,
        CPU_COUNT,
        LOG_INHERIT,
    ];
    /// Every function about pools.
    pub const POOL_FUNCTIONS: [&str; 12] = [
        POOL_NEW,
        POOL_BEGIN,
        POOL_SUBMIT,
        POOL_SEAL,
        POOL_NEXT,
        POOL_CANCEL,
        POOL_FORGET,
        POOL_CLOSE,
        POOL_TERMINATE,
        POOL_RESIZE,
        POOL_JOIN,
        POOL_DROP,
    ];
    /// Every function of shared objects, as the contract lists them.
    pub const OBJECT_FUNCTIONS: [&str; 54] = [
        OBJECT_OPEN,
        OBJECT_FIND,
        OBJECT_TOKEN,
        OBJECT_CLOSE,
        OBJECT_UNLINK,
        LOCK_NEW,
        LOCK_ACQUIRE,
        LOCK_RELEASE,
        LOCK_COUNT,
        SEMAPHORE_NEW,
        SEMAPHORE_ACQUIRE,
        SEMAPHORE_RELEASE,
        SEMAPHORE_VALUE,
        EVENT_NEW,
        EVENT_SET,
        EVENT_CLEAR,
        EVENT_IS_SET,
        EVENT_WAIT,
        CONDITION_NEW,
        CONDITION_WAIT,
        CONDITION_NOTIFY,
        BARRIER_NEW,
        BARRIER_WAIT,
        BARRIER_OPEN,
        BARRIER_ABORT,
        BARRIER_RESET,
        BARRIER_PARTIES,
        BARRIER_WAITING,
        BARRIER_IS_BROKEN,
        QUEUE_NEW,
        QUEUE_PUT,
        QUEUE_PUT_MANY,
        QUEUE_GET,
        QUEUE_GET_MANY,
        QUEUE_LENGTH,
        QUEUE_IS_FULL,
        QUEUE_TASK_DONE,
        QUEUE_JOIN,
        QUEUE_SHUTDOWN,
        MESSAGE_READ,
        PIPE_NEW,
        CONNECTION_SEND,
        CONNECTION_RECEIVE,
        CONNECTION_POLL,
        CONNECTION_DIRECTIONS,
        WAIT,
        MEMORY_NEW,
        MEMORY_SIZE,
        MEMORY_READ,
        MEMORY_WRITE,
        MEMORY_ATOMIC,
        MEMORY_MAP,
        MEMORY_UNMAP,
        MANAGER_NEW,
    ];
}

/// Numbers of the functions about pools.
pub mod pool {
    /// In the options of `pool_begin`: an item that ran too long is tried again.
    pub const RETRY_ON_TIMEOUT: u32 = 1;
    /// In the options of `pool_begin`: an item that failed by itself is tried again.
    pub const RETRY_ON_ERROR: u32 = 2;

    /// Bytes in front of the body of a record of `pool_next`.
    pub const RECORD_HEAD: usize = 16;
    /// A record: an item has a result, the CBOR in the body.
    pub const RESULT: u32 = 0;
    /// A record: an item failed; the body is a CBOR map.
    pub const FAILURE: u32 = 1;
    /// A record: every item of the job has had its outcome.
    pub const COMPLETE: u32 = 5;
    /// A record: the job was cancelled, or its pool terminated, before all items had their outcome.
    pub const CANCELLED: u32 = 2;
    /// A record: the job cannot begin, as the text in the body says.
    pub const REFUSED: u32 = 3;
    /// A record: the pool gave up, as the text in the body says.
    pub const BROKEN: u32 = 4;
}

/// Bytes of a token.
pub const TOKEN_LEN: usize = 16;

/// Where a manager's token is expected: the manager of whose pool the worker is, which nobody has to have told it.
pub const HOME_TOKEN: [u8; TOKEN_LEN] = [0; TOKEN_LEN];

/// The CBOR tag of a handle in a message: its content is an array of the kind's number and the token, a byte string of
/// [`TOKEN_LEN`] bytes.
pub const HANDLE_TAG: u64 = 0x7761_736d;

/// What `lock_count` returns for a lock that another worker holds, or the host.
pub const LOCKED_ELSEWHERE: i32 = i32::MAX;

/// What `barrier_wait` returns to the one who has to run the action.
pub const BARRIER_ACT: i32 = i32::MAX;

/// What `memory_map` works in: the page of wasm.
pub const MAP_UNIT: u32 = 65536;

/// What `task_next` returns when no item is left for this call.
pub const END: i64 = -1;

/// `task_fail`: the task returned an error.
pub const FAIL_ERROR: i32 = 1;
/// `task_fail`: the arguments could not be decoded, or their number is wrong.
pub const FAIL_ARGUMENTS: i32 = 2;
/// `task_fail`: the result could not be encoded.
pub const FAIL_RESULT: i32 = 3;

/// What stands before each cause in the message of a failure.
pub const FAIL_CAUSE: char = '\0';

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;

    use super::*;

    const CONTRACT: &str = include_str!("../README.md");

    #[test]
    fn the_contract_names_everything() {
        let tasks = import::TASK_FUNCTIONS.into_iter();
        let pools = import::POOL_FUNCTIONS.into_iter().chain(import::PROCESS_FUNCTIONS);
        for name in tasks.chain(import::OBJECT_FUNCTIONS).chain(pools) {
            assert!(CONTRACT.contains(&format!("| `{name}` | `(")), "{name}");
        }
        for status in Status::ALL {
            let row = format!("| -{} | `{}` |", status as u8, status.name());
            assert!(CONTRACT.contains(&row), "{row}");
            assert_eq!(Status::from_result(status.result()), Some(status));
        }
        for kind in ObjectKind::ALL {
            let row = format!("| {} | {} |", kind as u8, kind.name());
            assert!(CONTRACT.contains(&row), "{row}");
        }
        for operation in Atomic::ALL {
            let row = format!("| {} | `{}` |", operation as u8, operation.name());
            assert!(CONTRACT.contains(&row), "{row}");
        }
        for name in [IMPORT_MODULE, ABI_SECTION, TASKS_SECTION] {
            assert!(CONTRACT.contains(&format!("`{name}`")), "{name}");
        }
        for kind in ErrorKind::ALL {
            assert!(
                CONTRACT.contains(&format!("| {} | `{}` |", kind as u16, kind.name())),
                "{kind:?}"
            );
        }
    }

    #[test]
    fn the_module_in_the_contract_is_the_example() {
        let example = include_str!("../../../examples/wat-task/echo.wat");
        let module = example.split_once("(module").unwrap().1;
        assert!(CONTRACT.contains(module));
    }
}
