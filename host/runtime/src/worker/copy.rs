//! A copy of a guest: how the start method `fork` comes by one.
//!
//! The parent sits in the import that starts the process. It writes its memory, and what there is to know beside it, into
//! memory that the host has made for that. The child makes an instance as any other does, and puts this in the place of what
//! it began with: the memory, the handles under the same numbers, and the windows where they were. Where the stack is begins
//! anew, because the child calls a task, and does not return into the parent's call. What the parent owns (locks, permits)
//! stays the parent's; its pools and processes are unknown to the child, whose numbers begin after theirs.
//!
//! The child believes what it reads as far as it believes a guest: the parent may have written anything. The host seals it
//! before it passes on the call, so that it stays as it is, and the child maps the pages where they belong. Where that could
//! not be done, as the system has been busy with one of the pages, or the parent is hostile and still has them mapped, the
//! child takes each byte once.

use std::borrow::Cow;
use std::io;
use std::iter;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmp_abi::{ObjectKind, Status};
use wasmp_ipc::{Duplicate, Mapping, Region};
use wasmtime::{Instance, Memory, Store};

use super::objects::OpenError;
use super::state::State;
use super::windows::Window;
use crate::objects::message::TokenBytes;
use crate::process::message::{decode, encode};

/// The memory of a guest has so many of these; what is in a window is whole ones, too.
const PIECE: usize = 64 * 1024;

/// What is all zero is not copied, in parts of this size.
const PAGE: usize = 4096;

/// Bytes of the length of what stands behind the memory, at the very end.
const LENGTH: usize = 8;

/// What there is to know about a guest beside its memory.
#[derive(Debug, Deserialize, Serialize)]
struct Beside {
    memory: u64,
    handles: Vec<Copied>,
    windows: Vec<Shown>,
    /// How many numbers of pools and processes have been given out.
    pools: u32,
    processes: u32,
}

/// A handle, under the number that the guest knows it by.
#[derive(Debug, Deserialize, Serialize)]
struct Copied {
    number: u32,
    kind: u8,
    token: TokenBytes,
}

/// A window, onto the object that a handle is of.
#[derive(Debug, Deserialize, Serialize)]
struct Shown {
    address: u64,
    len: u64,
    offset: u64,
    handle: u32,
}

/// A copy that is being made.
#[derive(Debug)]
pub(super) struct Copying {
    beside: Vec<u8>,
    memory: usize,
}

impl Copying {
    /// What there is to know about this guest, whose memory has so many bytes.
    pub(super) fn begin(state: &State, memory: usize) -> Result<Self, OpenError> {
        if !state.all_memory {
            return Err(OpenError::Refused(Status::Unsupported));
        }
        let mut handles = Vec::new();
        for (number, handle) in state.objects.all() {
            state.objects.keep_managed(handle);
            handles.push(Copied {
                number,
                kind: handle.held.kind() as u8,
                token: state.objects.token(handle)?,
            });
        }
        let shown = |window: &Window| {
            let handle = state
                .objects
                .all()
                .find(|(_, handle)| Arc::ptr_eq(&handle.held.memory, &window.object));
            // Without a handle the object may be gone for everybody else.
            let (handle, _) = handle.ok_or(OpenError::Refused(Status::Unsupported))?;
            Ok(Shown {
                address: window.range.start as u64,
                len: window.range.len() as u64,
                offset: window.offset as u64,
                handle,
            })
        };
        let windows = state
            .objects
            .windows
            .all()
            .iter()
            .map(shown)
            .collect::<Result<_, OpenError>>()?;
        let beside = encode(&Beside {
            memory: memory as u64,
            handles,
            windows,
            pools: state.pools.numbers(),
            processes: state.processes.numbers(),
        });
        Ok(Self { beside, memory })
    }

    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        (self.memory + LENGTH + self.beside.len()) as u64
    }

    /// Writes it into what the host has made for it.
    pub(super) fn write(&self, into: &OwnedFd, memory: &[u8], state: &State) -> io::Result<()> {
        let len = self.memory + LENGTH + self.beside.len();
        let mapping = Arc::new(Mapping::of_host(into.as_fd(), len)?);
        let target = mapping.region(0, len).ok_or_else(|| nonsense("a copy"))?;
        for (number, piece) in memory.chunks(PIECE).enumerate() {
            // What is in a window is not the guest's alone, and comes to the child as a window. Both are in whole pieces.
            if state.objects.windows.touch(number * PIECE, piece.len()) {
                continue;
            }
            for part in written(piece) {
                let at = number * PIECE + part.start;
                target.populate(at, part.len());
                target.write(at, &piece[part]);
            }
        }
        target.write(self.memory, &self.beside);
        target.write(
            self.memory + self.beside.len(),
            &(self.beside.len() as u64).to_le_bytes(),
        );
        Ok(())
    }
}

/// Where there are pages in a row that are not all zero.
fn written(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut pages = bytes.chunks(PAGE).map(is_zero).enumerate();
    iter::from_fn(move || {
        let (first, _) = pages.find(|(_, zero)| !zero)?;
        let behind = pages.find(|(_, zero)| *zero);
        let end = behind.map_or(bytes.len(), |(page, _)| page * PAGE);
        Some(first * PAGE..end)
    })
}

/// Whether all bytes of a page are zero. Without a branch for each: that takes many bytes at a time.
fn is_zero(page: &[u8]) -> bool {
    page.iter().fold(0, |all, byte| all | byte) == 0
}

/// What a process is to be a copy of. Its parent is writing it still, until the call comes.
#[derive(Debug)]
pub(super) struct Snapshot {
    memory: OwnedFd,
    len: usize,
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} makes no sense"))
}

