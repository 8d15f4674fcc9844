//! WASI preview 1 for a worker: one thread, locked down, made anew for every instance.
//!
//! What every program calls is done here, without an allocation, a thread or a reactor: arguments, environment, clocks,
//! randomness, sleeping, the three standard streams. Files are left to `wasmtime-wasi`, whose state is made when a
//! guest first needs it; the functions here hand over every descriptor that is not a standard stream.
//!
//! `wasmtime-wasi` does its work in a tokio runtime, and starts one with a thread for each CPU if it finds none. So a
//! worker enters a runtime that has neither threads nor drivers, and all file operations block in place.

mod basics;
mod guest;
mod invented;
mod poll;
mod stdio;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Runtime;
use wasmtime::{AsContextMut, Caller, Memory};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx, WasiFilesystemView};
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1;
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};
use wiggle::GuestMemory;

use self::invented::Invented;
use crate::module::WASI_MODULE;
use crate::output::Stream;
use crate::worker::lean::LeanLinker;

/// A store whose guest has WASI.
pub(crate) trait HasWasi: Send + 'static {
    /// The state of this instance.
    fn wasi(&mut self) -> &mut WasiState;

    /// Takes what the guest writes to one of its streams, in the pieces in which it writes. An error ends the guest.
    fn output(&mut self, stream: Stream, bytes: &[u8]) -> wasmtime::Result<()>;

    /// Has the guest sleep.
    fn asleep(&self, sleep: impl FnOnce()) {
        sleep();
    }
}

/// A directory that the guest is given.
#[derive(Debug)]
pub(crate) struct GrantedDir {
    /// The directory; `O_PATH` is enough.
    pub(crate) dir: OwnedFd,
    /// Its name in the guest.
    pub(crate) guest: String,
    /// Whether the guest may change what is in it.
    pub(crate) writable: bool,
}

/// What all instances of a worker are given.
pub(crate) struct WasiSpec {
    args: Strings,
    env: Strings,
    files: WasiFilesystemCtx,
    dirs: Vec<RawFd>,
    deterministic: bool,
}

impl WasiSpec {
    /// Prepares what will be given. Opens the directories anew, by way of `/proc`: so this belongs before the process
    /// is locked down.
    pub(crate) fn new(args: Strings, env: Strings, grants: &[GrantedDir]) -> io::Result<Self> {
        let mut builder = WasiCtxBuilder::new();
        builder.allow_blocking_current_thread(true);
        for grant in grants {
            let perms = if grant.writable {
                FsPerms::ReadWrite
            } else {
                FsPerms::ReadOnly
            };
            let path = format!("/proc/self/fd/{}", grant.dir.as_raw_fd());
            builder
                .preopened_dir(path, &grant.guest, perms)
                .map_err(io::Error::other)?;
        }
        let mut context = builder.build_p1();
        let mut dirs = Vec::new();
        for (dir, _) in context.filesystem().get_directories().map_err(io::Error::other)? {
            if let Ok(Descriptor::Dir(dir)) = context.filesystem().table.delete(dir) {
                dirs.push(File::as_raw_fd(&dir.dir));
            }
        }
        Ok(Self {
            args,
            env,
            files: context.filesystem().ctx.clone(),
            dirs,
            deterministic: false,
        })
    }

    /// Whether time and randomness are the same each time.
    pub(crate) fn deterministic(self, deterministic: bool) -> Self {
        Self { deterministic, ..self }
    }

    /// The descriptors through which the guest reaches its directories: they must stay open in every worker.
    pub(crate) fn dirs(&self) -> &[RawFd] {
        &self.dirs
    }
}

/// Texts as a guest gets them: each with a zero byte at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    count: u32,
}

impl Strings {
    /// Program arguments. An error if one has a zero byte in it.
    pub(crate) fn args(args: impl IntoIterator<Item = impl AsRef<[u8]>>) -> io::Result<Self> {
        let mut strings = Self::default();
        for arg in args {
            strings.push(&[arg.as_ref()])?;
        }
        Ok(strings)
    }

    /// Environment variables. An error if a name or a value cannot be one.
    pub(crate) fn env<'a>(vars: impl IntoIterator<Item = (&'a str, &'a str)>) -> io::Result<Self> {
        let mut strings = Self::default();
        for (name, value) in vars {
            if name.is_empty() || name.contains('=') {
                let why = format!("`{}` is no name for an environment variable", name.escape_debug());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            strings.push(&[name.as_bytes(), b"=", value.as_bytes()])?;
        }
        Ok(strings)
    }

