//! What ends the process of a manager when a call takes too long.
//!
//! Its one thread is in that call: in code that loops, or in a function of ours that waits. So the kernel does it, by a timer
//! whose signal, SIGALRM, has no handler: it kills. Who waits for an answer learns that the manager is gone, as after any
//! death; the exit code tells of which it was.

use std::ptr;
use std::time::Duration;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alarm(Duration);

/// Neither never nor at once: a time of zero is no timer.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Alarm {
    pub(super) fn new(limit: Duration) -> Self {
        Self(limit.clamp(SHORTEST, LONGEST))
    }

    /// Does something that takes no longer than it may, or is the end of this process.
    pub(super) fn around<R>(self, work: impl FnOnce() -> R) -> R {
        set(self.0);
        let result = work();
        set(Duration::ZERO);
        result
    }
}

/// In so much time from now; zero: not at all.
fn set(time: Duration) {
    let none = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let timer = libc::itimerval {
        it_interval: none,
        it_value: libc::timeval {
            tv_sec: time.as_secs() as libc::time_t,
            tv_usec: time.subsec_micros() as libc::suseconds_t,
        },
    };
    // SAFETY: the timer is plain data on this stack, and what it was before is not asked for. It only fails for times that are
    // none.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
}
