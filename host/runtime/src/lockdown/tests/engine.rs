//! wasmtime in locked-down processes: running, trapping, reading files, compiling.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, memfd_create, openat};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module, PoolingAllocationConfig, Store, Trap,
};
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_sync};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::forked::{End, Reporter, alone, fork};
use super::{Dir, MAX_MEMORY, Role, lock_down_as};
use crate::engine::{Allocation, Recycler};
use crate::lockdown::{Files, Filter, Profile, lock_down, opened_by};
use crate::sandbox::Sandbox;

/// A guest with one way to fail a function; `check` sees whether its memory and table are as they were made.
const FAULTY: &str = r#"(module
    (memory 2)
    (data (i32.const 4096) "as it was made")
    (table 4 funcref)
    (elem (i32.const 1) $check)
    (type $nothing (func))
    (func (export "unreachable") unreachable)
    (func (export "out of bounds") (drop (i32.load (i32.const 0x7fffffff))))
    (func $recurse (export "stack overflow") (call $recurse))
    (func (export "division") (drop (i32.div_s (i32.const 1) (i32.load (i32.const 0)))))
    (func (export "null call") (call_indirect (type $nothing) (i32.const 0)))
    (func (export "wrong call") (call_indirect (type $nothing) (i32.const 1)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func $check (export "check") (result i32)
        (i32.store (i32.const 100000) (i32.add (i32.load (i32.const 100000)) (i32.const 1)))
        (i32.store8 (i32.const 4096) (i32.add (i32.load8_u (i32.const 4096)) (i32.const 1)))
        (i32.add (i32.load (i32.const 100000)) (i32.load8_u (i32.const 4096)))))"#;

/// An engine that can make a zygote: it starts no threads.
fn engine(allocation: Allocation) -> Engine {
    let mut config = Config::new();
    config.parallel_compilation(false);
    match allocation {
        Allocation::OnDemand => {}
        Allocation::Pooling => {
            let mut pool = PoolingAllocationConfig::new();
            // Stacks are writable from the start, and count against the limit on memory.
            pool.total_core_instances(2)
                .total_memories(2)
                .total_tables(2)
                .total_stacks(1);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        Allocation::Recycled => {
            config
                .memory_init_cow(false)
                .with_host_memory(Arc::new(Recycler::default()));
        }
    }
    Engine::new(&config).expect("an engine")
}

/// A module made ready to be instantiated in children, and the descriptors that takes.
fn template<T: 'static>(engine: &Engine, linker: &Linker<T>, wat: &str) -> (InstancePre<T>, Vec<RawFd>) {
    let wasm = wat::parse_str(wat).expect("valid text");
    linked(linker, || Module::new(engine, wasm).expect("a valid module"))
}

/// The same, from a file with the compiled module, as a zygote does it.
fn template_from_file<T: 'static>(engine: &Engine, linker: &Linker<T>, wat: &str) -> (InstancePre<T>, Vec<RawFd>) {
    let compiled = engine
        .precompile_module(&wat::parse_str(wat).expect("valid text"))
        .expect("a valid module");
    let mut file = File::from(memfd_create("code", MemfdFlags::CLOEXEC).expect("a memfd"));
    file.write_all(&compiled).expect("written");
    let given = file.as_raw_fd();
    // SAFETY: the file holds what this engine compiled, and nobody changes it.
    let load = || unsafe { Module::deserialize_open_file(engine, file) }.expect("loadable");
    let (pre, mut images) = linked(linker, load);
    images.push(given);
    (pre, images)
}

fn linked<T: 'static>(linker: &Linker<T>, load: impl FnOnce() -> Module) -> (InstancePre<T>, Vec<RawFd>) {
    let threads = fs::read_dir("/proc/self/task").expect("readable").count();
    assert!(threads <= 2, "this one, and the test harness, which waits for it");
    opened_by(|| {
        let module = load();
        module.initialize_copy_on_write_image().expect("an image");
        linker.instantiate_pre(&module).expect("linked")
    })
    .expect("readable")
}

fn lock_worker_down(report: &Reporter, images: &[RawFd]) {
    let filter = Filter::compile(Role::Worker, Files::None);
    let keep = [report.as_fd()];
    let profile = Profile {
        role: Role::Worker,
        level: Sandbox::BestEffort,
        keep: &keep,
        control: None,
        images,
        dirs: &[],
        max_memory: MAX_MEMORY,
        filter: &filter,
    };
    lock_down(&profile).expect("locked down");
}

