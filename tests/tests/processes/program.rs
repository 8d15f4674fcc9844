//! Programs that start processes: each test is a scenario of `guests/processes`.

use std::io::empty;

use rustix::process::{Resource, Rlimit, setrlimit};
use wasmp_tests::isolated;

use crate::{context, ended, run};

/// Tests that are nothing but a scenario, under each start method.
macro_rules! scenarios {
    (@forkserver $($name:ident)*) => {
        mod forkserver {
            $(#[test] fn $name() { super::isolated(|| super::good(concat!("--forkserver ", stringify!($name)))); })*
        }
    };
    (@fork $($name:ident)*) => {
        mod fork {
            $(#[test] fn $name() { super::isolated(|| super::good(concat!("--fork ", stringify!($name)))); })*
        }
    };
    (@spawn $($name:ident)*) => {
        mod spawn {
            $(#[test] fn $name() { super::isolated(|| super::good(concat!("--spawn ", stringify!($name)))); })*
        }
    };
    ($($name:ident)*) => {
        scenarios! { @forkserver $($name)* }
        scenarios! { @spawn $($name)* }
        scenarios! { @fork $($name)* }
    };
}

/// Runs a scenario that says in the end that it is done.
fn good(words: &str) {
    let (out, _) = run(words);
    assert!(out.ends_with(": done\n"), "{out}");
    if words.ends_with("pw_06_pools_and_processes") {
        assert_eq!(out, "pools, pw_06_pools_and_processes: done\n", "printed once");
    }
}

scenarios! {
    p_01_current
    p_03_arguments
    p_04_daemon
    p_05_parent
    p_07_life
    p_09_interrupt
    p_12_kill
    p_13_cpu_count
    p_14_active_children
    p_16_sentinel
    p_17_close
    p_18_many
    p_23_broken_streams
    p_27_own_type
    f_01_finalize
    mm_01_types
    sm_managed
    sm_07_pool
    x_02_generations
    x_04_pools
    x_05_exit_handlers
    by_name
    exit_codes
    interrupted_at_birth
    names
    pw_06_pools_and_processes
    pw_07_no_end_of_processes
    pool_is_typed
    rt_01_killed_with_many_locks
    rt_04_long_names
    rt_07_semaphore_of_the_module
    x_04_start_methods
}

#[test]
fn what_is_printed_while_a_lock_is_held_stays_together() {
    isolated(|| {
        let (out, _) = run("printed_in_turns");
        let lines: Vec<&str> = out.lines().collect();
        let (blocks, rest) = lines.as_chunks::<3>();
        assert_eq!((blocks.len(), rest), (1000, &["printed_in_turns: done"][..]));
        for block in blocks {
            let words = block.map(|line| line.splitn(3, ' ').collect::<Vec<_>>());
            assert!(words.iter().all(|line| line[..2] == words[0][..2]), "{block:?}");
            assert_eq!(words.map(|line| line[2]), ["begins", "goes on", "ends"], "{block:?}");
        }
    });
}

#[test]
fn those_who_asked_about_others_leave_nothing_behind_with_the_host() {
    isolated(|| {
        // Two hundred children are more than so many descriptors can be kept for.
        let limit = Rlimit {
            current: Some(150),
            maximum: Some(150),
        };
        setrlimit(Resource::Nofile, limit).expect("a lower limit");
        good("many_ask");
    });
}

#[test]
fn a_fork_is_a_copy_of_its_parent() {
    isolated(|| good("fork_copies"));
}

#[test]
fn a_fork_has_a_line_of_its_own_to_the_managers_of_its_parent() {
    isolated(|| good("fork_managed"));
}

#[test]
fn p_28_an_uncaught_error_is_told_as_a_whole_before_the_process_ends() {
    isolated(|| {
        let (_, err) = run("exit_codes");
        let told: Vec<&str> = err.lines().filter(|line| !line.starts_with(' ')).collect();
        let panic = told[3];
        assert_eq!(
            told[..3],
            ["Process Process-2:", "error: told to fail", "Process Process-3:"]
        );
        assert!(
            panic.starts_with("panic: told to panic (") && panic.contains("main.rs"),
            "{panic}"
        );
        assert_eq!(told.len(), 4, "{err}");
        assert!(
            err.contains("end at ") && err.contains("/guests/processes/src/main.rs"),
            "{err}"
        );
    });
}

#[test]
fn who_comes_to_its_end_waits_for_its_children() {
    isolated(|| {
        let (out, _) = run("children_are_waited_for");
        let mut said: Vec<&str> = out.lines().collect();
        let first = said.remove(0);
        assert_eq!(first, "a child is at its end");
        said.sort_unstable();
        assert_eq!(
            said,
            [
                "children_are_waited_for: done",
                "said by a child",
                "said by a grandchild",
                "the program is at its end"
            ]
        );
    });
}

#[test]
fn x_05_exit_handlers_of_the_program_run_when_it_exits() {
    isolated(|| {
        for method in ["--forkserver", "--spawn", "--fork"] {
            let (context, printed) = context(&format!("{method} x_05_main_exits"));
            let main = context.main(empty()).expect("it starts");
            assert_eq!(ended(&main), 3);
            drop((context, main));
            let said = printed.rest().remove(&wasmp::Stream::Stdout).unwrap_or_default();
            assert_eq!(said, "first\nat the exit\n");
        }
    });
}

#[test]
fn who_comes_to_its_end_terminates_its_daemons() {
    isolated(|| drop(run("daemons_are_terminated")));
}

#[test]
fn the_exit_code_of_the_program_is_that_of_its_main() {
    isolated(|| {
        for (how, code) in [("return", 0), ("error", 1), ("panic", 1), ("3", 3), ("263", 7)] {
            let (context, _) = context(&format!("end {how}"));
            assert_eq!(ended(&context.main(empty()).expect("it starts")), code, "{how}");
        }
        let (context, printed) = context("abort");
        let main = context.main(empty()).expect("it starts");
        assert_eq!(ended(&main), 1);
        drop((context, main));
        let told = printed.rest().remove(&wasmp::Stream::Stderr).unwrap_or_default();
        assert!(told.starts_with("Process MainProcess:\ntrap: "), "{told}");
    });
}
