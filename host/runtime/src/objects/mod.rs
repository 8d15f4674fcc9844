//! Objects that processes share: who has which, and for how long.
//!
//! ```text
//! worker ── control socket: New, Open, Find, … ──► registry ── memfd, seat ──► worker maps it
//! ```
//!
//! Each object is one sealed memfd that the host creates; what happens in it is `wasmp_ipc`'s business. Here is what
//! surrounds it:
//!
//! * A [`Token`] stands for an object in messages. It cannot be guessed, so having it is the right to use the object.
//! * A worker that uses objects has a *seat*: its number in their memory ([`wasmp_ipc::Slot`]). It is given with the first
//!   object, and to another worker only after this one is dead and all that it had has been recovered.
//! * A [`Scope`] is a pool: what its workers create counts against its [`Quota`], and names are known in it alone.
//! * The [`registry`] knows them all. An object lives for as long as anybody refers to it: a handle of the host, a worker
//!   that has it open, arguments on their way, a message in an object, or a scope in which its token was handed out.
//!
//! [`Object`] is an object as one process sees it, opened; [`message`] is what a worker and its host say to each other.

pub(crate) mod message;
mod object;
pub(crate) mod registry;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use self::object::{DEFAULT_MAX_MESSAGE, Object, Shape};
pub(crate) use self::registry::{Entry, Quota, Scope};
pub(crate) use self::token::Token;
