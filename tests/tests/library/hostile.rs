//! Guests that mean harm, in modules by hand that say exactly what they do: each gets its error, and a neighbour in the
//! same pool its result.
//!
//! Native code that has got out of wasm is tried in `host/runtime/src/lockdown/tests` and in `forged.rs`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde::Serialize;
use wasmp::{DirGrant, Error, ErrorKind, ModuleError, Pool, PoolBuilder, TaskError};
use wasmp_abi::{IMPORT_MODULE, ObjectKind, Status, import};
use wasmp_tests::{descendants, isolated};

use crate::common::{close, task_error};

/// The contract with guests, which lists the type of every import.
const CONTRACT: &str = include_str!("../../../guest-sdk/abi/README.md");

/// What every module here has beside its hostile part.
const NEIGHBOUR: &str = r#"(func (export "square") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0)))"#;

/// A pool of this module and the neighbour, who stands behind what is imported, and before too much else.
fn builder(module: &str) -> PoolBuilder {
    let text = match module.rfind("(import") {
        None => format!("(module {NEIGHBOUR} {module})"),
        Some(_) => format!("(module {module} {NEIGHBOUR})"),
    };
    Pool::builder(text.into_bytes()).processes(2).on_output(|_| ())
}

fn pool(module: &str) -> Pool {
    builder(module).build().unwrap()
}

/// The outcome of a task beside which another one works.
#[track_caller]
fn beside_a_neighbour(pool: &Pool, task: &str, args: impl Serialize) -> wasmp::Result<i64> {
    let attack = pool.apply_async::<_, i64>(task, args).unwrap();
    let squares: Vec<i64> = pool.map("square", 0..200).unwrap();
    assert!(squares == (0..200).map(|x| x * x).collect::<Vec<_>>(), "the neighbour");
    let outcome = attack.get();
    assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9, "the next one");
    outcome
}

/// How a task fails beside which another one works.
#[track_caller]
fn failure(pool: &Pool, task: &str) -> TaskError {
    task_error(beside_a_neighbour(pool, task, ()))
}

/// Every function that guests can import, with its parameters and its result as the contract has them.
fn imports() -> Vec<(&'static str, Vec<&'static str>, Option<&'static str>)> {
    let names = import::TASK_FUNCTIONS.into_iter().chain(import::OBJECT_FUNCTIONS);
    let names = names.chain(import::POOL_FUNCTIONS).chain(import::PROCESS_FUNCTIONS);
    let typed = names.map(|name| {
        let row = CONTRACT.split_once(&format!("| `{name}` | `(")).expect(name).1;
        let ty = row.split_once('`').expect(name).0;
        let (params, result) = ty.split_once(')').expect(name);
        let params = params.split(", ").filter_map(|param| Some(param.split_once(": ")?.1));
        (name, params.collect(), result.strip_prefix(" -> "))
    });
    typed.collect()
}

/// A module that has a function for each import, which passes its arguments on.
fn passes_on(imports: &[(&str, Vec<&str>, Option<&str>)]) -> String {
    let mut module = String::new();
    for (name, params, result) in imports {
        let params = params.join(" ");
        let result = result.map_or(String::new(), |result| format!("(result {result})"));
        let _ = write!(
            module,
            r#"(import "{IMPORT_MODULE}" "{name}" (func ${name} (param {params}) {result}))"#
        );
    }
    for (name, params, result) in imports {
        let arguments: String = (0..params.len()).map(|at| format!("(local.get {at})")).collect();
        let params = params.join(" ");
        let result = result.map_or(String::new(), |result| format!("(result {result})"));
        let _ = write!(
            module,
            r#"(func (export "{name}") (param {params}) {result} (call ${name} {arguments}))"#
        );
    }
    module + r#"(memory (export "memory") 1)"#
}

/// What a host function may say to a call that makes no sense.
const TRAPS: [&str; 6] = [
    "out of bounds memory access",
    "is not a handle of this instance",
    "was called before the last item had an outcome",
    "was called with the unknown kind",
    "is not a pool of this instance",
    "is not a process of this instance",
];

