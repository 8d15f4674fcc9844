//! The worker's ends of its two rings: items come out of the one, outcomes go into the other.
//!
//! Items are taken one by one, straight from the ring into the guest's memory, and committed one by one: at any
//! moment the host can tell which item is running. The host is trusted here; what it sends that makes no sense is its
//! mistake, and ends the worker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use wasmp_abi::ErrorKind;
use wasmp_ipc::ring::{Consumer, Corrupt, Producer};
use wasmp_ipc::{Doorbell, Gauges, Mapping, Spinner, monotonic};

use super::interruption;
use crate::wire::{
    Call, Fault, GAUGES_AT, ITEM_PREFIX, LINK_BYTES, REPLIES_AT, RING_CAPACITY, ReplyHead, ReplyKind, Stamp, TaskHead,
};

/// Calls taken before the host is told that their space is free, unless they are large.
const RELEASE_EVERY: u32 = 16;

/// The space of a call that the host is told about at once.
const RELEASE_BYTES: usize = RING_CAPACITY / 16;

/// Characters of the reason why a worker cannot take tasks.
const MAX_LAST_WORDS: usize = 4096;

/// The call whose items are being taken.
#[derive(Debug)]
struct Current {
    task: u32,
    /// Items that have not been taken.
    items: u32,
    /// The number of the next item.
    seq: u64,
    /// Bytes of the body that have not been read.
    bytes: u64,
    /// Where the next of them stands in the record that the ring is looking at.
    at: usize,
    /// Length of that record.
    record: usize,
}

#[derive(Debug)]
pub(super) struct Link {
    tasks: Consumer,
    replies: Producer,
    doorbell: Doorbell,
    spinner: Spinner,
    current: Option<Current>,
    /// The item that was taken and has no outcome yet.
    running: Option<u64>,
    /// Length of an item that has been announced, and not been read yet.
    announced: Option<usize>,
    unreleased: u32,
    /// Items that got their outcome, ever.
    committed: u64,
    /// Most bytes of a result.
    max_result: usize,
    gauges: Arc<Gauges>,
    /// The host wants to know when items began and ended.
    timed: bool,
    /// When the running item began, if so.
    began: u64,
}

fn nonsense(corrupt: Corrupt) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, corrupt)
}

#[cold]
fn too_large(len: usize, most: usize) -> Fault {
    let why = format!("the result has {len} bytes, and at most {most} are allowed");
    Fault::new(ErrorKind::TooLarge, why)
}

fn out_of_turn() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "task frame out of turn")
}

impl Link {
    pub(super) fn open(rings: BorrowedFd<'_>, doorbell: OwnedFd, max_result: usize, timed: bool) -> io::Result<Self> {
        let mapping = Arc::new(Mapping::open(rings, LINK_BYTES)?);
        Ok(Self {
            tasks: Consumer::new(&mapping, 0, RING_CAPACITY)?,
            replies: Producer::new(&mapping, REPLIES_AT, RING_CAPACITY)?,
            doorbell: Doorbell::from(doorbell),
            spinner: Spinner::new(),
            current: None,
            running: None,
            announced: None,
            unreleased: 0,
            committed: 0,
            max_result,
            gauges: Arc::new(Gauges::open(&mapping, GAUGES_AT)?),
            timed,
            began: 0,
        })
    }

    /// What the host can see of this worker at any time.
    pub(super) fn gauges(&self) -> &Arc<Gauges> {
        &self.gauges
    }

    /// Where to note the time that a guest waits, if the host wants to know it.
    pub(super) fn clock(&self) -> Option<&Arc<Gauges>> {
        self.timed.then_some(&self.gauges)
    }

    pub(super) fn doorbell(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }

    /// Has the host look at what this worker has written somewhere.
    pub(super) fn ring(&self) {
        self.doorbell.ring();
    }

    /// Waits until there is an item to run. Returns its task; `None` when the host has no more.
    pub(super) fn wait_for_call(&mut self) -> io::Result<Option<u32>> {
        loop {
            if let Some(Current { task, items: 1.., .. }) = self.current {
                return Ok(Some(task));
            }
            self.wait_for_record()?;
            match self.begin_record(None)? {
                Begun::Call => {}
                Begun::Nothing => {}
                Begun::Stop => return Ok(None),
            }
        }
    }

