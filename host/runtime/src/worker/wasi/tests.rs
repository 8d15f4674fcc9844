//! Every test runs in a process of its own with one thread, as a worker does, and ends by proving that it still has one.

use std::collections::HashSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landlock::{Access, AccessFs, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr};
use wasmtime::{Engine, Instance, Module, Store, Trap, Val, ValType};
use wasmtime_wasi::I32Exit;

use super::guest::errno;
use super::*;
use crate::engine::{EngineOptions, EngineRole, compile, config};

/// Set in the process that runs one test, to its name.
const CHILD: &str = "WASMP_TEST_WASI";

/// Runs a test body in a process with one thread.
fn in_one_thread(test: &str, body: impl FnOnce()) {
    if env::var_os(CHILD).is_none() {
        let child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                &format!("{}::{test}", module_path!().split_once("::").unwrap().1),
            ])
            .env(CHILD, test)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{output}");
        assert!(output.contains("1 passed"), "{output}");
        return;
    }
    // SAFETY: this process runs nothing but this test, so no other thread holds a lock while it forks.
    match unsafe { libc::fork() } {
        0 => {
            let passed = catch_unwind(AssertUnwindSafe(|| {
                // Opened now, read later: the body may lock everything away.
                let threads = fs::read_dir("/proc/self/task").unwrap();
                body();
                assert_eq!(threads.count(), 1, "a thread was started");
            }));
            // SAFETY: ends the process without running what belongs to its parent.
            unsafe { libc::_exit(passed.is_err().into()) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: `status` is valid for writes.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert_eq!(status, 0);
        }
    }
}

/// Functions that tests call, with their parameters. A guest with an export for each passes the calls on.
const FUNCTIONS: &[(&str, &str)] = &[
    ("args_get", "i32 i32"),
    ("args_sizes_get", "i32 i32"),
    ("clock_res_get", "i32 i32"),
    ("clock_time_get", "i32 i64 i32"),
    ("environ_get", "i32 i32"),
    ("environ_sizes_get", "i32 i32"),
    ("fd_advise", "i32 i64 i64 i32"),
    ("fd_allocate", "i32 i64 i64"),
    ("fd_close", "i32"),
    ("fd_datasync", "i32"),
    ("fd_fdstat_get", "i32 i32"),
    ("fd_fdstat_set_flags", "i32 i32"),
    ("fd_filestat_get", "i32 i32"),
    ("fd_filestat_set_size", "i32 i64"),
    ("fd_filestat_set_times", "i32 i64 i64 i32"),
    ("fd_pread", "i32 i32 i32 i64 i32"),
    ("fd_prestat_dir_name", "i32 i32 i32"),
    ("fd_prestat_get", "i32 i32"),
    ("fd_pwrite", "i32 i32 i32 i64 i32"),
    ("fd_read", "i32 i32 i32 i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32"),
    ("fd_renumber", "i32 i32"),
    ("fd_seek", "i32 i64 i32 i32"),
    ("fd_sync", "i32"),
    ("fd_tell", "i32 i32"),
    ("fd_write", "i32 i32 i32 i32"),
    ("path_create_directory", "i32 i32 i32"),
    ("path_filestat_get", "i32 i32 i32 i32 i32"),
    ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32"),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    ("path_readlink", "i32 i32 i32 i32 i32 i32"),
    ("path_remove_directory", "i32 i32 i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32"),
    ("path_symlink", "i32 i32 i32 i32 i32"),
    ("path_unlink_file", "i32 i32 i32"),
    ("poll_oneoff", "i32 i32 i32 i32"),
    ("random_get", "i32 i32"),
    ("sched_yield", ""),
    ("sock_accept", "i32 i32 i32"),
    ("sock_shutdown", "i32 i32"),
];

