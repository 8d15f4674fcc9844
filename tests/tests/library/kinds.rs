//! The three kinds of modules: task modules without any SDK, plain exports, and programs.

use serde_bytes::ByteBuf;
use wasmp::{Chunksize, ErrorKind, Isolation, ModuleKind, Pool, Stream};
use wasmp_tests::{descendants, eventually, isolated, program};

use crate::common::{close, listen, task_error, worker};

fn wat(text: &str) -> Pool {
    Pool::builder(text.as_bytes().to_vec())
        .processes(1)
        .build()
        .expect("a pool")
}

#[test]
fn a_task_module_written_by_hand() {
    isolated(|| {
        let pool = wat(include_str!("../../../examples/wat-task/echo.wat"));
        assert_eq!(pool.module().kind(), ModuleKind::Tasks);
        assert_eq!(pool.apply::<_, Vec<u8>>("echo", (vec![1, 2, 3],)).unwrap(), [1, 2, 3]);
        let texts: Vec<String> = (0..1000).map(|number| format!("text {number}")).collect();
        assert_eq!(pool.map::<_, String>("echo", &texts).unwrap(), texts);
        let error = task_error(pool.apply::<_, String>("echo", (1, 2)));
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Arguments, "expected 1 argument (value: any)")
        );
        let long = "x".repeat(100_000);
        let error = task_error(pool.apply::<_, String>("echo", (long,)));
        assert_eq!(error.kind, ErrorKind::Arguments);
        assert_eq!(pool.apply::<_, String>("echo", ("again",)).unwrap(), "again");
    });
}

/// A task that does this with the ABI.
fn raw_task(body: &str) -> Pool {
    wat(&format!(
        r#"(module
            (import "wasmp_v1" "task_next" (func $next (param i32 i32) (result i64)))
            (import "wasmp_v1" "task_return" (func $return (param i32 i32)))
            (import "wasmp_v1" "task_fail" (func $fail (param i32 i32 i32)))
            (import "wasmp_v1" "task_panic" (func $panic (param i32 i32)))
            (memory (export "memory") 1) (data (i32.const 0) "\07oh no")
            (func (export "wasmp_task_raw") {body}))"#
    ))
}

const NEXT: &str = "(drop (call $next (i32.const 1024) (i32.const 1024)))";
const RETURN: &str = "(call $return (i32.const 0) (i32.const 1))";

#[test]
fn a_task_that_returns_without_a_result() {
    isolated(|| {
        for body in ["", NEXT] {
            let pool = raw_task(body);
            for _ in 0..3 {
                assert_eq!(
                    task_error(pool.apply::<_, i64>("raw", ())).kind,
                    ErrorKind::NoResult,
                    "{body:?}"
                );
            }
            let results = pool
                .task("raw")
                .chunksize(Chunksize::Exact(5))
                .imap::<_, i64>([(); 5])
                .unwrap();
            assert!(
                results.map(task_error).all(|error| error.kind == ErrorKind::NoResult),
                "{body:?}"
            );
        }
    });
}

#[test]
fn a_task_that_takes_one_item_and_leaves_the_rest_of_its_chunk_is_called_again() {
    isolated(|| {
        let pool = raw_task(&format!("{NEXT} {RETURN}"));
        let results: Vec<i64> = pool.task("raw").chunksize(Chunksize::Exact(5)).map([(); 12]).unwrap();
        assert_eq!(results, [7; 12]);
    });
}

#[test]
fn misuse_of_the_abi_is_a_trap_and_harms_nobody_else() {
    isolated(|| {
        let cases = [
            // Pointers and lengths that are not in memory.
            (
                "(drop (call $next (i32.const -4) (i32.const 1024)))".to_owned(),
                "out of bounds",
            ),
            (
                format!("{NEXT} (call $return (i32.const 65536) (i32.const 1))"),
                "out of bounds",
            ),
            (
                format!("{NEXT} (call $return (i32.const 1) (i32.const -1))"),
                "out of bounds",
            ),
            (
                format!("{NEXT} (call $fail (i32.const 1) (i32.const -1) (i32.const -1))"),
                "out of bounds",
            ),
            (
                format!("{NEXT} (call $panic (i32.const -1) (i32.const 2))"),
                "out of bounds",
            ),
            // Calls out of turn.
            (RETURN.to_owned(), "no item was running"),
            (format!("{NEXT}{NEXT}"), "before the last item had an outcome"),
            (
                format!("{NEXT} (call $fail (i32.const 77) (i32.const 0) (i32.const 1))"),
                "unknown kind 77",
            ),
        ];
        for (body, says) in cases {
            let pool = raw_task(&body);
            let pid = worker(&pool).pid();
            for _ in 0..2 {
                let error = task_error(pool.apply::<_, i64>("raw", ("argument",)));
                assert_eq!(error.kind, ErrorKind::Trap, "{body}: {}", error.message);
                assert!(error.message.contains(says), "{body}: {}", error.message);
            }
            assert_eq!(worker(&pool).pid(), pid, "{body}");
        }
    });
}

