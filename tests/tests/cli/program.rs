//! `wasmp run`: a program that starts processes, with streams, arguments and exit code as if it had been started here.

use std::fs::File;
use std::io::Read as _;

use rustix::pipe::{PipeFlags, pipe_with};
use wasmp_tests::{Process, processes, program, tasks};

use crate::run::{Running, Wasmp, wasmp};
use crate::scene::Folder;

/// A scenario of `guests/processes`.
fn run(words: &str) -> Wasmp {
    wasmp("run").arg(processes()).words(words)
}

/// Everything that the command has started.
fn everything_of(running: &Running) -> Vec<Process> {
    ["wasmp-keeper", "wasmp-zygote", "wasmp-spare", "wasmp-worker"]
        .iter()
        .flat_map(|name| running.processes(name))
        .collect()
}

#[test]
fn both_streams_and_the_exit_code_are_the_programs() {
    run("end return").run().ends(0, "out of return\nend: done\n", "");
    run("end error")
        .run()
        .ends(1, "out of error\n", "Process MainProcess:\nerror: told to fail\n");
    for code in [3, 130, 255] {
        run(&format!("end {code}"))
            .run()
            .ends(code, &format!("out of {code}\n"), "");
    }
}

#[test]
fn everything_after_the_module_goes_to_the_program() {
    wasmp("run")
        .arg(program())
        .words("echo --help -q -- --dir x")
        .run()
        .prints("--help -q -- --dir x\n");
    let outcome = run("end --timeout").run();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["invalid digit found in string"]);
    wasmp("run --no-such-option")
        .arg(processes())
        .run()
        .is_refused(&["--no-such-option"]);
    wasmp("run").run().is_refused(&["<MODULE>"]);
}

#[test]
fn standard_input_goes_through() {
    wasmp("run")
        .arg(program())
        .input("hello\nthere")
        .run()
        .prints("HELLO\nTHERE");
}

#[test]
fn a_program_without_processes_runs_as_by_exec() {
    let outcome = wasmp("run").arg(program()).words("bytes").run();
    assert_eq!((outcome.code(), outcome.stdout.as_slice()), (0, &b"\xff\xfe\0"[..]));
}

#[test]
fn a_module_without_main_is_refused() {
    let folder = Folder::new().with(
        "plain.wat",
        r#"(module (func (export "one") (result i32) (i32.const 1)))"#,
    );
    wasmp("run")
        .arg(folder.path().join("plain.wat"))
        .run()
        .is_refused(&["is no WASI command"]);
}

#[test]
fn a_program_whose_main_does_nothing_is_fine() {
    wasmp("run").arg(tasks()).run().ends(0, "", "");
}

#[test]
fn more_processes_than_allowed_are_an_error_of_the_program() {
    wasmp("run --max-processes 3")
        .arg(processes())
        .words("pw_07_no_end_of_processes")
        .run()
        .ends(0, "pw_07_no_end_of_processes: done\n", "");
    let outcome = wasmp("run --max-processes 3")
        .arg(processes())
        .words("p_18_many 4")
        .run();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["Process MainProcess:\nerror: no more processes: ", "--max-processes"]);
}

#[test]
fn p_18_a_hundred_processes_twice() {
    wasmp("run --max-processes 256")
        .arg(processes())
        .words("p_18_many")
        .run()
        .prints("p_18_many: done\n");
}

#[test]
fn a_program_that_runs_too_long_is_killed_with_all_that_it_has_started() {
    let running = wasmp("run --timeout 1s").arg(processes()).words("kill_main").start();
    let child = running.stdout.next().parse().expect("a process id");
    let child = Process::open(child);
    let outcome = running.end();
    assert_eq!((outcome.code(), outcome.text()), (1, ""));
    outcome.says(&["wasmp: the program ran longer than 1s and was killed\n"]);
    if let Some(child) = child {
        child.wait_until_gone();
    }
}

#[test]
fn ctrl_c_is_told_to_the_program() {
    let running = run("wait").start();
    assert_eq!(running.stdout.next(), "begun");
    running.interrupt();
    running.end().ends(0, "interrupted\nwait: done\n", "");
}

#[test]
fn ctrl_c_is_the_end_of_a_program_that_does_not_care() {
    let running = run("sleep").start();
    assert_eq!(running.stdout.next(), "begun");
    let all = everything_of(&running);
    running.interrupt();
    let outcome = running.end();
    assert_eq!((outcome.code(), outcome.text()), (130, ""));
    outcome.says(&["Process MainProcess:\ntrap: interrupted\n"]);
    for process in all {
        process.wait_until_gone();
    }
}

