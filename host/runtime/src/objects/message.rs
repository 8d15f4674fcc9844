//! What a worker asks its host about objects and pools, and the answers: one CBOR value a message, over a socket that only these
//! two share.
//!
//! A request is answered before the next one is sent, except for [`Request::Close`] and
//! [`PoolRequest::Drop`], which have no answer. The worker is
//! not trusted: a request that makes no sense is refused, one that is none at all costs the worker its life.

use serde::{Deserialize, Serialize};

use super::object::Shape;
use crate::identity::StartMethod;

/// Largest message, either way.
pub(crate) const MAX_MESSAGE: usize = 1024;

/// Longest name of an object, in bytes.
pub(crate) const MAX_NAME: usize = 255;

/// Whether an object can have this name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0')
}

/// Bytes of a token.
pub(crate) type TokenBytes = [u8; wasmp_abi::TOKEN_LEN];

/// Worker to host: what it asks about objects.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Request {
    /// Create an object, with this name if there is one.
    New { shape: Shape, name: Option<String> },
    /// Open the object of this kind that has this token.
    Open { kind: u8, token: TokenBytes },
    /// Open the object of this kind that has this name.
    Find { kind: u8, name: String },
    /// The token was handed out: keep the object for whoever gets it.
    Keep { token: TokenBytes },
    /// Let nobody else open the object.
    Unlink { token: TokenBytes },
    /// This worker has given back its last handle to the object.
    Close { token: TokenBytes },
    /// The instance is gone: what it held, in whatever object, is free.
    Abandon,
}

/// Worker to host: what it asks about pools of its own.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum PoolRequest {
    /// Make a pool for this worker.
    New(NewPool),
    /// This pool has so many workers from now on.
    Resize { pool: u32, processes: u32 },
    /// Start a manager, and open a pipe to it.
    Manager {
        /// Most bytes that it may hold; 0: as many as managers may unless they are told otherwise.
        max_bytes: u64,
        /// Nanoseconds that a method of a type may take; 0 as before.
        call_timeout: u64,
    },
    /// Start a process. Its call comes as the first and only item of its only job.
    Start(NewProcess),
    /// What ends with this process of the worker's, or with the number 0 whoever started the worker.
    Sentinel { pool: u32 },
    /// The pool or process is not wanted any more.
    Drop { pool: u32 },
}

/// A pool that a worker asks for.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct NewPool {
    /// How many workers it has; 0: one for each CPU.
    pub(crate) processes: u32,
    /// After how many tasks one of them is replaced; 0: never.
    pub(crate) max_tasks: u32,
    /// Nanoseconds that one may take to prepare; 0: any time.
    pub(crate) patience: u64,
    /// How they are started.
    pub(crate) method: StartMethod,
    /// How they log.
    pub(crate) log: u32,
}

/// A process that a worker asks for. What it does not say is as for others like it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct NewProcess {
    pub(crate) name: Option<String>,
    pub(crate) daemon: Option<bool>,
    pub(crate) method: Option<StartMethod>,
    /// Bytes of what it is to be a copy of, if it is.
    pub(crate) snapshot: Option<u64>,
    /// How it logs.
    pub(crate) log: u32,
}

/// Worker to host.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Ask {
    Object(Request),
    Pool(PoolRequest),
    /// To go on on another CPU than this one. There is no answer.
    AnotherCpu {
        not: u32,
    },
}

/// Host to worker.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Answer {
    /// The object's memory, as a descriptor beside the message, and what there is to know about it.
    Opened(Opened),
    /// The pool with this number, and beside the message its rings.
    Pool {
        pool: u32,
    },
    /// The process with this number, and beside the message its rings, and memory for what it is to be a copy of.
    Process {
        pool: u32,
        name: String,
        daemon: bool,
    },
    /// The receiving end of a pipe.
    Sentinel {
        token: TokenBytes,
    },
    Done,
    /// Not possible: the number of a [`wasmp_abi::Status`].
    Refused {
        status: u8,
    },
}

/// An object that was opened.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Opened {
    /// The worker's seat, in this object as in all others.
    pub(crate) seat: u16,
    pub(crate) kind: u8,
    /// How many bytes of memory there are.
    pub(crate) len: u64,
    /// Of shared memory: how many of them are the caller's to use.
    pub(crate) size: u64,
    /// The token, and for a pipe those of both ends.
    pub(crate) tokens: Vec<TokenBytes>,
    /// Which end of the pipe was asked for.
    pub(crate) end: u8,
    /// Of a pipe to a manager: the token of that.
    pub(crate) manager: Option<TokenBytes>,
}
