//! `wasmp exec`: a WASI command once, with streams, arguments and exit code as if it had been started here.

use std::fs::File;
use std::io::Read as _;

use rustix::pipe::{PipeFlags, pipe_with};
use wasmp_tests::{program, tasks};

use crate::pty::Terminal;
use crate::run::{Wasmp, wasmp};
use crate::scene::Folder;

fn exec(words: &str) -> Wasmp {
    wasmp("exec").arg(program()).words(words)
}

#[test]
fn standard_input_goes_through() {
    exec("").input("hello\nthere").run().prints("HELLO\nTHERE");
    exec("").run().prints("");
    let long = "all work and no play\n".repeat(100_000);
    exec("").input(long.as_str()).run().prints(&long.to_uppercase());
}

#[test]
fn standard_output_is_passed_on_byte_for_byte() {
    let outcome = exec("-- bytes").run();
    assert_eq!((outcome.code(), outcome.stdout.as_slice()), (0, &b"\xff\xfe\0"[..]));
}

#[test]
fn both_streams_stay_apart() {
    exec("-- both").run().ends(0, "to stdout\n", "to stderr\n");
}

#[test]
fn everything_after_two_dashes_is_an_argument_of_the_command() {
    exec("-- echo --help -j 2 -- x").run().prints("--help -j 2 -- x\n");
    exec("echo").run().is_refused(&["unexpected argument 'echo'"]);
}

#[test]
fn the_exit_code_is_the_commands() {
    for code in [0, 1, 7, 130, 255] {
        exec(&format!("-- exit {code}")).run().ends(code, "", "");
    }
}

#[test]
fn a_trap_is_exit_code_1_with_a_backtrace() {
    let outcome = exec("-- panic").run();
    assert_eq!((outcome.code(), outcome.text()), (1, ""));
    outcome.says(&["told to panic", "wasmp: trap: ", "unreachable", "\n  0: "]);
}

#[test]
fn a_deadline_is_exit_code_1() {
    let mut running = exec("--timeout 200ms").start();
    let input = running.stdin.take();
    let outcome = running.end();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["wasmp: timeout: ran longer than 200ms"]);
    drop(input);
}

#[test]
fn a_command_that_is_killed_is_exit_code_1() {
    let forever = r#"(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\08\00\00\00\06\00\00\00begun\0a")
      (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (loop $again (br $again))))"#;
    let folder = Folder::new().with("forever.wat", forever);
    let running = wasmp("exec forever.wat").within(folder.path()).start();
    running.stdout.wait_for_begun(1);
    running.worker().kill();
    let outcome = running.end();
    assert_eq!(outcome.code(), 1);
    outcome.says(&["wasmp: worker_lost: "]);
}

#[test]
fn a_command_gets_no_more_memory_than_is_allowed() {
    let outcome = exec("--max-memory 2M").input("x".repeat(4 << 20)).run();
    assert_eq!((outcome.code(), outcome.text()), (1, ""));
    outcome.says(&["wasmp: memory_limit: "]);
}

#[test]
fn a_command_is_given_files_and_variables_like_a_task() {
    let module = r#"(module
      (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (call $exit (i32.add
          (i32.load (i32.const 0))
          (i32.mul (i32.const 10) (i32.eqz (call $prestat (i32.const 3) (i32.const 8))))))))"#;
    let folder = Folder::new().with("given.wat", module);
    for (options, code) in [
        ("", 0),
        ("--env A=1 --env B=2", 2),
        ("--dir .", 10),
        ("--dir .:rw --env A=", 11),
    ] {
        wasmp("exec given.wat")
            .words(options)
            .within(folder.path())
            .run()
            .ends(code, "", "");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let forever = r#"(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\08\00\00\00\02\00\00\00y\0a")
      (func (export "_start")
        (loop $again
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
          (br $again))))"#;
    let folder = Folder::new().with("yes.wat", forever);
    let running = wasmp("exec yes.wat").within(folder.path()).stdout(writer).start();
    let mut reader = File::from(reader);
    let mut said = [0; 4];
    reader.read_exact(&mut said).expect("what it says");
    assert_eq!(&said, b"y\ny\n");
    drop(reader);
    running.end().ends(0, "", "");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("a device that is always full");
    exec("-- both")
        .stdout(full)
        .run()
        .says(&["wasmp: cannot write to standard output: no space left on device\n"]);
}

#[test]
fn a_terminal_gets_no_control_characters() {
    let terminal = Terminal::new();
    let module = r#"(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\08\00\00\00\09\00\00\00\1b[2Jtext\0a")
      (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 32)))))"#;
    let folder = Folder::new().with("escape.wat", module);
    let command = wasmp("exec escape.wat")
        .within(folder.path())
        .stdout(terminal.line())
        .at(&terminal);
    let running = command.start();
    let seen = terminal.everything();
    assert_eq!(running.end().code(), 0);
    assert_eq!(seen, "\\u{1b}[2Jtext\r\n\\u{1b}[2Jtext\r\n");
    wasmp("exec escape.wat")
        .within(folder.path())
        .run()
        .ends(0, "\u{1b}[2Jtext\n", "\u{1b}[2Jtext\n");
}

#[test]
fn only_commands_can_be_executed() {
    wasmp("exec")
        .arg(tasks())
        .run()
        .is_refused(&["is no WASI command, but has tasks (task module): run them with `wasmp map` or `wasmp call`"]);
    wasmp("exec examples/plain/square.wat")
        .run()
        .is_refused(&["square is no WASI command", "(plain exports)"]);
}
