//! One worker as the supervisor sees it: its rings, its process, and the items it has been given.
//!
//! Everything that comes out of the reply ring was written by a worker that may be hostile. It is believed only as far
//! as it fits what this side knows: replies come in the order of dispatch, one for each item, for items that were sent.
//! Whatever does not fit is a [`Violation`], which costs the worker its life and nobody else anything.

mod replies;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use wasmp_ipc::ring::{Consumer, Corrupt, Producer, Ticket};
use wasmp_ipc::{Doorbell, Gauges, Mapping};

use self::replies::Partial;
pub(super) use self::replies::{Drained, file_failure};
use super::Shared;
use super::body::Body;
use super::job::{Block, JobKey, Pending};
use super::pace::Pace;
use super::sentinel::Life;
use super::source::Source;
use crate::identity::Identity;
use crate::insight::{Log, Ran, WorkerStats};
use crate::objects::registry::Seat;
use crate::outcome::Runner;
use crate::output::{Stream, Writer};
use crate::process::control::Channel;
use crate::process::lifeline::Lifeline;
use crate::wire::{Call, GAUGES_AT, LINK_BYTES, REPLIES_AT, RING_CAPACITY, TaskHead};
use crate::worker::cpu;

/// A worker did what no honest worker does.
#[derive(Debug)]
pub(super) struct Violation(pub(super) String);

impl From<Corrupt> for Violation {
    fn from(corrupt: Corrupt) -> Self {
        Self(corrupt.to_string())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host's ends of what connects it to one worker.
#[derive(Debug)]
pub(super) struct Link {
    tasks: Producer,
    replies: Consumer,
    pub(super) doorbell: Doorbell,
    /// What it asks about objects comes here.
    pub(super) control: Channel,
    /// What the worker tells about itself.
    pub(super) gauges: Gauges,
    _lifeline: Lifeline,
}

impl Link {
    /// A fresh link, and the worker's ends of it: ring memory, doorbell, control socket, lifeline.
    pub(super) fn new() -> io::Result<(Self, [OwnedFd; 4])> {
        let (memory, mapping) = Mapping::create("wasmp-rings", LINK_BYTES)?;
        let mapping = Arc::new(mapping);
        let doorbell = Doorbell::create()?;
        let their_doorbell = doorbell.as_fd().try_clone_to_owned()?;
        let (control, their_control) = Channel::pair()?;
        let (lifeline, their_lifeline) = Lifeline::pair()?;
        let link = Self {
            tasks: Producer::new(&mapping, 0, RING_CAPACITY)?,
            replies: Consumer::new(&mapping, REPLIES_AT, RING_CAPACITY)?,
            doorbell,
            control,
            gauges: Gauges::open(&mapping, GAUGES_AT)?,
            _lifeline: lifeline,
        };
        Ok((link, [memory, their_doorbell, their_control.into(), their_lifeline]))
    }
}

/// The process of a slot.
#[derive(Debug)]
pub(super) enum Process {
    /// There is none; one is to be started at this time.
    Absent {
        retry_at: Instant,
    },
    /// One was ordered.
    Ordered,
    Running {
        pid: u32,
        body: Body,
    },
    /// It has said that it ends, and is none of the pool's any more.
    Released {
        pid: u32,
    },
}

/// Why the supervisor ended a worker.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// The item with this number ran longer than it may.
    Timeout {
        limit: Duration,
        seq: u64,
    },
    /// It did not begin what it was given.
    Disobedient,
    Violation(String),
    /// It was not killed, but told that nothing will follow.
    Stopped,
    /// It was not ready in time.
    Unprepared {
        limit: Duration,
    },
    /// The pool is being terminated, or needs it no more.
    Dismissed,
}

/// A call that was dispatched: items of one block, of which the first `done` have an outcome.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) job: JobKey,
    task: u32,
    pub(super) block: Arc<Block>,
    pub(super) first: u32,
    pub(super) end: u32,
    pub(super) done: u32,
    pub(super) attempts: u32,
    seq: u64,
    ticket: Ticket,
}

impl Flight {
    /// The number of the next item to get its outcome.
    pub(super) fn next_seq(&self) -> u64 {
        self.seq + u64::from(self.done)
    }

    /// The next item to get its outcome.
    pub(super) fn head(&self) -> Pending {
        let mut head = self.rest();
        head.end = head.first + 1;
        head
    }

    /// The same, for whoever tells of it.
    pub(super) fn running(&self) -> Ran {
        Ran {
            task: self.task,
            index: self.block.base + u64::from(self.first + self.done),
            attempt: self.attempts + 1,
        }
    }

