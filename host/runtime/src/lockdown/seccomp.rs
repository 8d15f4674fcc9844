//! The system call filter: an allowlist, everything else kills the process.
//!
//! A few calls are answered with `ENOSYS` instead, as if the kernel did not have them. They are made by wasmtime, the
//! standard library or the C library without the guest's doing, and each of those callers carries on without:
//!
//! | call | made by |
//! | --- | --- |
//! | `process_madvise` | wasmtime's pooling allocator; falls back to `madvise` |
//! | `clone3` | the C library starting a thread; falls back to `clone`, whose flags a filter can see |
//! | `openat`, `readlink`, `statx`, `getcwd`, … | a panic that prints a backtrace; `available_parallelism` (cgroup quota) |
//! | `prctl` | naming a thread, naming a mapping |
//! | `ioctl` | asking whether a descriptor is a terminal |
//! | `prlimit64`, `sysinfo` | the C library sizing stacks and arenas |
//!
//! Where directories are granted for reading only, calls that change files are answered with `EROFS`, and setting the times
//! of a file by its path with `EPERM` where they are granted for writing: those are what a kernel without Landlock, or
//! Landlock itself, would not refuse.
//!
//! Compiling the filter costs more than installing it, so a zygote compiles once and its workers [`apply`](Filter::apply).

mod tree;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_long;
use seccompiler::{BpfProgram, SeccompAction};

use self::tree::Verdict;
use super::Role;

/// Stands for the pid of the process in a compiled filter. Above the kernel's highest possible pid (2²²).
const OWN_PID: u32 = 0x7fff_ffff;

/// Stands for the descriptor of the control socket in a compiled filter. Above the highest possible descriptor.
const CONTROL: u32 = 0x7fff_fffe;

/// What is not allowed.
const KILL: SeccompAction = SeccompAction::KillProcess;

/// System calls, and what is done with them.
type Calls = BTreeMap<c_long, Verdict>;

/// What a process may do with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Files {
    /// It has none.
    None,
    /// Read those in its directories.
    Read,
    /// Change those in some of its directories.
    Write,
}

impl Files {
    /// What these directories take; of each it is said whether it is writable.
    pub(crate) fn of(dirs: impl IntoIterator<Item = bool>) -> Self {
        let each = dirs
            .into_iter()
            .map(|writable| if writable { Self::Write } else { Self::Read });
        each.max().unwrap_or(Self::None)
    }
}

/// A compiled filter, good for any number of processes.
#[derive(Clone, Debug)]
pub(crate) struct Filter(BpfProgram);

impl Filter {
    /// The filter for processes of this role.
    pub(crate) fn compile(role: Role, files: Files) -> Self {
        let mut calls = absent(role);
        match files {
            Files::None => {}
            Files::Read => {
                let read_only = SeccompAction::Errno(libc::EROFS.cast_unsigned());
                let changes = writing().into_keys().chain([libc::SYS_utimensat]);
                calls.append(&mut always(&changes.collect::<Vec<_>>(), &read_only));
            }
            Files::Write => {
                calls.append(&mut writing());
                calls.insert(libc::SYS_utimensat, dates());
            }
        }
        calls.append(&mut common());
        calls.append(&mut match role {
            Role::Worker => worker(),
            Role::Compiler => threads_and_memfds(),
        });
        if files >= Files::Read {
            calls.append(&mut reading());
        }
        Self(tree::program(&calls, &KILL))
    }

    /// Binds the calling thread, and all it starts, to the filter. A worker may talk through `control`, and no other
    /// socket.
    pub(super) fn apply(&self, control: Option<BorrowedFd<'_>>) -> seccompiler::Result<()> {
        let mut program = self.0.clone();
        for instruction in &mut program {
            match (instruction.k, control) {
                (OWN_PID, _) => instruction.k = std::process::id(),
                (CONTROL, Some(control)) => instruction.k = control.as_raw_fd().cast_unsigned(),
                _ => {}
            }
        }
        seccompiler::apply_filter(&program)
    }
}

/// The times of a file that is open may be set, and of no other: whether a file lies in a granted directory is what Landlock
/// does not ask here.
fn dates() -> Verdict {
    let path = tree::argument_at(1);
    Verdict::Ask(vec![
        tree::load(path),
        tree::jump_if(libc::BPF_JEQ, 0, 0, 3),
        tree::load(path + 4),
        tree::jump_if(libc::BPF_JEQ, 0, 0, 1),
        tree::give(&SeccompAction::Allow),
        tree::give(&SeccompAction::Errno(libc::EPERM.cast_unsigned())),
    ])
}

