//! What comes out of a worker: replies are taken from its ring, checked, and filed with their jobs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wasmp_ipc::ring::Consumer;

use super::{Flight, Slot, Violation};
use crate::insight::{Fate, Log};
use crate::outcome::{Failure, What};
use crate::output::{OutputSender, Stream};
use crate::retry::Mishap;
use crate::supervisor::job::{Batch, Item, JobKey, Jobs, Outcome, Pending, Verdict};
use crate::wire::{Fault, ReplyHead, ReplyKind, Stamp};

/// Most records taken from one worker before the others get their turn.
const DRAIN_LIMIT: usize = 4096;

/// Most bytes of a failure, where a result may have less: an honest worker cuts the guest's words and the backtrace off long
/// before.
const MAX_FAILURE: usize = 1 << 20;

/// A reply, or as much as there is of one that comes in several records.
#[derive(Debug)]
pub(super) struct Partial {
    kind: ReplyKind,
    stamp: Option<Stamp>,
    seq: u64,
    body: Vec<u8>,
}

/// What one look at a worker has brought.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Drained {
    /// Records that were taken.
    pub(in crate::supervisor) records: usize,
    /// Items that got their outcome, or will be tried again.
    pub(in crate::supervisor) items: usize,
    /// Those among them that have no result.
    failed: usize,
    /// What is to be tried again, each after so long.
    pub(in crate::supervisor) again: Vec<(Pending, Duration)>,
    /// It is up.
    pub(in crate::supervisor) ready: bool,
    /// There was more than one turn may take.
    pub(in crate::supervisor) more: bool,
}

impl Slot {
    /// Takes the replies that are there, and files them with their jobs.
    pub(in crate::supervisor) fn drain(
        &mut self,
        jobs: &mut Jobs,
        touched: &mut Vec<JobKey>,
        output: &OutputSender,
        now: Instant,
    ) -> Result<Drained, Violation> {
        let mut drained = Drained::default();
        self.full = false;
        let outcome = self.drain_records(jobs, touched, output, now, &mut drained);
        if drained.items > 0 {
            self.expect(now);
            self.pace.delivered(drained.items, self.flights.is_empty(), now);
            self.log.done(drained.items - drained.failed);
            self.log.flush();
        }
        if let Some(link) = &mut self.link {
            link.replies.release();
            if link.replies.producer_parked() {
                link.replies.wake_producer();
            }
        }
        outcome.map(|()| drained)
    }