    /// The items that have no outcome yet.
    pub(super) fn rest(&self) -> Pending {
        Pending {
            job: self.job,
            block: Arc::clone(&self.block),
            first: self.first + self.done,
            end: self.end,
            attempts: self.attempts,
        }
    }
}

/// What holds for all workers of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most bytes of a result. A worker refuses to send a larger one; one that sends it all the same is hostile.
    pub(crate) result: usize,
    /// Items after which a worker is replaced.
    pub(crate) tasks: u64,
    /// How long an item may run before it is told to stop.
    pub(crate) soft_timeout: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Slot {
    /// From 1; what the guest sees as its worker slot.
    pub(super) number: u32,
    /// Which of all workers that were ever started lives here.
    pub(super) birth: u64,
    pub(super) link: Option<Link>,
    pub(super) process: Process,
    /// Where its workers come from, if from nowhere else.
    pub(super) origin: Option<Source>,
    /// That is being made.
    pub(super) preparing: bool,
    /// Where it sits in the memory of objects, once it has one.
    pub(super) seat: Option<Seat>,
    /// Pools and processes that its guest has made.
    pub(super) pools: Vec<Arc<Shared>>,
    /// Processes that it had, and that have ended: what their end is waited for with.
    pub(super) ended: VecDeque<(u32, Arc<Life>)>,
    /// How many processes, workers among them, it has started.
    pub(super) children: Arc<AtomicU32>,
    /// SIGINT is for it, once it is there.
    pub(super) interrupted: bool,
    /// Who it is, once it was ordered.
    pub(super) identity: Option<Identity>,
    pub(super) life: Arc<Life>,
    pub(super) cause: Option<Cause>,
    /// The worker has said that it is up.
    pub(super) ready: bool,
    /// When it was last put on another CPU.
    moved: Option<Instant>,
    /// It has said with which code it is about to exit.
    pub(super) exit: Option<i32>,
    /// It has said that it cannot take tasks, and why.
    pub(super) unable: Option<String>,
    /// It is one too many: it gets no more work, and stops when it has none.
    pub(super) surplus: bool,
    pub(super) ordered_at: Instant,
    pub(super) flights: VecDeque<Flight>,
    /// Items of `flights` without an outcome.
    pub(super) under_way: usize,
    /// Since when the item at the head of the window can have been running.
    pub(super) head_since: Instant,
    /// Since when it has not been heard of, and something is expected of it.
    pub(super) silent_since: Instant,
    pub(super) pace: Pace,
    /// Items that it has been given and that were not taken back.
    given: u64,
    limits: Limits,
    /// The last item that was told to stop, and when.
    pub(super) warned: Option<(u64, Instant)>,
    next_seq: u64,
    /// How much of the body of the last flight has been written, if not all of it.
    sent: Option<usize>,
    partial: Option<Partial>,
    /// The process has ended: what it left is taken without regard to limits.
    pub(super) dead: bool,
    /// It broke the protocol: nothing that it says is looked at any more, and it is being killed.
    pub(super) condemned: bool,
    /// Something was written that the worker cannot see yet.
    unpublished: bool,
    /// In this turn, its ring had no room for a call.
    full: bool,
    /// As whom it writes, once that is known.
    pub(super) writer: Option<Arc<Writer>>,
    /// Output that the forwarding thread has no room for yet.
    held_output: Option<(Stream, u64, Vec<u8>)>,
    /// What it and those before it have done.
    pub(super) log: Log,
}

impl Slot {
    pub(super) fn new(number: u32, limits: Limits, now: Instant) -> Self {
        Self {
            number,
            birth: 0,
            link: None,
            process: Process::Absent { retry_at: now },
            origin: None,
            preparing: false,
            seat: None,
            pools: Vec::new(),
            ended: VecDeque::new(),
            children: Arc::default(),
            interrupted: false,
            identity: None,
            life: Arc::default(),
            cause: None,
            ready: false,
            moved: None,
            exit: None,
            unable: None,
            surplus: false,
            ordered_at: now,
            flights: VecDeque::new(),
            under_way: 0,
            head_since: now,
            silent_since: now,
            pace: Pace::new(now),
            given: 0,
            limits,
            warned: None,
            next_seq: 0,
            sent: None,
            partial: None,
            dead: false,
            condemned: false,
            unpublished: false,
            full: false,
            writer: None,
            held_output: None,
            log: Log::default(),
        }
    }

