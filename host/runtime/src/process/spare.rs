//! A worker that a zygote has forked ahead: what can be done without knowing whose it will be is done already, which is
//! more than half of what it takes to start one.
//!
//! It is forked when the zygote has had nothing to do for a moment, so that it takes no time from the workers that were
//! asked for. The host gets the other end of the one descriptor that it keeps, and gives it its order without asking the
//! zygote, which is told afterwards. That end closes when the host ends, or has lost the zygote, and the spare ends with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::Timespec;

use super::control::Channel;
use super::message::{FromZygote, MAX_MESSAGE, encode};
use super::reaper::{fork, open_child};
use crate::worker::{self, Belongings, Template, Walls};

/// How long a zygote has had nothing to do before it forks one: by then a worker that was asked for has begun, and who
/// starts one process after the other has not asked for the next.
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000,
};

/// The worker that stands by, if there is one, as its zygote sees it.
#[derive(Debug)]
pub(super) struct Spare {
    pid: Option<u32>,
    /// There is to be one. Whoever has asked for a worker may ask for another; one that died by itself is not replaced.
    wanted: bool,
    /// There is never to be one.
    useless: bool,
}

impl Spare {
    /// None yet. With `many` false there is no use for one.
    pub(super) fn new(many: bool) -> Self {
        Self {
            pid: None,
            wanted: many,
            useless: !many,
        }
    }

    /// How long to wait for an order before [`prepare`](Self::prepare) is called. `None`: it need not be.
    pub(super) fn due(&self) -> Option<Timespec> {
        (self.wanted && self.pid.is_none()).then_some(PAUSE)
    }

    /// Forks one, and tells the host. It makes its belongings of the order that it gets.
    pub(super) fn prepare(
        &mut self,
        control: &Channel,
        (template, walls): (&Template, &Walls),
        belongings: impl FnOnce(&[u8], Vec<OwnedFd>) -> io::Result<Belongings>,
    ) {
        self.wanted = false;
        // What is not possible now is tried again after the next order.
        let Ok((theirs, ours)) = Channel::pair() else { return };
        match fork() {
            Ok(0) => {
                let _ = rustix::thread::set_name(c"wasmp-spare");
                worker::stand_by(template, walls, ours.as_fd(), || {
                    let mut buffer = vec![0; MAX_MESSAGE];
                    let Some((len, fds)) = ours.recv(&mut buffer)? else {
                        return Ok(None);
                    };
                    belongings(&buffer[..len], fds).map(Some)
                })
            }
            Ok(pid) => {
                let told = open_child(pid).and_then(|pidfd| {
                    control.send(&encode(&FromZygote::StandsBy { pid }), &[pidfd.as_fd(), theirs.as_fd()])
                });
                // If nobody has the other end, it ends.
                self.pid = told.is_ok().then_some(pid);
            }
            Err(_) => {}
        }
    }

    /// A worker was ordered, and another may be.
    pub(super) fn wish(&mut self) {
        self.wanted = !self.useless;
    }

    /// This worker has an order, or has ended.
    pub(super) fn leave(&mut self, pid: u32) {
        self.pid.take_if(|spare| *spare == pid);
    }
}