fn guest() -> Vec<u8> {
    let mut wat = "(module\n".to_owned();
    for (name, params) in FUNCTIONS {
        writeln!(
            wat,
            "(import \"{WASI_MODULE}\" \"{name}\" (func ${name} (param {params}) (result i32)))"
        )
        .unwrap();
    }
    writeln!(
        wat,
        "(import \"{WASI_MODULE}\" \"proc_exit\" (func $proc_exit (param i32)))"
    )
    .unwrap();
    wat += "(memory (export \"memory\") 2)\n";
    wat += "(func (export \"proc_exit\") (param i32) (call $proc_exit (local.get 0)))\n";
    for (name, params) in FUNCTIONS {
        let gets: String = (0..params.split_whitespace().count())
            .map(|n| format!("(local.get {n})"))
            .collect();
        writeln!(
            wat,
            "(func (export \"{name}\") (param {params}) (result i32) (call ${name} {gets}))"
        )
        .unwrap();
    }
    wat::parse_str(wat + ")").unwrap()
}

/// The size of the guest's memory.
const MEMORY: i64 = 2 << 16;

struct Host {
    wasi: WasiState,
    written: Vec<(Stream, String)>,
}

impl HasWasi for Host {
    fn wasi(&mut self) -> &mut WasiState {
        &mut self.wasi
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) -> wasmtime::Result<()> {
        self.written.push((stream, String::from_utf8_lossy(bytes).into_owned()));
        Ok(())
    }
}

/// A linker for a module that imports these of WASI.
fn wanting<'n>(engine: &Engine, names: impl IntoIterator<Item = &'n str>) -> LeanLinker<'n, Host> {
    let mut linker = LeanLinker::new(engine, names.into_iter().map(|name| (WASI_MODULE, name)));
    add_to_linker(&mut linker).unwrap();
    linker
}

struct Guest {
    store: Store<Host>,
    instance: Instance,
}

impl Guest {
    fn new(spec: WasiSpec) -> Self {
        let options = EngineOptions::default();
        // The compiler has threads; a process of its own keeps them out of this one.
        let code = compiled(&options);
        let engine = Engine::new(&config(&options, EngineRole::Run)).unwrap();
        // SAFETY: the code comes from the compiler.
        let module = unsafe { Module::deserialize(&engine, code) }.unwrap();
        let mut linker = wanting(&engine, module.imports().map(|import| import.name()));
        let wasi = WasiState::new(&Arc::new(spec)).unwrap();
        let mut store = Store::new(
            &engine,
            Host {
                wasi,
                written: Vec::new(),
            },
        );
        let instance = linker.whole().instantiate(&mut store, &module).unwrap();
        Self { store, instance }
    }

    fn bare() -> Self {
        Self::new(WasiSpec::new(Strings::default(), Strings::default(), &[]).unwrap())
    }

    fn try_call(&mut self, name: &str, args: &[i64]) -> wasmtime::Result<i32> {
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let ty = function.ty(&self.store);
        assert_eq!(ty.params().len(), args.len(), "{name}");
        let args: Vec<_> = ty
            .params()
            .zip(args)
            .map(|(ty, arg)| match ty {
                ValType::I64 => Val::I64(*arg),
                _ => Val::I32(*arg as i32),
            })
            .collect();
        let mut results = vec![Val::I32(0); ty.results().len()];
        function.call(&mut self.store, &args, &mut results)?;
        Ok(results.first().map_or(0, Val::unwrap_i32))
    }

    #[track_caller]
    fn call(&mut self, name: &str, args: &[i64]) {
        assert_eq!(self.try_call(name, args).unwrap(), errno::SUCCESS, "{name}");
    }