    /// Back to a slot without a worker, one life later.
    pub(super) fn vacate(&mut self, retry_at: Instant) {
        let log = std::mem::take(&mut self.log);
        *self = Self::new(self.number, self.limits, retry_at);
        self.log = log;
    }

    /// The process id, 0 if it is not known.
    pub(super) fn pid(&self) -> u32 {
        match self.process {
            Process::Running { pid, .. } | Process::Released { pid } => pid,
            Process::Absent { .. } | Process::Ordered => 0,
        }
    }

    /// Has the worker go on on another CPU than this one; which ones it may use stays as it was. Where that does not work, nothing
    /// is lost but time, and so it is if the worker is dead by now and its number another's.
    pub(super) fn change_cpu(&mut self, not: u32, now: Instant) {
        let Process::Running {
            pid,
            body: Body::Process(_),
        } = &self.process
        else {
            return;
        };
        let Some(pid) = Pid::from_raw(pid.cast_signed()) else {
            return;
        };
        if self.moved.is_some_and(|moved| now - moved < cpu::INTERVAL / 2) {
            return;
        }
        self.moved = Some(now);
        let Ok(all) = sched_getaffinity(Some(pid)) else { return };
        let mut others = all;
        if (not as usize) < CpuSet::MAX_CPU {
            others.unset(not as usize);
        }
        if others.count() > 0 && sched_setaffinity(Some(pid), &others).is_ok() {
            let _ = sched_setaffinity(Some(pid), &all);
        }
    }

    /// How many more items this worker may be given.
    pub(super) fn room(&self) -> usize {
        if self.link.is_none() || self.sent.is_some() || self.full || self.cause.is_some() || self.surplus {
            return 0;
        }
        self.pace.window().saturating_sub(self.under_way).min(self.tasks_left())
    }

    /// How many items it may still be given before it is replaced.
    pub(super) fn tasks_left(&self) -> usize {
        usize::try_from(self.limits.tasks - self.given).unwrap_or(usize::MAX)
    }

    /// Whether it is up and has nothing to do.
    pub(super) fn is_free(&self) -> bool {
        self.ready && self.is_idle() && self.cause.is_none()
    }

    /// Whether there is a process, or will be.
    pub(super) fn is_present(&self) -> bool {
        !matches!(self.process, Process::Absent { .. })
    }

    /// From when on a worker may be ordered, if there is none.
    pub(super) fn vacant_since(&self) -> Option<Instant> {
        match self.process {
            Process::Absent { retry_at } if !self.preparing => Some(retry_at),
            _ => None,
        }
    }

    /// From now on, something is expected of it.
    pub(super) fn expect(&mut self, now: Instant) {
        (self.head_since, self.silent_since) = (now, now);
    }

    /// Whether it has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// Writes the first `count` items of `pending` to the worker. False: its ring has no room now.
    pub(super) fn dispatch(
        &mut self,
        pending: &mut Pending,
        task: u32,
        count: usize,
        now: Instant,
    ) -> Result<bool, Violation> {
        let Some(link) = &mut self.link else { return Ok(false) };
        let (first, end) = (pending.first as usize, pending.first as usize + count);
        let body = &pending.block.bytes()[pending.block.span(first, end)];
        let call = Call {
            count: count as u32,
            task,
            seq: self.next_seq,
            total: body.len() as u64,
        };
        let head = TaskHead::call_bytes(&call);
        let now_sent = body.len().min(link.tasks.max_record() - head.len());
        let Some(ticket) = write(&mut link.tasks, &[&head, &body[..now_sent]])? else {
            self.full = true;
            return Ok(false);
        };
        self.unpublished = true;
        if now_sent < body.len() {
            self.sent = Some(now_sent);
        }
        if self.flights.is_empty() {
            self.expect(now);
            self.pace.began(now);
        }
        self.flights.push_back(Flight {
            job: pending.job,
            task,
            block: Arc::clone(&pending.block),
            first: pending.first,
            end: end as u32,
            done: 0,
            attempts: pending.attempts,
            seq: self.next_seq,
            ticket,
        });
        pending.first = end as u32;
        self.next_seq += count as u64;
        self.given += count as u64;
        self.under_way += count;
        // The worker waits for the rest of what it has begun to read, and asks nobody for it.
        self.send_more()?;
        Ok(true)
    }

