//! A call on a pool: its items go to the manager, and its outcomes come from there, as they are asked for.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, PoolError};
use crate::client::{Client, Proxy};
use crate::protocol::{BROKEN, CANCELLED, COMPLETE, Fields, OPEN, OVERFULL, Op, Policy, REFUSED, Status, Writer};
use crate::sync::in_time;
use crate::{ManagerError, told};

/// Bytes of items that are submitted at once, but for the last.
const BLOCK_BYTES: usize = 64 << 10;

/// Head of a CBOR array of one element.
const ARRAY_OF_ONE: u8 = 0x81;

/// What a task is called with, item by item.
pub(super) struct Inputs<I> {
    /// `None`: there are no more.
    inputs: Option<I>,
    /// Each is the sequence of all arguments, and not the only one.
    star: bool,
    /// How many have been written.
    written: u64,
    /// Why there are no more.
    failed: Option<ManagerError>,
}

impl<I: Iterator<Item: Serialize>> Inputs<I> {
    pub(super) fn new(inputs: I, star: bool) -> Self {
        Self {
            inputs: Some(inputs),
            star,
            written: 0,
            failed: None,
        }
    }

    /// Writes some, at most so many, and whether that was all. One that cannot be written is as if it were not there, and the
    /// end.
    fn write<C: Client>(&mut self, writer: &mut Writer<'_>, most: u64) -> Result<(), ManagerError> {
        writer.counted(|writer| {
            let (start, mut count) = (writer.0.len(), 0);
            while u64::from(count) < most && writer.0.len() - start < BLOCK_BYTES {
                let Some(input) = self.inputs.as_mut().and_then(Iterator::next) else {
                    self.inputs = None;
                    break;
                };
                let before = writer.0.len();
                let written = writer.item_by(|bytes| {
                    if !self.star {
                        bytes.push(ARRAY_OF_ONE);
                    }
                    C::encode(&input, bytes)
                });
                if let Err(error) = written {
                    writer.0.truncate(before);
                    self.failed = Some(error);
                    self.inputs = None;
                    break;
                }
                count += 1;
            }
            self.written += u64::from(count);
            Ok::<_, ManagerError>(count)
        })?;
        writer.u8(self.inputs.is_none().into());
        Ok(())
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether there are no more.
    pub(super) fn ended(&self) -> bool {
        self.inputs.is_none()
    }

    pub(super) fn end(&mut self) {
        self.inputs = None;
    }

    pub(super) fn take_failure(&mut self) -> Option<ManagerError> {
        self.failed.take()
    }

    /// All that were pulled could be written.
    pub(super) fn check(mut self) -> Result<(), ManagerError> {
        self.take_failure().map_or(Ok(()), Err)
    }
}

/// What is called, and how.
pub(super) struct Terms<'c> {
    pub(super) task: &'c str,
    /// Items for one call of a worker; 0: the pool's choice.
    pub(super) chunk: u32,
    pub(super) policy: Policy,
}

/// A job, as its client knows it.
pub(super) struct Job<C: Client> {
    proxy: Proxy<C>,
    /// Not held while anything is waited for.
    heard: Mutex<Heard<C>>,
}

/// What has come of it.
pub(super) struct Heard<C: Client> {
    pub(super) outcomes: Vec<Outcome>,
    /// How many outcomes were heard of, of which some may have been taken.
    seen: u64,
    pub(super) over: Option<Result<(), Error<C>>>,
}

/// What has become of an item.
pub(super) struct Outcome {
    pub(super) index: u64,
    /// The CBOR of the result, or of a task error.
    said: Result<Vec<u8>, Vec<u8>>,
}

impl<C: Client> fmt::Debug for Job<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = self.heard().over.is_some();
        f.debug_struct("Job").field("over", &over).finish_non_exhaustive()
    }
}

