//! What native code in a locked-down process may try, and how each attempt ends.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use libc::{c_long, c_ulong};

use super::forked::{End, fork};
use super::{Role, lock_down_as};
use crate::lockdown::{landlock, privileges};

/// The process is killed for trying.
const FATAL: Result<(), End> = Err(End::Killed(libc::SIGSYS));

/// The result of a system call.
fn checked(result: c_long) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A system call with no more than four arguments.
fn call(number: c_long, arguments: [c_ulong; 4]) -> io::Result<()> {
    let [a, b, c, d] = arguments;
    // SAFETY: the callers pass numbers, null pointers and static strings.
    checked(unsafe { libc::syscall(number, a, b, c, d) })
}

/// What comes of `attempt` in a locked-down child: success, the name of an errno, or death.
fn outcome(role: Role, attempt: impl FnOnce() -> io::Result<()>) -> Result<Result<(), i32>, End> {
    let ended = fork(|report| {
        lock_down_as(role, &[report.as_fd()], &[]);
        match attempt() {
            Ok(()) => report.say("ok"),
            Err(error) => report.say(&error.raw_os_error().unwrap_or(-1).to_string()),
        }
    })
    .wait();
    match ended.how {
        End::Exited(0) if ended.report == "ok" => Ok(Ok(())),
        End::Exited(0) => Ok(Err(ended.report.parse().expect("an errno"))),
        how => Err(how),
    }
}

/// Dies of it, whatever the role.
fn fatal(what: &str, attempt: impl Fn() -> io::Result<()>) {
    for role in [Role::Worker, Role::Compiler] {
        assert_eq!(outcome(role, &attempt).map(|_| ()), FATAL, "{what} in a {role:?}");
    }
}

/// Is told that there is no such thing, whatever the role.
fn absent(what: &str, attempt: impl Fn() -> io::Result<()>) {
    for role in [Role::Worker, Role::Compiler] {
        assert_eq!(outcome(role, &attempt), Ok(Err(libc::ENOSYS)), "{what} in a {role:?}");
    }
}

#[test]
fn files_are_out_of_reach() {
    for path in [c"/etc/passwd", c"/proc/self/mem", c"/proc/self/exe", c"."] {
        let address = path.as_ptr() as c_ulong;
        absent("openat", || {
            call(libc::SYS_openat, [libc::AT_FDCWD as c_ulong, address, 0, 0])
        });
        fatal("openat2", || {
            call(libc::SYS_openat2, [libc::AT_FDCWD as c_ulong, address, 0, 0])
        });
    }
    fatal("memfd_create", || {
        call(libc::SYS_memfd_create, [c"file".as_ptr() as c_ulong, 0, 0, 0])
    });
    fatal("open_by_handle_at", || call(libc::SYS_open_by_handle_at, [0; 4]));
    fatal("mount", || call(libc::SYS_mount, [0; 4]));
    fatal("chroot", || call(libc::SYS_chroot, [c"/".as_ptr() as c_ulong, 0, 0, 0]));
}

#[test]
fn processes_cannot_be_made() {
    fatal("fork", || checked(call_fork()));
    fatal("clone", || call(libc::SYS_clone, [libc::SIGCHLD as c_ulong, 0, 0, 0]));
    let namespace = libc::CLONE_NEWUSER | libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    fatal("clone into a namespace", || {
        call(libc::SYS_clone, [namespace as c_ulong, 0, 0, 0])
    });
    fatal("execve", || {
        call(libc::SYS_execve, [c"/bin/true".as_ptr() as c_ulong, 0, 0, 0])
    });
    fatal("execveat", || call(libc::SYS_execveat, [0; 4]));
    fatal("unshare", || {
        call(libc::SYS_unshare, [libc::CLONE_NEWUSER as c_ulong, 0, 0, 0])
    });
    fatal("setns", || call(libc::SYS_setns, [0; 4]));
    assert_eq!(
        outcome(Role::Worker, || call(libc::SYS_clone3, [0; 4])).map(|_| ()),
        FATAL
    );
    assert_eq!(
        outcome(Role::Compiler, || call(libc::SYS_clone3, [0; 4])),
        Ok(Err(libc::ENOSYS))
    );
}

fn call_fork() -> c_long {
    // SAFETY: should a child come out of it, it only reports, and the test fails.
    unsafe { libc::fork() }.into()
}

/// The signal of a timer goes to the process that has set it, and a manager sets one.
#[test]
fn timers_are_for_workers() {
    let nothing = || call(libc::SYS_setitimer, [libc::ITIMER_REAL as c_ulong, 0, 0, 0]);
    assert_eq!(outcome(Role::Worker, nothing), Ok(Ok(())));
    assert_eq!(outcome(Role::Compiler, nothing).map(|_| ()), FATAL);
    fatal("timer_create", || call(libc::SYS_timer_create, [0; 4]));
}

