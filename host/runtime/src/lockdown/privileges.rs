//! Capabilities, and the ways a process could gain privileges later.
//!
//! The user stays the same: a granted directory may be readable to nobody else.

use std::io;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// Drops every capability and every way to get one back; also, no other process of this user may look inside.
pub(super) fn renounce() -> io::Result<()> {
    drop_capabilities()?;
    set_no_new_privs(true)?;
    // No core dump, no ptrace and no /proc/PID/mem for processes of the same user.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    refuse_executable_memory();
    Ok(())
}

/// Drops every capability, if there are any.
pub(super) fn drop_capabilities() -> io::Result<()> {
    if capabilities(None)?.permitted.is_empty() {
        return Ok(());
    }
    // The bounding set first: it takes CAP_SETPCAP to shrink it. A process without that capability cannot, and needs
    // not: with no_new_privs nothing can be gained from the bounding set.
    for capability in (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number)) {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // INVAL: beyond the last one this kernel knows.
            Err(Errno::INVAL | Errno::PERM) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    Ok(set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )?)
}

/// Memory that was not executable cannot become so. Linux 6.3 and later; seccomp forbids the same and is always there.
fn refuse_executable_memory() {
    let unused: libc::c_ulong = 0;
    let flags = libc::c_ulong::from(libc::PR_MDWE_REFUSE_EXEC_GAIN);
    // SAFETY: PR_SET_MDWE takes flags and zeros, no pointers.
    unsafe { libc::prctl(libc::PR_SET_MDWE, flags, unused, unused, unused) };
}
