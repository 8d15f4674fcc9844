//! The frames of a pool that a guest has made: orders of the worker that owns it, and news from the host.
//!
//! Both go through a pair of rings like that of a worker, with the parts reversed. A frame is a head and a body; a body
//! that is longer than a record goes on in records of kind `MORE`, with nothing in between. What an owner writes is as
//! little believed as what a worker replies.

use std::io;

use serde::{Deserialize, Serialize};
use wasmp_ipc::ring::{Consumer, Corrupt, Producer};

use super::{u32_at, u64_at};
use crate::outcome::{End, Failure};
use crate::process::message::decode;
use crate::retry::Retry;

/// Bytes that an order may have, however short the messages of guests have to be: the name of a task is in some.
pub(crate) const LEAST_ORDER: usize = 4096;

/// The first record of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    /// Whether records with more of the body follow.
    more: bool,
    /// Which job of this pool, as its owner numbers them.
    pub(crate) job: u32,
    pub(crate) number: u64,
}

/// What an owner orders.
pub(crate) mod order {
    /// The first: the pool may begin. Body: an `Option` of [`Prepare`](super::Prepare).
    pub(crate) const START: u8 = 1;
    /// A new job. Body: [`JobOptions`](super::JobOptions).
    pub(crate) const JOB: u8 = 2;
    /// `number` items of a job. Body: each its length, then its arguments.
    pub(crate) const ITEMS: u8 = 3;
    /// No more items for this job.
    pub(crate) const SEAL: u8 = 4;
    /// The owner does not want this job any more.
    pub(crate) const CANCEL: u8 = 5;
    /// No more jobs; finish those that there are.
    pub(crate) const CLOSE: u8 = 6;
    /// End everything.
    pub(crate) const TERMINATE: u8 = 7;
    /// To a process: a signal, `number`.
    pub(crate) const SIGNAL: u8 = 8;
}

/// What the host has to say.
pub(crate) mod news {
    /// Item `number` of a job has a result. Body: its CBOR.
    pub(crate) const DONE: u8 = 1;
    /// Item `number` of a job failed. Body: a `Failure`.
    pub(crate) const FAILED: u8 = 2;
    /// Every item of the job has had its outcome.
    pub(crate) const COMPLETE: u8 = 3;
    /// The job ended before that. Body: an `End`.
    pub(crate) const ENDED: u8 = 4;
    /// The pool is over, and none of its processes is left. Body: why it gave up, a text; empty if it did not. Of a process: it
    /// has ended, and `number` is how, an `i32`: its exit code, or below zero the signal.
    pub(crate) const GONE: u8 = 5;
    /// The process runs, with the id `number`.
    pub(crate) const STARTED: u8 = 6;
}

/// What has become of an item, or of a job.
#[derive(Debug)]
pub(crate) enum News {
    Done { index: u64, result: Vec<u8> },
    Failed { index: u64, failure: Box<Failure> },
    Complete,
    Ended(End),
}

impl News {
    /// Whether it is the last of its job.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self, Self::Complete | Self::Ended(_))
    }
}

/// What a frame from the host says.
#[derive(Debug)]
pub(crate) enum Word {
    /// Of a job.
    Of(u32, News),
    /// None of its processes is left; of a process: how it ended, and of a pool that gave up: why.
    Gone(i32, String),
    /// The process runs, with this id.
    Started(u32),
}

impl Word {
    pub(crate) fn read(head: Head, body: Vec<u8>) -> io::Result<Self> {
        let index = head.number;
        let news = match head.kind {
            news::GONE => {
                let why = String::from_utf8_lossy(&body).into_owned();
                return Ok(Self::Gone((head.number as u32).cast_signed(), why));
            }
            news::STARTED => return Ok(Self::Started(head.number as u32)),
            news::DONE => News::Done { index, result: body },
            news::FAILED => News::Failed {
                index,
                failure: Box::new(decode(&body)?),
            },
            news::COMPLETE => News::Complete,
            news::ENDED => News::Ended(decode(&body)?),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "news out of turn")),
        };
        Ok(Self::Of(head.job, news))
    }
}

/// The kind of a record that goes on with the body of the one before.
const MORE: u8 = 15;

