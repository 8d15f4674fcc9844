//! The lifeline: a worker dies with its host, and with nothing else.
//!
//! A pipe for each worker, whose write end only the host has. The worker asks the kernel to send it SIGKILL when
//! something happens at the read end. Nothing is ever written, so what happens is that the last write end closes: the
//! host has ended, however it ended. (`PR_SET_PDEATHSIG` follows the parent, which is a zygote that may die alone, and
//! a thread of it at that.)
//!
//! A worker that runs native code of a guest can close its end. The keeper finds such a worker when the host's control
//! socket closes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, pipe_with};

/// `F_SETSIG` and `O_ASYNC` of Linux, on every architecture that this crate is written for; `libc` and `rustix` lack
/// them.
const F_SETSIG: libc::c_int = 10;
const O_ASYNC: OFlags = OFlags::from_bits_retain(0x2000);

/// The host's end: the worker lives no longer than this.
#[derive(Debug)]
pub(crate) struct Lifeline {
    _write_end: OwnedFd,
}

impl Lifeline {
    /// A new lifeline, and the end of it to hand to one worker: it can kill only one. Both are closed on exec.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self { _write_end: write_end }, read_end))
    }
}

/// Ties the calling process to the host at the other end, for as long as `read_end` stays open.
///
/// Fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe) if the host is gone already.
pub(crate) fn arm(read_end: BorrowedFd<'_>) -> io::Result<()> {
    let fd = read_end.as_raw_fd();
    // SAFETY: neither command takes a pointer.
    let aimed = unsafe {
        libc::fcntl(fd, libc::F_SETOWN, libc::getpid()) == 0 && libc::fcntl(fd, F_SETSIG, libc::SIGKILL) == 0
    };
    if !aimed {
        return Err(io::Error::last_os_error());
    }
    fcntl_setfl(read_end, fcntl_getfl(read_end)? | O_ASYNC)?;
    // A host that ended before that line sent nothing; one that ends from here on does.
    let mut end = [PollFd::from_borrowed_fd(read_end, PollFlags::empty())];
    retry_on_intr(|| poll(&mut end, Some(&Timespec::default())))?;
    if end[0].revents().contains(PollFlags::HUP) {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the host is gone"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;
    use rustix::process::{
        Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, set_child_subreaper, wait, waitpid,
    };

    use super::{Lifeline, arm};
    use crate::lockdown::Role;
    use crate::lockdown::tests::forked::{End, Forked, Reporter, fork};
    use crate::lockdown::tests::lock_down_as;

    /// A child on `lifeline`, locked down, that would wait forever.
    fn start_worker(lifeline: &OwnedFd) -> Forked {
        let mut worker = fork(|report| {
            arm(lifeline.as_fd()).expect("the host lives");
            lock_down_as(Role::Worker, &[report.as_fd(), lifeline.as_fd()], &[]);
            report.say("armed");
            let _ = poll(&mut [], None);
        });
        assert_eq!(worker.first_report(), "armed");
        worker
    }

    /// Whether the process ends within this time.
    fn ends_within(pidfd: &OwnedFd, time: Duration) -> bool {
        let time = time.try_into().expect("a short time");
        poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&time)).expect("poll") > 0
    }

    /// Runs `body` in a process that becomes the parent of its orphaned descendants, and then has none left.
    fn as_keeper(body: impl FnOnce(&mut Reporter)) -> String {
        let ended = fork(|report| {
            set_child_subreaper(Some(getpid())).expect("subreaper");
            body(report);
            assert_eq!(
                wait(WaitOptions::empty()).map(drop),
                Err(Errno::CHILD),
                "nobody is left, dead or alive"
            );
        })
        .wait();
        assert_eq!(ended.how, End::Exited(0), "{}", ended.report);
        ended.report
    }

    /// Kills a host, and reports in microseconds how much longer its worker lived.
    fn kill_a_host(report: &mut Reporter) {
        let mut host = fork(|report| {
            let (_alive, lifeline) = Lifeline::pair().expect("a pipe");
            let worker = start_worker(&lifeline);
            report.say(&worker.pid.to_string());
            let _ = poll(&mut [], None);
        });
        let worker = host
            .first_report()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .expect("the pid of the worker");
        let pidfd = pidfd_open(worker, PidfdFlags::empty()).expect("it lives");

        let killed = Instant::now();
        kill_process(host.pid, Signal::KILL).expect("it lives");
        assert!(
            ends_within(&pidfd, Duration::from_secs(10)),
            "the worker outlives its host"
        );
        report.say(&killed.elapsed().as_micros().to_string());

        assert_eq!(host.wait().how, End::Killed(libc::SIGKILL));
        let (_, status) = waitpid(Some(worker), WaitOptions::empty())
            .expect("it is ours now")
            .expect("it has ended");
        assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_worker_dies_at_once_when_its_host_is_killed() {
        // The best of five: the machine may be busy with other tests.
        let lived = (0..5)
            .map(|_| as_keeper(kill_a_host).parse::<u64>().expect("a number"))
            .min();
        assert!(lived < Some(100_000), "{lived:?} µs");
    }

    #[test]
    fn a_worker_survives_its_zygote_and_not_the_end_of_its_lifeline() {
        as_keeper(|_| {
            let (alive, lifeline) = Lifeline::pair().expect("a pipe");
            let mut zygote = fork(|report| {
                let worker = start_worker(&lifeline);
                report.say(&worker.pid.to_string());
                let _ = poll(&mut [], None);
            });
            let worker = zygote
                .first_report()
                .parse()
                .ok()
                .and_then(Pid::from_raw)
                .expect("the pid of the worker");
            let pidfd = pidfd_open(worker, PidfdFlags::empty()).expect("it lives");
            drop(zygote);
            assert!(!ends_within(&pidfd, Duration::from_millis(50)));
            drop(alive);
            assert!(ends_within(&pidfd, Duration::from_secs(10)));
            waitpid(Some(worker), WaitOptions::empty()).expect("it is ours now");
        });
    }

    #[test]
    fn a_host_that_is_gone_already_is_noticed() {
        let ended = fork(|report| {
            let (alive, lifeline) = Lifeline::pair().expect("a pipe");
            drop(alive);
            let error = arm(lifeline.as_fd()).expect_err("nobody is there");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            report.say("noticed");
        })
        .wait();
        assert_eq!((ended.how, ended.report.as_str()), (End::Exited(0), "noticed"));
    }
}
