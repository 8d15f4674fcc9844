//! A process that is led through an operation instruction by instruction.

use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use rustix::process::{Signal, WaitOptions, getpid, kill_process, waitpid};

use crate::common::{Child, PATIENCE, Words};

/// Where the process says that it is.
const BEFORE: u64 = 0;
const INSIDE: u64 = 1;
const BEHIND: u64 = 2;

/// The side of the process.
pub(crate) struct Stage<'a>(&'a AtomicU64);

impl Stage<'_> {
    /// The operation that the process is led through, and does not come back from.
    pub(crate) fn perform<R>(&self, operation: impl FnOnce() -> R) -> ! {
        // Through pointers that the compiler cannot see through, so that nothing of the operation moves out of it.
        let mut operation = Some(operation);
        let call: &mut dyn FnMut() = &mut || {
            black_box(operation.take().map(|operation| operation()));
        };
        let call = black_box(call);
        stop();
        self.0.store(INSIDE, Ordering::SeqCst);
        call();
        self.0.store(BEHIND, Ordering::SeqCst);
        loop {
            stop();
        }
    }
}

fn stop() {
    kill_process(getpid(), Signal::STOP).unwrap();
}

/// The process, on its way through the operation. It is killed when dropped.
pub(crate) struct Traced {
    child: Child,
    place: Words,
}

/// Why it does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// It has done its step, or come to its breakpoint.
    Trapped,
    /// It has called [`stop`].
    Stopped,
    /// In a system call.
    Asleep,
}

impl Traced {
    /// Starts a process and lets it come to the operation.
    pub(crate) fn at_operation(body: impl FnOnce(&Stage)) -> Traced {
        let place = Words::new(1);
        let child = Child::run(|| {
            ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            body(&Stage(&place[0]));
        });
        let traced = Traced { child, place };
        assert_eq!(traced.wait(), Pause::Stopped);
        while traced.place.get(0) == BEFORE {
            assert!(traced.step(), "asleep before the operation");
        }
        traced
    }

    /// Whether it is still in the operation.
    pub(crate) fn is_inside(&self) -> bool {
        self.place.get(0) == INSIDE
    }

    /// One instruction. False: it has fallen asleep in it.
    pub(crate) fn step(&self) -> bool {
        self.ptrace(libc::PTRACE_SINGLESTEP, 0, 0);
        self.pause() != Pause::Asleep
    }

    /// After it has been woken: it comes back from its system call.
    pub(crate) fn wake_up(&self) {
        assert_eq!(self.wait(), Pause::Trapped);
    }

    pub(crate) fn kill(self) {
        self.child.kill();
    }

    /// Waits until it stops or falls asleep.
    fn pause(&self) -> Pause {
        /// So often it is looked for before it could be asleep: several times what an instruction takes.
        const LOOKS: u32 = 50;
        loop {
            for _ in 0..LOOKS {
                if let Some(pause) = self.look() {
                    return pause;
                }
                thread::yield_now();
            }
            if self.child.is_asleep() {
                return Pause::Asleep;
            }
        }
    }

    /// Waits until it stops, asleep or not.
    fn wait(&self) -> Pause {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(pause) = self.look() {
                return pause;
            }
            assert!(Instant::now() < deadline, "nobody wakes it");
            thread::yield_now();
        }
    }

    fn look(&self) -> Option<Pause> {
        let (_, status) = waitpid(Some(self.child.pid()), WaitOptions::NOHANG).unwrap()?;
        match status.stopping_signal() {
            Some(libc::SIGTRAP) => Some(Pause::Trapped),
            Some(libc::SIGSTOP) => Some(Pause::Stopped),
            _ => panic!("the victim failed: {status:?}"),
        }
    }

    fn ptrace(&self, request: libc::c_uint, address: usize, data: usize) -> usize {
        ptrace(request, self.child.pid().as_raw_pid(), address, data)
    }
}

