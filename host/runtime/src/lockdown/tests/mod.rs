//! Each test forks a child, locks it down, and looks at what the child can still do.

mod compromised;
mod engine;
mod files;
pub(crate) mod forked;
mod standing;
mod walls;

use std::os::fd::BorrowedFd;

use super::{Dir, Files, Filter, Profile, Role, lock_down};
use crate::sandbox::Sandbox;

/// Memory that the children of these tests may use.
const MAX_MEMORY: u64 = 64 << 20;

/// Locks the calling child down; it keeps `keep` and the directories.
pub(crate) fn lock_down_as(role: Role, keep: &[BorrowedFd<'_>], dirs: &[Dir<'_>]) {
    let files = Files::of(dirs.iter().map(|dir| dir.writable));
    let filter = Filter::compile(role, files);
    let profile = Profile {
        role,
        level: Sandbox::BestEffort,
        keep,
        control: None,
        images: &[],
        dirs,
        max_memory: MAX_MEMORY,
        filter: &filter,
    };
    lock_down(&profile).expect("the lockdown succeeds");
}
