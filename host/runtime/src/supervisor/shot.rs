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
use super::job::{Batch, End, Failure};

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

enum Phase {
    Open,
    /// Callbacks are being called.
    Calling,
    Settled(Arc<Reply>),
}

/// Who is told that the outcome is settled.
enum Watcher {
    Future(Waker, Errands),
    /// Gets this number.
    Channel(Sender<usize>, usize),
}

struct State {
    phase: Phase,
    callbacks: Vec<Callback>,
    watchers: Vec<Watcher>,
    /// Known as soon as there is a callback.
    errands: Option<Errands>,
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
            state: Mutex::new(State {
                phase: Phase::Open,
                callbacks: Vec::new(),
                watchers: Vec::new(),
                errands: None,
            }),
            settled: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome is there. All but the first are ignored.
    pub(super) fn set(self: &Arc<Self>, reply: Reply) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Open) {
            return;
        }
        self.call_or_settle(&mut state, Arc::new(reply));
    }

    /// Adds a callback. The outcome is not to be seen until it has run, even if it was before.
    pub(crate) fn call_back(self: &Arc<Self>, errands: &Errands, callback: Callback) {
        let mut state = self.lock();
        state.errands.get_or_insert_with(|| errands.clone());
        state.callbacks.push(callback);
        if let Phase::Settled(reply) = &state.phase {
            let reply = Arc::clone(reply);
            self.call_or_settle(&mut state, reply);
        }
    }

    fn call_or_settle(self: &Arc<Self>, state: &mut State, reply: Arc<Reply>) {
        match &state.errands {
            Some(errands) if !state.callbacks.is_empty() => {
                state.phase = Phase::Calling;
                let shot = Arc::clone(self);
                errands.send(Box::new(move || shot.run_callbacks(reply)));
            }
            _ => self.settle(state, reply),
        }
    }

    fn run_callbacks(&self, mut reply: Arc<Reply>) {
        loop {
            let mut state = self.lock();
            let callbacks = std::mem::take(&mut state.callbacks);
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
        state.phase = Phase::Settled(reply);
        self.settled.notify_all();
        for watcher in std::mem::take(&mut state.watchers) {
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
        match &self.lock().phase {
            Phase::Settled(reply) => Some(Arc::clone(reply)),
            Phase::Open | Phase::Calling => None,
        }
    }

    /// The outcome, or else this waker is woken when there is one. Only the last waker is.
    pub(crate) fn poll(&self, errands: &Errands, waker: &Waker) -> Option<Arc<Reply>> {
        let mut state = self.lock();
        if let Phase::Settled(reply) = &state.phase {
            return Some(Arc::clone(reply));
        }
        state.watchers.retain(|watcher| !matches!(watcher, Watcher::Future(..)));
        state.watchers.push(Watcher::Future(waker.clone(), errands.clone()));
        None
    }

    /// Sends this number when the outcome is settled, or at once if it is.
    pub(crate) fn notify(&self, sender: &Sender<usize>, number: usize) {
        let mut state = self.lock();
        if let Phase::Settled(_) = state.phase {
            let _ = sender.send(number);
        } else {
            state.watchers.push(Watcher::Channel(sender.clone(), number));
        }
    }

    /// Waits for the outcome, until `deadline` at most.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Arc<Reply>> {
        let mut state = self.lock();
        loop {
            if let Phase::Settled(reply) = &state.phase {
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