/// Traps, and instantiates again and again, in a locked-down child.
fn run_faulty_guest(engine: &Engine, (pre, images): &(InstancePre<()>, Vec<RawFd>)) {
    assert!(images.len() <= 1, "the image of the memory");
    let ended = fork(|report| {
        lock_worker_down(report, images);
        let faults = [
            ("unreachable", Trap::UnreachableCodeReached),
            ("out of bounds", Trap::MemoryOutOfBounds),
            ("stack overflow", Trap::StackOverflow),
            ("division", Trap::IntegerDivisionByZero),
            ("null call", Trap::IndirectCallToNull),
            ("wrong call", Trap::BadSignature),
        ];
        for round in 0..1_000 {
            let mut store = Store::new(engine, ());
            let instance = pre.instantiate(&mut store).expect("instantiated");
            let check = instance
                .get_typed_func::<(), i32>(&mut store, "check")
                .expect("exported");
            assert_eq!(
                check.call(&mut store, ()).expect("no trap"),
                1 + i32::from(b'a') + 1,
                "a fresh instance"
            );
            let (name, trap) = faults[round % faults.len()];
            let fault = instance.get_typed_func::<(), ()>(&mut store, name).expect("exported");
            let error = fault.call(&mut store, ()).expect_err("it traps");
            assert_eq!(error.downcast_ref::<Trap>(), Some(&trap), "{name}");
        }

        let mut store = Store::new(engine, ());
        let instance = pre.instantiate(&mut store).expect("instantiated");
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, "grow")
            .expect("exported");
        let within = i32::try_from(MAX_MEMORY >> 16).expect("few pages") / 2;
        assert_eq!(grow.call(&mut store, within).expect("no trap"), 2);
        assert_eq!(
            grow.call(&mut store, 32_768).expect("no trap"),
            -1,
            "beyond the limit on memory"
        );
        report.say("done");
    })
    .wait();
    assert_eq!((ended.how, ended.report.as_str()), (End::Exited(0), "done"));
}

#[test]
fn guests_run_and_trap_with_memory_on_demand() {
    alone(
        "lockdown::tests::engine::guests_run_and_trap_with_memory_on_demand",
        || {
            let engine = engine(Allocation::OnDemand);
            run_faulty_guest(&engine, &template(&engine, &Linker::new(&engine), FAULTY));
            run_faulty_guest(&engine, &template_from_file(&engine, &Linker::new(&engine), FAULTY));
        },
    );
}

#[test]
fn guests_run_and_trap_with_pooled_memory() {
    alone(
        "lockdown::tests::engine::guests_run_and_trap_with_pooled_memory",
        || {
            let engine = engine(Allocation::Pooling);
            run_faulty_guest(&engine, &template(&engine, &Linker::new(&engine), FAULTY));
            run_faulty_guest(&engine, &template_from_file(&engine, &Linker::new(&engine), FAULTY));
        },
    );
}

#[test]
fn guests_run_and_trap_with_recycled_memory() {
    alone(
        "lockdown::tests::engine::guests_run_and_trap_with_recycled_memory",
        || {
            let engine = engine(Allocation::Recycled);
            run_faulty_guest(&engine, &template(&engine, &Linker::new(&engine), FAULTY));
            run_faulty_guest(&engine, &template_from_file(&engine, &Linker::new(&engine), FAULTY));
        },
    );
}

#[test]
fn a_crash_of_the_runtime_is_an_ordinary_death() {
    alone(
        "lockdown::tests::engine::a_crash_of_the_runtime_is_an_ordinary_death",
        || {
            let engine = engine(Allocation::OnDemand);
            let (_pre, images) = template(&engine, &Linker::<()>::new(&engine), FAULTY);
            let ended = fork(|report| {
                lock_worker_down(report, &images);
                // SAFETY: not at all; the child is to die of it.
                unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
            })
            .wait();
            assert_eq!(ended.how, End::Killed(libc::SIGSEGV));
        },
    );
}

