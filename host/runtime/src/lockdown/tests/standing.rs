//! What a locked-down process looks like from outside.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;

use rustix::process::{DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, getsid, getuid, setrlimit};

use super::forked::{End, fork};
use super::{MAX_MEMORY, Role, lock_down_as};
use crate::lockdown::{limits, privileges};

/// The value of a field of `/proc/PID/status`.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

#[test]
fn a_worker_has_one_thread_no_privileges_and_nothing_but_its_own_descriptors() {
    let (mut gate, opener) = std::io::pipe().expect("a pipe");
    let mut worker = fork(|report| {
        lock_down_as(Role::Worker, &[report.as_fd(), gate.as_fd()], &[]);
        report.say("locked");
        let _ = gate.read(&mut [0]);
    });
    assert_eq!(worker.first_report(), "locked");

    let proc = format!("/proc/{}", worker.pid);
    let status = fs::read_to_string(format!("{proc}/status")).expect("the worker lives");
    assert_eq!(field(&status, "Name"), "wasmp-worker");
    assert_eq!(field(&status, "Threads"), "1");
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    assert_eq!(field(&status, "Seccomp"), "2");
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(&status, capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!(
        field(&status, "SigBlk"),
        "0000000000000002",
        "SIGINT waits for the worker"
    );
    let own_uid = getuid().as_raw().to_string();
    assert!(
        field(&status, "Uid").split_whitespace().all(|uid| uid == own_uid),
        "the user stays the same"
    );
    assert_eq!(getsid(Some(worker.pid)), Ok(worker.pid), "a session of its own");
    assert_eq!(
        fs::read_to_string(format!("{proc}/oom_score_adj"))
            .expect("readable")
            .trim(),
        "500"
    );

    if getuid().is_root() {
        assert_eq!(field(&status, "CapBnd"), "0000000000000000");
        // Only root may look: a worker is not dumpable.
        let fds = fs::read_dir(format!("{proc}/fd")).expect("readable to root");
        let mut targets: Vec<_> = fds
            .map(|fd| fs::read_link(fd.expect("an entry").path()).expect("a link"))
            .collect();
        targets.sort();
        assert_eq!(targets.len(), 5, "{targets:?}");
        assert!(
            targets[..3].iter().all(|target| target.as_os_str() == "/dev/null"),
            "{targets:?}"
        );
        assert!(
            targets[3..]
                .iter()
                .all(|target| target.to_string_lossy().starts_with("pipe:")),
            "{targets:?}"
        );
    } else {
        assert!(
            fs::read_dir(format!("{proc}/fd")).is_err(),
            "not even the same user may look"
        );
    }

    let pid = worker.pid;
    drop(opener);
    assert_eq!(worker.wait().how, End::Exited(0));
    assert!(
        !fs::exists(format!("/proc/{pid}")).expect("/proc is readable"),
        "no zombie"
    );
}

#[test]
fn nobody_of_the_same_user_may_look_inside() {
    let ended = fork(|report| {
        privileges::renounce().expect("privileges");
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        report.say("done");
    })
    .wait();
    assert_eq!((ended.how, ended.report.as_str()), (End::Exited(0), "done"));
}

#[test]
fn limits_cannot_be_raised_again() {
    let ended = fork(|report| {
        limits::apply(Role::Worker, MAX_MEMORY, false).expect("limits");
        privileges::renounce().expect("privileges");
        for resource in [
            Resource::Core,
            Resource::Nofile,
            Resource::Data,
            Resource::Fsize,
            Resource::Memlock,
        ] {
            let limit = getrlimit(resource);
            assert!(limit.maximum.is_some(), "{resource:?} is limited");
            let raised = limit.maximum.map(|maximum| maximum + 1);
            let refused = setrlimit(
                resource,
                Rlimit {
                    current: raised,
                    maximum: raised,
                },
            );
            assert_eq!(refused, Err(rustix::io::Errno::PERM), "{resource:?}");
        }
        report.say("done");
    })
    .wait();
    assert_eq!((ended.how, ended.report.as_str()), (End::Exited(0), "done"));
}

#[test]
fn memory_beyond_the_limit_is_refused_and_reserved_addresses_are_not_counted() {
    let ended = fork(|report| {
        lock_down_as(Role::Worker, &[report.as_fd()], &[]);
        let map = |len: usize, prot| {
            // SAFETY: a fresh mapping at an address of the kernel's choice.
            let memory = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    len,
                    prot,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                    -1,
                    0,
                )
            };
            (memory != libc::MAP_FAILED).then_some(memory)
        };
        assert!(map(1 << 30, libc::PROT_READ | libc::PROT_WRITE).is_none());
        assert!(map(1 << 40, libc::PROT_NONE).is_some());
        assert!(
            map(
                usize::try_from(MAX_MEMORY).expect("fits"),
                libc::PROT_READ | libc::PROT_WRITE
            )
            .is_some()
        );
        report.say("done");
    })
    .wait();
    assert_eq!((ended.how, ended.report.as_str()), (End::Exited(0), "done"));
}