#[test]
fn no_process_outlives_a_command_that_was_killed() {
    let running = run("kill_main").start();
    running.stdout.next();
    let all = everything_of(&running);
    // Perhaps a worker stands by, too.
    assert!(all.len() >= 4, "{all:?}");
    running.process().kill();
    for process in all {
        process.wait_until_gone();
    }
    let outcome = running.end();
    assert_eq!(outcome.status.code(), None, "{outcome:?}");
}

#[test]
fn a_killed_program_has_the_exit_code_of_a_shell() {
    let running = run("kill_main").start();
    let child: u32 = running.stdout.next().parse().expect("a process id");
    let main = running
        .processes("wasmp-worker")
        .into_iter()
        .find(|process| process.pid() != child)
        .expect("the program");
    main.kill();
    let outcome = running.end();
    assert_eq!(outcome.code(), 137);
    outcome.says(&["wasmp: the program was killed by signal 9\n"]);
}

#[test]
fn p_22_nobody_hangs_when_standard_output_is_closed() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    drop(reader);
    let outcome = run("exit_codes").stdout(writer).run();
    assert_eq!(outcome.code(), 0, "it ends as other commands do whose reader has gone");
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    run("p_18_many 5").stdout(writer).run();
    let mut printed = String::new();
    File::from(reader)
        .read_to_string(&mut printed)
        .expect("what it printed");
    assert_eq!(printed, "p_18_many: done\n");
}

#[test]
fn each_process_has_a_log_of_its_own_in_the_directory() {
    let folder = Folder::new();
    let logs = folder.path().join("logs");
    let outcome = wasmp("run --log-dir")
        .arg(&logs)
        .arg(processes())
        .words("lg_01_logging")
        .run();
    let printed = "[SUBWARNING/MainProcess] this will\n\
                   [ERROR/Process-2] something\u{1b}[2J is wrong\n\
                   [ERROR/PoolWorker-3] something\u{1b}[2J is wrong\n";
    outcome.ends(0, "lg_01_logging: done\n", printed);
    let mut kept: Vec<(String, String)> = std::fs::read_dir(&logs)
        .expect("the directory is made")
        .map(|entry| entry.expect("a file").path())
        .map(|path| (without_pid(&path), std::fs::read_to_string(path).expect("a text")))
        .collect();
    kept.sort_unstable();
    assert_eq!(
        kept,
        [
            ("MainProcess", "[SUBWARNING/MainProcess] this will\n"),
            ("PoolWorker-3", "[ERROR/PoolWorker-3] something\\u{1b}[2J is wrong\n"),
            ("Process-2", "[ERROR/Process-2] something\\u{1b}[2J is wrong\n"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
}

#[test]
fn no_name_of_a_process_leads_out_of_the_directory_for_logs() {
    let folder = Folder::new();
    let logs = folder.path().join("logs");
    let outcome = wasmp("run --log-dir")
        .arg(&logs)
        .arg(processes())
        .words("log_under_evil_names")
        .run();
    assert_eq!((outcome.code(), outcome.text()), (0, "log_under_evil_names: done\n"));
    assert_eq!(folder.files(), ["logs"]);
    let mut kept: Vec<String> = std::fs::read_dir(&logs)
        .expect("the directory")
        .map(|entry| without_pid(&entry.expect("a file").path()))
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, ["__", "___0_evil_", "______evil", "_tmp_evil", &"n".repeat(100)]);
}

#[test]
fn a_command_keeps_a_log_too() {
    let folder = Folder::new();
    let outcome = wasmp("run --log-dir")
        .arg(folder.path())
        .arg(program())
        .words("both")
        .run();
    outcome.ends(0, "to stdout\n", "to stderr\n");
    assert_eq!(folder.files().len(), 1);
}

#[test]
fn a_directory_for_logs_that_is_none_is_refused() {
    let folder = Folder::new().with("file", "");
    let outcome = wasmp("run --log-dir")
        .arg(folder.path().join("file"))
        .arg(processes())
        .words("lg_01_logging")
        .run();
    assert_eq!((outcome.code(), outcome.text()), (2, ""));
    outcome.says(&["cannot take logs"]);
}

/// The name of a log without the process id in it, which differs each time.
fn without_pid(path: &std::path::Path) -> String {
    let name = path.file_name().expect("a name").to_string_lossy();
    let (name, pid) = name
        .strip_suffix(".log")
        .and_then(|name| name.rsplit_once('-'))
        .expect("NAME-PID.log");
    assert!(pid.parse::<u32>().is_ok(), "{pid}");
    name.to_owned()
}