    fn memory(&mut self) -> &mut [u8] {
        self.instance
            .get_memory(&mut self.store, "memory")
            .unwrap()
            .data_mut(&mut self.store)
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.memory()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn u32(&mut self, at: usize) -> u32 {
        u32::from_le_bytes(self.memory()[at..at + 4].try_into().unwrap())
    }

    fn u64(&mut self, at: usize) -> u64 {
        u64::from_le_bytes(self.memory()[at..at + 8].try_into().unwrap())
    }

    /// Puts a list of buffers at 0 and returns its length.
    fn buffers(&mut self, buffers: &[(u32, u32)]) -> i64 {
        for (index, (at, len)) in buffers.iter().enumerate() {
            self.put(8 * index, &[at.to_le_bytes(), len.to_le_bytes()].concat());
        }
        buffers.len() as i64
    }

    fn write(&mut self, fd: i64, text: &str) -> i32 {
        self.put(1000, text.as_bytes());
        let count = self.buffers(&[(1000, text.len() as u32)]);
        self.try_call("fd_write", &[fd, 0, count, 900]).unwrap()
    }

    fn read(&mut self, fd: i64, len: u32) -> Result<String, i32> {
        let count = self.buffers(&[(1000, len)]);
        match self.try_call("fd_read", &[fd, 0, count, 900]).unwrap() {
            errno::SUCCESS => {
                let read = self.u32(900) as usize;
                Ok(String::from_utf8_lossy(&self.memory()[1000..1000 + read]).into_owned())
            }
            error => Err(error),
        }
    }

    /// Opens a path under a directory; `create` also truncates and asks for the right to write.
    fn open(&mut self, dir: i64, path: &str, create: bool) -> Result<i64, i32> {
        const READ: i64 = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 14 | 1 << 21;
        const WRITE: i64 = 1 << 6 | 1 << 8 | 1 << 22;
        self.put(1000, path.as_bytes());
        let (flags, rights) = if create { (1 | 8, READ | WRITE) } else { (0, READ) };
        match self
            .try_call(
                "path_open",
                &[dir, 1, 1000, path.len() as i64, flags, rights, rights, 0, 900],
            )
            .unwrap()
        {
            errno::SUCCESS => Ok(self.u32(900).into()),
            error => Err(error),
        }
    }

    fn path(&mut self, function: &str, dir: i64, path: &str) -> i32 {
        self.put(1000, path.as_bytes());
        self.try_call(function, &[dir, 1000, path.len() as i64]).unwrap()
    }

    fn written(&mut self) -> Vec<(Stream, String)> {
        mem::take(&mut self.store.data_mut().written)
    }
}

/// The compiled guest. The compiler starts threads, so it runs in a child of this process.
fn compiled(options: &EngineOptions) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            let done = compile(&guest(), options).is_ok_and(|code| fs::write(file.path(), code).is_ok());
            // SAFETY: ends the process without running what belongs to its parent.
            unsafe { libc::_exit((!done).into()) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: `status` is valid for writes.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert_eq!(status, 0);
            fs::read(file.path()).unwrap()
        }
    }
}

fn grant(path: &Path, guest: &str, writable: bool) -> GrantedDir {
    use rustix::fs::{Mode, OFlags};
    let dir = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    GrantedDir {
        dir,
        guest: guest.to_owned(),
        writable,
    }
}

/// Leaves this process nothing of the file system but these directories.
fn lock_down(grants: &[GrantedDir]) {
    let all = AccessFs::from_all(landlock::ABI::V5);
    let mut ruleset = Ruleset::default().handle_access(all).unwrap().create().unwrap();
    for grant in grants {
        ruleset = ruleset.add_rule(PathBeneath::new(&grant.dir, all)).unwrap();
    }
    ruleset.restrict_self().unwrap();
}

#[test]
fn output_goes_to_the_worker_in_the_pieces_it_was_written_in() {
    in_one_thread("output_goes_to_the_worker_in_the_pieces_it_was_written_in", || {
        let mut guest = Guest::bare();
        guest.put(1000, b"hello world");
        let count = guest.buffers(&[(1000, 6), (1000, 0), (1006, 5)]);
        guest.call("fd_write", &[1, 0, count, 900]);
        assert_eq!(guest.u32(900), 11);
        assert_eq!(guest.write(2, "oh"), errno::SUCCESS);
        let texts: Vec<_> = guest
            .written()
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .collect();
        let expected = [
            (Stream::Stdout, "hello "),
            (Stream::Stdout, "world"),
            (Stream::Stderr, "oh"),
        ];
        assert_eq!(texts, expected.map(|(stream, text)| (stream, text.to_owned())));
        // More than `wasmtime-wasi` writes at once, in one piece.
        let count = guest.buffers(&[(0, 100_000)]);
        guest.call("fd_write", &[1, 0, count, 900]);
        assert_eq!(guest.written().len(), 1);
    });
}