    fn drain_records(
        &mut self,
        jobs: &mut Jobs,
        touched: &mut Vec<JobKey>,
        output: &OutputSender,
        now: Instant,
        drained: &mut Drained,
    ) -> Result<(), Violation> {
        if let Some((stream, at, bytes)) = self.held_output.take()
            && !self.pass_on(output, stream, at, bytes)
        {
            return Ok(());
        }
        for _ in 0..DRAIN_LIMIT {
            // Whatever it says after its last word is none.
            if self.exit.is_some() {
                return Ok(());
            }
            let Some(link) = &mut self.link else { return Ok(()) };
            let Some(record) = link.replies.peek()? else {
                return Ok(());
            };
            drained.records += 1;
            let mut head = [0; ReplyHead::LEN];
            link.replies.read(0, &mut head)?;
            let head = ReplyHead::parse(&head).ok_or_else(|| Violation("an unknown kind of reply".into()))?;
            let (mut stamp, mut body_at) = (None, ReplyHead::LEN);
            if head.stamped {
                stamp = Some(read_stamp(&link.replies, head.kind, &self.log)?);
                body_at += Stamp::LEN;
            }
            let body_len = record.len() - body_at;

            // The common case, without a detour: a whole result, straight into its job's batch.
            if head.kind == ReplyKind::Done && !head.more && self.partial.is_none() {
                let running = stamp.and(self.flights.front().map(Flight::running));
                let (key, index) = settle(&mut self.flights, head.seq)?;
                if let (Some(ran), Some(stamp)) = (running, stamp) {
                    self.log.ran(ran, stamp, Fate::Done);
                }
                if let Some(job) = jobs.get(key) {
                    let batch = job.batch();
                    let start = batch.bytes.len();
                    batch.bytes.resize(start + body_len, 0);
                    link.replies.read(body_at, &mut batch.bytes[start..])?;
                    if batch.items.is_empty() {
                        touched.push(key);
                    }
                    batch.items.push(Item {
                        index,
                        outcome: Outcome::Done { start, len: body_len },
                    });
                    job.outstanding -= 1;
                }
                link.replies.advance();
                self.under_way -= 1;
                drained.items += 1;
                continue;
            }

            let mut body = vec![0; body_len];
            link.replies.read(body_at, &mut body)?;
            link.replies.advance();
            let Some(whole) = self.assemble(head, stamp, body)? else {
                continue;
            };
            let Partial { kind, stamp, seq, body } = whole;
            match kind {
                ReplyKind::Ready => {
                    // Saying it again would be a way to gain time.
                    if std::mem::replace(&mut self.ready, true) {
                        return Err(Violation("it said twice that it is ready".into()));
                    }
                    drained.ready = true;
                    self.expect(now);
                    self.pace.began(now);
                }
                ReplyKind::Ending => {
                    if !self.flights.is_empty() {
                        return Err(Violation("it ends in the middle of something".into()));
                    }
                    self.exit = Some((seq & 0xff) as i32);
                }
                ReplyKind::Unable => self.unable = Some(Fault::from_bytes(&body).message),
                ReplyKind::Done => {
                    let running = self.flights.front().map(Flight::running);
                    self.settle_large(jobs, touched, seq, body)?;
                    if let (Some(ran), Some(stamp)) = (running, stamp) {
                        self.log.ran(ran, stamp, Fate::Done);
                    }
                    drained.items += 1;
                }
                ReplyKind::Failed => {
                    let running = self.flights.front().map(Flight::running);
                    let verdict = self.fail_item(jobs, touched, seq, What::Reported(body))?;
                    if let (Some(ran), Some(stamp)) = (running, stamp) {
                        self.log.ran(ran, stamp, Fate::Failed);
                    }
                    self.log.failed(matches!(verdict, Verdict::Again(..)));
                    if let Verdict::Again(pending, pause) = verdict {
                        drained.again.push((pending, pause));
                    }
                    drained.items += 1;
                    drained.failed += 1;
                }
                ReplyKind::Stdout | ReplyKind::Stderr => {
                    let stream = if kind == ReplyKind::Stdout {
                        Stream::Stdout
                    } else {
                        Stream::Stderr
                    };
                    if !self.pass_on(output, stream, seq, body) {
                        return Ok(());
                    }
                }
                ReplyKind::More => return Err(Violation("the middle of a reply without its beginning".into())),
            }
        }
        drained.more = true;
        Ok(())
    }

    /// Passes on what was written at this time. False: it is held until there is room, or it is known who has written it.
    fn pass_on(&mut self, output: &OutputSender, stream: Stream, at: u64, bytes: Vec<u8>) -> bool {
        let refused = match &self.writer {
            Some(writer) => output.send(writer, stream, at, bytes, self.dead).err(),
            None => Some(bytes),
        };
        self.held_output = refused.map(|bytes| (stream, at, bytes));
        self.held_output.is_none()
    }

    /// Puts a reply together that comes in several records; `None` until it is whole.
    fn assemble(&mut self, head: ReplyHead, stamp: Option<Stamp>, body: Vec<u8>) -> Result<Option<Partial>, Violation> {
        let whole = match (self.partial.take(), head.kind) {
            (None, ReplyKind::More) => return Err(Violation("the middle of a reply without its beginning".into())),
            (None, kind) if head.more => {
                // What takes the host's memory must be an outcome that it waits for.
                let outcome = matches!(kind, ReplyKind::Done | ReplyKind::Failed);
                if !outcome || self.flights.front().is_none_or(|flight| flight.next_seq() != head.seq) {
                    return Err(Violation("a long reply to nothing that it was given".into()));
                }
                Partial {
                    kind,
                    stamp,
                    seq: head.seq,
                    body,
                }
            }
            (None, kind) => {
                return Ok(Some(Partial {
                    kind,
                    stamp,
                    seq: head.seq,
                    body,
                }));
            }
            (Some(mut partial), ReplyKind::More) => {
                let most = match partial.kind {
                    ReplyKind::Failed => self.limits.result.max(MAX_FAILURE),
                    _ => self.limits.result,
                };
                if partial.body.len() + body.len() > most {
                    return Err(Violation("a reply larger than a message may be".into()));
                }
                partial.body.extend_from_slice(&body);
                partial
            }
            (Some(_), _) => return Err(Violation("a reply inside another".into())),
        };
        if head.more {
            self.partial = Some(whole);
            return Ok(None);
        }
        Ok(Some(whole))
    }

