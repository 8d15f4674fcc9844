//! Tasks for [wasmp](https://docs.rs/wasmp), Python's `multiprocessing` for WebAssembly.
//!
//! A task is an ordinary function with an attribute:
//!
//! ```
//! use wasmp_guest::task;
//!
//! /// Squares a number.
//! #[task]
//! fn square(x: i64) -> i64 {
//!     x * x
//! }
//!
//! fn main() {}
//! ```
//!
//! The `wasmp` command compiles the crate to a wasm module and runs the task in a pool of worker processes:
//!
//! ```console
//! $ wasmp call . square 7
//! 49
//! $ seq 4 | wasmp map . square
//! 1
//! 4
//! 9
//! 16
//! ```
//!
//! # Arguments and results
//!
//! Whatever serde can carry: numbers, text, lists, maps, your own types with `#[derive(Serialize, Deserialize)]`. A
//! task with several parameters gets several arguments. `&str` and `&[u8]` read straight from the message, without a
//! copy. Bytes, as parameters (`&[u8]`, `Vec<u8>`) and results (`Vec<u8>`), travel as they are; inside other types, use
//! [`serde_bytes`](https://docs.rs/serde_bytes) to the same end.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wasmp_guest::task;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Point {
//!     x: f64,
//!     y: f64,
//! }
//!
//! /// Moves a point.
//! #[task]
//! fn shift(point: Point, by: f64) -> Point {
//!     Point { x: point.x + by, y: point.y + by }
//! }
//! # fn main() {}
//! ```
//!
//! # Errors
//!
//! A task that returns `Err` fails that item with the error's text; a panic or a trap fails it too, with the message
//! and the place. The other items go on. Any error type that can be displayed will do; [`Result`] and [`Error`] are
//! there for tasks that want to use `?` on everything:
//!
//! ```
//! use wasmp_guest::{Error, Result, task};
//!
//! /// The first line of a text file.
//! #[task]
//! fn first_line(path: &str) -> Result<String> {
//!     let text = std::fs::read_to_string(path)?;
//!     text.lines().next().map(str::to_owned).ok_or_else(|| Error::new("the file is empty"))
//! }
//! # fn main() { assert!(first_line("/no/such/file").is_err()); }
//! ```
//!
//! # Shared objects
//!
//! Tasks in different workers work together through objects that all of them have handles to. They have the names and
//! the meanings of Python's `multiprocessing`:
//!
//! | | |
//! | --- | --- |
//! | [`Lock`], [`RLock`], [`Semaphore`], [`BoundedSemaphore`] | who may go on |
//! | [`Event`], [`Condition`], [`Barrier`] | when to go on |
//! | [`Queue`], [`JoinableQueue`], [`SimpleQueue`], [`pipe`] | messages: whatever serde can carry |
//! | [`Value`], [`Array`], [`RawValue`], [`RawArray`] | numbers, and what is made of them, in shared memory |
//! | [`SharedMemory`], [`ShareableList`] | bytes in shared memory, and a list in them |
//! | [`Manager`] | a process that holds [`Dict`], [`List`], [`Set`], [`Counter`] and [`Namespace`], and types of your own ([`managed`](macro@managed)) |
//!
//! A handle is a value like others: a parameter, a result, a part of a message. So a worker comes by one in three ways:
//! it makes the object, gets it from somebody else, or asks for the name that it was given on the command line:
//!
//! ```
//! use wasmp_guest::{Lock, Queue, Result, task};
//!
//! /// Takes lines from one queue, and puts their lengths into another.
//! #[task]
//! fn measure(lines: Queue<String>, lengths: Queue<usize>) -> Result<()> {
//!     loop {
//!         match lines.get() {
//!             Ok(line) => lengths.put(line.len())?,
//!             Err(error) if error.is_shut_down() => return Ok(()),
//!             Err(error) => return Err(error.into()),
//!         }
//!     }
//! }
//!
//! /// `wasmp map --lock printer . print …`
//! #[task]
//! fn print(page: &str) -> Result<()> {
//!     let lock = Lock::named("printer")?;
//!     let _guard = lock.lock()?;
//!     println!("{page}");
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! What waits has three forms: `get` waits as long as it takes, `get_timeout` no longer than it is told, and `try_get`
//! not at all. A time that is up is an error where Python raises one ([`GetError::Empty`]), and `false` or `None` where
//! Python returns `False`. When a worker dies, what it held becomes free, and nobody waits for it for ever.
//!
//! # Processes and pools
//!
//! Where the host lets it, a guest starts processes of its own, in the same sandbox: a [`Process`] runs one task, a [`Pool`]
//! of workers runs many. So a program is written as in Python, with a [`main`](macro@main) that `wasmp run` runs:
//!
//! ```no_run
//! use wasmp_guest::{Pool, Result, main, task};
//!
//! #[task]
//! fn square(x: i64) -> i64 {
//!     x * x
//! }
//!
//! #[main]
//! fn main() -> Result<()> {
//!     let pool = Pool::new(4)?;
//!     println!("{:?}", pool.map(square, [1, 2, 3])?);
//!     Ok(())
//! }
//! ```
//!
//! A task is given as the function itself, whose types are then checked, or by its name. The result of a task that returns a
//! `Result` needs its type written down: `let words: Vec<u64> = pool.map(count_words, paths)?`.
//!
//! What they have to tell, they tell by [`log_to_stderr`] and [`get_logger`], each under its name.
//!
//! # The sandbox
//!
//! A task sees what the pool was given and nothing else: no files without `--dir`, no environment without `--env`, no
//! network. State that a task keeps in a `static` lives as long as its worker's instance and is shared with no other
//! worker.
//!
//! # Testing
//!
//! The function stays as it was written, so unit tests call it, natively, with `cargo test`. What needs a host, such as
//! [`worker_slot`] and the shared objects, gives [`Unsupported`] or [`SharedError::Unsupported`] there.
//!
//! # Other languages
//!
//! This crate is one implementation of the contract in [`wasmp-abi`](https://docs.rs/wasmp-abi): one export a task, and
//! five imports, or more for shared objects and pools.
//!
//! # In this crate
//!
//! | file | what it does |
//! | --- | --- |
//! | `serve.rs` | the loop behind every exported task |
//! | `argument.rs`, `widening.rs` | from a message to the arguments |
//! | `outcome.rs` | from what the task returns to a result or a failure |
//! | `cbor.rs` | CBOR through serde |
//! | `shared/` | the shared objects, one type a file; `handle.rs` is how they travel, `message.rs` what they carry |
//! | `task.rs` | tasks as values |
//! | `object.rs` | types that live in managers |
//! | `start.rs` | what `main` is wrapped in |
//! | `pool/`, `process/` | pools and processes of a guest's own |
//! | `logging.rs` | log records |
//! | `finalize.rs` | callbacks for the end |
//! | `host.rs`, `host/` | the imports; all `unsafe` code |
//! | `panic.rs`, `failure.rs`, `error.rs` | what is said when something goes wrong |

