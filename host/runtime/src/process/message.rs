//! What host, keeper, zygotes and the compiler say to each other over their control sockets: one CBOR value a message,
//! file descriptors beside it.
//!
//! All of them are this crate at this version (the keeper's greeting proves it), so the messages are not versioned.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::group::Group;
use crate::engine::EngineOptions;
use crate::identity::Identity;

/// Largest message; whatever may be larger travels in a memfd.
pub(crate) const MAX_MESSAGE: usize = 16 * 1024;

/// Host to keeper. Each comes with the socket of the process to be started.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum ToKeeper {
    /// Start a zygote, in a control group if one is given.
    Zygote { group: Option<Group> },
    /// Start a compiler.
    Compiler,
}

/// Keeper to host.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum FromKeeper {
    /// The first message: who this is. `nonce` repeats what the host put in the environment.
    Hello {
        version: String,
        nonce: String,
        threads: u32,
    },
    /// A process that the keeper is the parent of has ended: a zygote, a compiler, or a worker whose zygote is dead.
    Exited { pid: u32, status: Status },
    /// A process could not be started.
    Failed { why: String },
}

/// Host to zygote.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum ToZygote {
    /// The first message. Descriptors: the `Spec` in a memfd of `spec_len` bytes, then one for each granted directory.
    /// `once`: there will be one worker, and no other.
    Prepare { spec_len: u64, once: bool },
    /// The second message. Descriptor: the compiled module. It comes by itself so that a zygote can start while the module is
    /// still being compiled or verified.
    Load,
    /// Start a worker.
    Fork(Order),
    /// The worker with this process id does not stand by any more: it has been given an order, or could not be.
    Taken { pid: u32 },
}

/// An order to start a worker. Descriptors: ring memory, doorbell, control socket, lifeline; then, as far as the order speaks of
/// them, a pipe for the guest's stdin, the initializer and what the worker is a copy of, both in memfds.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Order {
    /// Names the worker among all that this host ever starts.
    pub(crate) birth: u64,
    pub(crate) slot: u32,
    pub(crate) stdin: bool,
    /// How many bytes it has.
    pub(crate) initializer: Option<u64>,
    /// How many bytes it has.
    pub(crate) snapshot: Option<u64>,
    pub(crate) identity: Identity,
}

/// Zygote to host.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum FromZygote {
    /// The module is loaded and linked.
    Ready,
    /// The module cannot be loaded; the zygote ends.
    Unusable { why: String },
    /// A worker stands by for a [`Fork`](ToZygote::Fork). Descriptors: its pidfd, and where to send that.
    StandsBy { pid: u32 },
    /// A worker runs. Descriptor: its pidfd.
    Forked { birth: u64, pid: u32 },
    /// A worker could not be started.
    NotForked { birth: u64, why: String },
    /// A worker has ended.
    Exited { pid: u32, status: Status },
}

/// Host to compiler. Descriptors: the wasm, and the file for the compiled code, both memfds.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct CompileRequest {
    pub(crate) wasm_len: u64,
    pub(crate) memory_limit: u64,
    pub(crate) options: EngineOptions,
}

/// Compiler to host.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum CompileReply {
    /// The file holds the compiled code.
    Compiled,
    /// The module was refused, and this is why.
    Refused { why: String },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) enum Status {
    Exited(i32),
    Signaled(i32),
}

impl Status {
    /// From what `waitpid` stored.
    pub(crate) fn from_wait(raw: libc::c_int) -> Self {
        if libc::WIFSIGNALED(raw) {
            Self::Signaled(libc::WTERMSIG(raw))
        } else {
            Self::Exited(libc::WEXITSTATUS(raw))
        }
    }
}

/// The message as bytes.
pub(crate) fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    ciborium::into_writer(message, &mut bytes).expect("plain data into a Vec cannot fail");
    bytes
}

/// The message in these bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    ciborium::from_reader(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("garbled control message: {error}")))
}
