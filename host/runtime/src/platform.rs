//! What this machine has for workers and for the wall around them.

use std::fs;
use std::path::Path;

use rustix::fs::{Access, MemfdFlags, SealFlags, access, fcntl_add_seals, memfd_create};
use rustix::process::{PidfdFlags, Resource, getpid, getrlimit, pidfd_open};

use crate::process::group;
use crate::spec::available_cpus;

/// First kernel that has all that is needed to be fast: `futex_waitv`.
const KERNEL: (u32, u32) = (5, 16);

/// First version of Landlock that keeps signals and abstract sockets inside.
const LANDLOCK_WITH_SCOPES: u32 = 6;

/// Open files below which a program with many shared objects gets into trouble.
const FEW_FILES: u64 = 4096;

/// What this machine has for workers and for the wall around them, as `wasmp doctor` prints it.
///
/// ```
/// use wasmp::Platform;
///
/// let platform = Platform::probe();
/// println!("Linux {}", platform.kernel);
/// for advice in platform.advice() {
///     println!("{advice}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Platform {
    /// The kernel's release, such as `6.18.5`.
    pub kernel: String,
    /// Whether processes can filter their system calls. Without it no worker starts.
    pub seccomp: bool,
    /// Version of the Landlock interface, which keeps workers within their directories; `None`: there is none.
    pub landlock: Option<u32>,
    /// Whether a process can forbid itself executable memory (`PR_SET_MDWE`). seccomp forbids it as well.
    pub memory_policy: bool,
    /// Whether processes can be held by descriptor. Needed.
    pub pidfd: bool,
    /// Whether one can wait for several words of memory at a time; without it waits are answered later.
    pub futex_waitv: bool,
    /// Whether memory files can be sealed against resizing. Needed.
    pub memfd_seals: bool,
    /// Whether an unprivileged process may make a user namespace. wasmp does not use them: what they hide, workers may not
    /// ask for.
    pub user_namespaces: bool,
    /// Whether this process may make control groups (cgroup v2) that limit memory: without them there is no
    /// [`max_total_memory`](crate::PoolBuilder::max_total_memory). Limits that you set on the group of the host hold for its
    /// workers, too; with that one, whose group is beside the host's, of those only that of memory, and for the workers by
    /// themselves.
    pub cgroup_delegated: bool,
    /// Whether processes can ask to be killed rather than others when memory runs out, as workers do.
    pub oom_score: bool,
    /// How many files this process may have open, and how many it may ask for; `None`: as many as it likes. A shared object
    /// takes one, a worker at most four.
    pub open_files: (Option<u64>, Option<u64>),
    /// CPUs that this process may use.
    pub cpus: usize,
}

impl Platform {
    /// Asks the system. It takes less than a millisecond, and starts no process.
    #[must_use]
    pub fn probe() -> Self {
        let files = getrlimit(Resource::Nofile);
        Self {
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
            seccomp: has_seccomp(),
            landlock: Self::landlock_abi(),
            memory_policy: has_memory_policy(),
            pidfd: pidfd_open(getpid(), PidfdFlags::empty()).is_ok(),
            futex_waitv: has_futex_waitv(),
            memfd_seals: has_memfd_seals(),
            user_namespaces: has_user_namespaces(),
            cgroup_delegated: group::delegated().is_some(),
            oom_score: access("/proc/self/oom_score_adj", Access::WRITE_OK).is_ok(),
            open_files: (files.current, files.maximum),
            cpus: available_cpus(),
        }
    }