    fn settle_large(
        &mut self,
        jobs: &mut Jobs,
        touched: &mut Vec<JobKey>,
        seq: u64,
        body: Vec<u8>,
    ) -> Result<(), Violation> {
        let (key, index) = settle(&mut self.flights, seq)?;
        self.under_way -= 1;
        if let Some(job) = jobs.get(key) {
            job.outstanding -= 1;
            let Batch { bytes, items } = job.batch();
            if items.is_empty() {
                touched.push(key);
            }
            let (start, len) = (bytes.len(), body.len());
            if bytes.is_empty() {
                *bytes = body;
            } else {
                bytes.extend_from_slice(&body);
            }
            items.push(Item {
                index,
                outcome: Outcome::Done { start, len },
            });
        }
        Ok(())
    }

    /// Files the failure of the item at the head of the window, which has this number, unless it is tried again.
    fn fail_item(
        &mut self,
        jobs: &mut Jobs,
        touched: &mut Vec<JobKey>,
        seq: u64,
        what: What,
    ) -> Result<Verdict, Violation> {
        let head = self.flights.front().map(Flight::head);
        let (key, index) = settle(&mut self.flights, seq)?;
        self.under_way -= 1;
        let mishap = match self.warned {
            Some((warned, _)) if warned == seq => Mishap::Timeout,
            _ => Mishap::Error,
        };
        let runner = self.runner(head.as_ref().map_or(0, |head| head.attempts));
        if let (Some(head), Some(job)) = (head, jobs.get(key))
            && let again @ Verdict::Again(..) = head.judge(job.terms.retry, mishap)
        {
            return Ok(again);
        }
        file_failure(jobs, touched, key, index, Failure { what, runner });
        Ok(Verdict::Final)
    }
}

/// When the item ran, as the worker says: only outcomes say so, and only when asked to.
fn read_stamp(replies: &Consumer, kind: ReplyKind, log: &Log) -> Result<Stamp, Violation> {
    if !log.is_timed() || !matches!(kind, ReplyKind::Done | ReplyKind::Failed) {
        return Err(Violation("the time of something that has none".into()));
    }
    let mut bytes = [0; Stamp::LEN];
    replies.read(ReplyHead::LEN, &mut bytes)?;
    Ok(Stamp::from_bytes(bytes))
}

/// Files a failure with its job.
pub(in crate::supervisor) fn file_failure(
    jobs: &mut Jobs,
    touched: &mut Vec<JobKey>,
    key: JobKey,
    index: u64,
    failure: Failure,
) {
    if let Some(job) = jobs.get(key) {
        job.outstanding -= 1;
        let batch = job.batch();
        if batch.items.is_empty() {
            touched.push(key);
        }
        batch.items.push(Item {
            index,
            outcome: Outcome::Failed(Box::new(failure)),
        });
    }
}

/// Crosses off the item that must come next, which must have this number. Returns its job, and its index there.
fn settle(flights: &mut VecDeque<Flight>, seq: u64) -> Result<(JobKey, u64), Violation> {
    let Some(flight) = flights.front_mut().filter(|flight| flight.next_seq() == seq) else {
        return Err(Violation("a reply to a task that it was not given".into()));
    };
    let index = flight.block.base + u64::from(flight.first + flight.done);
    let job = flight.job;
    flight.done += 1;
    if flight.first + flight.done == flight.end {
        flights.pop_front();
    }
    Ok((job, index))
}
