//! The keeper: a small process with one thread that starts zygotes and compilers, reports how its children ended, and
//! leaves nothing alive when its host is gone.
//!
//! It is a subreaper, so the workers of a dead zygote become its children: their exit statuses still reach the host,
//! and a worker that cut its own lifeline is still found.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use super::control::Channel;
use super::group;
use super::message::{FromKeeper, MAX_MESSAGE, ToKeeper, decode, encode};
use super::reaper::{ChildSignal, detach_stdio, fork, reap, unblock_signals};

/// Serves the host on descriptor 0 until it closes its end. Never returns.
pub(super) fn main(nonce: &str) -> ! {
    let mut groups = Vec::new();
    let served = serve(nonce, &mut groups);
    kill_children();
    groups.iter().for_each(|folder| {
        group::remove(folder);
    });
    // SAFETY: ends this process without running the embedder's exit handlers, which belong to its `main`.
    unsafe { libc::_exit(i32::from(served.is_err())) }
}

/// `groups`: the control groups that were made, and may still be there.
fn serve(nonce: &str, groups: &mut Vec<PathBuf>) -> io::Result<()> {
    let control = adopt_control()?;
    detach_stdio()?;
    // Its own session: the terminal's Ctrl-C is for the host, which decides what becomes of its workers.
    let _ = rustix::process::setsid();
    rustix::thread::set_name(c"wasmp-spare")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let children = ChildSignal::new()?;
    let hello = FromKeeper::Hello {
        version: env!("CARGO_PKG_VERSION").into(),
        nonce: nonce.into(),
        threads: thread_count(),
    };
    control.send(&encode(&hello), &[])?;

    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let attention = children.wait(&control, None)?;
        if attention.child {
            let mut lost = Ok(());
            reap(|pid, status| {
                if lost.is_ok() {
                    lost = control.send(&encode(&FromKeeper::Exited { pid, status }), &[]);
                }
            });
            lost?;
            groups.retain(|folder| !group::remove(folder));
        }
        if attention.order {
            let Some((len, fds)) = control.recv(&mut buffer)? else {
                return Ok(());
            };
            let Some(socket) = fds.into_iter().next() else { continue };
            // It is needed now.
            rustix::thread::set_name(c"wasmp-keeper")?;
            let (run, group): (fn(&Channel) -> !, _) = match decode(&buffer[..len])? {
                ToKeeper::Zygote { group } => (super::zygote::main, group),
                ToKeeper::Compiler => (super::compiler::main, None),
            };
            let forked = match &group {
                Some(group) => group.around(fork),
                None => fork(),
            };
            match forked {
                Ok(0) => {
                    drop(control);
                    drop(children);
                    unblock_signals();
                    run(&Channel::from(socket));
                }
                Ok(_) => groups.extend(group.map(|group| group.folder().to_owned())),
                Err(error) => control.send(&encode(&FromKeeper::Failed { why: error.to_string() }), &[])?,
            }
        }
    }
}

/// The control socket, moved away from descriptor 0.
fn adopt_control() -> io::Result<Channel> {
    // SAFETY: the host started this process with the socket as its standard input, and nothing else has touched it yet.
    let stdin = unsafe { OwnedFd::from_raw_fd(0) };
    let control = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), 3)?;
    // The number 0 is reused right away, by `detach_stdio`.
    drop(stdin);
    Ok(Channel::from(control))
}

fn thread_count() -> u32 {
    std::fs::read_dir("/proc/self/task").map_or(1, |tasks| u32::try_from(tasks.count()).unwrap_or(u32::MAX))
}

/// Kills every child, and every process that becomes one by that, until there is none.
fn kill_children() {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    loop {
        for pid in std::fs::read_to_string(&path).unwrap_or_default().split_whitespace() {
            if let Ok(pid) = pid.parse::<libc::pid_t>() {
                // SAFETY: a child that has not been waited for, so the number is still its own.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
        let mut raw = 0;
        // SAFETY: `raw` is a valid place for the status.
        if unsafe { libc::waitpid(-1, &mut raw, 0) } == -1
            && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted
        {
            return;
        }
    }
}
