//! Resource limits: what a process may use up, as opposed to what it may reach.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Role;

/// Private memory on top of the guest's: the heap of the runtime, tables, messages in transit, stacks of the compiler's
/// threads.
const DATA_SLACK: u64 = 128 << 20;

/// A family may hold 1 024 objects, each of which can cost its user one descriptor; the rest is the worker's own.
const MAX_FDS: u64 = 1_024 + 128;

/// Half-way up the scale: goes before any process that uses less than half of the machine's memory.
const OOM_SCORE_ADJ: &str = "500";

/// Asks the kernel, when memory runs out, to take this process rather than the host: a worker can be replaced.
/// Without `/proc` the default order stands. What is forked from it has asked, too.
pub(super) fn volunteer_for_oom_kill() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if !ASKED.swap(true, Ordering::Relaxed) {
        let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ);
    }
}

/// Lowers the limits, for good.
pub(super) fn apply(role: Role, max_memory: u64, writes_files: bool) -> io::Result<()> {
    lower(Resource::Core, 0)?;
    lower(Resource::Memlock, 0)?;
    lower(Resource::Msgqueue, 0)?;
    lower(Resource::Nofile, MAX_FDS)?;
    // Of all limits on memory this is the one that fits: it ignores address space reserved without access, of which
    // wasmtime takes gigabytes, and refuses to make more of it writable with ENOMEM, which `memory.grow` reports.
    lower(Resource::Data, max_memory.saturating_add(DATA_SLACK))?;
    match role {
        Role::Worker => {
            lower(Resource::Nproc, 0)?;
            if !writes_files {
                lower(Resource::Fsize, 0)?;
            }
        }
        // Threads count against the user's processes, of which there may be many; seccomp allows nothing but threads.
        // The machine code goes into a memfd, which is a file to the kernel.
        Role::Compiler => lower(Resource::Fsize, max_memory)?,
    }
    Ok(())
}

/// Sets both limits to `limit`, or leaves them where a lower one is in force.
fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    let limit = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
    Ok(setrlimit(
        resource,
        Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        },
    )?)
}