#[test]
fn input_was_given_beforehand_and_ends() {
    in_one_thread("input_was_given_beforehand_and_ends", || {
        let mut guest = Guest::bare();
        assert_eq!(guest.read(0, 10).unwrap(), "");
        guest.store.data_mut().wasi.set_stdin(b"hello world".to_vec());
        let count = guest.buffers(&[(1000, 2), (2000, 3)]);
        guest.call("fd_read", &[0, 0, count, 900]);
        assert_eq!((guest.u32(900), &guest.memory()[2000..2003]), (5, &b"llo"[..]));
        assert_eq!(guest.read(0, 100).unwrap(), " world");
        assert_eq!(guest.read(0, 100).unwrap(), "");
        assert_eq!(guest.write(0, "x"), errno::BADF);
        assert_eq!(guest.read(1, 1), Err(errno::BADF));
    });
}

#[test]
fn arguments_and_environment() {
    in_one_thread("arguments_and_environment", || {
        let args = Strings::args(["prog", "", "x y"]).unwrap();
        let env = Strings::env([("HOME", "/h"), ("EMPTY", "")]).unwrap();
        let mut guest = Guest::new(WasiSpec::new(args, env, &[]).unwrap());
        guest.call("args_sizes_get", &[0, 4]);
        assert_eq!((guest.u32(0), guest.u32(4)), (3, 10));
        guest.call("args_get", &[100, 200]);
        assert_eq!((guest.u32(100), guest.u32(104), guest.u32(108)), (200, 205, 206));
        assert_eq!(&guest.memory()[200..210], b"prog\0\0x y\0");
        guest.call("environ_sizes_get", &[0, 4]);
        assert_eq!((guest.u32(0), guest.u32(4)), (2, 15));
        guest.call("environ_get", &[100, 200]);
        assert_eq!(&guest.memory()[200..215], b"HOME=/h\0EMPTY=\0");

        guest.store.data_mut().wasi.set_args(Strings::args(["other"]).unwrap());
        guest.call("args_sizes_get", &[0, 4]);
        assert_eq!((guest.u32(0), guest.u32(4)), (1, 6));
    });
}

#[test]
fn texts_that_a_guest_could_not_be_given() {
    assert!(Strings::args(["a\0b"]).is_err());
    assert!(Strings::env([("A", "b\0c")]).is_err());
    assert!(Strings::env([("A=B", "c")]).is_err());
    assert!(Strings::env([("", "c")]).is_err());
}

#[test]
fn clocks_randomness_exit() {
    in_one_thread("clocks_randomness_exit", || {
        let mut guest = Guest::bare();
        guest.call("clock_time_get", &[0, 0, 8]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(now.abs_diff(Duration::from_nanos(guest.u64(8))) < Duration::from_secs(5));
        guest.call("clock_time_get", &[1, 0, 8]);
        guest.call("clock_time_get", &[1, 0, 16]);
        assert!(guest.u64(16) >= guest.u64(8) && guest.u64(8) > 0);
        guest.call("clock_res_get", &[1, 8]);
        assert!((1..=100_000_000).contains(&guest.u64(8)));
        for clock in [2, 3, 4, -1] {
            assert_eq!(guest.try_call("clock_time_get", &[clock, 0, 8]).unwrap(), errno::BADF);
        }

        guest.call("random_get", &[0, 32]);
        guest.call("random_get", &[32, 32]);
        let bytes = guest.memory();
        assert_ne!(bytes[..32], bytes[32..64]);
        guest.call("random_get", &[0, MEMORY]);
        assert!(guest.memory().iter().collect::<HashSet<_>>().len() == 256);
        guest.call("random_get", &[MEMORY, 0]);

        guest.call("sched_yield", &[]);
        let error = guest.try_call("proc_exit", &[200]).unwrap_err();
        assert_eq!(error.downcast_ref::<I32Exit>().unwrap().0, 200);
    });
}

/// Writes a subscription.
fn subscribe(guest: &mut Guest, index: usize, tag: u8, what: u32, timeout: u64, flags: u16) {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&(100 + index as u64).to_le_bytes());
    bytes[8] = tag;
    bytes[16..20].copy_from_slice(&what.to_le_bytes());
    bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
    bytes[40..42].copy_from_slice(&flags.to_le_bytes());
    guest.put(2000 + 48 * index, &bytes);
}