/// What the workers of a guest's pool are prepared with.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Prepare {
    pub(crate) task: String,
    #[serde(with = "serde_bytes")]
    pub(crate) args: Vec<u8>,
}

/// What a job is told once.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct JobOptions {
    pub(crate) task: String,
    /// Items for one call of the guest; 0: the pool's choice.
    pub(crate) chunk: u32,
    /// Nanoseconds that an item may take; 0: any time.
    pub(crate) timeout: u64,
    #[serde(with = "crate::retry::parts")]
    pub(crate) retry: Retry,
}

impl Head {
    const LEN: usize = 16;

    pub(crate) fn new(kind: u8, job: u32, number: u64) -> Self {
        Self {
            kind,
            more: false,
            job,
            number,
        }
    }

    fn bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = self.kind;
        bytes[1] = u8::from(self.more);
        bytes[4..8].copy_from_slice(&self.job.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            kind: *bytes.first()?,
            more: match *bytes.get(1)? {
                0 => false,
                1 => true,
                _ => return None,
            },
            job: u32_at(bytes, 4)?,
            number: u64_at(bytes, 8)?,
        })
    }
}

/// A frame that is being written, as there is room for it.
#[derive(Debug)]
pub(crate) struct Writing<'b> {
    head: Head,
    rest: &'b [u8],
    /// The next record is not the first.
    begun: bool,
    whole: bool,
}

impl<'b> Writing<'b> {
    pub(crate) fn new(head: Head, body: &'b [u8]) -> Self {
        Self {
            head,
            rest: body,
            begun: false,
            whole: false,
        }
    }

    /// Goes on with one of which `written` bytes have been written in records before.
    pub(crate) fn resume(head: Head, body: &'b [u8], written: usize) -> Self {
        Self {
            begun: written > 0,
            rest: &body[written..],
            ..Self::new(head, body)
        }
    }

    /// Bytes of the body that are not written yet.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Writes what there is room for. True: that was all of it. They are visible when they are published.
    pub(crate) fn write(&mut self, ring: &mut Producer) -> Result<bool, Corrupt> {
        while !self.whole {
            let most = ring.max_record() - Head::LEN;
            let (part, rest) = self.rest.split_at(self.rest.len().min(most));
            let head = Head {
                kind: if self.begun { MORE } else { self.head.kind },
                more: !rest.is_empty(),
                ..self.head
            };
            if ring.try_write(&[&head.bytes(), part])?.is_none() {
                return Ok(false);
            }
            self.begun = true;
            self.whole = rest.is_empty();
            self.rest = rest;
        }
        Ok(true)
    }
}

/// Puts frames together that come in several records.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    partial: Option<(Head, Vec<u8>)>,
}

/// Why there is no frame.
#[derive(Debug)]
pub(crate) enum Garbled {
    Ring(Corrupt),
    Frame(&'static str),
}

impl From<Corrupt> for Garbled {
    fn from(corrupt: Corrupt) -> Self {
        Self::Ring(corrupt)
    }
}

impl std::fmt::Display for Garbled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ring(corrupt) => corrupt.fmt(f),
            Self::Frame(why) => f.write_str(why),
        }
    }
}

impl Reader {
    /// The next frame that is there as a whole, with a body of at most `most` bytes.
    pub(crate) fn next(&mut self, ring: &mut Consumer, most: usize) -> Result<Option<(Head, Vec<u8>)>, Garbled> {
        while let Some(record) = ring.peek()? {
            let mut head = [0; Head::LEN];
            ring.read(0, &mut head)?;
            let head = Head::parse(&head).ok_or(Garbled::Frame("a frame that makes no sense"))?;
            let len = record.len() - Head::LEN;
            let (first, mut body) = match (self.partial.take(), head.kind) {
                (Some(partial), MORE) => partial,
                (None, kind) if kind != MORE => (head, Vec::new()),
                _ => return Err(Garbled::Frame("a part of a frame out of turn")),
            };
            if body.len() + len > most {
                return Err(Garbled::Frame("a frame larger than a message may be"));
            }
            let start = body.len();
            body.resize(start + len, 0);
            ring.read(Head::LEN, &mut body[start..])?;
            ring.advance();
            if head.more {
                self.partial = Some((first, body));
            } else {
                return Ok(Some((first, body)));
            }
        }
        Ok(None)
    }
}
