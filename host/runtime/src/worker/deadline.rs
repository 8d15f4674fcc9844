//! The soft deadline: the host signals that the running item has had its time, and the guest is stopped where it is, so that
//! it can be told where that was.
//!
//! The signal's handler moves the engine's epoch on, upon which the guest traps at its next loop or call, and raises the
//! interrupt that ends whatever an import waits for. A signal may come when the item that it was meant for has just ended, so
//! the handler asks the clock whether the item that runs now has had its time.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmp_ipc::{Interrupt, Mapping};
use wasmtime::{AsContextMut, Engine};

use super::state::State;

/// The signal by which the host says so.
pub(crate) const SIGNAL: rustix::process::Signal = rustix::process::Signal::USR1;

/// What the handler needs. There is one for each worker process, made before any guest runs.
struct Watch {
    engine: Engine,
    interrupt: Interrupt,
    /// Nanoseconds that an item may run.
    limit: u64,
    /// When the running item began.
    began: AtomicU64,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl Watch {
    fn is_over(&self) -> bool {
        now().saturating_sub(self.began.load(Ordering::Relaxed)) >= self.limit
    }
}

/// Makes what the handler needs, while memory can still be made; returns what ends the waits of this worker.
pub(super) fn prepare(engine: &Engine, limit: Duration) -> io::Result<Interrupt> {
    let (_, mapping) = Mapping::create("wasmp-interrupt", Interrupt::BYTES)?;
    let mapping = Arc::new(mapping);
    let watch = Watch {
        engine: engine.clone(),
        interrupt: Interrupt::open(&mapping, 0)?,
        limit: u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX),
        began: AtomicU64::new(u64::MAX),
    };
    if WATCH.set(watch).is_err() {
        return Err(io::Error::other("a second deadline in one process"));
    }
    Interrupt::open(&mapping, 0)
}

/// Listens to the host from now on, if there is a deadline. After the lockdown, which forgets all handlers.
pub(super) fn arm() -> io::Result<()> {
    if WATCH.get().is_none() {
        return Ok(());
    }
    // SAFETY: the handler does only what is safe in one: it reads a clock, changes atomic numbers, and wakes a futex.
    // Neither takes a lock or memory.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // On the stack for signals: a guest may have used up the other one.
        action.sa_flags = libc::SA_ONSTACK;
        if libc::sigaction(SIGNAL.as_raw(), &raw const action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn handle(_signal: libc::c_int) {
    if let Some(watch) = WATCH.get()
        && watch.is_over()
    {
        watch.interrupt.raise();
        watch.engine.increment_epoch();
    }
}

/// An item begins in this store.
#[inline]
pub(super) fn begin(mut store: impl AsContextMut<Data = State>) {
    if let Some(watch) = WATCH.get() {
        watch.began.store(now(), Ordering::Relaxed);
        watch.interrupt.clear();
        store.as_context_mut().set_epoch_deadline(1);
    }
}

/// No item is running: nothing is to be stopped.
pub(super) fn end(mut store: impl AsContextMut<Data = State>) {
    if let Some(watch) = WATCH.get() {
        watch.began.store(u64::MAX, Ordering::Relaxed);
        store.as_context_mut().set_epoch_deadline(u64::MAX / 2);
    }
}

/// Whether the running item was told to stop.
pub(super) fn is_over() -> bool {
    WATCH.get().is_some_and(|watch| watch.interrupt.is_raised())
}

/// How long an item may run, if it is told to stop.
pub(super) fn limit() -> Option<Duration> {
    WATCH.get().map(|watch| Duration::from_nanos(watch.limit))
}
