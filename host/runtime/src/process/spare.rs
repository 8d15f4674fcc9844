//! A worker that a zygote has forked ahead: what can be done without knowing whose it will be is done already, which is
//! more than half of what it takes to start one.
//!
//! It is forked when the zygote has had nothing to do for a moment, so that it takes no time from the workers that were
//! asked for. It keeps one descriptor, which closes when the zygote ends, however it ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;

use super::control::Channel;
use super::message::MAX_MESSAGE;
use super::reaper::fork;
use crate::worker::{self, Belongings, Template, Walls};

/// How long a zygote has had nothing to do before it forks one: by then a worker that was asked for has begun, and who
/// starts one process after the other has not asked for the next.
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000,
};

/// The worker that stands by, if there is one.
#[derive(Debug)]
pub(super) struct Spare {
    worker: Option<(u32, Channel)>,
    /// There is to be one. Whoever has asked for a worker may ask for another; one that died by itself is not replaced.
    wanted: bool,
    /// There is never to be one.
    useless: bool,
}

impl Spare {
    /// None yet. With `many` false there is no use for one.
    pub(super) fn new(many: bool) -> Self {
        Self {
            worker: None,
            wanted: many,
            useless: !many,
        }
    }

    /// How long to wait for an order before [`prepare`](Self::prepare) is called. `None`: it need not be.
    pub(super) fn due(&self) -> Option<Timespec> {
        (self.wanted && self.worker.is_none()).then_some(PAUSE)
    }

    /// Forks one. It makes its belongings of the order that it is [handed](Self::hand).
    pub(super) fn prepare(
        &mut self,
        (template, walls): (&Template, &Walls),
        belongings: impl FnOnce(&[u8], Vec<OwnedFd>) -> io::Result<Belongings>,
    ) {
        self.wanted = false;
        let Ok((ours, theirs)) = Channel::pair() else { return };
        match fork() {
            Ok(0) => {
                let _ = rustix::thread::set_name(c"wasmp-spare");
                worker::stand_by(template, walls, theirs.as_fd(), || {
                    let mut buffer = vec![0; MAX_MESSAGE];
                    let Some((len, fds)) = theirs.recv(&mut buffer)? else {
                        return Ok(None);
                    };
                    belongings(&buffer[..len], fds).map(Some)
                })
            }
            Ok(pid) => self.worker = Some((pid, ours)),
            // It is tried again after the next order.
            Err(_) => {}
        }
    }

    /// Hands the order on, and returns the process id of the worker that has it. `None`: nobody does.
    pub(super) fn hand(&mut self, order: &[u8], fds: &[OwnedFd]) -> Option<u32> {
        self.wanted = !self.useless;
        let (pid, channel) = self.worker.take()?;
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        channel.send(order, &fds).is_ok().then_some(pid)
    }

    /// A child of the zygote has ended. Returns whether that was the one that stood by, of which nobody else knows.
    pub(super) fn was(&mut self, pid: u32) -> bool {
        self.worker.take_if(|(spare, _)| *spare == pid).is_some()
    }
}
