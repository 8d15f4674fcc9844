//! Sleeping on a word of shared memory until another process says that it changed.
//!
//! These are the shared (not the private) futexes: the kernel finds the sleepers by the page, whatever address it is
//! mapped at.

use std::num::NonZeroU32;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::{ClockId, Timespec};

/// Sleeps while `word` is `expected`, until a [`wake`] or the deadline. Returns false if the deadline passed.
///
/// It may return true for no reason at all (a wake-up meant for an earlier sleep), so callers look again and loop.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
    // Absolute, so that an interrupted sleep goes on towards the same moment.
    let deadline = deadline.map(monotonic);
    loop {
        match futex::wait_bitset(word, Flags::empty(), expected, deadline.as_ref(), NonZeroU32::MAX) {
            Err(Errno::INTR) => {}
            Err(Errno::TIMEDOUT) => return false,
            // Woken, or the word had changed before. No other error exists for a mapped, aligned word; if one appeared,
            // the caller's loop would poll, which is slow but right.
            Ok(()) | Err(_) => return true,
        }
    }
}

/// How many words one can wait for at once.
pub const MOST_WORDS: usize = 128;

/// Where the kernel cannot wait for several words (before Linux 5.16), they are looked at so often.
const SLICE: Duration = Duration::from_millis(5);

/// Sleeps while every one of these words (at most [`MOST_WORDS`]) has the value beside it, until one of them is woken, or
/// the deadline. Returns false if the deadline passed; it may return true for no reason, as [`wait`] may.
pub fn wait_any(words: &[(&AtomicU32, u32)], deadline: Option<Instant>) -> bool {
    let waits: Vec<Wait> = words
        .iter()
        .map(|(word, expected)| {
            let mut wait = Wait::new();
            wait.val = u64::from(*expected);
            wait.uaddr = WaitPtr::new(ptr::from_ref(*word).cast_mut().cast());
            wait.flags = WaitFlags::SIZE_U32;
            wait
        })
        .collect();
    let until = deadline.map(monotonic);
    loop {
        match futex::waitv(&waits, WaitvFlags::empty(), until.as_ref(), ClockId::Monotonic) {
            Err(Errno::INTR) => {}
            Err(Errno::TIMEDOUT) => return false,
            Err(Errno::NOSYS | Errno::PERM) => return wait_any_by_slices(words, deadline),
            // As in `wait`.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// Sleeps on the first word, and looks at the others from time to time.
fn wait_any_by_slices(words: &[(&AtomicU32, u32)], deadline: Option<Instant>) -> bool {
    loop {
        let changed = |(word, expected): &(&AtomicU32, u32)| word.load(Ordering::Relaxed) != *expected;
        if words.iter().any(changed) {
            return true;
        }
        let Some((first, expected)) = words.first() else {
            return true;
        };
        let slice = Instant::now() + SLICE;
        let until = deadline.map_or(slice, |deadline| deadline.min(slice));
        if wait(first, *expected, Some(until)) {
            return true;
        }
        if deadline.is_some_and(|deadline| deadline <= until) {
            return false;
        }
    }
}

/// Wakes up to `count` sleepers. A system call even if nobody sleeps: callers keep a flag and ask it first.
pub fn wake(word: &AtomicU32, count: u32) {
    // The kernel takes a signed number: as many as there are.
    let count = count.min(i32::MAX as u32);
    // It cannot fail for a mapped, aligned word.
    let _ = futex::wake(word, Flags::empty(), count);
}

/// A moment of [`Instant`] on the clock that futexes know. `Instant` is that clock but does not show its value.
fn monotonic(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    // Farther away than the clock goes: never.
    Timespec::try_from(left)
        .ok()
        .and_then(|left| now.checked_add(left))
        .unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        })
}
