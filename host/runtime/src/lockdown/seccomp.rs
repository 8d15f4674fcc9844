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

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::Role;

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// Stands for the pid of the process in a compiled filter. Above the kernel's highest possible pid (2²²).
const OWN_PID: u32 = 0x7fff_ffff;

/// Stands for the descriptor of the control socket in a compiled filter. Above the highest possible descriptor.
const CONTROL: u32 = 0x7fff_fffe;

/// System calls and what their arguments must look like: any rule may match; no rules at all match everything.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

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
    pub(crate) fn compile(role: Role, files: Files) -> Result<Self, BackendError> {
        let mut allowed = common()?;
        match role {
            Role::Worker => allowed.append(&mut worker()?),
            Role::Compiler => allowed.append(&mut threads_and_memfds()?),
        }
        if files >= Files::Read {
            allowed.append(&mut reading()?);
        }
        if files == Files::Write {
            allowed.append(&mut writing());
        }
        let mut absent = absent(role);
        absent.retain(|call, _| !allowed.contains_key(call));
        let (whole, conditional): (Rules, Rules) = allowed.into_iter().partition(|(_, rules)| rules.is_empty());

        // What does not depend on arguments comes first, and takes one instruction each: the kernel goes through all of
        // them, for every call there is, when a worker installs its filter.
        let mut program = head();
        program.append(&mut answer(whole.into_keys(), &SeccompAction::Allow));
        let no_such_call = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        program.append(&mut answer(absent.into_keys(), &no_such_call));
        match files {
            Files::None => {}
            Files::Read => {
                let read_only = SeccompAction::Errno(libc::EROFS.cast_unsigned());
                let changes = writing().into_keys().chain([libc::SYS_utimensat]);
                program.append(&mut answer(changes.collect::<Vec<_>>().into_iter(), &read_only));
            }
            Files::Write => program.append(&mut dates()),
        }
        program.append(&mut assemble(
            conditional,
            SeccompAction::Allow,
            SeccompAction::KillProcess,
        )?);
        Ok(Self(program))
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

/// What the kernel calls the architecture in `seccomp_data`.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

/// Where `seccomp_data` has the number of the call, and the architecture.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;

/// Where it has the two halves of the second argument.
const SECOND_AT: [u32; 2] = [24, 28];

fn instruction(code: u32, if_so: u8, if_not: u8, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: if_so,
        jf: if_not,
        k,
    }
}

fn load(at: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at)
}

fn give(action: &SeccompAction) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::from(action.clone()))
}

/// Kills who speaks for another architecture, and looks at the number of the call.
fn head() -> BpfProgram {
    let same_arch = instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, AUDIT_ARCH);
    let kill = give(&SeccompAction::KillProcess);
    vec![load(ARCH_AT), same_arch, kill, load(NUMBER_AT)]
}

/// Gives this answer to these calls, whose number has been looked at; others go on behind it.
fn answer(calls: impl ExactSizeIterator<Item = c_long>, action: &SeccompAction) -> BpfProgram {
    let count = calls.len();
    let to_the_answer = |place: usize| u8::try_from(count - place).expect("there are not so many calls");
    let mut program: BpfProgram = (0..)
        .zip(calls)
        .map(|(place, call)| {
            let is_it = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
            instruction(is_it, to_the_answer(place), 0, call as u32)
        })
        .collect();
    program.push(instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1));
    program.push(give(action));
    program
}

/// The times of a file that is open may be set, and of no other, whose number has been looked at: whether a file lies in a
/// granted directory is what Landlock does not ask here.
fn dates() -> BpfProgram {
    let jump = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let [low, high] = SECOND_AT.map(load);
    vec![
        instruction(jump, 0, 6, libc::SYS_utimensat as u32),
        low,
        instruction(jump, 0, 3, 0),
        high,
        instruction(jump, 0, 1, 0),
        give(&SeccompAction::Allow),
        give(&SeccompAction::Errno(libc::EPERM.cast_unsigned())),
    ]
}

