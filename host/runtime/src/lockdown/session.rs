//! A session, signal state and name of its own.

use std::io;
use std::num::NonZeroU64;

use super::Role;

/// Signals whose handlers stay: wasmtime turns these faults into traps.
const FAULTS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// Last of the classic signals; what lies above is real-time signals and the C library's own.
const LAST_SIGNAL: libc::c_int = 31;

/// Leaves the terminal's session, so that Ctrl-C and a hang-up go to the host alone, and forgets the handlers and the
/// blocked signals of the process it was forked from.
pub(super) fn detach() -> io::Result<()> {
    match rustix::process::setsid() {
        Ok(_) => {}
        // An exec'd process can be the leader of its own session already.
        Err(rustix::io::Errno::PERM) if rustix::process::getsid(None)? == rustix::process::getpid() => {}
        Err(errno) => return Err(errno.into()),
    }
    for signal in (1..=LAST_SIGNAL).filter(|signal| !FAULTS.contains(signal)) {
        // A closed peer is an error to handle where it is met, not a reason to die.
        set_disposition(
            signal,
            if signal == libc::SIGPIPE {
                libc::SIG_IGN
            } else {
                libc::SIG_DFL
            },
        );
    }
    unblock_all_but_interrupts()
}

fn set_disposition(signal: libc::c_int, disposition: libc::sighandler_t) {
    // SAFETY: SIG_DFL and SIG_IGN run no code of ours. SIGKILL and SIGSTOP are refused, which changes nothing.
    unsafe { libc::signal(signal, disposition) };
}

/// SIGINT may be meant for the guest, which is not there yet: a worker lets it through when it can hear it.
fn unblock_all_but_interrupts() -> io::Result<()> {
    // SAFETY: an all-zero sigset_t is valid storage, and sigemptyset initialises it before it is read.
    let done = unsafe {
        let mut kept: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut kept);
        libc::sigaddset(&raw mut kept, libc::SIGINT);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const kept, std::ptr::null_mut())
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Says in `ps` what the process is, and asks for timers that fire when they are due (the default slack is 50 µs).
/// Neither guards anything, so neither can fail the lockdown.
pub(super) fn name(role: Role) {
    let name = match role {
        Role::Worker => c"wasmp-worker",
        Role::Compiler => c"wasmp-compiler",
    };
    let _ = rustix::thread::set_name(name);
    let _ = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
}
