//! Forged requests on the control socket of a worker that its host serves, while the worker works.
//!
//! Native code that has escaped from wasm has that socket. The test takes it out of a worker with the second wall down, which
//! makes no difference to the host.

use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Random, requests, seed, until};
use crate::process::control::Channel;
use crate::{Error, Pool, Sandbox};

/// Longer than any outcome takes.
const PATIENCE: Duration = Duration::from_secs(20);

const SQUARE: &str = r#"(module (func (export "square") (param i64) (result i64)
    (i64.mul (local.get 0) (local.get 0))))"#;

fn pool() -> Pool {
    Pool::builder(SQUARE.as_bytes().to_vec())
        .processes(1)
        .sandbox(Sandbox::Off)
        .timeout(Duration::from_secs(5))
        .build()
        .expect("a pool")
}

/// A second descriptor of the one worker's end of its control socket. `None`: it is not there, or no more.
fn steal(pool: &Pool) -> Option<Channel> {
    let pid = pool.worker_pids().first().copied()?;
    let socket = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().find(|entry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    })?;
    let number: i32 = socket.file_name().to_str()?.parse().ok()?;
    let worker = pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()?;
    // SAFETY: takes numbers, and returns a new descriptor or -1.
    let stolen = unsafe {
        use std::os::fd::AsRawFd;
        libc::syscall(libc::SYS_pidfd_getfd, worker.as_raw_fd(), number, 0)
    };
    // SAFETY: a descriptor that the system has just made for us.
    (stolen >= 0).then(|| Channel::from(unsafe { OwnedFd::from_raw_fd(stolen as i32) }))
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd")
        .expect("this process has descriptors")
        .count()
}

/// Sends garbage until the host has enough of the worker, or there was enough of it. Returns how much was sent.
fn forge(control: &Channel, random: &mut Random, seeds: &[Vec<u8>]) -> u32 {
    let mut sent = 0;
    let fds: Vec<_> = (0..random.below(4)).map(|_| control.as_fd()).collect();
    for _ in 0..random.below(200) {
        let mut message = random.garbage(seeds);
        if random.below(100) == 0 {
            message.resize(60_000, 0x80);
        }
        match control.try_send(&message, if random.below(8) == 0 { &fds } else { &[] }) {
            Ok(()) => sent += 1,
            // Not read fast enough, or empty.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput) => {}
            Err(_) => return sent,
        }
    }
    sent
}

#[test]
fn requests_that_a_worker_forges_cost_itself_and_nobody_else() {
    let neighbour = pool();
    let squares = |pool: &Pool| pool.map::<_, i64>("square", 0..200);
    let expected: Vec<i64> = (0..200).map(|x| x * x).collect();
    assert_eq!(squares(&neighbour).expect("results"), expected);
    let files = open_files();

    let seeds = requests();
    let mut random = Random(seed());
    let (mut forged, mut lost) = (0, 0);
    let mut victim = pool();
    let until = until();
    while Instant::now() < until || lost == 0 || forged == 0 {
        // One that was broken too often for its pool to go on.
        if victim.apply::<_, i64>("square", (3,)).is_err() {
            lost += 1;
            victim = pool();
            continue;
        }
        let Some(control) = steal(&victim) else { continue };
        let pending: Vec<_> = (0..20)
            .filter_map(|x| victim.apply_async::<_, i64>("square", (x,)).ok())
            .collect();
        forged += forge(&control, &mut random, &seeds);
        for outcome in pending {
            match outcome.get_timeout(PATIENCE) {
                Ok(_) => {}
                Err(Error::Task(_)) => lost += 1,
                Err(Error::Broken(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(squares(&neighbour).expect("results"), expected, "the neighbour");
    }
    victim.terminate();
    victim.join().expect("its end");
    drop(victim);
    // What came beside the requests was closed, and so was what they made.
    let deadline = Instant::now() + PATIENCE;
    while open_files() > files + 16 {
        assert!(Instant::now() < deadline, "{} files, of {files}", open_files());
        std::thread::sleep(Duration::from_millis(10));
    }
    eprintln!("{forged} requests forged, {lost} items lost");
}