fn assemble(rules: Rules, matched: SeccompAction, otherwise: SeccompAction) -> Result<BpfProgram, BackendError> {
    // Also refuses every other architecture. The x32 calls of x86-64 are numbers that no rule has.
    SeccompFilter::new(rules, otherwise, matched, ARCH)?.try_into()
}

/// What running a guest takes: memory, waiting, time, randomness, and the descriptors that are open already.
fn common() -> Result<Rules, BackendError> {
    let mut rules = whole(&[
        libc::SYS_brk,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex_waitv,
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
    let not_executable = || rule(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0);
    rules.insert(libc::SYS_mmap, vec![not_executable()?]);
    rules.insert(libc::SYS_mprotect, vec![not_executable()?]);
    rules.insert(libc::SYS_futex, futex_operations()?);
    // With debug assertions on, the standard library looks whether a descriptor is open before it closes it.
    rules.insert(libc::SYS_fcntl, vec![rule(1, SeccompCmpOp::Eq, libc::F_GETFD as u64)?]);
    // How `abort` and a failed assertion of the C library end the process.
    rules.insert(libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Eq, OWN_PID.into())?]);
    Ok(rules)
}

/// Every futex operation but those with priority inheritance, which have a history of kernel holes and no user here.
fn futex_operations() -> Result<Vec<SeccompRule>, BackendError> {
    const OPERATION: u64 = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u32 as u64;
    [
        libc::FUTEX_WAIT,
        libc::FUTEX_WAKE,
        libc::FUTEX_WAIT_BITSET,
        libc::FUTEX_WAKE_BITSET,
        libc::FUTEX_REQUEUE,
        libc::FUTEX_CMP_REQUEUE,
    ]
    .into_iter()
    .map(|operation| rule(1, SeccompCmpOp::MaskedEq(OPERATION), operation as u64))
    .collect()
}

/// What asking the host takes, on the one socket for it, and the timer by which a manager ends what takes too long: its signal
/// goes to this process alone.
fn worker() -> Result<Rules, BackendError> {
    let only = || rule(0, SeccompCmpOp::Eq, CONTROL.into());
    Ok(Rules::from([
        (libc::SYS_setitimer, Vec::new()),
        (libc::SYS_recvmsg, vec![only()?]),
        (libc::SYS_sendmsg, vec![only()?]),
    ]))
}

/// What the compiler needs beyond that: threads, and the memfds of its input and output.
fn threads_and_memfds() -> Result<Rules, BackendError> {
    let mut rules = whole(&[
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
    let mask = SeccompCmpOp::MaskedEq((shared | refused).cast_unsigned().into());
    rules.insert(libc::SYS_clone, vec![rule(0, mask, shared.cast_unsigned().into())?]);
    Ok(rules)
}

/// Looking at files beneath granted directories. Which files those are is Landlock's business, and `openat2`'s.
fn reading() -> Result<Rules, BackendError> {
    let mut rules = whole(&[
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
    let commands = commands
        .into_iter()
        .map(|command| rule(1, SeccompCmpOp::Eq, command as u64));
    rules.insert(libc::SYS_fcntl, commands.collect::<Result<_, _>>()?);
    Ok(rules)
}

/// Changing them.
fn writing() -> Rules {
    whole(&[
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
fn absent(role: Role) -> Rules {
    let mut rules = whole(&[
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
    ]);
    #[cfg(target_arch = "x86_64")]
    rules.append(&mut whole(&[
        libc::SYS_access,
        libc::SYS_open,
        libc::SYS_readlink,
        libc::SYS_stat,
    ]));
    if role == Role::Compiler {
        rules.append(&mut whole(&[libc::SYS_clone3]));
    }
    rules
}

/// Rules that match the calls whatever their arguments.
fn whole(calls: &[c_long]) -> Rules {
    calls.iter().map(|&call| (call, Vec::new())).collect()
}

/// A rule on the low 32 bits of one argument; all arguments looked at here are `int`s to the kernel.
fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?])
}
