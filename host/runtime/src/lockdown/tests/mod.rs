//! Each test forks a child, locks it down, and looks at what the child can still do.

mod engine;
mod files;
pub(crate) mod forked;
mod standing;
mod walls;

use std::os::fd::BorrowedFd;

use super::{Dir, Filter, Profile, Role, lock_down};

/// Memory that the children of these tests may use.
const MAX_MEMORY: u64 = 64 << 20;

/// Locks the calling child down; it keeps `keep` and the directories.
pub(crate) fn lock_down_as(role: Role, keep: &[BorrowedFd<'_>], dirs: &[Dir<'_>]) {
    let filter = Filter::compile(role, !dirs.is_empty()).expect("the filter compiles");
    let profile = Profile {
        role,
        keep,
        control: None,
        images: &[],
        dirs,
        max_memory: MAX_MEMORY,
        filter: &filter,
    };
    lock_down(&profile).expect("the lockdown succeeds");
}