#[test]
fn a_compiler_compiles_on_all_cpus_and_can_only_write_the_result() {
    alone(
        "lockdown::tests::engine::a_compiler_compiles_on_all_cpus_and_can_only_write_the_result",
        || {
            let functions: String = (0..200)
                .map(|number| format!("(func (export \"f{number}\") (result i32) (i32.const {number}))"))
                .collect();
            let wasm = wat::parse_str(format!("(module {functions})")).expect("valid text");
            let code = memfd_create("code", MemfdFlags::CLOEXEC).expect("a memfd");
            let mut code = File::from(code);
            let ended = fork(|report| {
                lock_down_as(Role::Compiler, &[report.as_fd(), code.as_fd()], &[]);
                let mut config = Config::new();
                config.parallel_compilation(true);
                let engine = Engine::new(&config).expect("an engine");
                let compiled = engine.precompile_module(&wasm).expect("compiled");
                code.write_all(&compiled).expect("written");
                report.say("done");
            })
            .wait();
            assert_eq!((ended.how, ended.report.as_str()), (End::Exited(0), "done"));

            let mut compiled = Vec::new();
            code.rewind()
                .and_then(|()| code.read_to_end(&mut compiled))
                .expect("readable");
            let engine = engine(Allocation::OnDemand);
            // SAFETY: these are the bytes that the same version of wasmtime made.
            let module = unsafe { Module::deserialize(&engine, &compiled) }.expect("loadable");
            let mut store = Store::new(&engine, ());
            let instance = Linker::new(&engine)
                .instantiate(&mut store, &module)
                .expect("instantiated");
            let last = instance
                .get_typed_func::<(), i32>(&mut store, "f199")
                .expect("exported");
            assert_eq!(last.call(&mut store, ()).expect("no trap"), 199);
        },
    );
}

#[test]
fn a_compiler_that_uses_too_much_memory_dies() {
    alone(
        "lockdown::tests::engine::a_compiler_that_uses_too_much_memory_dies",
        || {
            let ended = fork(|report| {
                lock_down_as(Role::Compiler, &[report.as_fd()], &[]);
                let hoard: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 64 << 20]).collect();
                report.say(&hoard.len().to_string());
            })
            .wait();
            assert_eq!(ended.how, End::Killed(libc::SIGABRT));
        },
    );
}

