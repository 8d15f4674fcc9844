//! What the host side of a guest instance knows while it runs: the data of a wasmtime store.

use std::sync::Arc;

use wasmp_ipc::Gauges;
use wasmtime::{Memory, ResourceLimiter};

use super::cpu::Moves;
use super::link::Link;
use super::objects::Objects;
use super::pools::Pools;
use super::processes::Processes;
use super::wasi::{HasWasi, WasiState};
use crate::identity::Identity;
use crate::output::Stream;
use crate::wire::{Fault, ReplyKind};

/// Elements that the tables of an instance may have in all: each takes 8 bytes of the host's memory.
const MAX_TABLE_ELEMENTS: usize = 10_000_000;

/// The data of a guest's store.
pub(super) struct State {
    pub(super) link: Link,
    pub(super) objects: Objects,
    pub(super) moves: Moves,
    /// Whether an instance can be copied by copying its memory.
    pub(super) all_memory: bool,
    pub(super) pools: Pools,
    pub(super) processes: Processes,
    pub(super) who: Arc<Who>,
    /// How what it starts is to log.
    pub(super) log: u32,
    pub(super) wasi: WasiState,
    pub(super) limits: MemoryLimit,
    /// How many more bytes the current item may print, if they are counted.
    pub(super) printable: Option<u64>,
    /// How many bytes each item may print.
    pub(super) max_output: Option<u64>,
    /// How much each item may compute.
    pub(super) fuel: Option<u64>,
    /// Most bytes of a message that it puts into a queue or a pipe.
    pub(super) max_message: usize,
    /// The worker's number.
    pub(super) slot: u32,
    /// The guest's memory, looked up once.
    pub(super) memory: Option<Memory>,
    /// The guest said that it panics, and why.
    pub(super) panic: Option<String>,
    /// How many more items this instance may take, if they are counted.
    pub(super) items_left: Option<u32>,
    /// An initializer, or the call of a process, is running.
    pub(super) apart: Option<Apart>,
    /// What a command has printed so far, if that is its result.
    pub(super) captured: Option<Vec<u8>>,
}

/// A call that is no item of a pool's, on its way through the guest, which takes it for one: an initializer, or what a
/// process is for.
#[derive(Debug)]
pub(super) struct Apart {
    /// Its arguments, until the guest has read them.
    pub(super) args: Option<Vec<u8>>,
    pub(super) outcome: Option<Result<(), Fault>>,
}

impl Apart {
    pub(super) fn new(args: Vec<u8>) -> Self {
        Self {
            args: Some(args),
            outcome: None,
        }
    }

    /// Whether it has begun and not ended.
    pub(super) fn is_running(&self) -> bool {
        self.outcome.is_none()
    }
}

/// What there is to know about this process.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) identity: Identity,
    pub(super) pid: u32,
    /// CPUs that it may use.
    pub(super) cpus: u32,
}

/// What connects a worker with its host, whatever becomes of its instances.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) link: Link,
    pub(super) objects: Objects,
}

impl State {
    /// What was said about the item before does not hold for the next.
    pub(super) fn begin_item(&mut self) {
        self.limits.refused = None;
        self.printable = self.max_output;
    }

    /// The instance is gone; its connections are not.
    pub(super) fn into_host(self) -> Host {
        let Self {
            link,
            mut objects,
            mut pools,
            mut processes,
            ..
        } = self;
        pools.abandon(&objects);
        processes.abandon(&objects);
        objects.abandon();
        Host { link, objects }
    }
}

impl HasWasi for State {
    fn wasi(&mut self) -> &mut WasiState {
        &mut self.wasi
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) -> wasmtime::Result<()> {
        let Some(left) = &mut self.printable else {
            return self.pass_on(stream, bytes);
        };
        let allowed = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= allowed as u64;
        self.pass_on(stream, &bytes[..allowed])?;
        if allowed < bytes.len() {
            return Err(TooMuchOutput.into());
        }
        Ok(())
    }

    fn asleep(&self, sleep: impl FnOnce()) {
        match self.link.clock() {
            Some(gauges) => gauges.wait(sleep),
            None => sleep(),
        }
    }
}

/// The end of a guest that prints more than it may.
#[derive(Debug)]
pub(super) struct TooMuchOutput;

impl std::fmt::Display for TooMuchOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("printed more than it may")
    }
}

impl std::error::Error for TooMuchOutput {}

impl State {
    /// Passes on what the guest has printed, or keeps it if that is its result.
    fn pass_on(&mut self, stream: Stream, bytes: &[u8]) -> wasmtime::Result<()> {
        let kind = match (stream, &mut self.captured) {
            (Stream::Stdout, Some(captured)) => {
                captured.extend_from_slice(bytes);
                return Ok(());
            }
            (Stream::Stdout, None) => ReplyKind::Stdout,
            (Stream::Stderr, _) => ReplyKind::Stderr,
        };
        Ok(self.link.output(kind, bytes)?)
    }
}

/// Bounds the memory of an instance: the sum over all of its memories.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    pub(super) max: usize,
    used: usize,
    /// Where the host sees how much that was at most.
    gauges: Arc<Gauges>,
    table_elements: usize,
    /// A growth that was refused while the current item ran: how much would have been used then.
    pub(super) refused: Option<usize>,
}

impl MemoryLimit {
    pub(super) fn new(max: u64, gauges: Arc<Gauges>) -> Self {
        Self {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            used: 0,
            gauges,
            table_elements: 0,
            refused: None,
        }
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add(desired.saturating_sub(current));
        if wanted > self.max {
            self.refused = Some(wanted);
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.used = wanted;
        self.gauges.uses_memory(wanted as u64);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.table_elements.saturating_add(desired.saturating_sub(current));
        if wanted > MAX_TABLE_ELEMENTS || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_elements = wanted;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use wasmp_ipc::Mapping;

    use super::*;

    #[test]
    fn the_limit_is_on_the_sum_of_all_memories() {
        let (_, memory) = Mapping::create("gauges", Gauges::BYTES).unwrap();
        let gauges = Arc::new(Gauges::open(&Arc::new(memory), 0).unwrap());
        let mut limit = MemoryLimit::new(100, Arc::clone(&gauges));
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert!(limit.memory_growing(0, 40, None).unwrap());
        assert!(!limit.memory_growing(40, 41, None).unwrap());
        assert_eq!(limit.refused, Some(101));
        assert_eq!(gauges.peak_memory(), 100, "what was refused was never used");
    }
}
