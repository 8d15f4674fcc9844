//! What a worker runs in, as the supervisor holds it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::process::{Signal, pidfd_send_signal};

use crate::worker::interruption::{DEADLINE, Watch};

/// A process, or a thread of this one. Its descriptor becomes readable when it can no longer write anything.
#[derive(Debug)]
pub(super) enum Body {
    /// By its pidfd.
    Process(OwnedFd),
    /// By a pipe whose other end it holds.
    Thread { end: OwnedFd, watch: Arc<Watch> },
}

impl Body {
    /// Ends it.
    pub(super) fn kill(&self) {
        match self {
            Self::Process(_) => self.signal(Signal::KILL),
            Self::Thread { watch, .. } => watch.kill(),
        }
    }

    /// Tells it that its item has had its time.
    pub(super) fn warn(&self) {
        match self {
            Self::Process(_) => self.signal(DEADLINE),
            Self::Thread { watch, .. } => watch.warn(),
        }
    }

    /// Sends it what Ctrl-C sends, which threads get as one.
    pub(super) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        if let Self::Process(pidfd) = self {
            // It can only fail if the process is gone, and then its pidfd says so.
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }
}

impl AsFd for Body {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Process(fd) | Self::Thread { end: fd, .. } => fd.as_fd(),
        }
    }
}

/// A process ends with its lifeline, a thread with this.
impl Drop for Body {
    fn drop(&mut self) {
        if let Self::Thread { watch, .. } = self {
            watch.kill();
        }
    }
}
