//! What the workers of a pool are told, once, through their zygote.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engine::EngineOptions;
use crate::module::{ModuleKind, TaskInfo, TypeInfo};
use crate::sandbox::Sandbox;

/// How much of an instance's state one task leaves to the next.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Isolation {
    /// A worker keeps its instance: globals and memory live on from task to task, as in CPython.
    #[default]
    Worker,
    /// Each task gets a fresh instance.
    Task,
    /// An instance is kept for so many tasks, at least one.
    Every(u32),
}

impl Isolation {
    /// How many tasks an instance may run; `None` if that does not matter.
    pub(crate) fn tasks(self) -> Option<u32> {
        match self {
            Self::Worker => None,
            Self::Task => Some(1),
            Self::Every(tasks) => Some(tasks),
        }
    }
}

/// A task that each instance of a worker runs before any other.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Initializer {
    /// Its place in the module's list.
    pub(crate) task: u32,
    /// The CBOR of its arguments.
    #[serde(with = "serde_bytes")]
    pub(crate) args: Vec<u8>,
}

/// A directory grant as it travels to the zygote; its descriptor travels beside it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct DirSpec {
    pub(crate) guest: String,
    pub(crate) writable: bool,
}

/// A type of the module, as a manager makes its objects.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TypeSpec {
    pub(crate) name: String,
    /// The export that makes an object.
    pub(crate) constructor: String,
    pub(crate) methods: Vec<MethodSpec>,
}

/// A method of a type.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct MethodSpec {
    pub(crate) name: String,
    /// The export that implements it.
    pub(crate) export: String,
    /// The type of which its result makes an object.
    pub(crate) makes: Option<String>,
}

impl From<&TypeInfo> for TypeSpec {
    fn from(info: &TypeInfo) -> Self {
        let method = |method: &TaskInfo| MethodSpec {
            name: method.name.clone(),
            export: method.export.clone(),
            makes: method.makes.clone(),
        };
        Self {
            name: info.name.clone(),
            constructor: info.constructor.export.clone(),
            methods: info.methods.iter().map(method).collect(),
        }
    }
}

/// Everything that the workers of a pool are told.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Spec {
    pub(crate) options: EngineOptions,
    pub(crate) kind: ModuleKind,
    /// What the module imports: from which module, and by which name.
    pub(crate) imports: Vec<(String, String)>,
    /// For each task, the export that implements it.
    pub(crate) exports: Vec<String>,
    /// The types whose objects a manager can hold.
    pub(crate) types: Vec<TypeSpec>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dirs: Vec<DirSpec>,
    pub(crate) max_memory: u64,
    /// Most bytes of a result, and of a message that a guest puts into a queue or a pipe.
    pub(crate) max_message: usize,
    /// Most bytes that an item may print.
    pub(crate) max_output: Option<u64>,
    /// How much an item may compute.
    pub(crate) fuel: Option<u64>,
    /// Whether time and randomness are the same each time.
    pub(crate) deterministic: bool,
    pub(crate) isolation: Isolation,
    /// How much of the wall around workers there is to be.
    pub(crate) sandbox: Sandbox,
    /// How long an item may run before it is stopped where it is.
    pub(crate) soft_timeout: Option<Duration>,
    /// Whether an instance can be copied by copying its memory.
    pub(crate) all_memory: bool,
    /// Whether SIGINT ends the waits of a worker; else it ends the worker.
    pub(crate) signals: bool,
    /// Whether what a command prints is its result; else it is passed on as it comes.
    pub(crate) capture: bool,
    /// How many CPUs they may use.
    pub(crate) cpus: u32,
    /// Whether the host is told when each item began and ended, and how long guests wait.
    pub(crate) timed: bool,
}

/// How many CPUs this process, and all that it starts, may use: as many as at the first question, which takes files to answer.
pub(crate) fn available_cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// Something in a memfd, and the same bytes again.
pub(crate) fn to_memfd(name: &str, value: &impl Serialize) -> io::Result<(OwnedFd, Vec<u8>)> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(io::Error::other)?;
    let mut file = File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(&bytes)?;
    Ok((file.into(), bytes))
}

/// What is in a memfd, which others may be reading at the same time.
pub(crate) fn from_memfd<T: DeserializeOwned>(fd: OwnedFd, len: u64) -> io::Result<T> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    File::from(fd).read_exact_at(&mut bytes, 0)?;
    ciborium::from_reader(&bytes[..]).map_err(io::Error::other)
}