    /// Whether pools can be built here, with [`Sandbox::BestEffort`](crate::Sandbox::BestEffort).
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.seccomp && self.pidfd && self.memfd_seals
    }

    /// What would be better, and how to get there: a sentence for each. Empty: nothing.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        let mut say = |wanting: bool, what: &str| {
            if wanting {
                advice.push(what.to_owned());
            }
        };
        say(
            !self.seccomp,
            "No worker can start: this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER), or whatever runs this \
             process forbids it to install them.",
        );
        say(
            !self.pidfd || !self.memfd_seals,
            "No worker can start: this kernel is too old, or a container hides parts of it.",
        );
        say(
            self.landlock.is_none(),
            "Without Landlock a guest that breaks out of WebAssembly is not kept within its directories: use Linux 5.13 \
             or later, with `landlock` in the boot parameter `lsm=`, or grant no directories.",
        );
        say(
            self.landlock.is_some_and(|abi| abi < LANDLOCK_WITH_SCOPES),
            "This Landlock is old; from Linux 6.12 on it also stops signals and abstract sockets, as seccomp does.",
        );
        say(
            version(&self.kernel).is_some_and(|version| version < KERNEL) || !self.futex_waitv,
            "Use Linux 5.16 or later: on this one, whoever waits for several things, or can be interrupted, is answered later.",
        );
        say(
            self.open_files.1.is_some_and(|most| most < FEW_FILES),
            "Few files may be open: raise the hard limit (`ulimit -Hn`) if programs run out of shared objects.",
        );
        advice
    }

    /// What [`Sandbox::Strict`](crate::Sandbox::Strict) lacks here.
    pub(crate) fn missing_for_strict(&self) -> Option<String> {
        let missing: Vec<&str> = [("seccomp filters", self.seccomp), ("Landlock", self.landlock.is_some())]
            .into_iter()
            .filter_map(|(wall, there)| (!there).then_some(wall))
            .collect();
        (!missing.is_empty()).then(|| missing.join(" and "))
    }

    /// Version of the Landlock interface, if it is there and switched on.
    pub(crate) fn landlock_abi() -> Option<u32> {
        const VERSION: libc::c_ulong = 1;
        // SAFETY: with this flag the kernel reads no attributes.
        let abi = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                std::ptr::null::<u8>(),
                0usize,
                VERSION,
            )
        };
        u32::try_from(abi).ok().filter(|abi| *abi > 0)
    }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn has_seccomp() -> bool {
    const GET_ACTION_AVAIL: libc::c_uint = 2;
    let action = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the kernel reads one word, which is there.
    unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

fn has_memory_policy() -> bool {
    let unused: libc::c_ulong = 0;
    // SAFETY: takes zeros.
    unsafe { libc::prctl(libc::PR_GET_MDWE, unused, unused, unused, unused) != -1 }
}

fn has_futex_waitv() -> bool {
    // SAFETY: no words to wait for, which the call refuses if it is there.
    unsafe { libc::syscall(libc::SYS_futex_waitv, std::ptr::null::<u8>(), 0, 0, 0, 0) };
    std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

fn has_memfd_seals() -> bool {
    let memory = memfd_create("wasmp-probe", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    memory.is_ok_and(|memory| fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).is_ok())
}

/// By what the system says of itself: trying takes a process.
fn has_user_namespaces() -> bool {
    let says = |path: &str, no: &str| read(path).is_some_and(|text| text == no);
    Path::new("/proc/self/ns/user").exists()
        && !says("/proc/sys/user/max_user_namespaces", "0")
        && !says("/proc/sys/kernel/unprivileged_userns_clone", "0")
        && !says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Platform {
        Platform {
            kernel: "6.18.5-generic".into(),
            seccomp: true,
            landlock: Some(7),
            memory_policy: true,
            pidfd: true,
            futex_waitv: true,
            memfd_seals: true,
            user_namespaces: true,
            cgroup_delegated: true,
            oom_score: true,
            open_files: (Some(1024), None),
            cpus: 2,
        }
    }

    #[test]
    fn the_machine_of_these_tests_is_usable() {
        let platform = Platform::probe();
        assert!(platform.is_usable(), "{platform:?}");
        assert!(
            version(&platform.kernel).is_some_and(|version| version >= (4, 0)),
            "{platform:?}"
        );
    }

    #[test]
    fn where_nothing_is_missing_there_is_no_advice() {
        assert_eq!(everything().advice(), [""; 0]);
        assert_eq!(everything().missing_for_strict(), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let bare = Platform {
            kernel: "5.10.0".into(),
            seccomp: false,
            landlock: None,
            futex_waitv: false,
            open_files: (Some(256), Some(1024)),
            ..everything()
        };
        assert!(!bare.is_usable());
        assert_eq!(
            bare.missing_for_strict().as_deref(),
            Some("seccomp filters and Landlock")
        );
        let advice = bare.advice().join("\n");
        for word in ["seccomp", "Landlock", "5.16", "ulimit"] {
            assert!(advice.contains(word), "{word}: {advice}");
        }
    }
}