/// Polls what was subscribed to: the user data and error of each event, and how long it took.
fn poll(guest: &mut Guest, count: i64, events: usize) -> (Vec<(u64, u8)>, Duration) {
    let start = Instant::now();
    guest.call("poll_oneoff", &[2000, events as i64, count, 900]);
    let took = start.elapsed();
    let happened = guest.u32(900) as usize;
    let events = (0..happened).map(|n| (guest.u64(events + 32 * n), guest.memory()[events + 32 * n + 8]));
    (events.collect(), took)
}

#[test]
fn sleeping_is_polling_clocks() {
    in_one_thread("sleeping_is_polling_clocks", || {
        const MS: u64 = 1_000_000;
        let mut guest = Guest::bare();
        subscribe(&mut guest, 0, 0, 1, 30 * MS, 0);
        let (events, took) = poll(&mut guest, 1, 4000);
        assert_eq!(events, [(100, 0)]);
        assert!(
            took >= Duration::from_millis(30) && took < Duration::from_secs(2),
            "{took:?}"
        );

        // The earliest one ends it, on whatever clock, as a duration or a point in time.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        subscribe(&mut guest, 0, 0, 0, u64::MAX, 0);
        subscribe(&mut guest, 1, 0, 0, wall + 30 * MS, 1);
        subscribe(&mut guest, 2, 0, 1, 3_600_000 * MS, 0);
        let (events, took) = poll(&mut guest, 3, 4000);
        assert_eq!(events, [(101, 0)]);
        assert!(
            took >= Duration::from_millis(20) && took < Duration::from_secs(2),
            "{took:?}"
        );

        // What is past happened, and nothing waits for the rest. The events may be written over the subscriptions.
        subscribe(&mut guest, 0, 0, 1, 0, 0);
        subscribe(&mut guest, 1, 0, 1, u64::MAX, 1);
        subscribe(&mut guest, 2, 0, 0, 1, 1);
        let (events, took) = poll(&mut guest, 3, 2000);
        assert_eq!(events, [(100, 0), (102, 0)]);
        assert!(took < Duration::from_secs(2), "{took:?}");

        // Streams are ready at once; what is unknown is an error of its own.
        subscribe(&mut guest, 0, 0, 1, u64::MAX, 0);
        subscribe(&mut guest, 1, 1, 0, 0, 0);
        subscribe(&mut guest, 2, 2, 1, 0, 0);
        subscribe(&mut guest, 3, 1, 77, 0, 0);
        subscribe(&mut guest, 4, 0, 3, 0, 0);
        let (events, _) = poll(&mut guest, 5, 4000);
        assert_eq!(
            events,
            [(101, 0), (102, 0), (103, errno::BADF as u8), (104, errno::INVAL as u8)]
        );

        subscribe(&mut guest, 0, 9, 0, 0, 0);
        assert_eq!(
            guest.try_call("poll_oneoff", &[2000, 4000, 1, 900]).unwrap(),
            errno::INVAL
        );
        assert_eq!(
            guest.try_call("poll_oneoff", &[2000, 4000, 0, 900]).unwrap(),
            errno::INVAL
        );
        assert_eq!(
            guest.try_call("poll_oneoff", &[2000, 4000, -1, 900]).unwrap(),
            errno::NOMEM
        );
    });
}

#[test]
fn without_a_grant_there_are_no_files() {
    in_one_thread("without_a_grant_there_are_no_files", || {
        let mut guest = Guest::bare();
        assert_eq!(guest.try_call("fd_prestat_get", &[3, 0]).unwrap(), errno::BADF);
        assert!(guest.store.data().wasi.files.is_none(), "not even the state for files");
        assert_eq!(guest.open(3, "etc/passwd", false), Err(errno::BADF));
        assert_eq!(guest.read(3, 1), Err(errno::BADF));
        assert_eq!(guest.write(4, "x"), errno::BADF);
        guest.call("fd_fdstat_get", &[1, 0]);
        assert_eq!(guest.memory()[0], 0, "not a terminal");
        assert_ne!(guest.try_call("fd_seek", &[1, 0, 0, 0]).unwrap(), errno::SUCCESS);
    });
}

