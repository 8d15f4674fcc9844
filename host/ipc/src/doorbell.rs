//! Waking a process that sleeps in `epoll`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

/// An eventfd that one process rings and another one watches with `epoll`.
///
/// Watch it **edge-triggered, and never read it**: each ring is an edge of its own. Reading would be one more system
/// call per wake-up, and a trap: the flag that makes a read return instead of block belongs to the open file, which the
/// ringing process shares and can change.
#[derive(Debug)]
pub struct Doorbell {
    eventfd: OwnedFd,
}

impl Doorbell {
    /// Creates a doorbell that nobody has rung.
    pub fn create() -> io::Result<Doorbell> {
        let eventfd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Doorbell { eventfd })
    }

    /// Rings: the watching process's `epoll_wait` returns.
    pub fn ring(&self) {
        // The one possible error is a full counter, 2⁶⁴ rings from now: nothing to tell anyone about.
        let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
    }
}

/// A doorbell from the descriptor that another process has passed on.
impl From<OwnedFd> for Doorbell {
    fn from(eventfd: OwnedFd) -> Doorbell {
        Doorbell { eventfd }
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
