//! A control group (cgroup v2) for the workers of a pool, with a limit on the memory that all of them have together.
//!
//! The host says where and how much. The keeper makes the group, has the zygote be born in it, whose workers stay there,
//! and removes it when nobody is left in it: so it is gone with its pool, also when the host was killed.
//!
//! A group can have such groups in it only if it has no processes of its own. So those are made beside the group of the host,
//! where the system has left the group around it to this user (as systemd does with `Delegate=yes` and `DelegateSubgroup=`), or
//! in that of the host where it is the topmost one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

/// What the groups in a group can limit is switched on here.
const SWITCH: &str = "cgroup.subtree_control";

/// So many names are tried of groups that somebody may have left behind and others are still in.
const MAX_LEFT_BEHIND: usize = 100;

/// A group that is to be made.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    folder: PathBuf,
    /// Bytes that all processes in it may have together.
    max_memory: u64,
}

impl Group {
    /// One that nobody else has, where this process may make some.
    pub(crate) fn new(max_memory: u64) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let around = delegated()?;
        if !lists_memory(&around, SWITCH) {
            fs::write(around.join(SWITCH), "+memory").ok()?;
        }
        let name = || format!("wasmp-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // A keeper that was killed has left its group, and its host may have had the number of this one.
        let mut folders = std::iter::repeat_with(|| around.join(name())).take(MAX_LEFT_BEHIND);
        let folder = folders.find(|folder| remove(folder))?;
        // It is beside that of the host, whose limit is to hold for the workers in any case.
        let limit = own().and_then(|own| limit(&own));
        let max_memory = limit.map_or(max_memory, |limit| limit.min(max_memory));
        Some(Self { folder, max_memory })
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes it, if it is not there, and calls `fork` from within it: the child stays, this process comes back.
    pub(super) fn around(&self, fork: impl FnOnce() -> io::Result<u32>) -> io::Result<u32> {
        let home = own().ok_or(io::ErrorKind::Unsupported)?;
        self.make()?;
        enter(&self.folder)?;
        let forked = fork();
        if !matches!(forked, Ok(0)) {
            enter(&home)?;
        }
        forked
    }

    fn make(&self) -> io::Result<()> {
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            made => made?,
        }
        // Memory that is swapped out is used, too. Not every system counts it.
        let _ = fs::write(self.folder.join("memory.swap.max"), "0");
        fs::write(self.folder.join("memory.max"), self.max_memory.to_string()).inspect_err(|_| {
            remove(&self.folder);
        })
    }
}

/// Removes a group if nobody is in it. True: it is gone.
pub(super) fn remove(folder: &Path) -> bool {
    match fs::remove_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn enter(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), "0")
}

/// The group in which this process may make others that limit memory, if there is one.
pub(crate) fn delegated() -> Option<PathBuf> {
    let (mount, own) = (mount()?, own()?);
    // Whoever has been in another one comes back.
    let may_return = access(own.join("cgroup.procs"), Access::WRITE_OK).is_ok();
    let around = match own == mount {
        true => own,
        false => own.parent()?.to_owned(),
    };
    (may_return && may_divide(&around)).then_some(around)
}

/// The memory that the processes in a group may have together, if that is limited.
fn limit(folder: &Path) -> Option<u64> {
    let limit = fs::read_to_string(folder.join("memory.max")).ok()?;
    limit.trim().parse().ok()
}

/// Whether there can be groups in this one, and they can limit memory. Changes nothing.
fn may_divide(folder: &Path) -> bool {
    let writable = |file: &str| access(folder.join(file), Access::WRITE_OK).is_ok();
    // Only the topmost of all has no type, and may have processes and groups in it.
    let may_switch = || {
        let members = fs::read_to_string(folder.join("cgroup.procs"));
        writable(SWITCH)
            && (!folder.join("cgroup.type").exists() || members.is_ok_and(|members| members.trim().is_empty()))
    };
    lists_memory(folder, "cgroup.controllers")
        && writable("")
        && writable("cgroup.procs")
        && (lists_memory(folder, SWITCH) || may_switch())
}