fn ptrace(request: libc::c_uint, pid: libc::pid_t, address: usize, data: usize) -> usize {
    // SAFETY: of the requests made here none touches the memory of this process.
    let result = unsafe { libc::ptrace(request, pid, address, data) };
    assert_ne!(result, -1, "ptrace request {request}: {}", io::Error::last_os_error());
    result as usize
}

/// The way through an operation as far as it is known: the address of the next instruction, after so many of them.
///
/// To be led along it step by step each time would take a time that grows with the square of its length. A breakpoint in a
/// register of the processor takes the process to its end at once.
#[derive(Debug, Default)]
pub(crate) struct Path(Vec<usize>);

impl Path {
    /// Leads a process that is at its beginning to its end. How many steps that were; `None` if it took another way, and is
    /// of no more use.
    pub(crate) fn follow(&self, traced: &Traced) -> Option<u32> {
        let Some(&end) = self.0.last() else { return Some(0) };
        // An instruction that repeats itself is one step each time, but passes its breakpoint once.
        let repeats = self.0.iter().rev().take_while(|&&address| address == end).count() - 1;
        let way = &self.0[..self.0.len() - repeats];
        if way.len() > 1 {
            let comes_by = |at: &usize| way[*at] == end && (*at == 0 || way[*at - 1] != end);
            let passes = (0..way.len()).filter(comes_by).count();
            if !breakpoint::run_to(traced, end, passes) {
                return None;
            }
        }
        let all_steps = (0..repeats).all(|_| traced.step());
        all_steps.then_some(self.0.len() as u32 - 1)
    }

    /// Whether the instruction at its end was there so often before that it is one of a loop over many bytes or words.
    pub(crate) fn ends_in_long_loop(&self) -> bool {
        const LONG: usize = 64;
        self.0
            .last()
            .is_some_and(|end| self.0.iter().filter(|address| *address == end).count() > LONG)
    }

    /// It begins where the process is.
    pub(crate) fn begin(&mut self, traced: &Traced) {
        self.0.clear();
        self.go_on(traced);
    }

    /// The process has made one step beyond its end.
    pub(crate) fn go_on(&mut self, traced: &Traced) {
        self.0.extend(breakpoint::address(traced));
    }
}

#[cfg(target_arch = "x86_64")]
mod breakpoint {
    //! One breakpoint, in the first of the debug registers.

    use std::mem::offset_of;

    use super::{Pause, Traced};

    const ADDRESS: usize = offset_of!(libc::user, regs) + offset_of!(libc::user_regs_struct, rip);
    const PLACE: usize = offset_of!(libc::user, u_debugreg);
    const CONTROL: usize = PLACE + 7 * size_of::<u64>();
    /// In the control register: stop before the instruction at the first place.
    const ON: usize = 1;
    const OFF: usize = 0;

    /// Where the next instruction is.
    pub(super) fn address(traced: &Traced) -> Option<usize> {
        Some(traced.ptrace(libc::PTRACE_PEEKUSER, ADDRESS, 0))
    }

    /// Lets it run until it has come to an address so many times, where it is now included. False: it does not.
    pub(super) fn run_to(traced: &Traced, end: usize, passes: usize) -> bool {
        traced.ptrace(libc::PTRACE_POKEUSER, PLACE, end);
        traced.ptrace(libc::PTRACE_POKEUSER, CONTROL, ON);
        let came = (0..passes).all(|_| {
            traced.ptrace(libc::PTRACE_CONT, 0, 0);
            traced.pause() == Pause::Trapped
        });
        if came {
            traced.ptrace(libc::PTRACE_POKEUSER, CONTROL, OFF);
        }
        came
    }
}

/// Elsewhere the way is never known, and the process is led step by step.
#[cfg(not(target_arch = "x86_64"))]
mod breakpoint {
    use super::Traced;

    pub(super) fn address(_: &Traced) -> Option<usize> {
        None
    }

    pub(super) fn run_to(_: &Traced, _: usize, _: usize) -> bool {
        false
    }
}