#[test]
fn every_import_withstands_numbers_that_make_no_sense() {
    isolated(|| {
        let imports = imports();
        let pool = builder(&passes_on(&imports))
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        for (name, params, _) in &imports {
            if params.is_empty() {
                continue;
            }
            // Pointers and lengths of which none fits into 64 KiB, and handles of which there is none.
            for number in [-1_i64, 0x7fff_ffff, -0x8000_0000, 0xffff, 0x10_0001] {
                for time in [0, -1, i64::MAX, i64::MIN] {
                    let args: Vec<i64> = params
                        .iter()
                        .map(|param| if *param == "i32" { number } else { time })
                        .collect();
                    match pool.apply::<_, Option<i64>>(name, &args) {
                        Ok(result) => assert_is_no_success(name, &args, result),
                        Err(Error::Task(error)) => {
                            let known = TRAPS.iter().any(|trap| error.message.contains(trap));
                            assert!(error.kind == ErrorKind::Trap && known, "{name} {args:?}: {error}");
                        }
                        Err(error) => panic!("{name} {args:?}: {error}"),
                    }
                }
            }
            assert_eq!(beside_a_neighbour(&pool, "square", (5,)).unwrap(), 25, "after {name}");
        }
        close(&pool);
    });
}

/// A call with such numbers does nothing; or it makes something of a size that happens to be possible.
#[track_caller]
fn assert_is_no_success(name: &str, args: &[i64], result: Option<i64>) {
    let silent = ["object_close", "pool_drop", "process_drop", "task_panic", "log_inherit"];
    let makes = [
        "semaphore_new",
        "queue_new",
        "memory_new",
        "barrier_new",
        "pipe_new",
        "manager_new",
    ];
    match result {
        None => assert!(silent.contains(&name), "{name} {args:?} did something"),
        Some(status) if Status::from_result(status).is_some() => {}
        Some(result) => assert!(makes.contains(&name), "{name} {args:?} returned {result}"),
    }
}

#[test]
fn a_loop_without_end_meets_its_deadline() {
    isolated(|| {
        let pool = builder(r#"(func (export "spin") (result i64) (loop $again (br $again)) (unreachable))"#)
            .timeout(Duration::from_millis(200))
            .build()
            .unwrap();
        let error = failure(&pool, "spin");
        assert_eq!(error.kind, ErrorKind::Timeout);
        assert_eq!(error.message, "ran longer than 200ms and was killed");
        close(&pool);
    });
}

#[test]
fn recursion_without_end_is_a_trap_however_large_its_frames() {
    isolated(|| {
        let locals = "(local i64)".repeat(2000);
        let use_all: String = (0..2000)
            .map(|local| format!("(local.set {local} (i64.add (local.get {local}) (call $deep)))"))
            .collect();
        let pool = pool(&format!(
            r#"(func $small (export "small") (result i64) (i64.add (call $small) (i64.const 1)))
               (func $deep (export "large") (result i64) {locals} {use_all} (local.get 0))"#
        ));
        for task in ["small", "large"] {
            let error = failure(&pool, task);
            assert_eq!(error.kind, ErrorKind::Trap, "{error}");
            assert_eq!(error.message, "wasm trap: call stack exhausted");
        }
        close(&pool);
    });
}

#[test]
fn memory_and_tables_end_at_their_limits() {
    isolated(|| {
        let bombs = r#"
            (memory $a 1) (memory $b 1) (table $t 0 funcref) (table $u 0 funcref)
            (func (export "memory") (result i64)
                (loop $more
                    (br_if $more (i32.ne (i32.const -1) (memory.grow $a (i32.const 16))))
                    (br_if $more (i32.ne (i32.const -1) (memory.grow $b (i32.const 1)))))
                (memory.fill $a (i32.const 0) (i32.const 7) (i32.mul (memory.size $a) (i32.const 65536)))
                (i64.extend_i32_u (i32.add (memory.size $a) (memory.size $b))))
            (func (export "table") (result i64)
                (loop $more
                    (br_if $more (i32.ne (i32.const -1) (table.grow $t (ref.null func) (i32.const 99999))))
                    (br_if $more (i32.ne (i32.const -1) (table.grow $u (ref.null func) (i32.const 1)))))
                (i64.extend_i32_u (i32.add (table.size $t) (table.size $u))))
            (func (export "fill beyond") (result i64)
                (memory.fill $a (i32.const 0) (i32.const 7) (i32.const -1)) (i64.const 0))"#;
        let pool = builder(bombs).max_memory(32 << 20).build().unwrap();
        assert_eq!(
            beside_a_neighbour(&pool, "memory", ()).unwrap(),
            32 << 4,
            "pages in all"
        );
        assert_eq!(
            beside_a_neighbour(&pool, "table", ()).unwrap(),
            10_000_000,
            "elements in all"
        );
        let error = failure(&pool, "fill beyond");
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Trap, "wasm trap: out of bounds memory access")
        );
        close(&pool);
    });
}