#[test]
fn granted_directories_work_behind_landlock() {
    let (read, write) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    in_one_thread("granted_directories_work_behind_landlock", || {
        const PERM: i32 = 63;
        fs::write(read.path().join("hello.txt"), "hello").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", read.path().join("out")).unwrap();
        let grants = [grant(read.path(), "/in", false), grant(write.path(), "/out", true)];
        let spec = WasiSpec::new(Strings::default(), Strings::default(), &grants).unwrap();
        assert_eq!(spec.dirs().len(), 2);
        let mut guest = Guest::new(spec);
        lock_down(&grants);
        assert!(fs::read_dir("/").is_err(), "the lock holds");

        guest.call("fd_prestat_get", &[3, 0]);
        assert_eq!(guest.u32(4), 3);
        guest.call("fd_prestat_dir_name", &[3, 100, 3]);
        assert_eq!(&guest.memory()[100..103], b"/in");
        assert_eq!(guest.try_call("fd_prestat_get", &[5, 0]).unwrap(), errno::BADF);

        // Reading.
        let file = guest.open(3, "hello.txt", false).unwrap();
        assert_eq!(guest.read(file, 3).unwrap(), "hel");
        guest.call("fd_seek", &[file, 1, 0, 904]);
        assert_eq!(guest.read(file, 100).unwrap(), "ello");
        guest.call("fd_filestat_get", &[file, 2000]);
        assert_eq!(guest.u64(2000 + 32), 5);
        guest.call("fd_close", &[file]);
        guest.call("fd_readdir", &[3, 4000, 4000, 0, 900]);
        assert!(String::from_utf8_lossy(guest.memory()).contains("hello.txt"));
        for outside in ["../x", "/etc/passwd", "out"] {
            assert!(guest.open(3, outside, false).is_err(), "{outside}");
        }
        // Read-only.
        assert_eq!(guest.open(3, "new", true), Err(PERM));
        assert_eq!(guest.path("path_create_directory", 3, "d"), PERM);
        assert_eq!(guest.path("path_unlink_file", 3, "hello.txt"), PERM);

        // Writing.
        let file = guest.open(4, "new", true).unwrap();
        assert_eq!(guest.write(file, "contents"), errno::SUCCESS);
        guest.call("fd_filestat_set_size", &[file, 4]);
        guest.call("fd_filestat_set_times", &[file, 0, 1_000_000_000, 4]);
        guest.call("fd_sync", &[file]);
        guest.call("fd_datasync", &[file]);
        guest.call("fd_close", &[file]);
        assert_eq!(guest.path("path_create_directory", 4, "d"), errno::SUCCESS);
        guest.put(1000, b"newd/moved");
        guest.call("path_rename", &[4, 1000, 3, 4, 1003, 7]);
        assert_eq!(fs::read_to_string(write.path().join("d/moved")).unwrap(), "cont");
        guest.put(1000, b"d/movedlink");
        guest.call("path_link", &[4, 0, 1000, 7, 4, 1007, 4]);
        guest.call("path_symlink", &[1000, 7, 4, 1007, 3]);
        guest.call("path_readlink", &[4, 1007, 3, 2000, 100, 900]);
        guest.call("path_filestat_get", &[4, 1, 1007, 3, 2000]);
        guest.call("path_filestat_set_times", &[4, 1, 1007, 3, 0, 1_000_000_000, 4]);
        for name in ["d/moved", "link", "lin"] {
            assert_eq!(guest.path("path_unlink_file", 4, name), errno::SUCCESS, "{name}");
        }
        assert_eq!(guest.path("path_remove_directory", 4, "d"), errno::SUCCESS);
        assert_eq!(fs::read_dir(write.path()).unwrap().count(), 0);
    });
}