#[test]
fn other_processes_cannot_be_touched() {
    let parent = libc::pid_t::cast_unsigned(rustix::process::getpid().as_raw_pid()).into();
    fatal("kill", || call(libc::SYS_kill, [parent, 0, 0, 0]));
    fatal("tgkill", || call(libc::SYS_tgkill, [parent, parent, 0, 0]));
    fatal("ptrace", || {
        call(libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), parent, 0, 0])
    });
    fatal("process_vm_readv", || {
        call(libc::SYS_process_vm_readv, [parent, 0, 0, 0])
    });
    fatal("process_vm_writev", || {
        call(libc::SYS_process_vm_writev, [parent, 0, 0, 0])
    });
    fatal("tkill", || call(libc::SYS_tkill, [parent, 0, 0, 0]));
    fatal("rt_sigqueueinfo", || {
        call(libc::SYS_rt_sigqueueinfo, [parent, libc::SIGUSR1 as c_ulong, 0, 0])
    });
    fatal("pidfd_send_signal", || call(libc::SYS_pidfd_send_signal, [0; 4]));
    fatal("kcmp", || call(libc::SYS_kcmp, [parent, parent, 0, 0]));
    fatal("pidfd_open", || call(libc::SYS_pidfd_open, [parent, 0, 0, 0]));
    fatal("pidfd_getfd", || call(libc::SYS_pidfd_getfd, [0; 4]));
    fatal("setpriority", || call(libc::SYS_setpriority, [0; 4]));
    absent("prlimit64", || {
        call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE.into(), 0, 0])
    });
    fatal("setrlimit", || {
        call(libc::SYS_setrlimit, [libc::RLIMIT_NOFILE.into(), 0, 0, 0])
    });
}

#[test]
fn the_network_is_out_of_reach() {
    for family in [libc::AF_INET, libc::AF_UNIX, libc::AF_NETLINK, libc::AF_VSOCK] {
        fatal("socket", || {
            call(
                libc::SYS_socket,
                [family as c_ulong, libc::SOCK_STREAM as c_ulong, 0, 0],
            )
        });
    }
    fatal("socketpair", || call(libc::SYS_socketpair, [0; 4]));
    fatal("connect", || call(libc::SYS_connect, [0; 4]));
    fatal("bind", || call(libc::SYS_bind, [0; 4]));
    fatal("accept4", || call(libc::SYS_accept4, [0; 4]));
    fatal("sendto", || call(libc::SYS_sendto, [0; 4]));
}

#[test]
fn memory_cannot_become_executable() {
    let map = |prot: libc::c_int| {
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                prot,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(memory)
        }
    };
    let read_write = libc::PROT_READ | libc::PROT_WRITE;
    fatal("mmap", || map(read_write | libc::PROT_EXEC).map(drop));
    fatal("mprotect", || {
        let memory = map(read_write)?;
        call(
            libc::SYS_mprotect,
            [
                memory as c_ulong,
                4096,
                (libc::PROT_READ | libc::PROT_EXEC) as c_ulong,
                0,
            ],
        )
    });
    fatal("pkey_mprotect", || call(libc::SYS_pkey_mprotect, [0; 4]));
    fatal("personality", || call(libc::SYS_personality, [0; 4]));
    fatal("shmat", || call(libc::SYS_shmat, [0; 4]));
    assert_eq!(outcome(Role::Worker, || map(read_write).map(drop)), Ok(Ok(())));
}

