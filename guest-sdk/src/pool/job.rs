//! Jobs: calls that a pool has under way, and the one loop that hears of all of them.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    fmt,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use wasmp_abi::{Status, pool};

use super::{PoolError, TaskError};
use crate::{
    cbor,
    host::{objects::Timeout, pools::PoolNumber},
};

/// What became of an item: its result, encoded.
pub(super) type Outcome = Result<Vec<u8>, Box<TaskError>>;

/// What is called when a job is over.
pub(super) type Callback = Box<dyn FnOnce(&Job)>;

/// A pool as its jobs share it.
pub(super) struct Inner {
    pub(super) number: PoolNumber,
    /// Every job that somebody has, and its number.
    jobs: RefCell<HashMap<u32, Weak<Job>>>,
    /// Jobs that have to be there until they are over, because somebody wants to be called then.
    kept: RefCell<HashMap<u32, Rc<Job>>>,
    pub(super) running: Cell<bool>,
    /// Where records are put.
    buffer: Cell<Vec<u8>>,
}

/// A job, and what has come of it.
pub(super) struct Job {
    pub(super) pool: Rc<Inner>,
    number: u32,
    pub(super) task: Rc<str>,
    /// Which item, and what became of it, in the order in which they came.
    pub(super) outcomes: RefCell<VecDeque<(u64, Outcome)>>,
    /// Nothing will come any more. An error: not all items had an outcome.
    pub(super) over: RefCell<Option<Result<(), PoolError>>>,
    callbacks: RefCell<Vec<Callback>>,
    /// The host knows that no more items will come.
    sealed: Cell<bool>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("task", &self.task)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(super) fn new(number: PoolNumber) -> Rc<Self> {
        Rc::new(Self {
            number,
            jobs: RefCell::default(),
            kept: RefCell::default(),
            running: Cell::new(true),
            buffer: Cell::default(),
        })
    }

    /// Takes what has come, or waits for it until `deadline`. False: the time was up. When nothing will come any more, the
    /// pool is not running.
    ///
    /// Callbacks of jobs that are over now are called from here.
    pub(super) fn hear(&self, deadline: Option<Instant>) -> Result<bool, PoolError> {
        let timeout = match deadline {
            None => Timeout::FOREVER,
            Some(deadline) => deadline.saturating_duration_since(Instant::now()).into(),
        };
        let mut record = self.buffer.take();
        let heard = self.number.next(&mut record, timeout);
        let over = match heard {
            Ok(()) => self.note(&record)?,
            Err(Status::TimedOut) => return Ok(false),
            Err(Status::End) => return Err(PoolError::NotRunning),
            Err(status) => return Err(status.into()),
        };
        self.buffer.set(record);
        if let Some(job) = over {
            job.call_back();
        }
        Ok(true)
    }

    /// Takes what is there already.
    pub(super) fn catch_up(&self) -> Result<(), PoolError> {
        loop {
            match self.hear(Some(Instant::now())) {
                Ok(true) => {}
                Ok(false) | Err(PoolError::NotRunning) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Notes a record down with its job. Returns the job if it is over now.
    fn note(&self, record: &[u8]) -> Result<Option<Rc<Job>>, PoolError> {
        let (head, body) = record.split_at(pool::RECORD_HEAD);
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let index = u64::from(word(0)) | u64::from(word(4)) << 32;
        let (kind, number) = (word(8), word(12));
        let Some(job) = self.jobs.borrow().get(&number).and_then(Weak::upgrade) else {
            return Ok(None);
        };
        let text = || String::from_utf8_lossy(body).into_owned();
        let over = match kind {
            pool::RESULT => {
                job.outcomes.borrow_mut().push_back((index, Ok(body.to_vec())));
                return Ok(None);
            }
            pool::FAILURE => {
                let error = cbor::decode(&mut &body[..], &mut Vec::new()).map_err(PoolError::Decode)?;
                job.outcomes.borrow_mut().push_back((index, Err(Box::new(error))));
                return Ok(None);
            }
            pool::COMPLETE => Ok(()),
            pool::CANCELLED => Err(PoolError::Task(Box::new(TaskError::cancelled(&job.task, text())))),
            pool::REFUSED => Err(PoolError::Invalid(text())),
            _ => Err(PoolError::Broken(text())),
        };
        *job.over.borrow_mut() = Some(over);
        self.jobs.borrow_mut().remove(&number);
        self.kept.borrow_mut().remove(&number);
        Ok(Some(job))
    }

    /// Nobody is to be called any more.
    pub(super) fn forget_callbacks(&self) {
        let kept = self.kept.take();
        drop(kept);
    }
}

impl Job {
    pub(super) fn begin(pool: &Rc<Inner>, task: &Rc<str>, options: &[u8]) -> Result<Rc<Self>, PoolError> {
        if !pool.running.get() {
            return Err(PoolError::NotRunning);
        }
        let number = pool.number.begin(task, options)?;
        let job = Rc::new(Self {
            pool: Rc::clone(pool),
            number,
            task: Rc::clone(task),
            outcomes: RefCell::default(),
            over: RefCell::default(),
            callbacks: RefCell::default(),
            sealed: Cell::new(false),
        });
        pool.jobs.borrow_mut().insert(number, Rc::downgrade(&job));
        Ok(job)
    }

    /// Submits items, each with its length in front.
    pub(super) fn submit(&self, items: &[u8]) -> Result<(), PoolError> {
        match self.pool.number.submit(self.number, items) {
            // It is over, for a reason that it knows or is about to be told.
            Err(Status::ShutDown) => {
                self.pool.catch_up()?;
                match &*self.over.borrow() {
                    Some(Err(error)) => Err(error.clone()),
                    _ => Err(PoolError::NotRunning),
                }
            }
            submitted => Ok(submitted?),
        }
    }

    pub(super) fn seal(&self) -> Result<(), PoolError> {
        self.sealed.set(true);
        Ok(self.pool.number.seal(self.number)?)
    }

    pub(super) fn cancel(&self) -> Result<(), PoolError> {
        Ok(self.pool.number.cancel(self.number)?)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.borrow().is_some()
    }

    /// Waits until it is over. False: not by `deadline`.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<bool, PoolError> {
        while !self.is_over() {
            if !self.pool.hear(deadline)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has this called when it is over, which may be at once.
    pub(super) fn when_over(self: &Rc<Self>, callback: Callback) {
        if self.is_over() {
            return callback(self);
        }
        self.callbacks.borrow_mut().push(callback);
        self.pool.kept.borrow_mut().insert(self.number, Rc::clone(self));
    }

    fn call_back(&self) {
        // Taken first: a callback may come back here.
        for callback in self.callbacks.take() {
            callback(self);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.is_over() {
            if !self.sealed.get() {
                // It can only fail if the host is gone, and then this process is about to be.
                let _ = self.seal();
            }
            self.pool.jobs.borrow_mut().remove(&self.number);
            self.pool.number.forget(self.number);
        }
    }
}

/// When a wait of so long is over.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
