//! A call on a pool: what is to be done, and what has come of it.

use std::collections::VecDeque;
use std::sync::Arc;

use wasmp_abi::ErrorKind;
use wasmp_manager::protocol::{
    BROKEN, CANCELLED, COMPLETE, Id, MAX_MESSAGE, OPEN, OVERFULL, Policy, REFUSED, Status, Writer,
};

use crate::error::TaskError;
use crate::outcome::{End, task_error};
use crate::process::message::encode;
use crate::wire::pools::{JobOptions, News};

/// What an outcome takes beside its bytes.
const OUTCOME_BYTES: u64 = 64;

/// Bytes of outcomes behind which an answer has no more of them.
const ANSWER_BYTES: usize = 1 << 20;

/// Most bytes of a result: with what stands in front of it, it is an answer.
const MAX_RESULT: usize = MAX_MESSAGE - 256;

/// What is called.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) task: Box<str>,
    pub(super) chunk: u32,
    pub(super) policy: Policy,
}

#[derive(Debug)]
pub(super) struct Job {
    client: u32,
    /// By which the client knows it, while it does.
    object: Option<Id>,
    terms: Terms,
    /// The crew knows of it.
    begun: bool,
    /// There will be no more items.
    sealed: bool,
    /// Of those that are counted, as long as there may be.
    open: Option<Arc<()>>,
    /// Blocks that wait for the crew.
    waiting: usize,
    /// Blocks that the crew has: items without an outcome, and bytes. Which item an outcome is of does not matter here.
    at_work: VecDeque<(u64, u64)>,
    outcomes: VecDeque<Outcome>,
    /// How many outcomes were read, before those.
    read: u64,
    over: Option<Over>,
}

/// What has become of an item.
#[derive(Debug)]
struct Outcome {
    index: u64,
    /// The bytes are a result, and not a task error.
    done: bool,
    bytes: Vec<u8>,
}

impl Outcome {
    fn bytes(&self) -> u64 {
        OUTCOME_BYTES + self.bytes.len() as u64
    }
}

/// How a job is over.
#[derive(Debug)]
pub(super) enum Over {
    Complete,
    /// The CBOR of a task error.
    Cancelled(Vec<u8>),
    Refused(String),
    Broken(Arc<str>),
    Overfull,
}

impl Over {
    pub(super) fn of(end: &End, task: &str) -> Self {
        match end {
            End::Cancelled | End::Terminated => {
                let error = TaskError::new(ErrorKind::Cancelled, end.words().into(), task, 0);
                Self::Cancelled(encode(&error))
            }
            End::Refused(why) => Self::Refused(why.clone()),
            End::Broken(why) => Self::Broken(why.as_str().into()),
        }
    }

    fn write(&self, answer: &mut Writer<'_>) {
        let (code, words) = match self {
            Self::Complete => (COMPLETE, &[][..]),
            Self::Cancelled(error) => (CANCELLED, &error[..]),
            Self::Refused(why) => (REFUSED, why.as_bytes()),
            Self::Broken(why) => (BROKEN, why.as_bytes()),
            Self::Overfull => (OVERFULL, &[][..]),
        };
        answer.u8(code);
        answer.item(words);
    }
}

impl Job {
    pub(super) fn new(client: u32, object: Id, terms: Terms, open: Option<Arc<()>>) -> Self {
        Self {
            client,
            object: Some(object),
            terms,
            begun: false,
            sealed: false,
            open,
            waiting: 0,
            at_work: VecDeque::new(),
            outcomes: VecDeque::new(),
            read: 0,
            over: None,
        }
    }

    pub(super) fn client(&self) -> u32 {
        self.client
    }

    pub(super) fn task(&self) -> &str {
        &self.terms.task
    }

    pub(super) fn chunk(&self) -> u32 {
        self.terms.chunk
    }

    /// What the crew is told of it.
    pub(super) fn options(&self) -> JobOptions {
        let Terms { task, chunk, policy } = &self.terms;
        JobOptions {
            task: task.as_ref().into(),
            chunk: *chunk,
            timeout: policy.nanoseconds(),
            retry: policy.retry.unwrap_or_default(),
        }
    }

