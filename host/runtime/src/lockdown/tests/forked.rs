//! Forked children that report through a pipe.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A child that has not ended by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Killed(i32),
}

/// A child that was waited for.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) how: End,
    pub(crate) report: String,
}

/// A running child; killed and reaped when dropped.
pub(crate) struct Forked {
    pub(crate) pid: Pid,
    pidfd: OwnedFd,
    report: File,
    reaped: bool,
}

/// What a child reports through.
pub(crate) struct Reporter(File);

impl Reporter {
    pub(crate) fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("the parent listens");
    }
}

impl AsFd for Reporter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs `child` in a forked process, which exits with 0 afterwards, or with 101 if it panics.
pub(crate) fn fork(child: impl FnOnce(&mut Reporter)) -> Forked {
    let (reader, writer) = io::pipe().expect("a pipe");
    // SAFETY: the child runs code that a process forked from one with threads may not rely on (it allocates), which
    // glibc supports; it never returns into the test harness.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            let mut reporter = Reporter(File::from(OwnedFd::from(writer)));
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| child(&mut reporter)));
            if let Err(panic) = &outcome {
                // Standard error is closed to a locked-down child.
                let text = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
                let _ = reporter.0.write_all(text.as_bytes());
            }
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(if outcome.is_ok() { 0 } else { 101 }) }
        }
        pid => {
            drop(writer);
            let pid = Pid::from_raw(pid).expect("a parent sees a positive pid");
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("a child that is not reaped");
            Forked {
                pid,
                pidfd,
                report: File::from(OwnedFd::from(reader)),
                reaped: false,
            }
        }
    }
}

impl Forked {
    /// Waits until the child has reported something.
    pub(crate) fn first_report(&mut self) -> String {
        let mut buffer = [0; 1024];
        let len = self.report.read(&mut buffer).expect("the pipe can be read");
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Ended {
        let patience = PATIENCE.try_into().expect("a short time");
        let ended = poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&patience)).expect("poll");
        assert!(ended > 0, "the child hangs");
        let how = self.reap();
        let mut report = String::new();
        self.report.read_to_string(&mut report).expect("the report is text");
        Ended { how, report }
    }

    fn reap(&mut self) -> End {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        let reaped = unsafe { libc::waitpid(self.pid.as_raw_pid(), &raw mut status, 0) };
        assert_eq!(reaped, self.pid.as_raw_pid());
        self.reaped = true;
        if libc::WIFSIGNALED(status) {
            End::Killed(libc::WTERMSIG(status))
        } else {
            End::Exited(libc::WEXITSTATUS(status))
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
            self.reap();
        }
    }
}

/// Runs the test function `name` in a process where no other thread does anything, as in a zygote; for tests whose
/// children use locks that another test's thread might hold during the fork.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    const ALONE: &str = "WASMP_TEST_ALONE";
    if std::env::var_os(ALONE).is_some_and(|alone| alone == name) {
        return test();
    }
    let program = std::env::current_exe().expect("the test program");
    let output = Command::new(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ALONE, name)
        .output()
        .expect("the test program starts");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}
