//! What ends whatever a guest is doing: its soft deadline, and SIGINT.
//!
//! Each is a signal whose handler raises the interrupt that ends the waits of this worker. At a soft deadline it also moves
//! the engine's epoch on, upon which the guest traps at its next loop or call, so that it can be told where that was. The
//! signal may come when the item that it was meant for has just ended, so the handler asks the clock whether the item that
//! runs now has had its time. SIGINT, as Ctrl-C sends it, ends one wait, which tells the guest so, or one sleep, which has
//! nobody to tell and traps.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmp_ipc::{Interrupt, Mapping};
use wasmtime::{AsContextMut, Engine};

use super::state::State;

/// The signal by which the host says that the soft deadline is over.
pub(crate) const DEADLINE: rustix::process::Signal = rustix::process::Signal::USR1;

/// What the handlers need. There is one for each worker process, made before any guest runs.
struct Watch {
    engine: Engine,
    interrupt: Interrupt,
    /// Nanoseconds that an item may run, if it is told to stop.
    limit: Option<u64>,
    /// When the running item began.
    began: AtomicU64,
    /// The running item has had its time.
    overdue: AtomicBool,
    /// SIGINT is listened to.
    signals: bool,
    /// SIGINT has come, and the guest does not know.
    asked: AtomicBool,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl Watch {
    fn is_late(&self) -> bool {
        let ran = now().saturating_sub(self.began.load(Ordering::Relaxed));
        self.limit.is_some_and(|limit| ran >= limit)
    }
}

/// Makes what the handlers need, while memory can still be made; returns what ends the waits of this worker, if anything
/// does.
pub(super) fn prepare(engine: &Engine, limit: Option<Duration>, signals: bool) -> io::Result<Option<Interrupt>> {
    if limit.is_none() && !signals {
        return Ok(None);
    }
    let (_, mapping) = Mapping::create("wasmp-interrupt", Interrupt::BYTES)?;
    let mapping = Arc::new(mapping);
    let watch = Watch {
        engine: engine.clone(),
        interrupt: Interrupt::open(&mapping, 0)?,
        limit: limit.map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)),
        began: AtomicU64::new(u64::MAX),
        overdue: AtomicBool::new(false),
        signals,
        asked: AtomicBool::new(false),
    };
    if WATCH.set(watch).is_err() {
        return Err(io::Error::other("a second watch in one process"));
    }
    Interrupt::open(&mapping, 0).map(Some)
}

/// Listens from now on, if there is anything to listen to. After the lockdown, which forgets all handlers.
pub(super) fn arm() -> io::Result<()> {
    let Some(watch) = WATCH.get() else {
        return hear(libc::SIGINT);
    };
    if watch.limit.is_some() {
        listen(DEADLINE.as_raw(), on_deadline)?;
    }
    if watch.signals {
        listen(libc::SIGINT, on_interrupt)?;
    }
    hear(libc::SIGINT)
}

/// Lets a signal through that was kept waiting until there is somebody to hear it.
fn hear(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: plain system calls on a signal set that lives on this stack.
    let done = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut())
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn listen(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) -> io::Result<()> {
    // SAFETY: the handlers do only what is safe in one: they read a clock, change atomic numbers, and wake a futex. None
    // takes a lock or memory.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        // On the stack for signals: a guest may have used up the other one.
        action.sa_flags = libc::SA_ONSTACK;
        if libc::sigaction(signal, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_deadline(_signal: libc::c_int) {
    if let Some(watch) = WATCH.get()
        && watch.is_late()
    {
        watch.overdue.store(true, Ordering::Relaxed);
        watch.interrupt.raise();
        watch.engine.increment_epoch();
    }
}

extern "C" fn on_interrupt(_signal: libc::c_int) {
    if let Some(watch) = WATCH.get() {
        watch.asked.store(true, Ordering::Relaxed);
        watch.interrupt.raise();
    }
}

/// An item begins in this store.
#[inline]
pub(super) fn begin(mut store: impl AsContextMut<Data = State>) {
    if let Some(watch) = WATCH.get()
        && watch.limit.is_some()
    {
        watch.began.store(now(), Ordering::Relaxed);
        watch.overdue.store(false, Ordering::Relaxed);
        watch.interrupt.clear();
        // One that the guest has not heard of is not lost.
        if watch.asked.load(Ordering::Relaxed) {
            watch.interrupt.raise();
        }
        store.as_context_mut().set_epoch_deadline(1);
    }
}

/// No item is running: nothing is to be stopped.
pub(super) fn end(mut store: impl AsContextMut<Data = State>) {
    if let Some(watch) = WATCH.get()
        && watch.limit.is_some()
    {
        watch.began.store(u64::MAX, Ordering::Relaxed);
        store.as_context_mut().set_epoch_deadline(u64::MAX / 2);
    }
}

/// Whether the running item was told to stop.
pub(super) fn is_overdue() -> bool {
    WATCH.get().is_some_and(|watch| watch.overdue.load(Ordering::Relaxed))
}

/// Whether SIGINT is listened to: what waits in other ways than the interrupt ends must look again now and then.
pub(super) fn is_armed() -> bool {
    WATCH.get().is_some_and(|watch| watch.signals)
}

/// Whether SIGINT has come that the guest does not know of.
pub(super) fn is_asked() -> bool {
    WATCH.get().is_some_and(|watch| watch.asked.load(Ordering::Relaxed))
}

/// The same; the guest is about to be told. What it does then may wait again.
pub(super) fn take() -> bool {
    let Some(watch) = WATCH.get() else { return false };
    let asked = watch.asked.swap(false, Ordering::Relaxed);
    if asked && !watch.overdue.load(Ordering::Relaxed) {
        watch.interrupt.clear();
        // One that came in between is not lost.
        if watch.asked.load(Ordering::Relaxed) {
            watch.interrupt.raise();
        }
    }
    asked
}

/// The guest was not told of what was [taken](take), and is to hear of it some other time.
pub(super) fn again() {
    if let Some(watch) = WATCH.get() {
        watch.asked.store(true, Ordering::Relaxed);
        watch.interrupt.raise();
    }
}

/// How long an item may run, if it is told to stop.
pub(super) fn limit() -> Option<Duration> {
    WATCH.get()?.limit.map(Duration::from_nanos)
}