mod argument;
mod cbor;
mod error;
mod failure;
mod finalize;
mod host;
mod logging;
mod manager;
mod object;
mod outcome;
mod panic;
mod pool;
mod process;
mod serve;
mod shared;
mod start;
mod task;
mod widening;

pub use error::{Error, Result, Unsupported};
pub use finalize::{Finalize, at_exit};
pub use host::memory::AtomicNumber;
pub use logging::{Level, Logger, get_logger, log_to_stderr};
pub use manager::{Counter, Dict, Line, List, Manager, ManagerBuilder, Namespace, Object, Set, managed};
pub use object::New;
pub use pool::{AsyncResult, Call, Cause, IMap, Pool, PoolBuilder, PoolError, TaskError, as_completed};
pub use process::{
    Context, CurrentProcess, ParentProcess, Process, ProcessBuilder, ProcessError, StartMethod, active_children,
    cpu_count, current_process, get_all_start_methods, get_context, get_start_method, parent_process, set_start_method,
};
pub use shared::{
    AnyLock, Array, Barrier, BarrierError, BoundedSemaphore, Condition, ConditionError, Connection, Event, GetError,
    JoinableQueue, ListError, Lock, LockGuard, Locked, MappedMemory, MemoryError, Permit, PutError, Queue, RLock,
    RawArray, RawValue, RecvError, ReleaseError, Semaphore, SendError, ShareableList, SharedError, SharedMemory,
    SimpleQueue, Synchronized, TaskDoneError, Value, Waitable, pipe, pipe_one_way, try_wait, wait, wait_timeout,
};
pub use task::{Fits, Gives, Named, Task};
pub use wasmp_abi::{ErrorKind, Integer, ListItem, Plain, Retry};
pub use wasmp_macros::{main, managed, task};
pub use wasmp_manager::{CallError, ManagerError, Usage};

/// The number of the worker this code runs in: from 1 to the size of the pool. It stays the same while items come and
/// go, and names the same place after a worker has been replaced.
///
/// # Errors
///
/// [`Unsupported`] outside a wasmp worker.
///
/// ```
/// use wasmp_guest::{Unsupported, task, worker_slot};
///
/// /// Which worker says hello?
/// #[task]
/// fn hello() -> Result<String, Unsupported> {
///     Ok(format!("hello from worker {}", worker_slot()?))
/// }
///
/// assert_eq!(hello(), Err(Unsupported));
/// ```
pub fn worker_slot() -> Result<u32, Unsupported> {
    host::worker_slot()
}

/// What the code generated by `#[task]` and `#[managed]` needs. Not for use by hand; it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        argument::{Argument, DecodeWithSerde},
        failure::{DisplayFailure, ErrorFailure, Failure, Reason},
        object::{begin_arguments, call, create, named, no_object, return_new},
        outcome::{EncodeWithSerde, Returned, ReturnedPlainly, Value},
        serve::serve,
        start::run,
        task::{Node, id_of},
    };
    pub use serde;
}