/// What running a guest takes: memory, waiting, time, randomness, and the descriptors that are open already.
fn common() -> Calls {
    let mut calls = allowed(&[
        libc::SYS_brk,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex_waitv,
        libc::SYS_getcpu,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        libc::SYS_ppoll,
        libc::SYS_read,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
        libc::SYS_write,
    ]);
    let not_executable = || Verdict::allowed_if(2, libc::PROT_EXEC.cast_unsigned(), &[0], &KILL);
    calls.insert(libc::SYS_mmap, not_executable());
    calls.insert(libc::SYS_mprotect, not_executable());
    calls.insert(libc::SYS_futex, futex_operations());
    // With debug assertions on, the standard library looks whether a descriptor is open before it closes it.
    calls.insert(libc::SYS_fcntl, allowed_with(1, &[libc::F_GETFD.cast_unsigned()]));
    // How `abort` and a failed assertion of the C library end the process.
    calls.insert(libc::SYS_tgkill, allowed_with(0, &[OWN_PID]));
    calls
}

/// Every futex operation but those with priority inheritance, which have a history of kernel holes and no user here.
fn futex_operations() -> Verdict {
    const OPERATION: i32 = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    let operations = [
        libc::FUTEX_WAIT,
        libc::FUTEX_WAKE,
        libc::FUTEX_WAIT_BITSET,
        libc::FUTEX_WAKE_BITSET,
        libc::FUTEX_REQUEUE,
        libc::FUTEX_CMP_REQUEUE,
    ];
    Verdict::allowed_if(1, OPERATION.cast_unsigned(), &operations.map(i32::cast_unsigned), &KILL)
}

/// What asking the host takes, on the one socket for it, and the timer by which a manager ends what takes too long: its signal
/// goes to this process alone.
fn worker() -> Calls {
    Calls::from([
        (libc::SYS_setitimer, Verdict::Always(SeccompAction::Allow)),
        (libc::SYS_recvmsg, allowed_with(0, &[CONTROL])),
        (libc::SYS_sendmsg, allowed_with(0, &[CONTROL])),
    ])
}

/// What the compiler needs beyond that: threads, and the memfds of its input and output.
fn threads_and_memfds() -> Calls {
    let mut calls = allowed(&[
        libc::SYS_fstat,
        libc::SYS_ftruncate,
        libc::SYS_lseek,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_recvmsg,
        libc::SYS_rseq,
        libc::SYS_sendmsg,
        libc::SYS_set_robust_list,
    ]);
    // A thread shares everything with its process and is in no namespace of its own; anything less is a process.
    let shared = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    let refused = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_PTRACE
        | libc::CLONE_UNTRACED
        | libc::CLONE_VFORK;
    let flags = (shared | refused).cast_unsigned();
    calls.insert(
        libc::SYS_clone,
        Verdict::allowed_if(0, flags, &[shared.cast_unsigned()], &KILL),
    );
    calls
}

/// Looking at files beneath granted directories. Which files those are is Landlock's business, and `openat2`'s.
fn reading() -> Calls {
    let mut calls = allowed(&[
        libc::SYS_fadvise64,
        libc::SYS_fdatasync,
        libc::SYS_fstat,
        libc::SYS_fsync,
        libc::SYS_getdents64,
        libc::SYS_lseek,
        libc::SYS_newfstatat,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_preadv2,
        libc::SYS_readlinkat,
        libc::SYS_readv,
        libc::SYS_statx,
    ]);
    // Not the commands that aim signals, take leases or set locks and seals.
    let commands = [
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
    ];
    calls.insert(libc::SYS_fcntl, allowed_with(1, &commands.map(i32::cast_unsigned)));
    calls
}

/// Changing them.
fn writing() -> Calls {
    allowed(&[
        libc::SYS_fallocate,
        libc::SYS_ftruncate,
        libc::SYS_linkat,
        libc::SYS_mkdirat,
        libc::SYS_pwrite64,
        libc::SYS_pwritev,
        libc::SYS_pwritev2,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_symlinkat,
        libc::SYS_unlinkat,
        libc::SYS_writev,
    ])
}

/// What is answered with `ENOSYS`; the head of this file says for whom.
fn absent(role: Role) -> Calls {
    let mut calls = vec![
        libc::SYS_faccessat,
        libc::SYS_getcwd,
        libc::SYS_ioctl,
        libc::SYS_newfstatat,
        libc::SYS_openat,
        libc::SYS_prctl,
        libc::SYS_prlimit64,
        libc::SYS_process_madvise,
        libc::SYS_readlinkat,
        libc::SYS_statx,
        libc::SYS_sysinfo,
    ];
    #[cfg(target_arch = "x86_64")]
    calls.extend([libc::SYS_access, libc::SYS_open, libc::SYS_readlink, libc::SYS_stat]);
    if role == Role::Compiler {
        calls.push(libc::SYS_clone3);
    }
    always(&calls, &SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))
}

/// The same is done with all of these, whatever their arguments.
fn always(calls: &[c_long], action: &SeccompAction) -> Calls {
    calls
        .iter()
        .map(|&call| (call, Verdict::Always(action.clone())))
        .collect()
}

fn allowed(calls: &[c_long]) -> Calls {
    always(calls, &SeccompAction::Allow)
}

/// Only with one of these as that argument.
fn allowed_with(argument: u8, values: &[u32]) -> Verdict {
    Verdict::allowed_if(argument, u32::MAX, values, &KILL)
}
