//! Callbacks for the end of a process, and for the end of something that it has.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    io::{Write, stdout},
};

use crate::{active_children, current_process, host};

/// What a callback is registered under: those with a priority are called at the exit, the highest first, and of two the one
/// that came later. CPython: `util._finalizer_registry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// `None`: not at the exit.
    priority: Option<i32>,
    number: u64,
}

type Entries = BTreeMap<Key, Box<dyn FnOnce()>>;

struct Registry {
    /// The process that has registered them: a fork has a copy, and nothing to clean up.
    pid: u32,
    entries: Entries,
    /// How many have been registered.
    numbers: u64,
}

thread_local! {
    static REGISTRY: RefCell<Registry> = const {
        RefCell::new(Registry {
            pid: 0,
            entries: BTreeMap::new(),
            numbers: 0,
        })
    };
}

/// The id of this process; natively it does not matter, as there are no forks.
fn own_pid() -> u32 {
    current_process().map_or(0, |process| process.pid())
}

/// Does something with what this process has registered. What a callback has captured may itself have registered something,
/// so none is dropped in here.
fn with_registry<R>(change: impl FnOnce(&mut Registry) -> R) -> R {
    let pid = own_pid();
    let parents = REGISTRY.with_borrow_mut(|registry| {
        let of_other = std::mem::replace(&mut registry.pid, pid) != pid;
        of_other.then(|| std::mem::take(&mut registry.entries))
    });
    drop(parents);
    REGISTRY.with_borrow_mut(change)
}

fn register(priority: Option<i32>, callback: impl FnOnce() + 'static) -> Key {
    if priority.is_some() {
        host::call_at_exit();
    }
    with_registry(|registry| {
        registry.numbers += 1;
        let key = Key {
            priority,
            number: registry.numbers,
        };
        registry.entries.insert(key, Box::new(callback));
        key
    })
}

/// Calls a callback, unless that was done before. It may itself register others, and call them. Returns whether it was called.
fn call(key: Key) -> bool {
    let callback = with_registry(|registry| registry.entries.remove(&key));
    callback.map(|callback| callback()).is_some()
}

/// Calls those of this priority and above that are there now.
fn call_from(priority: i32) {
    let from = Key {
        priority: Some(priority),
        number: 0,
    };
    let keys: Vec<Key> = with_registry(|registry| registry.entries.range(from..).map(|(key, _)| *key).collect());
    for key in keys.into_iter().rev() {
        call(key);
    }
}

/// The process comes to its end: callbacks, children, and those callbacks that wait for the children. CPython:
/// `util._exit_function`.
pub(crate) fn exit() {
    call_from(0);
    let is_negative = |key: &Key| key.priority.is_some_and(|priority| priority < 0);
    if with_registry(|registry| registry.entries.keys().any(is_negative)) {
        let children = active_children();
        for child in children.iter().filter(|child| child.daemon()) {
            child.terminate();
        }
        for child in &children {
            // Whoever interrupts this has interrupted them, too, and the host waits for them in any case.
            let _ = child.join();
        }
        call_from(i32::MIN);
    }
}

/// A call has returned. If the process is there for that alone, it comes to its end.
pub(crate) fn exit_if_over() {
    // Most have registered nothing, and need not ask who they are.
    let none = REGISTRY.with_borrow(|registry| registry.entries.is_empty());
    if !none && current_process().is_ok_and(|process| process.once()) {
        exit();
        // There is nobody left to tell if it cannot be written.
        let _ = stdout().flush();
    }
}

/// Has `callback` called when this process comes to its end: when its task or `main` returns, whatever it returns, or it
/// calls `std::process::exit`. Not when it panics, traps or is killed. The highest priority is called first, and of those that
/// have the same the latest; each once; those below zero when the children of this process have ended. CPython:
/// `atexit.register`, and `multiprocessing.util.Finalize` without an object.
///
/// A fork of this process does not call it. A worker of a pool, which the host ends when it is not needed any more, does not
/// either.
///
/// ```no_run
/// use wasmp_guest::{Result, at_exit, task};
///
/// #[task]
/// fn work() -> Result<()> {
///     at_exit(0, || println!("done, one way or the other"));
///     std::fs::read_to_string("/no/such/file")?;
///     Ok(())
/// }
/// ```
pub fn at_exit(priority: i32, callback: impl FnOnce() + 'static) {
    register(Some(priority), callback);
}