    /// The length of the next item's arguments, which has thereby been started. `None`: there is none for this task now.
    ///
    /// With `same_call`, items of later calls are left for later.
    pub(super) fn next_item(&mut self, same_call: bool) -> io::Result<Option<usize>> {
        if let Some(len) = self.announced {
            return Ok(Some(len));
        }
        loop {
            match &mut self.current {
                Some(current) if current.items > 0 => {
                    self.running = Some(current.seq);
                    if self.timed {
                        self.began = monotonic();
                    }
                    current.items -= 1;
                    current.seq += 1;
                    let mut len = [0; ITEM_PREFIX];
                    self.read_body(&mut len)?;
                    let len = u32::from_le_bytes(len) as usize;
                    self.announced = Some(len);
                    return Ok(Some(len));
                }
                Some(current) if !same_call => {
                    // Another call of the same task may go on in the same guest call: that saves entering it again.
                    let task = current.task;
                    self.end_call();
                    if self.tasks.peek().map_err(nonsense)?.is_none() {
                        return Ok(None);
                    }
                    match self.begin_record(Some(task))? {
                        Begun::Call => {}
                        Begun::Nothing | Begun::Stop => return Ok(None),
                    }
                }
                _ => return Ok(None),
            }
        }
    }

    /// Copies the arguments of the item that [`next_item`](Self::next_item) announced.
    pub(super) fn read_item(&mut self, target: &mut [u8]) -> io::Result<()> {
        self.announced = None;
        self.read_body(target)
    }

    /// Whether an item was taken that has no outcome yet.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the running item was announced, and its arguments have not been read.
    pub(super) fn is_announced(&self) -> bool {
        self.announced.is_some()
    }

    /// How many items have got their outcome so far.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// Commits the result of the running item, or its failure if the result is too large.
    pub(super) fn finish(&mut self, result: &[u8]) -> io::Result<()> {
        if result.len() > self.max_result {
            return self.fail(&too_large(result.len(), self.max_result));
        }
        self.commit(ReplyKind::Done, result)
    }

    /// Commits the failure of the running item.
    pub(super) fn fail(&mut self, fault: &Fault) -> io::Result<()> {
        let memory = self.gauges.memory();
        self.commit(
            ReplyKind::Failed,
            &Fault {
                memory,
                ..fault.clone()
            }
            .to_bytes(),
        )
    }

    fn commit(&mut self, kind: ReplyKind, body: &[u8]) -> io::Result<()> {
        let seq = self.running.take().ok_or_else(out_of_turn)?;
        // A guest may answer without having looked at its arguments.
        if let Some(len) = self.announced.take() {
            self.skip_body(len as u64)?;
        }
        self.committed += 1;
        if self.timed {
            return self.write_stamped(kind, seq, body);
        }
        self.write(kind, seq, body)
    }

    /// Tells the host that this worker is up.
    pub(super) fn ready(&mut self) -> io::Result<()> {
        self.write(ReplyKind::Ready, 0, &[])
    }

    /// Tells the host that this process ends now, and with which exit code.
    pub(super) fn ending(&mut self, code: u8) -> io::Result<()> {
        self.write(ReplyKind::Ending, code.into(), &[])
    }

    /// Tells the host that this worker cannot take tasks, and why: in one record, as only outcomes may be larger.
    pub(super) fn unable(&mut self, fault: &Fault) -> io::Result<()> {
        let message: String = fault.message.chars().take(MAX_LAST_WORDS).collect();
        let fault = Fault::new(fault.kind(), message);
        self.write(ReplyKind::Unable, 0, &fault.to_bytes())
    }

    /// Passes on what the guest wrote, a record at a time: only outcomes may be larger.
    pub(super) fn output(&mut self, kind: ReplyKind, bytes: &[u8]) -> io::Result<()> {
        let most = self.replies.max_record() - ReplyHead::LEN;
        let now = monotonic();
        bytes.chunks(most).try_for_each(|part| self.write(kind, now, part))
    }

    fn write(&mut self, kind: ReplyKind, seq: u64, body: &[u8]) -> io::Result<()> {
        let most = self.replies.max_record() - ReplyHead::LEN;
        let (part, rest) = body.split_at(body.len().min(most));
        let head = ReplyHead {
            kind,
            more: !rest.is_empty(),
            stamped: false,
            seq,
        };
        self.put(&[&head.bytes(), part])?;
        self.write_rest(seq, rest)
    }

    /// The same for an outcome, with the time that it took.
    fn write_stamped(&mut self, kind: ReplyKind, seq: u64, body: &[u8]) -> io::Result<()> {
        let stamp = Stamp {
            began: self.began,
            ended: monotonic(),
            memory: self.gauges.memory(),
        };
        let most = self.replies.max_record() - ReplyHead::LEN - Stamp::LEN;
        let (part, rest) = body.split_at(body.len().min(most));
        let head = ReplyHead {
            kind,
            more: !rest.is_empty(),
            stamped: true,
            seq,
        };
        self.put(&[&head.bytes(), &stamp.bytes(), part])?;
        self.write_rest(seq, rest)
    }

    /// What did not fit into the first record of a reply. Makes all of it visible.
    fn write_rest(&mut self, seq: u64, mut rest: &[u8]) -> io::Result<()> {
        let most = self.replies.max_record() - ReplyHead::LEN;
        while !rest.is_empty() {
            let part;
            (part, rest) = rest.split_at(rest.len().min(most));
            let head = ReplyHead {
                kind: ReplyKind::More,
                more: !rest.is_empty(),
                stamped: false,
                seq,
            };
            self.put(&[&head.bytes(), part])?;
        }
        self.publish();
        Ok(())
    }