#[test]
fn data_beyond_the_memory_fails_whoever_needs_an_instance() {
    isolated(|| {
        let far = pool(r#"(memory 1) (data (i32.const 65535) "xx") (func (export "one") (result i64) (i64.const 1))"#);
        let error = task_error(far.apply::<_, i64>("one", ()));
        assert_eq!(error.kind, ErrorKind::Instantiate);
        assert!(error.message.contains("out of bounds memory access"), "{error}");
        close(&far);

        // And much of it is just much.
        let large = format!(
            r#"(memory (export "memory") 513) (data (i32.const 0) "{}")
               (func (export "last") (result i64) (i64.load8_u (i32.const 33554431)))"#,
            "x".repeat(32 << 20)
        );
        let pool = pool(&large);
        assert_eq!(beside_a_neighbour(&pool, "last", ()).unwrap(), i64::from(b'x'));
        close(&pool);
    });
}

#[test]
fn a_module_of_many_functions_works_and_one_of_too_many_is_refused() {
    isolated(|| {
        let functions: String = (0..20_000)
            .map(|number| format!("(func (export \"f{number}\") (result i64) (i64.const {number}))"))
            .collect();
        let pool = pool(&functions);
        assert_eq!(beside_a_neighbour(&pool, "f9998", ()).unwrap(), 9998);
        assert!(matches!(
            pool.apply::<_, i64>("f10000", ()),
            Err(Error::NoSuchTask { .. })
        ));
        close(&pool);

        let exports: String = (0..100_001)
            .map(|number| format!("(export \"{number}\" (func 0))"))
            .collect();
        let error = builder(&format!("(func) {exports}")).build().unwrap_err();
        assert!(
            matches!(&error, Error::Module(ModuleError::TooLarge { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains("more than 100000 exports"), "{error}");
    });
}

#[test]
fn a_module_that_imports_what_does_not_exist_is_refused_with_all_their_names() {
    isolated(|| {
        let imports = r#"(import "wasmp_v1" "escape" (func)) (import "wasi_snapshot_preview1" "sock_connect" (func))
            (import "env" "system" (func)) (import "wasmp_v1" "task_next" (memory 1))"#;
        match builder(imports).build() {
            Err(Error::Module(ModuleError::UnknownImports { imports, .. })) => {
                let names: Vec<&str> = imports.iter().map(|import| import.name.as_str()).collect();
                assert_eq!(names, ["escape", "sock_connect", "system", "task_next"]);
            }
            other => panic!("{other:?}"),
        }
        // A name that exists, with a type that does not.
        let pool = builder(r#"(import "wasmp_v1" "worker_slot" (func (param f64)))"#).build();
        assert!(matches!(&pool, Err(Error::Broken(_) | Error::Start { .. })), "{pool:?}");
    });
}

/// Calls this function until it is refused; returns how often it was not, and the status: 100 times the one, plus the
/// other.
fn flood(name: &str, params: &str, args: &str) -> String {
    format!(
        r#"(import "{IMPORT_MODULE}" "{name}" (func $make (param {params}) (result i32)))
           (memory (export "memory") 1)
           (func (export "flood") (result i64) (local $made i64) (local $status i32)
               (loop $more
                   (local.set $status (call $make {args}))
                   (if (i32.ge_s (local.get $status) (i32.const 0)) (then
                       (local.set $made (i64.add (local.get $made) (i64.const 1)))
                       (br $more))))
               (i64.sub (i64.mul (local.get $made) (i64.const 100)) (i64.extend_i32_s (local.get $status))))"#
    )
}

#[test]
fn floods_of_objects_pools_and_processes_end_at_their_limits() {
    isolated(|| {
        let one = "(i32.const 1)";
        let flooded = |made: i64, status: Status| made * 100 - status.result();
        let of_locks = pool(&flood("lock_new", "i32", one));
        assert_eq!(
            beside_a_neighbour(&of_locks, "flood", ()).unwrap(),
            flooded(1024, Status::ObjectLimit)
        );
        close(&of_locks);

        // 64 GiB in all: a queue of a GiB, and what it takes beside that.
        let of_queues = pool(&flood("queue_new", "i32 i32", "(i32.const 0) (i32.const 0)"));
        let made = beside_a_neighbour(&of_queues, "flood", ()).unwrap();
        assert!(
            flooded(50, Status::ByteLimit) < made && made <= flooded(64, Status::ByteLimit),
            "{made}"
        );
        assert_eq!(made % 100, -Status::ByteLimit.result());
        close(&of_queues);

        // Of pools there may be 64 at a time, of one process each; of processes as many as the host says.
        let (make, options) = ("pool_new", "(i32.const 0) (i32.const 4)");
        let pools = flood(make, "i32 i32", options) + r#"(data (i32.const 0) "\01\00\00\00")"#;
        let of_pools = builder(&pools).max_processes(5).build().unwrap();
        assert_eq!(
            beside_a_neighbour(&of_pools, "flood", ()).unwrap(),
            flooded(5, Status::ProcessLimit)
        );
        assert!(descendants(std::process::id(), "wasmp-worker").len() <= 7);
        close(&of_pools);
    });
}

#[test]
fn a_flood_of_handles_to_one_object_ends_at_the_limit_of_an_instance() {
    isolated(|| {
        let flood = r#"
            (import "wasmp_v1" "lock_new" (func $new (param i32) (result i32)))
            (import "wasmp_v1" "object_token" (func $token (param i32 i32) (result i32)))
            (import "wasmp_v1" "object_open" (func $open (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "flood") (result i64) (local $made i64) (local $status i32)
                (drop (call $token (call $new (i32.const 0)) (i32.const 0)))
                (loop $more
                    (local.set $made (i64.add (local.get $made) (i64.const 1)))
                    (local.set $status (call $open ($kind) (i32.const 0)))
                    (br_if $more (i32.ge_s (local.get $status) (i32.const 0))))
                (i64.sub (i64.mul (local.get $made) (i64.const 100)) (i64.extend_i32_s (local.get $status))))"#;
        let kind = ObjectKind::Lock as u8;
        let pool = pool(&flood.replace("$kind", &format!("i32.const {kind}")));
        let made = beside_a_neighbour(&pool, "flood", ()).unwrap();
        assert_eq!(made, 65_535 * 100 - Status::ObjectLimit.result());
        close(&pool);
    });
}

/// Opens a path beneath the first directory, with these flags and rights; returns 0 or the errno.
const FILES: &str = r#"
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_link" (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_set_times"
        (func $times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "../secret")       ;; 9
    (data (i32.const 16) "link")           ;; 4
    (data (i32.const 32) "note")           ;; 4
    (data (i32.const 48) "/etc/passwd")    ;; 11
    (data (i32.const 64) "taken")          ;; 5
    (data (i32.const 80) "escape")         ;; 6
    (func $open (param $path i32) (param $len i32) (param $follow i32) (result i64)
        (i64.extend_i32_u (call $path_open (i32.const 3) (local.get $follow) (local.get $path) (local.get $len)
            (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 256))))
    (func (export "up") (result i64) (call $open (i32.const 0) (i32.const 9) (i32.const 1)))
    (func (export "absolute") (result i64) (call $open (i32.const 48) (i32.const 11) (i32.const 1)))
    (func (export "through a link") (result i64) (call $open (i32.const 80) (i32.const 6) (i32.const 1)))
    (func (export "plain") (result i64) (call $open (i32.const 32) (i32.const 4) (i32.const 1)))
    (func (export "link to what is outside") (result i64)
        (drop (call $symlink (i32.const 0) (i32.const 9) (i32.const 3) (i32.const 16) (i32.const 4)))
        (call $open (i32.const 16) (i32.const 4) (i32.const 1)))
    (func (export "absolute link") (result i64)
        (drop (call $symlink (i32.const 48) (i32.const 11) (i32.const 3) (i32.const 64) (i32.const 5)))
        (call $open (i32.const 64) (i32.const 5) (i32.const 1)))
    (func (export "link in") (result i64)
        (i64.extend_i32_u (call $link (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 9)
            (i32.const 3) (i32.const 64) (i32.const 5))))
    (func (export "rename in") (result i64)
        (i64.extend_i32_u (call $rename (i32.const 3) (i32.const 0) (i32.const 9)
            (i32.const 3) (i32.const 64) (i32.const 5))))
    (func (export "rename out") (result i64)
        (i64.extend_i32_u (call $rename (i32.const 3) (i32.const 32) (i32.const 4)
            (i32.const 3) (i32.const 0) (i32.const 9))))
    (func (export "unlink outside") (result i64)
        (i64.extend_i32_u (call $unlink (i32.const 3) (i32.const 0) (i32.const 9))))
    (func (export "mkdir outside") (result i64)
        (i64.extend_i32_u (call $mkdir (i32.const 3) (i32.const 0) (i32.const 9))))
    (func (export "date outside") (result i64)
        (i64.extend_i32_u (call $times (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 9)
            (i64.const 0) (i64.const 0) (i32.const 5))))
    (func (export "date a link") (result i64)
        (i64.extend_i32_u (call $times (i32.const 3) (i32.const 0) (i32.const 80) (i32.const 6)
            (i64.const 0) (i64.const 0) (i32.const 5))))
    (func (export "unlink inside") (result i64)
        (i64.extend_i32_u (call $unlink (i32.const 3) (i32.const 32) (i32.const 4))))"#;

#[test]
fn no_path_leads_out_of_a_granted_directory() {
    isolated(|| {
        const PERM: i64 = 63;
        for writable in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let granted = folder.path().join("granted");
            fs::create_dir(&granted).unwrap();
            fs::write(granted.join("note"), "inside").unwrap();
            fs::write(folder.path().join("secret"), "outside").unwrap();
            symlink("../secret", granted.join("escape")).unwrap();
            let grant = match writable {
                true => DirGrant::read_write(&granted, "/data"),
                false => DirGrant::read_only(&granted, "/data"),
            };
            let pool = builder(FILES).dir(grant).build().unwrap();
            let errno = |task: &str| beside_a_neighbour(&pool, task, ()).unwrap();
            assert_eq!(errno("plain"), 0);
            let outside = [
                "up",
                "absolute",
                "through a link",
                "link to what is outside",
                "link in",
                "rename in",
                "rename out",
                "unlink outside",
                "mkdir outside",
                "date outside",
            ];
            for task in outside {
                let found = errno(task);
                // A link that could not be made is not there.
                let refused = [PERM, if task.starts_with("link to") { 44 } else { PERM }];
                assert!(refused.contains(&found), "{task}, writable {writable}: {found}");
            }
            assert_ne!(errno("absolute link"), 0);
            assert_ne!(errno("date a link"), 0);
            assert_eq!(errno("unlink inside") == 0, writable);
            assert_eq!(granted.join("note").exists(), !writable);
            assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "outside");
            close(&pool);
        }
    });
}

#[test]
fn a_failure_has_room_for_its_reason_whatever_a_message_may_have() {
    isolated(|| {
        let long = "long".repeat(200_000);
        let words = format!(
            r#"(import "wasmp_v1" "task_next" (func $next (param i32 i32) (result i64)))
               (import "wasmp_v1" "task_fail" (func $fail (param i32 i32 i32)))
               (memory (export "memory") 16)
               (func (export "wasmp_task_fail")
                   (drop (call $next (i32.const 0) (i32.const 1024)))
                   (memory.fill (i32.const 0) (i32.const 255) (i32.const 1000000))
                   (call $fail (i32.const 1) (i32.const 0) (i32.const 1000000)))
               (func $"{long}" (export "wasmp_task_trap")
                   (drop (call $next (i32.const 0) (i32.const 1024))) (unreachable))"#
        );
        let pool = Pool::builder(format!("(module {words})").into_bytes())
            .processes(1)
            .max_message(1000)
            .build()
            .unwrap();
        let worker = crate::common::worker(&pool).pid();
        for (task, kind) in [("fail", ErrorKind::Error), ("trap", ErrorKind::Trap)] {
            let error = task_error(pool.apply::<_, ()>(task, ()));
            assert_eq!((error.kind, error.pid), (kind, worker), "{}", error.kind.name());
            assert!(error.message.len() < 256 << 10, "{}", error.message.len());
            let backtrace = error.backtrace.unwrap_or_default();
            assert!(backtrace.len() < 2000, "{}", backtrace.len());
        }
        close(&pool);
    });
}
