//! Managers on the other side of a socket.
//!
//! ```text
//! client ── pipe ── relay ══ TCP or Unix socket ══ relay ── pipe ── server process
//!                   dial                           listen
//! ```
//!
//! On both sides the socket ends in the host, in a [`relay`] between it and a pipe: clients and server know nothing of it. The
//! two hosts [prove](auth) to each other that they have the same key before anything else is said, by [TLS](tls) if both were
//! told so; what comes after that is [frames](frame) of a limited length. Who sends anything else loses the connection, and nobody else anything. Programs that
//! want no manager between them [listen and connect](peers) in the same way.

mod address;
mod auth;
mod dial;
mod frame;
mod listen;
mod peers;
mod relay;
mod stream;
#[cfg(test)]
mod tests;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;

pub use self::address::Address;
pub(super) use self::dial::{Remote, connect};
pub use self::listen::ManagerServer;
pub use self::peers::{Listener, PeerError};
#[cfg(feature = "tls")]
pub use self::tls::{TlsClient, TlsServer};
