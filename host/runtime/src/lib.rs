//! Python's `multiprocessing` for WebAssembly: pools of sandboxed worker processes that run the tasks of a wasm module.
//!
//! A task is a function that a module exports. A pool is a number of operating system processes, each with an instance
//! of that module, and it is called as Python's `multiprocessing.Pool` is: [`apply`](Pool::apply), [`map`](Pool::map),
//! [`imap`](Pool::imap) and their kin. Two walls stand around each task, the wasm sandbox and a process that has given
//! up nearly everything a process can do, and whatever a task does wrong is the error of that one item.
//!
//! ```no_run
//! use std::time::Duration;
//! use wasmp::{DirGrant, Error, ErrorKind, Pool};
//!
//! # fn main() -> wasmp::Result<()> {
//! let pool = Pool::builder("tasks.wasm")
//!     .processes(4)
//!     .timeout(Duration::from_secs(10))
//!     .dir(DirGrant::read_only("texts", "/texts"))
//!     .build()?;
//!
//! let squares: Vec<i64> = pool.map("square", 0..1000)?;
//! match pool.apply::<_, u64>("count_words", ("/texts/moby-dick.txt",)) {
//!     Ok(words) => println!("{words} words"),
//!     Err(Error::Task(error)) if error.kind == ErrorKind::Timeout => println!("gave up: {error}"),
//!     Err(error) => return Err(error),
//! }
//! # drop(squares);
//! # Ok(())
//! # }
//! ```
//!
//! Any serde type goes in and comes out. Arguments are a tuple; `map` and `imap` take one argument an item.
//!
//! # Concepts
//!
//! * [`Module`]: a wasm module that has been looked at; its kind and its tasks are known, no code has run. Compiled
//!   when a pool needs it, by a process of its own, and kept on disk for the next time.
//! * **Task**: a function of the module, called by its name. [`Module::tasks`] tells name, parameters and documentation
//!   as far as the module says them. Modules are of three kinds: see [`ModuleKind`].
//! * [`Pool`]: the workers of one module. All its methods take `&self`; dropping it terminates it. [`PoolBuilder`] has
//!   the settings: how many processes, limits, and what guests may see, which is nothing unless it says so.
//! * [`Call`]: a task and how to call it, from [`Pool::task`], for what differs from call to call: chunk size,
//!   deadline, retries. [`Pool::apply`] and the others are short for a call without options.
//! * A task can have a pool, and processes, of its own: `wasmp_guest::Pool` and `Process`. They have the grants and limits of
//!   the pool that the task runs in; all that the tasks of one pool start together is at most 64 processes at a time, unless
//!   [`PoolBuilder::max_processes`] says otherwise.
//! * [`Context`] and [`Process`]: a module whose tasks run in processes of their own, one task each; and a program's own
//!   `main`, as `wasmp run` runs it ([`Context::main`]). [`StartMethod`] is how they come about.
//! * **Item**: one set of arguments and its one outcome. A `map` over a thousand inputs is a thousand items; each fails
//!   or succeeds alone, however many go to a worker at a time ([`Chunksize`]).
//! * [`AsyncResult`]: an outcome to be waited for, from [`Pool::apply_async`] and [`Pool::map_async`]: with `get`, with
//!   callbacks, as a future, or with others, [as they complete](as_completed).
//! * [`Submitter`] and [`Results`]: the two ends of a stream, from [`Call::stream`], for inputs and results that are
//!   handled by different threads.
//! * **Shared objects**: what workers and the host's threads use together, named as in Python: [`Queue`],
//!   [`JoinableQueue`] and [`SimpleQueue`], [`pipe`] and [`Connection`], [`Lock`], [`RLock`], [`Semaphore`],
//!   [`BoundedSemaphore`], [`Event`], [`Condition`] and [`Barrier`], [`Value`], [`Array`], [`SharedMemory`] and
//!   [`ShareableList`]. See [below](#shared-objects).
//! * [`Manager`]: a process that holds values for others: [`Dict`], [`List`], [`Set`], [`Counter`], [`Namespace`], and
//!   [objects](Object) of types that guests define. Each request to it is one step; guests have the same under the same names, and programs elsewhere can [be let
//!   in](Manager::listen), by TLS with the feature `tls`.
//! * **Worker**: a process with one thread and one instance of the module. A trap or a panic costs it the instance
//!   ([`Isolation`] says what else does); a deadline or a signal costs the process, and the pool starts another.
//!
//! # Shared objects
//!
//! Each of them is a handle to memory that the host has made, and only those who were given a handle can reach it. Handles
//! are serde values: they travel in arguments, results and messages, at any depth, and arrive as the same type of
//! `wasmp_guest`, whose methods have the same names and meanings as those here. Names are for guests that cannot be
//! passed a handle: [`PoolBuilder::share`].
//!
//! ```no_run
//! use wasmp::{Pool, Queue};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder("tasks.wasm").processes(4).build()?;
//! let words = Queue::<String>::new(1000)?;
//! let counts: Vec<_> = (0..4)
//!     .map(|_| pool.apply_async::<_, u64>("count_words", (&words,)))
//!     .collect::<wasmp::Result<_>>()?;
//! for line in std::io::stdin().lines() {
//!     words.put(line?)?;
//! }
//! words.shutdown()?; // the tasks get what is there, and then learn that this was all
//! for count in counts {
//!     println!("{}", count.get()?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! * **Time**: what can wait has three forms. `get` waits for as long as it takes, `get_timeout` no longer than it is told,
//!   `try_get` not at all. A time that is up is `false` or `None` where Python returns `False`, and an error such as
//!   [`GetError::Empty`] where Python raises one.
//! * **Death**: a worker that dies leaves nothing locked. Its locks are free, and the next owner is
//!   [told](LockGuard::abandoned); its [permits](Semaphore::permit) come back; a barrier that waits for it breaks; an
//!   [acknowledged](JoinableQueue::acknowledged) message that it had taken is there again; messages are in a queue as a
//!   whole or not at all; the ends of its pipes close.
//! * **Life**: an object is there as long as anybody has a handle to it, or it is referred to by arguments or messages that
//!   are on their way. A handle that a worker has put into a message keeps it as long as the pool. One that is serialized
//!   by somebody else than this crate keeps it as long as this process, or until it is [unlinked](SharedMemory::unlink).
//!
//! # Processes
//!
//! ```text
//! your program                             control sockets
//! ┌────────────────────────────────────┐                     exec of /proc/self/exe, once a program
//! │ threads that call Pool             ├───────────────►┌──────────────┐
//! │ one supervisor thread: epoll over  │                │ wasmp-keeper │ starts what follows; kills it when the
//! │ doorbells, pidfds, control sockets ├─────────┐      └──┬────────┬──┘ program is gone
//! └──────┬─────────────────────────────┘         │    fork │        │ fork
//!        │                                       │ ┌───────▼──────┐ │
//!        │ for each worker: a ring of tasks,     └►│ wasmp-zygote │ │ one for each module and its settings:
//!        │ a ring of replies, an eventfd           └──────┬───────┘ │ compiled code mapped and linked
//!        │                                           fork │  ┌──────▼────────┐
//!        │          ┌──────────────┐                      │  │ wasmp-compile │ locked down; ends when the
//!        └─────────►│ wasmp-worker │ … ◄──────────────────┘  └───────────────┘ module is compiled
//!                   └──────────────┘ locked down, one thread, runs the guest
//! ```
//!
//! The keeper is this very program, executed again; a constructor that this crate links in takes over before `main`, so
//! `main` has nothing to do with it, and it works in tests, too. Where that is impossible, as in a library loaded by
//! another language, [`PoolBuilder::worker_exe`] or the environment variable `WASMP_WORKER_EXE` names another
//! executable; the `wasmp` command will do. Other constructors of the program may run in the keeper before it takes
//! over.
//!
//! The zygote keeps one worker forked ahead, `wasmp-spare`, which is the next one that is needed: your program has its end of a
//! socket through which it gets its order. Once a process or a worker has
//! been spawned, which takes a keeper of its own, there is a spare one of those, too.
//!
//! The workers of an [inline](PoolBuilder::inline) pool are threads of your program instead: for debugging.
//!
//! A worker dies with its host, also when that is killed: the kernel signals it when the last end of a pipe closes that
//! only the host has. The workers of a zygote that dies go on.
//!
//! # Walls
//!
//! The first is wasm: a guest reaches its own memory and what it imports, which is [WASI preview 1][wasi] with the
//! directories, the environment and the arguments that the builder gave, and no network. The second does not rely on
//! the first: before a worker runs a guest it closes every descriptor that is not its own, leaves its session, gives up
//! its capabilities, sets resource limits and `no_new_privs`, and installs Landlock rules and a seccomp filter. It
//! cannot start processes or threads, make memory executable, or open anything but what lies in a granted directory.
//! Everything that comes back from a worker is read as from an enemy. [`Grants`] is all that guests are given and may use up,
//! also from a file. [`PoolBuilder::sandbox`] says what happens where the
//! system lacks a part of the second wall, and [`Platform`] what this one has.
//!
//! [wasi]: https://github.com/WebAssembly/WASI/tree/wasi-0.1/preview1
//!
//! # Errors
//!
//! [`Error`] is why a call failed. [`Error::Task`] among them is the outcome of an item, a [`TaskError`]: plain data
//! with a [`kind`](TaskError::kind), a message, and the guest's backtrace if it had one. The rest is about the call
//! itself: no such task, arguments that cannot be serialized, a pool that is closed.
//!
//! | what a task does | [`ErrorKind`] | the worker |
//! | --- | --- | --- |
//! | returns an error, or does not like its arguments | `Error`, `Arguments` | goes on |
//! | panics, traps, exits | `Panic`, `Trap`, `Exit` | goes on with a new instance |
//! | needs more memory than [`max_memory`](PoolBuilder::max_memory) | `MemoryLimit` | goes on with a new instance |
//! | prints more than [`max_output`](PoolBuilder::max_output) | `OutputLimit` | goes on with a new instance |
//! | computes more than its [`fuel`](PoolBuilder::fuel) | `FuelLimit` | goes on with a new instance |
//! | runs longer than [`timeout`](PoolBuilder::timeout) | `Timeout` | is killed and replaced |
//! | runs longer than [`soft_timeout`](PoolBuilder::soft_timeout) | `Timeout` | goes on with a new instance |
//! | loses its process | `WorkerLost`, unless a [retry](Retry) succeeds | is replaced |
//! | is [cancelled](AsyncResult::cancel) | `Cancelled` | is killed and replaced, if it ran it |
//!
//! Nothing waits for ever: what is open when a pool is terminated is `Cancelled`, and when its workers cannot run at
//! all the pool gives up with [`Error::Broken`], which says why.
//!
//! # Events
//!
//! What an operator may want to know are events of [`tracing`](https://docs.rs/tracing), which cost next to nothing while
//! nobody subscribes. They are about births, deaths and ends, and none is on the way of an item. Keeper, zygotes and workers
//! have no subscriber. A subscriber must not call the pool: it may be told of what happens to it on the thread that does it.
//!
//! | level | what happened |
//! | --- | --- |
//! | error | the keeper is lost, a pool gave up |
//! | warn | a worker died, and why; an item ran longer than it may; a zygote is lost, and will be replaced; a log cannot be written |
//! | debug | a worker started, also in the place of another, or ended as it was told; a pool was closed, or ended |
//!
//! # Inside
//!
//! What depends on what; `module`, `engine`, `output`, `cbor` and `error` are used all over.
//!
//! ```text
//! shared         what callers see: queues, locks, memory
//!  └─ objects    which objects there are, who has which, for how long
//! pool           what callers see: builder, calls, streams, results
//! context        what callers see: processes
//!  ├─ compile    a module's compiled code, had from the compiler process
//!  └─ supervisor the backlog, the workers' rings, births and deaths; one thread for all pools
//!      ├─ insight      what it notes about its workers: statistics, traces
//!      ├─ process      keeper, zygote, compiler; how they are started, and the messages they get
//!      │   └─ worker   locks itself down, then turns task frames into replies
//!      │       ├─ lockdown   the second wall
//!      │       ├─ spec       what a pool tells its workers, once
//!      │       └─ wire       the frames: all that worker and supervisor know of each other
//!      └─ wire
//! wasmp-ipc      rings, locks and all the other algorithms in shared memory; knows neither wasm nor CBOR
//! wasmp-abi      names and numbers that host and guest share
//! ```
//!
//! # Platforms
//!
//! Linux 5.16 or later. x86-64 is tested; aarch64 is written for and has not been run.

