//! What a freshly forked process takes away from itself before it runs anything a guest brought along.
//!
//! The wasm sandbox is the first wall around a task, this is the second. [`lock_down`] assumes that the first one has
//! fallen, that is, that a guest executes native code of its choosing in this process, and leaves it with no
//! descriptor, file, network, process, executable memory or privilege it was not handed.
//!
//! ```text
//! fork → fds → session → oom score, limits → privileges → Landlock → fds again, name → seccomp → guest
//!        close  setsid,    /proc is still  capabilities,   needs        what came    last: every step
//!        the    signals    reachable       no_new_privs    no_new_privs meanwhile    above needs system
//!        rest                                                                        calls it forbids
//! ```
//!
//! Each wall stands alone: seccomp denies `openat` without a directory grant, and Landlock would deny the file anyway.
//! What the running kernel lacks is skipped (Landlock, `PR_SET_MDWE`); seccomp and `no_new_privs` are not negotiable.
//!
//! Namespaces are left out. A keeper that enters those of users, network, IPC and mounts takes 0.2 to 0.8 ms for it, most of
//! that for the network, and now and then 5 ms, of some 1 ms in which a first pool has its first result. With one of processes, the
//! numbers by which host, keeper and workers know each other were no longer the same ones; with one of users, the files of all
//! others in a granted directory would be nobody's. All they hide is behind calls that the filter denies.
//!
//! The process must have one thread: Landlock and seccomp bind the calling thread and those it starts later.

mod fds;
mod landlock;
mod limits;
mod privileges;
mod seccomp;
mod session;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use crate::sandbox::Sandbox;

pub(crate) use fds::opened_by;
pub(crate) use seccomp::{Files, Filter};

/// What the process is for; decides how much of the kernel it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs guests: one thread, no executable memory.
    Worker,
    /// Turns wasm into machine code: may start threads, and writes the code without ever being able to execute it
    /// (`Engine::precompile_module`, not `Module::new`).
    Compiler,
}

/// A directory the guest was granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dir<'a> {
    /// The directory itself; `O_PATH` is enough. After the lockdown it can be opened through `/proc/self/fd/N`.
    pub(crate) fd: BorrowedFd<'a>,
    /// Whether files beneath it may be created, changed and removed.
    pub(crate) writable: bool,
}

/// All that a process keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile<'a> {
    pub(crate) role: Role,
    /// How much of the following there is to be.
    pub(crate) level: Sandbox,
    /// Descriptors that stay open, besides those of `control`, `dirs` and `images`.
    pub(crate) keep: &'a [BorrowedFd<'a>],
    /// The socket through which a worker asks its host for objects.
    pub(crate) control: Option<BorrowedFd<'a>>,
    /// The descriptors that wasmtime maps memory images from, as found by [`opened_by`].
    pub(crate) images: &'a [RawFd],
    /// The directory grants.
    pub(crate) dirs: &'a [Dir<'a>],
    /// Bytes of private memory a guest's instance (or the compilation) may use.
    pub(crate) max_memory: u64,
    /// The system calls, compiled for this role before the fork.
    pub(crate) filter: &'a Filter,
}

/// Takes away from this process what all that will be forked from it are not to have either, so that it need not be done in
/// each of them. It still opens files, and starts processes.
pub(crate) fn prepare(level: Sandbox) -> Result<(), LockdownError> {
    limits::volunteer_for_oom_kill();
    if level == Sandbox::Off {
        return Ok(());
    }
    privileges::drop_capabilities().map_err(LockdownError::Privileges)
}

/// Applies `profile` to the calling process, for good.
///
/// Descriptors that are not kept are closed under whatever owned them, hence: call it once, in a forked child that
/// uses nothing of its parent but what the profile names, and end the child if it fails.
pub(crate) fn lock_down(profile: &Profile<'_>) -> Result<(), LockdownError> {
    confine(profile)?;
    seal(profile)
}

/// All but the last step, for a process that does not know yet what it will be given: it keeps what `profile` names for now,
/// and can still receive descriptors, and use those.
pub(crate) fn confine(profile: &Profile<'_>) -> Result<(), LockdownError> {
    fds::silence_stdio(&profile.kept()).map_err(LockdownError::Fds)?;
    fds::keep_only(&profile.kept()).map_err(LockdownError::Fds)?;
    session::detach().map_err(LockdownError::Session)?;
    limits::volunteer_for_oom_kill();
    // Whose descriptors are whose, and who gets which signal, is no wall: without that a pool does not work.
    if profile.level == Sandbox::Off {
        return Ok(());
    }
    limits::apply(
        profile.role,
        profile.max_memory,
        profile.dirs.iter().any(|dir| dir.writable),
    )
    .map_err(LockdownError::Limits)?;
    privileges::renounce().map_err(LockdownError::Privileges)?;
    let status = landlock::restrict(profile.dirs).map_err(|error| LockdownError::Landlock(Box::new(error)))?;
    match (profile.level, status.ruleset) {
        (Sandbox::Strict, ::landlock::RulesetStatus::NotEnforced) => Err(LockdownError::NoLandlock),
        _ => Ok(()),
    }
}

/// The last step of a process that is [confined](confine). What it has received meanwhile and does not keep is closed, too.
pub(crate) fn seal(profile: &Profile<'_>) -> Result<(), LockdownError> {
    fds::keep_only(&profile.kept()).map_err(LockdownError::Fds)?;
    session::name(profile.role);
    if profile.level == Sandbox::Off {
        return Ok(());
    }
    profile.filter.apply(profile.control).map_err(LockdownError::Seccomp)
}

impl Profile<'_> {
    /// The numbers of the descriptors that stay open.
    fn kept(&self) -> BTreeSet<RawFd> {
        let named = self
            .keep
            .iter()
            .copied()
            .chain(self.control)
            .chain(self.dirs.iter().map(|dir| dir.fd));
        named
            .map(|fd| fd.as_raw_fd())
            .chain(self.images.iter().copied())
            .collect()
    }
}

/// The step of [`lock_down`] that failed, and why.
#[derive(Debug)]
pub(crate) enum LockdownError {
    /// Closing descriptors.
    Fds(io::Error),
    /// A session of its own.
    Session(io::Error),
    /// Resource limits.
    Limits(io::Error),
    /// Capabilities and `no_new_privs`.
    Privileges(io::Error),
    /// The Landlock domain.
    Landlock(Box<::landlock::RulesetError>),
    /// There is no Landlock, and there has to be.
    NoLandlock,
    /// The system call filter.
    Seccomp(seccompiler::Error),
}

impl fmt::Display for LockdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fds(error) => write!(f, "cannot close inherited descriptors: {error}"),
            Self::Session(error) => write!(f, "cannot leave the session: {error}"),
            Self::Limits(error) => write!(f, "cannot set resource limits: {error}"),
            Self::Privileges(error) => write!(f, "cannot drop privileges: {error}"),
            Self::Landlock(error) => write!(f, "cannot enter a Landlock domain: {error}"),
            Self::NoLandlock => f.write_str("this kernel has no Landlock, and the sandbox is strict"),
            Self::Seccomp(error) => write!(f, "cannot install the system call filter: {error}"),
        }
    }
}

impl std::error::Error for LockdownError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Fds(error) | Self::Session(error) | Self::Limits(error) | Self::Privileges(error) => Some(error),
            Self::Landlock(error) => Some(error),
            Self::NoLandlock => None,
            Self::Seccomp(error) => Some(error),
        }
    }
}
