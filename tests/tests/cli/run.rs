//! Runs the command, and sees to it that nothing of it is left.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Once;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, set_child_subreaper, waitpid};
use tempfile::TempDir;
use wasmp_tests::{Process, descendants, eventually, tasks};

use crate::outcome::Outcome;
use crate::pty::Terminal;

/// A line or an end that takes longer does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A command that builds a guest may first make the compiler for it, and waits its turn behind other such commands.
const PATIENCE_WITH_A_COMPILER: Duration = Duration::from_secs(30 * 60);

/// The folder of the workspace. Commands are run there, so that paths can be written as they are in the README.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// `wasmp` with these words.
pub(crate) fn wasmp(words: &str) -> Wasmp {
    Wasmp::new().words(words)
}

/// `wasmp map` with the module of `guests/tasks` and these words.
pub(crate) fn map(words: &str) -> Wasmp {
    wasmp("map").arg(tasks()).words(words)
}

/// `wasmp call` with the module of `guests/tasks` and these words.
pub(crate) fn call(words: &str) -> Wasmp {
    wasmp("call").arg(tasks()).words(words)
}

/// A command to be run.
pub(crate) struct Wasmp {
    command: Command,
    input: Vec<u8>,
    /// For its temporary files, of which none may be left.
    temporary: TempDir,
    /// How long it may take to its end.
    patience: Duration,
}

impl Wasmp {
    fn new() -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasmp"));
        command
            .current_dir(ROOT)
            .env("TMPDIR", temporary.path())
            // Compiled modules are kept for the next test, and not among those of this user.
            .env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            command,
            input: Vec::new(),
            temporary,
            patience: PATIENCE,
        }
    }

    /// Adds words, as a shell would split them.
    pub(crate) fn words(mut self, words: &str) -> Self {
        self.command.args(words.split_whitespace());
        self
    }

    /// Adds one word, whatever is in it.
    pub(crate) fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.command.arg(word);
        self
    }

    /// Adds such words.
    pub(crate) fn args<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.command.args(words);
        self
    }

    /// Has it read this and then the end.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Runs it in this folder.
    pub(crate) fn within(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Lets it build guests: it finds the compilers that this user has, and gets the time that a compiler takes.
    pub(crate) fn building(mut self) -> Self {
        self.patience = PATIENCE_WITH_A_COMPILER;
        match std::env::var_os("XDG_CACHE_HOME") {
            Some(folder) => self.command.env("XDG_CACHE_HOME", folder),
            None => self.command.env_remove("XDG_CACHE_HOME"),
        };
        self
    }

    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Puts it at a terminal, whose screen is its standard error.
    pub(crate) fn at(mut self, terminal: &Terminal) -> Self {
        self.command.stderr(terminal.line());
        // SAFETY: only calls that are allowed between fork and exec.
        unsafe { self.command.pre_exec(Terminal::take_control) };
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(mut self) -> Outcome {
        let input = std::mem::take(&mut self.input);
        let mut running = self.start();
        let stdin = running.stdin.take();
        thread::scope(|scope| {
            // Beside the rest, since a command may end without having read it all.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
            running.end()
        })
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(mut self) -> Running {
        static ADOPT: Once = Once::new();
        ADOPT
            .call_once(|| set_child_subreaper(Some(getpid())).expect("to be the parent of what commands leave behind"));
        let mut child = self.command.spawn().expect("the command");
        // The other ends of what it was given are its own.
        self.command = Command::new("");
        Running {
            stdin: child.stdin.take(),
            stdout: Lines::of(child.stdout.take()),
            stderr: Lines::of(child.stderr.take()),
            process: Process::open(child.id()),
            child: Killed(child),
            temporary: self.temporary,
            patience: self.patience,
        }
    }
}

/// A child that does not outlive its test, also when that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Neither does anything to one that has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command under way.
pub(crate) struct Running {
    child: Killed,
    /// `None` if it had ended before it could be looked at.
    process: Option<Process>,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    temporary: TempDir,
    patience: Duration,
}

impl Running {
    /// Its process.
    #[track_caller]
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// Types something, without an end of the input.
    #[track_caller]
    pub(crate) fn write(&mut self, input: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("the input is open");
        stdin.write_all(input.as_ref()).expect("it reads");
    }

    /// What it has started and what now runs under this name.
    pub(crate) fn processes(&self, name: &str) -> Vec<Process> {
        descendants(self.child.0.id(), name)
    }

    /// Its one worker.
    #[track_caller]
    pub(crate) fn worker(&self) -> Process {
        eventually("there is one worker", || {
            let mut workers = self.processes("wasmp-worker");
            if workers.len() == 1 { workers.pop() } else { None }
        })
    }

    /// Presses Ctrl-C for it alone.
    #[track_caller]
    pub(crate) fn interrupt(&self) {
        assert!(self.process().signal(Signal::INT), "it runs");
    }

    /// Waits for its end, which nothing of it must outlive. What was read before is not in the outcome.
    #[track_caller]
    pub(crate) fn end(mut self) -> Outcome {
        drop(self.stdin.take());
        let ends = self.process.is_none_or(|process| process.ends_within(self.patience));
        if !ends {
            self.child.0.kill().expect("a child can be killed");
        }
        let status = self.child.0.wait().expect("the status of a child");
        let outcome = Outcome::new(status, self.stdout.rest(), &self.stderr.rest());
        assert!(ends, "it does not end: {outcome:?}");
        nothing_is_left(self.temporary.path());
        outcome
    }
}

/// What a command writes, line by line.
pub(crate) struct Lines(Receiver<Vec<u8>>);

impl Lines {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let (sender, lines) = channel();
        if let Some(stream) = stream {
            let mut stream = BufReader::new(stream);
            thread::spawn(move || {
                let mut line = Vec::new();
                while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    if sender.send(std::mem::take(&mut line)).is_err() {
                        return;
                    }
                }
            });
        }
        Self(lines)
    }

    /// The next line, without its end.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => String::from_utf8_lossy(&line).trim_end().to_owned(),
            Err(RecvTimeoutError::Timeout) => panic!("no line within {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("no line, but the end"),
        }
    }

    /// Waits until guests have said that they have begun, so often.
    #[track_caller]
    pub(crate) fn wait_for_begun(&self, times: usize) {
        for _ in 0..times {
            assert_eq!(self.next(), "begun");
        }
    }

    /// Waits for a line with these words; what comes before it is of no interest.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) {
        while !self.next().contains(words) {}
    }

    /// Everything else that comes, until the end.
    fn rest(self) -> Vec<u8> {
        self.0.into_iter().flatten().collect()
    }
}

/// Waits until nothing is left of commands that have ended: no process, and no temporary file.
#[track_caller]
fn nothing_is_left(temporary: &Path) {
    eventually("every process that a command has started is gone", || {
        (orphans() == 0).then_some(())
    });
    let files: Vec<_> = fs::read_dir(temporary).expect("a temporary folder").flatten().collect();
    assert!(files.is_empty(), "temporary files are left: {files:?}");
}

/// How many processes go on whose command has ended. They become children of this process, which is what tells them
/// from those of the commands that other tests run at the same time.
fn orphans() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("the threads of this process");
    let children: Vec<String> = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .collect();
    let is_wasmp =
        |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("wasmp-"));
    children
        .iter()
        .flat_map(|list| list.split_whitespace())
        .filter(|pid| is_wasmp(pid))
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        // Takes the status of one that is dead. Another test may have been faster.
        .filter(|pid| matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)))
        .count()
}
