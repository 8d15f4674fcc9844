//! What ends whatever a guest is doing: its soft deadline, and SIGINT; and, if its worker is a thread, its end.
//!
//! For a process each is a signal whose handler raises the interrupt that ends the waits of this worker. At a soft deadline
//! it also moves the engine's epoch on, upon which the guest traps at its next loop or call, so that it can be told where
//! that was. The signal may come when the item that it was meant for has just ended, so the handler asks the clock whether
//! the item that runs now has had its time. SIGINT, as Ctrl-C sends it, ends one wait, which tells the guest so, or one
//! sleep, which has nobody to tell and traps.
//!
//! A thread gets no signals: the supervisor does what the handlers would do. It cannot be killed either, so its end is a
//! deadline that all of its items have passed: the guest traps, no outcome is committed any more, and whatever it waits
//! for in another way than by the interrupt it [looks](check) after now and then.

use std::cell::OnceCell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmp_ipc::{Interrupt, Mapping};
use wasmtime::{AsContextMut, Engine};

use super::Template;
use super::state::State;

/// The signal by which the host says that the soft deadline is over.
pub(crate) const DEADLINE: rustix::process::Signal = rustix::process::Signal::USR1;

/// How often a worker that waits in a way that nothing interrupts looks whether it should not.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// No item is running.
const IDLE: u64 = u64::MAX;

/// What it takes to interrupt one worker. There is one for each, made before any guest runs.
#[derive(Debug)]
pub(crate) struct Watch {
    engine: Engine,
    memory: Arc<Mapping>,
    interrupt: Interrupt,
    /// Nanoseconds that an item may run, if it is told to stop.
    limit: Option<u64>,
    /// When the running item began, or [`IDLE`].
    began: AtomicU64,
    /// Held while an item begins in a thread, and while somebody else judges whether it is late. No signal handler takes it.
    beginning: Mutex<()>,
    /// The running item has had its time.
    overdue: AtomicBool,
    /// SIGINT is listened to.
    signals: bool,
    /// SIGINT has come, and the guest does not know.
    asked: AtomicBool,
    /// The worker is a thread.
    thread: bool,
    /// It is to end.
    killed: AtomicBool,
}

thread_local! {
    /// That of the worker that runs in this thread.
    static WATCH: OnceCell<Arc<Watch>> = const { OnceCell::new() };
}

/// That of this process, for its signal handlers.
static SIGNALLED: OnceLock<Arc<Watch>> = OnceLock::new();

fn watch<T>(look: impl FnOnce(&Watch) -> T) -> Option<T> {
    WATCH.with(|watch| watch.get().map(|watch| look(watch)))
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl Watch {
    fn is_late(&self) -> bool {
        let began = self.began.load(Ordering::Relaxed);
        let ran = now().saturating_sub(began);
        began != IDLE && self.limit.is_some_and(|limit| ran >= limit)
    }

    /// The running item of a thread has had its time, if it has.
    pub(crate) fn warn(&self) {
        // Not while the next one begins: it would be taken for the one that was late.
        let _judging = self.beginning.lock();
        self.deadline();
    }

    fn deadline(&self) {
        if self.is_late() {
            self.overdue.store(true, Ordering::Relaxed);
            self.stop();
        }
    }

    /// The thread is to end, as soon as it can.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.stop();
    }

    fn stop(&self) {
        self.interrupt.raise();
        self.engine.increment_epoch();
    }

    fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Raises again what the guest has not heard of.
    fn remind(&self) {
        if self.asked.load(Ordering::Relaxed) || self.is_killed() {
            self.interrupt.raise();
        }
    }

    /// Sets the store up to be stopped.
    fn arm(&self, mut store: impl AsContextMut<Data = State>) {
        let mut store = store.as_context_mut();
        store.set_epoch_deadline(1);
        // It may have been killed before that counted. In `kill` the two are the other way round.
        fence(Ordering::SeqCst);
        if self.is_killed() {
            store.set_epoch_deadline(0);
        }
    }
}

/// Makes what it takes to interrupt this worker, while memory can still be made. `None`: nothing does.
pub(super) fn prepare(template: &Template, thread: bool) -> io::Result<Option<Arc<Watch>>> {
    let (limit, signals) = (template.spec.soft_timeout, template.spec.signals);
    if limit.is_none() && !signals && !thread {
        return Ok(None);
    }
    let (_, mapping) = Mapping::create("wasmp-interrupt", Interrupt::BYTES)?;
    let memory = Arc::new(mapping);
    let made = Arc::new(Watch {
        engine: template.engine.clone(),
        interrupt: Interrupt::open(&memory, 0)?,
        memory,
        limit: limit.map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)),
        began: AtomicU64::new(IDLE),
        beginning: Mutex::default(),
        overdue: AtomicBool::new(false),
        signals,
        asked: AtomicBool::new(false),
        thread,
        killed: AtomicBool::new(false),
    });
    match WATCH.with(|watch| watch.set(Arc::clone(&made))) {
        Ok(()) => Ok(Some(made)),
        Err(_) => Err(io::Error::other("a second worker in one thread")),
    }
}

