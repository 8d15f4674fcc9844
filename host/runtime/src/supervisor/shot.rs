//! The outcome of a job that arrives as a whole, and whoever waits for it.
//!
//! ```text
//! open ── set ──► has callbacks? ── no ──► settled: seen by `get`, `wait`, a future, `as_completed`
//!                      └── yes ──► they run, on the thread for errands ──► settled
//! ```
//!
//! So whoever gets a result finds that its callbacks have run (CPython does it in that order, too). The supervisor only
//! hands over: what belongs to callers, callbacks and wakers, runs as an [`Errand`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::errands::Errands;
use super::job::Batch;
use crate::outcome::{End, Failure};

/// The outcome of a job.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Of one item: its result.
    Done(Vec<u8>),
    /// Of one item: why it has no result.
    Failed(Failure),
    /// Of many: each has its outcome.
    All(Vec<Batch>),
    /// Not all items will have an outcome.
    Ended(End),
    /// A callback has panicked, with this message.
    Callback(String),
}

/// What is called with the outcome before anybody else sees it. An error replaces the outcome.
pub(crate) type Callback = Box<dyn FnOnce(&Reply) -> Result<(), String> + Send>;

/// What few results have.
#[derive(Default)]
struct Extras {
    /// Callbacks are being called.
    calling: bool,
    callbacks: Vec<Callback>,
    watchers: Vec<Watcher>,
    /// Known as soon as there is a callback.
    errands: Option<Errands>,
}

/// Who is told that the outcome is settled.
enum Watcher {
    Future(Waker, Errands),
    /// Gets this number.
    Channel(Sender<usize>, usize),
}

#[derive(Default)]
struct State {
    /// The outcome, once it is settled.
    settled: Option<Arc<Reply>>,
    extras: Option<Box<Extras>>,
}

impl State {
    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }
}

/// Where the one outcome of a job arrives.
pub(crate) struct OneShot {
    state: Mutex<State>,
    settled: Condvar,
}

impl std::fmt::Debug for OneShot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneShot").field("reply", &self.get()).finish()
    }
}

impl OneShot {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            settled: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome is there. All but the first are ignored.
    pub(super) fn set(self: &Arc<Self>, reply: Reply) {
        let mut state = self.lock();
        let calling = state.extras.as_ref().is_some_and(|extras| extras.calling);
        if state.settled.is_none() && !calling {
            self.call_or_settle(&mut state, Arc::new(reply));
        }
    }

    /// Adds a callback. The outcome is not to be seen until it has run, even if it was before.
    pub(crate) fn call_back(self: &Arc<Self>, errands: &Errands, callback: Callback) {
        let mut state = self.lock();
        let extras = state.extras();
        extras.errands.get_or_insert_with(|| errands.clone());
        extras.callbacks.push(callback);
        if let Some(reply) = state.settled.take() {
            self.call_or_settle(&mut state, reply);
        }
    }

    fn call_or_settle(self: &Arc<Self>, state: &mut State, reply: Arc<Reply>) {
        if let Some(extras) = &mut state.extras
            && let (Some(errands), false) = (&extras.errands, extras.callbacks.is_empty())
        {
            extras.calling = true;
            let shot = Arc::clone(self);
            errands.send(Box::new(move || shot.run_callbacks(reply)));
        } else {
            self.settle(state, reply);
        }
    }

    fn run_callbacks(&self, mut reply: Arc<Reply>) {
        loop {
            let mut state = self.lock();
            let callbacks = std::mem::take(&mut state.extras().callbacks);
            if callbacks.is_empty() {
                return self.settle(&mut state, reply);
            }
            drop(state);
            for callback in callbacks {
                if let Err(panic) = callback(&reply) {
                    reply = Arc::new(Reply::Callback(panic));
                }
            }
        }
    }

    fn settle(&self, state: &mut State, reply: Arc<Reply>) {
        state.settled = Some(reply);
        self.settled.notify_all();
        let extras = state.extras.take();
        for watcher in extras.map(|extras| extras.watchers).unwrap_or_default() {
            match watcher {
                Watcher::Future(waker, errands) => errands.send(Box::new(move || waker.wake())),
                Watcher::Channel(sender, number) => {
                    // A receiver that is gone wants nothing.
                    let _ = sender.send(number);
                }
            }
        }
    }

    /// The outcome, if it is settled.
    pub(crate) fn get(&self) -> Option<Arc<Reply>> {
        self.lock().settled.clone()
    }

    /// The outcome, or else this waker is woken when there is one. Only the last waker is.
    pub(crate) fn poll(&self, errands: &Errands, waker: &Waker) -> Option<Arc<Reply>> {
        let mut state = self.lock();
        if let Some(reply) = &state.settled {
            return Some(Arc::clone(reply));
        }
        let watchers = &mut state.extras().watchers;
        watchers.retain(|watcher| !matches!(watcher, Watcher::Future(..)));
        watchers.push(Watcher::Future(waker.clone(), errands.clone()));
        None
    }

    /// Sends this number when the outcome is settled, or at once if it is.
    pub(crate) fn notify(&self, sender: &Sender<usize>, number: usize) {
        let mut state = self.lock();
        if state.settled.is_some() {
            let _ = sender.send(number);
        } else {
            let watchers = &mut state.extras().watchers;
            watchers.push(Watcher::Channel(sender.clone(), number));
        }
    }

    /// Waits for the outcome, until `deadline` at most.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Arc<Reply>> {
        let mut state = self.lock();
        loop {
            if let Some(reply) = &state.settled {
                return Some(Arc::clone(reply));
            }
            state = match deadline {
                None => self.settled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline
                        .checked_duration_since(Instant::now())
                        .filter(|left| !left.is_zero())?;
                    self.settled
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}
