//! What a task can do wrong is a result: it is charged to its item alone, and everything else goes on.

use std::collections::HashSet;

use wasmp::{Chunksize, ErrorKind, Stream, TaskError};
use wasmp_tests::isolated;

use crate::common::{builder, close, listen, pool, task_error, worker};

/// Has one worker misbehave in the middle of a chunk of items that behave; returns how that one failed.
#[track_caller]
fn only_this_fails(how: &str) -> TaskError {
    let pool = builder(1).max_memory(1 << 30).on_output(|_| ()).build().unwrap();
    let pid = worker(&pool).pid();
    let inputs = ["fine", "fine", how, "fine", "fine", "fine"];
    let call = pool.task("misbehave").chunksize(Chunksize::Exact(6));
    let mut results: Vec<wasmp::Result<i64>> = call.imap(inputs).unwrap().collect();
    let error = task_error(results.remove(2));
    for result in results {
        assert_eq!(result.unwrap(), 1, "a neighbour of {how:?} failed");
    }
    assert_eq!(worker(&pool).pid(), pid, "it costs the instance, not the process");
    assert_eq!(
        (error.task.as_str(), error.index, error.worker, error.pid, error.attempt),
        ("misbehave", 2, 1, pid, 1)
    );
    assert_eq!(error.signal, None);
    close(&pool);
    error
}

#[track_caller]
fn assert_backtrace_names_the_task(error: &TaskError) {
    let backtrace = error.backtrace.as_deref().expect("a backtrace");
    assert!(backtrace.contains("misbehave"), "{backtrace}");
    assert!(backtrace.contains("tasks/src/main.rs:"), "{backtrace}");
}

#[test]
fn an_error_that_is_returned() {
    isolated(|| {
        let error = only_this_fails("error");
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Error, "told to fail"));
        assert_eq!((error.backtrace, error.exit_code), (None, None));
    });
}

#[test]
fn g_03_an_error_of_a_type_that_only_the_guest_knows_comes_with_its_causes() {
    isolated(|| {
        let error = task_error(pool(1).apply::<_, ()>("fail_for_reasons", ()));
        assert_eq!(error.to_string(), "cannot sum up");
        let causes: Vec<_> = error.causes().map(|cause| cause.message.as_str()).collect();
        assert_eq!(causes, ["cannot open the list", "no such file"]);
        let error = wasmp::Error::from(error);
        assert_eq!(
            format!("{error:#}"),
            "cannot sum up: cannot open the list: no such file"
        );
        let source = std::error::Error::source(&error).expect("a cause");
        assert_eq!(source.to_string(), "cannot open the list");
    });
}

#[test]
fn an_error_of_a_nested_pool_passes_its_causes_on() {
    isolated(|| {
        let error = task_error(pool(1).apply::<_, ()>("nested_reasons", ()));
        assert_eq!(
            format!("{error:#}"),
            "cannot sum up: cannot open the list: no such file"
        );
    });
}

#[test]
fn a_failed_item_tells_how_much_memory_it_had() {
    isolated(|| {
        let pool = builder(1)
            .isolation(wasmp::Isolation::Task)
            .on_output(|_| ())
            .build()
            .unwrap();
        let small = task_error(pool.apply::<_, i64>("misbehave", ("error",))).peak_memory;
        let large = task_error(pool.apply::<_, i64>("allocate_and", (40, "panic"))).peak_memory;
        let again = task_error(pool.apply::<_, i64>("misbehave", ("error",))).peak_memory;
        assert!(small > 0 && small == again, "{small} {again}");
        assert!((40 << 20..80 << 20).contains(&large), "{large}");
        let call = pool.task("allocate_and").timeout(std::time::Duration::from_millis(300));
        let stopped = task_error(call.apply::<_, i64>((40, "loop")));
        assert_eq!(stopped.kind, ErrorKind::Timeout);
        assert!((40 << 20..80 << 20).contains(&stopped.peak_memory), "{stopped:?}");
    });
}

