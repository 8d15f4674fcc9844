//! What CPython has a `resource_tracker` for: that nothing which processes share is left behind, whoever is killed. Here nothing
//! of it has a name that the system knows, so there is nothing to track; what comes nearest to the tracker, as a process of its
//! own that must be there, is the keeper.
//!
//! | id of CPython's test | what it is here |
//! | --- | --- |
//! | RT-01 | there is no message about what was left behind: nothing can be |
//! | RT-05 | the same goes for the exit code of the tracker |
//! | RT-07 | a host has no module of its own: `processes/program.rs` |
//!
//! Programs have their side of RT-01 and RT-04 there, too. Of the keeper and of signals, RT-02, RT-03 and RT-06, a guest sees
//! nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;
use wasmp::{Error, Lock};
use wasmp_tests::{Process, descendants, isolated};

use crate::common::{builder, close, listen, one, pool, worker, workers};
use crate::lifecycle::{assert_all_end, host};

#[test]
fn rt_01_what_a_killed_process_has_shared_has_no_name_that_could_be_left_behind() {
    isolated(|| {
        let mut host = host("share").stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(host.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut processes = Vec::new();
        for line in said.by_ref().take_while(|line| line != "ready") {
            processes.push(Process::open(line.parse().unwrap()).unwrap());
        }
        let fds = fs::read_dir(format!("/proc/{}/fd", host.id())).unwrap();
        let open: Vec<String> = fds
            .filter_map(|fd| Some(fs::read_link(fd.ok()?.path()).ok()?.display().to_string()))
            .collect();
        let objects: Vec<&String> = open.iter().filter(|file| file.contains("wasmp-object")).collect();
        assert!(objects.len() >= 3, "a lock, a semaphore, memory: {open:?}");
        assert!(
            objects
                .iter()
                .all(|file| file.starts_with("/memfd:") && file.ends_with("(deleted)")),
            "{objects:?}"
        );
        assert!(open.iter().all(|file| !file.starts_with("/dev/shm")), "{open:?}");
        host.kill().unwrap();
        host.wait().unwrap();
        assert_all_end(&processes);
    });
}

#[test]
fn rt_02_an_interrupt_disturbs_neither_keeper_nor_zygote_and_a_killed_zygote_is_replaced() {
    isolated(|| {
        let pool = pool(1);
        let before = worker(&pool);
        for name in ["wasmp-keeper", "wasmp-zygote"] {
            assert!(one(name).signal(Signal::INT));
        }
        for signal in [Signal::TERM, Signal::KILL] {
            // Both are needed for another worker.
            worker(&pool).kill();
            assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
            let zygote = one("wasmp-zygote");
            zygote.signal(signal);
            zygote.wait_until_gone();
        }
        worker(&pool).kill();
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        assert!(before.is_gone());
        close(&pool);
    });
}

#[test]
fn rt_03_pools_and_the_pools_of_their_tasks_share_a_keeper() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let (outer, other) = (builder.build().unwrap(), pool(1));
        let _busy = outer.apply_async::<_, ()>("nested_spin", ()).unwrap();
        lines.wait_for_begun();
        lines.wait_for_begun();
        workers(&other);
        assert_eq!(descendants(std::process::id(), "wasmp-worker").len(), 4);
        one("wasmp-keeper");
        one("wasmp-zygote");
    });
}

#[test]
fn rt_04_a_name_that_is_too_long_is_refused() {
    isolated(|| {
        let lock = Lock::new().unwrap();
        let share = |name: String| builder(1).share(name, &lock).build();
        share("n".repeat(255)).unwrap();
        for name in ["n".repeat(256), "n".repeat(100_000)] {
            assert!(matches!(share(name), Err(Error::Invalid(_))));
        }
    });
}

/// The signals that this thread does not hear.
fn mask() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    status
        .lines()
        .find(|line| line.starts_with("SigBlk"))
        .unwrap()
        .to_owned()
}

#[test]
fn rt_06_a_pool_keeps_the_signal_mask_of_its_host_and_its_workers_have_none() {
    isolated(|| {
        // SAFETY: plain system calls on a signal set that lives on this stack.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGUSR1);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            assert_eq!(
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()),
                0
            );
        }
        let before = mask();
        assert!(before.ends_with("4200"), "{before}");
        let pool = pool(1);
        assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        assert_eq!(worker(&pool).status("SigBlk"), "0000000000000000");
        close(&pool);
        assert_eq!(mask(), before);
    });
}