    pub(super) fn over(&self) -> Option<&Over> {
        self.over.as_ref()
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether anybody will ask what has come of it.
    pub(super) fn is_wanted(&self) -> bool {
        self.object.is_some()
    }

    pub(super) fn let_go(&mut self) {
        self.object = None;
    }

    /// The crew is told of it. False: it was before.
    pub(super) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    /// There are no more items. False: that was known.
    pub(super) fn seal(&mut self) -> bool {
        self.open = None;
        !std::mem::replace(&mut self.sealed, true)
    }

    /// A block of it waits for the crew.
    pub(super) fn block_waits(&mut self) {
        self.waiting += 1;
    }

    pub(super) fn block_leaves(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    pub(super) fn put_to_work(&mut self, items: u64, bytes: u64) {
        self.at_work.push_back((items, bytes));
    }

    /// One item has had its outcome. Returns the bytes that need not be counted any more.
    pub(super) fn one_less_at_work(&mut self) -> u64 {
        let Some((items, bytes)) = self.at_work.front_mut() else {
            return 0;
        };
        *items -= 1;
        let done = (*items == 0).then_some(*bytes);
        if done.is_some() {
            self.at_work.pop_front();
        }
        done.unwrap_or(0)
    }

    /// It is over. Returns what was at work: items and bytes.
    pub(super) fn end(&mut self, over: Over) -> (u64, u64) {
        self.over = Some(over);
        self.open = None;
        let at_work = std::mem::take(&mut self.at_work);
        at_work
            .into_iter()
            .fold((0, 0), |(items, bytes), (more, of)| (items + more, bytes + of))
    }

    /// Notes an outcome down. Returns what it counts.
    pub(super) fn note(&mut self, news: News) -> u64 {
        let failed = |index, error: &TaskError| Outcome {
            index,
            done: false,
            bytes: encode(error),
        };
        let task = &self.terms.task;
        let outcome = match news {
            News::Done { index, result } if result.len() > MAX_RESULT => {
                let why = format!(
                    "the result has {} bytes, and a manager passes on {MAX_RESULT}",
                    result.len()
                );
                failed(index, &TaskError::new(ErrorKind::TooLarge, why, task, index))
            }
            News::Done { index, result } => Outcome {
                index,
                done: true,
                bytes: result,
            },
            News::Failed { index, failure } => failed(index, &task_error(task, index, &failure)),
            News::Complete | News::Ended(_) => return 0,
        };
        let bytes = outcome.bytes();
        self.outcomes.push_back(outcome);
        bytes
    }

    pub(super) fn has_read_more_than(&self, seen: u64) -> bool {
        self.read > seen
    }

    /// The first so many outcomes were read. Returns what they counted.
    pub(super) fn forget_read(&mut self, seen: u64) -> Result<u64, Status> {
        let news = seen.saturating_sub(self.read);
        if news > self.outcomes.len() as u64 {
            return Err(Status::Malformed);
        }
        self.read += news;
        Ok(self
            .outcomes
            .drain(..news as usize)
            .map(|outcome| outcome.bytes())
            .sum())
    }

    /// Keeps no outcomes. Returns what they counted.
    pub(super) fn forget_all(&mut self) -> u64 {
        self.outcomes.drain(..).map(|outcome| outcome.bytes()).sum()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.outcomes.iter().map(Outcome::bytes).sum()
    }

    /// Whether there is an answer for somebody who wants all of it, or anything.
    pub(super) fn is_ready(&self, all: bool) -> bool {
        self.over.is_some() || (!all && !self.outcomes.is_empty())
    }

    /// Writes how it is over, and the outcomes that were not read.
    pub(super) fn write(&self, answer: &mut Writer<'_>) {
        let mut bytes = 0;
        let fit = |outcome: &&Outcome| {
            let fits = bytes == 0 || bytes + outcome.bytes.len() <= ANSWER_BYTES;
            bytes += outcome.bytes.len() + OUTCOME_BYTES as usize;
            fits
        };
        let some = self.outcomes.iter().take_while(fit).count();
        match self.over.as_ref().filter(|_| some == self.outcomes.len()) {
            Some(over) => over.write(answer),
            None => {
                answer.u8(OPEN);
                answer.item(&[]);
            }
        }
        answer.u32(some as u32);
        for outcome in self.outcomes.iter().take(some) {
            answer.u64(outcome.index);
            answer.u8(outcome.done.into());
            answer.item(&outcome.bytes);
        }
    }
}
