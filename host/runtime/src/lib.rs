//! Python's `multiprocessing` for WebAssembly: pools of sandboxed worker processes that run the tasks of a wasm module.

#![cfg(target_os = "linux")]

mod engine;
mod error;
mod lockdown;
mod module;
mod output;
mod pool;
mod process;
mod supervisor;
mod wire;
mod worker;

pub use error::{Error, ErrorKind, Result, TaskError};
pub use module::{
    ExportInfo, ImportInfo, MemoryInfo, Module, ModuleError, ModuleKind, ModuleSource, Param, TaskInfo, UnknownImport,
};
pub use output::{GuestOutput, Stream};
pub use pool::{AsyncResult, Call, Chunksize, DirGrant, IMap, Isolation, Order, Pool, PoolBuilder, Results, Submitter};
