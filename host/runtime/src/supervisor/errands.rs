//! The thread on which callers' code runs that a result sets off: callbacks, and the wakers of futures. It may take as
//! long as it likes; results do not wait for it.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::thread::{self, ThreadId};
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded, unbounded};

/// Something to be run there.
pub(crate) type Errand = Box<dyn FnOnce() + Send>;

/// The way to that thread, which lives as long as anybody has this.
#[derive(Clone, Debug)]
pub(crate) struct Errands {
    sender: Sender<Errand>,
    thread: ThreadId,
}

impl Errands {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, errands) = unbounded::<Errand>();
        let thread = thread::Builder::new().name("wasmp-callbacks".into()).spawn(move || {
            for errand in errands {
                // A callback's panic is caught where its result is known; a waker's is nobody's.
                let _ = panic::catch_unwind(AssertUnwindSafe(errand));
            }
        })?;
        let thread = thread.thread().id();
        Ok(Self { sender, thread })
    }

    pub(super) fn send(&self, errand: Errand) {
        // It cannot fail: the thread ends when the last sender is gone.
        let _ = self.sender.send(errand);
    }

    /// Waits until everything is done that was sent so far, until `deadline` at most. Returns whether it is. The thread
    /// itself does not wait.
    pub(crate) fn flush(&self, deadline: Option<Instant>) -> bool {
        if thread::current().id() == self.thread {
            return true;
        }
        let (done, is_done) = bounded::<()>(1);
        self.send(Box::new(move || drop(done)));
        // The sender is dropped when it is its turn.
        match deadline {
            Some(deadline) => !matches!(is_done.recv_deadline(deadline), Err(RecvTimeoutError::Timeout)),
            None => is_done.recv().is_err(),
        }
    }
}
