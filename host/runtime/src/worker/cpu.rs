//! On which CPU a worker runs, and how it comes to another one.
//!
//! Two processes that take turns in looking for what the other one does, on the same CPU, look to the system like two that are
//! busy: where all CPUs are, it does not separate them for tens of milliseconds. Nor may a worker choose its CPU, because what an
//! operator has chosen for it would not bind one that has escaped. So it asks the host, which leaves everything as it was but for
//! where the worker goes on.

use std::time::{Duration, Instant};

use wasmp_ipc::{Advice, Connection};

use super::objects::Objects;
use crate::objects::message::Ask;

/// How often it asks at most.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);

/// The CPU that the calling thread is on, or was a moment ago.
pub(super) fn current() -> Option<u32> {
    // SAFETY: asks for a number, mostly without a system call.
    u32::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// When a worker has last asked for another CPU.
#[derive(Debug, Default)]
pub(super) struct Moves(Option<Instant>);

impl Moves {
    /// Asks for another CPU, if whoever is at the other end says that it is on this one.
    #[inline]
    pub(super) fn heed(&mut self, objects: &Objects, connection: &Connection) {
        if let Advice::LookElsewhere(cpu) = connection.advice()
            && current() == Some(cpu)
        {
            self.ask(objects, cpu);
        }
    }

    #[cold]
    fn ask(&mut self, objects: &Objects, cpu: u32) {
        if self.0.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.0 = Some(Instant::now());
            // Without it, it is only slower.
            let _ = objects.tell(&Ask::AnotherCpu { not: cpu });
        }
    }
}