/// A guest that goes through WASI's file calls and returns 0, or where it failed: 1000 times the step plus the errno.
const FILES: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_link" (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_readlink" (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_set_times"
        (func $set_times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_tell" (func $tell (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_sync" (func $sync (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_datasync" (func $datasync (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_advise" (func $advise (param i32 i64 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fstat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_times"
        (func $fset_times (param i32 i64 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $set_flags (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_res_get" (func $resolution (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "new")           ;; a file
    (data (i32.const 8) "folder")
    (data (i32.const 16) "folder/moved")
    (data (i32.const 32) "linked")
    (data (i32.const 40) "pointer")
    (data (i32.const 48) "../forbidden/file")
    (data (i32.const 80) "some text")
    (data (i32.const 96) "\50\00\00\00\09\00\00\00")   ;; an iovec: the text
    (data (i32.const 104) "\00\02\00\00\00\01\00\00")  ;; an iovec: 256 bytes at 512
    (global $step (mut i32) (i32.const 0))
    (global $failed (mut i32) (i32.const 0))
    (global $fd (mut i32) (i32.const 0))
    (func $ok (param $errno i32)
        (global.set $step (i32.add (global.get $step) (i32.const 1)))
        (if (i32.and (i32.ne (local.get $errno) (i32.const 0)) (i32.eqz (global.get $failed)))
            (then (global.set $failed
                (i32.add (i32.mul (global.get $step) (i32.const 1000)) (local.get $errno))))))
    (func $open (param $path i32) (param $len i32) (param $flags i32) (param $rights i64) (result i32)
        (local $errno i32)
        (local.set $errno (call $path_open (i32.const 3) (i32.const 0) (local.get $path) (local.get $len)
            (local.get $flags) (local.get $rights) (local.get $rights) (i32.const 0) (i32.const 256)))
        (global.set $fd (i32.load (i32.const 256)))
        (local.get $errno))
    (func (export "run") (result i32)
        (call $ok (call $open (i32.const 0) (i32.const 3) (i32.const 5) (i64.const 0x0fffffff)))
        (call $ok (call $write (global.get $fd) (i32.const 96) (i32.const 1) (i32.const 260)))
        (call $ok (call $pwrite (global.get $fd) (i32.const 96) (i32.const 1) (i64.const 9) (i32.const 260)))
        (call $ok (call $seek (global.get $fd) (i64.const 0) (i32.const 0) (i32.const 264)))
        (call $ok (call $tell (global.get $fd) (i32.const 264)))
        (call $ok (call $read (global.get $fd) (i32.const 104) (i32.const 1) (i32.const 260)))
        (call $ok (i32.ne (i32.load (i32.const 260)) (i32.const 18)))
        (call $ok (call $pread (global.get $fd) (i32.const 104) (i32.const 1) (i64.const 1) (i32.const 260)))
        (call $ok (call $sync (global.get $fd)))
        (call $ok (call $datasync (global.get $fd)))
        (call $ok (call $advise (global.get $fd) (i64.const 0) (i64.const 1) (i32.const 1)))
        (call $ok (call $fstat (global.get $fd) (i32.const 512)))
        (call $ok (call $set_size (global.get $fd) (i64.const 4)))
        (call $ok (call $fset_times (global.get $fd) (i64.const 0) (i64.const 0) (i32.const 5)))
        (call $ok (call $fdstat (global.get $fd) (i32.const 512)))
        (call $ok (call $set_flags (global.get $fd) (i32.const 1)))
        (call $ok (call $close (global.get $fd)))
        (call $ok (call $mkdir (i32.const 3) (i32.const 8) (i32.const 6)))
        (call $ok (call $rename (i32.const 3) (i32.const 0) (i32.const 3)
            (i32.const 3) (i32.const 16) (i32.const 12)))
        (call $ok (call $stat (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 12) (i32.const 512)))
        (call $ok (call $set_times (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 12)
            (i64.const 0) (i64.const 0) (i32.const 5)))
        (call $ok (call $link (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 12)
            (i32.const 3) (i32.const 32) (i32.const 6)))
        (call $ok (call $symlink (i32.const 32) (i32.const 6) (i32.const 3) (i32.const 40) (i32.const 7)))
        (call $ok (call $readlink (i32.const 3) (i32.const 40) (i32.const 7)
            (i32.const 512) (i32.const 100) (i32.const 260)))
        (call $ok (call $open (i32.const 8) (i32.const 6) (i32.const 2) (i64.const 0x4000)))
        (call $ok (call $readdir (global.get $fd) (i32.const 512) (i32.const 400) (i64.const 0) (i32.const 260)))
        (call $ok (call $close (global.get $fd)))
        (call $ok (call $unlink (i32.const 3) (i32.const 16) (i32.const 12)))
        (call $ok (call $rmdir (i32.const 3) (i32.const 8) (i32.const 6)))
        (call $ok (call $time (i32.const 0) (i64.const 1) (i32.const 512)))
        (call $ok (call $time (i32.const 1) (i64.const 1) (i32.const 512)))
        (call $ok (call $resolution (i32.const 1) (i32.const 512)))
        (call $ok (call $random (i32.const 512) (i32.const 64)))
        (call $ok (call $yield))
        ;; 63 is `perm`: the way out is closed.
        (call $ok (i32.ne (i32.const 63)
            (call $open (i32.const 48) (i32.const 17) (i32.const 0) (i64.const 2))))
        (global.get $failed)))"#;

#[test]
fn wasi_files_work_beneath_a_grant() {
    alone("lockdown::tests::engine::wasi_files_work_beneath_a_grant", || {
        let root = tempfile::tempdir().expect("a writable temporary folder");
        let grant = openat(CWD, root.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("it exists");

        let engine = engine(Allocation::OnDemand);
        let mut linker = Linker::<WasiP1Ctx>::new(&engine);
        add_to_linker_sync(&mut linker, |wasi| wasi).expect("no duplicates");
        let (pre, images) = template(&engine, &linker, FILES);
        let ended = fork(|report| {
            let filter = Filter::compile(Role::Worker, Files::Write);
            let dirs = [Dir {
                fd: grant.as_fd(),
                writable: true,
            }];
            let keep = [report.as_fd()];
            let profile = Profile {
                role: Role::Worker,
                level: Sandbox::BestEffort,
                keep: &keep,
                control: None,
                images: &images,
                dirs: &dirs,
                max_memory: MAX_MEMORY,
                filter: &filter,
            };
            lock_down(&profile).expect("locked down");

            // As a worker does it: no thread may be started, and no driver is needed.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            let _entered = runtime.enter();
            let by_number = format!("/proc/self/fd/{}", grant.as_raw_fd());
            let mut wasi = WasiCtxBuilder::new();
            // In this order: a directory remembers how it was set when it was added.
            wasi.allow_blocking_current_thread(true);
            wasi.preopened_dir(by_number, "/", FsPerms::ReadWrite)
                .expect("the grant can be opened");
            let mut store = Store::new(&engine, wasi.build_p1());
            let instance = pre.instantiate(&mut store).expect("instantiated");
            let run = instance.get_typed_func::<(), i32>(&mut store, "run").expect("exported");
            report.say(&run.call(&mut store, ()).expect("no trap").to_string());
        })
        .wait();
        assert_eq!(
            (ended.how, ended.report.as_str()),
            (End::Exited(0), "0"),
            "step and errno"
        );
        assert_eq!(
            fs::read(root.path().join("linked")).expect("made by the guest"),
            b"some"
        );
    });
}
