//! What the tests with real processes share: children that report, memory to count in, and chance.
//!
//! Children are forked. They touch shared memory only, exit by `_exit`, and report by exit status; whoever waits for one
//! has a deadline, so that a lost wake-up fails a test instead of hanging it.

#![allow(dead_code, reason = "each of the test programs uses a part of it")]

pub(crate) mod rings;

use std::fs;
use std::ops::Deref;
use std::panic;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, waitpid};

/// Longer than any sleep here should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A forked process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Child(Pid);

impl Child {
    /// Runs `body` in a process of its own.
    pub(crate) fn run(body: impl FnOnce()) -> Child {
        let_children_report();
        // SAFETY: the child has one thread and a copy of the memory. Of what other threads may have held locked at the
        // fork it uses the allocator alone, which glibc keeps usable.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            body();
            exit(0);
        }
        Child(Pid::from_raw(pid).expect("fork"))
    }

    pub(crate) fn pid(&self) -> Pid {
        self.0
    }

    /// Kills it, and waits until it is dead.
    pub(crate) fn kill(self) {
        kill_process(self.0, Signal::KILL).unwrap();
        let (_, status) = waitpid(Some(self.0), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(
            status.terminating_signal(),
            Some(Signal::KILL.as_raw()),
            "the child failed before it was killed"
        );
        std::mem::forget(self);
    }

    /// Waits until it has done its work.
    pub(crate) fn join(self) {
        assert!(self.ends_within(PATIENCE), "a child that does not end");
        let (_, status) = waitpid(Some(self.0), WaitOptions::empty()).unwrap().unwrap();
        std::mem::forget(self);
        assert_eq!(status.exit_status(), Some(0), "a child that failed");
    }

    /// Waits for its end, not longer than that.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        let fd = pidfd_open(self.0, PidfdFlags::empty()).unwrap();
        let timeout = time.try_into().unwrap();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }

    /// Whether it sleeps, in a futex if that is the only thing that it may sleep in.
    pub(crate) fn is_asleep(&self) -> bool {
        state(self.0) == 'S'
    }

    /// Waits until it has ended (false) or sleeps (true). For a child that does one or the other: whoever has been woken
    /// no longer counts as asleep.
    pub(crate) fn falls_asleep(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match state(self.0) {
                'S' => return true,
                'Z' => return false,
                _ => assert!(Instant::now() < deadline, "a child that neither ends nor sleeps"),
            }
            thread::yield_now();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
        let _ = waitpid(Some(self.0), WaitOptions::empty());
    }
}

/// A panic in a child goes past the harness, which would keep it for a report that is not made in that process.
fn let_children_report() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (parent, in_parent) = (getpid(), panic::take_hook());
        panic::set_hook(Box::new(move |panic| {
            if getpid() == parent {
                return in_parent(panic);
            }
            let message = format!("in a child: {panic}\n");
            // SAFETY: the bytes are there.
            unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
            exit(1);
        }));
    });
}

/// Ends a child without what the parent has to do at its end.
fn exit(status: i32) -> ! {
    // SAFETY: nothing of this process is needed any more.
    unsafe { libc::_exit(status) };
}

/// What the kernel says a process is doing: `R`uns, `S`leeps, is s`t`opped or a `Z`ombie.
pub(crate) fn state(pid: Pid) -> char {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap();
    // The name before it may contain anything.
    let after_name = stat.rfind(')').expect("pid (name) state …");
    stat[after_name + 2..].chars().next().unwrap()
}

/// Words, zero at first, that the children of this process share with it.
#[derive(Debug)]
pub(crate) struct Words {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: it hands out `&AtomicU64` only.
unsafe impl Send for Words {}
// SAFETY: as for `Send`.
unsafe impl Sync for Words {}

impl Words {
    pub(crate) fn new(count: usize) -> Words {
        let (access, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        );
        // SAFETY: without MAP_FIXED no memory in use changes.
        let start = unsafe { libc::mmap(ptr::null_mut(), count * size_of::<AtomicU64>(), access, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "no memory");
        let start = NonNull::new(start.cast()).expect("mmap without a hint never returns null");
        Words { start, count }
    }

    /// Adds one in two steps, as whoever is alone with the word may.
    pub(crate) fn increment_alone(&self, index: usize) {
        self[index].store(self[index].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        self[index].load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, index: usize, value: u64) {
        self[index].store(value, Ordering::SeqCst);
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: mapped, zeroed, as long as this.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the range came from `mmap`, and references to it do not outlive this.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}

/// Numbers without a pattern (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The payload of message `number`: the number, and a length and bytes that follow from it.
pub(crate) fn fill(number: u64, longest: usize, payload: &mut Vec<u8>) {
    let mut random = Random(number);
    let length = 8 + random.below(longest as u64 - 7) as usize;
    payload.clear();
    payload.extend_from_slice(&number.to_ne_bytes());
    while payload.len() < length {
        payload.extend_from_slice(&random.next().to_ne_bytes());
    }
    payload.truncate(length);
}

/// The number in an environment variable.
pub(crate) fn number_from_env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