impl Watch {
    /// What ends the waits of this worker.
    pub(super) fn interrupt(&self) -> io::Result<Interrupt> {
        Interrupt::open(&self.memory, 0)
    }
}

/// Has this process listen from now on, if there is anything to listen to. After the lockdown, which forgets all handlers.
/// A thread is told in other ways.
pub(super) fn arm(watch: Option<&Arc<Watch>>) -> io::Result<()> {
    let Some(watch) = watch else {
        return hear(libc::SIGINT);
    };
    if watch.thread {
        return Ok(());
    }
    let watch = SIGNALLED.get_or_init(|| Arc::clone(watch));
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

/// This process does not hear SIGINT any more: it is for those who use it (CPython: a manager ignores SIGINT).
pub(super) fn ignore() -> io::Result<()> {
    // SAFETY: no code of ours runs at a signal that is ignored.
    if unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    take();
    Ok(())
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
    if let Some(watch) = SIGNALLED.get() {
        watch.deadline();
    }
}

extern "C" fn on_interrupt(_signal: libc::c_int) {
    if let Some(watch) = SIGNALLED.get() {
        watch.asked.store(true, Ordering::Relaxed);
        watch.interrupt.raise();
    }
}

/// An item begins in this store.
#[inline]
pub(super) fn begin(store: impl AsContextMut<Data = State>) {
    watch(|watch| {
        let _beginning = watch.thread.then(|| watch.beginning.lock());
        if watch.limit.is_some() {
            watch.began.store(now(), Ordering::Relaxed);
            watch.overdue.store(false, Ordering::Relaxed);
            watch.interrupt.clear();
            watch.remind();
        }
        if watch.limit.is_some() || watch.thread {
            watch.arm(store);
        }
    });
}

/// No item is running: nothing is to be stopped, but a thread that is to end. It is armed all the same: the code of a guest
/// looks at its deadline only as it enters a function, and the one that takes the next item may be the one that loops.
pub(super) fn end(store: impl AsContextMut<Data = State>) {
    watch(|watch| {
        watch.began.store(IDLE, Ordering::Relaxed);
        if watch.limit.is_some() || watch.thread {
            watch.arm(store);
        }
    });
}

/// Whether the running item was told to stop.
pub(super) fn is_overdue() -> bool {
    watch(|watch| watch.overdue.load(Ordering::Relaxed) || watch.is_killed()).unwrap_or_default()
}

/// Whether SIGINT has come that the guest does not know of.
pub(super) fn is_asked() -> bool {
    watch(|watch| watch.asked.load(Ordering::Relaxed)).unwrap_or_default()
}

/// How long one may wait in other ways than the interrupt ends, before one has to look again. `None`: as long as it takes.
pub(super) fn look_interval() -> Option<Duration> {
    watch(|watch| watch.signals || watch.thread)
        .unwrap_or_default()
        .then_some(LOOK_INTERVAL)
}

/// Until when that is.
pub(super) fn next_look() -> Option<Instant> {
    look_interval().map(|interval| Instant::now() + interval)
}

/// How long a thread may wait for its host, before it has to [check](check) whether it may go on. `None`: a process need not,
/// as it is killed if it may not.
pub(super) fn check_interval() -> Option<Duration> {
    watch(|watch| watch.thread).unwrap_or_default().then_some(LOOK_INTERVAL)
}

/// Until when that is.
pub(super) fn next_check() -> Option<Instant> {
    check_interval().map(|interval| Instant::now() + interval)
}

/// Whether this worker may go on.
pub(super) fn check() -> io::Result<()> {
    match watch(Watch::is_killed) {
        Some(true) => Err(io::Error::other("the worker was told to end")),
        _ => Ok(()),
    }
}

/// The same; the guest is about to be told. What it does then may wait again.
pub(super) fn take() -> bool {
    watch(|watch| {
        let asked = watch.asked.swap(false, Ordering::Relaxed);
        if asked && !watch.overdue.load(Ordering::Relaxed) {
            watch.interrupt.clear();
            // One that came in between is not lost.
            watch.remind();
        }
        asked
    })
    .unwrap_or_default()
}

/// The guest was not told of what was [taken](take), and is to hear of it some other time.
pub(super) fn again() {
    watch(|watch| {
        watch.asked.store(true, Ordering::Relaxed);
        watch.interrupt.raise();
    });
}

/// How long an item may run, if it is told to stop.
pub(super) fn limit() -> Option<Duration> {
    watch(|watch| watch.limit.map(Duration::from_nanos))?
}