    /// Writes a record, as soon as there is room.
    #[inline]
    fn put(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        interruption::check()?;
        while self.replies.try_write(parts).map_err(nonsense)?.is_none() {
            self.publish();
            let len = parts.iter().map(|part| part.len()).sum();
            self.replies
                .park_for_space(len, interruption::next_check())
                .map_err(nonsense)?;
            interruption::check()?;
        }
        Ok(())
    }

    fn publish(&mut self) {
        self.replies.publish();
        if self.replies.consumer_parked() {
            self.doorbell.ring();
        }
    }

    /// Looks at the next record: begins a call, if it is one (of the task `only`, if given).
    fn begin_record(&mut self, only: Option<u32>) -> io::Result<Begun> {
        let Some(record) = self.tasks.peek().map_err(nonsense)? else {
            return Ok(Begun::Nothing);
        };
        let mut head = [0; TaskHead::CALL_LEN];
        let head = &mut head[..record.len().min(TaskHead::CALL_LEN)];
        self.tasks.read(0, head).map_err(nonsense)?;
        match TaskHead::parse(head).ok_or_else(out_of_turn)? {
            TaskHead::Call(Call { task, .. }) if only.is_some_and(|only| only != task) => Ok(Begun::Nothing),
            TaskHead::Call(Call {
                count,
                task,
                seq,
                total,
            }) => {
                let taken = self.tasks.take();
                self.current = Some(Current {
                    task,
                    items: count,
                    seq,
                    bytes: total,
                    at: TaskHead::CALL_LEN,
                    record: record.len(),
                });
                if !taken {
                    // The host has taken it back.
                    self.skip_body(total)?;
                    self.end_call();
                    return Ok(Begun::Nothing);
                }
                Ok(Begun::Call)
            }
            TaskHead::Stop => Ok(Begun::Stop),
            TaskHead::More => Err(out_of_turn()),
        }
    }

    /// The current call has given all it had: its record can go.
    fn end_call(&mut self) {
        let large = self
            .current
            .take()
            .is_some_and(|current| current.record >= RELEASE_BYTES);
        self.tasks.advance();
        self.unreleased += 1;
        if large || self.unreleased >= RELEASE_EVERY {
            self.release();
        }
    }

    fn release(&mut self) {
        self.unreleased = 0;
        self.tasks.release();
        if self.tasks.producer_parked() {
            self.doorbell.ring();
        }
    }

    /// Reads the next bytes of the current call's body, across as many records as they take.
    fn read_body(&mut self, mut target: &mut [u8]) -> io::Result<()> {
        loop {
            let Some(current) = &mut self.current else {
                return Err(out_of_turn());
            };
            let here = target.len().min(current.record - current.at);
            let (part, rest) = target.split_at_mut(here);
            self.tasks.read(current.at, part).map_err(nonsense)?;
            current.at += here;
            current.bytes = current.bytes.checked_sub(here as u64).ok_or_else(out_of_turn)?;
            if rest.is_empty() {
                return Ok(());
            }
            target = rest;
            self.next_part()?;
        }
    }

    fn skip_body(&mut self, mut len: u64) -> io::Result<()> {
        let mut scrap = [0; 4096];
        while len > 0 {
            let part = len.min(scrap.len() as u64);
            self.read_body(&mut scrap[..part as usize])?;
            len -= part;
        }
        Ok(())
    }

    /// Moves on to the next record of the current call.
    fn next_part(&mut self) -> io::Result<()> {
        self.tasks.advance();
        self.release();
        self.wait_for_record()?;
        let (Some(current), Some(record)) = (&mut self.current, self.tasks.peek().map_err(nonsense)?) else {
            return Err(out_of_turn());
        };
        let mut head = [0; TaskHead::SHORT_LEN];
        self.tasks.read(0, &mut head).map_err(nonsense)?;
        if TaskHead::parse(&head) != Some(TaskHead::More) {
            return Err(out_of_turn());
        }
        current.at = TaskHead::SHORT_LEN;
        current.record = record.len();
        Ok(())
    }

    /// Waits until the ring has a record to look at.
    fn wait_for_record(&mut self) -> io::Result<()> {
        loop {
            if let Some(current) = &self.current
                && current.items == 0
                && current.bytes == 0
            {
                self.end_call();
            }
            if self.tasks.peek().map_err(nonsense)?.is_some() {
                return Ok(());
            }
            let tasks = &self.tasks;
            if self.spinner.spin(|| !tasks.is_empty()) {
                continue;
            }
            self.release();
            if self.tasks.prepare_park() {
                self.tasks.park(interruption::next_check());
            }
            interruption::check()?;
        }
    }
}

/// What a record was.
enum Begun {
    Call,
    Nothing,
    Stop,
}