#[test]
fn corners_of_the_kernel_are_closed() {
    let calls = [
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("keyctl", libc::SYS_keyctl),
        ("seccomp", libc::SYS_seccomp),
        ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
        ("fcntl", libc::SYS_fcntl),
        ("setuid", libc::SYS_setuid),
        ("capset", libc::SYS_capset),
    ];
    for (name, number) in calls {
        fatal(name, || call(number, [0; 4]));
    }
    let word = 0u32;
    let word = (&raw const word) as c_ulong;
    fatal("FUTEX_LOCK_PI", || {
        call(libc::SYS_futex, [word, libc::FUTEX_LOCK_PI as c_ulong, 0, 0])
    });
    let private_pi = libc::FUTEX_UNLOCK_PI | libc::FUTEX_PRIVATE_FLAG;
    fatal("FUTEX_UNLOCK_PI", || {
        call(libc::SYS_futex, [word, private_pi as c_ulong, 0, 0])
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_other_system_call_tables_are_closed() {
    const X32: c_long = 0x4000_0000;
    fatal("x32 getpid", || call(X32 | libc::SYS_getpid, [0; 4]));
    fatal("i386 getpid", || {
        const GETPID: i32 = 20;
        // SAFETY: the 32-bit entry of the kernel; getpid has no arguments and writes no memory.
        unsafe { std::arch::asm!("int 0x80", inlateout("eax") GETPID => _, options(nostack)) };
        Ok(())
    });
}

#[test]
fn what_a_guest_needs_works() {
    let own = || libc::pid_t::cast_unsigned(rustix::process::getpid().as_raw_pid()).into();
    assert_eq!(
        outcome(Role::Worker, || call(libc::SYS_tgkill, [own(), own(), 0, 0])),
        Ok(Ok(()))
    );
    let word = 0u32;
    let word = (&raw const word) as c_ulong;
    for flags in [0, libc::FUTEX_PRIVATE_FLAG] {
        let wake = || call(libc::SYS_futex, [word, (libc::FUTEX_WAKE | flags) as c_ulong, 1, 0]);
        assert_eq!(outcome(Role::Worker, wake), Ok(Ok(())));
        let wait = || call(libc::SYS_futex, [word, (libc::FUTEX_WAIT | flags) as c_ulong, 1, 0]);
        assert_eq!(outcome(Role::Worker, wait), Ok(Err(libc::EAGAIN)));
    }
    let sleep = || {
        std::thread::sleep(std::time::Duration::from_micros(1));
        Ok(())
    };
    assert_eq!(outcome(Role::Worker, sleep), Ok(Ok(())));
    let close = || {
        // SAFETY: standard input is open, and nobody else's.
        drop(unsafe { OwnedFd::from_raw_fd(0) });
        Ok(())
    };
    assert_eq!(outcome(Role::Worker, close), Ok(Ok(())));
    let abort = || std::process::abort();
    assert_eq!(outcome(Role::Worker, abort), Err(End::Killed(libc::SIGABRT)));
}

#[test]
fn a_panic_with_a_backtrace_is_survived() {
    for role in [Role::Worker, Role::Compiler] {
        let panicking = || {
            // What the default panic hook does beyond writing: it looks for the executable and its debug information.
            let backtrace = std::backtrace::Backtrace::force_capture().to_string();
            assert!(!backtrace.is_empty());
            std::panic::catch_unwind(|| panic!("on purpose")).expect_err("it panics");
            Ok(())
        };
        assert_eq!(outcome(role, panicking), Ok(Ok(())), "{role:?}");
    }
}

#[test]
fn a_compiler_may_start_threads_and_a_worker_may_not() {
    let start = || {
        let cpus = std::thread::available_parallelism()?.get();
        let thread = std::thread::Builder::new().name("named".into()).spawn(move || cpus)?;
        assert_eq!(thread.join().expect("it ends"), cpus);
        Ok(())
    };
    assert_eq!(outcome(Role::Compiler, start), Ok(Ok(())));
    assert_eq!(outcome(Role::Worker, start).map(|_| ()), FATAL);
}

/// Each wall must stand alone: this is the one without seccomp.
#[test]
fn landlock_alone_denies_files_network_and_signals() {
    let parent = rustix::process::getpid();
    let ended = fork(|report| {
        privileges::renounce().expect("privileges");
        let status = landlock::restrict(&[]).expect("Landlock");
        if status.ruleset == ::landlock::RulesetStatus::NotEnforced {
            return report.say("unsupported");
        }
        for path in ["/etc/passwd", "/proc/self/mem", "/"] {
            let error = std::fs::File::open(path).expect_err(path);
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{path}");
        }
        if status.ruleset == ::landlock::RulesetStatus::FullyEnforced || abi() >= 6 {
            let error = std::net::TcpStream::connect("127.0.0.1:9").expect_err("no network");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(rustix::process::test_kill_process(parent), Err(rustix::io::Errno::PERM));
        }
        report.say("denied");
    })
    .wait();
    assert_eq!(ended.how, End::Exited(0));
    assert!(
        ["denied", "unsupported"].contains(&ended.report.as_str()),
        "{}",
        ended.report
    );
}

/// And this the one against executable memory without seccomp; Linux 6.3 and later.
#[test]
fn the_memory_policy_alone_denies_executable_memory() {
    let ended = fork(|report| {
        privileges::renounce().expect("privileges");
        let unused: c_ulong = 0;
        // SAFETY: takes zeros.
        if unsafe { libc::prctl(libc::PR_GET_MDWE, unused, unused, unused, unused) } == -1 {
            return report.say("unsupported");
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice, and a change of nothing but that.
        let changed = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let memory = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, flags, -1, 0);
            libc::mprotect(memory, 4096, libc::PROT_READ | libc::PROT_EXEC)
        };
        assert_eq!(changed, -1);
        report.say("denied");
    })
    .wait();
    assert_eq!(ended.how, End::Exited(0));
    assert!(
        ["denied", "unsupported"].contains(&ended.report.as_str()),
        "{}",
        ended.report
    );
}

/// The version of the kernel's Landlock interface.
pub(super) fn abi() -> c_long {
    const VERSION: c_ulong = 1;
    // SAFETY: with this flag the kernel reads no attributes.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) }
}