fn lists_memory(folder: &Path, file: &str) -> bool {
    let listed = fs::read_to_string(folder.join(file)).unwrap_or_default();
    listed.split_whitespace().any(|controller| controller == "memory")
}

/// Where groups of version 2 are.
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (folder, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(folder))
    })
}

/// That of this process.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Without a slash at the end: `join` would add one for the topmost.
    let mount = mount()?;
    Some(if group.is_empty() { mount } else { mount.join(group) })
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "a test that cannot run here has to say so")]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    /// A group without a limit, where this process may make one at all.
    fn unlimited(name: &str) -> Option<PathBuf> {
        let folder = own()?.join(format!("wasmp-test-{}-{name}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        Some(folder)
    }

    #[test]
    fn a_child_is_born_in_the_group_and_its_parent_comes_back() {
        let Some(folder) = unlimited("born") else {
            eprintln!("cannot run here: this process may not make control groups");
            return;
        };
        let home = own().expect("a group");
        let group = Group {
            folder: folder.clone(),
            max_memory: 0,
        };
        let (gate, release) = io::pipe().expect("a pipe");
        let child = group.around(|| {
            // SAFETY: the child makes three system calls, and ends.
            match unsafe { libc::fork() } {
                // SAFETY: plain system calls, on descriptors that are open and a byte of this stack.
                0 => unsafe {
                    libc::close(release.as_raw_fd());
                    let mut byte = 0_u8;
                    libc::read(gate.as_raw_fd(), (&raw mut byte).cast(), 1);
                    libc::_exit(0)
                },
                child => Ok(child.cast_unsigned()),
            }
        });
        let child = child.expect("a child");
        assert_eq!(own().as_ref(), Some(&home));
        let members = fs::read_to_string(folder.join("cgroup.procs")).expect("a list");
        assert_eq!(members.trim(), child.to_string());
        assert!(!remove(&folder), "somebody is in it");
        assert!(folder.exists());
        drop(gate);
        drop(release);
        // SAFETY: a child of this process that nobody else waits for.
        let ended = unsafe { libc::waitpid(child.cast_signed(), std::ptr::null_mut(), 0) };
        assert_eq!(ended, child.cast_signed());
        assert!(remove(&folder));
        assert!(!folder.exists() && remove(&folder));
    }

    #[test]
    fn a_group_is_divided_only_by_who_may_and_where_memory_can_be_limited() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).expect("written");
        assert!(!may_divide(folder.path()));
        write("cgroup.controllers", "cpu io pids\n");
        write("cgroup.procs", "");
        write("cgroup.subtree_control", "");
        assert!(!may_divide(folder.path()), "no memory");
        write("cgroup.controllers", "cpu io memory pids\n");
        assert!(may_divide(folder.path()), "the topmost");
        write("cgroup.type", "domain\n");
        assert!(may_divide(folder.path()));
        write("cgroup.procs", "7\n");
        assert!(!may_divide(folder.path()), "it has processes of its own");
        write("cgroup.subtree_control", "cpu memory\n");
        assert!(may_divide(folder.path()), "and is divided all the same");
        fs::remove_file(folder.path().join("cgroup.procs")).expect("removed");
        assert!(!may_divide(folder.path()), "nobody can be put there");
    }

    #[test]
    fn a_group_has_its_limit_from_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let group = Group {
            folder: folder.path().join("group"),
            max_memory: 64 << 20,
        };
        group.make().expect("made");
        let limit = fs::read_to_string(group.folder().join("memory.max"));
        assert_eq!(limit.expect("a file"), (64 << 20).to_string());
        assert_eq!(super::limit(group.folder()), Some(64 << 20));
        group.make().expect("it is there");
    }
}