#[cfg(not(target_os = "linux"))]
compile_error!("wasmp runs on Linux only: its workers need seccomp, Landlock, memfds and futexes");

mod cbor;
mod compile;
mod context;
mod engine;
mod error;
#[cfg(test)]
mod fuzz;
mod grants;
mod identity;
mod insight;
mod lockdown;
mod logs;
mod manager;
mod module;
mod objects;
mod outcome;
mod output;
mod platform;
mod pool;
mod process;
mod retry;
mod sandbox;
mod shared;
mod spec;
mod supervisor;
pub mod units;
mod wire;
mod worker;

pub use context::{Context, Process, ProcessBuilder};
pub use error::{Cause, Error, ErrorKind, Result, TaskError};
pub use grants::{DirGrant, Grants, Limits, NamedObject, ObjectKind};
pub use identity::StartMethod;
pub use insight::{PoolStats, SlowItem, WorkerStats, WorkerTimes};
pub use manager::{
    Address, Counter, Dict, Line, List, Listener, Manager, ManagerBuilder, ManagerServer, Namespace, Object, PeerError,
    Set, managed,
};
#[cfg(feature = "tls")]
pub use manager::{TlsClient, TlsServer};
pub use module::{
    ExportInfo, ImportInfo, MemoryInfo, Module, ModuleError, ModuleKind, ModuleSource, Param, TaskInfo, TypeInfo,
    UnknownImport,
};
pub use output::{GuestOutput, Stream};
pub use platform::Platform;
pub use pool::{
    AsCompleted, AsyncResult, Call, Chunksize, IMap, Order, Pool, PoolBuilder, Results, Submitter, as_completed,
};
pub use retry::Retry;
pub use sandbox::Sandbox;
pub use shared::{
    AnyLock, Array, Barrier, BarrierError, BoundedSemaphore, Condition, ConditionError, Connection, Event, GetError,
    Integer, JoinableQueue, ListError, ListItem, Lock, LockGuard, Locked, MemoryError, Permit, Plain, PutError, Queue,
    RLock, RawArray, RawValue, RecvError, ReleaseError, Semaphore, SendError, Shareable, ShareableList, SharedError,
    SharedMemory, SimpleQueue, Synchronized, TaskDoneError, Value, Waitable, pipe, pipe_one_way, try_wait, wait,
    wait_timeout,
};
pub use spec::Isolation;
pub use wasmp_manager::{CallError, ManagerError, SnapshotError, TlsError, Usage};
