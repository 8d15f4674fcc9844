//! Log records, as they come out of the program. What is inherited is checked in the program itself.

use wasmp::{Pool, StartMethod};
use wasmp_tests::{isolated, processes};

use crate::{ended, run};

/// What a scenario writes to standard error, under each start method.
fn under_each_method(scenario: &str, check: impl Fn(&str)) {
    for method in StartMethod::ALL {
        let (_, err) = run(&format!("--{} {scenario}", method.name()));
        check(&err);
    }
}

#[test]
fn lg_01_records_are_written_once_somebody_has_asked_for_them() {
    isolated(|| {
        under_each_method("lg_01_logging", |err| {
            let lines: Vec<&str> = err.lines().collect();
            assert_eq!(
                lines,
                [
                    "[SUBWARNING/MainProcess] this will",
                    "[ERROR/Process-2] something\u{1b}[2J is wrong",
                    "[ERROR/PoolWorker-3] something\u{1b}[2J is wrong",
                ]
            );
        });
    });
}

#[test]
fn lg_02_children_inherit_the_level() {
    isolated(|| under_each_method("lg_02_level", |_| ()));
}

#[test]
fn lg_03_a_record_knows_the_file_that_it_comes_from() {
    isolated(|| {
        under_each_method("lg_03_filename", |err| {
            assert_eq!(err, "[INFO] [logs.rs] 1\n[DEBUG] [logs.rs] 2\n");
        });
    });
}

#[test]
fn logs_of_the_hosts_own_processes_and_pools_are_kept_in_files() {
    isolated(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let logs = |name: &str| folder.path().join(name);
        let builder = |name: &str| {
            Pool::builder(processes())
                .processes(1)
                .log_dir(logs(name))
                .on_output(|_| ())
        };
        let context = builder("context").context().expect("a context");
        let process = context
            .process("end")
            .args(("error",))
            .name("A")
            .start()
            .expect("a process");
        assert_eq!(ended(&process), 1);
        let kept = std::fs::read_to_string(logs("context").join(format!("A-{}.log", process.pid())));
        assert!(kept.expect("its log").starts_with("Process A:\nerror: told to fail\n"));
        let pool = builder("pool").build().expect("a pool");
        pool.apply::<_, ()>("nothing", ()).expect("it has nothing to say");
        assert_eq!(std::fs::read_dir(logs("pool")).expect("the folder").count(), 0);
        std::fs::write(logs("file"), "").expect("a file");
        let why = builder("file").build().expect_err("a file is no folder").to_string();
        assert!(why.contains("cannot take logs"), "{why}");
    });
}