impl Snapshot {
    pub(super) fn new(memory: OwnedFd, len: u64) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        Ok(Self { memory, len })
    }

    /// What has to stay open for it.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Puts it in the place of what this instance began with.
    pub(super) fn restore(self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<()> {
        let original = Original::open(self.memory.as_fd(), self.len)?;
        let beside = original.beside()?;
        let memory = instance.get_memory(&mut *store, "memory");
        let memory = memory.ok_or_else(|| nonsense("a copy without a memory"))?;
        let (size, now) = (usize::try_from(beside.memory)?, memory.data_size(&*store));
        memory.grow(&mut *store, (size.saturating_sub(now) / PIECE) as u64)?;
        if size != memory.data_size(&*store) || !size.is_multiple_of(PIECE) || !original.put(store, memory) {
            return Err(nonsense("the size of its memory").into());
        }
        let base = memory.data_ptr(&*store);
        let state = store.data_mut();
        for Copied { number, kind, token } in beside.handles {
            let kind = ObjectKind::from_code(kind).ok_or_else(|| nonsense("a handle"))?;
            match state.objects.open_as(number, kind, token) {
                // Of what is gone there is nothing to hold: using it says so.
                Ok(()) | Err(OpenError::Refused(_)) => {}
                Err(OpenError::Io(error)) => return Err(error.into()),
            }
        }
        for window in beside.windows {
            show(state, &window, base, size)?;
        }
        state.pools.numbered().begin_after(beside.pools);
        state.processes.numbered().begin_after(beside.processes);
        Ok(())
    }
}

/// What the parent has written.
enum Original {
    Sealed(Duplicate),
    /// It may change at any time.
    Open(Region),
}

impl Original {
    fn open(memory: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: the host has made it for this, with so many bytes.
        if let Some(sealed) = unsafe { Duplicate::of_host(memory, len)? } {
            return Ok(Self::Sealed(sealed));
        }
        let mapping = Arc::new(Mapping::of_host(memory, len)?);
        mapping.region(0, len).map(Self::Open).ok_or_else(|| nonsense("a copy"))
    }

    fn len(&self) -> usize {
        match self {
            Self::Sealed(copy) => copy.bytes().len(),
            Self::Open(region) => region.len(),
        }
    }

    /// So many bytes before the one at `end`. `None`: there are not so many.
    fn before(&self, end: usize, len: usize) -> Option<Cow<'_, [u8]>> {
        let start = end.checked_sub(len)?;
        match self {
            Self::Sealed(copy) => copy.bytes().get(start..end).map(Cow::Borrowed),
            Self::Open(region) => {
                let mut bytes = vec![0; len];
                region.read(start, &mut bytes);
                Some(Cow::Owned(bytes))
            }
        }
    }

    fn beside(&self) -> io::Result<Beside> {
        let beside = || {
            let end = self.len().checked_sub(LENGTH)?;
            let length = self.before(self.len(), LENGTH)?;
            let length = u64::from_le_bytes((*length).try_into().ok()?);
            self.before(end, usize::try_from(length).ok()?)
        };
        decode(&beside().ok_or_else(|| nonsense("a copy"))?)
    }

    /// Puts its beginning in the place of all of an instance's memory. False if it is too short, or the system refuses.
    fn put(self, store: &mut Store<State>, memory: Memory) -> bool {
        let size = memory.data_size(&*store);
        match self {
            // SAFETY: all of the instance's memory, which nothing else looks at while it is not running. wasmtime never moves
            // it, and unmaps whatever is there when the instance is dropped: this is the one instance of a process.
            Self::Sealed(copy) => unsafe { copy.move_to(size, memory.data_ptr(&*store)) },
            Self::Open(region) => {
                let fits = size <= region.len();
                if fits {
                    region.read(0, memory.data_mut(store));
                }
                fits
            }
        }
    }
}

/// Maps what the parent had mapped.
fn show(state: &mut State, window: &Shown, base: *mut u8, size: usize) -> io::Result<()> {
    let start = usize::try_from(window.address).map_err(io::Error::other)?;
    let (len, offset) = (
        usize::try_from(window.len).map_err(io::Error::other)?,
        usize::try_from(window.offset).map_err(io::Error::other)?,
    );
    let object = match state.objects.get(window.handle) {
        Some((handle, _)) => Arc::clone(&handle.held.memory),
        None => return Err(nonsense("a window without an object")),
    };
    let whole = |number: usize| number.is_multiple_of(PIECE);
    let inside = |start: usize, end: usize| start.checked_add(len).is_some_and(|last| last <= end);
    let fits = inside(start, size) && inside(offset, object.len()) && whole(start) && whole(len) && whole(offset);
    if !fits || len == 0 || state.objects.windows.touch(start, len) {
        return Err(nonsense("a window"));
    }
    match state.objects.windows.map(&object, offset, base, start..start + len) {
        true => Ok(()),
        false => Err(nonsense("a window that the system refuses")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_in_whole_pages() {
        let mut bytes = vec![0; 6 * PAGE];
        let found = |bytes: &[u8]| {
            let parts = written(bytes).map(|part| (part.start / PAGE, part.end / PAGE));
            parts.collect::<Vec<_>>()
        };
        assert_eq!(found(&bytes), []);
        bytes[PAGE - 1] = 1;
        assert_eq!(found(&bytes), [(0, 1)]);
        bytes[2 * PAGE] = 1;
        bytes[4 * PAGE - 1] = 1;
        bytes[5 * PAGE] = 1;
        assert_eq!(found(&bytes), [(0, 1), (2, 4), (5, 6)]);
        bytes.fill(1);
        assert_eq!(found(&bytes), [(0, 6)]);
    }
}