/// A callback that is called once: when this is dropped, when it is [called](Self::call), or at the exit, whichever comes
/// first. A field of this type cleans up after what it is a field of. CPython: `multiprocessing.util.Finalize`.
///
/// ```
/// use wasmp_guest::Finalize;
///
/// let finalize = Finalize::new(|| println!("once"));
/// assert!(finalize.call());
/// assert!(!finalize.call(), "it was called");
/// ```
#[must_use = "it is called when this is dropped"]
pub struct Finalize(Key);

impl fmt::Debug for Finalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finalize")
            .field("priority", &self.0.priority)
            .field("active", &self.still_active())
            .finish()
    }
}

impl Finalize {
    /// A callback that is not called at the exit, but when this is dropped (CPython: `exitpriority=None`).
    pub fn new(callback: impl FnOnce() + 'static) -> Self {
        Self(register(None, callback))
    }

    /// One that is also called at the exit, as by [`at_exit`], if this is still there (CPython: `exitpriority`).
    pub fn at_exit(priority: i32, callback: impl FnOnce() + 'static) -> Self {
        Self(register(Some(priority), callback))
    }

    /// Calls it now. False: it was called before, or cancelled, or belongs to the process that this one is a fork of (CPython:
    /// `Finalize.__call__`).
    #[expect(clippy::must_use_candidate, reason = "it does something, whatever it returns")]
    pub fn call(&self) -> bool {
        call(self.0)
    }

    /// It will not be called (CPython: `Finalize.cancel`).
    pub fn cancel(&self) {
        // What it has captured may itself be one of these, and is dropped when nothing is borrowed.
        drop(with_registry(|registry| registry.entries.remove(&self.0)));
    }

    /// Whether it is still to be called (CPython: `Finalize.still_active`).
    #[must_use]
    pub fn still_active(&self) -> bool {
        with_registry(|registry| registry.entries.contains_key(&self.0))
    }
}

impl Drop for Finalize {
    fn drop(&mut self) {
        self.call();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    /// Notes down what is called.
    #[derive(Clone, Default)]
    struct Calls(Rc<RefCell<Vec<String>>>);

    impl Calls {
        fn of(&self, name: &str) -> impl FnOnce() + 'static {
            let (calls, name) = (self.clone(), name.to_owned());
            move || calls.0.borrow_mut().push(name)
        }

        fn take(&self) -> Vec<String> {
            self.0.take()
        }
    }

    /// CPython: `_TestFinalize.test_finalize`, with its names.
    #[test]
    fn f_01_callbacks_come_by_priority_and_then_the_latest_first() {
        let calls = Calls::default();
        drop(Finalize::new(calls.of("a")));
        assert_eq!(calls.take(), ["a"], "on drop");
        let b = Finalize::new(calls.of("b"));
        assert!(b.still_active());
        assert!(b.call() && !b.call());
        drop(b);
        assert_eq!(calls.take(), ["b"], "once");
        let c = Finalize::new(calls.of("c"));
        let d10 = Finalize::at_exit(1, calls.of("d10"));
        at_exit(0, calls.of("d01"));
        at_exit(0, calls.of("d02"));
        at_exit(0, calls.of("d03"));
        at_exit(-10, calls.of("e"));
        let cancelled = Finalize::at_exit(100, calls.of("cancelled"));
        cancelled.cancel();
        assert!(!cancelled.still_active() && !cancelled.call());
        exit();
        assert_eq!(calls.take(), ["d10", "d03", "d02", "d01", "e"]);
        exit();
        drop((d10, cancelled));
        assert!(calls.take().is_empty(), "each once");
        drop(c);
        assert_eq!(calls.take(), ["c"], "not at the exit");
    }

    /// CPython: `_TestFinalize.test_thread_safety`, without the threads: what can come in between here are callbacks.
    #[test]
    fn f_02_callbacks_may_register_call_and_drop_others() {
        let calls = Calls::default();
        let inner = Finalize::at_exit(1, calls.of("inner"));
        let (first, later) = (calls.of("first"), calls.of("later"));
        at_exit(5, move || {
            first();
            at_exit(7, later);
            drop(inner);
        });
        for _ in 0..100 {
            at_exit(3, || drop(Finalize::at_exit(3, || ())));
        }
        exit();
        assert_eq!(calls.take(), ["first", "inner"]);
        exit();
        assert_eq!(calls.take(), ["later"]);
    }
}