impl<C: Client> Job<C> {
    /// Begins one with the first of its items.
    pub(super) fn begin<I: Iterator<Item: Serialize>>(
        pool: &Proxy<C>,
        terms: &Terms<'_>,
        inputs: &mut Inputs<I>,
        most: u64,
    ) -> Result<Self, ManagerError> {
        let write = |writer: &mut Writer<'_>| {
            writer.item(terms.task.as_bytes());
            writer.u32(terms.chunk);
            terms.policy.write(writer);
            inputs.write::<C>(writer, most)
        };
        let id = pool.ask_for_long(Op::PoolSubmit, write, |_, mut fields| told(fields.id()))?;
        Ok(Self {
            proxy: pool.sibling(id),
            heard: Mutex::new(Heard {
                outcomes: Vec::new(),
                seen: 0,
                over: None,
            }),
        })
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard<C>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits more, when the pool takes them.
    pub(super) fn submit<I: Iterator<Item: Serialize>>(
        &self,
        inputs: &mut Inputs<I>,
        most: u64,
    ) -> Result<(), ManagerError> {
        let write = |writer: &mut Writer<'_>| inputs.write::<C>(writer, most);
        self.proxy.ask_for_long(Op::JobSubmit, write, |_, _| Ok(()))
    }

    /// Submits all the rest, or nothing is to come of any. What has come meanwhile is taken, so that the manager need not keep
    /// it.
    pub(super) fn submit_all<I: Iterator<Item: Serialize>>(&self, mut inputs: Inputs<I>) -> Result<(), ManagerError> {
        let mut submitted = Ok(());
        while !inputs.ended() && submitted.is_ok() && !self.is_over() {
            submitted = self
                .submit(&mut inputs, u64::MAX)
                .and_then(|()| self.hear(false, 0).map(drop));
        }
        submitted
            .and_then(|()| inputs.check())
            .inspect_err(|_| drop(self.cancel()))
    }

    /// Hears of more outcomes, when there are any, or with `all`, when it is over. False: not in this time.
    pub(super) fn hear(&self, all: bool, time: u64) -> Result<bool, ManagerError> {
        let seen = self.heard().seen;
        let write = |writer: &mut Writer<'_>| {
            writer.u64(seen);
            writer.u8(all.into());
            writer.u64(time);
            Ok(())
        };
        let read = |status: Status, fields: Fields<'_>| in_time(status, fields, |fields| self.note(seen, fields));
        Ok(self.proxy.ask_for_long(Op::JobOutcomes, write, read)?.is_some())
    }

    /// Notes down what comes behind the first so many outcomes.
    fn note(&self, behind: u64, mut fields: Fields<'_>) -> Result<(), ManagerError> {
        let (code, words) = told(fields.u8().zip(fields.item()))?;
        let text = || String::from_utf8_lossy(words).into_owned();
        let over = match code {
            OPEN => None,
            COMPLETE => Some(Ok(())),
            CANCELLED => Some(Err(PoolError::Task(Box::new(C::decode(words)?)))),
            REFUSED => Some(Err(PoolError::Invalid(text()))),
            BROKEN => Some(Err(PoolError::Broken(text()))),
            OVERFULL => Some(Err(PoolError::Manager(ManagerError::Full))),
            _ => return Err(ManagerError::Protocol),
        };
        let count = told(fields.u32())?;
        let mut outcomes = Vec::new();
        for _ in 0..count {
            let (index, done) = told(fields.u64().zip(fields.u8()))?;
            let bytes = told(fields.item())?.to_vec();
            let said = if done != 0 { Ok(bytes) } else { Err(bytes) };
            outcomes.push(Outcome { index, said });
        }
        let mut heard = self.heard();
        // Should another thread have asked for the same, it has noted it down.
        if heard.seen == behind && heard.over.is_none() {
            heard.seen += u64::from(count);
            heard.outcomes.append(&mut outcomes);
            heard.over = over;
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.heard().over.is_some()
    }

    /// Ends it. False: it was over.
    pub(super) fn cancel(&self) -> Result<bool, ManagerError> {
        self.proxy
            .ask(Op::JobCancel, |_| Ok(()), |mut fields| Ok(told(fields.u8())? != 0))
    }

    /// What became of an item.
    pub(super) fn open<R: DeserializeOwned>(&self, outcome: &Outcome) -> Result<R, Error<C>> {
        match &outcome.said {
            Ok(result) => Ok(self.proxy.within(|| C::decode(result))?),
            Err(error) => Err(PoolError::Task(Box::new(C::decode(error)?))),
        }
    }
}

impl Outcome {
    pub(super) fn is_done(&self) -> bool {
        self.said.is_ok()
    }
}