#[test]
fn standard_streams_can_be_moved_and_closed() {
    in_one_thread("standard_streams_can_be_moved_and_closed", || {
        let dir = tempfile::tempdir().unwrap();
        let grants = [grant(dir.path(), "/", true)];
        let mut guest = Guest::new(WasiSpec::new(Strings::default(), Strings::default(), &grants).unwrap());
        // The output into a file.
        let file = guest.open(3, "log", true).unwrap();
        guest.call("fd_renumber", &[file, 1]);
        assert_eq!(guest.write(1, "logged"), errno::SUCCESS);
        assert_eq!(guest.write(file, "x"), errno::BADF);
        assert_eq!(fs::read_to_string(dir.path().join("log")).unwrap(), "logged");
        assert!(guest.written().is_empty());
        // The errors to the output's number.
        guest.call("fd_renumber", &[2, 1]);
        assert_eq!(guest.write(1, "error"), errno::SUCCESS);
        assert_eq!(guest.write(2, "x"), errno::BADF);
        assert_eq!(guest.written(), [(Stream::Stderr, "error".to_owned())]);
        // A closed number is free for a file.
        guest.call("fd_renumber", &[1, 1]);
        guest.call("fd_close", &[1]);
        assert_eq!(guest.write(1, "x"), errno::BADF);
        assert_eq!(guest.try_call("fd_close", &[1]).unwrap(), errno::BADF);
        assert_eq!(guest.try_call("fd_renumber", &[0, 55]).unwrap(), errno::BADF);
        assert!(guest.open(3, "log", false).unwrap() <= 4);
        assert_eq!(guest.read(0, 1).unwrap(), "");
    });
}

#[test]
fn bad_pointers_trap_and_nothing_panics() {
    in_one_thread("bad_pointers_trap_and_nothing_panics", || {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "contents").unwrap();
        let grants = [grant(dir.path(), "/", true)];
        let mut guest = Guest::new(WasiSpec::new(Strings::default(), Strings::default(), &grants).unwrap());
        for args in [
            [1, 0, 1, -1],
            [1, -4, 1, 0],
            [1, MEMORY - 4, 1, 0],
            [0, 0, 0, MEMORY - 3],
        ] {
            let function = if args[0] == 0 { "fd_read" } else { "fd_write" };
            let error = guest.try_call(function, &args).unwrap_err();
            assert_eq!(
                error.downcast_ref::<Trap>(),
                Some(&Trap::MemoryOutOfBounds),
                "{function} {args:?}"
            );
        }
        let values = [
            0,
            1,
            2,
            3,
            4,
            100,
            4096,
            MEMORY - 8,
            MEMORY - 1,
            MEMORY,
            -1,
            -48,
            i64::from(i32::MAX),
        ];
        for (name, params) in FUNCTIONS {
            let count = params.split_whitespace().count();
            for fd in values {
                for value in values {
                    // Every number may be a descriptor, a pointer, a length or flags.
                    let mut args = vec![value; count];
                    if let Some(first) = args.first_mut() {
                        *first = fd;
                    }
                    guest.memory().fill(0);
                    let _ = guest.try_call(name, &args);
                }
            }
        }
    });
}

#[test]
fn what_wasmtime_wasi_defines_is_defined_only_if_something_else_of_it_is_imported() {
    in_one_thread(
        "what_wasmtime_wasi_defines_is_defined_only_if_something_else_of_it_is_imported",
        || {
            let engine = Engine::new(&config(&EngineOptions::default(), EngineRole::Run)).unwrap();
            let defined = |names: &[&str]| {
                let state = Host {
                    wasi: WasiState::new(&Arc::new(
                        WasiSpec::new(Strings::default(), Strings::default(), &[]).unwrap(),
                    ))
                    .unwrap(),
                    written: Vec::new(),
                };
                let mut linker = wanting(&engine, names.iter().copied());
                linker.whole().iter(Store::new(&engine, state)).count()
            };
            for name in OWN {
                assert_eq!(defined(&[name]), 1, "{name}");
            }
            assert_eq!(defined(&OWN), OWN.len());
            assert!(defined(&["path_open"]) > OWN.len());
        },
    );
}