#[test]
fn a_trap_after_a_result_spoils_the_instance_and_not_the_result() {
    isolated(|| {
        let pool = raw_task(&format!("{NEXT} {RETURN} unreachable"));
        assert_eq!(pool.map::<_, i64>("raw", [(); 20]).unwrap(), [7; 20]);
    });
}

#[test]
fn a_panic_message_makes_a_trap_a_panic() {
    isolated(|| {
        let pool = raw_task(&format!("{NEXT} (call $panic (i32.const 1) (i32.const 5)) unreachable"));
        let error = task_error(pool.apply::<_, i64>("raw", ()));
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Panic, "oh no"));
    });
}

#[test]
fn a_result_that_is_no_cbor_is_the_items_failure() {
    isolated(|| {
        let pool = raw_task(&format!("{NEXT} (call $return (i32.const 0) (i32.const 0))"));
        assert!(matches!(pool.apply::<_, i64>("raw", ()), Err(wasmp::Error::Decode(_))));
    });
}

const NUMBERS: &str = r#"(module
    (memory 1)
    (table 1 funcref)
    (type $nothing (func))
    (global $count (mut i64) (i64.const 0))
    (func (export "square") (param i64) (result i64) (i64.mul (local.get 0) (local.get 0)))
    (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
    (func (export "single") (param f32) (result f32) (local.get 0))
    (func (export "swap") (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
    (func (export "nothing"))
    (func (export "count") (result i64)
        (global.set $count (i64.add (global.get $count) (i64.const 1))) (global.get $count))
    (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "truncate") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
    (func (export "indirect") (call_indirect (type $nothing) (i32.const 0)))
    (func (export "unreachable") unreachable)
    (func $recurse (export "recurse") (call $recurse)))"#;

#[test]
fn plain_exports_take_and_return_numbers() {
    isolated(|| {
        let pool = wat(NUMBERS);
        assert_eq!(pool.module().kind(), ModuleKind::Plain);
        assert_eq!(pool.apply::<_, i64>("square", (-7,)).unwrap(), 49);
        assert_eq!(pool.apply::<_, f64>("half", (5,)).unwrap(), 2.5);
        assert_eq!(pool.apply::<_, f32>("single", (0.1_f32,)).unwrap(), 0.1_f32);
        assert_eq!(pool.apply::<_, (i64, i32)>("swap", (1, 2)).unwrap(), (2, 1));
        pool.apply::<_, ()>("nothing", ()).unwrap();
        let squares: Vec<i64> = pool.map("square", 0..1000).unwrap();
        assert_eq!(squares, (0..1000).map(|x| x * x).collect::<Vec<i64>>());
    });
}

#[test]
fn plain_exports_say_what_is_wrong_with_their_arguments() {
    isolated(|| {
        let pool = wat(NUMBERS);
        let says = |error: wasmp::TaskError| {
            assert_eq!(error.kind, ErrorKind::Arguments);
            error.message
        };
        let message = says(task_error(pool.apply::<_, i64>("square", ())));
        assert!(message.contains('1') && message.contains('0'), "{message}");
        let message = says(task_error(pool.apply::<_, i64>("square", ("seven",))));
        assert!(message.contains("i64") && message.contains("seven"), "{message}");
        let message = says(task_error(pool.apply::<_, i64>("divide", (1_i64 << 40, 1))));
        assert!(message.contains("i32"), "{message}");
        // A fraction is not silently cut off.
        says(task_error(pool.apply::<_, i64>("square", (1.5,))));
    });
}

#[test]
fn every_trap_is_named_and_leaves_a_fresh_instance() {
    isolated(|| {
        let pool = wat(NUMBERS);
        let pid = worker(&pool).pid();
        let count = || pool.apply::<_, i64>("count", ()).unwrap();
        let trap = |task: &str, error: wasmp::TaskError, says: &str| {
            assert_eq!(
                (error.kind, error.task.as_str(), error.pid),
                (ErrorKind::Trap, task, pid)
            );
            assert!(error.message.contains(says), "{task}: {}", error.message);
            assert!(error.backtrace.is_some(), "{task}");
            assert_eq!((count(), count()), (1, 2), "after {task}");
        };
        assert_eq!(pool.apply::<_, i32>("divide", (6, 3)).unwrap(), 2);
        trap(
            "divide",
            task_error(pool.apply::<_, i32>("divide", (1, 0))),
            "integer divide by zero",
        );
        trap(
            "divide",
            task_error(pool.apply::<_, i32>("divide", (i32::MIN, -1))),
            "integer overflow",
        );
        trap(
            "load",
            task_error(pool.apply::<_, i32>("load", (65_536,))),
            "out of bounds memory access",
        );
        trap(
            "load",
            task_error(pool.apply::<_, i32>("load", (-1,))),
            "out of bounds memory access",
        );
        trap(
            "truncate",
            task_error(pool.apply::<_, i32>("truncate", (f64::NAN,))),
            "invalid conversion to integer",
        );
        trap(
            "indirect",
            task_error(pool.apply::<_, ()>("indirect", ())),
            "uninitialized element",
        );
        trap(
            "unreachable",
            task_error(pool.apply::<_, ()>("unreachable", ())),
            "unreachable",
        );
        trap(
            "recurse",
            task_error(pool.apply::<_, ()>("recurse", ())),
            "call stack exhausted",
        );
    });
}

#[test]
fn plain_exports_may_have_a_fresh_instance_for_each_item() {
    isolated(|| {
        let builder = Pool::builder(NUMBERS.as_bytes().to_vec())
            .processes(1)
            .isolation(Isolation::Task);
        let pool = builder.build().unwrap();
        assert_eq!(pool.starmap::<_, i64>("count", [(); 50]).unwrap(), [1; 50]);
    });
}

#[test]
fn a_module_whose_start_traps_fails_its_items_and_not_its_workers() {
    isolated(|| {
        let pool = wat(
            r#"(module (func $start unreachable) (start $start) (func (export "one") (result i32) (i32.const 1)))"#,
        );
        let pid = worker(&pool).pid();
        for _ in 0..3 {
            let error = task_error(pool.apply::<_, i32>("one", ()));
            assert_eq!(error.kind, ErrorKind::Instantiate);
            assert!(error.message.contains("unreachable"), "{}", error.message);
        }
        assert_eq!(worker(&pool).pid(), pid);
    });
}

fn command() -> Pool {
    Pool::builder(program()).processes(1).build().expect("a pool")
}

#[test]
fn a_program_turns_its_standard_input_into_its_standard_output() {
    isolated(|| {
        let pool = command();
        assert_eq!(pool.module().kind(), ModuleKind::Command);
        assert_eq!(pool.apply::<_, String>("_start", ("hello",)).unwrap(), "HELLO");
        assert_eq!(pool.apply::<_, String>("_start", ("",)).unwrap(), "");
        let texts: Vec<String> = (0..200).map(|number| format!("text {number}\n").repeat(50)).collect();
        let shouted: Vec<String> = pool.map("_start", &texts).unwrap();
        assert_eq!(
            shouted,
            texts.iter().map(|text| text.to_uppercase()).collect::<Vec<_>>()
        );
    });
}

#[test]
fn a_program_gets_an_array_as_its_arguments() {
    isolated(|| {
        let pool = command();
        let arguments = ["program", "echo", "two words", "grüße"];
        assert_eq!(
            pool.apply::<_, String>("_start", (arguments,)).unwrap(),
            "two words grüße\n"
        );
    });
}

#[test]
fn a_program_fails_with_its_exit_code() {
    isolated(|| {
        let pool = command();
        for code in [1, 3, 255] {
            let error = task_error(pool.apply::<_, String>("_start", (["program", "exit", &code.to_string()],)));
            assert_eq!((error.kind, error.exit_code), (ErrorKind::Exit, Some(code)));
        }
        // Zero is how a program says that all is well.
        assert_eq!(
            pool.apply::<_, String>("_start", (["program", "exit", "0"],)).unwrap(),
            ""
        );
        assert_eq!(pool.apply::<_, String>("_start", ("on",)).unwrap(), "ON");
    });
}

#[test]
fn a_program_that_panics_is_one_failure() {
    isolated(|| {
        let (builder, lines) = listen(Pool::builder(program()).processes(1));
        let pool = builder.build().unwrap();
        let error = task_error(pool.apply::<_, String>("_start", (["program", "panic"],)));
        assert_eq!(error.kind, ErrorKind::Trap);
        assert_eq!(pool.apply::<_, String>("_start", ("on",)).unwrap(), "ON");
        close(&pool);
        drop(pool);
        let lines = lines.rest();
        assert!(lines.iter().all(|line| line.stream == Stream::Stderr), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.text.contains("told to panic")),
            "{lines:?}"
        );
    });
}

#[test]
fn what_a_program_prints_to_stderr_is_passed_on_and_not_part_of_its_result() {
    isolated(|| {
        let (builder, lines) = listen(Pool::builder(program()).processes(1));
        let pool = builder.build().unwrap();
        assert_eq!(
            pool.apply::<_, String>("_start", (["program", "both"],)).unwrap(),
            "to stdout\n"
        );
        let line = lines.next();
        assert_eq!((line.stream, line.text.as_str()), (Stream::Stderr, "to stderr\n"));
    });
}

#[test]
fn a_program_that_prints_no_text_returns_bytes() {
    isolated(|| {
        let bytes: ByteBuf = command().apply("_start", (["program", "bytes"],)).unwrap();
        assert_eq!(bytes.as_slice(), [0xff, 0xfe, 0]);
    });
}

#[test]
fn a_program_takes_nothing_but_texts() {
    isolated(|| {
        let pool = command();
        assert_eq!(
            task_error(pool.apply::<_, String>("_start", (7,))).kind,
            ErrorKind::Arguments
        );
        assert_eq!(
            task_error(pool.apply::<_, String>("_start", ([1, 2],))).kind,
            ErrorKind::Arguments
        );
        assert_eq!(
            task_error(pool.apply::<_, String>("_start", ("a", "b"))).kind,
            ErrorKind::Arguments
        );
    });
}

#[test]
fn exec_runs_a_program_once_with_the_streams_of_its_caller() {
    isolated(|| {
        let (builder, lines) = listen(Pool::builder(program()));
        let code = builder.exec(std::io::Cursor::new("from outside")).unwrap();
        let printed: String = lines.rest().into_iter().map(|line| line.text).collect();
        assert_eq!((code, printed.as_str()), (0, "FROM OUTSIDE"));
        let exit = Pool::builder(program())
            .args(["program", "exit", "42"])
            .exec(std::io::empty());
        assert_eq!(exit.unwrap(), 42);
        let (builder, _lines) = listen(Pool::builder(program()).args(["program", "panic"]));
        assert_eq!(task_error(builder.exec(std::io::empty())).kind, ErrorKind::Trap);
    });
}

#[test]
fn pw_07_a_module_that_starts_processes_whenever_it_begins_comes_to_an_end() {
    isolated(|| {
        // Its start function runs in every process, and so would in those that it starts, without end.
        let module = r#"(module
            (import "wasmp_v1" "process_start" (func $start (param i32 i32 i32 i32) (result i32)))
            (import "wasmp_v1" "task_next" (func $next (param i32 i32) (result i64)))
            (import "wasmp_v1" "task_return" (func $return (param i32 i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\00\00\00\00" "\00\00\00\00" "\03\00\00\00" "\00\00\00\00" "raw" "\80")
            (global $refused (mut i32) (i32.const 0))
            (func $begin
                (if (i32.lt_s (call $start (i32.const 0) (i32.const 19) (i32.const 19) (i32.const 1)) (i32.const 0))
                    (then (global.set $refused (i32.const 1)))))
            (start $begin)
            (func (export "wasmp_task_raw")
                (drop (call $next (i32.const 1024) (i32.const 1024)))
                (i32.store8 (i32.const 64) (global.get $refused))
                (call $return (i32.const 64) (i32.const 1))))"#;
        for (limit, refused) in [(0, 1), (8, 0)] {
            let pool = Pool::builder(module.as_bytes().to_vec())
                .processes(1)
                .max_processes(limit)
                .build()
                .unwrap();
            assert_eq!(pool.apply::<_, i64>("raw", ()).unwrap(), refused, "of {limit}");
            eventually("those that it has started have ended", || {
                (descendants(std::process::id(), "wasmp-worker").len() == 1).then_some(())
            });
            close(&pool);
        }
    });
}
