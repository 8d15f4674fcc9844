//! The processes behind a pool, and how they are started.
//!
//! ```text
//! host ── exec ──► keeper ── fork ──► zygote ── fork ──► worker …
//!                         └─ fork ──► compiler
//! ```
//!
//! The keeper is this program executed again ([`executable`]): a clean, single-threaded process without the host's
//! memory, that everything else is forked from. One zygote per module holds it mapped and linked, so that a worker
//! starts in well under a millisecond, and forks one ahead ([`spare`]). The [`launcher`] is the host's end of it; the other files run in the process
//! that they are named after.

pub(crate) mod compiler;
pub(crate) mod control;
pub(crate) mod executable;
pub(crate) mod group;
mod keeper;
pub(crate) mod launcher;
pub(crate) mod lifeline;
pub(crate) mod message;
mod reaper;
mod spare;
pub(crate) mod zygote;