#[test]
fn pl_20_a_panic_has_its_message_its_place_and_a_backtrace() {
    isolated(|| {
        let error = only_this_fails("panic");
        assert_eq!(error.kind, ErrorKind::Panic);
        assert!(error.message.contains("told to panic"), "{}", error.message);
        assert!(error.message.contains("tasks/src/main.rs:"), "{}", error.message);
        assert_backtrace_names_the_task(&error);
    });
}

#[test]
fn an_unwrap_of_nothing_is_a_panic() {
    isolated(|| {
        let error = only_this_fails("unwrap");
        assert_eq!(error.kind, ErrorKind::Panic);
        assert!(error.message.contains("on a `None` value"), "{}", error.message);
    });
}

#[test]
fn an_index_out_of_bounds_is_a_panic() {
    isolated(|| {
        let error = only_this_fails("index");
        assert_eq!(error.kind, ErrorKind::Panic);
        assert!(
            error.message.contains("the len is 3 but the index is 3"),
            "{}",
            error.message
        );
    });
}

#[test]
fn px_03_a_trap_has_its_kind_and_a_backtrace_with_files_and_lines() {
    isolated(|| {
        let error = only_this_fails("unreachable");
        assert_eq!(error.kind, ErrorKind::Trap);
        assert!(error.message.contains("unreachable"), "{}", error.message);
        assert_backtrace_names_the_task(&error);
    });
}

#[test]
fn a_stack_overflow_is_a_trap() {
    isolated(|| {
        let error = only_this_fails("stack overflow");
        assert_eq!(error.kind, ErrorKind::Trap);
        assert!(error.message.contains("call stack exhausted"), "{}", error.message);
    });
}

#[test]
fn g_02_px_04_an_exit_is_a_failure_with_its_code() {
    isolated(|| {
        let error = only_this_fails("exit 3");
        assert_eq!((error.kind, error.exit_code), (ErrorKind::Exit, Some(3)));
        assert!(error.message.contains("exit code 3"), "{}", error.message);
    });
}

#[test]
fn g_02_an_exit_with_code_0_has_no_result_either() {
    isolated(|| {
        let error = only_this_fails("exit 0");
        assert_eq!((error.kind, error.exit_code), (ErrorKind::Exit, Some(0)));
    });
}

#[test]
fn memory_beyond_the_limit() {
    isolated(|| {
        let error = only_this_fails("allocate");
        assert_eq!(error.kind, ErrorKind::MemoryLimit);
        assert!(error.message.contains("1024 MiB are allowed"), "{}", error.message);
    });
}

#[test]
fn a_task_that_does_without_refused_memory_is_not_charged_for_it_later() {
    isolated(|| {
        let pool = builder(1).max_memory(64 << 20).on_output(|_| ()).build().unwrap();
        assert!(!pool.apply::<_, bool>("try_to_allocate", (500,)).unwrap());
        assert!(pool.apply::<_, bool>("try_to_allocate", (5,)).unwrap());
        let error = task_error(pool.apply::<_, i64>("misbehave", ("unreachable",)));
        assert_eq!(error.kind, ErrorKind::Trap);
    });
}

#[test]
fn arguments_that_do_not_fit_the_task() {
    isolated(|| {
        let pool = pool(1);
        let pid = worker(&pool).pid();
        let error = task_error(pool.apply::<_, i64>("add", (1,)));
        assert_eq!(error.kind, ErrorKind::Arguments);
        assert!(
            error.message.contains('2') && error.message.contains('1'),
            "{}",
            error.message
        );
        let error = task_error(pool.apply::<_, i64>("add", (1, "two")));
        assert_eq!(error.kind, ErrorKind::Arguments);
        assert!(
            error.message.contains('b') && error.message.contains("i64"),
            "{}",
            error.message
        );
        let error = task_error(pool.apply::<_, i64>("square", (u64::MAX,)));
        assert_eq!(error.kind, ErrorKind::Arguments);
        assert_eq!(pool.apply::<_, i64>("add", (1, 2)).unwrap(), 3);
        assert_eq!(worker(&pool).pid(), pid);
    });
}

