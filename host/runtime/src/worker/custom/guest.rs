//! What the host side of an object's instance knows: the data of its store.

use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::ResourceLimiter;

use crate::manager::Refusal;
use crate::output::Stream;
use crate::wire::ReplyKind;
use crate::worker::fault::Clues;
use crate::worker::link::Link;
use crate::worker::state::TooMuchOutput;
use crate::worker::wasi::{HasWasi, WasiState};

/// Bytes of the host's memory that an element of a table takes.
const TABLE_ELEMENT: usize = 8;

/// How much a call may print, in bytes, and compute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) max_output: Option<u64>,
    pub(super) fuel: Option<u64>,
}

pub(super) struct Guest {
    wasi: WasiState,
    pub(super) limits: Limits,
    link: Arc<Mutex<Link>>,
    pub(super) slot: u32,
    pub(super) allowance: Allowance,
    /// How many more bytes this call may print, if they are counted.
    printable: Option<u64>,
    /// The call that is running.
    pub(super) call: Option<Call>,
    /// The guest said that it panics, and why.
    pub(super) panic: Option<String>,
}

/// A call, which the guest takes for an item.
#[derive(Debug)]
pub(super) struct Call {
    /// Its arguments, until the guest has read them.
    pub(super) args: Option<Vec<u8>>,
    pub(super) outcome: Option<Result<Vec<u8>, Refusal>>,
}

impl Guest {
    /// One whose memory may take `room` bytes.
    pub(super) fn new(wasi: WasiState, link: &Arc<Mutex<Link>>, slot: u32, allowance: Allowance, room: u64) -> Self {
        let mut limits = Limits::default();
        limits.allow(room);
        Self {
            wasi,
            limits,
            link: Arc::clone(link),
            slot,
            allowance,
            printable: allowance.max_output,
            call: None,
            panic: None,
        }
    }

    /// A call begins, with these arguments.
    pub(super) fn begin(&mut self, args: Vec<u8>) {
        self.limits.refused = None;
        self.printable = self.allowance.max_output;
        self.call = Some(Call {
            args: Some(args),
            outcome: None,
        });
    }

    /// It has ended: with this outcome, if there is one.
    pub(super) fn end(&mut self) -> Option<Result<Vec<u8>, Refusal>> {
        self.call.take()?.outcome
    }

    /// What there is to know about how it failed.
    pub(super) fn clues(&mut self) -> Clues {
        Clues {
            panic: self.panic.take(),
            refused: self.limits.refused.take(),
            max_memory: self.limits.max,
            max_output: self.allowance.max_output,
            fuel: self.allowance.fuel,
        }
    }
}

impl HasWasi for Guest {
    fn wasi(&mut self) -> &mut WasiState {
        &mut self.wasi
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) -> wasmtime::Result<()> {
        let most = self
            .printable
            .map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let allowed = bytes.len().min(most);
        if let Some(left) = &mut self.printable {
            *left -= allowed as u64;
        }
        let kind = match stream {
            Stream::Stdout => ReplyKind::Stdout,
            Stream::Stderr => ReplyKind::Stderr,
        };
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.output(kind, &bytes[..allowed])?;
        if allowed < bytes.len() {
            return Err(TooMuchOutput.into());
        }
        Ok(())
    }
}

/// Bounds what an instance takes: the sum of its memories and tables.
#[derive(Debug, Default)]
pub(super) struct Limits {
    max: usize,
    used: usize,
    /// A growth that was refused: how much would have been used then.
    refused: Option<usize>,
}

impl Limits {
    /// It may take so many bytes more.
    pub(super) fn allow(&mut self, room: u64) {
        self.max = self.used.saturating_add(usize::try_from(room).unwrap_or(usize::MAX));
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn was_refused(&self) -> bool {
        self.refused.is_some()
    }

    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>, size: usize) -> bool {
        let more = desired.saturating_sub(current).saturating_mul(size);
        let wanted = self.used.saturating_add(more);
        if wanted > self.max {
            self.refused = Some(wanted);
            return false;
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        self.used = wanted;
        true
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum, 1))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum, TABLE_ELEMENT))
    }
}
