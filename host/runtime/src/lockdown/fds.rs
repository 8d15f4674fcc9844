//! Which descriptors survive: standard input and output on `/dev/null`, and those that are named.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{IntoRawFd, RawFd};

/// First descriptor that is not standard input, output or error.
const FIRST: RawFd = 3;

/// Closes every descriptor but `keep` and the standard three.
pub(super) fn keep_only(keep: &BTreeSet<RawFd>) -> io::Result<()> {
    let mut first = FIRST;
    for &fd in keep.range(FIRST..) {
        close_range(first, fd - 1)?;
        first = fd + 1;
    }
    close_range(first, RawFd::MAX)
}

/// Points standard input, output and error at `/dev/null`, unless they are kept. While that can be opened.
pub(super) fn silence_stdio(keep: &BTreeSet<RawFd>) -> io::Result<()> {
    // Not owned: a process started without standard descriptors gets one of their numbers here, and must keep it. Any
    // other number falls to `close_range`.
    let null = File::options().read(true).write(true).open("/dev/null")?.into_raw_fd();
    for stdio in (0..FIRST).filter(|stdio| !keep.contains(stdio)) {
        // SAFETY: dup2 of an open descriptor onto a standard one, which no value in a Rust program owns.
        if unsafe { libc::dup2(null, stdio) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: passes numbers only. It does close descriptors that values of this process believe to own; that those
    // values are never used again is what `lock_down` asks of its caller.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Runs `build`, and tells which of the descriptors it opened are still open; one that was open before and given to it
/// is not among them. In a process with one thread, before the lockdown.
///
/// wasmtime owns descriptors that no API names: it maps the initial memory of each new instance from one, which is the
/// file that the compiled module was mapped from, or else a memfd. A worker that lost it would fail to instantiate, or
/// map whatever got the number next.
pub(crate) fn opened_by<T>(build: impl FnOnce() -> T) -> io::Result<(T, Vec<RawFd>)> {
    let before = open_fds()?;
    let built = build();
    let opened = open_fds()?.difference(&before).copied().collect();
    Ok((built, opened))
}

fn open_fds() -> io::Result<BTreeSet<RawFd>> {
    let mut fds = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        fds.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    // The listing shows the descriptor it was read through, which is closed by now.
    fds.retain(|&fd| is_open(fd));
    Ok(fds)
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer, and a closed number is answered with EBADF.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}