    fn push(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        if parts.iter().any(|part| part.contains(&0)) {
            let why = "an argument or environment variable has a zero byte in it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }
}

/// The WASI state of one instance.
pub(crate) struct WasiState {
    spec: Arc<WasiSpec>,
    /// Arguments of this instance, in place of those of the spec.
    args: Option<Strings>,
    stdin: Stdin,
    /// Which descriptors are standard streams; a guest may move them.
    standard: Vec<(u32, Standard)>,
    /// Everything else, once it is needed.
    files: Option<Box<WasiP1Ctx>>,
    /// The guest's memory, once it was looked up.
    memory: Option<Memory>,
    /// Its time and randomness, if they are not those of the system.
    invented: Option<Invented>,
}

/// What a guest reads from its standard input.
enum Stdin {
    Bytes(io::Cursor<Vec<u8>>),
    Pipe(File),
}

impl io::Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => bytes.read(buffer),
            Self::Pipe(pipe) => pipe.read(buffer),
        }
    }
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standard {
    In,
    Out(Stream),
}

impl WasiState {
    /// The state of a new instance, with an empty standard input. From the first call on, the calling thread counts as
    /// the worker that it is: call it after the last fork.
    pub(crate) fn new(spec: &Arc<WasiSpec>) -> io::Result<Self> {
        enter_runtime()?;
        Ok(Self {
            spec: Arc::clone(spec),
            args: None,
            stdin: Stdin::Bytes(io::Cursor::default()),
            standard: vec![
                (0, Standard::In),
                (1, Standard::Out(Stream::Stdout)),
                (2, Standard::Out(Stream::Stderr)),
            ],
            files: None,
            memory: None,
            invented: spec.deterministic.then(Invented::default),
        })
    }

    /// Gives the instance this standard input.
    pub(crate) fn set_stdin(&mut self, bytes: Vec<u8>) {
        self.stdin = Stdin::Bytes(io::Cursor::new(bytes));
    }

    /// Gives the instance a standard input that comes as it is read.
    pub(crate) fn set_stdin_pipe(&mut self, pipe: File) {
        self.stdin = Stdin::Pipe(pipe);
    }

    /// Gives the instance these arguments in place of those that all instances have.
    pub(crate) fn set_args(&mut self, args: Strings) {
        self.args = Some(args);
    }

    fn args(&self) -> &Strings {
        self.args.as_ref().unwrap_or(&self.spec.args)
    }

    fn standard(&self, fd: u32) -> Option<Standard> {
        self.standard
            .iter()
            .find(|(at, _)| *at == fd)
            .map(|(_, standard)| *standard)
    }

    /// Whether a descriptor can be open without being a standard stream.
    fn may_be_file(&self, fd: u32) -> bool {
        fd < 3 || self.files.is_some() || !self.spec.dirs.is_empty()
    }

    fn files(&mut self) -> &mut WasiP1Ctx {
        self.files.get_or_insert_with(|| {
            let mut files = WasiCtxBuilder::new().allow_blocking_current_thread(true).build_p1();
            *files.filesystem().ctx = self.spec.files.clone();
            Box::new(files)
        })
    }
}

/// Makes `wasmtime-wasi` find a runtime in this thread, for good: one without threads, timers or a reactor.
fn enter_runtime() -> io::Result<()> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    thread_local!(static ENTERED: Cell<bool> = const { Cell::new(false) });
    if !ENTERED.get() {
        let runtime = match RUNTIME.get() {
            Some(runtime) => runtime,
            None => {
                let made = tokio::runtime::Builder::new_current_thread().build()?;
                RUNTIME.get_or_init(|| made)
            }
        };
        mem::forget(runtime.enter());
        ENTERED.set(true);
    }
    Ok(())
}

/// The functions that need nothing of `wasmtime-wasi` to be defined.
const OWN: [&str; 16] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_prestat_get",
    "fd_read",
    "fd_renumber",
    "fd_write",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// Adds to a linker what its module wants of WASI preview 1.
pub(crate) fn add_to_linker<T: HasWasi>(linker: &mut LeanLinker<'_, T>) -> wasmtime::Result<()> {
    if linker.wanted_of(WASI_MODULE).any(|name| !OWN.contains(&name)) {
        p1::add_to_linker_sync(linker.whole(), |data| data.wasi().files())?;
    }
    linker.whole().allow_shadowing(true);
    basics::add_to_linker(linker)?;
    stdio::add_to_linker(linker)?;
    poll::add_to_linker(linker)?;
    linker.whole().allow_shadowing(false);
    Ok(())
}

/// Hands a call over to `wasmtime-wasi`. Kept out of the way of the calls that are not: its stack frame is large.
#[inline(never)]
fn with_files<T: HasWasi, R>(
    caller: &mut Caller<'_, T>,
    call: impl AsyncFnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> wasmtime::Result<R>,
) -> wasmtime::Result<R> {
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (bytes, data) = guest::memory(caller)?.data_and_store_mut(caller);
    let files = data.wasi().files();
    files.set_hostcall_fuel(fuel);
    wasmtime_wasi::runtime::in_tokio(call(files, &mut GuestMemory::Unshared(bytes)))
}