    /// Writes as much of a large body as there is room for.
    pub(super) fn send_more(&mut self) -> Result<(), Violation> {
        let (Some(sent), Some(link), Some(flight)) = (self.sent, &mut self.link, self.flights.back()) else {
            return Ok(());
        };
        let span = flight.block.span(flight.first as usize, flight.end as usize);
        let body = &flight.block.bytes()[span];
        let mut at = sent;
        while at < body.len() {
            let len = (body.len() - at).min(link.tasks.max_record() - TaskHead::SHORT_LEN);
            if write(&mut link.tasks, &[&TaskHead::MORE_BYTES, &body[at..at + len]])?.is_none() {
                break;
            }
            self.unpublished = true;
            at += len;
        }
        self.sent = (at < body.len()).then_some(at);
        Ok(())
    }

    /// Tells the worker that no task will follow.
    pub(super) fn send_stop(&mut self) -> Result<bool, Violation> {
        let Some(link) = &mut self.link else { return Ok(true) };
        let written = write(&mut link.tasks, &[&TaskHead::STOP_BYTES])?.is_some();
        self.unpublished |= written;
        Ok(written)
    }

    /// Makes what was written visible, and wakes the worker if it sleeps. One with nothing new to read sleeps on.
    pub(super) fn publish(&mut self) {
        if std::mem::take(&mut self.unpublished)
            && let Some(link) = &mut self.link
        {
            link.tasks.publish();
            if link.tasks.consumer_parked() {
                link.tasks.wake_consumer();
            }
        }
    }

    /// Takes back the newest call that the worker has not begun.
    pub(super) fn revoke_last(&mut self) -> Option<Pending> {
        let flight = self.flights.back()?;
        if self.sent.is_some() || !self.link.as_mut()?.tasks.revoke(&flight.ticket) {
            return None;
        }
        let pending = self.flights.pop_back()?.rest();
        self.under_way -= pending.len();
        self.given -= pending.len() as u64;
        Some(pending)
    }

    /// How long an item may run before it is told to stop.
    pub(super) fn soft_timeout(&self) -> Option<Duration> {
        self.limits.soft_timeout
    }

    /// Tells the worker that the item which it runs has had its time.
    pub(super) fn warn(&mut self, now: Instant) {
        if let (Some(flight), Process::Running { body, .. }) = (self.flights.front(), &self.process) {
            self.warned = Some((flight.next_seq(), now));
            body.warn();
        }
    }

    /// Whether the worker has begun the call at the head of its window.
    pub(super) fn head_has_begun(&self) -> bool {
        match (self.flights.front(), &self.link) {
            (Some(flight), Some(link)) => flight.done > 0 || link.tasks.is_taken(&flight.ticket),
            _ => false,
        }
    }

    /// Who runs an item that was tried so often before.
    pub(super) fn runner(&self, attempts: u32) -> Runner {
        let memory = self.link.as_ref().map_or(0, |link| link.gauges.memory());
        Runner {
            worker: self.number,
            pid: self.pid(),
            attempt: attempts + 1,
            memory: self.log.believable(memory),
        }
    }

    /// What it and those before it have done.
    pub(super) fn report(&self, now: Instant) -> WorkerStats {
        let running = self
            .head_has_begun()
            .then(|| now.saturating_duration_since(self.head_since));
        let gauges = self.link.as_ref().map(|link| &link.gauges);
        self.log.report(self.pid(), gauges, running)
    }

    /// Whether somebody should look at this worker's replies now.
    pub(super) fn has_replies(&self) -> bool {
        self.is_heard() && self.link.as_ref().is_some_and(|link| !link.replies.is_empty())
    }

    /// Asks the worker to ring for its next reply. False: there is one already.
    pub(super) fn arm(&mut self) -> bool {
        let heard = self.is_heard();
        match &mut self.link {
            Some(link) if heard => link.replies.prepare_park(),
            _ => true,
        }
    }

    /// Whether its replies are read as they come.
    pub(super) fn is_heard(&self) -> bool {
        !self.condemned && self.held_output.is_none() && self.is_known()
    }

    /// Whether it is known which process it is, or was: before that nobody could tell of what it says who has said it.
    pub(super) fn is_known(&self) -> bool {
        self.dead || !matches!(self.process, Process::Ordered)
    }

    /// Asks the worker not to ring: somebody keeps looking.
    pub(super) fn disarm(&mut self) {
        if let Some(link) = &mut self.link {
            link.replies.cancel_park();
        }
    }
}

/// Writes a record; if there is no room, the worker will ring when there is.
fn write(tasks: &mut Producer, parts: &[&[u8]]) -> Result<Option<Ticket>, Violation> {
    loop {
        if let Some(ticket) = tasks.try_write(parts)? {
            return Ok(Some(ticket));
        }
        if !tasks.ask_for_space()? {
            return Ok(None);
        }
    }
}
