//! The library in a program of its embedder: no cooperation from `main`, several pools, several threads.

use std::process::Command;

use wasmp::{Error, Module, Pool};
use wasmp_tests::{descendants, isolated, program, tasks};

use crate::common::{builder, pool};

#[test]
fn it_works_under_the_test_harness_while_other_threads_run() {
    isolated(|| {
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        // Locks of the allocator are held at any moment.
                        std::hint::black_box(vec![0_u8; 10_000]);
                        std::thread::yield_now();
                    }
                });
            }
            for _ in 0..5 {
                assert_eq!(pool(2).map::<_, i64>("square", 0..100).unwrap().len(), 100);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

#[test]
fn several_pools_of_different_modules_at_once() {
    isolated(|| {
        let numbers = pool(2);
        let texts = Pool::builder(program()).processes(1).build().unwrap();
        let module = Module::load(tasks()).unwrap();
        let again = Pool::builder(&module).processes(1).build().unwrap();
        assert_eq!(numbers.apply::<_, i64>("square", (7,)).unwrap(), 49);
        assert_eq!(texts.apply::<_, String>("_start", ("x",)).unwrap(), "X");
        assert_eq!(again.apply::<_, i64>("count", ()).unwrap(), 1);
        drop(numbers);
        assert_eq!(texts.apply::<_, String>("_start", ("y",)).unwrap(), "Y");
        assert_eq!(again.apply::<_, i64>("count", ()).unwrap(), 2);
        assert_eq!(
            descendants(std::process::id(), "wasmp-keeper").len(),
            1,
            "one keeper serves all"
        );
    });
}

#[test]
fn pools_are_made_and_dropped_by_many_threads() {
    isolated(|| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..5 {
                        let x = thread * 100 + round;
                        assert_eq!(pool(1).apply::<_, i64>("square", (x,)).unwrap(), x * x);
                    }
                });
            }
        });
    });
}

#[test]
fn p_26_a_worker_executable_that_is_not_one_is_a_clear_error() {
    isolated(|| {
        let error = builder(1).worker_exe("/bin/true").build().unwrap_err();
        assert!(matches!(error, Error::Start { .. }), "{error:?}");
        assert!(error.to_string().contains("does not contain this library"), "{error}");
        let error = builder(1).worker_exe("/no/such/program").build().unwrap_err();
        assert!(matches!(error, Error::Start { .. }), "{error:?}");
        let pool = builder(1).build().expect("the right one works as ever");
        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
    });
}

#[test]
fn p_02_another_program_with_the_library_can_be_the_worker_executable() {
    isolated(|| {
        let pool = builder(1).worker_exe(env!("CARGO_BIN_EXE_host")).build().unwrap();
        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        let keepers = descendants(std::process::id(), "wasmp-keeper");
        let exe = std::fs::read_link(format!("/proc/{}/exe", keepers[0].pid())).unwrap();
        assert_eq!(exe.file_name().unwrap(), "host");
    });
}

#[test]
fn children_of_the_host_do_not_become_workers() {
    isolated(|| {
        let pool = pool(1);
        assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        // What makes a keeper of an executable is not in the environment of the host.
        let output = Command::new("/usr/bin/env").output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("KEEPER"));
    });
}

#[test]
fn a_host_that_reaps_its_own_children_is_not_disturbed() {
    isolated(|| {
        let pool = pool(2);
        for _ in 0..10 {
            assert!(Command::new("/bin/true").status().unwrap().success());
            assert_eq!(pool.apply::<_, i64>("square", (7,)).unwrap(), 49);
        }
    });
}