#[test]
fn pe_02_a_result_that_cannot_be_encoded_twenty_times() {
    isolated(|| {
        let pool = pool(1);
        let pid = worker(&pool).pid();
        for _ in 0..20 {
            let error = task_error(pool.apply::<_, ()>("unencodable", ()));
            assert_eq!(error.kind, ErrorKind::Result);
            assert!(error.message.contains("I will not"), "{}", error.message);
            assert_eq!(error.pid, pid);
        }
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        assert_eq!(worker(&pool).pid(), pid);
    });
}

#[test]
fn a_result_of_another_type_than_asked_for_is_the_callers_error() {
    isolated(|| {
        let pool = pool(1);
        let error = pool.apply::<_, String>("square", (3,)).unwrap_err();
        assert!(matches!(error, wasmp::Error::Decode(_)), "{error:?}");
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
    });
}

#[test]
fn what_a_guest_printed_before_it_failed_is_passed_on() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        pool.apply::<_, ()>("print", ("whole\nhalf", "aside\n")).unwrap();
        task_error(pool.apply::<_, i64>("misbehave", ("unreachable",)));
        close(&pool);
        drop(pool);
        let lines: HashSet<_> = lines
            .rest()
            .into_iter()
            .map(|line| (line.worker, line.stream, line.text))
            .collect();
        let expected = [
            (1, Stream::Stdout, "whole\n"),
            (1, Stream::Stdout, "half"),
            (1, Stream::Stderr, "aside\n"),
        ];
        assert_eq!(
            lines,
            expected
                .map(|(worker, stream, text)| (worker, stream, text.to_owned()))
                .into()
        );
    });
}

#[test]
fn a_failure_leaves_a_fresh_instance_and_a_success_leaves_its_state() {
    isolated(|| {
        let pool = builder(1).on_output(|_| ()).build().unwrap();
        let count = || pool.apply::<_, i64>("count", ()).unwrap();
        assert_eq!((count(), count()), (1, 2));
        // An error is an ordinary way to return.
        task_error(pool.apply::<_, i64>("misbehave", ("error",)));
        assert_eq!(count(), 3);
        for how in ["panic", "unreachable", "exit 3", "stack overflow"] {
            task_error(pool.apply::<_, i64>("misbehave", (how,)));
            assert_eq!((count(), count()), (1, 2), "after {how}");
        }
    });
}

#[test]
fn failures_of_every_kind_at_once_do_not_disturb_the_others() {
    isolated(|| {
        let pool = builder(2).max_memory(1 << 30).on_output(|_| ()).build().unwrap();
        let hows = [
            "fine",
            "error",
            "fine",
            "panic",
            "fine",
            "unreachable",
            "fine",
            "exit 3",
            "fine",
            "allocate",
        ];
        let inputs: Vec<&str> = hows.into_iter().cycle().take(1000).collect();
        let results = pool.imap::<_, i64>("misbehave", inputs.clone()).unwrap();
        let mut seen = 0;
        for (index, (how, result)) in inputs.iter().zip(results).enumerate() {
            seen += 1;
            match *how {
                "fine" => assert_eq!(result.unwrap(), 1),
                how => {
                    let error = task_error(result);
                    let kind = match how {
                        "error" => ErrorKind::Error,
                        "panic" => ErrorKind::Panic,
                        "unreachable" => ErrorKind::Trap,
                        "exit 3" => ErrorKind::Exit,
                        _ => ErrorKind::MemoryLimit,
                    };
                    assert_eq!((error.kind, error.index), (kind, index as u64));
                }
            }
        }
        assert_eq!(seen, 1000);
    });
}
