//! Signals and children of the two processes that fork: keeper and zygote.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::control::Channel;
use super::message::Status;

/// What a process that waits for orders and for its children has to attend to.
#[derive(Debug)]
pub(super) struct Attention {
    pub(super) order: bool,
    pub(super) child: bool,
}

/// SIGCHLD as a descriptor, so that one `poll` waits for orders and for children.
#[derive(Debug)]
pub(super) struct ChildSignal(OwnedFd);

impl ChildSignal {
    /// Blocks SIGCHLD and SIGINT, and opens a descriptor that is readable when one of the first is pending.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: plain system calls on a signal set that lives on this stack; the descriptor is fresh and ours.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGCHLD);
            // What is forked from here is not to be interrupted before it can say what that means.
            let mut blocked = set;
            libc::sigaddset(&mut blocked, libc::SIGINT);
            if libc::sigprocmask(libc::SIG_BLOCK, &blocked, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// Waits for an order on `control`, or for a child to end, or until nothing of that has happened for so long.
    pub(super) fn wait(&self, control: &Channel, patience: Option<Timespec>) -> io::Result<Attention> {
        let mut fds = [PollFd::new(control, PollFlags::IN), PollFd::new(&self.0, PollFlags::IN)];
        loop {
            match poll(&mut fds, patience.as_ref()) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let child = !fds[1].revents().is_empty();
        let order = !fds[0].revents().is_empty();
        if child {
            // The count does not matter: `reap` takes all there are.
            let mut info = [0; 128];
            while rustix::io::read(&self.0, &mut info).is_ok_and(|read| read > 0) {}
        }
        Ok(Attention { order, child })
    }
}

/// A descriptor for a child of this process, which has not waited for it: so the number cannot be another's.
pub(super) fn open_child(pid: u32) -> io::Result<OwnedFd> {
    let child = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(child, PidfdFlags::empty())?)
}

/// Collects every child that has ended.
pub(super) fn reap(mut ended: impl FnMut(u32, Status)) {
    loop {
        let mut raw = 0;
        // SAFETY: `raw` is a valid place for the status.
        let pid = unsafe { libc::waitpid(-1, &mut raw, libc::WNOHANG) };
        if pid <= 0 {
            return;
        }
        ended(pid.cast_unsigned(), Status::from_wait(raw));
    }
}

/// What a child undoes of the above before it becomes something else: no signal is blocked in it.
pub(super) fn unblock_signals() {
    // SAFETY: plain system calls on a signal set that lives on this stack.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Makes this process a copy of itself: 0 in the child.
///
/// The caller has one thread, so the child may run any code: no lock can be held by a thread that it lacks.
pub(super) fn fork() -> io::Result<u32> {
    // SAFETY: see above; the keeper refuses to work with more than one thread, and nothing here starts one.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid.cast_unsigned()),
    }
}

/// Points a standard stream at nothing, so that it keeps no pipe or terminal of the host's open.
pub(super) fn detach_stdio() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    for standard in 0..=2 {
        // SAFETY: dup2 onto a standard stream of this process; nothing in it owns those numbers.
        if unsafe { libc::dup2(null.as_fd().as_raw_fd(), standard) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    if null.as_raw_fd() <= 2 {
        // It landed on a stream that was closed, and stays there.
        std::mem::forget(null);
    }
    Ok(())
}
