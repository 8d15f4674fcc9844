//! Managers: processes that hold values for others (CPython: `multiprocessing.managers`).
//!
//! ```text
//! client ── a pipe of its own ──► server process ── Store
//!    └─ asks the host to be let in ──► Reception ── the pipe's other end, through the door ──► server process
//! ```
//!
//! * The [server](crate::worker) is a process as locked down as any worker, with native code instead of a guest, but for
//!   objects of the module's own [types](custom), each of which is an instance. It holds the values in its own memory, and serves
//!   one request after the other, so that each is one step. When it is killed, or out of memory, every client is told so.
//! * A client, a guest or a thread of the host, has a pipe to it that nobody else has. The host makes it, and passes its
//!   other end through the door, the one pipe into which only the host writes: see [`reception`].
//! * The [`store`] knows neither processes nor pipes: a request goes in, an answer comes out, and later those of others who have
//!   waited. It believes nothing of what it reads. Locks, queues and the like are in [`sync`].
//!
//! Each read is a request. A table in memory that only the server can write, and from which clients read by themselves, is left
//! out: a server that is being asked all the time answers a `get` in 0.5 µs (2 million a second, one guest, a quiet machine with
//! two CPUs), and to copy from such a table takes 0.05 to 0.2 µs, for flat values alone, while each write would be done twice and
//! waited for. Who reads much asks for many keys at a time, or for all; who shares numbers has [`Array`](crate::Array).
//!
//! What they say to each other is [`wasmp_manager::protocol`]; what users hold of it are the proxies of that crate.

mod client;
mod custom;
mod line;
mod list;
mod map;
mod number;
mod pool;
pub(crate) mod reception;
mod remote;
mod snapshot;
mod store;
mod sync;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::client::{Counter, Dict, List, Manager, ManagerBuilder, Namespace, Object, Set, managed};
pub(crate) use self::custom::{Instance, Order, Refusal, Returned, Types};
pub use self::line::Line;
pub(crate) use self::pool::{Resizing, Wish};
pub(crate) use self::reception::Reception;
pub use self::remote::{Address, Listener, ManagerServer, PeerError};
#[cfg(feature = "tls")]
pub use self::remote::{TlsClient, TlsServer};
pub(crate) use self::store::{Caller, Served, Store, refuse};
use crate::objects::message::TokenBytes;

/// Most clients of one manager: it waits for all of them at once.
const MAX_CLIENTS: usize = 100;

/// How much a manager may hold, unless it is told otherwise.
pub(crate) const DEFAULT_MAX_BYTES: u64 = 256 << 20;

/// How long a method of a type may take, unless the manager is told otherwise.
pub(crate) const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What a manager is told when it is started.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Settings {
    /// Most bytes of values, and what it takes to keep them.
    pub(crate) max_bytes: u64,
    /// How long a method of a type may take: longer, and the manager is killed.
    pub(crate) call_timeout: Duration,
    /// Its module is one that somebody has written, and pools can run its tasks.
    pub(crate) has_module: bool,
    /// How many processes a pool has of which nobody says it: the server cannot ask how many CPUs there are.
    pub(crate) cpus: u32,
}

/// What a manager is called with: the door, and how it is set up.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Call {
    pub(crate) door: TokenBytes,
    pub(crate) settings: Settings,
}

/// What comes through the door: the end of a client's pipe, and whose it is.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Knock {
    pub(crate) token: TokenBytes,
    pub(crate) client: u32,
}

#[cfg(test)]
mod tests;
